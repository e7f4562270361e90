"""benchmarks/clusters: workers of a Dask cluster, and one process, in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("distributed", reason="needs dask and distributed: pip install omp_mlp[dask]")

from benchmarks.clusters import measure, tables
from benchmarks.common.data import Data
from benchmarks.common.timing import Probe


class FakeModel:
    def __init__(self, score: float) -> None:
        self.history = [None] * 40
        self._score = score

    def score(self, X: Any, y: Any) -> float:
        assert (X, y) == ("test rows", "test labels")
        return self._score


def test_each_way_trains_with_the_same_seeds_in_turn() -> None:
    log: list[tuple[str, int]] = []

    def trains(way: str) -> Any:
        def train(seed: int) -> FakeModel:
            log.append((way, seed))
            return FakeModel(0.9 + seed / 100)

        return train

    data: Any = Data("", "", None, None, "test rows", "test labels")  # type: ignore[arg-type]
    ways = {way: trains(way) for way in measure.WAYS}
    passes = [measure.one_pass(ways, data, number, Probe(1, 0.0)) for number in range(2)]
    found = measure.summary(passes)
    one, two, three = measure.WAYS
    assert log == [(one, 0), (two, 0), (three, 0), (three, 1), (two, 1), (one, 1)]
    assert found[two]["score"]["mean"] == pytest.approx(0.905)
    assert found[two]["merges"]["median"] == 40
    assert found[one]["speedup"]["runs"] == [1.0, 1.0]
    expected = np.divide(found[one]["seconds"]["runs"], found[two]["seconds"]["runs"])
    assert found[two]["speedup"]["runs"] == pytest.approx(expected.tolist())


def of_way(speedup: float, score: float) -> dict[str, Any]:
    around = {"min": speedup - 0.1, "max": speedup + 0.1}
    return {
        "seconds": {"median": 3.0},
        "speedup": {"median": speedup, **around},
        "score": {"mean": score},
        "merges": {"min": 20.0, "max": 40.0},
    }


@pytest.mark.parametrize(
    ("speedup", "score", "words"),
    [
        (1.6, 0.979, "is met: two workers are 1.60 times as fast, and 0.10 points less accurate"),
        (1.6, 0.977, "is missed: two workers are 1.60 times as fast, and 0.30 points less"),
        (1.4, 0.981, "is missed: two workers are 1.40 times as fast, and 0.10 points more"),
    ],
)
def test_the_verdict_compares_with_the_goals(speedup: float, score: float, words: str) -> None:
    found = dict(zip(measure.WAYS, [of_way(1.0, 0.98), of_way(speedup, score)], strict=False))
    assert words in tables.verdict(found)
    line = f"| two workers | 3.00 | {speedup:.2f} ({speedup - 0.1:.2f} to {speedup + 0.1:.2f}) |"
    assert line in tables.table(found)


def test_a_pass_is_repeated_while_others_take_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([0.6, 0.02])

    class Told:
        def cores(self) -> float:
            return next(told)

    class Quiet(Probe):
        def is_quiet(self) -> bool:
            return True

    monkeypatch.setattr(measure, "Others", Told)
    probe = Quiet(1, 0.0)
    probe.patience = 100.0
    data: Any = Data("", "", None, None, "test rows", "test labels")  # type: ignore[arg-type]
    ways: Any = dict.fromkeys(measure.WAYS, lambda _: FakeModel(0.9))
    assert measure.one_pass(ways, data, 0, probe)["others"] == 0.02
    assert next(told, None) is None


def test_what_others_took_is_said() -> None:
    assert "took 0.04 of a core" in tables.disturbance([{"others": 0.01}, {"others": 0.04}])
    assert "is not known" in tables.disturbance([{"others": 0.01}, {"others": None}])
