"""Train multilayer perceptrons in parallel on CPU cores: replicas train, a merge makes them one.

>>> import omp_mlp
>>> model = omp_mlp.train_parallel(X, y, threads=8)         # doctest: +SKIP
>>> model.score(X_test, y_test)                             # doctest: +SKIP
"""

import atexit as _atexit
import os as _os
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from omp_mlp import _core, costs
from omp_mlp.config import build_config, show_config
from omp_mlp.ensemble import Ensemble
from omp_mlp.errors import TrainingDivergedError
from omp_mlp.history import History, Progress
from omp_mlp.loading import load
from omp_mlp.merging.merge import merge
from omp_mlp.merging.methods import MergeMethod, MergeOption, merge_methods
from omp_mlp.model import Model
from omp_mlp.options import PAPER
from omp_mlp.state import TrainingState
from omp_mlp.train import train_parallel
from omp_mlp.warned import (
    LearningRateWarning,
    MissingNumbersWarning,
    SettingsWarning,
    SkippedReplicaWarning,
    TaskWarning,
)

if _TYPE_CHECKING:
    from omp_mlp import datasets, plot

__version__ = _core.build_config()["version"]

__all__ = [
    "PAPER",
    "Ensemble",
    "History",
    "LearningRateWarning",
    "MergeMethod",
    "MergeOption",
    "MissingNumbersWarning",
    "Model",
    "Progress",
    "SettingsWarning",
    "SkippedReplicaWarning",
    "TaskWarning",
    "TrainingDivergedError",
    "TrainingState",
    "__version__",
    "build_config",
    "costs",
    "datasets",
    "load",
    "merge",
    "merge_methods",
    "plot",
    "show_config",
    "train_parallel",
]

# What few programs need is imported when it is asked for.
_ON_DEMAND = ("datasets", "plot")
_OF_SKLEARN = ("OmpMLPClassifier", "OmpMLPRegressor")


def __getattr__(name: str) -> _Any:  # noqa: ANN401
    if name in _ON_DEMAND:
        import importlib

        return importlib.import_module(f"omp_mlp.{name}")
    if name in _OF_SKLEARN:
        import importlib

        return getattr(importlib.import_module("omp_mlp.sklearn"), name)
    raise AttributeError(f"module 'omp_mlp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND, *_OF_SKLEARN})


# Python ends threads that take the GIL after this, whatever they do.
_atexit.register(_core.close_core)

# GCC's OpenMP runtime keeps a pool of threads, and hangs in a forked child that inherits one.
if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(before=_core.release_threads)

# For tests and comparisons: an instruction set by name instead of the best of this machine.
if "OMP_MLP_KERNELS" in _os.environ:
    _core.select_kernels(_os.environ["OMP_MLP_KERNELS"])
