"""The parts of the comparison: each measures one thing and returns what goes into the JSON."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise, product
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np

import omp_mlp

from . import Row, Training, limits, row
from .data import N_CLASSES, random_inputs
from .measure import Bench, Entry, describe, ratio, spread
from .process import PeerError
from .settings import BATCH_SIZES, SETTINGS, TARGETS, alike

Result = dict[str, Any]

QUICK_BATCH_SIZES = (1, 8, 32, 128)
# Where only omp_mlp is compared with itself.
FEW_BATCH_SIZES = (1, 8, 32, 128)
DENSE_BATCH_SIZES = (32, 64, 128, 256)
DENSE_ROWS = ("omp_mlp", "numpy", "numpy-blas")
DENSE_SAMPLES = 20_000
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

# Two replicas on two cores against one on one: how they are merged.
TWO_THREADS = {
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


# --- samples a second ---------------------------------------------------------------------------


def speed(bench: Bench) -> Result:
    """Measure samples a second of all peers in the same training, on one core and on two."""
    entries: list[Result] = []
    ratios: list[Result] = []
    # One core last: its processes are asked again by later parts. Those on two end before, to spare
    # memory: each has its own copy of the data.
    for cores in (1,) if bench.quick else reversed(bench.core_counts):
        for size in _batch_sizes(bench):
            group = bench.measure(
                [
                    Entry(peer, alike(size), cores, {"batch_size": size})
                    for peer in bench.rows_for(cores)
                ]
            )
            _check_accuracy(bench, group, size)
            entries += group
            ratios += _ratios_to_peers(group)
        if cores > 1:
            bench.end_processes()
    return {"entries": entries, "ratios": ratios}


def _ratios_to_peers(group: Sequence[Result]) -> list[Result]:
    """Return the ratios of every row of ours to every peer, all of the same training."""
    return [
        {
            "ours": mine["peer"],
            "peer": other["peer"],
            "cores": mine["cores"],
            "batch_size": mine["batch_size"],
            **ratio(mine["samples_per_second"], other["samples_per_second"]),
        }
        for mine, other in product(group, group)
        if row(mine["peer"]).ours and not row(other["peer"]).ours
    ]


def _check_accuracy(
    bench: Bench, group: Iterable[Result], size: int, data: Mapping[str, Any] | None = None
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
                bench.ask(
                    reference,
                    "train",
                    training=asdict(replace(reference.training, seed=seed)),
                    samples=count,
                )["accuracy"]
                for seed in range(100, 100 + REFERENCE_SEEDS)
            ]
        mean = fmean(expected[count])
        margin = max(AGREEMENT_POINTS, AGREEMENT_DEVIATIONS * stdev(expected[count]))
        result["omp_mlp_accuracy_percent"] = mean
        result["accuracy_margin_points"] = margin
        peer = row(result["peer"])
        comparable = peer.plain and not (peer.ours and result["cores"] > 1)
        result["accuracy_agrees"] = (
            abs(result["accuracy_percent"] - mean) <= margin if comparable else None
        )


# --- time to an accuracy ------------------------------------------------------------------------


def accuracy(bench: Bench) -> Result:
    """Measure seconds of training to a wanted test accuracy, with each peer's best settings."""
    runs: list[tuple[Row, float, Training]] = [
        (peer, target, SETTINGS[peer.name][target])
        for target in (TARGETS[:1] if bench.quick else TARGETS)
        for peer in bench.rows
        if target in SETTINGS.get(peer.name, {})
    ]
    ready = {}
    for number, (peer, target, setting) in enumerate(runs):
        bench.announce(f"time to {target} %, {peer.label}")
        try:
            # With all samples, for those who compile for their number.
            warm_up = asdict(replace(setting, epochs=1))
            bench.ask(Entry(peer, setting), "train", training=warm_up, score=False)
        except PeerError as error:
            bench.failures.append(str(error))
        else:
            ready[number] = _training_turn(bench, runs[number])
    replies = bench.take_turns(ready, bench.seeds)
    entries = []
    for number, trained in replies.items():
        peer, target, setting = runs[number]
        scores = [reply["accuracy"] for reply in trained]
        entries.append(
            {
                "peer": peer.name,
                "target_percent": target,
                "setting": describe(setting),
                "samples": trained[0]["samples"],
                "seconds": spread([reply["seconds"] for reply in trained]),
                "accuracy_percent": {
                    "mean": fmean(scores),
                    "sd": stdev(scores) if len(scores) > 1 else None,
                    "runs": scores,
                },
                "reached": fmean(scores) >= target,
                "processor_share": median(r["cpu_seconds"] / r["seconds"] for r in trained),
            }
        )
    return {"seeds": list(range(bench.seeds)), "entries": entries}


def _training_turn(
    bench: Bench, run: tuple[Row, float, Training]
) -> Callable[[int], Mapping[str, Any]]:
    peer, target, setting = run

    def train(seed: int) -> Mapping[str, Any]:
        bench.announce(f"time to {target} %, seed {seed}, {peer.label}")
        training = asdict(replace(setting, seed=seed))
        return bench.ask(Entry(peer, setting), "train", training=training)

    return train


# --- predicting ---------------------------------------------------------------------------------


def predict(bench: Bench) -> Result:
    """Measure rows a second of each peer's own predict."""
    turn = bench.turn / 5
    entries: list[Result] = []
    ratios: list[Result] = []
    trained = min(bench.n_samples, 5_000)
    for cores, rows in product((1,) if bench.quick else bench.core_counts, PREDICTED_ROWS):
        if cores > 1 and rows == PREDICTED_ROWS[0]:
            bench.end_processes()
        turns = {}
        # Our options are about training.
        peers = [peer for peer in bench.rows_for(cores) if not (peer.ours and peer.options)]
        for number, peer in enumerate(peers):
            bench.announce(f"predicting {rows} rows, {peer.label}")
            entry = Entry(peer, alike(128), cores)
            try:
                training = asdict(entry.training)
                bench.ask(entry, "train", training=training, samples=trained, score=False)
                bench.ask(entry, "predict", rows=rows, calls=1)
                seconds = bench.ask(entry, "predict", rows=rows, calls=3)["seconds"]
            except PeerError as error:
                bench.failures.append(str(error))
                continue
            turns[number] = _predicting_turn(bench, entry, rows, max(1, round(turn / seconds)))
        group: list[Result] = []
        for number, replies in bench.take_turns(turns).items():
            seconds_a_call = [reply["seconds"] for reply in replies]
            group.append(
                {
                    "peer": peers[number].name,
                    "cores": cores,
                    "rows": rows,
                    "seconds": spread(seconds_a_call),
                    "rows_per_second": spread([rows / s for s in seconds_a_call]),
                }
            )
        entries += group
        ratios += [
            {
                "ours": mine["peer"],
                "peer": other["peer"],
                "cores": cores,
                "rows": rows,
                **ratio(mine["rows_per_second"], other["rows_per_second"]),
            }
            for mine, other in product(group, group)
            if row(mine["peer"]).ours and not row(other["peer"]).ours
        ]
    bench.end_processes()
    return {"entries": entries, "ratios": ratios}


def _predicting_turn(
    bench: Bench, entry: Entry, rows: int, calls: int
) -> Callable[[int], Mapping[str, Any]]:
    return lambda _: bench.ask(entry, "predict", rows=rows, calls=calls)


# --- memory -------------------------------------------------------------------------------------


def memory(bench: Bench) -> Result:
    """Measure how far training raises the peak of resident memory, each time in a fresh process."""
    training = alike(128)
    weights = 4 * (FEATURES * HIDDEN + HIDDEN + HIDDEN * N_CLASSES + N_CLASSES)
    entries = []
    for cores in bench.core_counts:
        # A second core is of interest where it means a second replica.
        peers = [peer for peer in bench.rows_for(cores) if cores == 1 or peer.ours]

        def turn(entry: Entry) -> Callable[[int], Mapping[str, Any]]:
            def ask(_: int) -> Mapping[str, Any]:
                with bench.start(entry) as process:
                    return process.ask("memory", training=asdict(entry.training))

            return ask

        turns = {k: turn(Entry(peer, training, cores)) for k, peer in enumerate(peers)}
        for number, replies in bench.take_turns(turns, 1 if bench.quick else 3).items():
            entries.append(
                {
                    "peer": peers[number].name,
                    "cores": cores,
                    "batch_size": training.batch_size,
                    "before_bytes": spread([reply["before_bytes"] for reply in replies]),
                    "growth_bytes": spread([reply["growth_bytes"] for reply in replies]),
                    "weights_bytes": weights,
                }
            )
    return {"entries": entries}


# --- limits -------------------------------------------------------------------------------------


def core_limits(bench: Bench) -> Result:
    """Measure limits of the core and how near omp_mlp comes to them, in the same turns."""
    with tempfile.TemporaryDirectory() as folder:
        program = limits.build(Path(folder))
        if isinstance(program, str):
            return {"skipped": program}
        measured: list[Mapping[str, float | None]] = []

        def before_round() -> None:
            measured.append(limits.measure(program, bench.cores[-1]))

        sizes = _batch_sizes(bench)
        images = [
            Entry(peer, alike(size), about={"inputs": "images"})
            for peer in bench.rows_for(1)
            if peer.ours and peer.plain
            for size in sizes
        ]
        dense = [
            Entry(
                row("omp_mlp"),
                alike(size),
                about={"inputs": "dense random"},
                data=random_inputs(DENSE_SAMPLES, FEATURES),
            )
            for size in sizes
            if size in DENSE_BATCH_SIZES
        ]
        entries = bench.measure([*images, *dense], score=False, before_round=before_round)

    found = limits.summarised(measured)
    middle = {key: runs and runs["median"] for key, runs in found.items()}
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
            vector_bytes=int(measured[0]["vector_bits"] or 0) // 8,
            forward_bytes=2 if "forward_precision" in row(entry["peer"]).options else 4,
        )
        entry["work_a_sample"] = asdict(work)
        rate = entry["samples_per_second"]["median"]
        entry |= limits.distance(rate, work, middle, dense=is_dense)
    return {
        "limits": found,
        "images": counts,
        "entries": entries,
    }


# --- omp_mlp and its own choices ----------------------------------------------------------------


def dense(bench: Bench) -> Result:
    """Compare omp_mlp with matrix products on dense random inputs of the images' shape."""
    data = random_inputs(DENSE_SAMPLES, FEATURES)
    entries: list[Result] = []
    ratios: list[Result] = []
    for size in DENSE_BATCH_SIZES:
        group = bench.measure(
            [
                Entry(peer, alike(size), 1, {"batch_size": size}, data)
                for peer in bench.named(*DENSE_ROWS)
            ]
        )
        _check_accuracy(bench, group, size, data)
        entries += group
        ratios += _ratios_to_peers(group)
    return {"entries": entries, "ratios": ratios}


def threads(bench: Bench) -> Result:
    """Compare two replicas on two cores with one on one."""
    if len(bench.cores) < 2:
        return {"skipped": "this process may use one core only"}
    one = row("omp_mlp")
    entries: list[Result] = []
    ratios: list[Result] = []
    for size in FEW_BATCH_SIZES:
        group = bench.measure(
            [
                Entry(one, alike(size), 1, {"merging": "none"}),
                *(
                    Entry(one, alike(size, options=options), 2, {"merging": merging})
                    for merging, options in TWO_THREADS.items()
                ),
            ]
        )
        entries += group
        ratios += [
            {
                "batch_size": size,
                "merging": two["merging"],
                **ratio(two["samples_per_second"], group[0]["samples_per_second"]),
            }
            for two in group[1:]
        ]
    return {"entries": entries, "ratios": ratios}


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
        hidden = entry["hidden"]
        entry["weights"] = FEATURES * hidden + hidden * N_CLASSES
    return {"entries": entries}


def density(bench: Bench) -> Result:
    """Compare lists of nonzeros with dense loops in the first layer, over the nonzeros' share."""
    entries: list[Result] = []
    ratios: list[Result] = []
    for share in QUICK_DENSITIES if bench.quick else DENSITIES:
        data = random_inputs(DENSITY_SAMPLES, FEATURES, share)
        wanted = [
            Entry(
                row("omp_mlp"),
                alike(size, options={"first_layer": layer}),
                about={"density": share, "first_layer": layer},
                data=data,
            )
            for size in FEW_BATCH_SIZES
            for layer in ("sparse", "dense", "auto")
        ]
        group = bench.measure(wanted, turn=bench.turn / 8, score=False)
        entries += group
        for size in FEW_BATCH_SIZES:
            found = {
                entry["first_layer"]: entry["samples_per_second"]
                for entry in group
                if entry["batch_size"] == size
            }
            if {"sparse", "dense"} <= found.keys():
                ratios.append(
                    {
                        "density": share,
                        "batch_size": size,
                        **ratio(found["sparse"], found["dense"]),
                    }
                )
        bench.end_processes()
    return {
        "entries": entries,
        "sparse_to_dense": ratios,
        "crossovers": {str(size): crossover(ratios, size) for size in FEW_BATCH_SIZES},
    }


def crossover(ratios: Iterable[Mapping[str, Any]], batch_size: int) -> float | None:
    """Return the density at which dense loops become the faster, None if lists always are.

    Between two densities that were measured, where the straight line between them passes 1.
    """
    points = sorted(
        (entry["density"], entry["of_medians"])
        for entry in ratios
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
    "threads": threads,
    "widths": widths,
    "density": density,
    "kernels": kernels,
    "overhead": overhead,
}
