"""What a rank finds out about the process of another one."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from omp_mlp.distributed.processes import BYTES, Process, this_process, why_silent

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="asks Linux for processes"
)

SCRIPT = """
import sys
from omp_mlp.distributed.processes import this_process
sys.stdout.buffer.write(this_process().to_bytes())
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that says who it is, and waits."""
    started = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with started:
        yield started
        started.kill()


def read(process: subprocess.Popen[bytes]) -> Process:
    assert process.stdout is not None
    return Process.from_bytes(process.stdout.read(BYTES))


def test_a_process_that_runs_is_not_silent(other: subprocess.Popen[bytes]) -> None:
    found = read(other)
    assert found.number == other.pid
    assert why_silent(found) is None
    assert why_silent(this_process()) is None


def test_a_process_that_is_stopped_goes_on(other: subprocess.Popen[bytes]) -> None:
    found = read(other)
    other.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, other.pid, os.WSTOPPED)
    assert why_silent(found) == "is stopped"
    other.send_signal(signal.SIGCONT)
    os.waitid(os.P_PID, other.pid, os.WCONTINUED)
    assert why_silent(found) is None


def test_a_process_that_is_killed_is_gone(other: subprocess.Popen[bytes]) -> None:
    found = read(other)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert why_silent(found) == "was killed"  # nobody has waited for it yet
    other.wait()
    assert why_silent(found) == "was killed"


def test_another_process_of_the_same_number_is_not_that_one() -> None:
    mine = this_process()
    assert why_silent(dataclasses.replace(mine, started=mine.started - 1)) == "was killed"


def test_nothing_is_said_of_other_machines() -> None:
    elsewhere = dataclasses.replace(this_process(), machine=b"x" * 16, number=2**22 + 1)
    assert why_silent(elsewhere) is None
    assert why_silent(dataclasses.replace(this_process(), started=0)) is None
