"""Run the benchmark: ``python -m benchmarks.frontier``."""

from .run import main

if __name__ == "__main__":
    main()
