"""A trial: many attempts of one kind, each in a watched process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_HANGS_AFTER = 300  # seconds


@dataclass
class Row:
    """What came of a trial."""

    name: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    skipped: str = ""


class SkipError(Exception):
    """A trial cannot be made on this machine."""


@dataclass(frozen=True)
class Trial:
    """``attempt(seed, count)`` makes so many attempts and returns what failed."""

    name: str
    count: int
    attempt: Callable[[int, int], Sequence[str]]

    def run(self, seed: int, share: float) -> Row:
        """Make a share of all attempts."""
        row = Row(self.name, max(1, round(self.count * share)))
        try:
            row.failures += self.attempt(seed, row.tried)
        except SkipError as error:
            row.skipped = str(error)
        return row


# What every script begins with.
_START = """
import json, os, signal, sys, threading, time
import numpy as np
import omp_mlp
signal.signal(signal.SIGINT, signal.default_int_handler)
failures = []

def fit(rng, strategy="replica", rows=200, **options):
    X = rng.normal(size=(rows, 20)).astype(np.float32)
    y = np.arange(rows) % 3
    options = {"epochs": 2, "hidden_layer_sizes": (16,), "batch_size": 4, **options}
    return omp_mlp.train_parallel(X, y, 3, strategy=strategy, **options)
"""


def run_script(script: str, *, prefix: Sequence[str] = (), **environment: str) -> list[str]:
    """Run a script that fills ``failures``; its own death is one, too."""
    code = _START + textwrap.dedent(script) + "\nprint(json.dumps(failures), flush=True)\n"
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", code],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, errors = process.communicate(timeout=_HANGS_AFTER)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return [f"no end within {_HANGS_AFTER} s"]
    if process.returncode != 0:
        return [f"exit status {process.returncode}: {errors[-300:]}"]
    found: list[str] = json.loads(out.splitlines()[-1])
    return found
