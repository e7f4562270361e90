"""What merge_frontier.py measures: how much accuracy n replicas keep, and what they gain in time.

A *problem* is a data set with a network for it and a number of epochs (problems.py). A *line* is a
way to train n replicas: a merge method, how often it is applied, and what goes with it (lines.py);
one line in the pictures. Its *settings* (learning rate, samples between merges, momentum) are
chosen for each n on a validation split (tune.py) and kept in settings.json (settings.py).

arithmetic.py   budgets to reach a score, modelled times, speed-ups: pure functions of numbers
work.py         one training, and many of them side by side on the cores there are
parts.py        accuracy, one merge at the end, time to a score, one change at a time
timing.py       what an epoch and a merge cost
judge.py        the results beside what was to be reached
tables.py, pictures.py
"""
