"""omp_mlp beside PyTorch, scikit-learn, NumPy and JAX on the same cores, in the same minutes.

The same network (784-128-10, ReLU, softmax, cross-entropy), data, batch size, learning rate,
shuffling and number of epochs for all.

    python benchmarks/compare_peers.py                 # everything; about 20 minutes on two cores
    python benchmarks/compare_peers.py --quick         # under two minutes, to see that all works
    python benchmarks/compare_peers.py --only speed predict --peers numpy jax
    python benchmarks/compare_peers.py --limits        # how near omp_mlp is to what the core can do
    python benchmarks/compare_peers.py --tune          # choose every peer's best settings again

How it is measured
------------------
Every peer runs in a process of its own, with as many threads as it is given cores, pinned to the
same cores as all others. The peers take turns, round after round, every second round backwards, so
that a slow spell of the machine does not fall on one of them. Shown are medians and ranges over the
rounds; ratios are ratios of medians, with the range of the ratios within each round.

A time begins when the library is called with the data in memory and ends with the trained network:
conversion, shuffling and checks of the arguments are in it. All rows get the same dense float32
array, but for those that say otherwise. A warm-up, in which JAX compiles, is not counted. A peer
that cannot train on all samples within a turn trains on the first of them; how many is in the
tables, and so is its test accuracy, which has to be that of omp_mlp after the same samples.

The peers are in ``_peers/``: a module for each library, and the table ``ROWS``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

try:
    from tqdm import tqdm

    from omp_mlp import datasets
except ImportError as missing:
    raise SystemExit(f"{missing}. From the project's root: pip install '.[bench]'") from missing

# Found next to this file, from whatever directory the script is started.
sys.path.insert(0, str(Path(__file__).resolve().parent))
import _report as report
from _peers import ROWS, Row, pictures, row, tables
from _peers.data import save_images
from _peers.floors import judge
from _peers.measure import Bench
from _peers.parts import PARTS
from _peers.tune import as_table, tune

# Training that gets less of its core than this shares it with other work.
QUIET = 0.9
VALIDATION_SAMPLES = 10_000
DOCS = report.PROJECT_ROOT / "docs"


def load_images(choice: str, limit: int | None) -> tuple[str, str, tuple[np.ndarray, ...]]:
    """Return the name of the data, a short one for files, and the images as bytes with labels."""
    arrays: tuple[np.ndarray, ...]
    if choice != "digits":
        path = None if choice in ("auto", "mnist") else choice
        try:
            arrays = datasets.load_mnist(path, split="standard", dtype="uint8")
        # ImportError: not here, and nothing to download it with.
        except (datasets.DatasetNotFoundError, ImportError) as error:
            if choice != "auto":
                raise SystemExit(str(error)) from error
            tqdm.write("MNIST is neither here nor to be downloaded: going on with augmented digits")
        else:
            if limit is not None:
                arrays = tuple(array[:limit] for array in arrays)
            return "MNIST", "mnist", arrays
    n_train = 60_000 if limit is None else limit
    arrays = datasets.load_augmented_digits(n_train, max(1, n_train // 6), dtype="uint8", seed=0)
    return "augmented digits (scikit-learn)", "augmented-digits", arrays


def validation_split(arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Return the training part divided, its last images in the place of the test set."""
    X, y = arrays[:2]
    held_out = min(VALIDATION_SAMPLES, len(X) // 6)
    return X[:-held_out], y[:-held_out], X[-held_out:], y[-held_out:]


def chosen_rows(
    names: Sequence[str] | None, *, always_ours: bool = True
) -> tuple[list[Row], list[str]]:
    """Return the rows to compare, and what cannot be compared because it is not installed.

    A name is that of a row or of its library. The rows of omp_mlp need not be named.
    """
    wanted = [
        entry
        for entry in ROWS
        if names is None
        or entry.name in names
        or entry.library in names
        or (always_ours and entry.ours)
    ]
    missing = sorted({entry.library for entry in wanted if not entry.installed})
    return [entry for entry in wanted if entry.installed], missing


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Compare omp_mlp with other libraries on the same cores.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--data",
        default="auto",
        metavar="auto|mnist|digits|FOLDER",
        help="auto: MNIST, and augmented digits where it cannot be had; FOLDER: MNIST's four files",
    )
    peers = sorted({name for entry in ROWS for name in (entry.name, entry.library)})
    add("--peers", nargs="+", choices=peers, metavar="PEER", help="all installed, or: %(choices)s")
    add("--only", nargs="+", choices=PARTS, metavar="PART", help="all parts, or: %(choices)s")
    add("--limits", action="store_true", help="the part `limits`, alone or with those of --only")
    add("--tune", action="store_true", help="search each peer's best settings, and nothing else")
    add(
        "--rounds",
        type=report.positive,
        metavar="COUNT",
        help="how often each takes its turn (5, or 3)",
    )
    add("--seeds", type=report.positive, metavar="COUNT", help="of the time to accuracy (5, or 1)")
    add("--docs", action="store_true", help="put tables and pictures into docs/")
    add("--quick", action="store_true", help="fewer rounds, seeds, batch sizes and samples")
    add(
        "--limit",
        type=report.positive,
        metavar="N",
        help="the first N images only, for a trial run",
    )
    add(
        "--out",
        type=Path,
        default=report.PROJECT_ROOT / "results",
        metavar="FOLDER",
        help="where pictures and tables go",
    )
    arguments = parser.parse_args(argv)
    wanted = set(arguments.only or ()) | ({"limits"} if arguments.limits else set())
    arguments.parts = [part for part in PARTS if not wanted or part in wanted]
    arguments.rounds = arguments.rounds or (3 if arguments.quick else 5)
    arguments.seeds = arguments.seeds or (1 if arguments.quick else 5)
    return arguments


def processor_share(parts: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Share of the wall-clock time in which trainings on one core had it, the median over all."""
    shares = [
        entry["processor_share"]
        for part in parts.values()
        for entry in part.get("entries", ())
        if "processor_share" in entry and entry.get("cores", 1) == 1
    ]
    return median(shares) if shares else None


def disagreements(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Name the trainings whose accuracy is not that of omp_mlp after the same samples."""
    return [
        f"{row(entry['peer']).label}, {part}, B = {entry['batch_size']}, {entry['cores']} core(s): "
        f"{entry['accuracy_percent']:.2f} % after {entry['samples']:,} samples, omp_mlp "
        f"{entry['omp_mlp_accuracy_percent']:.2f} % (margin {entry['accuracy_margin_points']:.2f})"
        for part, result in parts.items()
        for entry in result.get("entries", ())
        if entry.get("accuracy_agrees") is False
    ]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the comparison, write all files, print the tables and return the results."""
    arguments = parse_arguments(argv)
    begin = time.perf_counter()
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    machine, build = report.describe_machine(), report.describe_build()
    name, slug, arrays = load_images(arguments.data, arguments.limit)
    if arguments.tune:
        arrays = validation_split(arrays)
    X, _, X_test, _ = arrays
    data = {
        "name": name,
        "training_samples": len(X),
        "test_samples": len(X_test),
        "features": X.shape[1],
        "nonzero_share": float(np.count_nonzero(X) / X.size),
    }
    # To be compared with, omp_mlp is always there; to be tuned, it has to be meant.
    rows, missing = chosen_rows(arguments.peers, always_ours=not arguments.tune)
    for library in missing:
        print(f"{library} is not installed: left out")
    arguments.out.mkdir(parents=True, exist_ok=True)

    parts: dict[str, dict[str, Any]] = {}
    tuned: dict[str, Any] = {}
    steps = 1 if arguments.tune else len(arguments.parts)
    with (
        tempfile.TemporaryDirectory() as folder,
        tqdm(total=steps, unit="part", dynamic_ncols=True, leave=False, disable=None) as progress,
        Bench(
            rows,
            save_images(Path(folder), *arrays),
            len(X),
            quick=arguments.quick,
            rounds=arguments.rounds,
            seeds=arguments.seeds,
            turn=0.05 if arguments.quick else 0.5,
            max_samples=10_000 if arguments.quick else len(X),
            announce=progress.set_description,
        ) as bench,
    ):
        del arrays, X, X_test
        if arguments.tune:
            tuned = tune(bench)
        else:
            for part in arguments.parts:
                part_begin = time.perf_counter()
                parts[part] = PARTS[part](bench)
                parts[part]["part_seconds"] = time.perf_counter() - part_begin
                progress.update()

    share = processor_share(parts)
    about = {
        "script": Path(__file__).name,
        "started": started,
        "data": data,
        "quick": arguments.quick,
        "limit": arguments.limit,
        "rounds": arguments.rounds,
        "pinned": hasattr(os, "sched_setaffinity"),
        "machine": machine,
        "build": build,
        "source": report.describe_source(),
        "peers": {
            entry.name: {
                "label": entry.label,
                "library": entry.library,
                "version": bench.versions.get(entry.name),
                "thread_pools": bench.thread_pools.get(entry.name, {}),
                "given": entry.form,
                "options": entry.options,
            }
            for entry in rows
        },
        "not_installed": missing,
        "failures": bench.failures,
    }
    if arguments.tune:
        results: dict[str, Any] = report.plain({**about, "tuning": tuned})
        path = report.write_json(arguments.out / f"peers-tuning-{slug}.json", results)
        print(f"\nSETTINGS = {{\n{as_table(tuned)}\n}}")
        _print_end(bench.failures, begin, arguments.out, [path])
        return results

    data_line = f"{name}, {data['training_samples']:,} training samples"
    notes = [
        f"Each in a process of its own, {arguments.rounds} interleaved rounds; conversion and "
        "shuffling included. "
        + ", ".join(
            f"{library} {version}"
            for library, version in sorted(
                {entry.library: bench.versions.get(entry.name) for entry in rows}.items()
            )
            if version
        )
        + ".",
        f"Machine: {report.machine_line(machine)}. Build: {report.build_line(build)}.",
    ]
    if share is not None and share < QUIET:
        notes.append(f"Other work left these only {share:.0%} of their core: measure again.")
    paths: list[Path] = []
    with report.picture_style():
        for part, draw in pictures.DRAWN.items():
            if parts.get(part, {}).get("entries"):
                paths += report.save_picture(
                    draw(parts[part], data_line, notes),
                    arguments.out / f"peers-{part}-{slug}",
                    f"omp_mlp and its peers: {part}, {name}",
                )
    paths.append(arguments.out / f"peers-{slug}.json")
    disagreeing = disagreements(parts)
    results = report.plain(
        {
            **about,
            "run_seconds": time.perf_counter() - begin,
            "processor_share": share,
            "parts": parts,
            "accuracy_disagreements": disagreeing,
            "floors": judge(parts),
            "files": [path.name for path in paths],
        }
    )
    report.write_json(paths[-1], results)

    print(f"\n{data_line}, 784-128-10. Medians and ranges of {arguments.rounds} rounds.")
    print(f"Machine: {report.machine_line(machine)}")
    print(f"Build: {report.build_line(build)}")
    for text in tables.all_tables(results):
        print(f"\n{text}")
    if share is not None and share < QUIET:
        print(f"\nOther work left trainings on a core only {share:.0%} of it: measure again.")
    if arguments.docs:
        paths += write_docs(results, paths, notes)
    _print_end(bench.failures, begin, arguments.out, paths)
    if disagreeing:
        print("\nNot the same training, so not to be compared:\n  " + "\n  ".join(disagreeing))
        raise SystemExit(1)
    return results


def write_docs(
    results: Mapping[str, Any], paths: Sequence[Path], notes: Sequence[str]
) -> list[Path]:
    """Put the tables into docs/benchmarks.md and the pictures beside it."""
    page = DOCS / "benchmarks.md"
    about = " ".join(notes) + (" A quick run, to be replaced." if results["quick"] else "")
    for name in report.fill_blocks(page, {**tables.blocks(results), "machine": about}):
        print(f"{page.name}: no table for the block {name!r} in this run; left as it was")
    copies = [path for path in paths if path.suffix == ".png"]
    for path in copies:
        (DOCS / "figures" / path.name).write_bytes(path.read_bytes())
    return [page, *(DOCS / "figures" / path.name for path in copies)]


def _print_end(failures: Sequence[str], begin: float, out: Path, paths: Sequence[Path]) -> None:
    for failure in failures:
        print(f"failed: {failure}")
    print(f"\nWritten in {time.perf_counter() - begin:.0f} s to {out}:")
    for path in paths:
        print(f"  {path if path.is_relative_to(DOCS) else path.name}")


if __name__ == "__main__":
    main()
