"""Figures 3, 4 and 5 of the note, measured here, and what they say about its claims.

The note (J. A. Ott, 2017) trains a perceptron 784-128-10 on MNIST with n threads. Each thread
trains a network of its own on its n-th of the samples, and at the end the networks are merged into
one, by their average (Equation 1) or by their sum (Equation 2).

Figure 3  training time against threads
Figure 4  accuracy against threads, `average`
Figure 5  accuracy against threads, `sum` (green) beside `average`

    python benchmarks/reproduce_figures.py            # threads 1 2 4 6 8 10 12 16, five seeds
    python benchmarks/reproduce_figures.py --quick    # two seeds, three timing passes

How it is measured
------------------
Accuracy and time are taken apart. For accuracy there is one training for each (threads, seed) with
``merge="average"`` and ``keep_replicas=True``; the replicas are then merged again by ``sum``, which
gives the same bits as a training with ``merge="sum"``, and are scored one by one and as an
ensemble.

For time the thread counts take turns, in passes, forwards and backwards, so that a slow spell of
the machine does not fall on one of them. Of the passes the median and the range are shown. A
speed-up is the median of the ratios within a pass. Time is ``history.train_seconds +
history.merge_seconds``: loading the data and checking the arguments are not in it.

The verdicts are computed from the numbers; ``judge_*`` below hold the criteria.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    from tqdm import tqdm

    import omp_mlp
    from omp_mlp import datasets
except ImportError as missing:
    raise SystemExit(f"{missing}. From the project's root: pip install '.[bench]'") from missing

# Found next to this file, from whatever directory the script is started.
sys.path.insert(0, str(Path(__file__).resolve().parent))
import _report as report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

THREADS = (1, 2, 4, 6, 8, 10, 12, 16)
COLOURS = report.COLOURS

PRESETS: dict[str, dict[str, Any]] = {
    # The note leaves activation, loss, learning rate and initialisation open; these settings come
    # closest to its figures.
    "paper": dict(omp_mlp.PAPER),
    # What most people would take today, and all replicas start from the same weights.
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

# Curves of Figure 3: label, colour, marker, its size, line, its width. The two measured curves can
# lie on top of each other, so the lower one is drawn wider.
TIME_CURVES = {
    "system_threads": (
        "measured, n operating-system threads",
        COLOURS["blue"],
        "o",
        9.0,
        "solid",
        3.2,
    ),
    "core_workers": (
        "measured, as many workers as cores",
        COLOURS["red"],
        "s",
        5.0,
        (0, (4, 1.6)),
        1.6,
    ),
    "modelled": (
        "modelled for a machine with n cores",
        COLOURS["purple"],
        "D",
        6.0,
        (0, (6, 1.4, 1.2, 1.4)),
        1.8,
    ),
}

# Curves of Figures 4 and 5, ways to get an answer out of the same replicas: label, colour, marker,
# line.
ACCURACY_CURVES = {
    "logit_ensemble": ("logit ensemble", COLOURS["purple"], "D", (0, (1, 1.2))),
    "single_replica": ("mean single replica", COLOURS["orange"], "s", (0, (4, 1.6))),
    "sum": ("sum (Eq. 2)", COLOURS["green"], "^", "solid"),
    "average": ("average (Eq. 1)", COLOURS["blue"], "o", "solid"),
}

# A speed-up counts from here on; below it is noise.
FASTER = 1.05
# Points of accuracy that pass for "about ten".
ABOUT_TEN = (5.0, 15.0)
# Training that gets less of its cores than this shares them with other work: its wall-clock time
# says nothing about threads.
QUIET = 0.9
# Timing stops after the pass that uses this up, but not before three passes.
TIMING_BUDGET_SECONDS = 60.0


# --- data ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """A data set, split, with the name that goes on every picture and table."""

    name: str
    slug: str
    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    def describe(self) -> dict[str, Any]:
        """Describe the data for files."""
        return {
            "name": self.name,
            "training_samples": len(self.X_train),
            "test_samples": len(self.X_test),
            "features": self.X_train.shape[1],
            "classes": len(np.unique(self.y_train)),
            "dtype": str(self.X_train.dtype),
        }

    def line(self) -> str:
        """Describe the data in one line, for pictures and the terminal."""
        return f"{self.name}, {len(self.X_train):,} training and {len(self.X_test):,} test samples"


def load_data(choice: str, limit: int | None) -> Data:
    """Load what ``--data`` names; ``auto`` falls back to the digits, with one line that says so."""
    if choice != "digits":
        path = None if choice in ("auto", "mnist") else choice
        try:
            arrays = datasets.load_mnist(path, split="paper", dtype="float32")
        # ImportError: not here, and nothing to download it with.
        except (datasets.DatasetNotFoundError, ImportError) as error:
            if choice != "auto":
                raise SystemExit(str(error)) from error
            tqdm.write("MNIST is neither here nor to be downloaded: going on with augmented digits")
        else:
            X_train, y_train, X_test, y_test = arrays
            if limit is not None:
                X_train, y_train = X_train[:limit], y_train[:limit]
                X_test, y_test = X_test[: max(1, limit // 5)], y_test[: max(1, limit // 5)]
            return Data("MNIST", "mnist", X_train, y_train, X_test, y_test)
    n_train = 50_000 if limit is None else limit
    arrays = datasets.load_augmented_digits(n_train, max(1, n_train // 5), dtype="float32", seed=0)
    return Data("augmented digits (scikit-learn)", "augmented-digits", *arrays)


# --- measuring ----------------------------------------------------------------------------------


def accuracy(logits: np.ndarray, model: omp_mlp.Model, y: np.ndarray) -> float:
    """Percentage of samples whose largest logit is that of their class."""
    assert model.classes is not None
    return 100.0 * float(np.mean(model.classes[logits.argmax(axis=1)] == y))


def amplify_hidden(model: omp_mlp.Model, gain: int) -> omp_mlp.Model:
    """Multiply all parameters but the output layer's by ``gain``."""
    factors = [gain] * (len(model.weights) - 1) + [1]
    return omp_mlp.Model(
        [np.float32(factor) * W for factor, W in zip(factors, model.weights, strict=True)],
        [np.float32(factor) * b for factor, b in zip(factors, model.biases, strict=True)],
        activation=model.activation,
        output_activation=model.output_activation,
        classes=model.classes,
    )


def measure_accuracy(
    data: Data,
    threads: Sequence[int],
    seeds: Sequence[int],
    options: Mapping[str, Any],
    progress: tqdm,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Train once for each (threads, seed) and score every way to use the replicas.

    Returns
    -------
    accuracies : dict of arrays of shape (len(threads), len(seeds)), percent
    sum_identity : dict
        The check that `sum` is the average with W and b of the hidden layers multiplied by n:
        accuracies of both and the number of test samples on which their answers differ.
    """
    shape = (len(threads), len(seeds))
    accuracies = {curve: np.empty(shape) for curve in ACCURACY_CURVES}
    amplified = np.empty(shape)
    differing = np.empty(shape, dtype=np.int64)
    for i, n in enumerate(threads):
        for j, seed in enumerate(seeds):
            progress.set_description(f"accuracy, {n} threads, seed {seed}")
            average = omp_mlp.train_parallel(
                data.X_train,
                data.y_train,
                n,
                "average",
                seed=seed,
                keep_replicas=True,
                **options,
            )
            total = omp_mlp.merge(average.replicas, "sum")
            replica_logits = [
                replica.decision_function(data.X_test) for replica in average.replicas
            ]
            sum_logits = total.decision_function(data.X_test)
            gain_logits = amplify_hidden(average, n).decision_function(data.X_test)

            def score(logits: np.ndarray, model: omp_mlp.Model = average) -> float:
                return accuracy(logits, model, data.y_test)

            accuracies["average"][i, j] = score(average.decision_function(data.X_test))
            accuracies["sum"][i, j] = score(sum_logits)
            accuracies["single_replica"][i, j] = np.mean([score(z) for z in replica_logits])
            accuracies["logit_ensemble"][i, j] = score(np.mean(replica_logits, axis=0))
            amplified[i, j] = score(gain_logits)
            differing[i, j] = np.sum(sum_logits.argmax(axis=1) != gain_logits.argmax(axis=1))
            progress.update()
    largest = float(np.abs(accuracies["sum"] - amplified).max())
    return accuracies, {
        "statement": "accuracy of `sum` equals that of the average with W and b of every hidden "
        "layer multiplied by n (a factor on the output layer does not move the argmax)",
        "sum": accuracies["sum"],
        "average_with_hidden_layers_times_n": amplified,
        "differing_predictions": differing,
        "test_samples": len(data.y_test),
        "largest_accuracy_difference": largest,
        # n times a rounded average is not the rounded sum to the last bit, so a sample whose two
        # largest logits are as good as equal may fall to either side.
        "holds": bool(differing.max() <= max(1, len(data.y_test) // 1000)),
    }


def measure_time(
    data: Data,
    threads: Sequence[int],
    passes: int,
    options: Mapping[str, Any],
    progress: tqdm,
) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Time training for each thread count, in passes.

    Returns
    -------
    seconds : dict of arrays of shape (len(threads), passes)
    rows : list of dict
        Every single run with its parts.
    """

    def run(n: int, workers: int | None, number: int) -> dict[str, Any]:
        progress.set_description(f"time, {n} threads, pass {number + 1}")
        start = time.perf_counter()
        model = omp_mlp.train_parallel(
            data.X_train, data.y_train, n, "average", seed=0, workers=workers, **options
        )
        call = time.perf_counter() - start
        progress.update()
        history = model.history
        return {
            "threads": n,
            "workers": "as many as cores" if workers is None else workers,
            "pass": number,
            "train_seconds": float(np.sum(history.train_seconds)),
            "merge_seconds": float(np.sum(history.merge_seconds)),
            "slowest_replica_cpu_seconds": float(np.sum(history.slowest_replica_seconds)),
            "call_seconds": call,
        }

    rows: list[dict[str, Any]] = []
    seconds: dict[str, list[list[float]]] = {curve: [[] for _ in threads] for curve in TIME_CURVES}
    begin = time.perf_counter()
    for number in range(passes):
        order = range(len(threads))
        for i in order if number % 2 == 0 else reversed(order):
            n = threads[i]
            own = run(n, n, number)
            # With one replica both are the same run.
            shared = own if n == 1 else run(n, None, number)
            rows += [own] if n == 1 else [own, shared]
            seconds["system_threads"][i].append(own["train_seconds"] + own["merge_seconds"])
            seconds["core_workers"][i].append(shared["train_seconds"] + shared["merge_seconds"])
            # Of the run with a core for each worker: a replica that shares its core with others
            # finds its weights evicted from the cache, which n cores would spare it.
            seconds["modelled"][i].append(
                shared["slowest_replica_cpu_seconds"] + shared["merge_seconds"]
            )
        if number >= 2 and time.perf_counter() - begin > TIMING_BUDGET_SECONDS:
            break
    return {curve: np.array(runs) for curve, runs in seconds.items()}, rows


def speedups(seconds: np.ndarray, one_thread: int) -> np.ndarray:
    """Speed-up over one thread: the median over the passes of the ratio within a pass."""
    return np.asarray(np.median(seconds[one_thread] / seconds, axis=1))


def undisturbed_share(rows: Sequence[Mapping[str, Any]], cores: int) -> float:
    """Share of the wall-clock time in which the slowest replica had a core to itself.

    Taken from the runs with no more replicas than cores: about 1 on a quiet machine, less where
    other work takes part of the cores. The lowest median over the thread counts.
    """
    shares: dict[int, list[float]] = {}
    for row in rows:
        if row["threads"] <= cores:
            share = row["slowest_replica_cpu_seconds"] / row["train_seconds"]
            shares.setdefault(row["threads"], []).append(share)
    return min((float(np.median(group)) for group in shares.values()), default=1.0)


# --- judging ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """A claim of the note beside what was measured. ``holds``: yes, partly, no or untested."""

    figure: int
    claim: str
    criterion: str
    holds: str
    verdict: str
    measured: str
    numbers: dict[str, Any] = field(default_factory=dict)


def _listed(values: Sequence[int]) -> str:
    return ", ".join(str(value) for value in values)


def judge_speed(
    threads: Sequence[int], speedup: Mapping[str, Sequence[float]], share: float
) -> Verdict:
    """Judge "not faster until six threads".

    Parameters
    ----------
    threads : sequence of int, increasing
    speedup : mapping
        For each curve of Figure 3 the speed-up over one thread, for each of ``threads``.
    share : float
        What :func:`undisturbed_share` returns.
    """
    claim = "Training is not faster until six threads."
    criterion = (
        f"faster: median speed-up over one thread of at least {FASTER:g}. Holds if no n < 6 is "
        "faster and the first n >= 6 is, measured with n operating-system threads. Judged only if "
        f"training had at least {QUIET:.0%} of its cores."
    )
    early = [n for n in threads if 1 < n < 6]
    late = [n for n in threads if n >= 6]
    numbers: dict[str, Any] = {
        "threads": list(threads),
        "speedup": dict(speedup),
        "undisturbed_share": share,
    }
    if threads[0] != 1 or not early or not late:
        missing = "needs one thread, some of 2 to 5 and some from 6 on"
        return Verdict(3, claim, criterion, "untested", f"not tested: {missing}", "-", numbers)
    first: dict[str, int | None] = {}
    parts = []
    for curve, (label, *_) in TIME_CURVES.items():
        pairs = [(n, s) for n, s in zip(threads, speedup[curve], strict=True) if n > 1]
        first[curve] = next((n for n, s in pairs if s >= FASTER), None)
        shown = [p for p in pairs if p[0] in (early[0], early[-1], late[0], late[-1])]
        parts.append(f"{label}: " + ", ".join(f"{s:.2f}x at {n}" for n, s in shown))
    numbers["first_faster"] = first
    start = first["system_threads"]
    if share < QUIET:
        holds = "untested"
        verdict = f"not judged: other work left training only {share:.0%} of its cores"
    elif start is None:
        holds, verdict = "no", "does not hold: not faster with any number of threads"
    elif start == late[0]:
        holds, verdict = "yes", f"holds: faster from {start} threads on"
    elif start > late[0]:
        holds, verdict = "no", f"does not hold: faster only from {start} threads on"
    else:
        at = speedup["system_threads"][list(threads).index(start)]
        holds, verdict = "no", f"does not hold: {at:.2f} times as fast with {start} threads already"
    return Verdict(3, claim, criterion, holds, verdict, "\n".join(parts), numbers)


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 1, ties sharing their mean."""
    array = np.asarray(values, dtype=np.float64)
    below = (array[None, :] < array[:, None]).sum(axis=1)
    equal = (array[None, :] == array[:, None]).sum(axis=1)
    return np.asarray(below + (equal + 1) / 2)


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 when one side is constant."""
    a, b = _ranks(x), _ranks(y)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else 0.0


def judge_fall(threads: Sequence[int], average: np.ndarray, single_replica: np.ndarray) -> Verdict:
    """Judge "accuracy falls as threads grow" on runs of shape (len(threads), seeds), percent."""
    claim = "Accuracy falls as threads grow."
    criterion = (
        "on the means over seeds under `average`: holds if every step is down, in tendency if "
        "Spearman's rank correlation with n is -0.8 or below, and in both cases only if the drop "
        "from the fewest to the most threads is above twice its standard deviation over seeds."
    )
    if len(threads) < 2:
        return Verdict(4, claim, criterion, "untested", "not tested: one thread count", "-")
    mean = average.mean(axis=1)
    ends = average[[0, -1]]
    sd = float(np.sqrt(ends.var(axis=1, ddof=1).sum())) if average.shape[1] > 1 else 0.0
    rho = spearman(threads, mean)
    drop = float(mean[0] - mean[-1])
    steps = np.diff(mean)
    single_drop = float(np.subtract(*single_replica.mean(axis=1)[[0, -1]]))
    first, last = threads[0], threads[-1]
    measured = (
        f"average: {mean[0]:.1f} % at {first}, {mean[-1]:.1f} % at {last}: {drop:.1f} points less "
        f"(rank correlation {rho:+.2f})\nmean single replica: {single_drop:.1f} points less"
    )
    large = drop > 2 * sd
    up = [n for n, step in zip(threads[1:], steps, strict=True) if step >= 0]
    if large and not up:
        holds, verdict = "yes", "holds: down at every step"
    elif large and rho <= -0.8:
        holds, verdict = "partly", f"holds in tendency: not down at n = {_listed(up)}"
    else:
        holds = "no"
        why = "the drop is within the spread" if rho <= -0.8 else "no fall with n"
        verdict = f"does not hold: {why}"
    numbers = {
        "threads": list(threads),
        "average_mean": mean,
        "spearman": rho,
        "drop_points": drop,
        "drop_sd_points": sd,
        "single_replica_drop_points": single_drop,
    }
    return Verdict(4, claim, criterion, holds, verdict, measured, numbers)


def judge_gain(threads: Sequence[int], average: np.ndarray, total: np.ndarray) -> Verdict:
    """Judge "sum about ten points better" on runs of shape (len(threads), seeds), percent."""
    claim = "Sum is about ten points better than average."
    low, high = ABOUT_TEN
    criterion = (
        f"mean gain over seeds for each n > 1; {low:g} to {high:g} points pass for about ten, give "
        "or take one standard error of the mean. Holds if all n do, holds only for those n that do."
    )
    several = [i for i, n in enumerate(threads) if n > 1]
    if not several:
        return Verdict(5, claim, criterion, "untested", "not tested: no n > 1", "-")
    counts = [threads[i] for i in several]
    runs = (total - average)[several]
    gain, seeds = runs.mean(axis=1), runs.shape[1]
    error = runs.std(axis=1, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.zeros(len(counts))
    less = [n for n, g, e in zip(counts, gain, error, strict=True) if g + e < low]
    more = [n for n, g, e in zip(counts, gain, error, strict=True) if g - e > high]
    fit = [n for n in counts if n not in (*less, *more)]
    parts = []
    if less:
        parts.append(f"less at {_listed(less)}")
    if more:
        parts.append(f"more at {_listed(more)}")
    if len(fit) == len(counts):
        holds, verdict = "yes", f"holds for all n > 1: {_listed(counts)}"
    elif len(less) == len(counts):
        holds, verdict = "no", f"does not hold: less than {low:g} points for every n"
    elif fit:
        holds, verdict = "partly", f"holds only for n = {_listed(fit)} ({', '.join(parts)})"
    else:
        holds, verdict = "no", f"does not hold: {', '.join(parts)}"
    measured = (
        f"gain: {gain.mean():+.1f} points in the mean over n > 1, from {gain.min():+.1f} at "
        f"{counts[int(gain.argmin())]} to {gain.max():+.1f} at {counts[int(gain.argmax())]}\n"
        + "by n: "
        + ", ".join(f"{g:+.1f} at {n}" for n, g in zip(counts, gain, strict=True))
    )
    numbers = {
        "threads": counts,
        "gain_points": gain,
        "standard_error_points": error,
        "mean_gain_points": float(gain.mean()),
        "about_ten_at": fit,
    }
    return Verdict(5, claim, criterion, holds, verdict, measured, numbers)


# --- pictures -----------------------------------------------------------------------------------


def _thread_axis(ax: Axes, threads: Sequence[int]) -> None:
    ax.set_xticks(threads)
    ax.set_xlabel("threads (= replicas)")


def _end_labels(ax: Axes, ends: Sequence[tuple[float, str, str]], x: float) -> None:
    """Write the names of curves at their right ends, pushed apart where they would overlap."""
    low, high = ax.get_ylim()
    gap = 0.062 * (high - low)
    placed: list[float] = []
    for y, text, colour in sorted(ends):
        y = max(y, placed[-1] + gap) if placed else y
        placed.append(y)
        ax.annotate(
            text,
            (x, y),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            # Darker than the line: thin letters need more contrast.
            color=[0.78 * part for part in to_rgb(colour)],
            fontsize=9.5,
            weight="bold",
            annotation_clip=False,
        )


def _curve_with_spread(ax: Axes, threads: Sequence[int], runs: np.ndarray, curve: str) -> None:
    """Draw the mean, a band of one standard deviation and the single seeds."""
    _, colour, marker, line = ACCURACY_CURVES[curve]
    mean = runs.mean(axis=1)
    if runs.shape[1] > 1:
        sd = runs.std(axis=1, ddof=1)
        ax.fill_between(threads, mean - sd, mean + sd, color=colour, alpha=0.16, linewidth=0)
    for i, n in enumerate(threads):
        ax.plot([n] * runs.shape[1], runs[i], ".", color=colour, alpha=0.45, markersize=4)
    ax.plot(threads, mean, color=colour, marker=marker, linestyle=line, markeredgecolor="white")


def _accuracy_limits(accuracies: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Find limits that fit all curves, so that Figures 4 and 5 have the same axis."""
    low = min(float(runs.min()) for runs in accuracies.values())
    high = max(float(runs.max()) for runs in accuracies.values())
    room = max(1.0, 0.05 * (high - low))
    return max(0.0, low - room), min(100.0, high + room)


def _spread_note(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}): no spread."
    return (
        f"Mean over {len(seeds)} seeds ({_listed(seeds)}); bands: one standard deviation; "
        "dots: single seeds."
    )


def draw_time(
    threads: Sequence[int], seconds: Mapping[str, np.ndarray], subtitle: str, notes: Sequence[str]
) -> Figure:
    """Draw Figure 3: training time, and the speed-up over one thread, against threads."""
    fig = Figure(figsize=(9.6, 5.5))
    left, right = fig.subplots(1, 2)
    milliseconds = {curve: 1e3 * runs for curve, runs in seconds.items()}
    for curve, (label, colour, marker, size, line, width) in TIME_CURVES.items():
        runs = milliseconds[curve]
        middle = np.median(runs, axis=1)
        look: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "markersize": size,
            "markeredgecolor": "white",
            "linestyle": line,
            "linewidth": width,
        }
        left.fill_between(
            threads, runs.min(axis=1), runs.max(axis=1), color=colour, alpha=0.16, linewidth=0
        )
        left.plot(threads, middle, label=label, **look)
        if threads[0] == 1:
            ratio = runs[0] / runs
            right.fill_between(
                threads, ratio.min(axis=1), ratio.max(axis=1), color=colour, alpha=0.16, linewidth=0
            )
            right.plot(threads, np.median(ratio, axis=1), **look)
    if threads[0] == 1:
        n = np.linspace(1, threads[-1], 200)
        one = float(np.median(milliseconds["system_threads"][0]))
        ideal: dict[str, Any] = {
            "color": COLOURS["grey"],
            "linestyle": (0, (1, 2)),
            "linewidth": 1.3,
            "zorder": 1,
        }
        left.plot(n, one / n, label="ideal: time of one thread / n", **ideal)
        right.plot(n, n, **ideal)
        right.axhline(1, color=COLOURS["grey"], linewidth=0.8, zorder=1)
    for ax in (left, right):
        _thread_axis(ax, threads)
    left.set_ylim(bottom=0)
    left.set_ylabel("training time (ms)")
    right.set_ylabel("speed-up over one thread (times)")
    right.set_ylim(bottom=0)
    title = "Figure 3. Training time against threads"
    report.caption(fig, title, subtitle, notes, legend=left)
    return fig


def draw_average(
    threads: Sequence[int],
    accuracies: Mapping[str, np.ndarray],
    subtitle: str,
    notes: Sequence[str],
) -> Figure:
    """Draw Figure 4: accuracy of `average` against threads, with what the replicas know apart."""
    fig = Figure(figsize=(7.6, 5.0))
    ax = fig.subplots()
    curves = ["logit_ensemble", "single_replica", "average"]
    for curve in curves:
        _curve_with_spread(ax, threads, accuracies[curve], curve)
    ax.set_ylim(*_accuracy_limits(accuracies))
    ends = [
        (float(accuracies[c][-1].mean()), ACCURACY_CURVES[c][0], ACCURACY_CURVES[c][1])
        for c in curves
    ]
    _end_labels(ax, ends, threads[-1])
    _thread_axis(ax, threads)
    ax.set_ylabel("test accuracy (%)")
    title = "Figure 4. Accuracy against threads, merged by average"
    report.caption(fig, title, subtitle, notes)
    return fig


def draw_sum(
    threads: Sequence[int],
    accuracies: Mapping[str, np.ndarray],
    subtitle: str,
    notes: Sequence[str],
) -> Figure:
    """Draw Figure 5: `sum` in green beside `average`, and the gain for each thread count."""
    fig = Figure(figsize=(7.6, 6.6))
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=(2.1, 1))
    for curve in ("average", "sum"):
        _curve_with_spread(top, threads, accuracies[curve], curve)
    top.set_ylim(*_accuracy_limits(accuracies))
    ends = [
        (float(accuracies[c][-1].mean()), ACCURACY_CURVES[c][0], ACCURACY_CURVES[c][1])
        for c in ("average", "sum")
    ]
    _end_labels(top, ends, threads[-1])
    top.set_ylabel("test accuracy (%)")
    gain = accuracies["sum"] - accuracies["average"]
    bottom.axhline(0, color=COLOURS["grey"], linewidth=0.8, zorder=1)
    bottom.axhline(10, color=COLOURS["grey"], linestyle=(0, (5, 3)), linewidth=1.1, zorder=1)
    bottom.annotate(
        "the note:\nabout ten",
        (1.0, 10),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        color=COLOURS["grey"],
        fontsize=9,
        annotation_clip=False,
    )
    bottom.bar(threads, gain.mean(axis=1), width=0.62, color=COLOURS["green"], alpha=0.45)
    for i, n in enumerate(threads):
        bottom.plot([n] * gain.shape[1], gain[i], ".", color=COLOURS["green"], markersize=5)
    bottom.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    bottom.set_ylabel("sum minus\naverage (points)")
    _thread_axis(bottom, threads)
    title = "Figure 5. Accuracy against threads, merged by sum and by average"
    report.caption(fig, title, subtitle, notes)
    return fig


# --- the run ------------------------------------------------------------------------------------


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure Figures 3, 4 and 5 of the note and judge its claims.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--data",
        default="auto",
        metavar="auto|mnist|digits|FOLDER",
        help="auto: MNIST, and augmented digits where it cannot be had; FOLDER: MNIST's four files",
    )
    add("--threads", type=report.positive, nargs="+", default=list(THREADS), metavar="N")
    add(
        "--seeds",
        type=report.positive,
        metavar="COUNT",
        help="seeds 0 to COUNT - 1 (5, or 2 if quick)",
    )
    add("--passes", type=report.positive, metavar="COUNT", help="timing passes (9, or 3 if quick)")
    add("--preset", choices=sorted(PRESETS), default="paper", help="training options")
    add("--quick", action="store_true", help="fewer seeds and timing passes")
    add("--limit", type=report.positive, metavar="N", help="N training and N / 5 test samples only")
    add(
        "--out",
        type=Path,
        default=report.PROJECT_ROOT / "results",
        metavar="FOLDER",
        help="where pictures and tables go",
    )
    arguments = parser.parse_args(argv)
    arguments.threads = sorted(set(arguments.threads))
    arguments.seeds = arguments.seeds or (2 if arguments.quick else 5)
    arguments.passes = arguments.passes or (3 if arguments.quick else 9)
    return arguments


def options_line(preset: str, options: Mapping[str, Any]) -> str:
    """Write all training options in one line."""
    return f"Preset {preset}: " + ", ".join(f"{key}={value}" for key, value in options.items())


def _numbers_table(
    threads: Sequence[int],
    seconds: Mapping[str, np.ndarray],
    accuracies: Mapping[str, np.ndarray],
) -> str:
    header = [
        "threads",
        "workers = n\nms",
        "workers = cores\nms",
        "modelled, n cores\nms",
        "average\n%",
        "sum\n%",
        "sum - average\npoints",
        "single replica\n%",
        "logit ensemble\n%",
    ]

    def spread(runs: np.ndarray, sign: str = "") -> str:
        text = f"{runs.mean():{sign}.1f}"
        return text + (f" ±{runs.std(ddof=1):4.1f}" if len(runs) > 1 else "")

    rows = [
        [
            str(n),
            *(f"{1e3 * np.median(seconds[curve][i]):.1f}" for curve in TIME_CURVES),
            spread(accuracies["average"][i]),
            spread(accuracies["sum"][i]),
            spread((accuracies["sum"] - accuracies["average"])[i], "+"),
            spread(accuracies["single_replica"][i]),
            spread(accuracies["logit_ensemble"][i]),
        ]
        for i, n in enumerate(threads)
    ]
    return report.text_table(header, rows, numeric=True)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the measurements, write all files, print the tables and return the results."""
    arguments = parse_arguments(argv)
    begin = time.perf_counter()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    threads: list[int] = arguments.threads
    seeds = list(range(arguments.seeds))
    options = PRESETS[arguments.preset]
    machine, build = report.describe_machine(), report.describe_build()
    data = load_data(arguments.data, arguments.limit)
    arguments.out.mkdir(parents=True, exist_ok=True)

    runs_a_pass = sum(1 if n == 1 else 2 for n in threads)
    work = len(threads) * len(seeds) + arguments.passes * runs_a_pass
    with tqdm(total=work, unit="training", dynamic_ncols=True, leave=False) as progress:
        accuracies, identity = measure_accuracy(data, threads, seeds, options, progress)
        # After the accuracies, so that nothing is cold.
        seconds, time_rows = measure_time(data, threads, arguments.passes, options, progress)
    passes = seconds["system_threads"].shape[1]
    share = undisturbed_share(time_rows, build["workers"])

    has_one = threads[0] == 1
    speedup = (
        {curve: speedups(runs, 0).tolist() for curve, runs in seconds.items()} if has_one else {}
    )
    verdicts = [
        judge_speed(threads, speedup, share),
        judge_fall(threads, accuracies["average"], accuracies["single_replica"]),
        judge_gain(threads, accuracies["average"], accuracies["sum"]),
    ]

    # Files.
    slug = f"{data.slug}-{arguments.preset}"
    subtitle = f"{data.line()}. Preset “{arguments.preset}”."
    about_run = [
        options_line(arguments.preset, options) + ".",
        f"Machine: {report.machine_line(machine)}. Build: {report.build_line(build)}.",
    ]
    time_note = (
        f"Median and range of {passes} interleaved passes; training and merge, without loading. "
        "Modelled: CPU time of the slowest replica plus the merge, from the runs with as many "
        "workers as cores; no such machine was measured."
    )
    if share < QUIET:
        time_note += f" Other work left training only {share:.0%} of its cores: measure again."
    with report.picture_style():
        figures = {
            "figure3": draw_time(threads, seconds, subtitle, [time_note, *about_run]),
            "figure4": draw_average(
                threads, accuracies, subtitle, [_spread_note(seeds), *about_run]
            ),
            "figure5": draw_sum(threads, accuracies, subtitle, [_spread_note(seeds), *about_run]),
        }
        paths = [
            path
            for name, fig in figures.items()
            for path in report.save_picture(
                fig,
                arguments.out / f"{name}-{slug}",
                f"Figure {name[-1]}: {data.name}, preset {arguments.preset}",
            )
        ]

    about = {
        "script": Path(__file__).name,
        "started": started,
        "data": data.describe(),
        "preset": arguments.preset,
        "options": options,
        "machine": machine,
        "build": build,
        "source": report.describe_source(),
    }
    accuracy_rows = [
        {
            "threads": n,
            "seed": seed,
            **{f"{curve}_percent": accuracies[curve][i, j] for curve in reversed(ACCURACY_CURVES)},
            "sum_minus_average_points": accuracies["sum"][i, j] - accuracies["average"][i, j],
        }
        for i, n in enumerate(threads)
        for j, seed in enumerate(seeds)
    ]
    paths += [
        report.write_csv(arguments.out / f"accuracy-{slug}.csv", accuracy_rows, about),
        report.write_csv(arguments.out / f"time-{slug}.csv", time_rows, about),
    ]
    json_path = arguments.out / f"results-{slug}.json"
    paths.append(json_path)
    results: dict[str, Any] = report.plain(
        {
            **about,
            "quick": arguments.quick,
            "limit": arguments.limit,
            "threads": threads,
            "seeds": seeds,
            "timing_passes": passes,
            "run_seconds": time.perf_counter() - begin,
            "time": {
                "unit": "seconds",
                "curves": {
                    curve: {"label": TIME_CURVES[curve][0], **report.summarise(runs)}
                    for curve, runs in seconds.items()
                },
                "speedup": speedup,
                "undisturbed_share": share,
            },
            "accuracy": {
                "unit": "percent",
                "curves": {
                    curve: {"label": ACCURACY_CURVES[curve][0], **report.summarise(runs)}
                    for curve, runs in accuracies.items()
                },
                "sum_minus_average": report.summarise(accuracies["sum"] - accuracies["average"]),
            },
            "sum_identity": identity,
            "claims": [asdict(verdict) for verdict in verdicts],
            "files": [path.name for path in paths],
        }
    )
    report.write_json(json_path, results)

    # Terminal.
    print(f"\n{data.line()}")
    print(f"{options_line(arguments.preset, options)}")
    print(f"{len(seeds)} seeds, {passes} timing passes. Machine: {report.machine_line(machine)}")
    print(f"Build: {report.build_line(build)}\n")
    print(_numbers_table(threads, seconds, accuracies), "\n")
    claim_rows = [[v.claim, v.measured, v.verdict] for v in verdicts]
    print(
        report.text_table(
            ["the note says", f"measured here, {data.name}", "verdict"],
            claim_rows,
            widths=(26, 52, 30),
        )
    )
    worst = max(max(row) for row in results["sum_identity"]["differing_predictions"])
    print(
        f"\nsum = average with the hidden layers times n: {worst} of {len(data.y_test):,} answers "
        "differ at most."
    )
    print(f"Written in {time.perf_counter() - begin:.0f} s to {arguments.out}:")
    for path in paths:
        print(f"  {path.name}")
    return results


if __name__ == "__main__":
    main()
