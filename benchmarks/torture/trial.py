"""A trial: many attempts of one kind, each in a watched process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..common.files import PROJECT_ROOT

_HANGS_AFTER = 300  # seconds


@dataclass
class Row:
    """What came of a trial."""

    name: str
    tried: int = 0
    failures: list[str] = field(default_factory=list)
    skipped: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        return {"tried": self.tried, "failures": self.failures, "skipped": self.skipped}


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
import json, os, pathlib, signal, sys, tempfile, threading, time, warnings
import numpy as np
import omp_mlp
signal.signal(signal.SIGINT, signal.default_int_handler)
STRATEGIES = ("replica", "section", "synchronous", "hogwild")
failures = []

def fit(rng, strategy="replica", rows=200, **options):
    X = rng.normal(size=(rows, 20)).astype(np.float32)
    y = np.arange(rows) % 3
    options = {"epochs": 2, "hidden_layer_sizes": (16,), "batch_size": 4, **options}
    return omp_mlp.train_parallel(X, y, 3, strategy=strategy, **options)
"""


def attempts(
    script: str,
    *,
    apart: bool = False,
    skip: str = "",
    **more: Any,  # noqa: ANN401 - of run_script
) -> Callable[[int, int], list[str]]:
    """Return what makes attempts by a script, in one process or ``apart``, each in its own.

    The script knows ``seed``, ``rng``, ``count`` and, apart, the number ``k`` of its attempt. It
    fills ``failures``. ``skip`` says why nothing can be tried on this machine.
    """

    def make(seed: int, count: int) -> list[str]:
        if skip:
            raise SkipError(skip)
        if not apart:
            return run_script(script, seed, count, **more)
        each = (run_script(script, seed + k, count, k, **more) for k in range(count))
        return [failure for failures in each for failure in failures]

    return make


def run_script(
    script: str,
    seed: int,
    count: int,
    k: int = 0,
    *,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Run a script and return its failures; its own death is one, too."""
    known = f"seed, count, k = {seed}, {count}, {k}\nrng = np.random.default_rng(seed)\n"
    code = f"{_START}{known}{script}\nprint(json.dumps(failures), flush=True)\n"
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", code],
        cwd=PROJECT_ROOT,  # where the package of the benchmarks is
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Where the count is one of seconds, the script takes at least that long.
    limit = _HANGS_AFTER + count
    try:
        out, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return [f"no end within {limit} s"]
    if process.returncode != 0:
        return [f"exit status {process.returncode}: {errors[-300:]}"]
    found: list[str] = json.loads(out.splitlines()[-1])
    return found
