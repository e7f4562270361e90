"""Presets: names for options that were measured together on one kind of data."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar, cast

from omp_mlp import checks

P = ParamSpec("P")
R = TypeVar("R")

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "tabular": MappingProxyType(
            {
                "hidden_layer_sizes": (128, 128),
                "parametrization": "ntk",
                "optimizer": "adam",
                "beta_2": 0.95,
                "learning_rate_schedule": "coslog4",
                "input_gain_rate": 6.0,
                "weight_decay": 0.1,
                # Replicas add up their steps, which those of adaptive optimisers do not bear.
                "strategy": "synchronous",
            }
        ),
    }
)
"""The defaults of each preset, which stand for those of ``train_parallel``."""

_OF_OPTIMIZER = ("beta_2",)  # settings of the preset's optimiser, which others may not have


def with_presets(train: Callable[P, R]) -> Callable[P, R]:
    """Let the option ``preset`` decide what a call does not give.

    What a call gives counts, even if it is the default of the signature.
    """
    signature = inspect.signature(train)

    @functools.wraps(train)
    def train_with_preset(*args: P.args, **kwargs: P.kwargs) -> R:
        name = kwargs.get("preset")
        if name is None:
            return train(*args, **kwargs)
        preset = PRESETS[cast(str, checks.choice("preset", name, (None, *PRESETS)))]
        given = signature.bind(*args, **kwargs)
        options = {**preset, **given.arguments}
        if options["optimizer"] != preset["optimizer"]:
            options = {
                name: value
                for name, value in options.items()
                if name in given.arguments or name not in _OF_OPTIMIZER
            }
        given.arguments = options
        return train(*given.args, **given.kwargs)

    return train_with_preset
