"""The lines of the pictures: every way to train n replicas that is compared.

Periodic lines merge every so many samples. Lines of one merge at the end share their training: the
same replicas are merged by each of the methods. Every method that ``omp_mlp.merge_methods()`` lists
has a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Line:
    """One way to train n replicas."""

    name: str  # in files, settings and on the command line
    label: str  # in tables and pictures
    method: str  # of omp_mlp.merge_methods()
    # In pictures. Every line has a marker of its own; those of one colour differ in their dash too.
    colour: str  # a key of pictures.COLOURS
    marker: str
    dash: str = "solid"  # a key of pictures.DASHES
    # Whatever the settings are: of train_parallel, or of the method for one merge.
    options: Mapping[str, Any] = field(default_factory=dict)
    periodic: bool = True  # merged every so many samples, or once at the end
    timed: bool = False  # whether the time to a score is measured
    sees_data: bool = False  # whether one merge is given samples of the training part


# With one replica all periodic lines are this, so it stands at n = 1 for all of them.
SEQUENTIAL = Line(
    "sequential", "sequential", "average", "black", "_", options={"merge_every": None}
)
SINGLE = Line("single_replica", "a replica by itself", "", "grey", ".", "dotted", periodic=False)

_DIVERSITY = "gradient_diversity"
_DILOCO, _EVERY_H = "average, Nesterov outside (DiLoCo)", "average every H (local SGD)"
PERIODIC = (
    Line(_DIVERSITY, "gradient diversity", _DIVERSITY, "blue", "o", timed=True),
    Line("adasum", "Adasum", "adasum", "purple", "D"),
    Line("nesterov", _DILOCO, "average", "red", "^", "solid", {"outer_optimizer": "nesterov"},
         timed=True),
    Line("bmuf", "average, BMUF", "average", "sky", "v", "solid", {"outer_optimizer": "bmuf"}),
    Line("slowmo", "average, SlowMo", "average", "grey", "P",
         options={"outer_optimizer": "slowmo"}),
    Line("local_sgd", _EVERY_H, "average", "orange", "s", "solid", {"outer_momentum": 0.0},
         timed=True),
)  # fmt: skip


def _once(
    name: str,
    label: str,
    *look: str,  # colour, marker, dash
    method: str = "",
    **more: Any,  # noqa: ANN401 - fields of many types
) -> Line:
    return Line(name, label, method or name, *look, periodic=False, **more)


ONCE = (
    _once("average", "average once (Eq. 1)", "blue", "<", "dashed"),
    _once("sum", "sum once (Eq. 2)", "green", ">", "dashed"),
    _once("weighted_average", "weighted average once", "green", "x", "dotted"),
    _once("median", "median once", "sky", "h", "dashed"),
    _once("delta_sum", "sum of updates / \N{SQUARE ROOT}n, once", "orange", "p", "dashed",
          options={"alpha": "1/sqrt(n)"}),
    _once("delta_sum_searched", "sum of updates, best factor, once", "orange", "d", "dotted",
          method="delta_sum", options={"alpha": "line_search"}, sees_data=True),
    # On bytes, its X says how large they are.
    _once("weight_matching", "weight matching once", "purple", "H", "dashed", sees_data=True),
    _once("regmean", "RegMean once", "red", "*", "dotted", sees_data=True),
    _once("refit_output", "refitted output once", "red", "X", "dashed", sees_data=True),
    _once("ensemble", "ensemble (no merge)", "black", "+", "dotted"),
)  # fmt: skip


def named(name: str) -> Line:
    """Return the line of this name; where a name is of both kinds, the periodic one."""
    return next(line for line in (SEQUENTIAL, *PERIODIC, *ONCE) if line.name == name)
