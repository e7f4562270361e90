"""One merge at the end: the same replicas, merged by every method there is for that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import omp_mlp

from .lines import ONCE
from .work import Training, percent, train

# Samples of the training part for the methods that look at data.
DATA_SAMPLES = 10_000


def score_once(job: Training) -> dict[str, float]:
    """Train once, merge the replicas by every method, and score each of the results; percent.

    Returns
    -------
    dict
        A score for each line of ``ONCE`` that applies, and ``single_replica``, the mean
        score of the replicas by themselves. A method that needs the common start of the replicas is
        left out where there is none; from independent starts, methods that can match hidden units
        first do so.
    """
    model, problem = train(job, keep_replicas=True)
    base = None
    if job.options.get("init", "shared") == "shared":
        # Where the replicas parted: after the warm-up, if there is one.
        start = replace(job, epochs=0.0, options={**job.options, "merge_every": None})
        base, _ = train(start)
    rows = np.random.default_rng(job.seed).permutation(len(problem.X))[:DATA_SAMPLES]
    data = {"X": problem.X[rows], "y": problem.y[rows]}
    scores = {"single_replica": float(np.mean([percent(r, problem) for r in model.replicas]))}
    methods = {method.name: method for method in omp_mlp.merge_methods()}
    for line in ONCE:
        method = methods[line.method]
        if method.needs_base and base is None:
            continue
        options = dict(line.options)
        if base is None and "align" in {option.name for option in method.options}:
            options["align"] = True
        merged = omp_mlp.merge(
            model.replicas,
            line.method,
            base=base,
            merge_options=options,
            **(data if line.sees_data else {}),
        )
        scores[line.name] = percent(merged, problem)
    return scores
