"""The merge methods one by one: what each makes of the same replicas, and what it costs.

cards.py   the cards of docs/merge_methods.md, and the table of what was measured
cost.py    what a merge costs each of n workers
draw.py    the picture of two weights and two replicas

Each is run from the project's root, as in ``python -m benchmarks.merging.cost``.
"""
