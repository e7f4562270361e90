"""Trainings over a real MPI, in processes that mpiexec starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import omp_mlp
from processes import HANGS_AFTER

pytest.importorskip("mpi4py", reason="needs mpi4py: pip install omp_mlp[mpi]")
_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
MPIEXEC = shutil.which("mpiexec", path=_PATH)
if MPIEXEC is None:
    pytest.skip("needs an MPI with mpiexec: pip install mpich", allow_module_level=True)

OPTIONS = {
    "hidden_layer_sizes": (9,), "epochs": 2, "batch_size": 4, "merge_every": 16,
    "learning_rate": 0.05,
}  # fmt: skip
ROWS = 91

START = f"""
import os, signal, sys
import numpy as np
from mpi4py import MPI
from omp_mlp import mpi

rank, size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
options = {OPTIONS!r}
X, y = mpi.load_shard("X*.npy", threads=2), mpi.load_shard("y.npy", threads=2)

def train(**changed):
    return mpi.train_parallel(X, y, 2, timeout={HANGS_AFTER}, **dict(options, **changed))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with 91 images in three files, and their labels."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (ROWS, 12)).astype(np.uint8)
    X[rng.random(X.shape) < 0.6] = 0
    for k, part in enumerate(np.split(X, [20, 25])):
        np.save(tmp_path / f"X{k}.npy", part)
    np.save(tmp_path / "X.npy", X[:0])
    np.save(tmp_path / "y.npy", np.arange(ROWS) % 3)
    return tmp_path


def run_ranks(ranks: int, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(START + textwrap.dedent(script))
    return subprocess.run(
        [str(MPIEXEC), "-n", str(ranks), sys.executable, str(program)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
    )


def parts_of(model: omp_mlp.Model) -> list[np.ndarray]:
    return [*model.weights, *model.biases]


def test_ranks_train_the_network_of_one_process(folder: Path) -> None:
    script = """
        train().save(f"sums{rank}.safetensors")
        train(deterministic=True, merge="adasum").save(f"gathered{rank}.safetensors")
    """
    done = run_ranks(3, script, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    X = np.concatenate([np.load(folder / f"X{k}.npy") for k in range(3)])
    for name, merge in (("sums", "gradient_diversity"), ("gathered", "adasum")):
        alone = omp_mlp.train_parallel(
            X, np.arange(ROWS) % 3, 6, merge, shuffle="shards", **OPTIONS
        )
        ranks = [omp_mlp.load(folder / f"{name}{rank}.safetensors") for rank in range(3)]
        for expected, first, *others in zip(*map(parts_of, [alone, *ranks]), strict=True):
            assert all((first == other).all() for other in others)
            atol = 0.0 if name == "gathered" else 2e-6 * np.abs(expected).max()
            np.testing.assert_allclose(first, expected, rtol=0, atol=atol)


# Without an end of their own: a rank that waits for one that left never ends.
ENDLESS = "options.update(epochs=10**9)\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "train(callback=lambda progress: 1 / 0 if rank == 1 else None)",
            "rank 1 of 3 failed: ZeroDivisionError: division by zero",
        ),
        ("if rank == 1: sys.exit()\ntrain()", "rank 1 of 3 failed: its program ended"),
    ],
    ids=["exception", "exit"],
)
def test_a_rank_that_leaves_is_named_by_the_others(script: str, words: str, folder: Path) -> None:
    done = run_ranks(3, ENDLESS + script, folder)
    assert done.returncode != 0
    assert done.stderr.count(f"RankError: {words}") == 2, done.stderr


def test_a_rank_that_is_killed_ends_the_job(folder: Path) -> None:
    script = ENDLESS + "train(callback=lambda progress: rank == 1 and os.kill(os.getpid(), 9))"
    assert run_ranks(3, script, folder).returncode != 0


def test_what_differs_is_named_on_all_ranks_and_the_job_goes_on(folder: Path) -> None:
    script = """
        try:
            train(learning_rate=0.1 * (rank + 1))
        except ValueError as error:
            print(error)
        train()
    """
    done = run_ranks(2, script, folder)
    assert done.returncode == 0, done.stderr
    words = "learning_rate must be the same on all ranks; got 0.1 on rank 0 and 0.2 on rank 1"
    assert done.stdout.count(words) == 2
