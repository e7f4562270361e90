"""Read the command line: one table of the options that several benchmarks have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .files import RESULTS


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return value


# Each row: the name of the option, and what argparse is told about it.
_SHARED: dict[str, dict[str, Any]] = {
    "data": {
        "default": "auto",
        "metavar": "auto|mnist|digits|FOLDER",
        "help": "auto: MNIST, and augmented digits where it cannot be had; FOLDER: MNIST's files",
    },
    "threads": {"type": positive, "nargs": "+", "metavar": "N", "help": "numbers of replicas"},
    "seeds": {"type": positive, "metavar": "COUNT", "help": "seeds 0 to COUNT - 1"},
    "passes": {"type": positive, "metavar": "COUNT", "help": "how often each time is taken"},
    "patience": {
        "type": float,
        "default": 180.0,
        "metavar": "SECONDS",
        "help": "that timings may wait in all for cores that nobody else slows down",
    },
    "limit": {"type": positive, "metavar": "N", "help": "N training samples only: a trial run"},
    "quick": {"action": "store_true", "help": "a short run, to see that all works"},
    "resume": {
        "action": "store_true",
        "help": "go on with the run whose JSON is in the folder of --out",
    },
    "redraw": {
        "action": "store_true",
        "help": "measure nothing: draw the run whose JSON is in the folder of --out",
    },
    "docs": {"action": "store_true", "help": "put tables, pictures and JSON into docs/"},
    "out": {
        "type": Path,
        "default": RESULTS,
        "metavar": "FOLDER",
        "help": "where pictures and tables go",
    },
}


def parser(description: str | None, *names: str, **defaults: object) -> argparse.ArgumentParser:
    """Return a parser that knows the shared options of these names; a benchmark adds its own.

    The ``description`` is the docstring of the benchmark, of which the first line is shown;
    ``defaults`` are those that differ from the table above.
    """
    made = argparse.ArgumentParser(
        description=(description or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for name in names:
        made.add_argument(f"--{name}", **_SHARED[name])
    made.set_defaults(**defaults)
    return made
