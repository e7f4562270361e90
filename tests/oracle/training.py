"""Blocks, orders, rounds and batches of samples, and the training that goes through them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from oracle.merging import MERGES, MergeInput, Outer, outer_step
from oracle.network import (
    FloatArray,
    Parameters,
    batch_loss,
    dropout_factors,
    flatten,
    gradient,
    initial_parameters,
    layer_boundaries,
    layer_sizes_of,
    unflatten,
)
from oracle.optimizer import Optimizer, Settings, learning_rate_at, merge_states
from oracle.random import ORDER, IntArray, derive, permutation
from oracle.sending import merge_largest


def block(n_samples: int, threads: int, i: int) -> tuple[int, int]:
    """Return start and stop of block i of ``numpy.array_split`` of n_samples into threads blocks.

    The first (n_samples mod threads) blocks hold one sample more than the others.
    """
    size, larger_blocks = divmod(n_samples, threads)
    start = i * size + min(i, larger_blocks)
    stop = start + size + (1 if i < larger_blocks else 0)
    return start, stop


def sample_order(
    n_samples: int, threads: int, replica: int, epoch: int, shuffle: str | bool, seed: int
) -> IntArray:
    """Return the samples of a replica in an epoch, in order.

    Position j holds

    shuffle=False:    start + j
    shuffle="shards": start + permutation(size, key(replica, epoch))[j]
    shuffle="global": permutation(n_samples, key(0, epoch))[start + j]

    with key(s, e) = derive(derive(derive(seed, ORDER), s), e).
    """
    start, stop = block(n_samples, threads, replica)

    def key(stream: int) -> int:
        return derive(derive(derive(seed, ORDER), stream), epoch)

    if shuffle is False:
        return np.arange(start, stop)
    if shuffle == "shards":
        return start + permutation(stop - start, key(replica))
    if shuffle == "global":
        return permutation(n_samples, key(0))[start:stop]
    raise ValueError(f"shuffle must be 'global', 'shards' or False, got {shuffle!r}")


def rounds(
    n_samples: int,
    threads: int,
    epochs: int,
    merge_every: int | tuple[int, int] | None,
    batch_size: int = 1,
) -> list[list[tuple[int, int]]]:
    """Return, for each round and each replica, the span of stream positions that it trains on.

    A replica's stream has L = epochs * (size of its block) positions. merge_every=None: one round
    with the whole stream. merge_every=H: ceil(epochs * size of the largest block / H) rounds;
    round r has positions [r H, (r + 1) H), cut off at L. No epochs: no rounds.

    merge_every=(A, B), with L the length of the longest stream: a round at position p should have
    H(p) = A (B / A)^(p / L) positions. Counting rounds by r, 1 / H(p) = dr / dp, so that

    r(p) = integral from 0 to p of 1 / H = L / (A g) (1 - exp(-g p / L)),  g = log(B / A);

    round r ends where r(p) = r + 1, found here by bisection, rounded down to whole batches; the
    last one ends at L.
    """
    lengths = []
    for i in range(threads):
        start, stop = block(n_samples, threads, i)
        lengths.append(epochs * (stop - start))
    longest = lengths[0]
    if longest == 0:
        return []
    if isinstance(merge_every, tuple) and merge_every[0] == merge_every[1]:
        merge_every = merge_every[0]
    if merge_every is None:
        ends = [longest]
    elif isinstance(merge_every, int):
        ends = [*range(merge_every, longest, merge_every), longest]
    else:
        ends = growing_ends(longest, *merge_every, batch_size)
    return [
        [(min(first, length), min(last, length)) for length in lengths]
        for first, last in pairwise([0, *ends])
    ]


def growing_ends(length: int, first: int, last: int, batch_size: int) -> list[int]:
    """Return where the rounds end whose length goes from first to last."""
    growth = math.log(last / first)

    def rounds_until(p: float) -> float:
        return length / (first * growth) * (1 - math.exp(-growth * p / length))

    ends = []
    while rounds_until(length) > len(ends) + 1:
        low, high = 0.0, float(length)
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if rounds_until(middle) < len(ends) + 1 else (low, middle)
        # Where a bisection meets a whole number, it does so up to rounding.
        ends.append(int((high + 1e-6) // batch_size) * batch_size)
    return [*ends, length]


def batches(start: int, stop: int, epoch_length: int, batch_size: int) -> list[tuple[int, int]]:
    """Return the batches (first position, size) of the stream positions [start, stop) of a round.

    A batch has min(batch_size, rest of the epoch, rest of the round) samples.
    """
    result = []
    position = start
    while position < stop:
        rest_of_epoch = epoch_length - position % epoch_length
        size = min(batch_size, rest_of_epoch, stop - position)
        result.append((position, size))
        position += size
    return result


@dataclass
class TrainingResult:
    """What a training leaves.

    Attributes
    ----------
    parameters : list of (W, b)
        The master.
    replicas : list of list of (W, b)
        The replicas that went into the last merge; empty when there was no round.
    losses : (rounds,) array of float64
        Mean of sample_weight * loss over the samples of a round, each before the step that uses it.
    sample_counts : (rounds, threads) array of int64
        Samples that each replica processed in each round.
    """

    parameters: Parameters
    replicas: list[Parameters]
    losses: NDArray[np.float64]
    sample_counts: IntArray


def train_replica(
    parameters: Parameters,
    X: FloatArray,
    y: NDArray[Any],
    sample_weight: FloatArray,
    stream: IntArray,
    spans: Sequence[tuple[int, int]],
    optimizer: Optimizer,
    *,
    learning_rate: float,
    learning_rate_schedule: str,
    power_t: float,
    warmup_share: float,
    activation: str,
    output_activation: str,
    loss: str,
    epoch_length: int,
    dropout: Sequence[float],
    seed: int,
    **settings: float,
) -> tuple[Parameters, float]:
    """Take one step for each batch (first position, size) of a replica's stream of samples.

    Returns the new parameters and the sum of sample_weight * loss over the samples, each taken
    before the step that uses it. ``dropout`` has the rate of each hidden layer, or nothing.
    """
    network: dict[str, Any] = {
        "activation": activation,
        "output_activation": output_activation,
        "loss": loss,
        **settings,
    }
    loss_sum = 0.0
    for position, size in spans:
        i = stream[position : position + size]
        network["dropout"] = [
            dropout_factors(seed, position // epoch_length, i.tolist(), layer, len(biases), rate)
            for layer, ((_, biases), rate) in enumerate(zip(parameters, dropout, strict=False))
        ]
        loss_sum += size * batch_loss(parameters, X[i], y[i], sample_weight[i], **network)
        gradients = gradient(parameters, X[i], y[i], sample_weight[i], **network)
        rate = learning_rate_at(
            learning_rate, learning_rate_schedule, position, len(stream),
            power_t=power_t, warmup_share=warmup_share,
        )  # fmt: skip
        parameters = optimizer.step(parameters, gradients, rate)
    return parameters, loss_sum


def starts(
    init: str | Parameters,
    layer_sizes: Sequence[int],
    threads: int,
    seed: int,
    init_scale: str | float,
    dtype: DTypeLike,
) -> list[Parameters]:
    """Return the parameters that each replica starts from."""
    if not isinstance(init, str):
        start = [(weights.astype(dtype), biases.astype(dtype)) for weights, biases in init]
        return [start] * threads
    if init not in ("shared", "independent"):
        raise ValueError(f"init must be 'shared', 'independent' or parameters, got {init!r}")
    return [
        initial_parameters(layer_sizes, seed, i if init == "independent" else 0, init_scale, dtype)
        for i in range(threads)
    ]


def stream_of(
    n_samples: int, threads: int, replica: int, epochs: int, shuffle: str | bool, seed: int
) -> IntArray:
    """Return a replica's samples in all its epochs, one after another."""
    orders = [sample_order(n_samples, threads, replica, e, shuffle, seed) for e in range(epochs)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *orders])


@dataclass
class Plateau:
    """Says when the rate of "adaptive" falls, from the rounds' sums of losses.

    At the end of a round in which an epoch of the largest block ends, the mean loss since the last
    such end is judged. It fails if it is not below the least one before by ``tol``. The rate falls
    after two failures in turn.
    """

    epoch: int
    tol: float
    judged: int = 0
    samples: int = 0
    loss_sum: float = 0.0
    least: float = math.inf
    failures: int = 0

    def end_round(self, position: int, samples: int, loss_sum: float) -> bool:
        self.samples += samples
        self.loss_sum += loss_sum
        if position // self.epoch == self.judged:
            return False
        mean = self.loss_sum / self.samples
        self.judged, self.samples, self.loss_sum = position // self.epoch, 0, 0.0
        self.failures = self.failures + 1 if mean > self.least - self.tol else 0
        self.least = min(self.least, mean)
        if self.failures < 2:
            return False
        self.failures = 0
        return True


def merged(
    method: str,
    base: FloatArray,
    networks: Sequence[FloatArray],
    samples: Sequence[int],
    *,
    boundaries: Sequence[int],
    options: dict[str, float | str],
) -> FloatArray:
    """Apply a merge method; networks without any samples among them weigh the same."""
    total = sum(samples)
    share = [count / total if total else 1 / len(samples) for count in samples]
    return MERGES[method](MergeInput(base, networks, share, boundaries, options))


def train_parallel(
    X: ArrayLike,
    y: ArrayLike,
    threads: int,
    merge: str,
    *,
    hidden_layer_sizes: Sequence[int] = (128,),
    activation: str = "relu",
    output_activation: str,
    loss: str,
    huber_delta: float = 1.0,
    quantile: float = 0.5,
    label_smoothing: float = 0.0,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    learning_rate_schedule: str = "linear",
    power_t: float = 0.5,
    tol: float = 1e-4,
    warmup_share: float = 0.0,
    optimizer: str = "sgd",
    merge_every: int | tuple[int, int] | None,
    merge_options: dict[str, float | str] | None = None,
    outer_optimizer: str = "momentum",
    outer_learning_rate: float = 1.0,
    outer_momentum: float,
    last_merge: str | None = None,
    state_at_merge: str = "keep",
    warmup_samples: int = 0,
    ranks: int = 1,
    merge_ranks_every: int = 1,
    sent_share: float | None = None,
    overlap: bool = False,
    first_round: int = 0,
    init: str | Parameters = "shared",
    init_scale: str | float,
    shuffle: str | bool = "global",
    sample_weight: ArrayLike | None = None,
    dropout: float | Sequence[float] = 0.0,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
    **settings: float,
) -> TrainingResult:
    """Train ``threads`` replicas one after the other, round by round, and merge them.

    The keywords are those of ``omp_mlp.train_parallel``; where its default is "auto", the value
    must be given here. ``settings`` are those of the optimiser. X is dense and already scaled. y
    holds class indices (integers from 0) or real targets, (N,) or (N, k). init is "shared" (every
    replica starts as replica 0), "independent", or the parameters to start from, whose layer sizes
    then hold.

    In each round every replica trains on its own samples from where the last merge left it;
    then master = merge(base = the round's start, replicas), and all go on from the master.
    With independent starts the base of the first round is the start of replica 0.

    Every replica has an optimiser of its own. Merges leave its state as it is ("keep"), make it the
    mean over all replicas, with the largest number of steps ("average"), or end it ("reset").

    A batch larger than X is all of X, also where rounds end at whole batches.

    A warm-up is a training of one replica on the first samples of what would be its order if it
    were alone, at the constant rate; all replicas start from its end, with new optimisers. It is
    the first round of the losses and of the sample counts (of replica 0).

    merge_ranks_every=K above 1: in every merge, each of ``ranks`` groups of replicas becomes a
    network by itself, from where that group's last merge left it, without the outer step. After K
    merges, and after the last one, a second merge makes these networks the master, from where the
    last of these second merges left off. That is the end of a round.

    sent_share: the ranks send the largest of their updates, as large a share of all of them, where
    they merge; not in a ``last_merge``. See ``oracle.sending``.

    overlap: the ranks merge their own replicas in every merge, as with K above 1. The merge of the
    ranks at the end of a round adds up v_r - w_r, what rank r has learned since it began the round
    at w_r. It is made after the next round, whose w_r is master + 0.85 (v_r - master), with the
    master as it is before that merge. The last two merges come one after the other.

    first_round: the rounds before it are left out. The positions are those of the whole training.
    """
    X = np.asarray(X).astype(dtype)
    y = np.asarray(y)
    is_classes = np.issubdtype(y.dtype, np.integer)
    if not is_classes:
        y = y.astype(dtype).reshape(len(y), -1)
    n_samples, n_features = X.shape
    batch_size = min(batch_size, n_samples)
    weight = np.ones(n_samples) if sample_weight is None else np.asarray(sample_weight)
    weight = weight.astype(dtype)

    n_outputs = int(y.max()) + 1 if is_classes else y.shape[1]
    layer_sizes = [n_features, *hidden_layer_sizes, n_outputs]
    if not isinstance(init, str):
        layer_sizes = layer_sizes_of(init)
    replicas = starts(init, layer_sizes, threads, seed, init_scale, dtype)
    streams = [stream_of(n_samples, threads, i, epochs, shuffle, seed) for i in range(threads)]
    optimizers = [Optimizer(optimizer, Settings(**settings)) for _ in range(threads)]
    outer = Outer(outer_optimizer, outer_learning_rate, outer_momentum)
    master = replicas[0]
    trained: list[Parameters] = []
    losses: list[float] = []
    sample_counts: list[list[int]] = []
    network: dict[str, Any] = {
        "activation": activation,
        "output_activation": output_activation,
        "loss": loss,
        "huber_delta": huber_delta,
        "quantile": quantile,
        "label_smoothing": label_smoothing,
        "dropout": (
            [dropout] * (len(layer_sizes) - 2) if isinstance(dropout, (int, float)) else dropout
        ),
        "seed": seed,
    }

    if warmup_samples > 0:
        epochs_of_warmup = math.ceil(warmup_samples / n_samples)
        master, loss_sum = train_replica(
            master,
            X,
            y,
            weight,
            stream_of(n_samples, 1, 0, epochs_of_warmup, shuffle, seed),
            batches(0, warmup_samples, n_samples, batch_size),
            Optimizer(optimizer, Settings(**settings)),
            learning_rate=learning_rate,
            learning_rate_schedule="constant",
            power_t=power_t,
            warmup_share=0.0,
            epoch_length=n_samples,
            **network,
        )
        replicas = [master] * threads
        losses.append(loss_sum / warmup_samples)
        sample_counts.append([warmup_samples] + [0] * (threads - 1))

    plateau = Plateau(block(n_samples, threads, 0)[1], tol)
    all_rounds = rounds(n_samples, threads, epochs, merge_every, batch_size)
    merge_networks = functools.partial(
        merged, boundaries=layer_boundaries(layer_sizes), options=merge_options or {}
    )
    of_ranks = [flatten(master)] * ranks
    left = [np.zeros_like(of_ranks[0])] * ranks
    counts, loss_sum, begin = [0] * threads, 0.0, None

    def merge_all(
        base: FloatArray, networks: list[FloatArray], samples: list[int], is_last: bool
    ) -> FloatArray:
        method = str(last_merge) if last_merge is not None and is_last else merge
        if sent_share is None or (last_merge is not None and is_last):
            return merge_networks(method, base, networks, samples)
        share = [count / sum(samples) for count in samples]
        return merge_largest(
            method,
            MergeInput(base, networks, share, layer_boundaries(layer_sizes), merge_options or {}),
            [i * ranks // len(networks) for i in range(len(networks))],
            math.ceil(sent_share * len(base)),
            left,
        )

    def end_round(
        begin: int,
        end: int,
        networks: list[FloatArray],
        samples: list[int],
        counts: list[int],
        loss_sum: float,
        is_last: bool,
    ) -> None:
        nonlocal master, learning_rate
        base = flatten(master)
        merge_of_all = merge_all(base, networks, samples, is_last)
        if last_merge is None or not is_last:
            rate = learning_rate_at(
                learning_rate, learning_rate_schedule, begin, all_rounds[-1][0][1],
                power_t=power_t, warmup_share=warmup_share,
            )  # fmt: skip
            merge_of_all = outer_step(outer, base, merge_of_all, rate)
        master = unflatten(merge_of_all, layer_sizes)
        falls = plateau.end_round(end, sum(counts), loss_sum)
        if falls and learning_rate_schedule == "adaptive":
            learning_rate /= 5
        losses.append(loss_sum / sum(counts))
        sample_counts.append(counts)

    def end_late(begin: int, end: int, updates: list[FloatArray], *others: Any) -> None:
        W = flatten(master)
        end_round(begin, end, [(W + update).astype(dtype) for update in updates], *others)

    waiting: tuple[Any, ...] | None = None  # the round whose merge is late
    begun_at = list(of_ranks)
    for number, spans in enumerate(all_rounds):
        if number < first_round:
            continue
        begin = spans[0][0] if begin is None else begin
        trained = []
        for i, (first, last) in enumerate(spans):
            block_start, block_stop = block(n_samples, threads, i)
            parameters, replica_loss = train_replica(
                replicas[i],
                X,
                y,
                weight,
                streams[i],
                batches(first, last, block_stop - block_start, batch_size),
                optimizers[i],
                learning_rate=learning_rate,
                learning_rate_schedule=learning_rate_schedule,
                power_t=power_t,
                warmup_share=warmup_share,
                epoch_length=block_stop - block_start,
                **network,
            )
            trained.append(parameters)
            loss_sum += replica_loss
            counts[i] += last - first
        is_last = number + 1 == len(all_rounds)
        method = str(last_merge) if last_merge is not None and is_last else merge
        networks = [flatten(parameters) for parameters in trained]
        samples = counts
        if merge_ranks_every > 1 or overlap:
            own = [range(r * threads // ranks, (r + 1) * threads // ranks) for r in range(ranks)]
            of_ranks = [
                merge_networks(
                    method,
                    of_ranks[r],
                    [networks[i] for i in own[r]],
                    [spans[i][1] - spans[i][0] for i in own[r]],
                )
                for r in range(ranks)
            ]
            merge_states(optimizers, state_at_merge)
            if not is_last and (number + 1) % merge_ranks_every != 0:
                replicas = [
                    unflatten(of_ranks[r], layer_sizes) for r in range(ranks) for _ in own[r]
                ]
                continue
            networks, samples = of_ranks, [sum(counts[i] for i in own[r]) for r in range(ranks)]
        if overlap:
            updates = [v.astype(float) - w for v, w in zip(of_ranks, begun_at, strict=True)]
            if waiting is not None:
                end_late(*waiting)
            waiting = (begin, spans[0][1], updates, samples, counts, loss_sum, is_last)
            if is_last:
                end_late(*waiting)
            W = flatten(master).astype(float)
            of_ranks = [(W + 0.85 * (v - W)).astype(dtype) for v in of_ranks]
            begun_at = list(of_ranks)
            replicas = [unflatten(of_ranks[r], layer_sizes) for r in range(ranks) for _ in own[r]]
        else:
            end_round(begin, spans[0][1], networks, samples, counts, loss_sum, is_last)
            replicas = [master] * threads
            of_ranks = [flatten(master)] * ranks
            if merge_ranks_every == 1:
                merge_states(optimizers, state_at_merge)
        counts, loss_sum, begin = [0] * threads, 0.0, None

    return TrainingResult(
        parameters=master,
        replicas=trained,
        losses=np.array(losses, dtype=np.float64),
        sample_counts=np.array(sample_counts, dtype=np.int64).reshape(-1, threads),
    )
