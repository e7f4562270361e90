"""Measure the three products of a dense layer against the multiply-add peak, on one core.

    python -m benchmarks.sizes.products

Compiles ``cpp/tests/time_products.cpp``, with the kernels of this folder, and ``limits.cpp``.
They run in turn. Shares are those of the medians. Needs CMake and a C++ compiler.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ..common import arguments as reading
from ..common import documents
from ..common.files import PROJECT_ROOT, Results
from ..common.machine import describe_run, stamp, stay_on, usable_cores
from ..common.tables import as_text
from ..peers import limits

COMMAND = "python -m benchmarks.sizes.products"
PRODUCTS = ("forward", "backward", "update")
RUNS = 3


def build(folder: Path) -> Path:
    """Compile time_products into ``folder``; return the program."""
    configure = ["cmake", "-S", str(PROJECT_ROOT), "-B", str(folder)]
    options = ["-DOMP_MLP_PYTHON_MODULE=OFF", "-DOMP_MLP_CHECKS=ON", "-DCMAKE_BUILD_TYPE=Release"]
    subprocess.run([*configure, *options], check=True, capture_output=True)
    target = ["cmake", "--build", str(folder), "--target", "time_products"]
    subprocess.run(target, check=True, capture_output=True)
    return folder / "time_products"


def run(program: Path) -> list[dict[str, float]]:
    """Run it once; return a row for each width and number of samples."""
    done = subprocess.run([program], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def shares(runs: Sequence[Sequence[Mapping[str, float]]], peak: float) -> list[dict[str, float]]:
    """Return the rows with the median share of the peak of each product, in percent."""
    return [
        {
            "width": rows[0]["width"],
            "samples": rows[0]["samples"],
            **{
                f"{product}_percent": 100 * median(row[product] for row in rows) / peak
                for product in PRODUCTS
            },
        }
        for rows in zip(*runs, strict=True)
    ]


def table(rows: Sequence[Mapping[str, float]]) -> str:
    """Lay out a line for each width and number of samples."""
    header = ["width", "samples", *PRODUCTS]
    lines = [
        [
            *(f"{row[key]:,}" for key in ("width", "samples")),
            *(f"{row[f'{product}_percent']:.0f} %" for product in PRODUCTS),
        ]
        for row in rows
    ]
    return as_text(header, lines, numeric=True)


def block(content: Mapping[str, Any]) -> str:
    """Return the block of docs/benchmarks.md."""
    peak = content["peak_flop_per_second"] / 1e9
    title = f"Shares of the multiply-add peak, {peak:.1f} GFLOP/s, one core, medians"
    return f"```text\n{title}\n{table(content['products'])}\n```"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write products.json and print the table."""
    arguments = reading.parser(__doc__, "docs", "out").parse_args(argv)
    results = Results(arguments.out / "products.json", describe_run(COMMAND, {"runs": RUNS}))
    # The core, for the programs that are started from here.
    core = usable_cores()[-1]
    stay_on([core])
    with tempfile.TemporaryDirectory() as folder:
        peaks = limits.build(Path(folder))
        if isinstance(peaks, str):
            raise SystemExit(peaks)
        products = build(Path(folder) / "products")
        found = [(limits.measure(peaks, core), run(products)) for _ in range(RUNS)]
    measured = [flops for limit, _ in found if (flops := limit["flop_per_second"]) is not None]
    if not measured:
        raise SystemExit("the multiply-add peak could not be measured: other work had the core")
    peak = median(measured)
    rows = shares([rows for _, rows in found], peak)
    results.write(peak_flop_per_second=peak, products=rows)
    text = block(results.content)
    print(f"{text}\n\n{stamp(results.content)}")
    if arguments.docs:
        documents.publish("benchmarks.md", "products", results.content, {"products": text})
    return 0


if __name__ == "__main__":
    sys.exit(main())
