"""Columns of a table: text, categories and missing numbers as inputs, and names."""

import contextlib
import pickle
import re
import warnings

import numpy as np
import pytest

import fixed
import omp_mlp
from benchmarks.torture.model_files import change_something
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


def test_labels_of_another_type_are_no_unknown_labels():
    model = fixed.train_parallel(FRAME, CLASSES, 2, **OPTIONS)
    expected = model.predict_proba(FRAME)
    for level in (LEVEL, LEVEL * 1.0, pandas.array(LEVEL, "Int64"), LEVEL.astype(object)):
        np.testing.assert_array_equal(model.predict_proba(FRAME.assign(level=level)), expected)
    for changed, message in (
        ({"level": LEVEL.astype(str)}, "column 'level' of X must hold labels of type int, as in "),
        ({"kind": LEVEL}, "column 'kind' of X must hold labels of type str, as in the training; "),
        ({"kind": b"x"}, "as in the training; got entries of type bytes"),
        ({"kind": pandas.Categorical(LEVEL)}, "as in the training; got entries of type int"),
    ):
        with pytest.raises(TypeError, match=re.escape(message)):
            model.predict(FRAME.assign(**changed))
    none = model.columns.read(FRAME.assign(kind=None, level=np.nan))
    assert not none[:, [0, 1, 2, 6, 7]].any()
    # A file has no types: its cells are the numbers that they look like.
    texts = ["4", "5.0", "x", str(2**60 + 1), "4_0"]
    cells = Column("level", np.array(texts, object), lambda: texts)
    read = Columns(("level",), (Encoding(labels=(4, 5, 2**60, 40)),)).read(Frame((cells,)))
    assert read.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], *[[0] * 4] * 3]


def test_text_that_is_numbers_but_for_a_few_cells_warns():
    cells = np.array([f"{value:.3f}" for value in SIZE], dtype=object)
    cells[7] = "5%"
    with pytest.warns(omp_mlp.SettingsWarning) as caught:
        model = fixed.train_parallel(FRAME.assign(size=cells), CLASSES, 2, **OPTIONS)
    assert str(caught[0].message) == (
        "column 'size' of X is text, of which 59 of 60 labels look like numbers, and others do "
        "not, such as '5%'; each label is an input of 0 and 1. If they are numbers, make the "
        "others numbers or missing"
    )
    assert caught[0].filename == fixed.__file__
    assert model.layer_sizes[0] == len(by_hand()[0]) - 1 + 60
    # No doubt: numbers as codes, few labels, and words.
    codes = FRAME.assign(size=[f"{k:05}" for k in range(N)])
    few = FRAME.assign(size=[f"{k % 19}" if k else "20+" for k in range(N)])
    words = FRAME.assign(size=[f"{k}" if k % 8 else f"no {k}" for k in range(N)])
    for table in (codes, few, words):
        fixed.train_parallel(table, CLASSES, 2, **OPTIONS)


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
        (Columns(("a",), (Encoding(median=10**400),)), "median of a column must be finite"),
        (Columns(("a",), (Encoding(median=True),)), "median of a column must be finite"),
        (Columns(("a",), (Encoding(fill="x"),)), "missing later must be finite"),
        (Columns(("a", "b"), medians=(0, 10**400)), "medians of columns must be finite"),
        (Columns(("a",), (Encoding(labels=("x", 1)),)), "labels of a column must be of one type"),
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


@pytest.mark.parametrize("part", ["names", "keys", "medians", "encodings", "labels"])
def test_what_is_no_list_is_no_columns(part):
    plain = {"names": None, "encodings": [{"labels": ["x", "y"], "median": None}]}
    for wrong in ("ab", {"a": 1, "b": 2}, 3):
        given = {**plain, "encodings": [{"labels": wrong, "median": None}]}
        given = given if part == "labels" else {**plain, part: wrong}
        with pytest.raises(TypeError, match=f"{part} of columns must be a list; got "):
            Columns.from_dict(given)


def tables_of_all_kinds():
    """Return tables and y of networks that encode, compress, have limits, or scale y."""
    amounts, far = FRAME.assign(size=np.exp(4 * SIZE)), NUMBERS.copy()
    far[3, 0] = 1e6
    compressed = {"scale_inputs": "compress"}
    yield FRAME, CLASSES, {}
    yield (
        amounts.set_axis([3, 1, ("a", 2), "b"], axis=1),
        SIZE * 1e9,
        {**compressed, "scale_targets": "auto"},
    )
    yield named(5, 7, 1) ** 5, CLASSES, compressed
    yield pandas.DataFrame(far), np.stack([CLASSES, ~CLASSES], 1), {"scale_inputs": "auto"}


def loaded_or_refused(path):
    try:
        return omp_mlp.load(path)
    except ValueError as caught:
        error = caught
    assert str(path) in str(error)
    return None


@pytest.mark.filterwarnings("ignore::omp_mlp.SettingsWarning", "ignore:X lacks numbers")
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_changes_of_a_file_with_a_right_digest_load_as_a_network_or_not_at_all(tmp_path):
    path, rng, loads = tmp_path / "network.safetensors", np.random.default_rng(5), 0
    for table, y, options in tables_of_all_kinds():
        fixed.train_parallel(table, y, 1, **OPTIONS, **options).save(path)
        content = path.read_bytes()
        for _ in range(75):
            change_something(path, content, rng)
            loaded = loaded_or_refused(path)
            if loaded is None:
                continue
            loads += 1
            with contextlib.suppress(TypeError, ValueError):  # columns of other names
                assert np.isfinite(loaded.predict(table)).all()
            pickle.loads(pickle.dumps(loaded)).save(path)
            assert omp_mlp.load(path).columns == loaded.columns
    assert 20 < loads < 280  # else nothing was tried


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


# ------------------------------------------------------------------------- names that are no text

NUMBERS = np.column_stack([SIZE, 3 * RNG.normal(size=N), RNG.normal(size=N) - 9])


def named(*names):
    return pandas.DataFrame(NUMBERS, columns=pandas.Index(names, tupleize_cols=True))


NAMES = {
    "places": (0, 1, 2),
    "numbers": (5, 7, 1),
    "of NumPy": tuple(np.arange(3, 6)),
    "floats": (0.5, 1.0, -2.25),
    "with text": ("size", 0, 1),
    "two levels": (("a", 0), ("a", 1), ("b", 0)),
    "dates": tuple(pandas.date_range("2020-01-31", periods=3)),
    "flags": (False, True, 2.5),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_columns_go_by_names_that_are_no_text(names, tmp_path):
    table = named(*names)
    model = fixed.train_parallel(table, CLASSES, 2, **OPTIONS)
    array = fixed.train_parallel(NUMBERS, CLASSES, 2, **OPTIONS)
    expected = array.predict_proba(NUMBERS)
    assert len(set(model.columns.called)) == 3
    assert (model.columns.names is None) == (model.columns.keys is not None)
    model.save(tmp_path / "network.safetensors")
    loaded = omp_mlp.load(tmp_path / "network.safetensors")
    assert loaded.columns == model.columns
    more = pandas.concat([table, 7 * table.set_axis(["b", "c", "d"], axis=1)], axis=1)
    for network in (model, loaded, pickle.loads(pickle.dumps(model))):
        for order in ([0, 1, 2], [2, 1, 0], [5, 1, 4, 2, 0]):
            got = network.predict_proba(more.iloc[:, order])
            np.testing.assert_array_equal(got, expected)
            assert network.score(more.iloc[:, order], CLASSES) == array.score(NUMBERS, CLASSES)
        np.testing.assert_array_equal(network.predict_proba(NUMBERS), expected)
        with pytest.raises(
            ValueError,
            match=re.escape(
                "X must have the columns of the training; 1 of 3 are missing: "
                f"{model.columns.called[1]!r}"
            ),
        ):
            network.predict(more.iloc[:, [2, 0, 4]])


def test_numbers_of_columns_that_are_not_there_are_named():
    model = fixed.train_parallel(named(*range(9)[5:8]), CLASSES, 2, **OPTIONS)
    assert model.columns.keys == (5, 6, 7)
    for table, missing in (
        (named(0, 1, 2), "3 of 3 are missing: 5, 6, 7"),
        (named("a", "b", "c"), "3 of 3 are missing: 5, 6, 7"),
        (polars.DataFrame(NUMBERS), "3 of 3 are missing: 5, 6, 7"),
        (named(7, 6, 8), "1 of 3 are missing: 5"),
    ):
        with pytest.raises(ValueError, match=missing):
            model.predict(table)
        with pytest.raises(ValueError, match=missing):
            model.score(table, CLASSES)
        with pytest.raises(ValueError, match=rf"validation_data\[0\] must have .*; {missing}"):
            fixed.train_parallel(
                named(5, 6, 7), CLASSES, 2, **OPTIONS, validation_data=(table, CLASSES)
            )
    with pytest.raises(ValueError, match="got 7 twice"):
        model.predict(named(5, 6, 7).iloc[:, [0, 1, 2, 2]])
    other = fixed.train_parallel(named(7, 6, 5), CLASSES, 2, **OPTIONS)
    with pytest.raises(ValueError, match=r"models\[1\] must have the columns of models\[0\]"):
        omp_mlp.merge([model, other])


def test_tables_with_names_have_the_places_of_columns_that_pandas_numbered():
    model = fixed.train_parallel(named(0, 1, 2), CLASSES, 2, **OPTIONS)
    expected = model.predict_proba(NUMBERS)
    tables = (named("a", "b", "c"), polars.DataFrame(NUMBERS), pyarrow.table(named("a", "b", "c")))
    for table in tables:
        np.testing.assert_array_equal(model.predict_proba(table), expected)
    with pytest.raises(ValueError, match="must have the 3 columns of the training; got 2"):
        model.predict(tables[1][:, :2])
    with pytest.raises(ValueError, match="1 of 3 are missing: 0"):
        model.predict(named(1, 2, 3))
    # A file without names has nothing but places, which are others where the target is left out.
    file = Frame(tuple(Column(place, NUMBERS[:, k]) for k, place in enumerate((0, 2, 3))))
    np.testing.assert_array_equal(model.predict_proba(file), expected)
    assert fixed.train_parallel(file, CLASSES, 2, **OPTIONS).columns.keys is None


def test_numbered_columns_may_be_encoded():
    table = FRAME.set_axis([3, 1, 2, 0], axis=1)
    X, columns = find_columns(table, encodes=True)
    np.testing.assert_array_equal(X, by_hand())
    assert columns.input_names[:4] == ("3=x", "3=y", "3=z", 1)
    np.testing.assert_array_equal(columns.read(table[[0, 1, 2, 3]]), by_hand())
    assert Columns.from_dict(columns.as_dict()) == columns
    model = fixed.train_parallel(table, CLASSES, 2, **OPTIONS)
    assert "columns: 4: 3, 1, 2, 0" in model.summary()
    with pytest.raises(TypeError, match="column 1 of X must hold numbers, as in the training"):
        model.predict(table.assign(**{"1": 0}).set_axis([3, 0, 2, 9, 1], axis=1).astype(str))


def test_tables_that_were_put_side_by_side_keep_their_order():
    table = named(0, 1, 0)
    model = fixed.train_parallel(table, CLASSES, 2, **OPTIONS)
    np.testing.assert_array_equal(model.predict_proba(table), model.predict_proba(NUMBERS))
    with pytest.raises(
        ValueError,
        match="X must have the columns of the training in the same order, because some have the "
        "same name; expected 0, 1, 0; got 0, 0, 1",
    ):
        model.predict(table.iloc[:, [0, 2, 1]])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(None, keys=(0,)), "columns with 1 inputs for a network with 2"),
        (Columns(("a", "b"), keys=(0, 1)), "keys of columns must be text, finite numbers or"),
        (Columns(None, keys=(0, np.nan)), "keys of columns must be text, finite numbers or"),
        (Columns(None, keys=(0, ("a", np.inf))), "keys of columns must be text, finite numbers"),
        (Columns(None, keys=(0, None)), "keys of columns must be text, finite numbers or tuples"),
        (Columns(None, keys=("a", "a")), "keys of columns that are text must differ"),
        (Columns(None, (Encoding(), Encoding()), keys=(1,)), "1 names for 2 columns"),
    ],
)
def test_keys_that_do_not_fit_their_network(columns, message, tmp_path):
    test_columns_that_do_not_fit_their_network(columns, message, tmp_path)


def test_estimators_find_numbered_columns():
    table = named(0, 1, 2)
    parameters = {"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}
    classifier = omp_mlp.OmpMLPClassifier(**parameters).fit(table, CLASSES)
    assert not hasattr(classifier, "feature_names_in_")
    turned = table[[2, 0, 1]]
    np.testing.assert_array_equal(classifier.predict_proba(turned), classifier.predict_proba(table))
    assert classifier.score(turned, CLASSES) == classifier.score(table, CLASSES)
    np.testing.assert_array_equal(
        classifier.predict_proba(NUMBERS), classifier.predict_proba(table)
    )
    with pytest.raises(ValueError, match="1 of 3 are missing: 2"):
        classifier.predict(named(0, 1, 5))
    online = omp_mlp.OmpMLPRegressor(**parameters)
    online.partial_fit(table, SIZE)
    online.partial_fit(turned, SIZE)
    twice = omp_mlp.OmpMLPRegressor(**parameters).partial_fit(table, SIZE).partial_fit(table, SIZE)
    np.testing.assert_array_equal(online.predict(turned), twice.predict(table))
    with pytest.raises(TypeError, match="Feature names are only supported if all input features"):
        omp_mlp.OmpMLPRegressor(**parameters).fit(named("a", 1, 2), SIZE)
