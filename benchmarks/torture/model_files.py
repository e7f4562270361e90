"""Changes of what the file of a network says. Its digest stays right."""

from __future__ import annotations

import hashlib
import json
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from .state_files import Tensors, change_array, change_word

_OF_JSON = ("columns", "classes", "history")


def change_something(path: Path, content: bytes, rng: np.random.Generator) -> None:
    """Write a file that says something else than ``content``: one or two words or arrays."""
    path.write_bytes(content)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = {name: text for name, text in file.metadata().items() if name != "sha256"}
    tensors = safetensors.numpy.load(content)
    for _ in range(rng.integers(1, 3)):
        name = str(
            rng.choice([name for name in (*_OF_JSON, "array") if name in (*metadata, "array")])
        )
        if name == "array" and tensors:
            change_array(tensors, rng)
        elif name != "array":
            about = {name: json.loads(metadata[name])}
            change_word(about, rng)
            metadata[name] = json.dumps(about.get(name))
    metadata["sha256"] = _digest(metadata, tensors)
    path.write_bytes(safetensors.numpy.save(tensors, metadata=metadata))


def _digest(metadata: dict[str, str], tensors: Tensors) -> str:
    """Compute the digest as docs/conversions.md says."""
    layers = [
        (tensors[f"weights.{k}"], tensors[f"biases.{k}"])
        for k in takewhile(lambda k: {f"weights.{k}", f"biases.{k}"} <= tensors.keys(), count())
    ]
    sizes = [len(layers[0][0]), *(len(biases) for _, biases in layers)] if layers else []
    described = json.dumps([sorted(metadata.items()), sizes])
    digest = hashlib.sha256(described.encode())
    for array in (array for layer in layers for array in layer):
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    for name in sorted(name for name in tensors if name.startswith(("input_", "target_"))):
        digest.update(np.ascontiguousarray(tensors[name], "<f8").tobytes())
    return digest.hexdigest()
