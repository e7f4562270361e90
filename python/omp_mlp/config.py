"""Tell what was built, and what it runs on."""

from __future__ import annotations

import os
import platform

from omp_mlp import _core
from omp_mlp.workers import available_cores


def build_config() -> dict[str, object]:
    """Return how this omp_mlp was built and what it uses on this machine.

    Returns
    -------
    dict
        ``version``, ``compiler``, ``build_type``, ``openmp`` (the version's date), ``pybind11``,
        ``kernels`` (the instruction set in use), ``kernels_available``, ``python``, ``machine``,
        ``cores`` (of the machine) and ``workers`` (what ``workers=None`` uses at most).
    """
    return {
        **_core.build_config(),
        "kernels": _core.kernels_in_use(),
        "kernels_available": _core.kernel_names(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "workers": available_cores(),
    }


def show_config() -> None:
    """Print :func:`build_config`, one line an entry."""
    for name, value in build_config().items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:>18}: {text}")
