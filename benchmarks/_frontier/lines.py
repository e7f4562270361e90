"""The lines of the pictures: every way to train n replicas that is compared.

Periodic lines merge every so many samples. Lines of one merge at the end share their training: the
same replicas are merged by each of the methods. A method of the installed build that has no line
here gets one, so that nothing that ``omp_mlp.merge_methods()`` lists is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import omp_mlp

SOLID: tuple[Any, ...] | str = "solid"
DASHED = (0, (4, 1.6))
DOTTED = (0, (1, 1.2))


@dataclass(frozen=True)
class Line:
    """One way to train n replicas.

    Attributes
    ----------
    name : str
        In files, settings and on the command line.
    label : str
        In tables and pictures.
    method : str
        A name of ``omp_mlp.merge_methods()``.
    colour, marker, dash
        In pictures; colour is a key of ``_report.COLOURS``.
    options : mapping
        Whatever the settings are: of ``train_parallel``, or of the method for one merge.
    sees_data : bool
        Whether one merge is given samples of the training part.
    periodic : bool
        Merged every so many samples, or once at the end.
    timed : bool
        Whether the time to a score is measured.
    """

    name: str
    label: str
    method: str
    colour: str
    marker: str
    dash: Any = SOLID
    options: Mapping[str, Any] = field(default_factory=dict)
    periodic: bool = True
    timed: bool = False
    sees_data: bool = False


# With one replica all periodic lines are this, so it stands at n = 1 for all of them.
SEQUENTIAL = Line(
    "sequential", "sequential", "average", "black", "*", options={"merge_every": None}
)

_PERIODIC = (
    Line("gradient_diversity", "gradient diversity", "gradient_diversity", "blue", "o", timed=True),
    Line("adasum", "Adasum", "adasum", "purple", "D"),
    Line(
        "nesterov",
        "average, Nesterov outside (DiLoCo)",
        "average",
        "red",
        "^",
        options={"outer_optimizer": "nesterov"},
        timed=True,
    ),
    Line("bmuf", "average, BMUF", "average", "sky", "v", options={"outer_optimizer": "bmuf"}),
    Line(
        "slowmo", "average, SlowMo", "average", "grey", "P", options={"outer_optimizer": "slowmo"}
    ),
    Line(
        "local_sgd",
        "average every H (local SGD)",
        "average",
        "orange",
        "s",
        options={"outer_momentum": 0.0},
        timed=True,
    ),
)


def _once(
    name: str,
    label: str,
    look: tuple[str, str, Any],
    method: str = "",
    **more: Any,  # noqa: ANN401 - fields of many types
) -> Line:
    return Line(name, label, method or name, *look, periodic=False, **more)


_ONCE = (
    _once("average", "average once (Eq. 1)", ("blue", "o", DASHED)),
    _once("sum", "sum once (Eq. 2)", ("green", "^", DASHED)),
    _once("weighted_average", "weighted average once", ("grey", "x", DOTTED)),
    _once("median", "median once", ("sky", "v", DASHED)),
    _once(
        "delta_sum",
        "sum of updates / \N{SQUARE ROOT}n, once",
        ("orange", "s", DASHED),
        options={"alpha": "1/sqrt(n)"},
    ),
    _once(
        "delta_sum_searched",
        "sum of updates, best factor, once",
        ("orange", "D", DOTTED),
        "delta_sum",
        options={"alpha": "line_search"},
        sees_data=True,
    ),
    # On bytes, its X says how large they are.
    _once("weight_matching", "weight matching once", ("purple", "D", DASHED), sees_data=True),
    _once("regmean", "RegMean once", ("red", "^", DOTTED), sees_data=True),
    _once("refit_output", "refitted output once", ("red", "P", DASHED), sees_data=True),
    _once("ensemble", "ensemble (no merge)", ("black", "X", DOTTED)),
)


def periodic_lines() -> tuple[Line, ...]:
    """Return the periodic lines, with one for each periodic method that is not named above."""
    return (*_PERIODIC, *_unnamed("periodic", _PERIODIC))


def once_lines() -> tuple[Line, ...]:
    """Return a line for each method that is best applied once, at the end."""
    return (*_ONCE, *_unnamed("once", _ONCE))


def _unnamed(cadence: str, named: Sequence[Line]) -> list[Line]:
    return [
        Line(
            method.name,
            method.name.replace("_", " "),
            method.name,
            "grey",
            ".",
            periodic=cadence == "periodic",
            sees_data=True,
        )
        for method in omp_mlp.merge_methods()
        if method.cadence == cadence and method.name not in {line.method for line in named}
    ]
