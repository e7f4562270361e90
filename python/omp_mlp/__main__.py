"""``python -m omp_mlp``: the command line."""

import sys

from omp_mlp.cli import main

if __name__ == "__main__":
    sys.exit(main())
