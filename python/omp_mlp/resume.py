"""Go on with a training: what has to be the same, and what the state decides."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import numpy.typing as npt

from omp_mlp import _core
from omp_mlp.checks import shown
from omp_mlp.data import TrainingData
from omp_mlp.model import Model
from omp_mlp.options import COMPRESS, ROWS, SETTLED, Checkpoint, Options
from omp_mlp.plan import Plan
from omp_mlp.scaling import Scaling
from omp_mlp.sparse import Csr
from omp_mlp.state import OBJECT, Arrays, TrainingState, kept_option, of_all_ranks
from omp_mlp.targets import Targets

P = ParamSpec("P")
R = TypeVar("R")

# What may change where a training goes on: it changes no bits.
_FREE = ("callback", "checkpoint", "checkpoint_every", "costs", "progress", "resume", "workers")
# Their rates do not depend on how long the training is.
_SCHEDULES_WITHOUT_END = ("constant", "adaptive", "inverse_scaling")


def with_resume(train: Callable[P, R]) -> Callable[P, R]:
    """Let the state in ``resume`` give the options that a call does not give."""
    signature = inspect.signature(train)

    @functools.wraps(train)
    def train_from_state(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs.get("resume") is None:
            return train(*args, **kwargs)
        state = cast(TrainingState, ROWS["resume"].check("resume", kwargs["resume"]))
        given = signature.bind(*args, **kwargs)
        given.arguments = {**kept_options(state), **given.arguments, "resume": state}
        return train(*given.args, **given.kwargs)

    return train_from_state


def kept_options(state: TrainingState) -> dict[str, Any]:
    """Return the options that the state has, and not only a word of them."""
    return {
        name: kept_option(value)
        for name, value in state.options.items()
        if name in ROWS and name not in _FREE and value != OBJECT
    }


# -------------------------------------------------------------------------------- what is the same


def described_options(options: Options) -> dict[str, Any]:
    """Return the options as a state keeps them."""
    return {name: _described(getattr(options, name)) for name in ROWS if name not in _FREE}


def _described(value: Any) -> Any:  # noqa: ANN401 - of any option
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)) and all(isinstance(one, (int, float)) for one in value):
        return list(value)
    if isinstance(value, Mapping) and all(
        isinstance(key, str) and isinstance(one, (bool, int, float, str))
        for key, one in value.items()
    ):
        return {"mapping": dict(value)}
    return OBJECT


def described_data(data: TrainingData, options: Options) -> dict[str, Any]:
    """Return shape, dtype and checksum of all arrays of a training."""
    arrays = arrays_of_rows(data.inputs.rows, values_of(data.targets), data.sample_weight)
    return {**checksums(arrays), **described_besides(data, options)}


def described_besides(data: TrainingData, options: Options) -> dict[str, Any]:
    """Return the same of the arrays that have no part for each row of X."""
    arrays = {
        "labels of y": _labels(data.targets),
        **_of_scaling("X", data.inputs.scaling),
        **_of_scaling("y", data.targets.scaling),
    }
    if data.validation is not None:
        held_out = data.validation
        rows = arrays_of_rows(held_out.inputs.rows, values_of(held_out.targets), None)
        arrays |= {f"validation {name}": array for name, array in rows.items()}
        arrays["labels of validation y"] = _labels(held_out.targets)
    if isinstance(options.init, Model):
        arrays["init"] = options.init._packed
    return checksums(arrays)


def arrays_of_rows(
    X: Any,  # noqa: ANN401 - an array, or a Csr
    y: npt.NDArray[Any],
    sample_weight: npt.NDArray[Any] | None,
) -> dict[str, npt.NDArray[Any] | None]:
    """Return the arrays that some rows are in."""
    if isinstance(X, Csr):
        of_X = {f"X {part}": getattr(X, part) for part in ("starts", "indices", "values")}
    else:
        of_X = {"X": X}
    return {**of_X, "y": y, "sample_weight": sample_weight}


def _of_scaling(name: str, scaling: Scaling | None) -> dict[str, npt.NDArray[Any] | None]:
    """Return what rows of other units, which are the same rows in their own, differ by."""
    if scaling is None:
        return {}
    return {f"{part} of {name}": array for part, array in scaling.parts().items()}


def values_of(targets: Targets) -> npt.NDArray[Any]:
    """Return a class, or a row of values, of each sample."""
    values = targets.values if targets.exact is None else targets.exact
    found = targets.indices if values is None else values
    assert found is not None
    return found


def _labels(targets: Targets) -> npt.NDArray[Any] | None:
    return None if targets.labels is None else np.array(list(map(repr, targets.labels.tolist())))


def checksums(arrays: Mapping[str, npt.NDArray[Any] | None]) -> dict[str, Any]:
    """Return shape, dtype and checksum of each array that is there."""
    return {name: _checksum(array) for name, array in arrays.items() if array is not None}


def _checksum(array: npt.NDArray[Any]) -> dict[str, Any]:
    content = np.ascontiguousarray(array)
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": hashlib.sha256(content.view(np.uint8).reshape(-1).data).hexdigest(),
    }


def settled(plan: Plan) -> dict[str, Any]:
    """Return what a plan made of the options that were left open, and when it merges."""
    return {
        **{name: getattr(plan.options, name) for name in SETTLED},
        "threads": plan.threads,
        "strategy": plan.strategy,
        "compresses": plan.options.scale_inputs == COMPRESS,
        "merge_every": list(plan.merging.period),
        "outer_optimizer": dataclasses.asdict(plan.merging.outer),
        **_settled_of_ranks(plan),
    }


def _settled_of_ranks(plan: Plan) -> dict[str, Any]:
    """Return what has to be the same where ranks go on; their number, if each has merges."""
    if plan.ranks is None:
        return {}
    every = plan.merging.merges_a_round
    has_own = every > 1 or plan.ranks.send != "float32" or plan.ranks.overlap
    return {
        "deterministic": plan.ranks.deterministic,
        "merge_ranks_every": every,
        "send": plan.ranks.send,
        "overlap": plan.ranks.overlap,
        # Networks between merges, and what is not sent yet, are those of each rank.
        "ranks": plan.ranks.size if has_own else None,
    }


# --------------------------------------------------------------------------------- going on from it


def check_kind(state: TrainingState, *, of_ranks: bool) -> None:
    """Raise ValueError if a state of one process is to go on on several ranks, or the reverse."""
    kinds = {True: "several ranks", False: "one process"}
    if ("merge_ranks_every" in state.settled) != of_ranks:
        raise ValueError(
            f"resume goes on with a training of {kinds[of_ranks]}; got the state of one of "
            f"{kinds[not of_ranks]}"
        )


def settle_as(options: Options, state: TrainingState) -> Options:
    """Return the options with the state's decisions; raise ValueError if others are given."""
    got = described_options(options)
    for name, expected in state.options.items():
        if name != "epochs" and got.get(name) != expected:
            raise ValueError(
                f"resume goes on with the options that the training began with; {name} was "
                f"{_shown(expected)}, and is {_shown(got.get(name))}"
            )
    known = {name: ROWS[name].check(name, state.settled[name]) for name in SETTLED}
    if state.settled.get("compresses"):  # which states did not tell before there was a choice
        known["scale_inputs"] = COMPRESS
    if not isinstance(options.epochs, str):
        known["epochs"] = _epochs(options, known["epochs"])
    return dataclasses.replace(options, **known)


def _shown(description: object) -> str:
    if description == OBJECT:
        return "an array or another object, which a state does not keep"
    return shown(kept_option(description))


def _epochs(options: Options, before: int) -> int:
    if options.epochs < before:
        raise ValueError(
            f"epochs must be at least the {before} of the training that resume goes on with; "
            f"got {options.epochs}"
        )
    schedule = options.learning_rate_schedule
    has_no_end = schedule in _SCHEDULES_WITHOUT_END and options.warmup_share == 0
    if options.epochs > before and not has_no_end:
        raise ValueError(
            f"resume with more epochs ({options.epochs} after {before}) goes with "
            f"learning_rate_schedule={' or '.join(map(repr, _SCHEDULES_WITHOUT_END))} and "
            "warmup_share=0, whose rates do not depend on the number of epochs; got "
            f"{schedule!r} and {options.warmup_share:g}"
        )
    return options.epochs


def check_plan(plan: Plan, data: TrainingData, state: TrainingState) -> None:
    """Check that the data are the same, and that the rounds go on as they began."""
    now_settled = settled(plan)
    for name in _settled_of_ranks(plan):
        # Before there was a choice, states did not tell it.
        first = {"send": "float32", "overlap": False}
        before, now = {**first, **state.settled}[name], now_settled[name]
        if before != now:
            raise ValueError(
                f"resume goes on as the training began; {name} was {before}, and is {now}"
            )
    got = described_data(data, plan.options) if plan.ranks is None else plan.ranks.data
    for name in {**state.data, **got}:
        before, now = state.data.get(name), got.get(name)
        if before != now:
            raise ValueError(
                "resume goes on with the data that the training began with; "
                f"{name} was {_shown_array(before)}, and is {_shown_array(now)}"
            )
    for name in ("merge_every", "outer_optimizer"):
        if state.settled[name] != now_settled[name]:
            raise ValueError(
                f"resume with epochs={plan.options.epochs} goes with a {name} that does not depend "
                f"on the number of epochs; it was {state.settled[name]}, and is "
                f"{now_settled[name]}. Give {name}"
            )


def _shown_array(description: Any) -> str:  # noqa: ANN401 - of a file
    if description is None:
        return "not given"
    shape = tuple(description["shape"])
    return f"{shape} of {description['dtype']} with SHA-256 {description['sha256'][:12]}..."


def keep_state(state: TrainingState, place: Checkpoint) -> None:
    """Write a state to a file, or hand it over."""
    if callable(place):
        place(state)
    else:
        state.save(place)


class Keeper:
    """Keeps the states of a training where the option ``checkpoint`` asks for them."""

    def __init__(
        self, plan: Plan, data: TrainingData, given: Options, resume: TrainingState | None
    ) -> None:
        self.last: TrainingState | None = None
        self._plan, self._data, self._given, self._resume = plan, data, given, resume

    def keep(self, core: Arrays, watched: Arrays, judged: dict[str, Any] | None) -> None:
        """Make a state, and write it or hand it over.

        A network that is not finite is about to diverge; the state before that is kept.
        """
        ranks = self._plan.ranks
        if ranks is not None:
            core = of_all_ranks(core, ranks.gather)
        if not np.isfinite(core["master"]).all():
            return
        version = _core.build_config()["version"]
        self.last = TrainingState(*self._about, version, judged, watched, core)
        is_written_elsewhere = ranks is not None and ranks.rank > 0
        if self._given.checkpoint is not None and not is_written_elsewhere:
            keep_state(self.last, self._given.checkpoint)

    @functools.cached_property
    def _about(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        # The data that a training goes on with were compared with those of its state.
        if self._resume is not None:
            data = self._resume.data
        elif self._plan.ranks is not None:
            data = dict(self._plan.ranks.data)
        else:
            data = described_data(self._data, self._given)
        return described_options(self._given), settled(self._plan), data


def rounds_of(plan: Plan, state: TrainingState) -> int:
    """Return the rounds of the whole training, those of the state among them."""
    done = int(state._core["round"][0])
    if plan.options.epochs > state.settled["epochs"]:
        # The last round of the shorter training may be a part of one.
        done = int(state._core["position"][0]) // (
            plan.merging.period[0] * plan.merging.merges_a_round
        )
    return state.round + plan.merging.merges - done
