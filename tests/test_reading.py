"""Numbers that are missing in a prediction alone: the training's median stands for them."""

import contextlib
import json
import pickle
import warnings

import numpy as np
import pytest

import fixed
import omp_mlp
from omp_mlp.cli import main
from omp_mlp.early_stopping import split
from omp_mlp.encoding import Columns, Encoding, find_columns
from omp_mlp.options import DEFAULTS
from omp_mlp.targets import read_targets

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")

RNG = np.random.default_rng(3)
N = 60
FRAME = pandas.DataFrame(
    {
        "kind": np.array(["x", "y", "z"])[np.arange(N) % 3],
        "size": RNG.normal(size=N) + 2,
        "stamp": 1.6e9 + 1000.0 * RNG.integers(0, 99, N),  # whose scaling stands beside the weights
        "count": np.arange(N) % 7,
        "flag": np.arange(N) % 4 == 0,
    }
)
CLASSES = np.where((FRAME["kind"] == "x") | (FRAME["size"] > 3), "yes", "no")
NUMBERS = ["size", "stamp", "count", "flag"]
MEDIANS = {name: float(np.median(FRAME[name].astype(float))) for name in NUMBERS}
PLAIN = FRAME[NUMBERS].astype(float)
OPTIONS = {"epochs": 3, "batch_size": 4, "scale_inputs": "auto"}
WARNING = (
    "X lacks numbers in columns in which the training had one in every row: 'size' in 2 of 60 rows,"
    " 'stamp' in 1 of 60 rows, 'count' in 1 of 60 rows. Each missing number is read as the median"
)


def with_gaps(frame):
    """Return the table without some of its numbers, and with medians in their places."""
    holes = frame.copy()
    holes["count"] = holes["count"].astype("Float64" if frame is FRAME else float)
    filled = frame.copy()
    for row, name in ((0, "size"), (5, "size"), (5, "stamp"), (9, "count")):
        holes.loc[row, name] = np.nan
        filled.loc[row, name] = MEDIANS[name]
    return holes, filled


FRAMES = {"encoded": FRAME, "numbers alone": PLAIN}


def is_warned(match=WARNING):
    return pytest.warns(omp_mlp.MissingNumbersWarning, match=match)


@pytest.fixture(params=FRAMES, scope="module")
def trained(request):
    """Return a network, a table with gaps, and the table with medians in their places."""
    frame = FRAMES[request.param]
    return fixed.train_parallel(frame, CLASSES, 2, **OPTIONS), *with_gaps(frame)


def test_a_number_that_is_missing_later_is_the_median(trained):
    model, holes, filled = trained
    for answer in (model.predict, model.predict_proba, model.decision_function):
        with is_warned() as caught:
            got = answer(holes)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        np.testing.assert_array_equal(got, answer(filled))
    with is_warned() as caught:
        assert model.evaluate(holes, CLASSES) == model.evaluate(filled, CLASSES)
    assert len(caught) == 1
    # No input says that a number was missing.
    assert model.layer_sizes[0] == len(NUMBERS) + (3 if "kind" in holes else 0)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("library", [polars.from_pandas, pyarrow.Table.from_pandas])
def test_tables_of_all_libraries(frame, library):
    model = fixed.train_parallel(library(frame), CLASSES, 2, **OPTIONS)
    holes, filled = map(library, with_gaps(frame))
    with is_warned():
        np.testing.assert_array_equal(model.predict_proba(holes), model.predict_proba(filled))


def test_medians_of_columns():
    encoded = find_columns(FRAME, encodes=True)[1]
    assert [one.fill for one in encoded.encodings] == [None, *MEDIANS.values()]
    assert [one.median for one in encoded.encodings] == [None] * 5
    plain = find_columns(PLAIN, encodes=True)[1]
    assert plain.encodings is None
    assert plain.medians == tuple(MEDIANS.values())
    assert find_columns(FRAME[NUMBERS], encodes=True)[1].medians == plain.medians
    # A column with gaps in the training keeps its mark, and the others get no mark.
    some = PLAIN.assign(size=PLAIN["size"].where(PLAIN["size"] > 1))
    found = find_columns(some, encodes=True)[1]
    assert found.input_names == ("size", "size=missing", "stamp", "count", "flag")
    assert [one.fill for one in found.encodings] == [None, *list(MEDIANS.values())[1:]]
    # Where missing numbers are errors, nothing stands for them.
    assert find_columns(PLAIN, encodes=False)[1].medians is None
    few = np.arange(10)
    assert find_columns(PLAIN, encodes=True, rows=few)[1].medians == tuple(
        np.median(PLAIN[:10], axis=0)
    )
    assert find_columns(FRAME, encodes=True, rows=few)[1].encodings[1].fill == np.median(
        FRAME["size"][:10]
    )


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int64", "bool"])
@pytest.mark.parametrize("n_rows", [1, 2, 7, 1024, 1025, 5000])
def test_medians_are_those_of_up_to_1024_rows_at_equal_distances(dtype, n_rows):
    matrix = np.random.default_rng(n_rows).integers(0, 200, (n_rows, 3)).astype(dtype)
    seen = matrix[:: 1 if n_rows <= 1024 else -(-n_rows // 1024)]
    medians = find_columns(pandas.DataFrame(matrix), encodes=True)[1].medians
    assert medians == tuple(np.median(seen.astype(float), axis=0))
    texts = pandas.DataFrame(matrix).assign(text="a")
    encodings = find_columns(texts, encodes=True)[1].encodings
    assert [one.fill for one in encodings[:3]] == np.median(matrix.astype(float), axis=0).tolist()


def test_columns_without_names_go_by_their_places():
    places = pandas.DataFrame(PLAIN.to_numpy())
    model = fixed.train_parallel(places, CLASSES, 2, **OPTIONS)
    holes, filled = (pandas.DataFrame(one.to_numpy()) for one in with_gaps(PLAIN))
    with is_warned("row: 0 in 2 of 60 rows, 1 in 1 of 60 rows, 2 in 1 of 60 rows. Each"):
        np.testing.assert_array_equal(model.predict_proba(holes), model.predict_proba(filled))
    with pytest.raises(ValueError, match="X has 3 features, but the network was trained on 4"):
        model.predict(holes[[0, 1, 2]])


def test_the_warning_names_five_columns():
    wide = pandas.DataFrame(RNG.normal(size=(N, 8)), columns=list("abcdefgh"))
    model = fixed.train_parallel(wide, CLASSES, 2, **OPTIONS)
    with is_warned("'e' in 60 of 60 rows, and 3 other columns. Each"):
        model.predict(wide * np.nan)


def test_other_things_that_are_missing_stay_errors(trained):
    model, holes, _ = trained
    with pytest.raises(ValueError, match="must be finite"), is_warned():
        model.predict(holes.assign(flag=np.inf))
    plain = fixed.train_parallel(PLAIN, CLASSES, 2, **OPTIONS)
    with pytest.raises(ValueError, match="got NaN in row 0, column 0"):
        plain.predict(with_gaps(PLAIN)[0].to_numpy())
    with pytest.raises(ValueError, match="got NaN in row 0, column 0"):
        fixed.train_parallel(with_gaps(PLAIN)[0].to_numpy(), CLASSES, 2, **OPTIONS)
    of_array = fixed.train_parallel(PLAIN.to_numpy(), CLASSES, 2, **OPTIONS)
    strict = fixed.train_parallel(PLAIN, CLASSES, 2, **OPTIONS, categorical_features=None)
    for network in (of_array, strict):
        with pytest.raises(ValueError, match="got NaN in row 0, column 0"):
            network.predict(with_gaps(PLAIN)[0])


def test_validation_data_and_starts(trained):
    model, holes, filled = trained
    frame = FRAME if "kind" in holes else PLAIN
    scores = []
    for held in (holes, filled):
        expected = (
            is_warned(r"^validation_data\[0\] lacks numbers")
            if held is holes
            else contextlib.nullcontext()
        )
        with expected:
            got = fixed.train_parallel(
                frame, CLASSES, 2, **OPTIONS, validation_data=(held, CLASSES)
            )
        scores.append(got.history.validation_loss.tolist())
    assert scores[0] == scores[1]
    # A start knows its medians: a further training fills what is missing in X.
    further = fixed.train_parallel(filled, CLASSES, 2, **OPTIONS, init=model)
    for options in ({}, {"early_stopping": True}):
        with is_warned() as caught:
            got = fixed.train_parallel(holes, CLASSES, 2, **OPTIONS, init=model, **options)
        lacking = [one for one in caught if one.category is omp_mlp.MissingNumbersWarning]
        assert len(lacking) == 1
    assert got.columns == model.columns
    with is_warned():
        got = fixed.train_parallel(holes, CLASSES, 2, **OPTIONS, init=model)
    np.testing.assert_array_equal(got.weights[0], further.weights[0])


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_held_out_rows_take_no_part_in_the_medians(frame):
    options = {**OPTIONS, "early_stopping": True, "validation_fraction": 0.5}
    model = fixed.train_parallel(frame, CLASSES, 2, **options)
    kept, _ = split(read_targets(CLASSES, N), N, 0.5, DEFAULTS["seed"])
    expected = np.median(PLAIN.to_numpy()[kept], axis=0).tolist()
    assert medians_of(model.columns) == expected
    assert expected != list(MEDIANS.values())


def medians_of(columns):
    """Return what stands for numbers that are missing later."""
    if columns.encodings is None:
        return list(columns.medians)
    return [one.fill for one in columns.encodings if one.labels is None]


def test_files_and_pickles_keep_the_medians(trained, tmp_path):
    model, holes, filled = trained
    model.save(tmp_path / "network.safetensors")
    expected = model.predict_proba(filled)
    for network in (
        omp_mlp.load(tmp_path / "network.safetensors"),
        pickle.loads(pickle.dumps(model)),
    ):
        assert medians_of(network.columns) == list(MEDIANS.values())
        with is_warned():
            np.testing.assert_array_equal(network.predict_proba(holes), expected)
    # Programs that do not know of these medians read the file, and refuse what they refused.
    header = (tmp_path / "network.safetensors").read_bytes()[8:4000].decode("latin-1")
    assert '"format_version":"4"' in header if "kind" in holes else '"format_version":"2"' in header


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(("a",), (Encoding(),)), "column 'a' of X must have a number in every row"),
        (Columns(("a",)), "must be finite"),
    ],
)
def test_networks_without_medians_refuse_missing_numbers(columns, message):
    """Networks of files and pickles from before medians were kept."""
    assert columns.as_dict().keys() <= {"names", "encodings"}
    assert Columns.from_dict(columns.as_dict()) == columns
    for state in (columns, *(columns.encodings or ())):
        state.__dict__.pop("medians" if state is columns else "fill")
    network = omp_mlp.Model._of(
        (1, 1), np.ones(2, np.float32), "relu", "identity", None, columns=columns
    )
    network = pickle.loads(pickle.dumps(network))
    with pytest.raises(ValueError, match=message):
        network.predict(pandas.DataFrame({"a": [np.nan]}))
    assert network.predict(pandas.DataFrame({"a": [2.0]})).tolist() == [3.0]


def test_columns_are_plain_data_and_back():
    encoded = Columns(("a", "b"), (Encoding(labels=("x",)), Encoding(fill=0.1)))
    assert encoded.as_dict()["encodings"] == [
        {"labels": ("x",), "median": None},
        {"labels": None, "median": None, "fill": 0.1},
    ]
    plain = Columns(None, medians=(0.1, 2.0))
    for columns in (encoded, plain):
        back = Columns.from_dict(json.loads(json.dumps(columns.as_dict())))
        assert repr(back) == repr(columns)
    # Medians that no input tells of are no reason against a merge.
    assert encoded == Columns(("a", "b"), (Encoding(labels=("x",)), Encoding(fill=0.2)))
    assert plain == Columns(None)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(("a", "b"), (Encoding(fill=np.inf), Encoding())), "must be finite, and of a col"),
        (
            Columns(("a",), (Encoding(median=0.0, fill=0.0),)),
            "must be finite, and of a column of n",
        ),
        (Columns(("a", "b"), medians=(0.0, np.nan)), "the medians of columns must be finite"),
        (Columns(None, medians=(0.0,)), "1 medians of columns for a network with 2 inputs"),
        (
            Columns(("a", "b"), (Encoding(), Encoding()), (0.0, 1.0)),
            "the medians of columns that are encoded stand in encodings",
        ),
    ],
)
def test_medians_that_do_not_fit_their_network(columns, message):
    parameters = np.ones(3, np.float32)
    network = omp_mlp.Model._of((2, 1), parameters, "relu", "identity", None, columns=columns)
    with pytest.raises(ValueError, match=f"a damaged state of a Model: .*{message}"):
        pickle.loads(pickle.dumps(network))


def test_merges_and_ensembles_read_the_medians(trained):
    model, holes, filled = trained
    frame = FRAME if "kind" in holes else PLAIN
    ensemble = fixed.train_parallel(frame, CLASSES, 2, "ensemble", **OPTIONS)
    with is_warned() as caught:
        np.testing.assert_array_equal(ensemble.predict_proba(holes), ensemble.predict_proba(filled))
    assert len(caught) == 1
    merged = omp_mlp.merge([model, model])
    with is_warned():
        np.testing.assert_array_equal(merged.predict_proba(holes), merged.predict_proba(filled))
    networks = [omp_mlp.merge([model]), model]
    refit = omp_mlp.merge(networks, "regmean", X=filled)
    with is_warned():
        got = omp_mlp.merge(networks, "regmean", X=holes)
    np.testing.assert_array_equal(got.weights[0], refit.weights[0])


@pytest.mark.parametrize("names", [["kind", "size"], ["size", "count"]])
def test_networks_of_different_rows_merge_and_the_first_gives_the_medians(names):
    frame, options = FRAME[names], {"epochs": 1, "batch_size": 4}
    halves = slice(0, 30), slice(30, 60)
    first, second = (fixed.train_parallel(frame[one], CLASSES[one], 1, **options) for one in halves)
    assert medians_of(first.columns) != medians_of(second.columns)
    merged = omp_mlp.merge([first, second])
    assert medians_of(merged.columns) == medians_of(first.columns)
    filled = frame.assign(size=np.median(frame["size"][:30]))
    with is_warned("'size' in 60 of 60 rows"):
        got = merged.predict_proba(frame.assign(size=np.nan))
    np.testing.assert_array_equal(got, merged.predict_proba(filled))


def test_the_summary_says_what_stands_for_missing_numbers():
    encoded = fixed.train_parallel(FRAME, CLASSES, 2, **OPTIONS).summary()
    assert "number, or 3 if missing later" in encoded
    plain = fixed.train_parallel(PLAIN, CLASSES, 2, **OPTIONS).summary()
    assert "missing numbers: read as the median of their column in the training" in plain


def test_onnx_graphs_have_the_medians(trained, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, holes, filled = trained
    path = tmp_path / "network.onnx"
    model.to_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    if "kind" in holes:
        types_of = {"tensor(string)": object, "tensor(int64)": "int64", "tensor(double)": "float64"}
        fed = {
            one.name: holes[[one.name]].astype(types_of[one.type]).to_numpy()
            for one in session.get_inputs()
        }
    else:
        fed = {"X": holes.to_numpy()}
    labels, probabilities = session.run(["label", "probabilities"], fed)
    np.testing.assert_allclose(probabilities, model.predict_proba(filled), atol=1e-6)
    assert labels.tolist() == model.predict(filled).tolist()
    back = omp_mlp.Model.from_onnx(path)
    assert medians_of(back.columns) == list(MEDIANS.values())
    with is_warned():
        np.testing.assert_array_equal(back.predict_proba(holes), model.predict_proba(filled))


def test_onnx_graphs_of_floats_have_the_medians(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    frame = PLAIN[["size", "count"]]
    model = fixed.train_parallel(frame, CLASSES, 2, **OPTIONS)
    assert model.input_scaling is None
    model.to_onnx(tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "network.onnx", providers=["CPUExecutionProvider"]
    )
    holes, filled = (one[["size", "count"]] for one in with_gaps(PLAIN))
    (got,) = session.run(["probabilities"], {"X": holes.to_numpy(np.float32)})
    np.testing.assert_allclose(got, model.predict_proba(filled), atol=1e-6)


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_cross_validation_of_a_table_with_few_gaps(frame):
    pytest.importorskip("sklearn")
    from sklearn.model_selection import KFold, cross_val_score

    holes, _ = with_gaps(frame)  # all in the first fold
    classifier = omp_mlp.OmpMLPClassifier(
        hidden_layer_sizes=(8,), max_iter=3, batch_size=4, random_state=0, threads=1
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores = cross_val_score(classifier, holes, CLASSES, cv=KFold(3), error_score="raise")
    lacking = [one for one in caught if issubclass(one.category, omp_mlp.MissingNumbersWarning)]
    assert len(lacking) == 1  # of the fold that is trained on the rows without gaps
    assert "'size' in 2 of 20 rows" in str(lacking[0].message)
    # The scores are those of the same folds with the medians of their training filled in.
    train, test = np.arange(20, 60), np.arange(20)
    by_hand = holes.iloc[test].copy()
    for name in ("size", "stamp", "count"):
        by_hand[name] = by_hand[name].fillna(np.median(frame[name].iloc[train].astype(float)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # its loss still falls
        fitted = classifier.fit(holes.iloc[train], CLASSES[train])
    assert scores[0] == fitted.score(by_hand, CLASSES[test])
    assert np.isfinite(scores).all()


def test_regressors_read_the_medians():
    regressor = omp_mlp.OmpMLPRegressor(hidden_layer_sizes=(8,), max_iter=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        regressor.fit(FRAME, FRAME["size"])
    holes, filled = with_gaps(FRAME)
    with is_warned():
        np.testing.assert_array_equal(regressor.predict(holes), regressor.predict(filled))


def test_a_training_in_parts_reads_the_medians_of_the_first():
    trained = []
    for more in with_gaps(FRAME):
        classifier = omp_mlp.OmpMLPClassifier(hidden_layer_sizes=(8,), random_state=0)
        classifier.partial_fit(FRAME, CLASSES, classes=["no", "yes"])
        lacks = more["size"].isna().any()
        with is_warned() if lacks else contextlib.nullcontext():
            classifier.partial_fit(more, CLASSES)
        trained.append(classifier)
    np.testing.assert_array_equal(trained[0].coefs_[0], trained[1].coefs_[0])
    assert medians_of(trained[0].model_.columns) == list(MEDIANS.values())


def test_a_training_that_is_resumed_keeps_the_medians(tmp_path):
    states = []
    options = {**OPTIONS, "merge_every": 8}
    whole = fixed.train_parallel(
        FRAME, CLASSES, 2, **options, checkpoint=states.append, checkpoint_every=1
    )
    path = tmp_path / "state"
    states[0].save(path)
    resumed = fixed.train_parallel(FRAME, CLASSES, 2, **options, resume=path)
    assert medians_of(resumed.columns) == medians_of(whole.columns) == list(MEDIANS.values())
    holes, filled = with_gaps(FRAME)
    with is_warned():
        np.testing.assert_array_equal(resumed.predict_proba(holes), whole.predict_proba(filled))


def test_the_command_line_reads_the_medians(tmp_path, capsys):
    model, (holes, filled) = tmp_path / "model.safetensors", with_gaps(FRAME)
    for name, table in (("train", FRAME), ("holes", holes), ("filled", filled)):
        table.assign(y=CLASSES).to_csv(tmp_path / f"{name}.csv", index=False)
    train = ["train", str(tmp_path / "train.csv"), "--target", "y", "-o", str(model)]
    assert main([*train, "--epochs", "2", "--threads", "2"]) == 0
    capsys.readouterr()
    answers = []
    for name in ("holes", "filled"):
        asked = ["predict", str(model), str(tmp_path / f"{name}.csv"), "--target", "y"]
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            assert main([*asked, "--proba"]) == 0
        answers.append(capsys.readouterr())
    assert answers[0].out == answers[1].out
    assert f"warning: {WARNING}" in answers[0].err
    assert answers[1].err == ""
