"""Tables from files: CSV, npz and Parquet, and what is wrong with some of them."""

import contextlib
import gzip
import io
import re
import sys
import zipfile

import numpy as np
import pytest

from omp_mlp.frames import Frame
from omp_mlp.tables import read_table


def lists(inputs):
    """Return the columns of a table by their names."""
    assert isinstance(inputs, Frame)
    return {column.name: column.values.tolist() for column in inputs.columns}


def test_csv_of_numbers_has_typed_targets(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\ufeffa, b,label\n1,2.5,0\n\n-3,1e3,1\n", encoding="utf-8")
    table = read_table(str(path))
    assert list(table.columns) == ["a", "b", "label"]
    assert lists(table.inputs(["label"])) == {"a": [1, -3], "b": [2.5, 1000]}
    # The fractions of b must not make values of the labels.
    assert table.column("label").tolist() == [0, 1]
    assert table.column("label").dtype == np.int64
    assert table.column("b").dtype == np.float64
    assert len(table.inputs([])) == 2


def test_csv_with_text_quotes_and_empty_cells(tmp_path):
    path = tmp_path / "data.csv.gz"
    text = 'x,"a, b",kind,y\n1,,"",no\n2,"3.5",u,"y""es"\n'
    path.write_bytes(gzip.compress(text.encode()))
    table = read_table(str(path))
    assert table.column("y").tolist() == ["no", 'y"es']
    x, a, kind = table.inputs(["y"]).columns
    assert (x.name, x.values.tolist()) == ("x", [1, 2])
    np.testing.assert_array_equal(a.values, [np.nan, 3.5])
    assert a.is_number
    assert kind.values.tolist() == [None, "u"]
    assert not kind.is_number


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", " 2"], [1, 2]),
        (["1", "NA", "?", "null"], [1, np.nan, np.nan, np.nan]),
        (["1.5", "", "N/A"], [1.5, np.nan, np.nan]),
        (["NA", "u", ""], ["NA", "u", None]),  # of text, "NA" is a label like others
        (["NA", "NA"], ["NA", "NA"]),
        (["", ""], [np.nan, np.nan]),
        (["1_000", "2"], ["1_000", "2"]),
        (["9223372036854775808"], [2.0**63]),
    ],
)
def test_cells_are_numbers_or_text(tmp_path, cells, expected):
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["a,b", *(f"{cell},text" for cell in cells)]))
    got = read_table(str(path)).column("a").tolist()
    assert got == pytest.approx(expected, nan_ok=True) if type(got[0]) is float else got == expected


def test_csv_without_names_and_other_delimiters(tmp_path, monkeypatch):
    path = tmp_path / "data.tsv"
    path.write_text("1\t2\n3\t4\n")
    table = read_table(str(path))
    assert list(table.columns) == ["0", "1"]
    assert lists(table.inputs(["1"])) == {0: [1, 3]}  # a place, and no name
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\n7\n"))
    table = read_table("-")
    assert table.source == "standard input"
    assert table.column("a").tolist() == [7]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\ufeffa\n7\n"))  # as spreadsheets write it
    assert list(read_table("-").columns) == ["a"]


def test_names_that_are_numbers_as_pandas_writes_them(tmp_path):
    path = tmp_path / "data.csv"
    for text, names in (
        ("0,1,2\n3,4,5\n", ["0", "1", "2"]),
        (",0,1\n0,4,5\n", ["", "0", "1"]),
        ('0,1,2\n3,"x",5\n', ["0", "1", "2"]),
    ):
        path.write_text(text)
        table = read_table(str(path))
        assert list(table.columns) == names
        assert table.column(names[2]).tolist() == [5]
        assert [column.name for column in table.inputs([]).columns] == names  # no places
    for text in ("0,1\n3,4\n", "1,2,3\n3,4,5\n", "0,1,2.0\n3,4,5\n"):  # rows of numbers
        path.write_text(text)
        assert len(read_table(str(path)).column("0")) == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(tmp_path, end):
    path = tmp_path / "data.csv"
    for cells in (["a,b", "1,2", "3,4"], ["a,b", "1,x", "3,y"], ["a,b", '1,"x\ny"', "3,z"]):
        path.write_bytes(end.join(cells).encode())
        assert read_table(str(path)).column("a").tolist() == [1, 3]
    assert read_table(str(path)).column("b").tolist() == ["x\ny", "z"]


def test_other_delimiters_are_named(tmp_path):
    path = tmp_path / "data.csv"
    for text, delimiter in (
        ("a;b\n1,5;2,5\n", ";"),  # as spreadsheets write it where commas are points
        ("a\tb\n1\t2\n", "\t"),
        ("a|b\n\n1|2\n", "|"),
    ):
        path.write_text(text)
        expected = f"data.csv must have ',' between its cells; it has {delimiter!r}, as in 'a"
        with pytest.raises(ValueError, match=re.escape(expected)):
            read_table(str(path))
    path.write_text("a;b\n1\n2\n")  # one column of an odd name
    assert read_table(str(path)).column("a;b").tolist() == [1, 2]


def test_standard_input_is_read_as_files_are(monkeypatch):
    def give(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "latin-1"))

    give("\ufeffä\nü\n".encode())
    assert read_table("-").column("ä").tolist() == ["ü"]
    give("a\nü\n".encode("latin-1"))
    with pytest.raises(ValueError, match="standard input is not text in UTF-8: 'utf-8' codec can"):
        read_table("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="standard input must be open to read CSV from it; it is"):
        read_table("-")


def test_npz_keeps_dtypes(tmp_path):
    path = str(tmp_path / "data.npz")
    X = np.arange(6, dtype=np.uint8).reshape(3, 2)
    np.savez(path, X=X, y=np.array(["a", "b", "a"]), w=[1.0, 2, 3])
    table = read_table(path)
    assert table.inputs(["y", "w"]).dtype == np.uint8
    assert table.inputs(["y"]).tolist() == [[0, 1, 1], [2, 3, 2], [4, 5, 3]]
    assert table.column("y").tolist() == ["a", "b", "a"]
    assert lists(table.inputs(["X"])) == {"y": ["a", "b", "a"], "w": [1, 2, 3]}
    with pytest.raises(TypeError, match=r"beside a matrix must hold numbers; in .*, 'y' hold text"):
        table.inputs([])


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = str(tmp_path / "data.parquet")
    day = pyarrow.array([0, 1], pyarrow.date32())
    columns = {"a": [1.5, None], "b": [1, 2], "y": ["no", None], "day": day}
    parquet.write_table(pyarrow.table(columns), path)
    table = read_table(path)
    a, b = table.inputs(["y", "day"]).columns
    np.testing.assert_array_equal(a.values, [1.5, np.nan])
    assert b.values.tolist() == [1, 2]
    assert table.column("y").tolist() == ["no", None]
    with pytest.raises(TypeError, match=r"column 'day' of .*data\.parquet must hold numbers"):
        table.inputs(["y"])
    twice = pyarrow.table([columns["b"], columns["b"]], names=["b", "b"])
    parquet.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match=r"twice\.parquet has more than one column 'b'"):
        read_table(str(tmp_path / "twice.parquet"))
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*no\.parquet'"):
        read_table(str(tmp_path / "no.parquet"))
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(ValueError, match=r"text\.parquet is not a readable Parquet file"):
        read_table(str(tmp_path / "text.parquet"))


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "a,b\n", "has no rows"),
        ("a.csv", "a,b\n1,x\n2\n", "has 2 columns, and 1 cells in row 2"),
        ("a.csv", "a,a\n1,2\n", "more than one column 'a'"),
        ("a.csv", 'a,b\n"1,2\n', "is not CSV"),
        ("a.xlsx", "", r"must be a file .csv, .tsv, .csv.gz, .tsv.gz, .npz, .parquet or -"),
        ("a.csv.gz", "text", "is not a readable gzip file"),
        ("a.npz", "text", "is not a readable npz file"),
        ("a.npz", "", "is not a readable npz file"),
        ("a.npz", "PK\3\4text", "is not a readable npz file"),
    ],
)
def test_what_is_no_table(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_table(str(tmp_path / name))


def save_parquet(path, X, y):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    columns = {"a": X[:, 0], "b": X[:, 1], "y": y.astype(str).tolist()}
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path)


@pytest.mark.parametrize(
    ("save", "end"),
    [(np.savez, "npz"), (np.savez_compressed, "npz"), (save_parquet, "parquet")],
)
def test_mutations_of_an_archive_are_read_or_refused(tmp_path, save, end):
    path, rng = tmp_path / f"a.{end}", np.random.default_rng(2)
    save(path, X=np.ones((9, 2)), y=np.arange(9))
    whole = path.read_bytes()
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            begin = int(rng.integers(len(content)))
            part = [b"", rng.bytes(int(rng.integers(1, 20))), content[:begin][-9:]]
            content[begin : begin + int(rng.integers(1, 30))] = part[rng.integers(3)]
        path.write_bytes(content)
        with contextlib.suppress(ValueError):
            table = read_table(str(path))
            for name in table.columns:
                table.column(name)


def test_one_array_is_no_archive(tmp_path):
    with open(tmp_path / "a.npz", "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match=r"a.npz is not a readable npz file"):
        read_table(str(tmp_path / "a.npz"))


def test_a_header_that_does_not_end(tmp_path):
    array = io.BytesIO()
    np.save(array, np.ones(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", array.getvalue().replace(b", }", b", (", 1))
    with pytest.raises(ValueError, match=r"a\.npz is not a readable npz file"):
        read_table(str(tmp_path / "a.npz"))


def test_arrays_that_make_no_table(tmp_path):
    path = str(tmp_path / "a.npz")
    np.savez(path, X=np.ones((3, 2)), y=np.ones(4))
    with pytest.raises(ValueError, match=r"must have one length; got \[3, 4\]"):
        read_table(path)
    np.savez(path, X=np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match=r"one or two dimensions, and .*; 'X' has shape"):
        read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(str(tmp_path / "absent.csv"))


def test_columns_that_are_not_there(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n")
    table = read_table(str(path))
    with pytest.raises(ValueError, match="has no column 'c'; it has 'a', 'b'"):
        table.column("c")
    with pytest.raises(ValueError, match="has no columns but 'a', 'b'"):
        table.inputs(["a", "b"])
