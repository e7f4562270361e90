"""What other programs take of the cores while something is measured. Linux tells it."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path

_STATES_OF_WORK = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal
_PROC = Path("/proc")


class Others:
    """Counts from its making on what neither this process nor those that it started take."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._taken = _taken_by_others()

    def cores(self) -> float | None:
        """Return how many cores others took on the mean; None where the system does not tell."""
        if self._taken is None:
            return None
        now = _taken_by_others()
        assert now is not None
        return max(0.0, (now - self._taken) / (time.monotonic() - self._began))


def _taken_by_others() -> float | None:
    """Return the seconds that all cores have worked for others."""
    try:
        of_all = (_PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    ticks = sum(int(of_all[state]) for state in _STATES_OF_WORK)
    return (ticks - _own_ticks(os.getpid())) / os.sysconf("SC_CLK_TCK")


def _own_ticks(root: int) -> int:
    """Return the ticks of a process and of all below it, those that have ended included."""
    ticks: dict[int, int] = {}
    children: defaultdict[int, list[int]] = defaultdict(list)
    for folder in _PROC.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The name before these fields may hold anything but the last bracket.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        pid = int(folder.name)
        ticks[pid] = sum(map(int, fields[11:15]))  # user, system, and both of ended children
        children[int(fields[1])].append(pid)
    found, total = [root], 0
    while found:
        pid = found.pop()
        total += ticks.get(pid, 0)
        found += children[pid]
    return total
