"""The cost model: cases worked by hand, what must be monotone, the cache, and "auto"."""

from __future__ import annotations

import contextlib
import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fixed
import omp_mlp
from omp_mlp import costs as cost_model
from omp_mlp.costs import (
    CHOICES,
    STRATEGIES,
    Cluster,
    Costs,
    calibration,
    choose,
    extrapolate,
    predict,
    work,
)

# One megaflop/s, a millisecond a barrier, two a merge, a megabyte/s.
SLOW = Costs.uniform(1e6, barrier=1e-3, merge=2e-3, bandwidth=1e6, cores=4)

# ------------------------------------------------------------------------------- worked by hand


def test_flop_by_hand() -> None:
    # 3-20-10: rows of 20 weights are filled up to 32 floats, those of 10 to 16.
    #   forward 2 (3 * 32 + 20 * 16) = 832, update the same, back 2 * 20 * 16 = 640;
    #   4 (3 * 32 + 20 * 16) = 1664 bytes.
    whole = work((3, 20, 10))
    assert (whole.forward, whole.backward, whole.update) == (832, 640, 832)
    assert (whole.flop, whole.size) == (2304, 1664)
    assert whole.first == 2 * 3 * 32
    # A third of the inputs is nonzero: 2 (1 * 32 + 20 * 16) = 704.
    sparse = work((3, 20, 10), density=1 / 3)
    assert (sparse.forward, sparse.backward, sparse.update) == (704, 640, 704)
    assert sparse.size == 1664
    # Two sections of 16 and 4 units: 2 (3 * 16 + 16 * 16) = 608, back 512.
    section = work((3, 20, 10), sections=2)
    assert (section.forward, section.backward, section.update) == (608, 512, 608)
    # More sections than there are lines of 16 units do not make the largest smaller.
    assert work((3, 20, 10), sections=9) == section
    # Of 3-32-32-10: 2 (3 * 16 + 32 * 16 + 16 * 16) = 1632.
    assert work((3, 32, 32, 10), sections=2).forward == 1632


def test_replica_by_hand() -> None:
    # 101 samples for 3 epochs by 2 replicas: 3 * 51 = 153 samples of 2304 flop at 1e6 flop/s, and
    # ceil(153 / 50) = 4 merges of 2 ms + 3 * 1664 bytes at 1e6 bytes/s.
    found = predict((3, 20, 10), 101, 3, 2, "replica", 50, costs=SLOW)
    assert found.compute == pytest.approx(153 * 2304e-6)
    assert found.merge == pytest.approx(4 * (2e-3 + 3 * 1664e-6))
    assert found.synchronise == 0
    assert found.total == found.compute + found.synchronise + found.merge
    # One merge at the end.
    assert predict((3, 20, 10), 101, 3, 2, costs=SLOW).merge == pytest.approx(2e-3 + 4.992e-3)
    # 9 replicas on 4 cores take three turns of 3 * 12 samples each.
    found = predict((3, 20, 10), 101, 3, 9, costs=SLOW)
    assert found.compute == pytest.approx(3 * 36 * 2304e-6)


def test_pattern_by_hand() -> None:
    # A merge after each of the three epochs.
    found = predict((3, 20, 10), 101, 3, 2, "pattern", costs=SLOW)
    assert found.merge == pytest.approx(3 * (2e-3 + 3 * 1664e-6))


def test_section_by_hand() -> None:
    # 303 samples of 608 + 512 + 608 flop, 3 * ceil(101 / 10) = 33 batches of one barrier,
    # and half of 303 samples of 3 floats, which the other section has read.
    found = predict((3, 20, 10), 101, 3, 2, "section", batch_size=10, costs=SLOW)
    besides = 303 / 2 * 12e-6
    assert found.compute == pytest.approx(303 * 1728e-6)
    assert found.synchronise == pytest.approx(33 * 1e-3 + besides)
    # Two more barriers for a second hidden layer; none for one thread.
    found = predict((3, 32, 32, 10), 101, 3, 2, "section", batch_size=10, costs=SLOW)
    assert found.synchronise == pytest.approx(33 * 3e-3 + besides)
    assert predict((3, 20, 10), 101, 3, 1, "section", costs=SLOW).synchronise == 0


def test_synchronous_by_hand() -> None:
    # 100 samples, 3 epochs, 30 batches of 10, of which the larger part has 4 on 3 threads:
    #   30 (4 (832 + 640) + 10 / 3 * 832) flop; 30 batches of two barriers, 2/3 of 1664 bytes of
    #   weights, and of 10 samples with 3 inputs and twice 30 units.
    found = predict((3, 20, 10), 100, 3, 3, "synchronous", batch_size=10, costs=SLOW)
    assert found.compute == pytest.approx(30 * (4 * 1472e-6 + 10 / 3 * 832e-6))
    levels = math.ceil(math.log2(3))
    moved = 2 / 3 * (1664 + 10 * 4 * (3 + 60)) * 1e-6
    expected = 30 * (2 * levels * 1e-3 + moved)
    assert found.synchronise == pytest.approx(expected)
    # With lists, half of them nonzero, 2 samples leave a quarter of the first layer's rows alone:
    #   4 * 3 * 32 / 4 = 96 of the 1664 bytes; they have 1.5 inputs each.
    found = predict((3, 20, 10), 2, 1, 2, "synchronous", batch_size=2, density=0.5, costs=SLOW)
    moved = (1664 - 96 + 2 * 4 * 61.5) / 2 * 1e-6
    assert found.synchronise == pytest.approx(2e-3 + moved)


def test_what_takes_time_besides_by_hand() -> None:
    """Samples, batches, getting ready and reading, for 100 samples of three floats."""
    slow = replace(
        SLOW, sample=1e-3, batch=1e-2, ready={"replica": (0.5,), "one": (0.25,)},
        ready_sizes=(1664.0,), reading=(1e-4,), reading_sizes=(1200.0,),
    )  # fmt: skip
    row = 12e-4
    found = predict((3, 20, 10), 100, 1, 2, "replica", batch_size=10, costs=slow)
    assert found.compute == pytest.approx(50 * (2304e-6 + 1e-3 + 1e-3 + row) + 0.5)
    # A section has all samples and batches to itself, but for the reading; it is no smaller to get
    # ready than what was measured.
    found = predict((3, 20, 10), 100, 1, 2, "section", batch_size=10, costs=slow)
    assert found.compute == pytest.approx(100 * (1728e-6 + 1e-3 + 1e-3 + row / 2) + 0.25)
    found = predict((3, 20, 10), 100, 1, 2, "synchronous", batch_size=10, costs=slow)
    part = 5 * (1472e-6 + 1e-3 + row) + 5 * 832e-6
    assert found.compute == pytest.approx(10 * (part + 1e-2) + 0.25)


def test_first_layer_has_its_own_rate_with_lists() -> None:
    rates = {"replica dense": ((1e6,),), "replica sparse": ((1e5,),)}
    known = replace(SLOW, rates={**SLOW.rates, **rates})
    # 2 * 64 flop of a third of the inputs, twice; 640 * 3 above.
    found = predict((3, 20, 10), 1, 1, 1, density=1 / 3, costs=known)
    assert found.compute == pytest.approx(128e-5 + 1920e-6)


def test_cluster_by_hand() -> None:
    # Eight nodes, three levels; messages of 1 ms + 1664 bytes at 1e6 bytes/s; adds at 1e6 bytes/s.
    nodes = Cluster(latency=1e-3, bandwidth=1e6)
    found = predict((3, 20, 10), 80, 1, 8, "replica", 5, costs=SLOW, cluster=nodes)
    assert found.compute == pytest.approx(10 * 2304e-6)
    assert found.synchronise == pytest.approx(3 * 2.664e-3)
    assert found.merge == pytest.approx(2 * 3 * (2 * 2.664e-3 + 1.664e-3))
    # 8 batches of 10: each node at most two samples; the gradient goes up and down the tree.
    found = predict((3, 20, 10), 80, 1, 8, "synchronous", batch_size=10, costs=SLOW, cluster=nodes)
    assert found.compute == pytest.approx(8 * 2 * 2304e-6)
    assert found.synchronise == pytest.approx(8 * 3 * (2 * 2.664e-3 + 1.664e-3))
    # Two messages a batch and level, and 2 * 3 * 10 floats a sample.
    found = predict((3, 20, 10), 80, 1, 8, "section", batch_size=10, costs=SLOW, cluster=nodes)
    assert found.synchronise == pytest.approx(8 * 2 * 3 * 1e-3 + 80 * 60 * 4e-6)
    assert Cluster.ethernet(10).bandwidth == 1.25e9


def test_cluster_of_several_cores_by_hand() -> None:
    # Eight replicas on four nodes: two levels. A node merges two replicas in 3 sizes / bandwidth.
    nodes = Cluster(latency=1e-3, bandwidth=1e6, cores=2, all_reduce="halving")
    about: dict[str, Any] = {"costs": SLOW, "cluster": nodes}
    found = predict((3, 20, 10), 80, 1, 8, "replica", 2, merge_ranks_every=2, **about)
    own = SLOW.merge(2, 1664, crowd=1.0)
    assert found.compute == pytest.approx(10 * 2304e-6)
    assert found.synchronise == pytest.approx(2 * 2.664e-3)
    # Five merges; after the second, the fourth and the last, the nodes merge.
    halving = 2 * 2 * 1e-3 + 3 / 4 * (2 * 1.664e-3 + 1.664e-3)
    assert found.merge == pytest.approx(5 * own + 3 * halving)
    flat = predict((3, 20, 10), 80, 1, 8, "replica", 2, **about)
    assert flat.merge == pytest.approx(5 * (own + halving))
    assert "2 cores a node" in str(flat.assumptions)
    with pytest.raises(ValueError, match="predicted for nodes of one core; got 2"):
        predict((3, 20, 10), 80, 1, 8, "section", **about)
    with pytest.raises(ValueError, match="all_reduce must be"):
        Cluster(1.0, 1.0, all_reduce="ring")


def test_merges_are_hidden_behind_the_training_of_the_next_round() -> None:
    # As above: five merges, or three of the nodes, of 10 ms; a replica trains for 23.04 ms.
    def merge(latency: float, every: int, **options: Any) -> float:
        nodes = Cluster(latency=latency, bandwidth=1e6, cores=2, all_reduce="halving")
        found = predict(
            (3, 20, 10), 80, 1, 8, "replica", 2, merge_ranks_every=every, costs=SLOW,
            cluster=nodes, overlap=True, **options,
        )  # fmt: skip
        assert found.compute == pytest.approx(10 * 2304e-6)
        assert found.synchronise == pytest.approx(2 * (latency + 1.664e-3))
        return found.merge

    own = SLOW.merge(2, 1664, crowd=1.0)
    adding = 3 / 4 * (2 * 1.664e-3 + 1.664e-3)
    # Once in a round of a third of 23.04 ms and of five own merges, which is longer than 7.744 ms.
    assert 4e-3 + adding < (23.04e-3 + 5 * own) / 3
    assert merge(1e-3, 2) == pytest.approx(5 * own + 4e-3 + adding)
    # With 41 ms of latency, all but the last wait for what the round leaves of the merge.
    whole = 41e-3 + adding
    rest = whole - (23.04e-3 + 5 * own) / 3
    assert merge(10.25e-3, 2) == pytest.approx(5 * own + 2 * rest + whole)
    rest = whole - (23.04e-3 + 5 * own) / 5
    assert merge(10.25e-3, 1) == pytest.approx(5 * own + 4 * rest + whole)
    # One merge, at the end, is not hidden. Nor is there anything to hide on one node.
    assert merge(10.25e-3, 5) == pytest.approx(5 * own + whole)
    nodes = Cluster(latency=1e-3, bandwidth=1e6, cores=2)
    for threads, epochs in ((2, 1), (8, 0)):
        plain, hidden = (
            predict((3, 20, 10), 80, epochs, threads, "replica", 2, costs=SLOW, cluster=nodes,
                    overlap=overlap)
            for overlap in (False, True)
        )  # fmt: skip
        assert plain.total == hidden.total
    assert "while the nodes train on" in str(hidden.assumptions)
    assert "nothing is sent while work is done" not in str(hidden.assumptions)


def test_a_pattern_hides_its_merges_too() -> None:
    nodes = Cluster(latency=1e-3, bandwidth=1e6)
    found = predict((3, 20, 10), 80, 4, 8, "pattern", costs=SLOW, cluster=nodes, overlap=True)
    # An epoch of ten samples takes 23.04 ms, and a merge three levels of 6.992 ms: 20.976 ms.
    assert found.merge == pytest.approx(20.976e-3)
    found = predict((3, 20, 10), 64, 4, 8, "pattern", costs=SLOW, cluster=nodes, overlap=True)
    assert found.merge == pytest.approx(3 * (20.976e-3 - 8 * 2304e-6) + 20.976e-3)


def test_rates_are_interpolated_in_logarithms() -> None:
    table = ((1e9, 4e9), (4e9, 16e9))
    known = Costs(
        machine="by hand", cores=3, sizes=(100, 10_000), batches=(1, 16),
        rates={"replica dense": table}, crowding=((1.0, 1.0), (4.0, 4.0)),
        barriers={2: 1e-6, 8: 3e-6}, rounds={1: 1e-6, 2: 2e-6},
        memory=((1e9, 4e9), (1e9, 1e9)), memory_sizes=(100, 10_000),
        ready={"replica": (1e-3, 2e-3), "one": (1e-3, 1e-3)}, ready_sizes=(1e3, 1e5),
        reading=(1e-12, 1e-10), reading_sizes=(1e4, 1e6), sharing=(1e9, 1e9), sharing_sizes=(1, 2),
    )  # fmt: skip
    assert known.rate("replica dense", 1000, 4) == pytest.approx(4e9)
    assert known.rate("replica dense", 1, 1) == pytest.approx(1e9)  # at the edges, the edge's
    assert known.rate("replica dense", 1e9, 64) == pytest.approx(16e9)
    # Half-way to all cores busy, in logarithms: 16e9 / sqrt(4).
    assert known.rate("replica dense", 1e9, 64, crowd=0.5) == pytest.approx(8e9)
    assert known.barrier(1) == 0
    assert known.barrier(4) == pytest.approx(2e-6)
    assert known.barrier(64) == pytest.approx(6e-6)
    assert known.round(1) == 1e-6
    # Two replicas and their master, each of 1000 bytes at sqrt(1e9 * 4e9) bytes/s, or at 1e9.
    assert known.merge(2, 1000) == pytest.approx(2e-6 + 3000 / 2e9)
    assert known.merge(2, 1000, crowd=1.0) == pytest.approx(2e-6 + 3000 / 1e9)
    # Between what is known in logarithms, beyond in proportion.
    assert known.getting_ready("replica", 1e4) == pytest.approx(math.sqrt(2) * 1e-3)
    assert known.getting_ready("replica", 3e5) == pytest.approx(6e-3)
    assert known.read(1e5) == pytest.approx(1e-11)
    assert known.share(500, 1.5) == pytest.approx(5e-7)
    assert Costs.from_dict(json.loads(json.dumps(known.as_dict()))) == known


# ----------------------------------------------------------------------------------- what must hold

layers = st.lists(st.integers(1, 3000), min_size=2, max_size=5).map(tuple)
tasks = {
    "network": layers,
    "n_samples": st.integers(1, 10**6),
    "epochs": st.integers(1, 50),
    "threads": st.integers(1, 2000),
    "strategy": st.sampled_from(STRATEGIES),
    "batch_size": st.integers(1, 512),
    "density": st.none() | st.floats(0.01, 1),
}


@given(task=st.fixed_dictionaries(tasks))
def test_predictions_are_positive_and_grow_with_the_work(task: dict[str, Any]) -> None:
    once = predict(**task, costs=SLOW)
    assert min(once.compute, once.synchronise, once.merge) >= 0
    assert 0 < once.total < math.inf
    assert predict(**{**task, "epochs": task["epochs"] + 1}, costs=SLOW).total > once.total
    assert predict(**{**task, "n_samples": 2 * task["n_samples"]}, costs=SLOW).total >= once.total
    faster = Costs.uniform(2e6, barrier=1e-3, merge=2e-3, bandwidth=1e6, cores=4)
    assert predict(**task, costs=faster).compute <= once.compute
    lazier = Costs.uniform(1e6, barrier=2e-3, merge=4e-3, bandwidth=5e5, cores=4)
    assert predict(**task, costs=lazier).total >= once.total


@given(task=st.fixed_dictionaries(tasks))
def test_more_cores_never_compute_longer(task: dict[str, Any]) -> None:
    task["batch_size"] = min(task["batch_size"], task["n_samples"])
    times = [predict(**{**task, "threads": 2**k}, cores=2**k, costs=SLOW).compute for k in range(8)]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(times))


@given(network=layers, threads=st.integers(1, 64), period=st.integers(1, 1000))
def test_fewer_merges_are_never_slower(network: tuple[int, ...], threads: int, period: int) -> None:
    often = predict(network, 5000, 2, threads, "replica", period, costs=SLOW)
    seldom = predict(network, 5000, 2, threads, "replica", 2 * period, costs=SLOW)
    at_the_end = predict(network, 5000, 2, threads, "replica", costs=SLOW)
    assert at_the_end.total <= seldom.total <= often.total


@given(network=layers, n=st.integers(1, 10**5), threads=st.integers(2, 70), b=st.integers(1, 256))
def test_choice_is_the_quickest_by_a_margin(
    network: tuple[int, ...], n: int, threads: int, b: int
) -> None:
    options: dict[str, Any] = {"batch_size": b, "costs": SLOW, "merge_every": "auto"}
    best = choose(network, n, 3, threads, **options)
    alone = predict(network, n, 3, 1, "replica", **options)
    found = [predict(network, n, 3, threads, s, **options).total for s in CHOICES]
    assert best.threads <= threads
    assert best.total <= alone.total
    if best.threads > 1:
        assert best.total < (1 - cost_model.MARGIN) * alone.total
        assert best.total <= min(found)
    else:
        assert min(found) >= (1 - cost_model.MARGIN) * alone.total


def test_choice_follows_the_costs() -> None:
    network, options = (784, 1024, 10), {"batch_size": 256}
    rate = {"rate": 1e10, "cores": 4}
    dear_merges = Costs.uniform(**rate, barrier=1e-6, merge=1.0, bandwidth=1e10)
    dear_barriers = Costs.uniform(**rate, barrier=1.0, merge=1e-6, bandwidth=1e10)
    dear_both = Costs.uniform(**rate, barrier=1.0, merge=100.0, bandwidth=1e10)
    assert choose(network, 10_000, 1, 4, 64, costs=dear_barriers, **options).strategy == "replica"
    chosen = choose(network, 10_000, 1, 4, 64, costs=dear_merges, **options)
    assert chosen.strategy in ("section", "synchronous")
    assert chosen.threads == 4
    alone = choose(network, 10_000, 1, 4, 64, costs=dear_both, **options)
    assert (alone.strategy, alone.threads) == ("replica", 1)


def test_extrapolation_prints_its_assumptions() -> None:
    curve = extrapolate((784, 128, 10), 50_000, 1, (1, 8, 64), "replica", 64, costs=SLOW)
    assert [p.threads for p in curve.predictions] == [1, 8, 64]
    text = str(curve)
    assert "speed-up" in text
    assert "one memory, whose bandwidth does not grow" in text
    assert SLOW.machine in text
    nodes = Cluster.ethernet(1, latency=20e-6)
    text = str(extrapolate((784, 128, 10), 50_000, 1, (1, 64), costs=SLOW, cluster=nodes))
    assert "messages of 20 us at 1 Gbit/s" in text


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"strategy": "model"}, "strategy must be one of 'replica'"),
        ({"network": (3,)}, "at least features and outputs"),
        ({"network": (3, 0)}, r"network\[1\] must be at least 1"),
        ({"n_samples": 0}, "n_samples must be at least 1"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"merge_every": "never"}, "merge_every must be 'auto' or an integer"),
        ({"density": -1.0}, "density must be at least 0"),
        ({"strategy": "hogwild", "cluster": Cluster(1, 1)}, "needs one memory"),
        ({"overlap": True}, "overlap must be False without a cluster; got True"),
        ({"overlap": 1}, "overlap must be one of False, True; got 1"),
        (
            {"overlap": True, "cluster": Cluster(1, 1), "strategy": "section"},
            "overlap must be False with strategy='section'; got True",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_bad_questions(wrong: dict[str, Any], message: str) -> None:
    task: dict[str, Any] = {"network": (3, 4, 2), "n_samples": 5, "epochs": 1, "threads": 2}
    with pytest.raises(ValueError, match=message):
        predict(**{**task, "costs": SLOW, **wrong})


# ------------------------------------------------------------------------------ measuring and cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's cache out of this, and measure little."""
    monkeypatch.delenv("OMP_MLP_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(calibration, "_NETWORKS", ((64, 16), (784, 64)))
    monkeypatch.setattr(calibration, "_MERGED", ((64, 16),))
    monkeypatch.setattr(calibration, "_SHARED", ((64, 16),))
    monkeypatch.setattr(calibration, "_READ", (20, 40))
    return tmp_path / "cache" / "omp_mlp"


def test_calibration_is_cached_and_nowhere_else(cache: Path, monkeypatch: Any) -> None:
    measured = cost_model.calibrate(cores=1)
    (file,) = cache.iterdir()
    assert [p.name for p in cache.parent.parent.iterdir()] == ["cache"]
    assert Costs.from_dict(json.loads(file.read_text())) == measured
    # How quick a machine is, and how busy, is nothing that a test could know.
    figures = [*np.ravel([*measured.rates.values()]), *np.ravel(measured.memory), *measured.sharing]
    assert len(figures) == len(measured.rates) * 2 * 5 + np.size(measured.memory) + 1
    assert np.isfinite(figures).all()
    assert min(figures) > 0
    assert measured.barrier(2) > 0
    assert measured.sample >= 0
    assert measured.batch >= 0
    monkeypatch.setattr(calibration, "_measure", lambda *_: pytest.fail("measured again"))
    assert cost_model.calibrate(cores=1) == measured


def test_rates_are_what_explains_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_NETWORKS", ((64, 16),))
    monkeypatch.setattr(calibration, "_BATCHES", (1, 16))
    whole = work((64, 16, 10))
    few = work((64, 16, 10), density=calibration._DENSITY)
    # 1 Gflop/s for single samples, 4 for batches; with lists, half of that in the first layer. A
    # sample takes 0.2 us besides, and a batch 0.8 us.
    besides = np.array([0.2e-6 + 0.8e-6, 0.2e-6 + 0.05e-6])
    dense = whole.flop / np.array([1e9, 4e9])
    upper = (few.flop - 2 * few.first) / np.array([1e9, 4e9])
    sparse = 2 * few.first / np.array([0.5e9, 2e9])
    seconds = {
        "replica dense": (dense + besides)[None],
        "replica sparse": (upper + sparse + besides)[None],
    }
    rates = calibration._rates(seconds, 0.2e-6, 0.8e-6)
    np.testing.assert_allclose(rates["replica dense"], [[1e9, 4e9]], rtol=1e-12)
    np.testing.assert_allclose(rates["replica sparse"], [[0.5e9, 2e9]], rtol=1e-12)
    # What was measured elsewhere, and is more than all, leaves a part.
    rates = calibration._rates({"replica dense": dense[None]}, 1.0, 0.0)
    np.testing.assert_allclose(rates["replica dense"], [[4e9, 16e9]], rtol=1e-12)


DAMAGES = {
    "sizes": [[], [2.0, 1.0], ["a"], None, 1, [0.0]],
    "rates": [{}, {"other dense": [[1.0]]}, [], 1],
    "crowding": [[[0.5]], [[]], "x"],
    "barriers": [{}, {"x": 1.0}, {"0": 1.0}, [1]],
    "rounds": [{"2": 1.0}, {"1": 0.0, "2": -1.0}],
    "memory": [[[1e9]], [[0.0], [0.0]]],
    "sharing": [[float("nan")], [[1.0]]],
    "sample": [-1.0, "1", None],
    "ready": [{}, {"replica": [1.0]}, {"replica": [], "one": []}],
    "cores": [0, "2", True, 1e300],
    "machine": [None],
    "other": [1],
}


@pytest.mark.parametrize(
    "changes",
    [{name: value} for name, values in DAMAGES.items() for value in values],
    ids=str,
)
def test_damaged_costs_that_are_json(changes: Any) -> None:
    plain = json.loads(json.dumps({**SLOW.as_dict(), **changes}))
    with pytest.raises(ValueError, match=r"costs|cores"):
        Costs.from_dict(plain)


@pytest.mark.parametrize("removed", sorted(SLOW.as_dict()))
def test_costs_that_lack_a_table(removed: str) -> None:
    plain = SLOW.as_dict()
    del plain[removed]
    # Or the table has the default's value.
    with contextlib.suppress(ValueError):
        assert Costs.from_dict(plain) == SLOW


def test_a_link_in_the_cache_is_replaced_and_not_followed(
    cache: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(calibration, "_measure", lambda *_: SLOW)
    cost_model.calibrate(cores=2)
    (file,) = cache.iterdir()
    other = tmp_path / "other"
    other.write_text("precious")
    file.unlink()
    file.symlink_to(other)
    assert cost_model.calibrate(cores=2) == SLOW
    assert other.read_text() == "precious"
    assert not file.is_symlink()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"format": 0}',
        "[1]",
        '{"format": 2}',
        "[" * 10**5,
        "9" * 10**5,
        "\0" * 2**20 + "x",
    ],
    ids=range(8),
)
def test_damaged_cache_is_replaced(cache: Path, monkeypatch: Any, content: str) -> None:
    monkeypatch.setattr(calibration, "_measure", lambda *_: SLOW)
    cost_model.calibrate(cores=2)
    (file,) = cache.iterdir()
    file.write_text(content)
    assert cost_model.calibrate(cores=2) == SLOW
    assert Costs.from_dict(json.loads(file.read_text())) == SLOW


def test_refresh_and_a_cache_that_cannot_be_written(cache: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(calibration, "_measure", lambda *_: SLOW)
    cost_model.calibrate(cores=2)
    faster = Costs.uniform(1e9)
    monkeypatch.setattr(calibration, "_measure", lambda *_: faster)
    assert cost_model.calibrate(cores=2) == SLOW
    assert cost_model.calibrate(cores=2, refresh=True) == faster
    assert cost_model.calibrate(cores=2) == faster
    monkeypatch.setenv("XDG_CACHE_HOME", str(next(cache.iterdir())))  # a file, not a folder
    assert cost_model.calibrate(cores=3) == faster


# ------------------------------------------------------------------------------------------- "auto"


def data() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    X = np.random.default_rng(0).normal(size=(200, 20)).astype(np.float32)
    return X, np.arange(200) % 3


def train(strategy: str, threads: int = 4, **options: Any) -> omp_mlp.Model:
    options = {"hidden_layer_sizes": (64,), "epochs": 2, "batch_size": 50, **options}
    return fixed.train_parallel(*data(), threads, strategy=strategy, **options)


def same_bits(a: omp_mlp.Model, b: omp_mlp.Model) -> bool:
    pairs = zip([*a.weights, *a.biases], [*b.weights, *b.biases], strict=True)
    return all(one.tobytes() == other.tobytes() for one, other in pairs)


@pytest.mark.parametrize(
    "prices, strategy, threads",
    [
        ({"barrier": 10.0, "merge": 1e-6}, "replica", 4),
        ({"barrier": 0.0, "merge": 10.0}, "section", 4),
        ({"barrier": 10.0, "merge": 10.0}, "replica", 1),
    ],
    ids=["replica", "section", "one_thread"],
)
def test_auto_does_what_it_names(prices: dict[str, float], strategy: str, threads: int) -> None:
    known = Costs.uniform(1e6, bandwidth=1e9, cores=4, **prices)
    model = train("auto", costs=known)
    assert (model.history.strategy, model.history.threads) == (strategy, threads)
    assert same_bits(model, train(strategy, threads))
    expected = predict(model, 200, 2, threads, strategy, "auto", batch_size=50, costs=known)
    assert model.history.predicted_seconds.sum() == pytest.approx(expected.total)


def test_auto_leaves_to_replicas_what_only_they_can_do() -> None:
    known = Costs.uniform(1e6, barrier=0.0, merge=1e-3, bandwidth=1e9, cores=4)
    assert train("auto", costs=known).history.strategy != "replica"
    model = train("auto", costs=known, merge="average", keep_replicas=True)
    assert model.history.strategy == "replica"
    assert len(model.replicas) == model.history.threads == 4


@pytest.mark.parametrize("strategy", ["replica", "section", "synchronous", "hogwild", "pattern"])
def test_predictions_stand_beside_what_was_measured(strategy: str) -> None:
    model = train(strategy, costs=SLOW)
    expected = predict(model, 200, 2, 4, strategy, "auto", batch_size=50, costs=SLOW)
    assert model.history.predicted_seconds.sum() == pytest.approx(expected.total)
    assert len(model.history.predicted_seconds) == len(model.history)


def test_costs_can_be_refused(cache: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(calibration, "_measure", lambda *_: pytest.fail("measured"))
    model = train("auto", costs=False)
    assert not cache.exists()
    expected = choose(model, 200, 2, 4, "auto", batch_size=50, costs=cost_model.TYPICAL)
    assert (model.history.strategy, model.history.threads) == (expected.strategy, expected.threads)
    assert np.isnan(train("section", costs=False).history.predicted_seconds).all()


def test_auto_asks_the_cache(cache: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(calibration, "_measure", lambda *_: SLOW)
    model = train("auto")
    assert len(list(cache.iterdir())) == 1
    assert model.history.predicted_seconds.sum() > 0
    assert train("replica", costs=True).history.predicted_seconds.sum() > 0


@pytest.mark.usefixtures("cache")
def test_mistakes_are_found_before_anything_is_measured(monkeypatch: Any) -> None:
    monkeypatch.setattr(calibration, "_measure", lambda *_: pytest.fail("measured"))
    with pytest.raises(TypeError, match="costs must be an omp_mlp"):
        train("auto", costs="cheap")
    with pytest.raises(ValueError, match="merge_every must be at least batch_size"):
        train("auto", merge_every=3)
    assert train("auto", epochs=0, costs=SLOW).history.strategy == "replica"
