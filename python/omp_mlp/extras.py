"""Packages that only some uses need: one sentence says which extra of omp_mlp brings them."""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

# Python keeps a lock for each module while a thread imports it. In a child that is forked meanwhile
# nobody gives that lock back, and the child's own import waits for ever. So a fork waits instead.
_importing = threading.RLock()
_MOST_WAIT = 30.0  # seconds of a fork
_of_fork = threading.local()


def _before_fork() -> None:
    _of_fork.has_lock = _importing.acquire(timeout=_MOST_WAIT)


def _after_fork() -> None:
    if _of_fork.has_lock:
        _importing.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


def missing(use: str, package: str, extra: str) -> ImportError:
    """Return the error about a package that a use needs and that cannot be imported."""
    return ImportError(f'{use} needs {package}: pip install "omp_mlp[{extra}]"')


def imported(module: str, use: str, package: str, extra: str) -> Any:  # noqa: ANN401
    """Import a module of another package, or raise ImportError with :func:`missing`'s sentence."""
    try:
        with _importing:
            return importlib.import_module(module)
    except ImportError as error:
        raise missing(use, package, extra) from error
