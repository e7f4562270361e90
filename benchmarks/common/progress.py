"""Say what goes on: a run takes minutes, and most of them are silent."""

from __future__ import annotations

import time

SECONDS_BETWEEN = 10.0


class Progress:
    """Prints lines that begin with the seconds since the run began."""

    def __init__(self) -> None:
        self._begin = self._last = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._begin

    def __call__(self, text: str) -> None:
        """Print the line, unless there was one a moment ago."""
        if time.perf_counter() - self._last >= SECONDS_BETWEEN:
            self.say(text)

    def say(self, text: str) -> None:
        """Print the line."""
        self._last = time.perf_counter()
        print(f"[{self.seconds:5.0f} s] {text}", flush=True)
