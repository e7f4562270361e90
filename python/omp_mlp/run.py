"""Run a plan in the core, and finish it: merge where Python merges, and make the history."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from omp_mlp import _core, cadence, lbfgs
from omp_mlp.checks import FloatArray
from omp_mlp.data import TrainingData
from omp_mlp.doubts import (
    warn_of_few_rows,
    warn_of_first_round,
    warn_of_precision,
    warn_of_scales,
)
from omp_mlp.early_stopping import Judge, patience_of
from omp_mlp.ensemble import Ensemble
from omp_mlp.errors import TrainingDivergedError
from omp_mlp.history import History
from omp_mlp.merging.merge import search_alpha
from omp_mlp.merging.methods import PythonMethod, apply
from omp_mlp.model import Model
from omp_mlp.options import LBFGS, Options
from omp_mlp.plan import Plan
from omp_mlp.resume import Keeper, rounds_of
from omp_mlp.state import Arrays, TrainingState, of_one_rank
from omp_mlp.warned import LearningRateWarning, SkippedReplicaWarning, warn
from omp_mlp.watch import Watcher

KeepState = Callable[[bool, Callable[[], Arrays]], None]
"""Gets whether a round is the last one, and what takes the core's state after it."""


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One training, from the plan to the network that it makes."""

    plan: Plan
    data: TrainingData
    given: Options | None = None  # the options before anything was settled
    resume: TrainingState | None = None  # what the training goes on from
    optimizers: Arrays | None = None  # what the optimisers of a new training begin with
    keep_state: KeepState | None = None  # what the core calls after rounds, too

    def train(self) -> Model | Ensemble:
        """Run the training, and return the network with its history."""
        options = self.plan.options
        if self._warns_for_all:
            self._warn_of_settings()
        judge = self._judge()
        keeper = self._keeper()
        with Watcher(
            rounds=self._rounds(),
            total_samples=self.plan.total_samples,
            unmerged_after=options.warmup_samples if options.merges_in_python else None,
            callback=options.callback,
            progress=options.progress,
            score=None if self.data.validation is None else self._score,
            score_every=self.plan.validate_every,
            judge=judge,
            judged_loss=self._judged_loss if self._has_outliers_to_judge() else None,
            loss_unit=self.loss_unit(),
            network=lambda packed: self._as_given(packed.copy()),
            # What Python merges is no network of the core, and is judged when it is merged. A rank
            # has a part of the rows alone.
            judge_first=(
                None if options.merges_in_python or self.plan.ranks else self._judge_first_round
            ),
            keep=None if keeper is None else keeper.keep,
            keep_every=self._keep_every(),
            is_one_of_many=self.plan.ranks is not None,
        ) as watcher:
            if self.resume is not None:
                watcher.go_on(self.resume)
            try:
                result = self._run_core(watcher)
            except BaseException as error:
                self._keep_what_was_trained(error, watcher, judge, keeper)
                raise
            if result.retreats and self._warns_for_all:
                _warn_of_retreats(options.learning_rate, result.retreats)
            if result.divergence is not None:
                diverged = self._divergence(result, watcher, judge)
                diverged.state = None if keeper is None else keeper.last
                raise diverged
            replicas = tuple(self.plan.network.model(packed) for packed in result.replicas)
            best = None if judge is None else judge.best
            master = self.plan.network.model(result.parameters if best is None else best)
            columns = result.history
            merged: Model | Ensemble = master
            if options.merges_in_python:
                try:
                    merged = self._merge(master, replicas, result.skipped, columns, watcher)
                except BaseException as error:
                    with contextlib.suppress(Exception):  # some exceptions take no attributes
                        error.partial_result = result  # type: ignore[attr-defined]
                    self._keep_what_was_trained(error, watcher, judge, keeper, replicas)
                    raise
        history = self._history(columns, watcher, judge)
        if result.skipped and self._warns_for_all:
            _warn_of(result.skipped)
        kept = replicas if options.keep_replicas else ()
        network = self.plan.network
        return network.as_given(merged)._with(
            history, tuple(network.model_as_given(one) for one in kept)
        )

    @property
    def _warns_for_all(self) -> bool:
        """Whether it is here that warnings of what all ranks know are given."""
        return self.plan.ranks is None or self.plan.ranks.rank == 0

    def _warn_of_settings(self) -> None:
        """Warn of settings that rarely end well, before the training."""
        options, inputs = self.plan.options, self.data.inputs
        if options.epochs == 0:
            return
        warn_of_precision(options.precision)
        if self.plan.strategy in ("replica", "pattern"):
            warn_of_few_rows(inputs.n_samples, self.plan.threads)
        if options.scale_inputs is False and self.plan.ranks is None:
            columns = self.data.columns
            warn_of_scales(inputs, None if columns is None else columns.input_names)

    def _judge_first_round(self, packed: FloatArray) -> None:
        self._doubt(self.plan.network.model(packed), "after the first round")

    def _doubt(self, model: Model, when: str) -> None:
        warn_of_first_round(model, self.data.inputs, self.data.targets, self.plan.loss, when)

    def _history(self, columns: dict[str, Any], watcher: Watcher, judge: Judge | None) -> History:
        columns["loss"] *= self.loss_unit()
        prediction = self.plan.prediction
        return History.of_training(
            columns,
            validation=watcher.validation,
            predicted=math.nan if prediction is None else prediction.total,
            total_samples=self.plan.total_samples,
            strategy=self.plan.strategy,
            threads=self.plan.threads,
            best_round=None if judge is None else judge.best_round,
        )

    def _keep_what_was_trained(
        self,
        error: BaseException,
        watcher: Watcher,
        judge: Judge | None,
        keeper: Keeper | None,
        unmerged: tuple[Model, ...] = (),
    ) -> None:
        """Give what ended the training, such as Ctrl-C, the network and the history so far.

        ``unmerged``: replicas whose merge is what ended.
        """
        result = error.__dict__.pop("partial_result", None)
        if result is None or hasattr(error, "model") or hasattr(error, "history"):
            return
        model, history = self._so_far(result, watcher, judge)
        if unmerged:
            replicas = tuple(self.plan.network.model_as_given(one) for one in unmerged)
            model = model._with(model.history, replicas)
        state = None if keeper is None else keeper.last
        error.__dict__.update(model=model, history=history, state=state)

    def _so_far(
        self, result: _core.TrainResult | lbfgs.Result, watcher: Watcher, judge: Judge | None
    ) -> tuple[Model, History]:
        """Return what the training would give back, and all rounds that were finished."""
        parameters, rounds = result.parameters, result.rounds
        finished = len(result.history["samples"])
        # The scoring of the last round, or its report, may be what ended the training.
        del watcher.validation[finished:]
        watcher.validation += [(math.nan, math.nan)] * (finished - len(watcher.validation))
        history = self._history(result.history, watcher, judge)
        if judge is not None and judge.best is not None:
            # Early stopping gives back the best master after all rounds.
            parameters, rounds = judge.best, len(history)
        return self._as_given(parameters)._with(history.first(rounds)), history

    def _as_given(self, packed: FloatArray) -> Model:
        """Return the network on X and y as given; it takes over the core's parameters."""
        return self.plan.network.model_as_given(self.plan.network.model(packed))

    def _divergence(
        self, result: _core.TrainResult | lbfgs.Result, watcher: Watcher, judge: Judge | None
    ) -> TrainingDivergedError:
        """Return the error of a training that diverged, with what the training would give back."""
        assert result.divergence is not None
        model, history = self._so_far(result, watcher, judge)
        round_, replica = result.divergence
        return TrainingDivergedError(round_, None if replica < 0 else replica, model, history)

    def loss_unit(self) -> float:
        """Return what a loss of 1 in the training is in the units of y.

        The core adds up the outputs' losses. So with several outputs, this is right on average.
        """
        return float(np.mean(self.plan.loss.unit(self.data.targets.scaling)))

    def train_unwatched(self) -> Model | None:
        """Return the network on X and y as the training reads them; None if it diverges."""
        result = self._run_core(None)
        if result.divergence is not None:
            return None
        return self.plan.network.model(result.parameters)

    def _run_core(self, watcher: Watcher | None) -> _core.TrainResult | lbfgs.Result:
        _core.missing_threads()  # what was missing before is not of this training
        try:
            result = self._run_within_memory(watcher)
        except MemoryError as error:
            if error.args == ("std::bad_alloc",):  # of the core, and not of a callback
                error.args = (self._asked_for(),)
            raise
        if missing := _core.missing_threads():
            _warn_of_missing_threads(missing)
        return result

    def _asked_for(self) -> str:
        """Return what a training needs, of the memory that there is not."""
        sizes = self.plan.network.layer_sizes
        copies = self.plan.threads if self.plan.strategy in ("replica", "pattern") else 1
        parameters = cadence.count_parameters(sizes)
        return (
            f"the training needs more memory than there is: {copies} network(s) of layers {sizes} "
            f"have {4e-9 * copies * parameters:.3g} GB of parameters, and a batch of "
            f"{self.plan.options.batch_size} samples has {4e-9 * self._batch_entries():.3g} GB of "
            "activations"
        )

    def _batch_entries(self) -> int:
        plan = self.plan
        return min(plan.options.batch_size, plan.n_samples) * sum(plan.network.layer_sizes)

    def _run_within_memory(self, watcher: Watcher | None) -> _core.TrainResult | lbfgs.Result:
        data = self.data
        targets = _core.Targets(
            classes=data.targets.indices,
            values=data.targets.values,
            weights=data.sample_weight,
            loss=self.plan.loss.core(),
        )
        if self.plan.options.optimizer == LBFGS:
            return lbfgs.minimize(self.plan, data, targets, watcher)
        return _core.train(
            network=self.plan.network.core(self.plan.start),
            samples=data.inputs.core,
            targets=targets,
            options=self.plan.core_options(),
            state=self._begun_with(),
            after_first_round=None if watcher is None else watcher.after_first_round,
            after_round=watcher.after_round if watcher and watcher.watches_rounds else None,
            during_round=watcher.during_round if watcher and watcher.watches_within else None,
            keep_state=self._state_keeper(watcher),
            ranks=None if self.plan.ranks is None else self.plan.ranks.core,
        )

    # ------------------------------------------------------------------------ states to go on from

    def _begun_with(self) -> Arrays | None:
        if self.resume is None:
            return self.optimizers
        ranks = self.plan.ranks
        core = self.resume._core
        return core if ranks is None else of_one_rank(core, ranks.rank, ranks.size)

    def _rounds(self) -> int:
        return self.plan.rounds if self.resume is None else rounds_of(self.plan, self.resume)

    def _keeper(self) -> Keeper | None:
        if self.plan.options.checkpoint is None:
            return None
        given = self.given or self.plan.options
        return Keeper(self.plan, self.data, given, self.resume)

    def _state_keeper(self, watcher: Watcher | None) -> KeepState | None:
        """Return what the core calls after rounds: checkpoints, and whoever else wants states."""
        of_watcher = watcher.keep_state if watcher and watcher.keeps_states else None
        if of_watcher is None or self.keep_state is None:
            return of_watcher or self.keep_state
        both = (of_watcher, self.keep_state)

        def keep(is_last: bool, take: Callable[[], Arrays]) -> None:
            for one in both:
                one(is_last, take)

        return keep

    def _keep_every(self) -> int:
        """Return the rounds from one checkpoint to the next; "auto": those of an epoch."""
        every, merges = self.plan.options.checkpoint_every, self.plan.merging.merges
        return (
            every if not isinstance(every, str) else -(-merges // max(1, self.plan.options.epochs))
        )

    def _score(self, packed: FloatArray) -> tuple[float, float]:
        # A model takes its parameters over, and the judge may keep these.
        return self._evaluated(self.plan.network.model(packed.copy()))

    def _has_outliers_to_judge(self) -> bool:
        validation = self.data.validation
        return validation is not None and validation.near is not None

    def _judged_loss(self, packed: FloatArray) -> float:
        assert self.data.validation is not None
        return self.data.validation.near_loss(
            self.plan.network.model(packed.copy()), self.plan.loss
        )

    def _evaluated(self, model: Model | Ensemble) -> tuple[float, float]:
        assert self.data.validation is not None
        return self.data.validation.evaluate(model, self.plan.loss)

    def _judge(self) -> Judge | None:
        options = self.plan.options
        if not options.early_stopping:
            return None
        scorings = -(-self.plan.rounds // self.plan.validate_every)
        return Judge(patience_of(options.patience, scorings, options.epochs), options.min_delta)

    def _merge(
        self,
        base: Model,
        replicas: tuple[Model, ...],
        skipped: list[tuple[int, int]],
        columns: dict[str, Any],
        watcher: Watcher,
    ) -> Model | Ensemble:
        """Merge the replicas of the only round, and count that into its row of the history."""
        began = time.perf_counter()
        warmups = self.plan.rounds - self.plan.merging.merges
        if len(columns["samples"]) <= warmups:  # the training ended before the replicas parted
            return self._merged(base, [])
        left_out = {replica for _, replica in skipped}
        merged = self._merged(base, [one for i, one in enumerate(replicas) if i not in left_out])
        columns["merge_seconds"][-1] += time.perf_counter() - began
        if self.plan.ranks is None:
            first = merged.models[0] if isinstance(merged, Ensemble) else merged
            self._doubt(first, "after the merge")
        watcher.merged(
            int(columns["samples"][-1]),
            float(columns["loss"][-1]),
            None if self.data.validation is None else self._evaluated(merged),
            lambda: self.plan.network.as_given(merged),
        )
        return merged

    def _merged(self, base: Model, replicas: list[Model]) -> Model | Ensemble:
        options, data = self.plan.options, self.data
        if isinstance(options.method, PythonMethod):
            # Without replicas there is only the start; its merge is the start itself.
            return apply(
                options.method,
                replicas or [base],
                data.inputs,
                data.targets,
                options.method_options,
            )
        if not replicas:
            return base
        return search_alpha(replicas, base, lambda model: self._evaluated(model)[0])


def _warn_of_retreats(rate: float, retreats: list[tuple[int, float]]) -> None:
    rates = " ".join(f"-> {lower:.3g} (round {round_})" for round_, lower in retreats)
    warn(
        "the training diverged, and went on from the last good master with half the learning "
        f"rate: {rate:.3g} {rates}",
        LearningRateWarning,
    )


def _warn_of_missing_threads(missing: int) -> None:
    warn(
        f"the system refused {missing} thread(s), and the training ran on fewer workers, with the "
        "same result. Limits on threads and memory, such as `ulimit -u` and `ulimit -v`, refuse "
        "them; workers= asks for fewer",
        RuntimeWarning,
    )


def _warn_of(skipped: list[tuple[int, int]]) -> None:
    shown = ", ".join(f"replica {replica} in round {round_}" for round_, replica in skipped[:5])
    more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
    warn(
        f"left out of the merge, with an infinite loss or weight, or one that is not a number: "
        f"{shown}{more}",
        SkippedReplicaWarning,
    )
