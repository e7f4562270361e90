"""Describe networks, histories and merge methods: in text, and in HTML for notebooks."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

_MOST_LABELS = 10


def layer_rows(
    layer_sizes: Sequence[int], activation: str, output_activation: str
) -> list[list[str]]:
    """Return number, shape, count of parameters and activation of each layer."""
    last = len(layer_sizes) - 2
    return [
        [
            str(k + 1),
            f"{fan_in} x {fan_out}",
            f"{(fan_in + 1) * fan_out:,}",
            output_activation if k == last else activation,
        ]
        for k, (fan_in, fan_out) in enumerate(pairwise(layer_sizes))
    ]


LAYER_COLUMNS = ["layer", "inputs x units", "parameters", "activation"]


def count_parameters(layer_sizes: Sequence[int]) -> int:
    """Return the number of weights and biases."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(layer_sizes))


def model_facts(model: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - a Model, which uses this
    """Return what there is to say of a network besides its layers."""
    facts = [("parameters", f"{count_parameters(model.layer_sizes):,}")]
    if model.classes is not None:
        facts.append(("classes", _listed(model.classes.tolist())))
    else:
        facts.append(("outputs", "labels of their own" if model.multilabel else "values"))
    if model.columns is not None and model.columns.called is not None:
        facts.append(("columns", _listed(model.columns.called)))
    if model.columns is not None and model.columns.medians is not None:
        facts.append(("missing numbers", "read as the median of their column in the training"))
    for name in ("input_scaling", "target_scaling"):
        scaling = getattr(model, name)
        if scaling is not None:
            limited = len(scaling.limited)
            limits = f", with limits of {limited} columns" if limited else ""
            compressed = len(scaling.compressed)
            bends = f", compressing {compressed} columns" if compressed else ""
            facts.append((name, f"beside the weights{limits}{bends}"))
    return facts + history_facts(model.history)


def _listed(names: Sequence[object]) -> str:
    shown = ", ".join(map(str, names[:_MOST_LABELS]))
    return f"{len(names)}: {shown}{', ...' if len(names) > _MOST_LABELS else ''}"


COLUMN_COLUMNS = ["column", "read as", "inputs"]


def column_rows(columns: Any) -> list[list[str]]:  # noqa: ANN401 - Columns, or None
    """Return name, encoding and number of inputs of each column, if some are encoded."""
    if columns is None or columns.encodings is None:
        return []
    names = columns.called or range(len(columns.encodings))
    return [
        [str(name), str(encoding), str(encoding.n_inputs)]
        for name, encoding in zip(names, columns.encodings, strict=True)
    ]


def history_facts(history: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - a History
    """Return what there is to say of a training."""
    if not len(history):
        return [("training", "none")]
    seconds = float(history.train_seconds.sum() + history.merge_seconds.sum())
    facts = [
        ("training", f"{history.strategy}, threads={history.threads}"),
        ("rounds", f"{len(history):,}"),
        ("samples", f"{int(history.samples[-1]):,}"),
        ("last loss", f"{history.loss[-1]:.4g}"),
    ]
    scores = history.validation_score[~np.isnan(history.validation_score)]
    if len(scores):
        facts.append(("last validation score", f"{scores[-1]:.4g}"))
    if history.best_round is not None:
        facts.append(("best round", str(history.best_round)))
    facts.append(("seconds", f"{seconds:.3g}"))
    if not math.isnan(history.merge_share):
        facts.append(("share of merging", f"{history.merge_share:.1%}"))
    return facts


def text_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in plain text, of which the third column and no other is to the right."""
    rows = [list(row) for row in rows]
    widths = [max(len(row[k]) for row in [list(columns), *rows]) for k in range(len(columns))]
    lines = []
    for row in [list(columns), *rows]:
        cells = [
            cell.rjust(width) if k == 2 else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def text_facts(facts: Iterable[tuple[str, str]]) -> str:
    """Return names and values, one a line."""
    return "\n".join(f"{name}: {value}" for name, value in facts)


def html_table(
    title: str,
    facts: Iterable[tuple[str, str]],
    *tables: tuple[Sequence[str], Sequence[Sequence[str]]],
) -> str:
    """Return a title, names and values, and below them tables of (names of columns, rows)."""
    facts_html = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in facts
    )
    tables_html = "".join(_html_rows(columns, rows) for columns, rows in tables if rows)
    return (
        f"<div><strong>{html.escape(title)}</strong><table><tbody>{facts_html}</tbody></table>"
        f"{tables_html}</div>"
    )


def _html_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def model_text(model: Any) -> str:  # noqa: ANN401
    """Return what ``model.summary()`` says."""
    tables = [text_table(columns, rows) for columns, rows in _tables(model) if rows]
    return "\n\n".join([repr(model), *tables, text_facts(model_facts(model))])


def model_html(model: Any) -> str:  # noqa: ANN401
    """Return what a notebook shows of a network."""
    return html_table(repr(model), model_facts(model), *_tables(model))


def _tables(model: Any) -> list[tuple[list[str], list[list[str]]]]:  # noqa: ANN401
    layers = layer_rows(model.layer_sizes, model.activation, model.output_activation)
    return [(LAYER_COLUMNS, layers), (COLUMN_COLUMNS, column_rows(model.columns))]
