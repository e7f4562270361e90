"""The process of one version: requests as lines of JSON on standard input, replies on the output.

It is run by a Python interpreter that has that version installed, so it imports nothing but NumPy
and the public interface of omp_mlp. It stays alive, so that the start of Python is not timed.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import time
from typing import Any

import numpy as np

import omp_mlp


class Version:
    """Trains on images; the methods without an underscore are the requests."""

    def __init__(self) -> None:
        self._images: dict[str, np.ndarray] = {}
        self._labels = np.empty(0, np.int64)
        # What later versions do to X and y by themselves, and earlier ones do not know.
        known = inspect.signature(omp_mlp.train_parallel).parameters
        changes = ("center_inputs", "scale_inputs", "scale_targets")
        self._as_given = {name: False for name in changes if name in known}

    def open(self, images: str, labels: str) -> dict[str, Any]:
        """Load bytes and labels, and make floats of the bytes; tell what is installed here."""
        X = np.load(images)
        self._images = {"bytes": X, "float32": np.float32(X) / np.float32(255)}
        self._labels = np.load(labels)
        return {
            "version": omp_mlp.__version__,
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "build": dict(omp_mlp.build_config()),
        }

    def train(
        self,
        strategy: str,
        form: str,
        batch_size: int,
        hidden: int,
        workers: int,
        learning_rate: float,
        samples: int,
    ) -> dict[str, Any]:
        """Train one epoch; tell the seconds of the whole call."""
        X, y = self._images[form][:samples], self._labels[:samples]
        # The others train one network and have nothing to merge.
        merging = {"merge": "average", "merge_every": max(1_024, batch_size)}
        begin = time.perf_counter()
        omp_mlp.train_parallel(
            X,
            y,
            workers,
            hidden_layer_sizes=(hidden,),
            epochs=1,
            batch_size=batch_size,
            learning_rate=learning_rate,
            strategy=strategy,
            workers=workers,
            **(merging if strategy == "replica" else {}),
            **self._as_given,
        )
        return {"seconds": time.perf_counter() - begin}


def main() -> None:
    """Answer requests until there are no more."""
    # Whatever is printed must not run into the replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    version = Version()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(version, request.pop("do"))(**request)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply, default=str) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
