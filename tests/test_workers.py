"""How many operating-system threads run the replicas: the policy, with every limit faked."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fixed
import omp_mlp
from omp_mlp import _core
from omp_mlp.workers import available_cores, effective_workers
from processes import HANGS_AFTER


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with 12 cores and no limits; call it to set some."""
    cgroup = tmp_path / "cgroup"
    (cgroup / "cpu").mkdir(parents=True)
    monkeypatch.setattr("omp_mlp.workers._CGROUP", cgroup)
    for name in ("LOKY_MAX_CPU_COUNT", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)

    def limit(*, openmp=12, affinity=12, loky=None, environment=None, **files):
        monkeypatch.setattr(_core, "openmp_max_threads", lambda: openmp)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
        if loky is not None:
            monkeypatch.setenv("LOKY_MAX_CPU_COUNT", loky)
        if environment is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", environment)
        if "v2" in files:
            (cgroup / "cpu.max").write_text(files["v2"])
        if "v1" in files:
            quota, period = files["v1"].split()
            (cgroup / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
            (cgroup / "cpu" / "cpu.cfs_period_us").write_text(period + "\n")

    limit()
    return limit


def test_no_limits(machine):
    machine()
    assert available_cores() == 12


def test_openmp_maximum(machine):
    machine(openmp=5)
    assert available_cores() == 5


def test_at_least_one(machine):
    machine(openmp=0)
    assert available_cores() == 1


def test_affinity(machine):
    machine(affinity=3)
    assert available_cores() == 3


def test_cores_where_the_system_has_no_affinity(machine, monkeypatch):
    machine(openmp=100)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert available_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", 12),
        ("400000 100000\n", 4),
        ("250000 100000\n", 3),  # two and a half: a third thread has something to do
        ("50000 100000\n", 1),
        ("1000 100000\n", 1),
        ("9900000 100000\n", 12),
        ("40000 10000\n", 4),
        ("", 12),
        ("nonsense\n", 12),
        ("four hundred\n", 12),
    ],
)
def test_quota_of_cgroup_v2(machine, text, cores):
    machine(v2=text)
    assert available_cores() == cores


@pytest.mark.parametrize(
    ("text", "cores"),
    [("-1 100000", 12), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1)],
)
def test_quota_of_cgroup_v1(machine, text, cores):
    machine(v1=text)
    assert available_cores() == cores


def test_cgroup_v2_comes_before_v1(machine):
    machine(v2="300000 100000", v1="100000 100000")
    assert available_cores() == 3


@pytest.mark.parametrize(
    ("text", "cores"),
    [("4", 4), ("1", 1), ("64", 12), ("0", 12), ("-2", 12), ("", 12), ("four", 12), ("²", 12)],
)
def test_loky_max_cpu_count(machine, text, cores):
    machine(loky=text)
    assert available_cores() == cores


@pytest.mark.parametrize(
    ("text", "cores"),
    [("4", 4), (" 3 ", 3), ("2,8", 2), ("64", 12), ("0", 12), ("", 12), ("four", 12), (",2", 12)],
)
def test_omp_num_threads(machine, text, cores):
    """A limit of the environment, which other users of the OpenMP runtime do not raise."""
    machine(environment=text)
    assert available_cores() == cores


def test_the_least_limit_holds(machine):
    machine(openmp=9, affinity=8, loky="7", v2="600000 100000")
    assert available_cores() == 6
    machine(openmp=2)
    assert available_cores() == 2


@pytest.mark.parametrize(
    ("workers", "threads", "expected"),
    [
        (None, 1, 1),
        (None, 3, 3),
        (None, 40, 12),
        (1, 40, 1),
        (5, 40, 5),
        (30, 40, 30),  # more than there are cores: a wish
        (30, 8, 8),  # but nobody without a replica
        (4, 1, 1),
    ],
)
def test_a_wish_is_obeyed(machine, workers, threads, expected):
    machine()
    assert effective_workers(workers, threads) == expected


@pytest.mark.parametrize(("wish", "handed_on"), [(None, 3), (1, 1), (2, 2), (5, 5), (50, 7)])
def test_what_a_training_hands_to_the_core(machine, monkeypatch, wish, handed_on):
    machine(affinity=3)
    used = []

    def spy(**arguments):
        options = arguments["options"]
        used.append((options.threads, options.workers))
        return train(**arguments)

    train = _core.train
    monkeypatch.setattr(_core, "train", spy)
    X = np.eye(14, 3)
    fixed.train_parallel(X, X[:, 0] > 0, 7, epochs=1, workers=wish)
    assert used == [(7, handed_on)]


@pytest.mark.parametrize("strategy", ["section", "synchronous"])
def test_threads_that_wait_for_each_other_have_a_core_each(machine, monkeypatch, strategy):
    machine(affinity=3)
    used = []
    train = _core.train
    monkeypatch.setattr(
        _core, "train", lambda **given: used.append(given["options"].workers) or train(**given)
    )
    X = np.eye(14, 3)
    for wish in (None, 2, 50):
        fixed.train_parallel(X, X[:, 0] > 0, 7, epochs=1, workers=wish, strategy=strategy)
    assert used == [3, 2, 3]


def test_small_predictions_run_on_one_worker(machine, monkeypatch):
    machine()
    used = []
    monkeypatch.setattr(
        "omp_mlp.model.effective_workers", lambda wish, n: used.append((wish, n)) or 1
    )
    model = omp_mlp.Model([np.ones((1000, 50)), np.ones((50, 2))], [np.ones(50), np.ones(2)])
    model.predict(np.zeros((10, 1000)))  # half a million multiply-adds
    model.predict(np.zeros((2000, 1000)))  # 100 million
    (_, few), (_, many) = used
    assert few == 1
    assert many >= 4


def test_real_environment_limits_the_workers():
    program = "from omp_mlp.workers import available_cores; print(available_cores())"

    def cores(program=program, **environment):
        return int(
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=True,
                timeout=HANGS_AFTER,
            ).stdout
        )

    assert cores(OMP_NUM_THREADS="1") == 1
    # What torch.set_num_threads does, if PyTorch has the same OpenMP runtime.
    raised = f"from threadpoolctl import threadpool_limits; threadpool_limits(3); {program}"
    assert cores(raised, OMP_NUM_THREADS="1") == 1
    assert cores(LOKY_MAX_CPU_COUNT="1") == 1
    assert cores() >= 1
