"""Which way to make a training parallel is the quickest where, and whether the cost model knows.

measure.py    the grid of trainings, and how each is measured and predicted
judge.py      errors of the model, winners, and what was aimed at
tables.py, pictures.py
drawings.py   the designs: what is whose, what is shared, and what is sent when
"""
