"""Packages that only some uses need: one sentence says which extra of omp_mlp brings them."""

from __future__ import annotations

import importlib
from typing import Any


def missing(use: str, package: str, extra: str) -> ImportError:
    """Return the error about a package that a use needs and that cannot be imported."""
    return ImportError(f'{use} needs {package}: pip install "omp_mlp[{extra}]"')


def imported(module: str, use: str, package: str, extra: str) -> Any:  # noqa: ANN401
    """Import a module of another package, or raise ImportError with :func:`missing`'s sentence."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(use, package, extra) from error
