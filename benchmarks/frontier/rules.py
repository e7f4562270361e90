"""Other rules to merge by, near gradient diversity: which of them keep the accuracy.

The library trains the replicas, a round at a time; the merge is done here in NumPy, where a change
of it takes a line. On the validation split, at equal settings, so that a row differs from the first
one by what it names and by nothing else. What each would gain in time is in docs/frontier.md.

Inputs are centred beforehand, as dense floats: means of a round's samples would differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import omp_mlp

from ..common.data import AS_GIVEN
from .problems import Problem, Source
from .work import Training, percent

Array = npt.NDArray[np.float32]
# The updates of all replicas, in one layer: replicas x inputs (with the bias) x units.
Updates = Array

SEEDS = (1_000, 1_001, 1_002)
# Every training is this with another rule, which ``method`` names.
JOB = Training(
    Source(), "mnist", "", threads=64, options={"learning_rate": 0.04, "merge_every": 32}, epochs=3
)


def diversity(updates: Updates, axes: tuple[int, ...] = (1, 2)) -> npt.NDArray[np.float64]:
    """Return c = sum |d_i|^2 / |sum d_i|^2, clipped to [1/n, 1], with sums over the ``axes``."""
    total = updates.sum(axis=0, dtype=np.float64)
    squares = np.einsum("ijk,ijk->jk", updates, updates, dtype=np.float64)
    over = tuple(axis - 1 for axis in axes)
    below = (total**2).sum(axis=over, keepdims=True)
    ratio = squares.sum(axis=over, keepdims=True) / np.maximum(below, 1e-300)
    return np.clip(ratio, 1 / len(updates), 1.0)


def by_layer(updates: Updates) -> Array:
    """Merge by gradient diversity, as the library does."""
    return (diversity(updates) * updates.sum(axis=0)).astype(np.float32)


def by_unit(updates: Updates) -> Array:
    """Take a factor for each unit's incoming weights."""
    return (diversity(updates, (1,)) * updates.sum(axis=0)).astype(np.float32)


def by_input(updates: Updates) -> Array:
    """Take a factor for each input's outgoing weights."""
    return (diversity(updates, (2,)) * updates.sum(axis=0)).astype(np.float32)


def by_inverse_variance(updates: Updates) -> Array:
    """Weigh replicas by 1 / |d_i|^2, with a mean of 1: those that moved far count less."""
    weights = 1 / np.maximum(
        (updates.astype(np.float64) ** 2).sum(axis=(1, 2), keepdims=True), 1e-300
    )
    return by_layer((updates * (weights / weights.mean())).astype(np.float32))


def in_bfloat16(updates: Updates) -> Array:
    """Round the updates to bfloat16 (half the bytes), to nearest."""
    bits = updates.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return by_layer(rounded.view(np.float32))


def in_float16(updates: Updates) -> Array:
    """Round the updates to float16 (half the bytes), scaled so that the largest is about 1."""
    scale = np.float32(2.0 ** -np.ceil(np.log2(max(float(np.abs(updates).max()), 1e-30))))
    return by_layer((updates * scale).astype(np.float16).astype(np.float32) / scale)


def signs(updates: Updates) -> Array:
    """Send one bit for a weight: its sign, times the mean size of the replica's updates."""
    size = np.abs(updates).mean(axis=(1, 2), keepdims=True)
    return by_layer((np.sign(updates) * size).astype(np.float32))


@dataclass(frozen=True)
class Rule:
    """A way to merge: for a layer, with an outer momentum, some rounds late."""

    about: str
    of_layer: Callable[[Updates], Array] = by_layer
    momentum: float = 0.3
    delay: int = 0


RULES = (
    Rule("gradient diversity, as it is"),
    Rule("updates rounded to bfloat16", in_bfloat16),
    Rule("updates rounded to float16", in_float16),
    Rule("updates as signs and one size", signs),
    Rule("merged while the next round is trained (a round late)", delay=1),
    Rule("the same without momentum", momentum=0.0, delay=1),
    Rule("replicas weighed by the inverse of their variance", by_inverse_variance),
    Rule("a factor for each hidden unit", by_unit),
    Rule("a factor for each input", by_input),
)


def layers_of(model: omp_mlp.Model) -> list[Array]:
    """Return each layer's weights, with the biases as the last row."""
    return [np.vstack([W, b]) for W, b in zip(model.weights, model.biases, strict=True)]


def network(layers: list[Array], classes: Any) -> omp_mlp.Model:  # noqa: ANN401
    """Return the network of what :func:`layers_of` returns."""
    return omp_mlp.Model(
        [layer[:-1] for layer in layers], [layer[-1] for layer in layers], classes=classes
    )


def score(job: Training) -> float:
    """Train in rounds, merged by the rule that the job names; percent."""
    rule = next(rule for rule in RULES if rule.about == job.method)
    problem = centred(job.source, job.problem)
    options: dict[str, Any] = {
        "hidden_layer_sizes": problem.hidden,
        "activation": "relu",
        "batch_size": 1,
        "learning_rate_schedule": "constant",
        "shuffle": False,
        "merge_every": None,
        "workers": 1,
        **AS_GIVEN,
    }
    model = omp_mlp.train_parallel(
        problem.X, problem.y, 1, seed=job.seed, epochs=0, learning_rate=0, **options
    )
    master = layers_of(model)
    velocity = [np.zeros_like(layer) for layer in master]
    late: list[list[Array]] = []
    epochs = range(round(job.epochs or 1))
    shuffled = [np.random.default_rng((job.seed, k)).permutation(len(problem.X)) for k in epochs]
    order = np.concatenate(shuffled)
    round_size = min(job.threads * job.options["merge_every"], len(problem.X))
    for begin in range(0, len(order) - round_size + 1, round_size):
        rows = order[begin : begin + round_size]
        trained = omp_mlp.train_parallel(
            problem.X[rows],
            problem.y[rows],
            job.threads,
            "average",
            init=network(master, model.classes),
            keep_replicas=True,
            epochs=1,
            learning_rate=job.options["learning_rate"] * (1 - begin / len(order)),
            **options,
        )
        replicas = [layers_of(replica) for replica in trained.replicas]
        late.append(
            [
                rule.of_layer(np.stack([replica[k] for replica in replicas]) - layer)
                for k, layer in enumerate(master)
            ]
        )
        if len(late) > rule.delay:
            for layer, moved, update in zip(master, velocity, late.pop(0), strict=True):
                moved *= rule.momentum
                moved += update
                layer += moved
    return percent(network(master, model.classes), problem)


@cache
def centred(source: Source, slug: str) -> Problem:
    """Return the validation split, as floats with the mean of the training part taken off."""
    split = source.load(slug).held_out()
    X, X_test = (np.float32(part) / 256 for part in (split.X, split.X_test))
    mean = X.mean(axis=0)
    return replace(split, X=X - mean, X_test=X_test - mean)


def touched_rows(problem: Problem, samples: int) -> float:
    """Return the share of the first layer's rows that so many samples touch."""
    X = problem.X[np.random.default_rng(0).permutation(len(problem.X))]
    blocks = X[: len(X) // samples * samples].reshape(-1, samples, X.shape[1])[:500]
    return float((blocks != 0).any(axis=1).mean())
