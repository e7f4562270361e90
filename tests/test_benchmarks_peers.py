"""benchmarks/peers: the script behind `make benchmark`, what it writes, and how it judges.

A small run on few digits with the peers that need nothing but NumPy and SciPy.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import omp_mlp
from benchmarks.common import documents, files
from benchmarks.common.process import Process, ProcessError
from benchmarks.common.timing import ratios, summarise
from benchmarks.peers import ROWS, Row, Training, judge, limits, parts, row, settings, tables, tune
from benchmarks.peers import __main__ as script
from benchmarks.peers.bench import Bench, Entry
from benchmarks.peers.data import first_weights, load, random_inputs, save_images
from benchmarks.peers.libraries.numpy_blas import Peer as NumpyPeer
from omp_mlp import datasets
from peers_alike import trained_alike

LIMIT = 400
ROUNDS = 2
NUMPY_ROWS = {"numpy", "numpy-blas"}
ONE_CORE_ROWS = {"omp_mlp", "omp_mlp-bytes", "omp_mlp-csr", "omp_mlp-bf16", "omp_mlp-skip"}
OUR_ROWS = ONE_CORE_ROWS | {"omp_mlp-periodic"}
# What scheduling grants to this process decides whether there is anything on two cores.
TWO_CORES = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) >= 2
# Fewer cases than a quick run has.
SIZES, WIDTHS, SHARES = (8, 32), (1, 129), (0.1, 1.0)


def run(out: Path, *arguments: str) -> dict[str, Any]:
    return script.main(
        [
            *("--data", "digits", "--limit", str(LIMIT), "--quick", "--rounds", str(ROUNDS)),
            *("--peers", "numpy", "numpy-blas", "--out", str(out), *arguments),
        ]
    )


@pytest.fixture(scope="module")
def small_run(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    """A run of all parts on 400 digits, and what its JSON file holds."""
    out = tmp_path_factory.mktemp("results") / "made by the script"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "QUICK_BATCH_SIZES", SIZES)
        patched.setattr(parts, "FEW_BATCH_SIZES", SIZES)
        patched.setattr(parts, "DENSE_BATCH_SIZES", (32,))
        patched.setattr(parts, "WIDTHS", WIDTHS)
        patched.setattr(parts, "QUICK_DENSITIES", SHARES)
        patched.setattr(parts, "OVERHEAD_CALLS", 3)
        patched.setattr(parts, "LIMITS_RUNS", 1)
        returned = run(out)
    written = files.read_json(out / "peers-augmented-digits.json")
    assert written == returned
    return out, written


# ---- the files ----


def test_json_says_what_was_run_and_names_no_folder(
    small_run: tuple[Path, dict[str, Any]],
) -> None:
    out, results = small_run
    options = results["options"]
    assert (options["rounds"], options["limit"], options["quick"]) == (ROUNDS, LIMIT, True)
    assert results["failures"] == []
    assert results["peers"].keys() == OUR_ROWS | NUMPY_ROWS
    assert results["peers"]["numpy"]["version"] == np.__version__
    assert results["peers"]["omp_mlp-bytes"]["given"] == "bytes"
    pools = results["peers"]["numpy"]["thread_pools"]["1"]
    assert all(pool.endswith(" 1 thread(s)") for pool in pools)
    assert results["data"]["training_samples"] == LIMIT
    assert list(results["pieces"]) == list(parts.PARTS)
    text = (out / "peers-augmented-digits.json").read_text()
    assert str(out) not in text
    assert str(files.PROJECT_ROOT) not in text
    drawn = {"speed", "accuracy", "widths", "density"}
    assert {path.name for path in out.iterdir()} == {
        "peers-augmented-digits.json",
        *(f"peers-{part}-augmented-digits.png" for part in drawn),
    }


def test_the_page_gets_a_table_for_each_of_its_blocks(
    small_run: tuple[Path, dict[str, Any]],
) -> None:
    _, results = small_run
    page = (files.DOCS / "benchmarks.md").read_text()
    filled = documents.filled(
        page, script.COMMAND, {**tables.blocks(results), "machine": "-"}, results
    )
    blocks = {block.name: block.text for block in documents.blocks_of(filled)}
    for floor in results["floors"]:
        assert floor["floor"] in blocks["floors"]
    [entry] = [
        entry
        for entry in results["pieces"]["speed"]["entries"]
        if (entry["peer"], entry["batch_size"]) == ("numpy", SIZES[0])
    ]
    lines = blocks["speed"].splitlines()
    [line] = [line for line in lines if line.startswith("NumPy  ")][:1]
    assert line.split()[1] == tables._k(entry["samples_per_second"]["median"])


def test_the_json_beside_the_page_has_tables_and_medians(
    small_run: tuple[Path, dict[str, Any]],
) -> None:
    _, results = small_run
    blocks = tables.blocks(results)
    page = script.for_page(results, blocks)
    assert page["tables"] == blocks
    assert page["floors"] == results["floors"]
    for name, part in page["pieces"].items():
        expected = [entry["ratio"]["median"] for entry in results["pieces"][name]["ratios"]]
        assert [entry["ratio"] for entry in part] == expected
    assert {"speed", "dense", "predict"} <= page["pieces"].keys()


# ---- the numbers ----


def test_speed_has_every_peer_at_every_batch_size(small_run: tuple[Path, dict[str, Any]]) -> None:
    speed = small_run[1]["pieces"]["speed"]
    runs = {
        (entry["peer"], entry["batch_size"]): entry["samples_per_second"]["runs"]
        for entry in speed["entries"]
    }
    assert set(runs) == {(peer, size) for peer in NUMPY_ROWS | ONE_CORE_ROWS for size in SIZES}
    for entry in speed["entries"]:
        assert entry["learning_rate"] == settings.LEARNING_RATES[entry["batch_size"]]
        assert 0 < entry["samples"] <= LIMIT
        rates = entry["samples_per_second"]["runs"]
        np.testing.assert_allclose(rates, entry["samples"] / np.array(entry["seconds"]["runs"]))
        # The same training: an accuracy like omp_mlp's after the same samples.
        assert entry["accuracy_agrees"] is (None if entry["peer"] == "omp_mlp-skip" else True)
    assert len(speed["ratios"]) == len(ONE_CORE_ROWS) * len(NUMPY_ROWS) * len(SIZES)
    for entry in speed["ratios"]:
        ours = runs[entry["ours"], entry["batch_size"]]
        theirs = runs[entry["peer"], entry["batch_size"]]
        np.testing.assert_allclose(entry["ratio"]["runs"], np.divide(ours, theirs))


def test_predict_and_memory_have_every_peer(small_run: tuple[Path, dict[str, Any]]) -> None:
    pieces = small_run[1]["pieces"]
    assert {(entry["peer"], entry["rows"]) for entry in pieces["predict"]["entries"]} == {
        (peer, rows)
        for peer in NUMPY_ROWS | {"omp_mlp", "omp_mlp-bytes", "omp_mlp-csr"}
        for rows in (1, 100, 10_000)
    }
    one_core = {entry["peer"] for entry in pieces["memory"]["entries"] if entry["cores"] == 1}
    assert one_core == NUMPY_ROWS | ONE_CORE_ROWS
    for entry in pieces["memory"]["entries"]:
        assert entry["weights_bytes"] == 4 * (784 * 128 + 128 + 128 * 10 + 10)
        # An interpreter with NumPy is larger than this.
        assert entry["before_bytes"]["median"] > 10e6
        assert 0 <= entry["growth_bytes"]["median"] < 500e6


def test_limits_are_known_or_said_to_be_unknown(small_run: tuple[Path, dict[str, Any]]) -> None:
    """What the core can do, and whether it was disturbed, is not for a test to say."""
    part = small_run[1]["pieces"]["limits"]
    if "skipped" in part:
        assert "compile" in part["skipped"]
        return
    found = {name: value and value["median"] for name, value in part["limits"].items()}
    assert found.keys() == {"vector_bits", "cycles_per_second", *limits.VECTORS_A_CYCLE}
    assert found["vector_bits"] in (128, 256, 512)
    cycles = found["cycles_per_second"]
    assert cycles is None or limits.CLOCKS[0] <= cycles <= limits.CLOCKS[1]
    images = [entry for entry in part["entries"] if entry["inputs"] == "images"]
    assert {entry["batch_size"] for entry in images} == set(SIZES)
    for entry in part["entries"]:
        rate = entry["samples_per_second"]["median"]
        assert entry["gflops_dense_equivalent"] == pytest.approx(rate * 409_088 / 1e9)
        if entry["tightest_bound"] is None:
            assert entry["percent_of_bound"] is None
        else:
            bound = entry["bounds_samples_per_second"][entry["tightest_bound"]]
            assert entry["percent_of_bound"] == pytest.approx(100 * rate / bound)


def test_parts_about_omp_mlp_have_all_their_rows(small_run: tuple[Path, dict[str, Any]]) -> None:
    pieces = small_run[1]["pieces"]
    assert {e["hidden"] for e in pieces["widths"]["entries"]} == set(WIDTHS)
    for entry in pieces["widths"]["entries"]:
        assert entry["weights"] == entry["hidden"] * (784 + 10)
    assert {
        (e["density"], e["batch_size"], e["first_layer"]) for e in pieces["density"]["entries"]
    } == {
        (share, size, layer)
        for share in SHARES
        for size in SIZES
        for layer in ("sparse", "dense", "auto")
    }
    available = set(omp_mlp.build_config()["kernels_available"])  # type: ignore[call-overload]
    kernels = {(e["kernels"], e["batch_size"]) for e in pieces["kernels"]["entries"]}
    assert kernels == {(name, size) for name in available for size in SIZES}
    assert {e["peer"] for e in pieces["dense"]["entries"]} == NUMPY_ROWS | {"omp_mlp"}
    for entry in pieces["dense"]["entries"]:
        assert entry["accuracy_agrees"] is True
    solvers = {(e["peer"], e["batch_size"], e["solver"]) for e in pieces["optimizers"]["entries"]}
    assert solvers == {
        (peer, size, solver)
        for peer in ("omp_mlp", "omp_mlp-bytes")
        for size in parts.QUICK_OPTIMIZER_BATCH_SIZES
        for solver in ("sgd", "momentum", "adam")
    }
    assert pieces["overhead"]["entries"][0]["threads"] == 1
    if TWO_CORES:
        merging = {e["merging"] for e in pieces["threads"]["entries"]}
        assert merging == {"none", *parts.TWO_THREADS}
    else:
        assert "skipped" in pieces["threads"]


def test_every_floor_has_a_verdict(small_run: tuple[Path, dict[str, Any]]) -> None:
    judged = {floor["floor"]: floor for floor in small_run[1]["floors"]}
    assert len(judged) == len(judge.FLOORS)
    for floor in judged.values():
        assert (floor["measured"] is None) == (floor["verdict"] == "not measured")
    assert judged["B = 8: the best Python peer"]["verdict"] in {"met", "not met"}
    # Nothing to compare with was there.
    assert judged["B = 1: PyTorch nn"]["verdict"] == "not measured"


def test_another_training_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Only an accuracy that differs by less than nothing would agree.
    monkeypatch.setattr(parts, "AGREEMENT_POINTS", -1.0)
    monkeypatch.setattr(parts, "AGREEMENT_DEVIATIONS", -1.0)
    monkeypatch.setattr(parts, "QUICK_BATCH_SIZES", (8,))
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, "--only", "speed")
    assert stopped.value.code == 1
    printed = capsys.readouterr().out
    assert "Not the same training" in printed
    assert "NumPy, speed, B = 8, 1 core(s)" in printed


def test_who_fails_is_left_out_and_named() -> None:
    bench = _bench()

    def turn(key: str, number: int) -> dict[str, Any]:
        if key == "b" and number == 1:
            raise ProcessError("b: gone")
        return {"key": key, "number": number}

    replies = bench.take_turns(["a", "b"], turn)
    assert replies == {"a": [{"key": "a", "number": number} for number in range(3)]}
    assert bench.failures == ["b: gone"]


# ---- the peers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"blas": True}])
@pytest.mark.parametrize("samples", [1, 5])
def test_gradients_by_hand_are_those_of_omp_mlp(options: dict[str, bool], samples: int) -> None:
    """With one batch an epoch the order of the samples does not matter."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((samples, 30)).astype(np.float32)
    # omp_mlp learns the classes from y, so all have to be there.
    y = np.arange(samples)
    start = [
        (W[:, :fan_out], b[:fan_out])
        for (W, b), fan_out in zip(first_weights(30, 17), (17, samples), strict=True)
    ]
    training = Training(samples, 0.3, epochs=4, schedule="linear", hidden=17)
    trained, expected = trained_alike(NumpyPeer(1, options), training, X, y, start)
    assert samples == 1 or np.abs(trained[0][0] - start[0][0]).max() > 0.01
    np.testing.assert_array_equal(NumpyPeer(1, options).predict(trained, X), expected.predict(X))


def test_learning_rates_are_those_of_omp_mlp() -> None:
    rates = Training(4, 0.5, epochs=2, schedule="linear").rates(10)
    # Batches of 4, 4 and 2 samples; the rate is that of a batch's first sample.
    expected = 0.5 * (1 - np.array([[0, 4, 8], [10, 14, 18]]) / 20)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert Training(4, 0.5, epochs=2).rates(10).tolist() == [[0.5] * 3] * 2
    with pytest.raises(ValueError, match="invscaling"):
        Training(4, 0.5, schedule="invscaling").rates(10)
    with pytest.raises(ValueError, match="adam"):
        Training(4, 0.5, solver="adam").only("sgd")


def test_all_forms_hold_the_same_numbers(tmp_path: Path) -> None:
    arrays = datasets.load_augmented_digits(20, 5, dtype="uint8", seed=0)
    images = save_images(tmp_path, *arrays)
    dense = load(images, "float32").X
    assert dense.dtype == np.float32
    assert dense.ctypes.data % 64 == 0
    expected = datasets.load_augmented_digits(20, 5, dtype="float32", seed=0)[0]
    np.testing.assert_array_equal(dense, expected)
    np.testing.assert_array_equal(load(images, "bytes").X, arrays[0])
    np.testing.assert_array_equal(load(images, "csr").X.toarray(), dense)
    with pytest.raises(ValueError, match="no bytes"):
        load(random_inputs(5, 3), "bytes")


def test_random_inputs_have_the_density_asked_for() -> None:
    for density in (0.1, 1.0):
        data = load(random_inputs(500, 200, density), "float32")
        assert data.X.shape == (500, 200)
        assert np.mean(data.X != 0) == pytest.approx(density, abs=0.01)
        assert np.mean(np.sum(data.X**2, axis=1)) == pytest.approx(88, rel=0.05)
    again = load(random_inputs(500, 200), "float32")
    np.testing.assert_array_equal(again.X, data.X)


def _bench(**fields: Any) -> Bench:
    usual = {"rounds": 3, "seeds": 1, "turn": 0.01, "max_samples": 50, "quick": True}
    return Bench(
        **{"rows": [], "images": random_inputs(50, 20), "n_samples": 50, **usual, **fields},
        say=lambda _: None,
        cores=[_one_core()],
    )


def _start(peer: Row) -> Process:
    return _bench().start(Entry(peer, Training(8, 0.1)))


def test_a_process_reports_errors_and_goes_on() -> None:
    task = asdict(Training(8, 0.1))
    with closing(_start(row("numpy"))) as process:
        assert process.about["version"] == np.__version__
        with pytest.raises(ProcessError, match=r"NumPy: ValueError: no solver .* adam"):
            process.ask("train", training={**task, "solver": "adam"})
        reply = process.ask("train", training=task, samples=40)
        assert reply["samples"] == 40
        assert reply["seconds"] > 0


def test_a_process_that_ends_is_an_error() -> None:
    with pytest.raises(ProcessError, match="ModuleNotFoundError"):
        _start(Row("x", "X", "not_there", "numpy"))
    with closing(_start(row("numpy"))) as process:
        process._process.kill()
        process._process.wait()
        with pytest.raises(ProcessError, match="NumPy: the process ended"):
            process.ask("train", training=asdict(Training(8, 0.1)))


def test_a_process_that_does_not_reply_is_ended() -> None:
    with pytest.raises(ProcessError, match=r'^X: no reply to "open" within 0\.2 s$'):
        Process("X", [sys.executable, "-c", "import time; time.sleep(600)"], patience=0.2)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_processes_keep_to_their_cores_and_threads() -> None:
    with closing(_start(row("numpy"))) as process:
        assert os.sched_getaffinity(process.pid) == {_one_core()}
        pools = process.about["thread_pools"]
        assert pools
        assert all(pool.endswith(" 1 thread(s)") for pool in pools)


def _one_core() -> int:
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


# ---- counting and judging -----------------------------------------------------------------------


def test_work_of_a_dense_sample_is_409_kflop() -> None:
    shape: dict[str, Any] = {"features": 784, "hidden": 128, "outputs": 10, "vector_bytes": 64}
    work = limits.count_work(784, 784, 32, **shape)
    assert work.dense_flop == work.flop == 409_088
    sparse = limits.count_work(150, 450, 32, **shape)
    assert sparse.dense_flop == 409_088
    assert sparse.flop == 4 * 150 * 128 + 7_680
    assert sparse.read_bytes == 150 * 512
    assert sparse.update_bytes == 450 / 32 * 512
    assert sparse.loads == 2 * 150 * 9


def test_distance_from_bounds() -> None:
    measured = {
        "flop_per_second": 100e9,
        "w1_read_bytes_per_second": 100e9,
        "w1_update_bytes_per_second": 50e9,
        "l1_read_bytes_per_second": 200e9,
        "cycles_per_second": 4e9,
        "vector_bits": 512,
    }
    work = limits.Work(400e3, 80e3, 80e3, 10e3, 2_500)
    bounds = limits.bounds(work, measured)
    assert bounds == pytest.approx(
        {"dense_fma": 250e3, "fma": 1.25e6, "weights_from_l2": 1e6, "loads_from_l1": 1.25e6}
    )
    near = limits.distance(500e3, work, measured, dense=False)
    assert near["tightest_bound"] == "weights_from_l2"
    assert near["percent_of_bound"] == pytest.approx(50)
    assert near["percent_of_peak_dense_equivalent"] == pytest.approx(200)
    assert near["gflops_done"] == pytest.approx(40)
    # 80 kB read, 10 kB read and written.
    assert near["weight_bytes_a_cycle"] == pytest.approx(500e3 * 100e3 / 4e9)
    assert limits.distance(125e3, work, measured, dense=True)["percent_of_bound"] == 50


# What limits.cpp prints on a core of 3.6 GHz that does a multiply-add of 64 bytes a cycle.
MEASURED = {
    "vector_bits": 512,
    "additions_per_second": 3.60e9,
    "rotations_per_second": 3.59e9,
    "flop_per_second": 115e9,
    "l1_read_bytes_per_second": 215e9,
    "w1_read_bytes_per_second": 115e9,
    "w1_update_bytes_per_second": 97e9,
}


def test_limits_that_a_core_can_have_are_believed() -> None:
    expected = {k: v for k, v in MEASURED.items() if not k.startswith(("additions", "rotations"))}
    assert limits.plausible(MEASURED) == {"cycles_per_second": 3.60e9, **expected}


@pytest.mark.parametrize(
    "chains",
    [
        (13.7e9, 3.6e9),  # one chain shortened, as that of constants on Golden Cove
        (13.7e9, 13.7e9),  # both: no core has that clock
        (3.6e9, 3.3e9),  # other work had the core while one was measured
        (0.1e9, 0.1e9),
    ],
)
def test_without_a_clock_nothing_is_believed(chains: tuple[float, float]) -> None:
    names = ("additions_per_second", "rotations_per_second")
    found = limits.plausible({**MEASURED, **dict(zip(names, chains, strict=True))})
    assert found.pop("vector_bits") == 512
    assert set(found.values()) == {None}


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("flop_per_second", 3.6e9 * 2 * 16 * 4.1),
        ("flop_per_second", 3.6e9 * 2 * 16 * 0.19),
        ("l1_read_bytes_per_second", 3.6e9 * 64 * 4.1),
        ("w1_read_bytes_per_second", 3.6e9 * 64 * 0.01),
        ("w1_update_bytes_per_second", 3.6e9 * 64 * 2.1),
    ],
)
def test_what_no_core_can_do_is_unknown_and_what_rests_on_it(name: str, rate: float) -> None:
    found = limits.plausible({**MEASURED, name: rate})
    assert [key for key, value in found.items() if value is None] == [name]
    work = limits.Work(400e3, 80e3, 80e3, 10e3, 2_500)
    near = limits.distance(500e3, work, found, dense=False)
    assert near["gflops_done"] == pytest.approx(40)
    assert near["weight_bytes_a_cycle"] == pytest.approx(500e3 * 100e3 / 3.6e9)
    assert (near["tightest_bound"], near["percent_of_bound"]) == (None, None)
    unknown = {
        "flop_per_second": {"dense_fma", "fma"},
        "l1_read_bytes_per_second": {"loads_from_l1"},
    }.get(name, {"weights_from_l2"})
    bounds = near["bounds_samples_per_second"]
    assert {kind for kind, bound in bounds.items() if bound is None} == unknown
    assert (near["percent_of_peak_done"] is None) == (name == "flop_per_second")


def test_a_limit_is_unknown_where_most_of_its_runs_are() -> None:
    runs = [{"a": 1.0, "b": None}, {"a": None, "b": None}, {"a": 3.0, "b": 4.0}]
    assert limits.summarised(runs) == {"a": summarise([1.0, 3.0]), "b": None}


def test_unknown_limits_are_said_to_be_unknown_in_tables_and_floors() -> None:
    found = limits.plausible({**MEASURED, "additions_per_second": 13.7e9})
    work = limits.Work(400e3, 80e3, 80e3, 10e3, 2_500)
    rates = summarise([500e3])
    part = {
        "limits": {key: value and summarise([value]) for key, value in found.items()},
        "entries": [
            {
                "peer": "omp_mlp",
                "inputs": "images",
                "batch_size": 8,
                "samples_per_second": rates,
                **limits.distance(500e3, work, found, dense=False),
            }
        ],
    }
    text = "\n".join(tables._limits(part))
    assert "The core: unknown GHz, unknown GFLOP/s; bytes a cycle: unknown from L1" in text
    [row_of_table] = [line for line in text.splitlines() if line.startswith("omp_mlp")]
    words = row_of_table.split()
    assert words[1:] == ["images", "8", "500k", "200", "unknown", "40.0", *["unknown"] * 5]
    judged = {floor["floor"]: floor for floor in judge.judge({"limits": part})}
    assert judged["B = 8: what the dense FMA peak allows"]["verdict"] == "not measured"


def test_nonzeros_of_batches() -> None:
    X = np.zeros((6, 4), np.uint8)
    X[:, 0] = 1
    X[::2, 1] = 7
    counts = limits.nonzero_statistics(X, (1, 6))
    assert counts["nonzeros_a_sample"] == 1.5
    assert counts["rows_a_batch"] == {1: 1.5, 6: 2.0}


def test_a_missing_compiler_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert limits.build(tmp_path) == (
        "no C++ compiler was found (c++, g++, clang++, or what CXX names)"
    )


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(0.1, 3.0), (0.4, 1.5), (0.6, 0.5)], 0.5),
        ([(0.1, 3.0), (0.6, 1.5)], None),
        ([(0.1, 0.9), (0.6, 0.5)], 0.1),
        ([], None),
    ],
)
def test_crossover(points: list[tuple[float, float]], expected: float | None) -> None:
    measured = [
        {"density": d, "batch_size": 8, "ratio": {"median": r}} for d, r in reversed(points)
    ]
    other = {"density": 0.2, "batch_size": 1, "ratio": {"median": 0.1}}
    found = parts.crossover([*measured, other], 8)
    assert found == (None if expected is None else pytest.approx(expected))


def _speed_ratio(ours: str, peer: str, size: int, *paired: float) -> dict[str, Any]:
    key = {"ours": ours, "peer": peer, "cores": 1, "batch_size": size}
    return {**key, "ratio": ratios(paired, [1.0] * len(paired))}


def test_floors_are_judged_against_the_best_peer() -> None:
    found = [
        _speed_ratio("omp_mlp", "jax", 1, 6.9, 7.1, 7.2),
        _speed_ratio("omp_mlp", "numpy", 1, 30, 30, 30),
        _speed_ratio("omp_mlp", "torch-nn", 1, 90, 99, 120),
        _speed_ratio("omp_mlp-bytes", "jax", 1, 8, 8, 8),
        _speed_ratio("omp_mlp-bf16", "jax", 32, 6.1, 6.1, 6.1),
        _speed_ratio("omp_mlp", "jax", 8, 4.9, 4.99, 5.1),
    ]
    judged = {floor["floor"]: floor for floor in judge.judge({"speed": {"ratios": found}})}
    best = judged["B = 1: the best Python peer"]
    assert (best["verdict"], best["against"]) == ("met", row("jax").label)
    assert (best["measured"], best["low"], best["high"]) == (7.1, 6.9, 7.2)
    assert best["others"] == {"omp_mlp-bytes": 8}
    assert judged["B = 1: PyTorch nn"]["verdict"] == "not met"
    assert judged["B = 8: the best Python peer"]["verdict"] == "not met"
    assert judged["B = 32: the best Python peer"]["verdict"] == "not measured"
    assert judged["B = 32, bfloat16 copy: the best Python peer"]["verdict"] == "met"


def _time_entry(peer: str, seconds: list[float], *, reached: bool = True) -> dict[str, Any]:
    accuracy = {"mean": 98.05 if reached else 97.9}
    return {
        "peer": peer,
        "target_percent": 98.0,
        "seconds": summarise(seconds),
        "reached": reached,
        "accuracy_percent": accuracy,
    }


def test_optimizers_are_judged_against_pytorch_and_plain_descent() -> None:
    def ratio(**about: object) -> dict[str, Any]:
        value = about.pop("ratio")
        return {**about, "ratio": summarise([value] * 3)}

    part = {
        "ratios": [
            ratio(ours="omp_mlp", peer=peer, solver="adam", batch_size=size, ratio=value)
            for peer, size, value in (
                ("torch-nn", 32, 4.5), ("sklearn", 32, 1.5), ("torch-nn", 128, 3.5),
            )
        ],
        "plain_ratios": [
            ratio(peer=peer, solver="adam", batch_size=size, ratio=value)
            for peer, size, value in (
                ("omp_mlp", 32, 0.4), ("omp_mlp", 128, 0.8), ("omp_mlp-bytes", 32, 0.6),
            )
        ],
    }  # fmt: skip
    judged = {floor["floor"]: floor for floor in judge.judge({"optimizers": part})}
    assert judged["Adam, B = 32: PyTorch's"]["verdict"] == "met"
    assert judged["Adam, B = 32: PyTorch's"]["measured"] == 4.5
    assert judged["Adam, B = 128: PyTorch's"]["verdict"] == "not met"
    assert judged["Adam, B = 256: PyTorch's"]["verdict"] == "not measured"
    own = judged["Adam: our own plain descent"]
    assert (own["verdict"], own["measured"]) == ("not met", 0.4)
    assert own["others"] == {"omp_mlp-bytes": 0.6}
    assert own["against"] == "plain descent, B = 32"


def _time_floor(*entries: dict[str, Any]) -> dict[str, Any]:
    judged = judge.judge({"accuracy": {"entries": list(entries)}})
    return next(floor for floor in judged if floor["floor"].startswith("time to 98"))


def test_time_to_accuracy_is_judged_against_the_faster_pytorch() -> None:
    ours = _time_entry("omp_mlp", [0.3, 0.3, 0.3])
    slow, fast = _time_entry("torch-nn", [4, 4, 4]), _time_entry("torch-manual", [2.9, 3.1, 3.3])
    floor = _time_floor(ours, slow, fast)
    assert floor["verdict"] == "met"
    assert floor["measured"] == pytest.approx(3.1 / 0.3)
    # One that missed 98 % does not count as the faster one.
    missed = _time_entry("torch-manual", [1, 1, 1], reached=False)
    assert _time_floor(ours, slow, missed)["measured"] == pytest.approx(4 / 0.3)
    assert (
        _time_floor(_time_entry("omp_mlp", [0.1] * 3, reached=False), slow)["verdict"] == "not met"
    )
    assert _time_floor(ours)["verdict"] == "not measured"


def test_memory_is_judged_by_what_it_may_use() -> None:
    def floor(growth: float, cores: int) -> str:
        entry = {
            "peer": "omp_mlp",
            "cores": cores,
            "growth_bytes": summarise([growth]),
            "weights_bytes": 1e6,
        }
        judged = judge.judge({"memory": {"entries": [entry]}})
        verdict: str = next(f["verdict"] for f in judged if f["floor"].startswith("peak memory"))
        return verdict

    assert floor(67.9e6, 1) == "met"
    assert floor(68.1e6, 1) == "not met"
    assert floor(71.9e6, 2) == "met"


# ---- the tables in the source ----


def test_rows_have_names_of_their_own_and_modules() -> None:
    assert len({entry.name for entry in ROWS}) == len({entry.label for entry in ROWS}) == len(ROWS)
    folder = files.PROJECT_ROOT / "benchmarks" / "peers" / "libraries"
    for entry in ROWS:
        assert (folder / f"{entry.module}.py").is_file()
    assert ROWS[0].name == judge.JUDGED
    ours = [entry for entry in ROWS if entry.ours]
    rows, missing = script.chosen_rows(["numpy"])
    assert rows == [*ours, row("numpy")]
    assert missing == []
    assert script.chosen_rows(["numpy"], always_ours=False)[0] == [row("numpy")]
    # By the name of a library come all of its rows.
    rows, missing = script.chosen_rows(["torch"])
    wanted = len(rows) - len(ours) + len(missing)
    assert wanted == (2 if not missing else 1)


def test_settings_are_of_the_grids() -> None:
    found = settings.load()
    assert found.keys() <= settings.GRIDS.keys()
    for peer, chosen in found.items():
        grid = settings.GRIDS[peer]
        assert set(chosen) <= set(settings.TARGETS)
        # 97 % is within everyone's reach.
        assert settings.TARGETS[0] in chosen
        for setting in chosen.values():
            assert setting.batch_size in grid.batch_sizes
            assert setting.learning_rate in grid.solvers[setting.solver]
            assert setting.schedule in grid.schedules
            assert setting.epochs in grid.epochs


def test_tuning_finds_settings_of_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = settings.Grid({"sgd": (0.0, 0.2)}, (8,), epochs=(1, 4))
    monkeypatch.setattr(tune, "GRIDS", {"omp_mlp": grid})
    monkeypatch.setattr(tune, "TARGETS", (20.0, 50.0))
    before = settings.FILE.read_text()
    results = run(tmp_path, "--tune", "--peers", "omp_mlp", "numpy")
    assert settings.FILE.read_text() == before  # a trial run
    tuning = results["pieces"]["tuning"]
    assert tuning.keys() == {"omp_mlp"}
    assert results["data"]["training_samples"] == LIMIT - LIMIT // 6
    for target in ("20.0", "50.0"):
        trial = tuning["omp_mlp"]["chosen"][target]
        assert trial["accuracy_percent"] >= float(target)
        # A rate of 0 learns nothing.
        assert trial["setting"]["learning_rate"] == 0.2

    path = files.write_json(tmp_path / "settings.json", {"omp_mlp": {}, "jax": {}})
    loaded = settings.load(settings.store(tuning, path))
    assert loaded["jax"] == {}
    chosen = tuning["omp_mlp"]["chosen"]["20.0"]["setting"]
    assert loaded["omp_mlp"][20.0] == Training(**chosen)


# ---- the command ----


def test_defaults_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = script.parse_arguments([])
    assert arguments.only == list(parts.PARTS)
    assert (arguments.rounds, arguments.seeds) == (5, 5)
    both = script.parse_arguments(["--only", "memory", "speed"])
    assert both.only == ["speed", "memory"]
    assert script.parse_arguments(["--quick", "--rounds", "4"]).rounds == 4
    for wrong in (
        ["--only", "nothing"],
        ["--peers", "nobody"],
        ["--rounds", "0"],
        ["--docs", "--only", "speed"],
        ["--docs", "--limit", "9"],
    ):
        with pytest.raises(SystemExit) as stopped:
            script.parse_arguments(wrong)
        assert stopped.value.code == 2
        assert wrong[0] in capsys.readouterr().err
