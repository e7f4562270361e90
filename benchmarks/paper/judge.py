"""The note's claims beside what was measured, and the criteria that decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from . import TIMES

# A speed-up counts from here on; below it is noise.
FASTER = 1.05
# Points of accuracy that pass for "about ten".
ABOUT_TEN = (5.0, 15.0)
# Training that gets less of its cores than this shares them with other work: its wall-clock time
# says nothing about threads.
QUIET = 0.9


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


def speed(
    threads: Sequence[int], speedup: Mapping[str, Sequence[float]] | None, share: float
) -> Verdict:
    """Judge "not faster until six threads".

    ``speedup`` has for each curve of Figure 3 the speed-up over one thread, for each of
    ``threads``, which increase; ``share`` is what :func:`.measure.undisturbed_share` returns.
    """
    claim = "Training is not faster until six threads."
    criterion = (
        f"faster: median speed-up over one thread of at least {FASTER:g}. Holds if no n < 6 is "
        "faster and the first n >= 6 is, measured with n operating-system threads. Judged only if "
        f"training had at least {QUIET:.0%} of its cores."
    )
    early = [n for n in threads if 1 < n < 6]
    late = [n for n in threads if n >= 6]
    if speedup is None or not early or not late:
        missing = "needs one thread, some of 2 to 5 and some from 6 on"
        return Verdict(3, claim, criterion, "untested", f"not tested: {missing}", "-")
    first: dict[str, int | None] = {}
    parts = []
    for curve, label in TIMES.items():
        pairs = [(n, s) for n, s in zip(threads, speedup[curve], strict=True) if n > 1]
        first[curve] = next((n for n, s in pairs if s >= FASTER), None)
        shown = [p for p in pairs if p[0] in (early[0], early[-1], late[0], late[-1])]
        parts.append(f"{label}: " + ", ".join(f"{s:.2f} times at {n}" for n, s in shown))
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
    numbers = {"first_faster": first, "undisturbed_share": share}
    return Verdict(3, claim, criterion, holds, verdict, "\n".join(parts), numbers)


def fall(threads: Sequence[int], average: np.ndarray, single_replica: np.ndarray) -> Verdict:
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
    # A constant has no ranks.
    rho = float(spearmanr(threads, mean).statistic) if np.ptp(mean) else 0.0
    drop = float(mean[0] - mean[-1])
    single_drop = float(np.subtract(*single_replica.mean(axis=1)[[0, -1]]))
    measured = (
        f"average: {mean[0]:.1f} % at {threads[0]}, {mean[-1]:.1f} % at {threads[-1]}: {drop:.1f} "
        f"points less (rank correlation {rho:+.2f})\n"
        f"mean single replica: {single_drop:.1f} points less"
    )
    large = drop > 2 * sd
    up = [n for n, step in zip(threads[1:], np.diff(mean), strict=True) if step >= 0]
    if large and not up:
        holds, verdict = "yes", "holds: down at every step"
    elif large and rho <= -0.8:
        holds, verdict = "partly", f"holds in tendency: not down at n = {_listed(up)}"
    else:
        holds = "no"
        why = "the drop is within the spread" if rho <= -0.8 else "no fall with n"
        verdict = f"does not hold: {why}"
    numbers = {
        "spearman": rho,
        "drop_points": drop,
        "drop_sd_points": sd,
        "single_replica_drop_points": single_drop,
    }
    return Verdict(4, claim, criterion, holds, verdict, measured, numbers)


def gain(threads: Sequence[int], average: np.ndarray, total: np.ndarray) -> Verdict:
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
    mean, seeds = runs.mean(axis=1), runs.shape[1]
    error = runs.std(axis=1, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.zeros(len(counts))
    less = [n for n, g, e in zip(counts, mean, error, strict=True) if g + e < low]
    more = [n for n, g, e in zip(counts, mean, error, strict=True) if g - e > high]
    fit = [n for n in counts if n not in (*less, *more)]
    beyond = [
        f"{word} at {_listed(which)}" for word, which in (("less", less), ("more", more)) if which
    ]
    if len(fit) == len(counts):
        holds, verdict = "yes", f"holds for all n > 1: {_listed(counts)}"
    elif len(less) == len(counts):
        holds, verdict = "no", f"does not hold: less than {low:g} points for every n"
    elif fit:
        holds, verdict = "partly", f"holds only for n = {_listed(fit)} ({', '.join(beyond)})"
    else:
        holds, verdict = "no", f"does not hold: {', '.join(beyond)}"
    measured = (
        f"gain: {mean.mean():+.1f} points in the mean over n > 1, from {mean.min():+.1f} at "
        f"{counts[int(mean.argmin())]} to {mean.max():+.1f} at {counts[int(mean.argmax())]}\n"
        + "by n: "
        + ", ".join(f"{g:+.1f} at {n}" for n, g in zip(counts, mean, strict=True))
    )
    numbers = {
        "standard_error_points": error,
        "mean_gain_points": float(mean.mean()),
        "about_ten_at": fit,
    }
    return Verdict(5, claim, criterion, holds, verdict, measured, numbers)


def all_claims(
    accuracy: Sequence[Mapping[str, Any]], time: Mapping[str, Any], cores_share: float
) -> list[Verdict]:
    """Judge the three claims by what :mod:`.measure` returned."""
    threads = [entry["threads"] for entry in accuracy]
    runs = {
        name: np.array([entry[name]["runs"] for entry in accuracy])
        for name in ("average", "sum", "single_replica")
    }
    speedup = time["speedup"] and {
        curve: [entry[curve]["median"] for entry in time["speedup"]] for curve in TIMES
    }
    return [
        speed(threads, speedup, cores_share),
        fall(threads, runs["average"], runs["single_replica"]),
        gain(threads, runs["average"], runs["sum"]),
    ]
