"""Predict what a training costs on a machine, and which strategy is the quickest.

:func:`calibrate` measures a machine. :func:`predict` says how long a training takes on it and what
takes the time. :func:`choose` says which strategy is the quickest. :func:`extrapolate` predicts the
times on more cores, or on the nodes of a cluster. ``omp_mlp.costs.formulas`` has the formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from omp_mlp import checks
from omp_mlp.costs import formulas
from omp_mlp.costs.calibration import calibrate
from omp_mlp.costs.formulas import (
    STRATEGIES,
    TYPICAL,
    Cluster,
    Costs,
    Prediction,
    Work,
    merges,
    work,
)
from omp_mlp.model import Model

__all__ = [
    "CHOICES",
    "STRATEGIES",
    "TYPICAL",
    "Cluster",
    "Costs",
    "Curve",
    "Prediction",
    "Work",
    "calibrate",
    "choose",
    "extrapolate",
    "merges",
    "predict",
    "work",
]

CHOICES = ("replica", "section", "synchronous")
"""What ``strategy="auto"`` chooses from. Replicas make the same number of merges, and one network
gives the same result as one thread. "pattern" is "replica" with fewer merges, and never slower."""

MARGIN = 0.1
"""``strategy="auto"`` leaves one thread only for what is quicker by more than this part."""


@dataclass(frozen=True)
class Curve:
    """Predictions for more and more threads or nodes; prints as a table with its assumptions."""

    predictions: tuple[Prediction, ...]

    def __str__(self) -> str:
        alone = self.predictions[0].total
        lines = ["threads    seconds   speed-up    compute  synchronise      merge"]
        lines += [
            f"{p.threads:>7} {p.total:>10.4g} {alone / p.total:>10.3g} {p.compute:>10.4g} "
            f"{p.synchronise:>12.4g} {p.merge:>10.4g}"
            for p in self.predictions
        ]
        seen = dict.fromkeys(text for p in self.predictions for text in p.assumptions)
        return "\n".join([*lines, "Assumed:", *(f"- {text}" for text in seen)])


def predict(
    network: Model | Sequence[int],
    n_samples: int,
    epochs: int,
    threads: int,
    strategy: str = "replica",
    merge_every: int | tuple[int, int] | str | None = None,
    *,
    batch_size: int = 8,
    density: float | None = None,
    costs: Costs | None = None,
    cores: int | None = None,
    cluster: Cluster | None = None,
    merge_ranks_every: int = 1,
    overlap: bool = False,
) -> Prediction:
    """Predict how long a training takes.

    Parameters
    ----------
    network : Model or sequence of int
        A network, or its layer sizes: features, hidden units of each layer, outputs.
    n_samples, epochs, threads : int
    strategy : {"replica", "section", "synchronous", "hogwild", "pattern"}, default "replica"
    merge_every : int, pair of int, None or "auto", default None
        Samples that a replica trains on between merges; a pair: at the start and at the end. None:
        one merge, at the end. "auto": what ``train_parallel`` does by default. It matters to
        "replica" only.
    batch_size : int, default 8
    density : float, optional
        Share of nonzeros in X, if the first layer reads X sparse. None: it reads X dense.
    costs : Costs, optional
        Default: :func:`calibrate`.
    cores : int, optional
        Cores of the machine. Default: those that ``costs`` were measured on.
    cluster : Cluster, optional
        Predict for ``threads`` replicas on nodes that are joined by a network, in place of one
        machine: a node of the cluster has a replica on each of its cores.
    merge_ranks_every : int, default 1
        With a cluster, the merges of each node from one merge of the nodes to the next.
    overlap : bool, default False
        With a cluster, whether the nodes train for the next round while they merge. They then wait
        for the part of a merge that takes longer than the round, and for the last merge. It goes
        with "replica" and "pattern".

    Returns
    -------
    Prediction
    """
    return formulas.predict(
        network,
        n_samples,
        epochs,
        threads,
        strategy,
        merge_every,
        batch_size=batch_size,
        density=density,
        costs=calibrate() if costs is None else costs,
        cores=cores,
        cluster=cluster,
        merge_ranks_every=merge_ranks_every,
        overlap=overlap,
    )


def extrapolate(
    network: Model | Sequence[int],
    n_samples: int,
    epochs: int,
    threads: Iterable[int] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
    strategy: str = "replica",
    merge_every: int | tuple[int, int] | str | None = None,
    **options: Any,  # noqa: ANN401 - handed on to predict
) -> Curve:
    """Predict a training on more and more cores, or with ``cluster=`` on more and more nodes.

    This takes the options of :func:`predict`. There are as many ``cores`` as threads.

    Examples
    --------
    Would 64 nodes on 10 Gbit/s help? ::

        print(costs.extrapolate((784, 1024, 10), 50_000, 10, cluster=costs.Cluster.ethernet(10)))
    """
    if options.get("costs") is None:
        options["costs"] = calibrate()
    predictions = []
    for count in threads:
        alike = {"cores": count, **options}
        predictions.append(
            predict(network, n_samples, epochs, count, strategy, merge_every, **alike)
        )
    if not predictions:
        raise ValueError("threads must name at least one number; got none")
    return Curve(tuple(predictions))


def choose(
    network: Model | Sequence[int],
    n_samples: int,
    epochs: int,
    threads: int,
    merge_every: int | tuple[int, int] | str | None = None,
    *,
    strategies: Sequence[str] = CHOICES,
    margin: float = MARGIN,
    **options: Any,  # noqa: ANN401 - handed on to predict
) -> Prediction:
    """Return the prediction for the quickest strategy on up to ``threads`` threads.

    This takes the options of :func:`predict`. One thread is ("replica", 1). The choice is one
    thread unless something else is quicker by more than ``margin``.
    """
    threads = checks.integer("threads", threads, 1)
    for strategy in strategies:
        checks.choice("strategies", strategy, STRATEGIES)
    if options.get("costs") is None:
        options["costs"] = calibrate()
    best = alone = predict(network, n_samples, epochs, 1, "replica", merge_every, **options)
    for count in sorted({threads, *(2**k for k in range(1, threads.bit_length()))} - {1}):
        if count > threads:
            continue
        for strategy in strategies:
            found = predict(network, n_samples, epochs, count, strategy, merge_every, **options)
            if found.total < best.total and found.total < (1 - margin) * alone.total:
                best = found
    return best
