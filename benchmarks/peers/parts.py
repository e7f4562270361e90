"""The parts of the comparison: each measures one thing and returns what goes into the JSON."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np

import omp_mlp

from ..common.timing import ratios, summarise
from . import Row, Training, limits, row
from .bench import Bench, Entry, Result, describe, ratios_to_peers
from .data import N_CLASSES, random_inputs
from .settings import BATCH_SIZES, TARGETS, alike
from .settings import load as load_settings

QUICK_BATCH_SIZES = (1, 8, 32, 128)
# Where only omp_mlp is compared with itself.
FEW_BATCH_SIZES = (1, 8, 32, 128)
DENSE_BATCH_SIZES = (32, 64, 128, 256)
DENSE_ROWS = ("omp_mlp", "numpy", "numpy-blas")
DENSE_SAMPLES = 20_000
OPTIMIZER_BATCH_SIZES = (32, 128, 256)
QUICK_OPTIMIZER_BATCH_SIZES = (32, 128)
OPTIMIZER_ROWS = ("omp_mlp", "omp_mlp-bytes", "torch-nn", "sklearn")
# Of the optimisers beside plain descent, at all of these batch sizes.
OPTIMIZER_RATES = {"momentum": 0.02, "adam": 0.002}
FEATURES = 784
HIDDEN = 128
WIDTHS = (1, 16, 64, 100, 127, 128, 129, 256, 512, 1024)
WIDTH_BATCH_SIZES = (1, 32, 128)
DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
QUICK_DENSITIES = (0.1, 0.4, 0.7, 1.0)
DENSITY_SAMPLES = 5_000
PREDICTED_ROWS = (1, 100, 10_000)
# Of a call of train_parallel.
OVERHEAD_SHAPE = (100, 20)
OVERHEAD_CALLS = 200
# Runs of limits.cpp before the trainings, and as many after them.
LIMITS_RUNS = 3

# Two replicas on two cores against one on one: how they are merged.
TWO_THREADS: dict[str, dict[str, Any]] = {
    "average, once an epoch": {},
    "gradient diversity every 64": {"merge": "gradient_diversity", "merge_every": "auto"},
    "gradient diversity every 1,024": {"merge": "gradient_diversity", "merge_every": 1_024},
}

# Peers draw different orders, and scikit-learn and omp_mlp their own first weights, so accuracies
# differ by chance. They agree if the mean of a peer's rounds is within so many points of omp_mlp's,
# or within so many standard deviations of omp_mlp's over REFERENCE_SEEDS.
AGREEMENT_POINTS = 1.0
AGREEMENT_DEVIATIONS = 5.0
REFERENCE_SEEDS = 10


def _batch_sizes(bench: Bench) -> tuple[int, ...]:
    return QUICK_BATCH_SIZES if bench.quick else BATCH_SIZES


# --- beside other libraries ---------------------------------------------------------------------


def speed(bench: Bench) -> Result:
    """Measure samples a second of all peers in the same training, on one core and on two."""
    found: Result = {"entries": [], "ratios": []}
    # One core last: its processes are asked again by later parts. Those on two end before, to spare
    # memory: each has its own copy of the data.
    for cores in (1,) if bench.quick else reversed(bench.core_counts):
        for size in _batch_sizes(bench):
            _compare(bench, bench.rows_for(cores), size, cores, found)
        if cores > 1:
            bench.end_processes()
    return found


def dense(bench: Bench) -> Result:
    """Compare omp_mlp with matrix products on dense random inputs of the images' shape."""
    found: Result = {"entries": [], "ratios": []}
    rows = [row for row in bench.rows if row.name in DENSE_ROWS]
    for size in DENSE_BATCH_SIZES:
        _compare(bench, rows, size, 1, found, random_inputs(DENSE_SAMPLES, FEATURES))
    return found


def optimizers(bench: Bench) -> Result:
    """Compare momentum and Adam with those of other libraries, and with plain descent."""
    found: Result = {"entries": [], "ratios": [], "plain_ratios": []}
    rows = [row for row in bench.rows if row.name in OPTIMIZER_ROWS]
    for size in QUICK_OPTIMIZER_BATCH_SIZES if bench.quick else OPTIMIZER_BATCH_SIZES:
        plain = alike(size)
        trainings = [
            plain,
            *(
                replace(plain, solver=solver, learning_rate=rate)
                for solver, rate in OPTIMIZER_RATES.items()
            ),
        ]
        group = bench.measure(
            [
                Entry(peer, training, 1, {"batch_size": size})
                for training in trainings
                for peer in rows
            ]
        )
        found["entries"] += group
        for solver in OPTIMIZER_RATES:
            alone = [entry for entry in group if entry["solver"] == solver]
            found["ratios"] += ratios_to_peers(alone, "samples_per_second", "solver", "batch_size")
        rates = {(e["peer"], e["solver"]): e["samples_per_second"]["runs"] for e in group}
        found["plain_ratios"] += [
            {
                "peer": peer,
                "solver": solver,
                "batch_size": size,
                "ratio": ratios(runs, rates[peer, "sgd"]),
            }
            for (peer, solver), runs in rates.items()
            if row(peer).ours and solver != "sgd"
        ]
    return found


def _compare(
    bench: Bench,
    rows: Iterable[Row],
    size: int,
    cores: int,
    found: Result,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Measure the same training with these rows, and add to what was found."""
    group = bench.measure(
        [Entry(peer, alike(size), cores, {"batch_size": size}, data) for peer in rows]
    )
    _check_accuracy(bench, group, size, data)
    found["entries"] += group
    found["ratios"] += ratios_to_peers(group, "samples_per_second", "cores", "batch_size")


def _check_accuracy(
    bench: Bench, group: Iterable[Result], size: int, data: Mapping[str, Any] | None
) -> None:
    """Put omp_mlp's accuracy after the same samples beside every peer's, and judge.

    Rows that are not plain SGD are not judged; nor are several replicas, which are not one network.
    """
    reference = Entry(row("omp_mlp"), alike(size), data=data)
    expected: dict[int, list[float]] = {}
    for result in group:
        count = result["samples"]
        if count not in expected:
            expected[count] = [
                bench.train(reference, samples=count, seed=seed)["accuracy"]
                for seed in range(100, 100 + REFERENCE_SEEDS)
            ]
        mean = fmean(expected[count])
        margin = max(AGREEMENT_POINTS, AGREEMENT_DEVIATIONS * stdev(expected[count]))
        peer = row(result["peer"])
        comparable = peer.plain and not (peer.ours and result["cores"] > 1)
        agrees = abs(result["accuracy_percent"] - mean) <= margin
        result["omp_mlp_accuracy_percent"] = mean
        result["accuracy_margin_points"] = margin
        result["accuracy_agrees"] = agrees if comparable else None


def accuracy(bench: Bench) -> Result:
    """Measure seconds of training to a wanted test accuracy, with each peer's best settings."""
    settings = load_settings()
    runs: list[tuple[Row, float, Training]] = [
        (peer, target, settings[peer.name][target])
        for target in (TARGETS[:1] if bench.quick else TARGETS)
        for peer in bench.rows
        if target in settings.get(peer.name, {})
    ]

    def train(number: int, seed: int, **request: object) -> Result:
        peer, target, setting = runs[number]
        bench.say(f"time to {target} %, seed {seed}, {peer.label}")
        return bench.train(Entry(peer, setting), seed=seed, **request)

    def warm_up(number: int) -> Result:
        peer, _, setting = runs[number]
        # With all samples, for those who compile for their number.
        return bench.train(Entry(peer, replace(setting, epochs=1)), score=False)

    ready = bench.all_but_failures(range(len(runs)), warm_up)
    entries = []
    for number, replies in bench.take_turns(list(ready), train, bench.seeds).items():
        peer, target, setting = runs[number]
        scores = summarise([reply["accuracy"] for reply in replies])
        entries.append(
            {
                "peer": peer.name,
                "target_percent": target,
                "setting": describe(setting),
                "samples": replies[0]["samples"],
                "seconds": summarise([reply["seconds"] for reply in replies]),
                "accuracy_percent": scores,
                "reached": scores["mean"] >= target,
                "processor_share": median(r["cpu_seconds"] / r["seconds"] for r in replies),
            }
        )
    return {"seeds": bench.seeds, "entries": entries}


def predict(bench: Bench) -> Result:
    """Measure rows a second of each peer's own predict."""
    found: Result = {"entries": [], "ratios": []}
    for cores in (1,) if bench.quick else bench.core_counts:
        for rows in PREDICTED_ROWS:
            group = _predicting(bench, cores, rows)
            found["entries"] += group
            found["ratios"] += ratios_to_peers(group, "rows_per_second", "cores", "rows")
        bench.end_processes()
    return found


def _predicting(bench: Bench, cores: int, rows: int) -> list[Result]:
    # Our options are about training.
    entries = {
        peer.name: Entry(peer, alike(128), cores)
        for peer in bench.rows_for(cores)
        if not (peer.ours and peer.options)
    }
    calls = dict.fromkeys(entries, 1)

    def ask(name: str, _: int = 0) -> Result:
        return bench.ask(entries[name], "predict", rows=rows, calls=calls[name])

    def warm_up(name: str) -> Result:
        bench.say(f"predicting {rows} rows, {entries[name].row.label}")
        bench.train(entries[name], samples=min(bench.n_samples, 5_000), score=False)
        ask(name)
        calls[name] = max(1, round(bench.turn / 5 / ask(name)["seconds"]))
        return {}

    ready = bench.all_but_failures(entries, warm_up)
    return [
        {
            "peer": name,
            "cores": cores,
            "rows": rows,
            "seconds": summarise([run["seconds"] for run in runs]),
            "rows_per_second": summarise([rows / run["seconds"] for run in runs]),
        }
        for name, runs in bench.take_turns(list(ready), ask).items()
    ]


def memory(bench: Bench) -> Result:
    """Measure how far training raises the peak of resident memory, each time in a fresh process."""
    training = alike(128)
    # A second core is of interest where it means a second replica.
    wanted = {
        (peer.name, cores): Entry(peer, training, cores)
        for cores in bench.core_counts
        for peer in bench.rows_for(cores)
        if cores == 1 or peer.ours
    }

    def ask(key: tuple[str, int], _: int) -> Result:
        with closing(bench.start(wanted[key])) as process:
            return process.ask("memory", training=asdict(training))

    replies = bench.take_turns(list(wanted), ask, 1 if bench.quick else 3)
    entries = [
        {
            "peer": peer,
            "cores": cores,
            "batch_size": training.batch_size,
            "before_bytes": summarise([run["before_bytes"] for run in runs]),
            "growth_bytes": summarise([run["growth_bytes"] for run in runs]),
            "weights_bytes": 4 * (FEATURES * HIDDEN + HIDDEN + HIDDEN * N_CLASSES + N_CLASSES),
        }
        for (peer, cores), runs in replies.items()
    ]
    return {"entries": entries}


# --- beside what the core can do ----------------------------------------------------------------


def core_limits(bench: Bench) -> Result:
    """Measure limits of the core, before and after trainings that are compared with them."""
    sizes = _batch_sizes(bench)
    data = random_inputs(DENSE_SAMPLES, FEATURES)
    wanted = [
        Entry(peer, alike(size), about={"inputs": "images"})
        for peer in bench.rows_for(1)
        if peer.ours and peer.plain
        for size in sizes
    ] + [
        Entry(row("omp_mlp"), alike(size), about={"inputs": "dense random"}, data=data)
        for size in sizes
        if size in DENSE_BATCH_SIZES
    ]
    with tempfile.TemporaryDirectory() as folder:
        program = limits.build(Path(folder))
        if isinstance(program, str):
            return {"skipped": program}

        def measured() -> list[dict[str, float | None]]:
            return [limits.measure(program, bench.cores[-1]) for _ in range(LIMITS_RUNS)]

        before, entries = measured(), bench.measure(wanted, score=False)
        runs = [*before, *measured()]

    found = limits.summarised(runs)
    counts = limits.nonzero_statistics(np.load(Path(bench.images["folder"]) / "X.npy"), sizes)
    for entry in entries:
        is_dense = entry["inputs"] != "images"
        size = entry["batch_size"]
        work = limits.count_work(
            FEATURES if is_dense else counts["nonzeros_a_sample"],
            FEATURES if is_dense else counts["rows_a_batch"][size],
            size,
            features=FEATURES,
            hidden=HIDDEN,
            outputs=N_CLASSES,
            vector_bytes=int(runs[0]["vector_bits"] or 0) // 8,
        )
        rate = entry["samples_per_second"]["median"]
        middle = {key: value and value["median"] for key, value in found.items()}
        entry["work_a_sample"] = asdict(work)
        entry |= limits.distance(rate, work, middle, dense=is_dense)
    return {"limits": found, "images": counts, "entries": entries}


# --- omp_mlp and its own choices ----------------------------------------------------------------


def threads(bench: Bench) -> Result:
    """Compare two replicas on two cores with one on one."""
    if len(bench.cores) < 2:
        return {"skipped": "this process may use one core only"}
    one = row("omp_mlp")
    found: Result = {"entries": [], "ratios": []}
    for size in FEW_BATCH_SIZES:
        alone, *twos = bench.measure(
            [
                Entry(one, alike(size), 1, {"merging": "none"}),
                *(
                    Entry(one, alike(size, options=options), 2, {"merging": merging})
                    for merging, options in TWO_THREADS.items()
                ),
            ]
        )
        rates = [entry["samples_per_second"]["runs"] for entry in (alone, *twos)]
        found["entries"] += [alone, *twos]
        found["ratios"] += [
            {"batch_size": size, "merging": two["merging"], "ratio": ratios(rate, rates[0])}
            for two, rate in zip(twos, rates[1:], strict=True)
        ]
    return found


def widths(bench: Bench) -> Result:
    """Measure samples a second times weights over the number of hidden units."""
    entries = bench.measure(
        [
            Entry(row("omp_mlp"), alike(size, hidden=hidden))
            for size in WIDTH_BATCH_SIZES
            for hidden in WIDTHS
        ],
        turn=bench.turn / 4,
        score=False,
    )
    for entry in entries:
        entry["weights"] = (FEATURES + N_CLASSES) * entry["hidden"]
    return {"entries": entries}


def density(bench: Bench) -> Result:
    """Compare lists of nonzeros with dense loops in the first layer, over the nonzeros' share."""
    found: Result = {"entries": [], "ratios": []}
    for share in QUICK_DENSITIES if bench.quick else DENSITIES:
        wanted = [
            Entry(
                row("omp_mlp"),
                alike(size, options={"first_layer": layer}),
                about={"density": share, "first_layer": layer},
                data=random_inputs(DENSITY_SAMPLES, FEATURES, share),
            )
            for size in FEW_BATCH_SIZES
            for layer in ("sparse", "dense", "auto")
        ]
        group = bench.measure(wanted, turn=bench.turn / 8, score=False)
        found["entries"] += group
        for size in FEW_BATCH_SIZES:
            rates = {
                entry["first_layer"]: entry["samples_per_second"]["runs"]
                for entry in group
                if entry["batch_size"] == size
            }
            if {"sparse", "dense"} <= rates.keys():
                ratio = ratios(rates["sparse"], rates["dense"])
                found["ratios"].append({"density": share, "batch_size": size, "ratio": ratio})
        bench.end_processes()
    places = {str(size): crossover(found["ratios"], size) for size in FEW_BATCH_SIZES}
    return {**found, "crossover_shares": places}


def crossover(entries: Iterable[Mapping[str, Any]], batch_size: int) -> float | None:
    """Return the density at which dense loops become the faster, None if lists always are.

    Between two densities that were measured, where the straight line between them passes 1.
    """
    points = sorted(
        (entry["density"], entry["ratio"]["median"])
        for entry in entries
        if entry["batch_size"] == batch_size
    )
    if points and points[0][1] < 1:
        return float(points[0][0])
    for (low, above), (high, below) in pairwise(points):
        if below < 1 <= above:
            return float(low + (high - low) * (above - 1) / (above - below))
    return None


def kernels(bench: Bench) -> Result:
    """Measure samples a second with each set of kernels that this machine can run."""
    names: Sequence[str] = omp_mlp.build_config()["kernels_available"]  # type: ignore[assignment]
    entries: list[Result] = []
    for size in FEW_BATCH_SIZES:
        entries += bench.measure(
            [
                Entry(
                    row("omp_mlp"),
                    alike(size),
                    about={"kernels": name},
                    environment={"OMP_MLP_KERNELS": name},
                )
                for name in names
            ]
        )
    bench.end_processes()
    return {"entries": entries}


def overhead(bench: Bench) -> Result:
    """Measure a call of train_parallel that has almost nothing to do."""
    samples, features = OVERHEAD_SHAPE
    data = random_inputs(samples, features)
    entries = bench.measure(
        [
            Entry(row("omp_mlp"), alike(8), cores, {"threads": cores}, data, calls=OVERHEAD_CALLS)
            for cores in bench.core_counts
        ]
    )
    return {"shape": list(OVERHEAD_SHAPE), "entries": entries}


PARTS: dict[str, Callable[[Bench], Result]] = {
    "speed": speed,
    "accuracy": accuracy,
    "predict": predict,
    "limits": core_limits,
    "memory": memory,
    "dense": dense,
    "optimizers": optimizers,
    "threads": threads,
    "widths": widths,
    "density": density,
    "kernels": kernels,
    "overhead": overhead,
}
