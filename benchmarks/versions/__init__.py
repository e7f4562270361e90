"""Whether one version of omp_mlp is as fast as another, in every kind of training.

cells.py      the trainings that are compared
child.py      the process of one version: knows the public interface of omp_mlp and nothing else
measure.py    both processes, asked in turn
tables.py     samples a second of both, their ratio, and which ratios are too low
__main__.py   the command line
"""
