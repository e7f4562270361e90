"""Changes of what the file of a training's state says. Its digest stays right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

Tensors = dict[str, npt.NDArray[Any]]
Change = Callable[[Tensors, dict[str, str], Any], object]
"""Changes the arrays, the metadata, and what the metadata tell of the training."""

_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**30, 1e308, float("nan"), "", "x", [], {}, [1], {"a": 1}, "relu", 2.5,
    [[]], "1", -0.0, 2**63, {"object": True}, {"mapping": {}}, {"mapping": 3},
)  # fmt: skip
_BAD = {"i": (-1, 0, 7, 2**62), "f": (np.nan, np.inf, -1.0, 3e38), "u": (0, 1, 7, 255)}


def rewrite(path: Path, content: bytes, change: Change) -> None:
    """Write a file that says something else than ``content``, the file of a state."""
    path.write_bytes(content)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = {name: text for name, text in file.metadata().items() if name != "sha256"}
    tensors, about = safetensors.numpy.load(content), json.loads(metadata["about"])
    change(tensors, metadata, about)
    metadata["about"] = json.dumps(about)
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, array in sorted(tensors.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode() + array.tobytes())
    metadata["sha256"] = digest.hexdigest()
    path.write_bytes(safetensors.numpy.save(tensors, metadata=metadata))


def change_something(rng: np.random.Generator) -> Change:
    """Return a change of one or two things, arrays or words."""

    def change(tensors: Tensors, _metadata: dict[str, str], about: Any) -> None:  # noqa: ANN401
        for _ in range(rng.integers(1, 3)):
            if rng.random() < 0.6:
                change_word(about, rng)
            elif tensors:
                change_array(tensors, rng)

    return change


def change_word(node: Any, rng: np.random.Generator) -> None:  # noqa: ANN401 - of any kind
    """Change or remove something that a file tells of the training."""
    while isinstance(node, (dict, list)) and node:
        parent, place = node, int(rng.integers(len(node)))
        key: Any = sorted(node)[place] if isinstance(node, dict) else place
        node = parent[key]
        if rng.random() < 0.25:
            break
    if rng.random() < 0.2:
        del parent[key]
    else:
        # A copy: it may be changed in turn.
        parent[key] = deepcopy(_VALUES[rng.integers(len(_VALUES))])


def change_array(tensors: Tensors, rng: np.random.Generator) -> None:
    """Change or remove an array of a file."""
    name = str(rng.choice(sorted(tensors)))
    array, kind = tensors[name], rng.integers(6)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[name] = np.concatenate([array, array])
    elif kind == 2:
        tensors[name] = array[: len(array) // 2]
    elif kind == 3:
        tensors[name] = np.full_like(array, _BAD[array.dtype.kind][rng.integers(4)])
    elif kind == 4:
        with np.errstate(invalid="ignore"):  # infinite values of integers are any numbers
            tensors[name] = array.astype(rng.choice(["f4", "f8", "i8", "i4", "u1"]))
    elif array.size:
        changed = array.copy()
        changed.reshape(-1).view(np.uint8)[rng.integers(array.nbytes)] ^= 1 << int(rng.integers(8))
        tensors[name] = changed
