"""omp_mlp beside its peers over the size of the network and of the batch, on dense inputs.

grid.py      the trainings that are compared
measure.py   take turns in every cell, and find the best peer
tables.py    ratios to the best peer, and a line that sums them up
pictures.py  the same as a picture, losses in red
__main__.py  the command line
products.py  how near the products of a layer come to the multiply-add peak: a script of its own

Libraries and processes are those of ``benchmarks/peers``.

This file is read before a process is pinned to its cores, so it must not import NumPy.
"""
