"""Networks in safetensors files, with a digest: safetensors overlooks that a bit has changed."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from omp_mlp import _core
from omp_mlp.checks import FloatArray
from omp_mlp.history import History
from omp_mlp.packed import layer_sizes_of, pack, views
from omp_mlp.scaling import Scaling

# Networks with a scaling beside their weights have version 2: who knows version 1 only would read
# the weights, and overlook the scaling. Multilabel classifiers, which others would take for
# regressions, have version 3.
_PLAIN, _SCALED, _MULTILABEL = _VERSIONS = ("1", "2", "3")
_SCALINGS = ("input", "target")


@dataclass(frozen=True)
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


def write(path: str | os.PathLike[str], stored: Stored) -> None:
    """Write a file."""
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
        "format_version": (_MULTILABEL if stored.multilabel else _SCALED if scalings else _PLAIN),
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
    if count > 1:
        metadata["models"] = str(count)
    metadata["sha256"] = _digest(metadata, stored.layer_sizes, stored.packed, scalings)
    write_whole(Path(path), safetensors.numpy.save(tensors, metadata=metadata))


def read(path: str | os.PathLike[str], formats: Container[str]) -> Stored:
    """Read a file of one of these formats; raise ValueError if it is damaged or another's."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file: {error}") from error
    if metadata.get("format") not in formats:
        raise ValueError(f"{path}: not a network saved by omp_mlp (metadata: {sorted(metadata)})")
    if metadata.get("format_version") not in _VERSIONS:
        raise ValueError(
            f"{path}: format version {metadata.get('format_version')!r}, written by omp_mlp "
            f"{metadata.get('omp_mlp_version', 'of unknown version')}; this omp_mlp, "
            f"{_core.build_config()['version']}, reads versions {', '.join(map(repr, _VERSIONS))}"
        )
    try:
        scalings = {name: tensors.pop(name) for name in list(tensors) if name in _SCALING_NAMES}
        input_scaling, target_scaling = (_scaling(scalings, of) for of in _SCALINGS)
        digest = metadata.pop("sha256")
        networks = _networks(tensors, int(metadata.get("models", "1")))
        (layer_sizes,) = {layer_sizes_of(layers) for layers in networks}
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{path}: damaged or incomplete: {error}") from error
    packed = [pack(layers) for layers in networks]
    if digest != _digest(metadata, layer_sizes, packed, scalings):
        raise ValueError(f"{path}: damaged: the content does not have the digest that was saved")
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
        metadata["format_version"] == _MULTILABEL,
    )


def _networks(
    tensors: dict[str, FloatArray], count: int
) -> list[list[tuple[FloatArray, FloatArray]]]:
    """Return the weights and biases of each layer, of each network."""
    depth = len(tensors) // (2 * count)
    return [
        [(tensors[f"{prefix}weights.{k}"], tensors[f"{prefix}biases.{k}"]) for k in range(depth)]
        for prefix in (_prefix(index, count) for index in range(count))
    ]


_SCALING_NAMES = [f"{of}_{part}" for of in _SCALINGS for part in ("offset", "scale")]


def _scaling_arrays(stored: Stored) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of the scalings that stand beside the weights."""
    return {
        f"{of}_{part}": getattr(scaling, part)
        for of in _SCALINGS
        if (scaling := getattr(stored, f"{of}_scaling")) is not None
        for part in ("offset", "scale")
    }


def _scaling(arrays: dict[str, npt.NDArray[Any]], of: str) -> Scaling | None:
    if f"{of}_offset" not in arrays:
        return None
    return Scaling(arrays[f"{of}_offset"], arrays[f"{of}_scale"])


def _prefix(index: int, count: int) -> str:
    return "" if count == 1 else f"models.{index}."


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's files are for their owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _classes_to_json(classes: npt.NDArray[Any] | None) -> str:
    if classes is not None and classes.dtype.kind == "S":
        classes = np.char.decode(classes, "latin-1")  # JSON has no bytes; this maps each to itself
    return json.dumps(None if classes is None else classes.tolist())


def _classes_from_json(text: str, dtype: str) -> npt.NDArray[Any] | None:
    labels = json.loads(text)
    if labels is None:
        return None
    if np.dtype(dtype).kind == "S":
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
