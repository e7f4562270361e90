"""What is known of rows that several processes hold: each gives a part, and all get all parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

Part = TypeVar("Part")


class Gather(Protocol):
    """Gives this process's part to all, and returns the parts of all in the order of the ranks."""

    def __call__(self, part: Part, /) -> Sequence[Part]:
        """Wait for all."""


def alone(part: Part) -> Sequence[Part]:
    """Gather where there is no other process."""
    return [part]


def total(gather: Gather, part: Any) -> Any:  # noqa: ANN401 - numbers and arrays of them
    """Return the sum of the parts, added up in the order of the ranks."""
    first, *others = gather(part)
    for other in others:
        first = first + other
    return first
