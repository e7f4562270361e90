"""What the outputs are compared with: labels or values, and the weights of the samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import checks
from omp_mlp.checks import FloatArray, float32, numeric, shown
from omp_mlp.frames import is_frame, is_missing, matrix_of, read_columns
from omp_mlp.gathering import Gather, alone, total
from omp_mlp.outliers import Limits, find_limits
from omp_mlp.scaling import MOST_MAGNITUDE, Scaling, target_scaling


@dataclass(frozen=True, eq=False)
class TargetKind:
    """What the outputs of a network stand for."""

    labels: npt.NDArray[Any] | None  # of a classification, one for each output
    n_outputs: int
    is_multilabel: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class Targets:
    """Y as the core reads it: class indices with their labels, or values.

    Of a multilabel classification, the values are 0 and 1.
    """

    labels: npt.NDArray[Any] | None  # what class index k stands for
    indices: npt.NDArray[np.int32] | None
    values: FloatArray | None  # (n_samples, n_outputs)
    scaling: Scaling | None = None  # of the values
    is_multilabel: bool = False
    exact: npt.NDArray[np.float64] | None = None  # the values, where float32 rounds them
    limits: Limits | None = None  # of the values, if outliers were found among them

    @property
    def compared(self) -> npt.NDArray[np.float64]:
        """The values that outputs are scored by, in double precision."""
        assert self.values is not None
        return self.values.astype(np.float64) if self.exact is None else self.exact

    @property
    def kind(self) -> TargetKind:
        """What the outputs of a network for these stand for."""
        if self.labels is not None:
            return TargetKind(self.labels, len(self.labels))
        assert self.values is not None
        return TargetKind(None, int(self.values.shape[1]), self.is_multilabel)

    def take(self, rows: npt.NDArray[np.int64]) -> Targets:
        """Return the targets of some samples; all labels stay."""
        return Targets(
            self.labels,
            None if self.indices is None else self.indices[rows],
            None if self.values is None else self.values[rows],
            self.scaling,
            self.is_multilabel,
            None if self.exact is None else self.exact[rows],
            self.limits,
        )


def read_targets(
    y: object,
    n_samples: int,
    *,
    name: str = "y",
    like: TargetKind | None = None,
    scaling: Scaling | str | None = None,
    limits: Limits | None = None,
    brings_outliers: bool = False,
    task: str = "auto",
    gather: Gather = alone,
) -> Targets:
    """Check y and turn labels into class indices.

    ``like``: the kind that y must have. Without it, the kind comes from y, and ``task`` says
    whether y is "classes", "values" or, by its dtype, "auto". ``scaling``: of the values of a
    regression; "auto" finds it in y, without its outliers. ``limits``: what scaled values are
    brought to; with ``brings_outliers``, they are found in y, if it has outliers. ``gather``: from
    all processes that have rows of y, which are of one kind.
    """
    array = as_target(y, name)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must have one or two dimensions; got shape {array.shape}")
    if len(array) != n_samples:
        raise ValueError(
            f"{name} must have one entry for each of the {n_samples} samples in X; got {len(array)}"
        )
    if array.dtype.kind not in "biufUS":
        raise TypeError(
            f"{name} must hold integers, strings, booleans or floats; got dtype {array.dtype}"
        )
    if like is None:
        is_classes = array.dtype.kind != "f" if task == "auto" else task == "classes"
        is_multilabel = is_classes and array.ndim == 2 and array.shape[1] > 1
    else:
        is_classes, is_multilabel = like.labels is not None, like.is_multilabel
    if is_multilabel:
        return _indicator_targets(array, name, None if like is None else like.n_outputs)
    if is_classes:
        return _class_targets(array, name, None if like is None else like.labels, gather)
    n_outputs = None if like is None else like.n_outputs
    values, given = _read_values(array, name, n_outputs, as_given=scaling is not None)
    if scaling is None:
        exact = given.astype(np.float64)
        return Targets(None, None, values, exact=None if (exact == values).all() else exact)
    looks = brings_outliers or isinstance(scaling, str)
    found = find_limits(given, gather) if looks else None
    if isinstance(scaling, str):
        scaling = target_scaling(given if found is None else found.bring(given), gather)
    limits = found if brings_outliers else limits
    values = scaling.apply(given if limits is None else limits.bring(given))
    _check_finite(values, given, name)
    return Targets(None, None, values, scaling, limits=limits)


_FEW_KINDS = 20
_MANY_ROWS = 10  # of each kind, on average


def doubtful_task(y: object, targets: Targets, gather: Gather = alone) -> str | None:
    """Return a doubt about what "auto" takes y for, or None if there is none.

    ``gather``: from all processes that have rows of y. All have the same doubt.
    """
    if targets.is_multilabel:
        return None
    array = np.asarray(y)
    rows = total(gather, len(array))
    if targets.labels is not None:
        kinds = len(targets.labels)
        if targets.labels.dtype.kind in "iu" and kinds > _FEW_KINDS and rows < _MANY_ROWS * kinds:
            return (
                f"y has integers of {kinds} kinds in {rows} rows, which are trained as the labels "
                "of classes; task='values' trains them as values, and task='classes' as labels "
                "without this warning"
            )
        return None
    if not all(gather(_is_whole(array[:1000]) and _is_whole(array))):
        return None
    # So many kinds tell what all do.
    found = np.unique(np.concatenate(gather(np.unique(array)[: _FEW_KINDS + 1])))
    kinds = len(found)
    is_indicator = array.ndim == 2 and array.shape[1] > 1 and found.tolist() == [0, 1]
    if array.ndim != 1 and not is_indicator:
        return None
    if 2 <= kinds <= _FEW_KINDS and rows >= _MANY_ROWS * kinds:
        return (
            f"y has floats that are whole numbers of {kinds} kinds in {rows} rows, which are "
            "trained as the values of a regression; task='classes' trains them as labels, and "
            "task='values' as values without this warning"
        )
    return None


def _is_whole(array: npt.NDArray[Any]) -> bool:
    return bool((array == np.rint(array)).all())


def _check_whole(array: npt.NDArray[Any], name: str) -> None:
    if array.dtype.kind != "f":
        return
    bad = np.flatnonzero(~(np.isfinite(array) & (array == np.rint(array))))
    if len(bad):
        raise ValueError(
            f"{name} of floats must hold whole numbers for task='classes'; got {array[bad[0]]} "
            f"in row {bad[0]}"
        )


def as_target(y: Any, name: str) -> npt.NDArray[Any]:  # noqa: ANN401
    """Return y of any library as an array; objects become strings or numbers if they are those.

    A table of one column is that column.
    """
    if is_frame(y):
        columns = read_columns(y, name)
        array = columns[0].values if len(columns) == 1 else matrix_of(columns, name)
    else:
        array = checks.plain_array(y, name)
    if array.dtype.kind in "US" and isinstance(y, (list, tuple)):
        # NumPy makes text of what stands between text: "nan" of NaN.
        objects = np.array(y, dtype=object)
        if not all(isinstance(entry, (str, bytes)) for entry in objects.flat):
            array = objects
    if array.dtype.kind == "T":  # strings of NumPy 2
        array = array.astype(object)
    return _of_objects(array, name) if array.dtype.kind == "O" else array


def _of_objects(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if array.ndim == 0:
        raise TypeError(
            f"{name} must be an array of integers, strings, booleans or floats; "
            f"got {checks.shown(array.item())}"
        )
    missing = [row for row, entry in enumerate(array.flat) if is_missing(entry)]
    if missing:
        raise ValueError(
            f"{name} must have a label or a value in every row; got {array.flat[missing[0]]} in "
            f"row {missing[0] // (array.size // len(array))}"
        )
    kinds = {type(entry) for entry in array.flat}
    if all(issubclass(kind, str) for kind in kinds):
        if any(entry.endswith("\0") for entry in array.flat):
            raise ValueError(
                f"{name} must not hold text that ends in a zero byte, which NumPy drops"
            )
        return array.astype(np.str_)
    natural = np.array(array.tolist())
    if natural.dtype.kind not in "biufS" or (natural.dtype.kind == "S" and kinds != {bytes}):
        raise TypeError(
            f"{name} must hold labels of one type, strings or numbers; got entries of type "
            + ", ".join(sorted(kind.__name__ for kind in kinds))
        )
    if natural.dtype.kind == "S" and any(entry.endswith(b"\0") for entry in array.flat):
        raise ValueError(f"{name} must not hold text that ends in a zero byte, which NumPy drops")
    return natural


def _read_values(
    array: npt.NDArray[Any], name: str, n_outputs: int | None, *, as_given: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return finite values in float32, or as they are given; and as they are given."""
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers for a regression; got dtype {array.dtype}")
    given = array.reshape(len(array), math.prod(array.shape[1:]))  # perhaps of no rows
    values = given if as_given else float32(given)
    if values.shape[1] == 0 or (n_outputs is not None and values.shape[1] != n_outputs):
        raise ValueError(
            f"{name} must have {n_outputs or 'at least one'} column(s); got shape {array.shape}"
        )
    _check_finite(values, given, name)
    return values, given


def _check_finite(values: npt.NDArray[Any], given: npt.NDArray[Any], name: str) -> None:
    bad = np.argwhere(~(np.abs(values.astype(np.float64)) < MOST_MAGNITUDE))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} must be finite in float32; got {given[row, column]} "
            f"in row {row}, column {column}"
        )


def _indicator_targets(array: npt.NDArray[Any], name: str, n_outputs: int | None) -> Targets:
    """Check that a matrix says of each sample, with 1 or 0, which labels it has."""
    if array.ndim != 2 or array.shape[1] != (n_outputs or array.shape[1]):
        raise ValueError(
            f"{name} must have shape (n_samples, {n_outputs}) for a multilabel classification; "
            f"got shape {array.shape}"
        )
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must hold 0 and 1 for a multilabel classification; got dtype {array.dtype}"
        )
    bad = np.argwhere((array != 0) & (array != 1))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} with several columns must hold 0 and 1, for a multilabel classification; got "
            f"{array[row, column]} in row {row}, column {column}. Labels of one kind have one "
            "dimension, and task='values' trains values"
        )
    return Targets(None, None, float32(array), is_multilabel=True)


def _class_targets(
    array: npt.NDArray[Any], name: str, labels: npt.NDArray[Any] | None, gather: Gather
) -> Targets:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"{name} must have one dimension for a classification; got shape {array.shape}"
        )
    if labels is None:
        _check_whole(array, name)
        own, indices = _small_integers(array) or np.unique(array, return_inverse=True)
        labels = np.unique(np.concatenate(gather(own)))
        if len(labels) > len(own):  # others have more
            indices = np.searchsorted(labels, own)[indices]
        return Targets(labels, indices.astype(np.int32, copy=False), None)
    if _text_kind(array) != _text_kind(labels):
        raise TypeError(
            f"{name} must hold labels like those of the training, of dtype {labels.dtype}; "
            f"got dtype {array.dtype}"
        )
    comparable, is_comparable = _as_type_of(labels, array)
    indices = np.searchsorted(labels, comparable).clip(max=len(labels) - 1)
    unseen = np.unique(array[(labels[indices] != comparable) | ~is_comparable])
    if len(unseen):
        shown = ", ".join(repr(label) for label in unseen[:5].tolist())
        raise ValueError(
            f"{name} has labels that are not among the classes: {shown}"
            f"{', ...' if len(unseen) > 5 else ''}; expected some of {labels.tolist()}"
        )
    return Targets(labels, indices.astype(np.int32), None)


def among(targets: Targets, labels: npt.NDArray[Any] | None) -> Targets:
    """Return labels as some of more labels; as they are, if they are others or no labels."""
    own = targets.labels
    if own is None or labels is None or targets.indices is None:
        return targets
    if _text_kind(own) != _text_kind(labels) or not np.isin(own, labels).all():
        return targets
    place = np.searchsorted(labels, own).astype(np.int32)
    return Targets(labels, place[targets.indices], None)


def _small_integers(array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """Return what np.unique does for integers from a small range, but without sorting."""
    if array.dtype.kind not in "iu" or not len(array):
        return None
    smallest, largest = int(array.min()), int(array.max())
    if largest - smallest >= len(array) or max(-smallest, largest) >= 2**62:
        return None
    offsets = array.astype(np.int64, copy=False)
    if smallest != 0:
        offsets = offsets - smallest
    is_present = np.bincount(offsets, minlength=largest - smallest + 1) > 0
    labels = (np.flatnonzero(is_present) + smallest).astype(array.dtype)
    if is_present.all():  # they are their own places
        return labels, offsets.astype(np.int32)
    return labels, np.cumsum(is_present, dtype=np.int32)[offsets] - np.int32(1)


def _as_type_of(
    labels: npt.NDArray[Any], array: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return numbers in a type that compares with integer labels exactly, and where that holds.

    NumPy compares signed with unsigned integers, and integers with floats, as doubles.
    """
    everywhere = np.ones(array.shape, dtype=bool)
    if labels.dtype.kind not in "iu" or array.dtype.kind not in "iuf":
        return array, everywhere
    wide = np.dtype(np.int64 if labels.dtype.kind == "i" else np.uint64)
    fits = everywhere
    if array.dtype.kind == "f":
        low, high = (-(2.0**63), 2.0**63) if labels.dtype.kind == "i" else (0.0, 2.0**64)
        with np.errstate(invalid="ignore"):
            fits = (array == np.rint(array)) & (array >= low) & (array < high)
    elif array.dtype.kind != labels.dtype.kind:
        fits = array <= np.uint64(2**63 - 1) if array.dtype.kind == "u" else array >= 0
    return np.where(fits, array, array.dtype.type(0)).astype(wide), fits


def _text_kind(labels: npt.NDArray[Any]) -> str:
    """Tell strings, bytes and other kinds apart: NumPy may refuse to compare them."""
    return labels.dtype.kind if labels.dtype.kind in "US" else ""


def same_labels(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    """Tell whether two networks have the same classes."""
    if one is None or other is None:
        return one is other
    if _text_kind(one) != _text_kind(other) or len(one) != len(other):
        return False
    return bool(one.tolist() == other.tolist())  # Python compares numbers of any types exactly


def read_classes(classes: object) -> npt.NDArray[Any]:
    """Check the labels that y may have, and return them in ascending order."""
    labels = _label_array(classes)
    unique = np.unique(labels)
    if labels.ndim != 1 or not len(labels) or len(unique) != len(labels):
        raise ValueError(
            f"classes must be one or more different labels; got {_shown(labels.tolist())}"
        )
    return unique


def _label_array(classes: object) -> npt.NDArray[Any]:
    labels = as_target(classes, "classes").copy()
    if labels.ndim == 0:
        raise ValueError("classes must be labels in one dimension; got shape ()")
    if labels.dtype.kind not in "biufUS":
        raise TypeError(
            f"classes must be integers, strings, booleans or floats; got dtype {labels.dtype}"
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"classes must be finite; got {_shown(labels.tolist())}")
    return labels


def read_class_labels(classes: object, n_outputs: int) -> npt.NDArray[Any]:
    """Check the labels of a network's outputs, and return a copy of them."""
    labels = _label_array(classes)
    if labels.shape != (n_outputs,) or not np.array_equal(labels, np.unique(labels)):
        raise ValueError(
            f"classes must be {n_outputs} different labels in ascending order, one for each "
            f"output; got {shown(labels.tolist())}"
        )
    return labels


def read_sample_weight(weight: object, n_samples: int) -> FloatArray | None:
    """Check the weights of the samples: one each, finite, not negative."""
    if weight is None:
        return None
    given = numeric(weight, "sample_weight")
    array = float32(given)
    if array.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},); got {array.shape}")
    bad = np.flatnonzero(~((array >= 0) & (array < np.inf)))
    if len(bad):
        value = given[bad[0]]
        why = ", which is infinite in float32" if 0 < value < np.inf else ""
        raise ValueError(
            f"sample_weight must be finite and not negative; got {value} for sample {bad[0]}{why}"
        )
    if n_samples > 0 and not array.any():
        raise ValueError("sample_weight must have a weight above zero; got zero for every sample")
    return array


def check_not_negative(targets: Targets, name: str) -> None:
    """Check the values that a Poisson loss compares rates with."""
    if targets.values is None:
        return  # labels, which the loss refuses anyway
    bad = np.argwhere(targets.values < 0)
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{name} must not be negative for loss='poisson'; got {targets.values[row, column]} "
            f"in row {row}, column {column}"
        )


def read_class_weight(weight: object, targets: Targets, gather: Gather = alone) -> FloatArray:
    """Return the weight of each sample by its class.

    "balanced": n_samples / (n_classes * samples of the class). A mapping: weights by labels; 1 for
    those that it does not name.
    """
    if targets.labels is None or targets.indices is None:
        raise ValueError(
            "class_weight goes with y of one label a sample; got "
            + ("a multilabel y" if targets.is_multilabel else "the values of a regression")
        )
    labels = targets.labels.tolist()
    if isinstance(weight, str):
        rows = total(gather, np.bincount(targets.indices, minlength=len(labels)))
        n_classes = np.count_nonzero(rows)  # y may lack some of the labels
        of_class: FloatArray = (rows.sum() / (n_classes * np.maximum(rows, 1))).astype(np.float32)
        return of_class[targets.indices]
    assert isinstance(weight, Mapping)
    unknown = [label for label in weight if label not in labels]
    if unknown:
        raise ValueError(
            "class_weight must be for classes of y, which are "
            f"{_shown(labels)}; got a weight for {unknown[0]!r}"
        )
    return np.array(weights_of_labels(weight, labels), dtype=np.float32)[targets.indices]


def weights_of_labels(weight: Mapping[Any, Any], labels: list[Any]) -> list[float]:
    """Check the weights that a mapping gives to labels, and return one for each label."""
    weights = []
    for label in labels:
        name = f"class_weight[{label!r}]"
        weights.append(checks.real(name, weight.get(label, 1.0), 0.0))
        if np.isinf(np.array(weights[-1]).astype(np.float32)):
            raise ValueError(f"{name} must be finite in float32; got {weights[-1]}")
    return weights


def _shown(labels: list[Any]) -> str:
    return ", ".join(map(repr, labels[:10])) + (", ..." if len(labels) > 10 else "")
