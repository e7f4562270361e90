"""What omp_mlp has to reach, and whether it did.

A floor is about the row ``omp_mlp``, which is given the same float32 array as its peers, unless it
says otherwise. "Best Python peer" is the peer with the highest median in the same training on the
same core, whatever form it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.timing import ratios
from . import row
from .settings import TARGETS

Part = Mapping[str, Any]
# What a floor is judged by: "measured", its range "low" and "high" over the rounds, "against" what
# it was measured, and "others", the same number for omp_mlp's other rows; None if there is nothing.
Found = dict[str, Any] | None
_NOTHING = {**dict.fromkeys(("measured", "low", "high", "against")), "others": {}}

JUDGED = "omp_mlp"
NUMPY = ("numpy", "numpy-blas")
TORCH = ("torch-nn", "torch-manual")
MEGABYTE = 1e6


def _found(summary: Mapping[str, Any], against: str, scale: float = 1.0, **more: object) -> Found:
    low, measured, high = (scale * summary[key] for key in ("min", "median", "max"))
    return {"measured": measured, "low": low, "high": high, "against": against, **more}


def _least(entries: Iterable[Part]) -> Part:
    return min(entries, key=lambda entry: float(entry["ratio"]["median"]))


def _best_peer(
    peers: Sequence[str] | None = None, judged: str = JUDGED, **wanted: object
) -> Callable[[Part], Found]:
    """Find the ratio to the best of some peers, or of all: the smallest of the ratios."""

    def find(part: Part) -> Found:
        by_row: dict[str, list[Part]] = {}
        for entry in part["ratios"]:
            if (peers is None or entry["peer"] in peers) and all(
                entry[key] == value for key, value in wanted.items()
            ):
                by_row.setdefault(entry["ours"], []).append(entry)
        if judged not in by_row:
            return None
        least = _least(by_row.pop(judged))
        others = {ours: _least(entries)["ratio"]["median"] for ours, entries in by_row.items()}
        return _found(
            least["ratio"], row(least["peer"]).label, others=others if judged == JUDGED else {}
        )

    return find


def _dense_peak(size: int) -> Callable[[Part], Found]:
    def find(part: Part) -> Found:
        for entry in part["entries"]:
            allowed = entry["bounds_samples_per_second"]["dense_fma"]
            wanted = (entry["peer"], entry["batch_size"], entry["inputs"])
            # Without the core's peak there is nothing to compare with.
            if wanted == (JUDGED, size, "images") and allowed:
                against = f"{allowed / 1e3:.0f}k samples/s"
                return _found(entry["samples_per_second"], against, 1 / allowed)
        return None

    return find


def _two_threads(part: Part) -> Found:
    """Find the best ratio of the ways to merge, each at its worst batch size."""
    ways = {entry["merging"] for entry in part["ratios"]}
    worst = [_least(e for e in part["ratios"] if e["merging"] == way) for way in sorted(ways)]
    if not worst:
        return None
    best = max(worst, key=lambda entry: float(entry["ratio"]["median"]))
    return _found(best["ratio"], f"one thread, B = {best['batch_size']} ({best['merging']})")


def _beside_plain(solver: str) -> Callable[[Part], Found]:
    """Find the smallest ratio to plain descent, over the batch sizes."""

    def find(part: Part) -> Found:
        by_row: dict[str, list[Part]] = {}
        for entry in part["plain_ratios"]:
            if entry["solver"] == solver:
                by_row.setdefault(entry["peer"], []).append(entry)
        least = {peer: _least(entries) for peer, entries in by_row.items()}
        if JUDGED not in least:
            return None
        worst = least.pop(JUDGED)
        others = {peer: entry["ratio"]["median"] for peer, entry in least.items()}
        against = f"plain descent, B = {worst['batch_size']}"
        return _found(worst["ratio"], against, others=others)

    return find


def _time_to_accuracy(part: Part) -> Found:
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
        return {"measured": 0.0, "against": f"mean {ours['accuracy_percent']['mean']:.2f} %"}
    best = min(theirs, key=lambda entry: (not entry["reached"], entry["seconds"]["median"]))
    words = row(best["peer"]).label + ("" if best["reached"] else " (missed the target)")
    return _found(ratios(best["seconds"]["runs"], ours["seconds"]["runs"]), words)


def _memory(part: Part) -> Found:
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
    return dict(zip(("measured", "against"), max(shares), strict=True)) if shares else None


def _overhead(part: Part) -> Found:
    one = [entry for entry in part["entries"] if entry["cores"] == 1]
    return _found(one[0]["seconds"], "one thread", 1e6) if one else None


@dataclass(frozen=True)
class Floor:
    """Something to reach: at least ``bound``, or at most if ``at_most``."""

    statement: str
    bound: float
    part: str  # of the comparison
    find: Callable[[Part], Found]
    unit: str = "x"
    at_most: bool = False

    def judge(self, parts: Mapping[str, Part]) -> dict[str, Any]:
        """Compare with what was measured."""
        part = parts.get(self.part)
        found = None if part is None or "skipped" in part else self.find(part)
        verdict = "not measured"
        if found is not None:
            value = found["measured"]
            met = value <= self.bound if self.at_most else value >= self.bound
            verdict = "met" if met else "not met"
        return {
            "floor": self.statement,
            "bound": self.bound,
            "at_most": self.at_most,
            "unit": self.unit,
            **_NOTHING,
            **(found or {}),
            "verdict": verdict,
        }


def _speed(size: int, what: str, bound: float, *of: Any, **more: Any) -> Floor:  # noqa: ANN401
    """Return a floor of the samples a second on one core, in batches of this size."""
    return Floor(
        f"B = {size}{what}", bound, "speed", _best_peer(*of, cores=1, batch_size=size, **more)
    )


FLOORS = (
    _speed(1, ": the best Python peer", 7.0),
    _speed(1, ": PyTorch nn", 100.0, TORCH[:1]),
    *(
        _speed(size, ": the best Python peer", bound)
        for size, bound in ((8, 5.0), (32, 5.0), (64, 4.0), (128, 3.6), (256, 3.6))
    ),
    *(
        _speed(size, ", from bytes: the best Python peer", bound, judged="omp_mlp-bytes")
        for size, bound in ((32, 5.0), (128, 4.5))
    ),
    _speed(32, ", bfloat16 copy: the best Python peer", 6.0, judged="omp_mlp-bf16"),
    *(
        Floor(
            *(f"{words}, B = {size}: PyTorch's", 4.0, "optimizers"),
            _best_peer(TORCH, solver=solver, batch_size=size),
        )
        for solver, words in (("momentum", "Nesterov's momentum"), ("adam", "Adam"))
        for size in (32, 128, 256)
    ),
    *(
        Floor(f"{words}: our own plain descent", 0.5, "optimizers", _beside_plain(solver))
        for solver, words in (("momentum", "Nesterov's momentum"), ("adam", "Adam"))
    ),
    *(
        Floor(f"B = {size}: what the dense FMA peak allows", 2.3, "limits", _dense_peak(size))
        for size in (8, 32, 64, 128, 256)
    ),
    *(
        Floor(
            *(f"B = {size}, dense random inputs: NumPy", 1.3, "dense"),
            _best_peer(NUMPY, batch_size=size),
        )
        for size in (32, 64, 128, 256)
    ),
    Floor("two threads on two cores: one on one", 1.9, "threads", _two_threads),
    Floor("time to 98.0 %, one core: PyTorch", 10.0, "accuracy", _time_to_accuracy),
    *(
        Floor(
            *(f"predicting {name}: scikit-learn", bound, "predict"),
            _best_peer(("sklearn",), cores=1, rows=rows),
        )
        for name, rows, bound in (("10,000 rows", 10_000, 3.0), ("one row", 1, 5.0))
    ),
    Floor(*("peak memory: of 4 x threads x weights + 64 MB", 1.0, "memory", _memory), at_most=True),
    Floor(
        *("call of train_parallel, 100 samples x 20 features", 1_000.0, "overhead", _overhead),
        unit="µs",
        at_most=True,
    ),
)


def judge(parts: Mapping[str, Part]) -> list[dict[str, Any]]:
    """Judge every floor."""
    return [floor.judge(parts) for floor in FLOORS]
