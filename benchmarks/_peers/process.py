"""The script's side of a peer's process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from . import Row

_FOLDER = Path(__file__).resolve().parents[1]
# Of every library's pool of threads.
_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NPROC",  # XLA's
)


class PeerError(Exception):
    """A peer's process failed; the message is for tables and files."""


class PeerProcess:
    """A peer with its data, in a process of its own, on cores of its own.

    Parameters
    ----------
    row : Row
    cores : sequence of int
        Where the process is pinned to; their number is that of its threads.
    data : mapping
        What :func:`_peers.data.load` reads.
    environment : mapping
        Variables for this process alone.
    """

    def __init__(
        self,
        row: Row,
        cores: Sequence[int],
        data: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.row = row
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "_peers.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env={**_environment(len(cores)), **(environment or {})},
        )
        try:
            self.about = self.ask("open", row=asdict(row), cores=list(cores), data=dict(data))
        except BaseException:
            self.close()
            raise

    def ask(self, do: str, **request: object) -> dict[str, Any]:
        """Send a request and wait for the reply.

        Raises
        ------
        PeerError
            If the peer raised an error, or its process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:]
            raise PeerError(f"{self.row.label}: the process ended: {' '.join(last) or 'silently'}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise PeerError(f"{self.row.label}: {reply['error']}")
        return reply

    def close(self) -> None:
        """End the process."""
        with self._process:  # closes the pipes and waits
            assert self._process.stdin is not None
            # A process that ended by itself cannot take what is still to be written.
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                self._process.stdin = None
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._errors.close()

    def __enter__(self) -> PeerProcess:
        """Return the process itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()


def _environment(cores: int) -> dict[str, str]:
    """Return the environment of a process that may use so many cores."""
    environment = {**os.environ, **dict.fromkeys(_THREAD_COUNTS, str(cores))}
    # Each run says what it needs; a setting of the user's would change one peer and not the others.
    for name in ("OMP_MLP_KERNELS", "OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY", "OMP_PROC_BIND"):
        environment.pop(name, None)
    environment["JAX_PLATFORMS"] = "cpu"
    environment["XLA_FLAGS"] = (
        "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1" if cores == 1 else ""
    )
    paths = [str(_FOLDER), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment
