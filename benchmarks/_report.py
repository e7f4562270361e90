"""What every benchmark says about itself: machine, build, tables, files and the look of pictures.

A number without the machine and the build that made it is worth little, so each benchmark writes
:func:`describe_machine`, :func:`describe_build` and :func:`describe_source` into its results and
:func:`caption` under its pictures.

Needs NumPy and, for pictures only, Matplotlib.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import os
import platform
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PROJECT_ROOT = Path(__file__).resolve().parents[1]
_VERSION = re.compile(r"\d+\.\d+")

# Okabe and Ito's palette, which readers with any common colour blindness can tell apart. `sum` is
# green because it is green in the note that the figures reproduce.
COLOURS = {
    "blue": "#0072B2",
    "green": "#009E73",
    "orange": "#E69F00",
    "purple": "#CC79A7",
    "red": "#D55E00",
    "sky": "#56B4E9",
    "black": "#1A1A1A",
    "grey": "#6E6E6E",
}


# --- machine, build, source ---------------------------------------------------------------------


def positive(text: str) -> int:
    """Read an option of the command line that has to be at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return value


def available_cores() -> int:
    """Cores that this process may run on (its affinity where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
    return platform.processor() or platform.machine()


def describe_machine() -> dict[str, Any]:
    """Describe the machine, without anything that names it or its user."""
    machine: dict[str, Any] = {
        "processor": _processor_name(),
        "architecture": platform.machine(),
        "cores": os.cpu_count() or 1,
        "cores_available": available_cores(),
        # Major and minor version: the rest names the build of one distribution.
        "operating_system": " ".join(
            [platform.system(), *_VERSION.findall(platform.release())[:1]]
        ),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    with contextlib.suppress(AttributeError, OSError, ValueError):
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        machine["memory_gib"] = round(pages * size / 2**30, 1)
    with contextlib.suppress(AttributeError, OSError):
        # Says whether other work ran beside the timings.
        machine["load_average"] = round(os.getloadavg()[0], 2)
    return machine


def describe_build() -> dict[str, Any]:
    """Describe the compiled library, by its own account."""
    import omp_mlp

    return {str(key): plain(value) for key, value in omp_mlp.build_config().items()}


def describe_source() -> dict[str, Any]:
    """Return the commit of the checkout that this script lies in, or {} outside of a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PROJECT_ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != PROJECT_ROOT:
            return {}
        return {
            "commit": git("rev-parse", "HEAD"),
            "modified": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return {}


def machine_line(machine: Mapping[str, Any]) -> str:
    """Return one line for captions and terminals: processor, cores, system, Python."""
    available, present = machine["cores_available"], machine["cores"]
    cores = f"{available} core" + ("s" if available != 1 else "")
    if available != present:
        cores += f" of {present}"
    system, python = machine["operating_system"], machine["python"]
    return f"{machine['processor']}, {cores}, {system}, Python {python}"


def build_line(build: Mapping[str, Any]) -> str:
    """Return one line for captions and terminals: what the build says of itself, in short."""
    # The rest is in `machine_line` already, or too long for a line.
    keys = ("version", "compiler", "build_type", "kernels", "openmp")
    return ", ".join(f"{key.replace('_', ' ')} {build[key]}" for key in keys if build.get(key))


# --- numbers ------------------------------------------------------------------------------------


def plain(value: object) -> Any:  # noqa: ANN401 - what JSON knows is of many types
    """Turn NumPy values, tuples and mappings into what JSON knows; NaN and infinity into None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return str(value)


def summarise(runs: np.ndarray) -> dict[str, list[Any]]:
    """Summarise repeated runs.

    Parameters
    ----------
    runs : array of shape (settings, repetitions)

    Returns
    -------
    dict
        Lists with an entry for each setting: ``mean``, ``sd`` (sample standard deviation; None for
        a single repetition), ``median``, ``min``, ``max`` and the ``runs`` themselves.
    """
    runs = np.asarray(runs, dtype=np.float64)
    several = runs.shape[1] > 1
    return {
        "mean": runs.mean(axis=1).tolist(),
        "sd": runs.std(axis=1, ddof=1).tolist() if several else [None] * len(runs),
        "median": np.median(runs, axis=1).tolist(),
        "min": runs.min(axis=1).tolist(),
        "max": runs.max(axis=1).tolist(),
        "runs": runs.tolist(),
    }


# --- files --------------------------------------------------------------------------------------


def write_json(path: Path, results: Mapping[str, Any]) -> Path:
    """Write strict JSON (no NaN), UTF-8, in the order given."""
    text = json.dumps(plain(results), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> Path:
    """Write rows as CSV below ``# key: value`` lines that say where they come from.

    ``pandas.read_csv(path, comment="#")`` reads the table. Floats are written in full.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        for key, value in about.items():
            words = (
                value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
            )
            file.write(f"# {key}: {words}\n")
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([plain(row) for row in rows])
    return path


# --- terminal -----------------------------------------------------------------------------------


def text_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    widths: Sequence[int] | None = None,
    numeric: bool = False,
) -> str:
    """Lay out a table in plain characters.

    Parameters
    ----------
    header, rows : sequences of str
    widths : sequence of int, optional
        Wrap the cells of each column to this width. Without it columns are as wide as they need be.
    numeric : bool
        Align cells to the right (but the first column, which names the row).
    """
    wrapped = [
        [
            [line for part in cell.split("\n") for line in textwrap.wrap(part, widths[k]) or [""]]
            if widths
            else cell.split("\n")
            for k, cell in enumerate(row)
        ]
        for row in [header, *rows]
    ]
    spans = [max(len(line) for row in wrapped for line in row[k]) for k in range(len(header))]
    rule = "  ".join("-" * span for span in spans)
    lines: list[str] = []
    for number, row in enumerate(wrapped):
        for height in range(max(len(cell) for cell in row)):
            cells = []
            for k, cell in enumerate(row):
                line = cell[height] if height < len(cell) else ""
                cells.append(line.rjust(spans[k]) if numeric and k else line.ljust(spans[k]))
            lines.append("  ".join(cells).rstrip())
        # Rows of several lines need a line between them to be told apart.
        if number == 0 or (widths and number < len(rows)):
            lines.append(rule)
    return "\n".join(lines)


# --- pictures -----------------------------------------------------------------------------------


GENERATED = re.compile(r"<!-- (?P<name>[\w-]+): generated[^>]*-->\n.*?<!-- end -->", re.DOTALL)


def fill_blocks(path: Path, tables: Mapping[str, str]) -> list[str]:
    """Put tables between their marks in a document; return the names of blocks without a table.

    A block begins with ``<!-- name: generated by ... -->`` and ends with ``<!-- end -->``.
    """
    missing = []

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in tables:
            missing.append(name)
            return match[0]
        first = match[0].partition("\n")[0]
        return f"{first}\n{tables[name]}\n<!-- end -->"

    text = path.read_text(encoding="utf-8")
    path.write_text(GENERATED.sub(fill, text), encoding="utf-8")
    return missing


@contextlib.contextmanager
def picture_style() -> Iterator[None]:
    """Apply the look that all pictures of the benchmarks share."""
    import matplotlib as mpl

    style: dict[Any, Any] = {
        "axes.axisbelow": True,
        "axes.edgecolor": COLOURS["grey"],
        "axes.grid": True,
        "axes.labelcolor": COLOURS["black"],
        "axes.labelsize": 10.5,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.facecolor": "white",
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "grid.color": "#E3E3E3",
        "grid.linewidth": 0.8,
        "legend.fontsize": 9.5,
        "legend.frameon": False,
        "lines.linewidth": 2.0,
        "lines.markersize": 6.5,
        "savefig.dpi": 200,
        # The same numbers give the same SVG, byte for byte.
        "svg.hashsalt": "omp_mlp",
        "xtick.color": COLOURS["grey"],
        "xtick.labelcolor": COLOURS["black"],
        "ytick.color": COLOURS["grey"],
        "ytick.labelcolor": COLOURS["black"],
    }
    with mpl.rc_context(style):
        yield


def caption(
    fig: Figure, title: str, subtitle: str, notes: Sequence[str], legend: Axes | None = None
) -> None:
    """Put title, subtitle and legend above, and small notes below, and make room for them.

    Call it when the axes are complete: it lays the figure out. ``legend`` is the axes whose labels
    make up a legend of two columns; above the axes no curve can run into it.
    """
    width, height = fig.get_size_inches()
    characters = int(width * 20)
    lines = [line for note in notes for line in textwrap.wrap(note, characters)]
    foot = 0.04 + 0.135 * len(lines)
    head = 0.55
    if legend is not None:
        handles, labels = legend.get_legend_handles_labels()
        fig.legend(
            handles,
            labels,
            ncols=2,
            loc="upper left",
            bbox_to_anchor=(0.06 / width, 1 - 0.60 / height),
            columnspacing=2.5,
        )
        head += 0.14 + 0.21 * ((len(labels) + 1) // 2)
    fig.tight_layout(rect=(0, foot / height, 1, 1 - head / height))
    margin = 0.14 / width
    top = 1 - 0.12 / height
    fig.text(margin, top, title, ha="left", va="top", fontsize=13, weight="bold")
    below = 1 - 0.40 / height
    fig.text(margin, below, subtitle, ha="left", va="top", fontsize=9.5, color=COLOURS["grey"])
    fig.text(
        margin,
        0.08 / height,
        "\n".join(lines),
        ha="left",
        va="bottom",
        fontsize=6.5,
        linespacing=1.35,
        color=COLOURS["grey"],
    )


def save_picture(fig: Figure, stem: Path, title: str) -> list[Path]:
    """Save a figure as PNG and SVG, with a title inside the file; return both paths."""
    # A name may hold a dot, so the ending is added rather than swapped in.
    paths = [stem.parent / f"{stem.name}.png", stem.parent / f"{stem.name}.svg"]
    fig.savefig(paths[0], metadata={"Title": title})
    # No date inside, for the same reason as svg.hashsalt.
    fig.savefig(paths[1], metadata={"Title": title, "Date": None})
    return paths
