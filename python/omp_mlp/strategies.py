"""Which strategies there are, and which options of a training go with which."""

from __future__ import annotations

from collections.abc import Mapping

from omp_mlp import checks

STRATEGIES = ("replica", "section", "synchronous", "hogwild", "pattern", "auto")
ONE_NETWORK = ("section", "synchronous", "hogwild")
"""The strategies that train one network with several threads, without replicas to merge."""

# The options of merges, and those that only replicas have.
_FIXED_BY_PATTERN = ("merge_every", "outer_optimizer", "outer_learning_rate", "outer_momentum")
_OF_MERGES = ("merge", "merge_options", *_FIXED_BY_PATTERN, "last_merge", "on_nonfinite")
_OF_REPLICAS = (*_OF_MERGES, "warmup_samples", "init", "keep_replicas", "forward_precision")


def check(strategy: object, options: Mapping[str, object], defaults: Mapping[str, object]) -> str:
    """Check that a strategy exists and that the options given go with it.

    Options that have their default value count as not given.
    """
    name = checks.choice("strategy", strategy, STRATEGIES)
    given = asked_of_replicas(options, defaults)
    if name in ONE_NETWORK and given:
        raise ValueError(
            f"strategy={name!r} trains one network, with nothing to merge, and goes without "
            f"{', '.join(_OF_MERGES)}, warmup_samples, keep_replicas, init='independent' and "
            "forward_precision='bfloat16'; these go with strategy='replica' "
            f"(and all but {' and '.join(_FIXED_BY_PATTERN)} with 'pattern'). Got {_listed(given)}"
        )
    fixed = {option: given[option] for option in _FIXED_BY_PATTERN if option in given}
    if name == "pattern" and fixed:
        raise ValueError(
            "strategy='pattern' merges after every epoch and without an outer step; "
            f"{' and '.join(_FIXED_BY_PATTERN)} go with strategy='replica'. Got {_listed(fixed)}"
        )
    return name


def asked_of_replicas(
    options: Mapping[str, object], defaults: Mapping[str, object]
) -> dict[str, object]:
    """Return the options that were given and that only a training with replicas can have."""
    return {name: options[name] for name in _OF_REPLICAS if _is_given(name, options, defaults)}


def _is_given(name: str, options: Mapping[str, object], defaults: Mapping[str, object]) -> bool:
    value, default = options[name], defaults[name]
    if name == "init":  # a start from a network goes with every strategy
        return isinstance(value, str) and value == "independent"
    # The type is asked for too: arrays do not compare to a single bool.
    return value is not default and not (isinstance(value, type(default)) and value == default)


def _listed(given: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in given.items())
