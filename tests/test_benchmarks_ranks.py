"""benchmarks/ranks: what ranks cost, and the modelled curves of clusters."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common.data import Data
from benchmarks.ranks import __main__ as script
from benchmarks.ranks import measure, overlap, pictures, sending, tables

ROUNDS = [
    {
        "network": "8-4-2", "parameters": 46, "alone": 1e-5, "two": 6e-5, "all_reduce": 1e-5,
        "small": 1e-5, "overhead": 4e-5,
    },
    {
        "network": "784-128-10", "parameters": 101_770, "alone": 2e-4, "two": 5e-4,
        "all_reduce": 1e-4, "small": 1e-5, "overhead": 2e-4,
    },
]  # fmt: skip
ACCURACIES = [
    {"replicas": 8, "ranks": 1, "merge_ranks_every": None, "rounds": 512, "mean": 98.0},
    {"replicas": 8, "ranks": 4, "merge_ranks_every": 1, "rounds": 512, "mean": 97.85},
    {"replicas": 8, "ranks": 4, "merge_ranks_every": 4, "rounds": 128, "mean": 97.5},
]


def test_tables_say_which_goals_are_reached():
    assert "| 8-4-2 | 10 | 60 | 10 | 40 | yes |" in tables.rounds(ROUNDS)
    assert "| 784-128-10 | 200 | 500 | 100 | 200 | no |" in tables.rounds(ROUNDS)
    found = {
        "rates": {"process": [100.0, 200.0, 300.0], "ranks": [90.0, 190.0, 295.0]},
        "ratios": [0.9, 0.95, 0.983], "ratio": 0.95,
    }  # fmt: skip
    text = tables.speed(found)
    assert "| 2 ranks x 1 replica | 190 | 0.950 |" in text
    assert "0.900 to 0.983. The goal is 0.95 or more: yes." in text
    text = tables.accuracy(ACCURACIES)
    assert "| 8 | one process | 512 | 98.00 |  |  |" in text
    assert "| 8 | 4 ranks, K = 1 | 512 | 97.85 | -0.15 | no |" in text
    assert "| 8 | 4 ranks, K = 4 | 128 | 97.50 | -0.50 |  |" in text


def test_what_is_not_sent_is_compared_with_float32():
    found = {
        f"{period}/{send}": {"period": period, "send": send, "rounds": 31, "scores": scores}
        for period, send, scores in [
            (1, "float32", [97.0, 98.0]), (1, "bfloat16", [97.0, 97.5]), (8, "float32", [96.0]),
            (8, 0.1, [95.0]),
        ]
    }  # fmt: skip
    text = sending.table(found)
    assert "| 1,024 | 31 | float32 | 1.00 | 97.50 | 97.00 to 98.00 |  |" in text
    assert "| 1,024 | 31 | bfloat16 | 0.50 | 97.25 | 97.00 to 97.50 | -0.25 |" in text
    assert "| 8,192 | 31 | the largest 10 % | 0.40 | 95.00 | 95.00 to 95.00 | -1.00 |" in text


def test_late_merges_are_compared_with_those_at_once():
    found = {
        f"{period}/{late}": {
            "merge": "average", "period": period, "overlap": late, "rounds": 31, "scores": scores,
        }
        for period, late, scores in [
            (1, False, [97.0, 98.0]), (1, True, [97.0, 97.5]), (8, False, [96.0]), (8, True, [95.0])
        ]
    }  # fmt: skip
    text = overlap.accuracy(found)
    assert "| average | 1,024 | 31 | at once | 97.50 | 97.00 to 98.00 |  |" in text
    assert "| average | 1,024 | 31 | one round late | 97.25 | 97.00 to 97.50 | -0.25 |" in text
    assert "| average | 8,192 | 31 | one round late | 95.00 | 95.00 to 95.00 | -1.00 |" in text
    times = [{"delay": 0.005, "plain": 0.04, "overlap": 0.02}]
    assert "| 5 | 40.0 | 20.0 | 2.00 |" in overlap.time(times)


def test_faster_networks_and_rarer_merges_help():
    for problem in pictures.PROBLEMS.values():
        slow, fast = (pictures.predicted(problem, 16, g, 1).total for g in (1, 100))
        rare = pictures.predicted(problem, 16, 1, 8).total
        assert fast < slow
        assert rare <= slow


def test_the_curves_say_that_they_are_modelled():
    fig = pictures.curves()
    assert not any(" us " in text.get_text() for text in fig.texts)
    assert any("Modelled, not measured" in text.get_text() for text in fig.texts)
    assert [len(ax.lines) for ax in fig.axes] == [7, 7]


needs_mpiexec = pytest.mark.skipif(
    shutil.which("mpiexec", path=str(Path(sys.executable).parent)) is None,
    reason="needs an MPI with mpiexec: pip install mpich",
)


@pytest.fixture
def made_up():
    """Rows that train at once."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (64, 6)).astype(np.uint8), np.arange(64) % 2
    return Data("made up", "made-up", X, y, X[:8], y[:8])


@needs_mpiexec
def test_ranks_answer():
    pytest.importorskip("mpi4py", reason="needs mpi4py: pip install omp_mlp[mpi]")
    found = measure.run(2, {"job": "all_reduce", "floats": 100, "repeats": 3})
    assert found.keys() == {"bare", "transport"}
    assert all(seconds > 0 for seconds in found.values())


@needs_mpiexec
def test_accuracies_have_a_row_for_each_period(made_up, tmp_path):
    pytest.importorskip("mpi4py", reason="needs mpi4py: pip install omp_mlp[mpi]")
    found = measure.accuracies(made_up, tmp_path, (4,), (1,), 1)
    assert [row["merge_ranks_every"] for row in found] == [None, 1]
    assert abs(found[0]["mean"] - found[1]["mean"]) <= 12.5  # one row of eight, by rounding


@needs_mpiexec
def test_ranks_that_send_less_are_scored(made_up, tmp_path):
    pytest.importorskip("mpi4py", reason="needs mpi4py: pip install omp_mlp[mpi]")
    files = measure.save(made_up, tmp_path)
    found = sending.scores(files, 1, 0.5, 1)
    assert (found["period"], found["send"], found["rounds"]) == (1, 0.5, 1)
    assert found["scores"][0] in [12.5 * k for k in range(9)]


@needs_mpiexec
def test_ranks_that_overlap_are_scored_and_timed(made_up, tmp_path):
    pytest.importorskip("mpi4py", reason="needs mpi4py: pip install omp_mlp[mpi]")
    files = measure.save(made_up, tmp_path)
    found = overlap.scores(files, "average", 1, True, 1)
    assert (found["merge"], found["overlap"], found["rounds"]) == ("average", True, 1)
    assert found["scores"][0] in [12.5 * k for k in range(9)]
    found = overlap.seconds(files, 0.001, 1)
    assert [len(passes) for passes in found["passes"].values()] == [1, 1]
    assert found["overlap"] == found["passes"]["overlap"][0]


def test_what_is_modelled_is_drawn_without_a_measurement(tmp_path, capsys):
    assert script.main(["--only", "--data", "digits", "--quick", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "distributed-modelled.png").exists()
    assert "ranks-speed" not in capsys.readouterr().out
