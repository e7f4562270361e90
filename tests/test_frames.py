"""Tables and arrays of other libraries: the same numbers, labels and errors as NumPy's."""

import re
from decimal import Decimal

import numpy as np
import pytest

import fixed
import omp_mlp
from omp_mlp.frames import as_array, is_frame
from omp_mlp.targets import as_target
from protocols import OnDevice

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")

RNG = np.random.default_rng(0)
N = 40
FLOATS, FLAGS = RNG.normal(size=N), RNG.normal(size=N) > 0
WHOLE = RNG.integers(-5, 5, N)
MIXED = {"real": FLOATS, "flag": FLAGS, "whole": WHOLE}
MATRIX = np.column_stack([FLOATS, FLAGS, WHOLE])
LABELS = np.where(FLAGS, "yes", "no")
FRAME = pandas.DataFrame(MIXED)

TABLES = {
    "pandas": FRAME,
    "nullable": FRAME.convert_dtypes(),
    "arrow-backed": FRAME.convert_dtypes(dtype_backend="pyarrow"),
    "objects": FRAME.astype(object),
    "sparse": FRAME.astype({"whole": pandas.SparseDtype(int)}),
    "polars": polars.DataFrame(MIXED),
    "pyarrow": pyarrow.table(MIXED),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_columns_of_any_number_are_a_matrix(table):
    np.testing.assert_array_equal(as_array(table, "X"), MATRIX)
    options = {"epochs": 2, "batch_size": 4, "scale_inputs": "auto"}
    expected = fixed.train_parallel(MATRIX, FLAGS, 2, **options)
    model = fixed.train_parallel(table, FLAGS, 2, **options)
    np.testing.assert_array_equal(model.weights[0], expected.weights[0])
    assert model.columns.names == ("real", "flag", "whole")
    assert model.columns.encodings is None
    # The network takes other tables, and arrays.
    np.testing.assert_array_equal(model.predict(table), expected.predict(MATRIX))
    np.testing.assert_array_equal(model.predict_proba(MATRIX), expected.predict_proba(MATRIX))
    assert model.score(FRAME, FLAGS) == expected.score(MATRIX, FLAGS)


def test_one_type_of_number_is_not_copied():
    given = np.asfortranarray(RNG.normal(size=(N, 3)).astype(np.float32))
    frame = pandas.DataFrame(given, columns=list("abc"), copy=False)
    assert np.shares_memory(as_array(frame, "X"), given)
    many = polars.DataFrame(given.copy(), schema=list("abc"))
    assert as_array(many, "X").dtype == np.float32


class Exchanged:
    """A table of a library that nobody knows."""

    def __dataframe__(self, **options):
        return FRAME.__dataframe__(**options)


@pytest.mark.filterwarnings("ignore:.*interchange.*", "ignore:.*__dataframe__.*")
def test_a_table_of_an_unknown_library_is_read_by_the_interchange_protocol():
    assert is_frame(Exchanged())
    np.testing.assert_array_equal(as_array(Exchanged(), "X"), MATRIX)


def test_dlpack_and_objects_that_hold_numbers():
    np.testing.assert_array_equal(as_array(OnDevice(MATRIX), "X"), MATRIX)
    assert np.shares_memory(as_array(OnDevice(MATRIX), "X"), MATRIX)
    objects = MATRIX.astype(object)
    assert as_array(objects, "X").dtype == np.float64
    assert as_array(WHOLE.astype(object), "y").dtype.kind == "i"
    with pytest.raises(TypeError, match="X must hold real numbers; got dtype object"):
        fixed.train_parallel(np.array([["1.5", 2.0]] * 4, dtype=object), [0, 1, 0, 1], 1)


def test_objects_that_numpy_has_no_type_for_are_doubles():
    frame = pandas.DataFrame({"price": [Decimal("1.5")] * N, "large": [2**70] * N, "real": FLOATS})
    assert frame.dtypes.tolist()[:2] == [object, object]
    expected = np.column_stack([np.full(N, 1.5), np.full(N, 2.0**70), FLOATS])
    np.testing.assert_array_equal(as_array(frame, "X"), expected)
    model = fixed.train_parallel(frame[["price", "real"]], FLAGS, 2)
    assert model.columns.encodings is None  # numbers, and no categories


def test_numbers_that_no_double_holds_are_named():
    for entries in ([10**400, 1], [10**400, None], [Decimal("sNaN"), 1]):
        frame = pandas.DataFrame({"a": FLOATS, "large": pandas.Series(entries * 20, dtype=object)})
        with pytest.raises(ValueError, match="column 'large' of X must hold numbers that fit doub"):
            fixed.train_parallel(frame, FLAGS, 2)


def test_integers_of_128_bits():
    table = polars.DataFrame({"a": FLOATS, "wide": polars.Series(WHOLE, dtype=polars.Int128)})
    np.testing.assert_array_equal(as_array(table, "X"), np.column_stack([FLOATS, WHOLE]))
    assert as_target(table["wide"], "y").dtype == np.int64
    large = polars.Series([2**100, None, -1], dtype=polars.Int128)
    np.testing.assert_array_equal(as_array(large, "y"), [2.0**100, np.nan, -1])
    np.testing.assert_array_equal(as_array(large.drop_nulls(), "y"), [2.0**100, -1])


def test_messages_name_columns_and_entries():
    frame = FRAME.assign(real=np.where(FLAGS, np.inf, 0))
    row = int(np.argmax(FLAGS))
    with pytest.raises(ValueError, match=rf"got inf in row {row}, column 0 \('real'\)"):
        fixed.train_parallel(frame, FLAGS, 2, scale_inputs="auto")
    model = fixed.train_parallel(FRAME.assign(text=LABELS), FLAGS, 2)
    places = frame.assign(text=LABELS)[["text", "real", "flag", "whole"]]
    with pytest.raises(ValueError, match=rf"got inf in row {row}, column 0 \('real'\)"):
        model.predict(places)
    numbered = fixed.train_parallel(FRAME.set_axis([7, 8, 9], axis=1), FLAGS, 2)
    with pytest.raises(ValueError, match=rf"got inf in row {row}, column 0 \(7\)"):
        numbered.predict(frame.set_axis([7, 8, 9], axis=1))
    for X, shown in (([[1.0, None]], "None"), ({"a": 1}, "{'a': 1}"), ([[1, "b"]], "dtype <U")):
        with pytest.raises(TypeError, match=f"X must hold real numbers; got .*{re.escape(shown)}"):
            fixed.train_parallel(np.array(X, dtype=object) if X == [[1.0, None]] else X, [0], 1)


def test_estimators_say_that_a_lazy_frame_has_no_rows():
    with pytest.raises(TypeError, match="X is a LazyFrame, which has no rows yet"):
        omp_mlp.OmpMLPClassifier().fit(polars.DataFrame(MIXED).lazy(), FLAGS)


def test_tensors():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(MATRIX, dtype=torch.float32, requires_grad=True)
    np.testing.assert_array_equal(as_array(tensor, "X"), MATRIX.astype(np.float32))
    assert as_array(torch.ones(2, dtype=torch.bfloat16), "X").tolist() == [1.0, 1.0]


class Tensor:
    """A tensor of PyTorch that cannot be read in one way or another."""

    dtype = "torch.float32"

    def __init__(self, error):
        self.error = error

    def detach(self):
        return self

    def cpu(self):
        if isinstance(self.error, NotImplementedError):
            raise self.error
        return self

    def __array__(self, dtype=None, copy=None):
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NotImplementedError("Cannot copy out of meta tensor; no data!"), ValueError),
        (RuntimeError("Can't call numpy() on Tensor that has negative bit set."), ValueError),
        (TypeError("can't convert Sparse layout tensor to numpy."), TypeError),
    ],
)
def test_tensors_that_cannot_be_read(error, kind):
    with pytest.raises(kind, match=re.escape(f"X cannot be read as an array: {error}")):
        fixed.train_parallel(Tensor(error), FLAGS, 2)
    with pytest.raises(kind, match=re.escape(f"y cannot be read as an array: {error}")):
        fixed.train_parallel(MATRIX, Tensor(error), 2)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (FRAME.assign(when=pandas.Timestamp("2020-01-01")), "column 'when' of X must hold numbers"),
        (polars.DataFrame({"when": [None, 3]}).cast(polars.Date), "'when' of X must hold numbers"),
        (pyarrow.table({"a": [[1], [2]]}), "or categories; got dtype list<"),
        (pandas.DataFrame({"a": ["x", 1.5] * 20}), "got objects of type float, str"),
        (polars.DataFrame(MIXED).lazy(), "X is a LazyFrame, which has no rows yet"),
        (polars.DataFrame({"real": FLOATS}).lazy(), "X is a LazyFrame, which has no rows yet"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*LazyFrame.*")
def test_columns_that_are_no_numbers(table, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        fixed.train_parallel(table, FLAGS, 2)


# ------------------------------------------------------------------------------------------ y

OF_LABELS = {
    "column": LABELS[:, None],
    "table": pandas.DataFrame({"y": LABELS}),
    "objects": LABELS.astype(object),
    "list": LABELS.tolist(),
    "string": pandas.Series(LABELS, dtype="string"),
    "category": pandas.Series(LABELS, dtype="category"),
    "categorical": pandas.Categorical(LABELS),
    "polars": polars.Series(LABELS.tolist()),
    "enum": polars.Series(LABELS.tolist(), dtype=polars.Enum(["no", "yes"])),
    "pyarrow": pyarrow.array(LABELS.tolist()),
    "dictionary": pyarrow.chunked_array([LABELS.tolist()]).dictionary_encode(),
}
if hasattr(np, "dtypes") and hasattr(np.dtypes, "StringDType"):
    OF_LABELS["StringDType"] = LABELS.astype(np.dtypes.StringDType())


@pytest.mark.parametrize("y", OF_LABELS.values(), ids=OF_LABELS)
def test_labels_in_any_form(y):
    expected = fixed.train_parallel(MATRIX, LABELS, 1, epochs=1)
    model = fixed.train_parallel(MATRIX, y, 1, epochs=1)
    np.testing.assert_array_equal(model.weights[0], expected.weights[0])
    assert model.classes.tolist() == ["no", "yes"]
    assert model.score(MATRIX, y) == expected.score(MATRIX, LABELS)


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (WHOLE.astype(object), "i"),
        (FLAGS.astype(object), "b"),
        (pandas.Series(WHOLE, dtype="Int64"), "i"),
        (pandas.Series(FLAGS, dtype="boolean"), "b"),
        (pandas.Series(FLOATS, dtype="Float64"), "f"),
        (pandas.Series(WHOLE, dtype="category"), "i"),
        (polars.Series(FLAGS), "b"),
        (pyarrow.array(WHOLE), "i"),
        (pyarrow.array(FLAGS), "b"),
        (pandas.DataFrame({"a": FLOATS, "b": FLOATS}), "f"),
    ],
)
def test_numbers_keep_their_kind(y, kind):
    array = as_target(y, "y")
    assert array.dtype.kind == kind
    expected = {"i": WHOLE, "b": FLAGS, "f": FLOATS}[kind]
    np.testing.assert_array_equal(array if array.ndim == 1 else array[:, 1], expected)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", float("nan")] * 20, "must have a label or a value in every row; got nan in row 1"),
        ([None, "a"] * 20, "every row; got None in row 0"),
        (pandas.Series(["a", None] * 20), "every row; got None in row 1"),
        (pandas.Series(["a", None] * 20, dtype="string"), "every row; got None in row 1"),
        (pandas.Series(["a", "b", None, "a"] * 10, dtype="category"), "got None in row 2"),
        (np.array([1, 2, 3, None] * 10, dtype=object), "every row; got None in row 3"),
        (pandas.Series([1, None] * 20, dtype="Int64"), "y must be finite in float32; got nan"),
        (polars.Series([None, "a"] * 20), "every row; got None in row 0"),
    ],
)
def test_missing_labels_are_errors(y, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        fixed.train_parallel(MATRIX, y, 1)


def test_labels_of_several_types_are_errors():
    with pytest.raises(TypeError, match="labels of one type, strings or numbers; got entries of"):
        fixed.train_parallel(MATRIX, ["a", 1] * 20, 1)
