"""What all readers of safetensors files share: the metadata, and what a damaged file raises."""

from __future__ import annotations

import json

DAMAGED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What comes of following a file that says anything."""


def metadata_of(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file that was read before."""
    end = 8 + int.from_bytes(content[:8], "little")
    found = json.loads(content[8:end]).get("__metadata__")
    return {str(name): str(value) for name, value in (found or {}).items()}
