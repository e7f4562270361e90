"""benchmarks/defaults: trainings with no option set."""

import gzip

import numpy as np
import pytest

from benchmarks.common.files import read_json
from benchmarks.defaults import __main__ as script
from benchmarks.defaults import contestants, measure, problems, tables
from benchmarks.defaults.problems import Problem


def write(folder, name, text):
    with gzip.open(folder / f"{name}.csv.gz", "wt") as file:
        file.write(text)


def test_a_table_is_read_with_flags_medians_and_held_out_rows(tmp_path):
    write(tmp_path, "pets", "age,kind,target\n1,cat,b\n,dog,a\n5,cat,a\n4,ant,b\n")
    write(tmp_path, "abalone", "length,target\n1,2.5\n2,3\n3,4\n4,5\n")
    assert problems.names(tmp_path)[:2] == ["abalone", "pets"]
    pets = problems.load("pets", tmp_path, None)
    order = np.random.default_rng(0).permutation(4)
    # The age, with the median of 1, 4 and 5 where it is missing; then ant, cat and dog.
    X = np.array([[1, 0, 1, 0], [4, 0, 0, 1], [5, 0, 1, 0], [4, 1, 0, 0]])
    np.testing.assert_array_equal(pets.X, X[order[:3]])
    np.testing.assert_array_equal(pets.X_test, X[order[3:]])
    np.testing.assert_array_equal(pets.y, np.array([1, 0, 0, 1])[order[:3]])
    assert not pets.is_regression
    values = problems.load("abalone", tmp_path, None)
    assert values.is_regression
    np.testing.assert_array_equal(values.y, np.array([2.5, 3, 4, 5])[order[:3]])


def problem(rows=40):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 4))
    y = (X[:, 0] > 0).astype(np.int64)
    return Problem("half planes", X[:-10], y[:-10], X[-10:], y[-10:])


def test_rescaled_columns_have_other_units_and_the_same_rows():
    given = problem()
    other = given.rescaled()
    deviation = given.X.std(axis=0)
    factor, shift = np.array([1e6, 1.0, 1e-6, 1e6]), np.array([3.0, 0.0, -20.0, 3.0])
    np.testing.assert_allclose(other.X, factor * (given.X + shift * deviation))
    np.testing.assert_allclose(other.X_test, factor * (given.X_test + shift * deviation))
    np.testing.assert_array_equal(other.y, given.y)
    assert Problem("bytes", np.zeros((3, 2), np.uint8), given.y, None, given.y).rescaled() is None


def test_the_trivial_answer_is_the_commonest_class_or_the_mean():
    given = Problem("", np.zeros((3, 1)), np.array([1, 1, 0]), None, np.array([1, 0, 0, 1, 1]))
    assert contestants.trivial(given) == pytest.approx(3 / 5)
    values = Problem("", np.zeros((3, 1)), np.array([1.0, 1, 0]), None, np.ones(2))
    assert contestants.trivial(values) == 0.0


def test_a_contestant_scores_on_rows_that_it_did_not_see():
    given = problem(400)
    for contestant in contestants.ALL:
        answer = contestants.ask(contestant, given, seed=0)
        assert 0.8 <= answer["score"] <= 1.0
        assert answer["seconds"] > 0


def answers(*scores):
    return {"score": list(scores), "seconds": [1.0] * len(scores)}


FOUND = {
    "won": {
        "rows": 30, "inputs": 2, "trivial": 0.5, "mlp": answers(0.7, 0.8), "trees": answers(0.9),
        "omp_1": answers(0.8, 0.9), "omp_8": answers(0.75, 0.75), "omp_32": answers(0.74, 0.74),
        "omp_1_rescaled": answers(0.85, 0.85), "omp_8_rescaled": answers(0.76, 0.76),
        "omp_32_rescaled": answers(None, 0.74),
    },
    "lost": {
        "rows": 20, "inputs": 3, "trivial": 0.6, "mlp": answers(0.8), "trees": answers(0.9),
        "omp_1": answers(0.785), "omp_8": answers(0.6), "omp_32": answers(None),
    },
}  # fmt: skip


def test_the_verdict_names_what_is_lost():
    verdict = measure.judge(FOUND)
    assert verdict["omp_1"]["below"] == {"lost": pytest.approx(-0.015)}
    assert verdict["omp_1"]["mean_difference"] == pytest.approx((0.1 - 0.015) / 2)
    assert verdict["omp_1"]["changed_by_scales"] == {}
    assert verdict["omp_8"]["trivial"] == ["lost"]
    assert verdict["omp_8"]["changed_by_scales"] == {"won": pytest.approx(0.01)}
    assert verdict["omp_32"]["diverged"] == ["lost"]
    assert verdict["omp_32"]["changed_by_scales"] == {"won": None}
    assert "| lost (-0.015) |" in tables.verdict(verdict)
    lines = tables.scores(FOUND).splitlines()
    assert lines[2].startswith("| won | 30 x 2 | 0.500 | 0.850 ± 0.071 | 0.750 ± 0.000 | 0.740")
    assert "| **0.785 ± 0.000** | **0.600 ± 0.000** | diverges |" in lines[3]


def test_the_whole_script(tmp_path, monkeypatch):
    monkeypatch.setattr(problems, "load", lambda *_: problem(200))
    content = script.main(["--seeds", "2", "--only", "half planes", "--out", str(tmp_path)])
    stored = read_json(tmp_path / "defaults.json")
    assert stored["pieces"] == content["pieces"]
    assert len(stored["pieces"]["half planes"]["omp_8_rescaled"]["score"]) == 2
    again = script.main(["--redraw", "--out", str(tmp_path)])
    assert again["verdict"] == content["verdict"]
    for name in ("defaults", "defaults-time"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
