"""The parts of benchmarks/strategies.py: what is measured, how it is judged, and its pictures."""
