"""Whether the process of another rank still runs, where that is on this machine.

A process that was killed cannot say so, and one that stands still looks as a slow one does. But
Linux tells everybody on its machine the state of a process.
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass

_FORMAT = struct.Struct("<16sqq")
BYTES = _FORMAT.size
"""Of a process, as the ranks exchange it."""
_STOPPED = b"T"  # by a signal; "t" is one that a debugger looks at
_ENDED = (b"Z", b"X", b"x")


@dataclass(frozen=True)
class Process:
    """What tells a process from all others."""

    machine: bytes  # a digest of the running system, and of the part of it that counts processes
    number: int
    started: int  # in clock ticks since the system began; 0: not known

    def to_bytes(self) -> bytes:
        """Return what :meth:`from_bytes` reads."""
        return _FORMAT.pack(self.machine, self.number, self.started)

    @classmethod
    def from_bytes(cls, given: bytes) -> Process:
        """Return the process that another rank described."""
        return cls(*_FORMAT.unpack(given))


def this_process() -> Process:
    """Describe the process that calls."""
    number = os.getpid()
    found = _look(number)
    return Process(_machine(), number, 0 if found is None else found[1])


def why_silent(process: Process) -> str | None:
    """Return "was killed" or "is stopped"; None if it runs, or if nobody here can tell."""
    if process.started == 0 or process.machine != _machine():
        return None
    found = _look(process.number)
    if found is None or found[1] != process.started or found[0] in _ENDED:
        return "was killed"
    return "is stopped" if found[0] == _STOPPED else None


def _machine() -> bytes:
    described = b""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            described += file.read()
        described += os.fsencode(os.readlink("/proc/self/ns/pid"))
    except OSError:
        described = b""
    return hashlib.sha256(described).digest()[:16]


def _look(number: int) -> tuple[bytes, int] | None:
    """Return the state of a process and when it began; None: there is no such process."""
    try:
        with open(f"/proc/{number}/stat", "rb") as file:
            # The name, in parentheses, may have blanks and parentheses.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[19])
