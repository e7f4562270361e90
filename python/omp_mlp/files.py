"""Networks in safetensors files, with a digest: safetensors overlooks that a bit has changed."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from omp_mlp import _core, disk
from omp_mlp.checks import FloatArray
from omp_mlp.encoding import Columns
from omp_mlp.history import History
from omp_mlp.packed import layer_sizes_of, pack, views
from omp_mlp.safetensors_content import DAMAGED, metadata_of
from omp_mlp.scaling import PARTS, Scaling, check_scaling

# Networks with a scaling beside their weights have version 2: who knows version 1 only would read
# the weights, and overlook the scaling. Multilabel classifiers, which others would take for
# regressions, have version 3, and networks that encode the columns of a table, version 4. Networks
# that bring outliers of X nearer have version 5, and networks that compress columns, version 6.
_VERSIONS = ("1", "2", "3", "4", "5", "6")
_PLAIN, _SCALED, _MULTILABEL, _ENCODED, _LIMITED, _COMPRESSED = _VERSIONS
_SCALINGS = ("input", "target")
_MOST_BYTES_OF_HEADER = 100_000_000  # that safetensors reads


@dataclass(frozen=True, eq=False, repr=False)
class Stored:
    """What a file holds: networks of one kind, in the packed form, and a history."""

    file_format: str
    layer_sizes: tuple[int, ...]
    activation: str
    output_activation: str
    classes: npt.NDArray[Any] | None
    packed: list[FloatArray]
    history: History
    input_scaling: Scaling | None = None
    target_scaling: Scaling | None = None
    multilabel: bool = False
    columns: Columns | None = None


Place = str | bytes | os.PathLike[str] | os.PathLike[bytes] | BinaryIO
"""Where a network is written or read: a path, or a binary file that is open."""
_PATHS = (str, bytes, os.PathLike)


def name_of(place: Place) -> str:
    """Return what messages call a place."""
    if isinstance(place, _PATHS):
        return disk.path_of(place)
    return str(getattr(place, "name", "the open file"))


def _check_place(place: Any, method: str) -> None:  # noqa: ANN401 - checked here
    if isinstance(place, _PATHS):
        return
    if not callable(getattr(place, method, None)):
        raise TypeError(
            f"path must be a str, bytes or path-like, or a binary file that is open; "
            f"got {type(place).__name__}"
        )
    name = name_of(place)
    if isinstance(place, io.TextIOBase):
        raise TypeError(f"{name} must be open in binary mode; got a file of text")
    if isinstance(place, io.IOBase):
        is_able = {"read": "readable", "write": "writable"}[method]
        if place.closed or not getattr(place, is_able)():
            got = "is closed" if place.closed else f"is not {is_able}"
            raise io.UnsupportedOperation(
                f"{name} must be open to {method} it; got a file that {got}"
            )


def write(place: Place, stored: Stored) -> None:
    """Write a file; raise ValueError if ``read`` would refuse it."""
    _check_place(place, "write")
    if not all(np.isfinite(packed).all() for packed in stored.packed):
        raise ValueError("only networks whose weights and biases are finite can be saved")
    count = len(stored.packed)
    tensors: dict[str, npt.NDArray[Any]] = {}
    for index, packed in enumerate(stored.packed):
        for layer, (W, b) in enumerate(zip(*views(stored.layer_sizes, packed), strict=True)):
            tensors[f"{_prefix(index, count)}weights.{layer}"] = W
            tensors[f"{_prefix(index, count)}biases.{layer}"] = b
    scalings = _scaling_arrays(stored)
    tensors.update(scalings)
    history = stored.history
    metadata = {
        "format": stored.file_format,
        "omp_mlp_version": _core.build_config()["version"],
        "format_version": _version_of(stored),
        "activation": stored.activation,
        "output_activation": stored.output_activation,
        "classes": _classes_to_json(stored.classes),
        "classes_dtype": "" if stored.classes is None else stored.classes.dtype.str,
        "history": json.dumps(
            {
                **history.as_dict(),
                "strategy": history.strategy,
                "threads": history.threads,
                "best_round": history.best_round,
            }
        ),
    }
    if stored.columns is not None:
        metadata["columns"] = json.dumps(stored.columns.as_dict())
    if stored.multilabel and metadata["format_version"] != _MULTILABEL:
        metadata["multilabel"] = "true"
    if count > 1:
        metadata["models"] = str(count)
    metadata["sha256"] = _digest(metadata, stored.layer_sizes, stored.packed, scalings)
    content = safetensors.numpy.save(tensors, metadata=metadata)
    if int.from_bytes(content[:8], "little") > _MOST_BYTES_OF_HEADER:
        raise ValueError(
            f"a history of {len(history)} rounds, or the labels, are too long for a safetensors "
            "file, which readers would refuse"
        )
    if isinstance(place, _PATHS):
        disk.write_whole(disk.path_of(place), content)
    else:
        with disk.naming(name_of(place)):
            _write_all(place, content)


def _write_all(file: BinaryIO, content: bytes) -> None:
    """Write all of the content: files without a buffer, such as pipes, may take parts alone."""
    rest = content
    while rest:
        taken = file.write(rest)
        if taken is None and isinstance(file, io.RawIOBase):
            raise BlockingIOError(
                errno.EAGAIN, "The file takes no more at the moment", name_of(file)
            )
        if not isinstance(taken, int):
            return  # files of others say nothing
        if not 0 < taken <= len(rest):
            raise OSError(errno.EIO, f"The file took {taken} of {len(rest)} bytes", name_of(file))
        rest = rest[taken:]


def read(place: Place, formats: Container[str]) -> Stored:
    """Read a file of one of these formats; raise ValueError if it is damaged or another's.

    What a network may be is not checked here: a file may say anything and have the right digest.
    """
    _check_place(place, "read")
    name = name_of(place)
    # Read, and not mapped: a mapped file that another program shortens ends the process.
    if isinstance(place, _PATHS):
        content = disk.read_regular(name)
    else:
        with disk.naming(name):
            content = place.read()
        if not isinstance(content, bytes):
            raise TypeError(f"{name} must be open in binary mode; got a file of text")
    try:
        tensors = safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{name}: not a readable safetensors file: {error}") from error
    except DAMAGED as error:  # types of numbers that NumPy does not have
        raise ValueError(f"{name}: not a network saved by omp_mlp: {error}") from error
    try:
        metadata = metadata_of(content)
    except DAMAGED as error:
        raise ValueError(f"{name}: not a readable safetensors file: {error}") from error
    if metadata.get("format") not in formats:
        raise ValueError(f"{name}: not a network saved by omp_mlp (metadata: {sorted(metadata)})")
    if metadata.get("format_version") not in _VERSIONS:
        raise ValueError(
            f"{name}: format version {metadata.get('format_version')!r}, written by omp_mlp "
            f"{metadata.get('omp_mlp_version', 'of unknown version')}; this omp_mlp, "
            f"{_core.build_config()['version']}, reads versions {', '.join(map(repr, _VERSIONS))}"
        )
    try:
        return _stored(tensors, metadata)
    except _WrongDigestError as error:
        raise ValueError(f"{name}: damaged: {error}") from None
    except DAMAGED as error:
        raise ValueError(
            f"{name}: damaged or incomplete: {type(error).__name__}: {error}"
        ) from error


class _WrongDigestError(Exception):
    """The content is not what was saved."""


def _stored(tensors: dict[str, npt.NDArray[Any]], metadata: dict[str, str]) -> Stored:
    scalings = {name: tensors.pop(name) for name in list(tensors) if name in _SCALING_NAMES}
    for kind, arrays in (("float32", tensors), ("float64", scalings)):
        for name, array in arrays.items():
            if array.dtype != kind:
                raise ValueError(f"{name} must be of {kind}; got {array.dtype}")
    digest = metadata.pop("sha256")
    networks = _networks(tensors, metadata.get("models", "1"))
    (layer_sizes,) = {layer_sizes_of(layers) for layers in networks}
    packed = [pack(layers) for layers in networks]
    if digest != _digest(metadata, layer_sizes, packed, scalings):
        raise _WrongDigestError("the content does not have the digest that was saved")
    if not all(np.isfinite(parameters).all() for parameters in packed):
        raise ValueError("weights and biases must be finite")
    input_scaling, target_scaling = (
        _scaling(scalings, of, size)
        for of, size in zip(_SCALINGS, (layer_sizes[0], layer_sizes[-1]), strict=True)
    )
    return Stored(
        metadata["format"],
        layer_sizes,
        metadata["activation"],
        metadata["output_activation"],
        _classes_from_json(metadata["classes"], metadata["classes_dtype"]),
        packed,
        History.from_dict(json.loads(metadata["history"])),
        input_scaling,
        target_scaling,
        metadata["multilabel"] == "true"
        if "multilabel" in metadata
        else metadata["format_version"] == _MULTILABEL,
        Columns.from_dict(json.loads(metadata["columns"])) if "columns" in metadata else None,
    )


def _version_of(stored: Stored) -> str:
    if stored.input_scaling is not None and stored.input_scaling.bend is not None:
        return _COMPRESSED
    if stored.input_scaling is not None and stored.input_scaling.limits is not None:
        return _LIMITED
    if stored.columns is not None and stored.columns.encodings is not None:
        return _ENCODED
    if stored.multilabel:
        return _MULTILABEL
    return _PLAIN if stored.input_scaling is None and stored.target_scaling is None else _SCALED


def _networks(
    tensors: dict[str, FloatArray], models: str
) -> list[list[tuple[FloatArray, FloatArray]]]:
    """Return the weights and biases of each layer, of each network."""
    count = int(models) if models.isascii() and models.isdecimal() and len(models) < 20 else 0
    if count < 1 or len(tensors) % (2 * count) or not tensors:
        raise ValueError(f"{len(tensors)} tensors are no {models[:20]!r} networks")
    depth = len(tensors) // (2 * count)
    return [
        [(tensors[f"{prefix}weights.{k}"], tensors[f"{prefix}biases.{k}"]) for k in range(depth)]
        for prefix in (_prefix(index, count) for index in range(count))
    ]


_SCALING_NAMES = [f"{of}_{part}" for of in _SCALINGS for part in PARTS]


def _scaling_arrays(stored: Stored) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of the scalings that stand beside the weights."""
    return {
        f"{of}_{part}": array
        for of in _SCALINGS
        if (scaling := getattr(stored, f"{of}_scaling")) is not None
        for part, array in scaling.parts().items()
    }


def _scaling(arrays: dict[str, npt.NDArray[Any]], of: str, size: int) -> Scaling | None:
    parts = {part: arrays[f"{of}_{part}"] for part in PARTS if f"{of}_{part}" in arrays}
    if not parts:
        return None
    scaling = Scaling(**parts)
    check_scaling(f"{of}_scaling", scaling, size, may_limit=of == "input")
    return scaling


def _prefix(index: int, count: int) -> str:
    return "" if count == 1 else f"models.{index}."


def _classes_to_json(classes: npt.NDArray[Any] | None) -> str:
    if classes is not None and classes.dtype.kind == "S":
        classes = np.char.decode(classes, "latin-1")  # JSON has no bytes; this maps each to itself
    return json.dumps(None if classes is None else classes.tolist())


_LABEL_TYPES: dict[str, Any] = {
    "b": bool,
    "i": int,
    "u": int,
    "f": (int, float),
    "U": str,
    "S": str,
}
_MOST_BYTES_OF_LABELS = 2**28


def _classes_from_json(text: str, dtype: str) -> npt.NDArray[Any] | None:
    labels = json.loads(text)
    if labels is None:
        return None
    match = re.fullmatch(r"[<>|=]?([biufUS])([0-9]{1,9})", dtype)
    if match is None:
        raise ValueError(f"classes_dtype must be of numbers or strings; got {dtype[:40]!r}")
    kind = match[1]
    if not isinstance(labels, list) or not all(
        isinstance(label, _LABEL_TYPES[kind]) and (kind == "b") == isinstance(label, bool)
        for label in labels
    ):
        raise ValueError(f"classes must be a list of labels of dtype {dtype!r}")
    if np.dtype(dtype).itemsize * len(labels) > _MOST_BYTES_OF_LABELS:
        raise ValueError(f"classes of dtype {dtype!r} would take too much memory")
    if kind == "S":
        labels = [label.encode("latin-1") for label in labels]
    return np.array(labels, dtype=dtype)


def _digest(
    metadata: dict[str, str],
    layer_sizes: tuple[int, ...],
    packed: list[FloatArray],
    scalings: dict[str, npt.NDArray[Any]],
) -> str:
    """Hash what a file holds."""
    described = json.dumps([sorted(metadata.items()), layer_sizes])
    parameters = np.concatenate(packed).astype("<f4").tobytes()
    beside = b"".join(scalings[name].astype("<f8").tobytes() for name in sorted(scalings))
    return hashlib.sha256(described.encode() + parameters + beside).hexdigest()
