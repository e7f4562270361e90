"""One merge at the end: the same replicas, merged by every method there is for that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import omp_mlp
from omp_mlp.inputs import read_inputs
from omp_mlp.merging.methods import matched

from .lines import once_lines
from .work import Training, train

# Samples of the training part for the methods that look at data.
DATA_SAMPLES = 10_000


def score_once(job: Training) -> dict[str, float]:
    """Train once, merge the replicas by every method, and score each of the results; percent.

    Returns
    -------
    dict
        A score for each method of :func:`once_lines` that applies, and ``single_replica``, the mean
        score of the replicas by themselves. A method that needs the common start of the replicas is
        left out where there is none.
    """
    model, problem = train(job, keep_replicas=True)
    base = None
    if job.options.get("init", "shared") == "shared":
        # Where the replicas parted: after the warm-up, if there is one.
        start = replace(job, epochs=0.0, options={**job.options, "merge_every": None})
        base, _ = train(start)
    rows = np.random.default_rng(job.seed).permutation(len(problem.X))[:DATA_SAMPLES]
    data: dict[str, Any] = {"X": problem.X[rows], "y": problem.y[rows]}

    replicas = model.replicas
    scores = {
        "single_replica": float(
            np.mean([100 * r.score(problem.X_test, problem.y_test) for r in replicas])
        )
    }
    methods = {method.name: method for method in omp_mlp.merge_methods()}
    in_one_order = None
    for line in once_lines():
        method = methods[line.method]
        if method.needs_base and base is None:
            continue
        options = dict(line.options)
        given = replicas
        if base is None and "align" in {option.name for option in method.options}:
            # What align=True does, which is the same for all of them, once.
            if in_one_order is None:
                scale = read_inputs(data["X"], for_training=True).scale
                in_one_order = matched(list(replicas), scale)
            given = in_one_order
        merged = omp_mlp.merge(
            given,
            line.method,
            base=base,
            merge_options=options,
            **(data if line.sees_data else {}),
        )
        scores[line.name] = 100.0 * merged.score(problem.X_test, problem.y_test)
    return scores
