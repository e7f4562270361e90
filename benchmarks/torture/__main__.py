"""Try the promises of docs/reliability.md with fresh seeds, and print what held.

    make torture                            everything; under 30 minutes on one core
    make torture ARGS=--quick               a twentieth of everything
    make torture ARGS="--seed 3 --only 'kills during save'"
    make torture ARGS=--docs                and put the table into docs/reliability.md
    make torture ARGS="--redraw --docs"     the table of the run whose JSON is in --out

Every trial runs in a process of its own, or in one that is watched from outside: a trial also fails
if the process ends by a signal or does not end. The command fails if anything did. A failure names
the seed that shows it again. torture.json is written after every trial.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..common import arguments as options
from ..common.files import Results, read_json
from ..common.machine import describe_run
from ..common.report import show
from . import allocations, data, files, kills, processes
from .trial import Trial

COMMAND = "make torture"
FILE = "torture.json"
TRIALS: tuple[Trial, ...] = (
    *files.TRIALS,
    *kills.TRIALS,
    *data.TRIALS,
    *allocations.TRIALS,
    *processes.TRIALS,
)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = options.parser(__doc__, "quick", "docs", "redraw", "out")
    parser.add_argument("--seed", type=int, help="of everything that is random; default: fresh")
    parser.add_argument("--only", nargs="+", choices=[trial.name for trial in TRIALS])
    arguments = parser.parse_args(argv)
    if arguments.seed is None:
        arguments.seed = secrets.randbelow(2**31)
    if arguments.docs and arguments.only:
        parser.error("--docs needs all trials; got --only")
    return arguments


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the trials; what there is so far is written after each."""
    decided = {name: getattr(arguments, name) for name in ("quick", "seed", "only")}
    results = Results(arguments.out / FILE, describe_run(COMMAND, decided))
    share = 0.05 if arguments.quick else 1.0
    for trial in TRIALS:
        if arguments.only is None or trial.name in arguments.only:
            print(f"{trial.name} ...", flush=True)
            results.take(trial.name, lambda trial=trial: trial.run(arguments.seed, share).as_dict())
    return results.content


def table(content: Mapping[str, Any]) -> str:
    """Return the table of docs/reliability.md."""
    lines = ["| What was tried | Tried | Held | Failed |", "|---|---|---|---|"]
    for name, row in content["pieces"].items():
        if row["skipped"]:
            lines.append(f"| {name} | skipped: {row['skipped']} | | |")
        else:
            failed = len(row["failures"])
            lines.append(f"| {name} | {row['tried']:,} | {row['tried'] - failed:,} | {failed} |")
    return "\n".join([*lines, "", f"Seed {content['options']['seed']}."])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trials, print the table; 1 if anything failed."""
    arguments = parse_arguments(argv)
    content = read_json(arguments.out / FILE) if arguments.redraw else run(arguments)
    show(arguments, content, "reliability.md", "torture", {"torture": table(content)})
    for name, row in content["pieces"].items():
        for failure in row["failures"][:5]:
            print(f"{name}: {failure}")
    return 1 if any(row["failures"] for row in content["pieces"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
