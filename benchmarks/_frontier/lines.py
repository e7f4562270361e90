"""The lines of the pictures: every way to train n replicas that is compared.

Periodic lines merge every so many samples. Lines of one merge at the end share their training: the
same replicas are merged by each of the methods. A method of the installed build that has no line
here gets one, so that nothing that ``omp_mlp.merge_methods()`` lists is left out.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
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
        Of ``train_parallel``, for this line whatever the settings are.
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

# The order in which further methods take their looks.
_LOOKS = (
    ("orange", "s"),
    ("purple", "D"),
    ("red", "v"),
    ("sky", "P"),
    ("grey", "X"),
    ("black", "<"),
    ("orange", ">"),
)
_ONCE = (
    Line("average", "average once (Eq. 1)", "average", "blue", "o", DASHED, periodic=False),
    Line("sum", "sum once (Eq. 2)", "sum", "green", "^", DASHED, periodic=False),
)


@lru_cache(maxsize=1)
def known_options() -> frozenset[str]:
    """Return the options of the installed ``train_parallel``."""
    return frozenset(inspect.signature(omp_mlp.train_parallel).parameters)


def periodic_lines() -> tuple[Line, ...]:
    """Return the periodic lines, with one for each periodic method of the installed build."""
    methods = {method.name: method for method in omp_mlp.merge_methods()}
    named = [
        line
        for line in _PERIODIC
        if line.method in methods and set(line.options) <= known_options()
    ]
    more = [
        Line(name, name.replace("_", " "), name, "green", "X")
        for name, method in methods.items()
        if method.cadence == "periodic" and name not in {line.method for line in named}
    ]
    return (*named, *more)


def once_lines() -> tuple[Line, ...]:
    """Return a line for each method that is best applied once, at the end."""
    names = [m.name for m in omp_mlp.merge_methods() if m.cadence == "once"]
    named = {line.method: line for line in _ONCE}
    looks = iter(_LOOKS)
    lines = []
    for name in names:
        if name in named:
            lines.append(named[name])
        else:
            colour, marker = next(looks, ("grey", "."))
            label = name.replace("_", " ")
            lines.append(Line(name, label, name, colour, marker, DOTTED, periodic=False))
    return tuple(lines)


def chosen(lines: Sequence[Line], names: Sequence[str] | None) -> tuple[Line, ...]:
    """Return the lines of these names, or all."""
    return tuple(line for line in lines if names is None or line.name in names)
