"""What omp_mlp has to reach, and whether it did.

A floor is about the row ``omp_mlp``, which is given the same float32 array as its peers, unless it
says otherwise. "Best Python peer" is the peer with the highest median in the same training on the
same core, whatever form it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..common.timing import ratios
from . import row
from .settings import TARGETS

JUDGED = "omp_mlp"
NUMPY = ("numpy", "numpy-blas")
TORCH = ("torch-nn", "torch-manual")
MEGABYTE = 1e6


@dataclass(frozen=True)
class Measured:
    """A number to judge.

    Attributes
    ----------
    against : str
        What was measured beside it.
    low, high : float, optional
        Its range over the rounds.
    others : mapping
        The same number for omp_mlp's other rows, which are not judged.
    """

    value: float
    against: str
    low: float | None = None
    high: float | None = None
    others: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Floor:
    """Something to reach.

    Attributes
    ----------
    statement : str
    bound : float
    unit : str
    part : str
        Which part of the comparison it needs.
    find : callable
        Takes that part's results; None if they do not hold it.
    at_most : bool
        Whether the number has to stay below the bound instead.
    """

    statement: str
    bound: float
    unit: str
    part: str
    find: Callable[[Mapping[str, Any]], Measured | None]
    at_most: bool = False

    def judge(self, parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Compare with what was measured."""
        part = parts.get(self.part)
        measured = None if part is None or "skipped" in part else self.find(part)
        verdict = "not measured"
        if measured is not None:
            met = measured.value <= self.bound if self.at_most else measured.value >= self.bound
            verdict = "met" if met else "not met"
        return {
            "floor": self.statement,
            "bound": self.bound,
            "at_most": self.at_most,
            "unit": self.unit,
            "measured": measured and measured.value,
            "low": measured and measured.low,
            "high": measured and measured.high,
            "against": measured and measured.against,
            "others": dict(measured.others) if measured else {},
            "verdict": verdict,
        }


def _of_ratio(
    ratio: Mapping[str, Any], against: str, others: Mapping[str, float] | None = None
) -> Measured:
    return Measured(ratio["median"], against, ratio["min"], ratio["max"], others or {})


def _against(
    part: Mapping[str, Any], peers: Sequence[str] | None, judged: str = JUDGED, **wanted: object
) -> Measured | None:
    """Find the ratio to the best of some peers, or of all: the smallest of the ratios."""
    nearest: dict[str, Mapping[str, Any]] = {}
    for entry in part["ratios"]:
        if (peers is None or entry["peer"] in peers) and all(
            entry[key] == value for key, value in wanted.items()
        ):
            known = nearest.setdefault(entry["ours"], entry)
            if entry["ratio"]["median"] < known["ratio"]["median"]:
                nearest[entry["ours"]] = entry
    if judged not in nearest:
        return None
    entry = nearest.pop(judged)
    others = {ours: other["ratio"]["median"] for ours, other in nearest.items()}
    return _of_ratio(entry["ratio"], row(entry["peer"]).label, others if judged == JUDGED else None)


def _speed(
    size: int, peers: Sequence[str] | None = None, judged: str = JUDGED
) -> Callable[..., Measured | None]:
    return lambda part: _against(part, peers, judged, cores=1, batch_size=size)


def _dense_peak(size: int) -> Callable[..., Measured | None]:
    def find(part: Mapping[str, Any]) -> Measured | None:
        for entry in part["entries"]:
            if (entry["peer"], entry["batch_size"], entry["inputs"]) == (JUDGED, size, "images"):
                allowed = entry["bounds_samples_per_second"]["dense_fma"]
                runs = entry["samples_per_second"]
                # Without the core's peak there is nothing to compare with.
                return allowed and Measured(
                    runs["median"] / allowed,
                    f"{allowed / 1e3:.0f}k samples/s",
                    runs["min"] / allowed,
                    runs["max"] / allowed,
                )
        return None

    return find


def _dense(size: int) -> Callable[..., Measured | None]:
    return lambda part: _against(part, NUMPY, batch_size=size)


def _two_threads(part: Mapping[str, Any]) -> Measured | None:
    """Find the best ratio of the ways to merge, each at its worst batch size."""
    worst: dict[str, Mapping[str, Any]] = {}
    for entry in part["ratios"]:
        known = worst.setdefault(entry["merging"], entry)
        if entry["ratio"]["median"] < known["ratio"]["median"]:
            worst[entry["merging"]] = entry
    if not worst:
        return None
    best = max(worst.values(), key=lambda entry: float(entry["ratio"]["median"]))
    against = f"one thread, B = {best['batch_size']} ({best['merging']})"
    return _of_ratio(best["ratio"], against)


def _time_to_accuracy(part: Mapping[str, Any]) -> Measured | None:
    """Compare with the faster use of PyTorch.

    A peer that missed the target would have needed longer than it took, so its time counts as it
    is; with a miss of ours there is nothing to compare.
    """
    target = TARGETS[-1]
    entries = {e["peer"]: e for e in part["entries"] if e["target_percent"] == target}
    ours = entries.get(JUDGED)
    theirs = [entries[peer] for peer in TORCH if peer in entries]
    if ours is None or not theirs:
        return None
    if not ours["reached"]:
        return Measured(0.0, f"missed: mean {ours['accuracy_percent']['mean']:.2f} %")
    best = min(theirs, key=lambda entry: (not entry["reached"], entry["seconds"]["median"]))
    words = row(best["peer"]).label + ("" if best["reached"] else " (missed the target)")
    return _of_ratio(ratios(best["seconds"]["runs"], ours["seconds"]["runs"]), words)


def _predict(rows: int) -> Callable[..., Measured | None]:
    return lambda part: _against(part, ("sklearn",), cores=1, rows=rows)


def _memory(part: Mapping[str, Any]) -> Measured | None:
    """Find the row that comes nearest to what it may use, as a share of that."""
    shares = [
        (
            growth / (4 * entry["cores"] * entry["weights_bytes"] + 64 * MEGABYTE),
            f"{row(entry['peer']).label}, {entry['cores']} thread(s): {growth / MEGABYTE:.1f} MB",
        )
        for entry in part["entries"]
        if row(entry["peer"]).ours
        for growth in [entry["growth_bytes"]["median"]]
    ]
    return Measured(*max(shares)) if shares else None


def _overhead(part: Mapping[str, Any]) -> Measured | None:
    for entry in part["entries"]:
        if entry["cores"] == 1:
            runs = entry["seconds"]
            return Measured(
                1e6 * runs["median"], "one thread", 1e6 * runs["min"], 1e6 * runs["max"]
            )
    return None


FLOORS = (
    Floor("B = 1: the best Python peer", 7.0, "x", "speed", _speed(1)),
    Floor("B = 1: PyTorch nn", 100.0, "x", "speed", _speed(1, ("torch-nn",))),
    *(
        Floor(f"B = {size}: the best Python peer", bound, "x", "speed", _speed(size))
        for size, bound in ((8, 5.0), (32, 5.0), (64, 4.0), (128, 3.6), (256, 3.6))
    ),
    Floor(
        *("B = 32, bfloat16 copy: the best Python peer", 6.0, "x", "speed"),
        _speed(32, judged="omp_mlp-bf16"),
    ),
    *(
        Floor(f"B = {size}: what the dense FMA peak allows", 2.3, "x", "limits", _dense_peak(size))
        for size in (8, 32, 64, 128, 256)
    ),
    *(
        Floor(f"B = {size}, dense random inputs: NumPy", 1.3, "x", "dense", _dense(size))
        for size in (32, 64, 128, 256)
    ),
    Floor("two threads on two cores: one on one", 1.9, "x", "threads", _two_threads),
    Floor("time to 98.0 %, one core: PyTorch", 10.0, "x", "accuracy", _time_to_accuracy),
    Floor("predicting 10,000 rows: scikit-learn", 3.0, "x", "predict", _predict(10_000)),
    Floor("predicting one row: scikit-learn", 5.0, "x", "predict", _predict(1)),
    Floor(
        *("peak memory: of 4 x threads x weights + 64 MB", 1.0, "x", "memory", _memory),
        at_most=True,
    ),
    Floor(
        *("call of train_parallel, 100 samples x 20 features", 1_000.0, "µs", "overhead"),
        _overhead,
        at_most=True,
    ),
)


def judge(parts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Judge every floor."""
    return [floor.judge(parts) for floor in FLOORS]
