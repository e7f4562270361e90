"""Tables from files: CSV, npz and Parquet, and what is wrong with some of them."""

import io
import sys

import numpy as np
import pytest

from omp_mlp.tables import read_table


def test_csv_of_numbers_has_typed_targets(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("\ufeffa, b,label\n1,2.5,0\n\n-3,1e3,1\n", encoding="utf-8")
    table = read_table(str(path))
    assert list(table.columns) == ["a", "b", "label"]
    assert table.matrix(["label"]).tolist() == [[1, 2.5], [-3, 1000]]
    # The fractions of b must not make values of the labels.
    assert table.column("label").tolist() == [0, 1]
    assert table.column("label").dtype == np.int64
    assert table.column("b").dtype == np.float64
    assert table.n_rows == 2


def test_csv_with_text_quotes_and_empty_cells(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('x,"a, b",y\n1,,no\n2,"3.5","y""es"\n', encoding="utf-8")
    table = read_table(str(path))
    assert table.column("y").tolist() == ["no", 'y"es']
    np.testing.assert_array_equal(table.matrix(["y"]), [[1, np.nan], [2, 3.5]])
    with pytest.raises(TypeError, match=r"must hold numbers; in .*, 'y' hold text"):
        table.matrix([])


def test_csv_without_names_and_other_delimiters(tmp_path, monkeypatch):
    path = tmp_path / "data.tsv"
    path.write_text("1\t2\n3\t4\n")
    assert {name: c.tolist() for name, c in read_table(str(path)).columns.items()} == {
        "0": [1, 3],
        "1": [2, 4],
    }
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\n7\n"))
    table = read_table("-")
    assert table.source == "standard input"
    assert table.column("a").tolist() == [7]


def test_npz_keeps_dtypes(tmp_path):
    path = str(tmp_path / "data.npz")
    X = np.arange(6, dtype=np.uint8).reshape(3, 2)
    np.savez(path, X=X, y=np.array(["a", "b", "a"]), w=[1.0, 2, 3])
    table = read_table(path)
    assert table.matrix(["y", "w"]).dtype == np.uint8
    assert table.matrix(["y"]).tolist() == [[0, 1, 1], [2, 3, 2], [4, 5, 3]]
    assert table.column("y").tolist() == ["a", "b", "a"]


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = str(tmp_path / "data.parquet")
    columns = {"a": [1.5, None], "b": [1, 2], "y": ["no", "yes"]}
    parquet.write_table(pyarrow.table(columns), path)
    table = read_table(path)
    np.testing.assert_array_equal(table.matrix(["y"]), [[1.5, 1], [np.nan, 2]])
    assert table.column("y").tolist() == ["no", "yes"]
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
        ("a.xlsx", "", r"must be a file .csv, .tsv, .npz, .parquet or - \(CSV\); got"),
        ("a.npz", "text", "is not a readable npz file"),
    ],
)
def test_what_is_no_table(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_table(str(tmp_path / name))


def test_arrays_that_make_no_table(tmp_path):
    path = str(tmp_path / "a.npz")
    np.savez(path, X=np.ones((3, 2)), y=np.ones(4))
    with pytest.raises(ValueError, match=r"must have one length; got \[3, 4\]"):
        read_table(path)
    np.savez(path, X=np.ones((3, 2, 2)))
    with pytest.raises(ValueError, match="one or two dimensions; 'X' has shape"):
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
        table.matrix(["a", "b"])
