"""What goes on, with the time since the start: a run takes minutes, and most of them are silent."""

from __future__ import annotations

import time

# Between lines about one thing.
SECONDS = 10.0


class Progress:
    """Prints lines that begin with the seconds since ``begin``, of ``time.perf_counter``."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._last = begin

    def __call__(self, text: str) -> None:
        """Print the line, unless there was one a moment ago."""
        if time.perf_counter() - self._last >= SECONDS:
            self.say(text)

    def say(self, text: str) -> None:
        """Print the line."""
        self._last = time.perf_counter()
        print(f"[{self._last - self._begin:5.0f} s] {text}", flush=True)
