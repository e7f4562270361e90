"""Whether one version of omp_mlp is as fast as another, in every kind of training.

cells.py      the trainings that are compared
measure.py    both versions in turn, by the processes of ``benchmarks/peers``
tables.py     samples a second of both, their ratio, and which ratios are too low
__main__.py   the command line
"""
