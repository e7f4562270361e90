"""How much accuracy n replicas keep, and how much sooner they get there, for every merge.

The note (J. A. Ott, 2017) merges n networks once, by their average or their sum, and ends with "a
simple average across weights will not yield satisfactory results". This benchmark measures what
does. A *problem* is a data set with a network for it and a number of epochs. A *line* is a way to
train n replicas: a merge method, how often it is applied, and what goes with it; one line in the
pictures. Its *settings* (learning rate, samples between merges, momentum) are chosen for each n on
a validation split.

problems.py    the data sets
lines.py       the lines
settings.py    the settings that were chosen, in settings.json
tune.py        the search for them
work.py        one training, and many of them side by side on the cores there are
measure.py     the pieces of a run: scores, epochs to a score, times, changes, rules
once.py        one merge at the end, by every method
changes.py     changes of the settings
rules.py       other rules to merge by
arithmetic.py  budgets to reach a score, modelled times, speed-ups: pure functions of numbers
timing.py      what an epoch and a merge cost
judge.py       the results beside what was to be reached
tables.py, pictures.py
"""
