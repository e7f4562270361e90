"""The columns of a table in an ONNX graph: an input for each, encoded as in the training."""

from __future__ import annotations

from typing import Any

import numpy as np

from omp_mlp.convert.onnx_graph import Graph
from omp_mlp.encoding import Columns, Encoding

LABELS_OPSET = 3  # of ai.onnx.ml, of the time of opset 17


def add_columns(graph: Graph, columns: Columns) -> tuple[str, list[tuple[str, int]]]:
    """Add the encoding of all columns.

    Return the name of the matrix of inputs in double, and name and type of each column.
    """
    assert columns.encodings is not None
    parts, inputs = [], []
    for place, encoding in enumerate(columns.encodings):
        name = f"column.{place}"
        inputs.append((name, _type_of(graph, encoding)))
        if encoding.labels is None:
            parts += _add_number(graph, name, encoding, place)
        elif encoding.labels:
            parts.append(_add_labels(graph, name, encoding.labels, place))
    return graph.add("Concat", *parts, axis=1), inputs


def _type_of(graph: Graph, encoding: Encoding) -> int:
    """Return the type of a column: of its labels, or double."""
    types = graph.types
    kinds = {type(label) for label in encoding.labels or ()}
    if kinds == {str} or encoding.labels == ():
        return int(types.STRING)
    return int(types.INT64 if kinds and kinds <= {int, bool} else types.DOUBLE)


def _add_number(graph: Graph, name: str, encoding: Encoding, place: int) -> list[str]:
    median = encoding.fill if encoding.median is None else encoding.median
    if median is None:
        return [name]
    is_missing = graph.add("IsNaN", name)
    value = graph.constant(f"median.{place}", np.array([[median]], np.float64))
    number = graph.add("Where", is_missing, value, name)
    return [number] if encoding.median is None else [number, graph.cast(is_missing, "DOUBLE")]


def _add_labels(graph: Graph, name: str, labels: tuple[Any, ...], place: int) -> str:
    """Add inputs that are 1 where the column has the label, and return their name."""
    if isinstance(labels[0], str):  # opset 17 compares no strings
        attributes: dict[str, Any] = {
            "cats_strings": list(labels),
            "zeros": 1,
            "domain": "ai.onnx.ml",
        }
        marks = graph.add("OneHotEncoder", name, **attributes)  # (n, 1, labels)
        flat = graph.add("Squeeze", marks, graph.constant(f"axes.{place}", np.array([1])))
        return graph.cast(flat, "DOUBLE")
    if any(isinstance(label, float) for label in labels):
        values = np.array([labels], dtype=np.float64)
    elif max(map(abs, labels)) < 2**63:
        values = np.array([labels], dtype=np.int64)
    else:
        raise ValueError(f"ONNX labels are int64; got {max(labels, key=abs)} in column {place}")
    return graph.cast(graph.add("Equal", name, graph.constant(f"labels.{place}", values)), "DOUBLE")


def input_names(columns: Columns, taken: set[str]) -> list[str]:
    """Return the columns' names, or "column0" and so on; with "_" behind those that are taken."""
    assert columns.encodings is not None
    names = columns.names or [f"column{place}" for place in range(len(columns.encodings))]
    free: list[str] = []
    for name in names:
        unlike = taken | set(free) | (set(names) - {name})
        while name in unlike or not name:
            name += "_"
        free.append(name)
    return free
