"""Columns of a table: text, categories and missing numbers as inputs, and names."""

import pickle
import re
import warnings

import numpy as np
import pytest

import fixed
import omp_mlp
from omp_mlp.encoding import Columns, Encoding, find_columns
from omp_mlp.frames import Column, Frame

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")

RNG = np.random.default_rng(1)
N = 60
KIND = np.array(["x", "y", "z"])[np.arange(N) % 3]
SIZE = RNG.normal(size=N)
WITH_GAPS = np.where(np.arange(N) % 10 == 0, np.nan, RNG.normal(size=N))
LEVEL = np.arange(N) % 2 + 4
CLASSES = (KIND == "x") | (SIZE > 1)
FRAME = pandas.DataFrame(
    {"kind": KIND, "size": SIZE, "gaps": WITH_GAPS, "level": pandas.Categorical(LEVEL)}
)
OPTIONS = {"epochs": 3, "batch_size": 4}


def by_hand():
    """Return the inputs: a column for each label, the median and a mark for what is missing."""
    missing = np.isnan(WITH_GAPS)
    filled = np.where(missing, np.median(WITH_GAPS[~missing]), WITH_GAPS)
    one_hot = [label == KIND for label in "xyz"]
    return np.column_stack([*one_hot, SIZE, filled, missing, LEVEL == 4, LEVEL == 5]).astype(float)


TABLES = {
    "pandas": FRAME,
    "nullable": FRAME.astype({"kind": "string", "gaps": "Float64"}),
    "polars": polars.DataFrame(
        {
            "kind": polars.Series(KIND.tolist(), dtype=polars.Categorical),
            "size": SIZE,
            "gaps": polars.Series([None if np.isnan(one) else one for one in WITH_GAPS]),
            "level": polars.Series([str(level) for level in LEVEL]),
        }
    ),
    "pyarrow": pyarrow.Table.from_pandas(FRAME),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_text_categories_and_missing_numbers_become_inputs(table):
    X, columns = find_columns(table, encodes=True)
    np.testing.assert_array_equal(X, by_hand())
    inputs = ("kind=x", "kind=y", "kind=z", "size", "gaps", "gaps=missing", "level=4", "level=5")
    assert columns.input_names == inputs
    model = fixed.train_parallel(table, CLASSES, 2, **OPTIONS)
    expected = fixed.train_parallel(by_hand(), CLASSES, 2, **OPTIONS)
    np.testing.assert_array_equal(model.weights[0], expected.weights[0])
    np.testing.assert_array_equal(model.predict_proba(table), expected.predict_proba(by_hand()))
    validated = fixed.train_parallel(table, CLASSES, 2, **OPTIONS, validation_data=(table, CLASSES))
    assert validated.history.validation_score[-1] == expected.score(by_hand(), CLASSES)


def test_unknown_and_missing_labels_are_all_zero():
    columns = fixed.train_parallel(FRAME, CLASSES, 2, **OPTIONS).columns
    changed = FRAME[:3].assign(kind=["new", None, "z"], level=[4, 9, None])
    X = columns.read(changed)
    assert X[:, :3].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert X[:, 6:].tolist() == [[1, 0], [0, 0], [0, 0]]


def test_text_that_no_memory_holds_is_named():
    names = [f"label {k}" for k in range(10**6)]
    table = pandas.DataFrame({"kind": names[:1] * 10**6, "id": names})
    with pytest.raises(MemoryError) as caught:
        fixed.train_parallel(table, np.arange(10**6) % 2, 2, categorical_features="from_dtype")
    assert str(caught.value) == (
        "X needs more memory than there is: 1000000 rows of 1000001 inputs take 8e+03 GB. Column "
        "'id' alone has 1000000 inputs, one for each of its labels"
    )


def test_columns_go_by_their_names():
    model = fixed.train_parallel(FRAME, CLASSES, 2, **OPTIONS)
    numbers = FRAME[["size", "gaps"]].fillna(0.0)
    plain = fixed.train_parallel(numbers, CLASSES, 2, **OPTIONS)
    for network, table in ((model, FRAME), (plain, numbers)):
        turned = table[table.columns[::-1]].assign(more=1)
        np.testing.assert_array_equal(network.predict_proba(turned), network.predict_proba(table))
        with pytest.raises(
            ValueError, match=rf"columns of the training; 1 of {table.shape[1]} are missing: 'size'"
        ):
            network.predict(table.drop(columns="size"))
    with pytest.raises(ValueError, match="2 of 2 are missing: 'size', 'gaps'"):
        plain.predict(pandas.DataFrame(numbers.to_numpy()))
    for network in (model, plain):
        with pytest.raises(ValueError, match="X must have columns of different names; got 'size' "):
            network.predict(pandas.concat([FRAME, FRAME[["size"]]], axis=1))
    more = pandas.concat([numbers, FRAME[["kind", "kind"]]], axis=1)  # no columns of the training
    np.testing.assert_array_equal(plain.predict_proba(more), plain.predict_proba(numbers))
    # Without names of text, columns go by their places.
    places = fixed.train_parallel(pandas.DataFrame(numbers.to_numpy()), CLASSES, 2, **OPTIONS)
    assert places.columns.names is None
    np.testing.assert_array_equal(places.predict_proba(numbers), plain.predict_proba(numbers))


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        (FRAME, {"categorical_features": None}, TypeError, "text or categories in column 'kind'"),
        (
            FRAME[["size", "gaps"]],
            {"categorical_features": None},
            ValueError,
            "X must be finite in float32; got NaN in row 0, column 1",
        ),
        (FRAME, {"categorical_features": "all"}, ValueError, "one of 'from_dtype', None; got"),
        (
            pandas.DataFrame(np.zeros((N, 2)), columns=["a", "a"]),
            {},
            ValueError,
            "X must have columns of different names; got 'a' twice",
        ),
        (
            FRAME.assign(kind=pandas.Categorical([("a", 1)] * N)),
            {},
            TypeError,
            "column 'kind' of X must have categories that are text or numbers; got tuple",
        ),
    ],
)
def test_bad_tables(X, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        fixed.train_parallel(X, CLASSES, 2, **options)


def test_bad_tables_for_a_network():
    model = fixed.train_parallel(FRAME, CLASSES, 2, **OPTIONS)
    with pytest.raises(TypeError, match=r"X must be a table with the columns.*got ndarray"):
        model.predict(by_hand())
    with pytest.raises(TypeError, match="column 'size' of X must hold numbers, as in the training"):
        model.predict(FRAME.assign(size="large"))
    filled = FRAME.assign(size=np.median(SIZE))  # was never missing in the training
    with pytest.warns(omp_mlp.MissingNumbersWarning, match="'size' in 60 of 60 rows"):
        np.testing.assert_array_equal(
            model.predict_proba(FRAME.assign(size=np.nan)), model.predict_proba(filled)
        )
    for convert in (model.to_torch, model.to_keras, model.to_sklearn):
        with pytest.raises(ValueError, match="this network encodes columns of text"):
            convert()


def test_the_encoding_is_part_of_the_network(tmp_path):
    model = fixed.train_parallel(FRAME, CLASSES, 2, **OPTIONS, keep_replicas=True)
    model.save(tmp_path / "network.safetensors")
    expected = model.predict_proba(FRAME)
    loaded = omp_mlp.load(tmp_path / "network.safetensors")
    for network in (loaded, pickle.loads(pickle.dumps(model))):
        assert network.columns == model.columns
        np.testing.assert_array_equal(network.predict_proba(FRAME), expected)
    merged = omp_mlp.merge(list(model.replicas))
    assert merged.columns == model.columns
    assert merged.score(FRAME, CLASSES) > 0.5
    other = fixed.train_parallel(FRAME.rename(columns={"kind": "sort"}), CLASSES, 2, **OPTIONS)
    with pytest.raises(ValueError, match=r"models\[1\] must have the columns of models\[0\]"):
        omp_mlp.merge([model, other])
    # A start knows its labels: data that lack some are read as the start reads them.
    few = FRAME[FRAME["kind"] != "y"]
    further = fixed.train_parallel(few, CLASSES[FRAME["kind"] != "y"], 2, **OPTIONS, init=model)
    assert further.columns == model.columns
    ensemble = fixed.train_parallel(FRAME, CLASSES, 2, "ensemble", **OPTIONS)
    student = ensemble.distill(FRAME, **OPTIONS, learning_rate=0.05)
    assert student.predict(FRAME).shape == ensemble.predict(FRAME).shape == (N,)
    many = fixed.train_parallel(FRAME, np.stack([CLASSES, ~CLASSES], 1), 2, **OPTIONS)
    many.save(tmp_path / "several.safetensors")
    assert omp_mlp.load(tmp_path / "several.safetensors").multilabel


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(("a", "a")), "names of columns must be different"),
        (Columns(("a",)), "columns with 1 inputs for a network with 2"),
        (Columns(("a", "b"), (Encoding(median=0.0),)), "2 names for 1 columns"),
        (Columns(None, (Encoding(labels=("x", "x")),)), "labels of a column must be different"),
        (Columns(("a",), (Encoding(median=np.nan),)), "median of a column must be finite"),
        (Columns(("a",), (Encoding(labels=("x",)),)), "columns with 1 inputs for a network"),
    ],
)
def test_columns_that_do_not_fit_their_network(columns, message, tmp_path):
    parameters = np.ones(3, np.float32)
    network = omp_mlp.Model._of((2, 1), parameters, "relu", "identity", None, columns=columns)
    network.save(tmp_path / "network.safetensors")
    with pytest.raises(ValueError, match=message):
        omp_mlp.load(tmp_path / "network.safetensors")
    with pytest.raises(ValueError, match=f"a damaged state of a Model: .*{message}"):
        pickle.loads(pickle.dumps(network))


def test_columns_are_plain_data_and_back():
    columns = Columns(("a", "b"), (Encoding(labels=("x", "y")), Encoding(median=0.1)))
    assert Columns.from_dict(columns.as_dict()) == columns
    assert columns.as_dict()["encodings"][1] == {"labels": None, "median": 0.1}
    assert Columns.from_dict(Columns(None).as_dict()) == Columns(None)


def test_cells_of_files_are_the_labels_that_they_look_like():
    def cells(values, texts):
        return Frame((Column("a", np.array(values), lambda: texts),))

    def read(labels, values, texts):
        return Columns(("a",), (Encoding(labels=labels),)).read(cells(values, texts)).tolist()

    assert read(("01", "1"), [1, 1], ["01", "1"]) == [[1, 0], [0, 1]]
    assert read((False, True), [0.5, 1], ["True", "1"]) == [[0, 1], [0, 0]]
    assert read((1, 2), [2.0, 1.0], ["2", "1.0"]) == [[0, 1], [1, 0]]


def test_tables_of_libraries_without_a_name_are_found_by_names():
    class Table:
        """A table that has the interchange protocol and nothing else."""

        def __dataframe__(self, **options):
            return FRAME[["gaps", "size"]].__dataframe__(**options)

    numbers = FRAME[["size"]]
    model = fixed.train_parallel(numbers, CLASSES, 2, **OPTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas gives the protocol up
        got = model.predict_proba(Table())
    np.testing.assert_array_equal(got, model.predict_proba(numbers))


def test_estimators_take_tables():
    parameters = {"hidden_layer_sizes": (8,), "max_iter": 5, "tol": 0.0, "random_state": 0}
    classifier = omp_mlp.OmpMLPClassifier(**parameters, threads=1, n_iter_no_change=9)
    with pytest.warns(UserWarning, match="its loss still falls"):
        classifier.fit(FRAME, pandas.Series(CLASSES), X_val=FRAME, y_val=CLASSES)
    assert classifier.feature_names_in_.tolist() == list(FRAME.columns)
    assert classifier.n_features_in_ == 4
    assert classifier.validation_scores_[-1] == pytest.approx(classifier.score(FRAME, CLASSES))
    with pytest.raises(ValueError, match="in the same order as they were in fit"):
        classifier.predict(FRAME[FRAME.columns[::-1]])
    online = omp_mlp.OmpMLPClassifier(**parameters)
    for rows in (slice(0, 30), slice(30, 60)):
        online.partial_fit(FRAME[rows], CLASSES[rows], classes=[False, True])
    regressor = omp_mlp.OmpMLPRegressor(**parameters)
    with pytest.warns(UserWarning, match="its loss still falls"):
        regressor.fit(TABLES["polars"], polars.Series(SIZE))
    assert regressor.predict(TABLES["polars"]).shape == (N,)
