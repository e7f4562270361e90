"""benchmarks/defaults: trainings with no option set."""

import gzip

import numpy as np
import pytest

import omp_mlp
from benchmarks.common.files import read_json
from benchmarks.defaults import __main__ as script
from benchmarks.defaults import (
    ablation,
    columns,
    contestants,
    estimators,
    measure,
    outliers,
    peers,
    problems,
    settings,
    states,
    tables,
)
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
        "searched_1": answers(0.8),
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
    assert verdict["omp_1"]["largest_loss_on"] == "lost"
    assert verdict["omp_1"]["mean_loss"] == pytest.approx(0.015)
    assert verdict["omp_8"]["mean_loss"] is None
    assert verdict["omp_8"]["changed_by_scales"] == {"won": pytest.approx(0.01)}
    assert verdict["omp_32"]["diverged"] == ["lost"]
    assert verdict["omp_32"]["changed_by_scales"] == {"won": None}
    assert "| lost (-0.015) |" in tables.verdict(verdict)
    lines = tables.scores(FOUND).splitlines()
    assert lines[2].startswith("| won | 30 x 2 | 0.500 | 0.850 ± 0.071 | 0.750 ± 0.000 | 0.740")
    assert "| **0.785 ± 0.000** | **0.600 ± 0.000** | diverges |" in lines[3]


def test_searched_settings_are_those_that_score_best_on_rows_of_their_own(monkeypatch):
    given = problem(300)
    tried = []

    class Answer:
        def score(self, _, y):
            tried[-1] = (*tried[-1], len(y))
            return 0.9 if tried[-1][0] == 80 else 0.5

    def train(_, y, *__, epochs=None, **___):
        tried.append((epochs, len(y)))
        return Answer()

    monkeypatch.setattr(settings.omp_mlp, "train_parallel", train)
    settings.searched(given, 2, seed=0)
    assert len(tried) == len(settings.CANDIDATES) + 1
    assert {of[1:] for of in tried[:-1]} == {(232, 58)}
    assert tried[-1] == (80, 290)


def test_robust_scales_and_the_smooth_clip():
    X = np.column_stack([np.arange(5.0), np.full(5, 5.0), [0.0, 0, 0, 0, 8]])
    # The first column has quartiles 1 and 3; the second is constant; the third has a range of 8.
    expected = np.array([[-1, 0, 0], [-0.5, 0, 0], [0, 0, 0], [0.5, 0, 0], [1, 0, 2]])
    np.testing.assert_allclose(ablation.robust(X, clips=False)(X), expected)
    clipped = ablation.robust(X, clips=True)(X)
    np.testing.assert_allclose(clipped, expected / np.sqrt(1 + expected**2 / 9), rtol=1e-6)


def test_every_part_of_the_preset_trains_and_scores():
    found = measure.measure_parts(problem(120), 1, lambda _: None)
    assert set(ablation.PARTS) <= set(found)
    for part in ablation.PARTS:
        assert 0.6 <= found[part]["score"][0] <= 1.0
    lines = tables.parts({"half planes": found}).splitlines()
    assert len(lines) == 2 + len(ablation.PARTS)
    kept = {"half planes": {"realmlp_td_s": answers(0.1), "tabm": answers(0.2)}}
    ranked = tables.against_peers({"half planes": found}, kept).splitlines()
    assert ranked[-2].startswith("| RealMLP-TD-S | 0.1000 | 4.00 |")
    assert ranked[-1].startswith("| TabM | 0.2000 | 3.00 |")


def test_every_state_at_a_merge_is_scored(tmp_path, monkeypatch):
    trained = []

    class Answer:
        def score(self, *_):
            return len(trained) / 100

    def train(_, __, replicas, *, optimizer, state_at_merge, seed, workers, epochs="auto"):
        trained.append((replicas, optimizer, state_at_merge, seed, workers, epochs))
        return Answer()

    monkeypatch.setattr(states.omp_mlp, "train_parallel", train)
    monkeypatch.setattr(problems, "load", lambda *_: problem(40))
    arguments = ["--states", "--seeds", "2", "--only", "half planes", "--out", str(tmp_path)]
    content = script.main(arguments)
    assert trained[:2] == [(8, "momentum", "keep", seed, 1, "auto") for seed in (0, 1)]
    assert len(set(trained)) == len(trained) == 2 * 3 * 2 * 2
    lines = tables.of_states(content["pieces"]).splitlines()
    # Two seeds each: 0.01 and 0.02, then 0.03 and 0.04, ...; Adam comes after 12 trainings.
    assert lines[2].startswith("| half planes | 8 | 0.015 ± 0.007 | 0.035 ± 0.007 | 0.055 ± 0.007")
    assert lines[3].startswith("| **mean** | 8 | 0.0150 | 0.0350 | 0.0550 | 0.1350")
    images = Problem("bytes", np.zeros((3, 2), np.uint8), problem().y, None, problem().y)
    states.measure(images, 1, lambda _: None)
    assert trained[-1][-1] == 3


def test_every_way_to_train_beside_outliers_is_scored_on_clean_rows(tmp_path, monkeypatch):
    seen, judged = [], []

    class Answer:
        def score(self, _, y_test):
            judged.append(y_test)
            return -5e5 if len(seen) > 10 else len(seen) / 100

    def train(_, y, replicas, *, task, seed, workers, scale_targets="auto", loss="auto"):
        seen.append((y, scale_targets, loss))
        assert (replicas, task, seed, workers) == (2, "values", (len(seen) - 1) % 2, 1)
        return Answer()

    of_classes = problem(400)
    values = of_classes.X[:, 0] + 3.0
    of_values = Problem("sums", of_classes.X, values, of_classes.X_test, values[:5])
    monkeypatch.setattr(outliers.omp_mlp, "train_parallel", train)
    monkeypatch.setattr(problems, "load", lambda *_: of_values)
    monkeypatch.setattr(outliers, "ROWS", 300)
    arguments = ["--outliers", "--seeds", "2", "--only", "sums", "--out", str(tmp_path)]
    content = script.main(arguments)
    assert len(seen) == 3 * 3 * 2
    assert [loss for _, _, loss in seen[:6]] == [*["auto"] * 4, *["huber"] * 2]
    y, scales, _ = seen[0]
    mean, std = values[:300].mean(), values[:300].std()
    assert scales is False
    np.testing.assert_array_equal(y, (values[:300] - mean) / std)
    np.testing.assert_array_equal(judged[0], (of_values.y_test - mean) / std)
    np.testing.assert_array_equal(judged[2], of_values.y_test)
    for seed, (y, *_) in enumerate(seen[8:10]):
        assert np.flatnonzero(y != values[:300]).tolist() == [seed]
        assert y[seed] == 1e9
    y, scales, _ = seen[14]
    assert scales == "auto"
    changed = y != values[:300]
    np.testing.assert_array_equal(y[changed], values[:300][changed] * 1e4)
    assert 1 <= changed.sum() <= 10
    line = tables.of_outliers(content["pieces"]).splitlines()[2]
    assert line.startswith("| sums | 0.015 ± 0.007 | 0.035 ± 0.007 | 0.055 ± 0.007 | 0.075 ± 0.007")
    assert line.endswith("| -5e+05 | -5e+05 |")


def test_every_way_to_train_beside_far_values_of_columns_is_scored(tmp_path, monkeypatch):
    seen, judged = [], []

    class Answer:
        def score(self, X_test, _):
            judged.append(X_test)
            return len(judged) / 100

        def fit(self, X, _):
            seen.append((X, None))
            return self

    def train(X, y, replicas, *, seed=0, workers=1, scale_inputs="auto", epochs=None):
        if epochs == 0:
            return finds_limits(X, y, replicas, epochs=0)
        seen.append((X, scale_inputs))
        assert (replicas, seed, workers) == (2, (len(seen) - 1) % 2, 1)
        return Answer()

    finds_limits = omp_mlp.train_parallel
    of_flags = problem(400)
    X = np.column_stack([of_flags.X[:, 0] + 3.0, of_flags.X[:, 1] > 0, of_flags.X[:, 1]])
    few = Problem("sums", X, of_flags.y, X, of_flags.y)
    monkeypatch.setattr(columns.omp_mlp, "train_parallel", train)
    monkeypatch.setattr(columns, "estimator", lambda *_: Answer())
    monkeypatch.setattr(problems, "load", lambda *_: few)
    arguments = ["--columns", "--seeds", "2", "--only", "sums", "--out", str(tmp_path)]
    content = script.main(arguments)
    scales = [False, False, *["auto"] * 4, None, None]
    assert [given for _, given in seen] == scales * 3
    by_hand = (X - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(seen[0][0], by_hand, rtol=1e-12)
    np.testing.assert_allclose(judged[0], by_hand, rtol=1e-12)
    for index in (2, 4, 6):
        np.testing.assert_array_equal(seen[index][0], X)
        np.testing.assert_array_equal(judged[index], X)
    for index in (10, 11, 14, 15):  # one value of each column, but for flags
        given, _ = seen[index]
        assert (given != X).sum(axis=0).tolist() == [1, 0, 1]
        assert given.max(axis=0).tolist() == [1e9, 1.0, 1e9]
        np.testing.assert_array_equal(judged[index], X)
    far, (near, _) = seen[10][0], seen[12]
    np.testing.assert_array_equal(near[far < 1e9], X[far < 1e9])
    assert near.max() < 30
    for index in (18, 19, 22, 23):
        for given, plain in ((seen[index][0], X), (judged[index], X)):
            changed = given != plain
            np.testing.assert_array_equal(given[changed], plain[changed] * 1e4)
            assert not changed[:, 1].any()
            assert 0 <= changed.sum() <= 15
    assert seen[20][0].max() < 30 < seen[18][0].max()
    np.testing.assert_array_equal(judged[20], judged[18])
    assert np.abs(judged[18]).max() > 1e3
    line = tables.of_outliers(content["pieces"], columns.SPOILS, columns.WAYS).splitlines()[2]
    assert line.startswith("| sums | 0.015 ± 0.007 | 0.035 ± 0.007 | 0.055 ± 0.007 | 0.075 ± 0.007")


def test_equal_scores_share_their_places():
    scores = {"one": {"a": 1.0, "b": 0.5, "c": 0.5}, "two": {"a": 0.1, "b": 0.3, "c": 0.2}}
    assert measure.mean_ranks(scores) == {"a": 2.0, "b": 1.75, "c": 2.25}


def test_a_peer_is_asked_on_the_first_rows_and_its_answers_are_kept(tmp_path, monkeypatch):
    asked = []

    def fit(peer, few, seed):
        asked.append((peer, len(few.y), seed))
        return lambda X: np.zeros(len(X), dtype=int)

    monkeypatch.setattr(peers, "_fit", fit)
    monkeypatch.setattr(peers, "ROWS", 20)
    monkeypatch.setattr(peers, "KEPT", tmp_path / "peers.json")
    monkeypatch.setattr(problems, "load", lambda *_: problem(200))
    for peer in ("tabm", "torch"):
        script.main(["--peers", peer, "--seeds", "2", "--only", "half planes"])
    kept = peers.kept()["half planes"]
    assert asked == [("tabm", 20, 0), ("tabm", 20, 1), ("torch", 20, 0), ("torch", 20, 1)]
    assert kept["tabm"]["score"] == [np.mean(problem(200).y_test == 0)] * 2
    assert set(kept) == {"tabm", "torch"}


def test_estimators_are_asked_in_turn_by_name_alone(tmp_path, monkeypatch):
    asked = []

    class Fitted:
        def __init__(self, random_state):
            self.seed = random_state

        def fit(self, X, y):
            asked.append((type(self).__name__, self.seed, X.shape[0], len(y)))
            return self

        def score(self, X, y):
            return self.own if len(X) == len(y) == 10 else 0

    class Ours(Fitted):
        own = 0.75

    class Theirs(Fitted):
        own = 0.875

    kinds = {estimators.OURS: (Ours, None), estimators.THEIRS: (Theirs, None)}
    monkeypatch.setattr(estimators, "CLASSES", kinds)
    monkeypatch.setattr(problems, "load", lambda *_: problem(200))
    options = ["--estimators", "--only", "half planes", "--out", str(tmp_path)]
    content = script.main([*options, "--seeds", "2"])
    assert asked == [(name, seed, 190, 190) for seed in (0, 1) for name in ("Ours", "Theirs")]
    monkeypatch.setattr(estimators, "_MANY_ROWS", 190)
    assert len(estimators.measure(problem(200), 2, lambda _: None)[estimators.OURS]["score"]) == 1
    assert script.main([*options, "--redraw"]) == content
    found = content["pieces"]
    found["half planes"][estimators.OURS]["seconds"] = [0.25, 0.5]
    line = estimators.table(found).splitlines()[-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:6] == ["half planes", "accuracy", "0.750", "0.875", "-0.125", "0.38 s"]
    assert cells[-1] == "2"
    assert estimators.verdict(found) == (
        "At least as good on 0 of 1 sets; the mean difference in accuracy is -0.125 over 1 sets "
        "with classes. Less good on: half planes (-0.125)."
    )


def test_the_whole_script(tmp_path, monkeypatch):
    monkeypatch.setattr(problems, "load", lambda *_: problem(200))
    content = script.main(["--seeds", "2", "--only", "half planes", "--out", str(tmp_path)])
    stored = read_json(tmp_path / "defaults.json")
    assert stored["pieces"] == content["pieces"]
    assert len(stored["pieces"]["half planes"]["omp_8_rescaled"]["score"]) == 2
    again = script.main(["--redraw", "--out", str(tmp_path)])
    assert again["verdict"] == content["verdict"]
    for name in ("defaults", "defaults-searched", "defaults-time"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


@pytest.mark.parametrize("option", ["--docs", "--parts"])
def test_what_takes_the_tables_is_refused_without_them(monkeypatch, capsys, option):
    monkeypatch.delenv("OMP_MLP_DATA", raising=False)
    with pytest.raises(SystemExit):
        script.main([option])
    assert f"{option} takes the tables: give their folder" in capsys.readouterr().err
