"""A process that answers requests: lines of JSON on its standard input and output.

The other side reads a line, and writes ``{"error": "..."}`` or any other object.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .files import PROJECT_ROOT

# The longest wait for a reply. The slowest requests are those of peers that compile: some minutes.
_PATIENCE_SECONDS = 900.0


class ProcessError(Exception):
    """A process failed; the message is for tables and files."""


class Process:
    """A process of its own, started in the project's root; ``name`` is for messages.

    The ``environment`` is all of its variables; None: those of this process. The first request is
    "open", with the fields of ``request``; ``about`` is the reply. A process that does not reply
    within ``patience`` seconds is ended.

    Raises
    ------
    OSError
        If there is no such command.
    ProcessError
        If that reply is an error, or the process ended.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        patience: float = _PATIENCE_SECONDS,
        **request: object,
    ) -> None:
        self.name = name
        self._patience = patience
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command,
                cwd=PROJECT_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                env=environment,
            )
        except OSError:
            self._errors.close()
            raise
        try:
            self.about = self.ask("open", **request)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ask(self, do: str, **request: object) -> dict[str, Any]:
        """Send a request and wait for the reply.

        Raises
        ------
        ProcessError
            If the reply is an error or comes too late, or the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            self._process.kill()

        watch = threading.Timer(self._patience, end)
        watch.start()
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watch.cancel()
        if not line and is_late.is_set():
            raise ProcessError(f'{self.name}: no reply to "{do}" within {self._patience:g} s')
        if not line:
            self._errors.seek(0)
            last = self._errors.read().strip().splitlines()[-1:]
            raise ProcessError(f"{self.name}: the process ended: {' '.join(last) or 'silently'}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ProcessError(f"{self.name}: {reply['error']}")
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
