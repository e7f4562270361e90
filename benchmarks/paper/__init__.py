"""The note's Figures 3, 4 and 5, measured here, and what they say about its claims.

The note (J. A. Ott, 2017) trains a perceptron 784-128-10 on MNIST with n threads. Each thread
trains a network of its own on its n-th of the samples. At the end the networks are merged into one,
by their average (Equation 1) or by their sum (Equation 2).

measure.py     train, and score every way to use the same replicas; take times
judge.py       the note's claims beside what was measured
tables.py      numbers and verdicts, for the terminal and docs/paper.md
pictures.py    the three figures
__main__.py    the command line
"""

from __future__ import annotations

from typing import Any

import omp_mlp

THREADS = (1, 2, 4, 6, 8, 10, 12, 16)

PRESETS: dict[str, dict[str, Any]] = {
    # The note leaves activation, loss, learning rate and initialisation open; these settings come
    # closest to its figures.
    "paper": dict(omp_mlp.PAPER),
    # What most people would take today. All replicas start from the same weights.
    "relu": {
        **omp_mlp.PAPER,
        "activation": "relu",
        "output_activation": "softmax",
        "loss": "cross_entropy",
        "learning_rate": 0.01,
        "init": "shared",
        "init_scale": "he",
    },
}

# Ways to get an answer out of the same replicas, and ways to take a time, with their labels.
ANSWERS = {
    "logit_ensemble": "logit ensemble",
    "single_replica": "mean single replica",
    "sum": "sum (Eq. 2)",
    "average": "average (Eq. 1)",
}
TIMES = {
    "system_threads": "measured, n operating-system threads",
    "core_workers": "measured, as many workers as cores",
    "modelled": "modelled for a machine with n cores",
}
