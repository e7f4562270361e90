"""Try the promises of docs/reliability.md with fresh seeds, and print what held.

    make torture
    make torture ARGS="--quick --seed 3 --only 'kills during save'"

Every trial runs in a process of its own, or in one that is watched from outside: a trial also fails
if the process ends by a signal or does not end. The command fails if anything did. A failure names
the seed that shows it again.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence

from ..common import machine
from . import data, files, processes
from .trial import Row, Trial

TRIALS: tuple[Trial, ...] = (*files.TRIALS, *data.TRIALS, *processes.TRIALS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the trials, print the table; 1 if anything failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a twentieth of everything")
    parser.add_argument("--seed", type=int, help="default: a fresh one")
    parser.add_argument("--only", nargs="+", choices=[trial.name for trial in TRIALS])
    arguments = parser.parse_args(argv)
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    on = machine.describe_machine()
    print(
        f"{on['processor']}, {on['cores_available']} cores, {on['operating_system']}; seed {seed}"
    )
    rows = []
    for trial in TRIALS:
        if arguments.only is None or trial.name in arguments.only:
            print(f"{trial.name} ...", flush=True)
            rows.append(trial.run(seed, share=0.05 if arguments.quick else 1.0))
    print(table(rows))
    for row in rows:
        for failure in row.failures[:5]:
            print(f"{row.name}: {failure}")
    return 1 if any(row.failures for row in rows) else 0


def table(rows: Sequence[Row]) -> str:
    """Return the table of docs/reliability.md."""
    lines = ["| What was tried | Tried | Held | Failed |", "|---|---|---|---|"]
    for row in rows:
        if row.skipped:
            lines.append(f"| {row.name} | skipped: {row.skipped} | | |")
        else:
            failed = len(row.failures)
            lines.append(f"| {row.name} | {row.tried:,} | {row.tried - failed:,} | {failed} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
