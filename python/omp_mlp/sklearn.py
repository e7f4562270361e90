"""Estimators in the manner of scikit-learn, which this module needs; nothing else imports it."""

from __future__ import annotations

import dataclasses
import math
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.extras import missing

try:
    import joblib
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import accuracy_score
    from sklearn.utils import check_array, check_random_state, compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import (
        check_consistent_length,
        check_is_fitted,
        column_or_1d,
        validate_data,
    )
except ImportError as error:
    raise missing("an estimator", "scikit-learn 1.6 or later", "sklearn") from error

from omp_mlp import checks
from omp_mlp.automatic import BATCH_OF_WHOLE_STEPS, read_and_settle, retreats, settle
from omp_mlp.checks import Column, Matrix
from omp_mlp.costs import Costs
from omp_mlp.data import TrainingData, read_data
from omp_mlp.ensemble import Ensemble
from omp_mlp.frames import as_array, is_frame, is_series, known_frame
from omp_mlp.history import History, Progress
from omp_mlp.losses import log_softmax
from omp_mlp.model import Model
from omp_mlp.options import (
    DEFAULTS,
    LBFGS,
    OPTIMIZERS,
    ROWS,
    SCHEDULES,
    Checkpoint,
    Options,
    check_options,
)
from omp_mlp.plan import make_plan
from omp_mlp.presets import PRESETS
from omp_mlp.resume import check_kind, check_plan, keep_state, settle_as
from omp_mlp.run import Run
from omp_mlp.scaling import Scaling
from omp_mlp.state import Arrays, TrainingState, mean_of_optimizers, optimizers_of_each
from omp_mlp.targets import as_target, read_classes, weights_of_labels
from omp_mlp.watch import Callback
from omp_mlp.workers import available_cores

RENAMED: Mapping[str, str] = {
    "alpha": "l2",
    "learning_rate": "learning_rate_schedule",
    "learning_rate_init": "learning_rate",
    "max_iter": "epochs",
    "n_iter_no_change": "patience",
    "n_jobs": "workers",
    "random_state": "seed",
    "solver": "optimizer",
    "tol": "min_delta",
}
"""What scikit-learn calls an option of :func:`omp_mlp.train_parallel`."""

# Options with the same name that the estimators understand in scikit-learn's way, too.
_UNDERSTOOD = ("hidden_layer_sizes", "learning_rate", "shuffle", "tol")
# scikit-learn's defaults for what stops a training, once one of them is given.
_MAX_ITER, _TOL, _N_ITER_NO_CHANGE = 200, 1e-4, 10
_MOST_PATIENCE = 2**62


class _Epochs:
    """Follows a training epoch by epoch: prints, and stops when the loss no longer falls."""

    def __init__(
        self,
        n_samples: int,
        warmup_samples: int,
        *,
        judges: str | None,
        tol: float,
        n_iter_no_change: float,
        verbose: bool,
        callback: Callback | None,
    ) -> None:
        self.has_converged = False
        self._n_samples = n_samples
        self._samples = -warmup_samples  # seen so far, by the rounds that are over
        self._judges = judges  # "training" or "validation" loss; None: nothing stops the training
        self._tol = tol
        self._n_iter_no_change = n_iter_no_change
        self._verbose = verbose
        self._callback = callback
        self._warmup_samples = warmup_samples
        self._epochs = 0
        self._loss_sum, self._loss_samples = 0.0, 0
        self._validation_loss = math.inf  # the least one of the epoch
        self._least, self._failures = math.inf, 0

    def __call__(self, progress: Progress) -> bool:
        """Take note of a report; return whether the training should stop."""
        stop = self._callback is not None and self._callback(progress) is True
        if not progress.merged:
            return stop
        self._end_round(progress.samples, progress.loss, progress.validation_loss)
        return stop or self.has_converged

    def go_on(self, state: TrainingState, loss_unit: float) -> None:
        """Take note of the rounds that were over before; they were printed then."""
        verbose, self._verbose = self._verbose, False
        of_rounds = zip(
            state._core["history.samples"].tolist(),
            (state._core["history.loss"] * loss_unit).tolist(),
            state._watched["validation"][::2].tolist(),
            strict=True,
        )
        for samples, loss, validation_loss in of_rounds:
            self._end_round(samples, loss, validation_loss)
        self._verbose = verbose

    def keep_in(self, place: Checkpoint) -> Checkpoint:
        """Return a place for states that takes none of a training that is over."""

        def keep(state: TrainingState) -> None:
            if not self.has_converged:
                keep_state(state, place)

        return keep

    def _end_round(self, samples: int, loss: float, validation_loss: float) -> None:
        samples -= self._warmup_samples
        if samples <= 0:  # the warm-up
            return
        self._loss_sum += loss * (samples - self._samples)
        self._loss_samples += samples - self._samples
        self._samples = samples
        if not math.isnan(validation_loss):
            self._validation_loss = min(self._validation_loss, validation_loss)
        if samples // self._n_samples > self._epochs:
            self._epochs = samples // self._n_samples
            self._end_epoch()

    def _end_epoch(self) -> None:
        loss = self._loss_sum / self._loss_samples
        if self._verbose:
            print(f"Iteration {self._epochs}, loss = {loss:.8f}")
        if self._judges is not None:
            judged = loss if self._judges == "training" else self._validation_loss
            self._failures = self._failures + 1 if judged > self._least - self._tol else 0
            self._least = min(self._least, judged)
            self.has_converged = self._failures > self._n_iter_no_change
        self._loss_sum, self._loss_samples = 0.0, 0
        self._validation_loss = math.inf


def _last_rounds(
    history: History, n_samples: int, warmup_samples: int
) -> tuple[npt.NDArray[np.int64], int]:
    """Return the round that ends each epoch, and the number of epochs that were begun.

    Where rounds are longer than epochs, each round is an end.
    """
    epoch = np.maximum(history.samples - warmup_samples, 0) // n_samples
    ends = np.flatnonzero(np.diff(epoch, prepend=0) > 0)
    last = len(history) - 1
    if last < 0:
        return ends, 0
    if len(ends) and ends[-1] == last:
        return ends, int(epoch[-1])
    return np.append(ends, last), int(epoch[-1]) + 1


def _losses(history: History, ends: npt.NDArray[np.int64]) -> list[float]:
    """Return the mean loss of the samples of each epoch."""
    if not len(ends):
        return []
    samples = np.diff(history.samples, prepend=0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    total = np.add.reduceat(history.loss * samples, starts)
    losses: list[float] = (total / np.add.reduceat(samples, starts)).tolist()
    return losses


class _Estimator(BaseEstimator):
    """What classifier and regressor have in common."""

    model_: Model | Ensemble
    loss_curve_: list[float]
    loss_: float
    best_loss_: float | None
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_iter_: int
    t_: int
    _decided: dict[str, Any]  # what later calls of partial_fit keep
    _seed_of_fit: int
    _calls: int  # of partial_fit, since the seed was drawn
    # What the optimiser of the last training remembers, and the settings that this goes with.
    _solver_state: tuple[tuple[str, bool], Arrays] | None = None
    _can_go_on = True  # by partial_fit

    # ------------------------------------------------------------------------ parameters to options

    def _keep_parameters(self, given: dict[str, Any]) -> None:
        for name in self._get_param_names():
            setattr(self, name, given[name])

    def _options(self, **of_this_training: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return train_parallel's options by its names, not checked together yet."""
        checks.choice("warm_start", self.warm_start, (False, True))
        checks.integer("max_fun", self.max_fun, 1)
        if not isinstance(self.verbose, (bool, np.bool_)):
            checks.integer("verbose", self.verbose, 0)
        names = [name for name in self._get_param_names() if name in ROWS]
        given = {name: getattr(self, name) for name in names if name not in _UNDERSTOOD}
        optimizer = self._optimizer()
        is_shuffled = isinstance(self.shuffle, (bool, np.bool_)) and bool(self.shuffle)
        options = {
            **DEFAULTS,
            **given,
            "hidden_layer_sizes": _sizes(self.hidden_layer_sizes),
            "shuffle": "global" if is_shuffled else self.shuffle,
            "optimizer": optimizer,
            "l2": ROWS["l2"].check("alpha", self.alpha),
            "learning_rate": ROWS["learning_rate"].check(
                "learning_rate_init", self.learning_rate_init
            ),
            "learning_rate_schedule": self._schedule(),
            "workers": _workers(self.n_jobs),
            **of_this_training,
        }
        # A parameter that has its default counts as not given.
        preset = ROWS["preset"].check("preset", self.preset)
        for name, value in PRESETS.get(preset, {}).items():
            if options[name] == DEFAULTS[name]:
                options[name] = value
        optimizer = options["optimizer"]
        if optimizer == LBFGS or options["learning_rate_schedule"] == "adaptive":
            options["tol"] = self._tolerance()
        # scikit-learn overlooks settings of what is not in use, and so may a grid of parameters.
        for name, row in ROWS.items():
            if row.optimizers and optimizer not in row.optimizers:
                options[name] = DEFAULTS[name]
        if options["learning_rate_schedule"] != "inverse_scaling":
            options["power_t"] = DEFAULTS["power_t"]
        if not options["early_stopping"]:
            options["validation_fraction"] = DEFAULTS["validation_fraction"]
        if options["checkpoint"] is None:
            options["checkpoint_every"] = DEFAULTS["checkpoint_every"]
        return options

    def _optimizer(self) -> str:
        names = ("auto", *dict.fromkeys([*OPTIMIZERS, "sgd", "adam"]))
        solver = checks.choice("solver", self.solver, names)
        if solver == "auto":
            return "adam" if self._has_rate_of_adam() else str(DEFAULTS["optimizer"])
        if solver != "sgd":
            return solver
        momentum = ROWS["momentum"].check("momentum", self.momentum)
        if momentum == 0:
            return "sgd"
        nesterov = checks.choice("nesterovs_momentum", self.nesterovs_momentum, (True, False))
        return "nesterov" if nesterov else "momentum"

    def _has_rate_of_adam(self) -> bool:
        """Whether there is a rate without a solver, which in scikit-learn is Adam's.

        Plain descent would hardly move at it. A preset has an optimiser of its own, and "hogwild"
        goes with plain descent alone.
        """
        is_given = self._is_given("learning_rate_init")
        return is_given and self.preset is None and self.strategy != "hogwild"

    def _schedule(self) -> str:
        schedule = self.learning_rate
        if not isinstance(schedule, str):
            raise TypeError(
                "learning_rate must be the name of a schedule, as in scikit-learn, and "
                f"learning_rate_init the rate; got learning_rate={schedule!r}"
            )
        names = ("auto", "invscaling", *SCHEDULES)
        schedule = checks.choice("learning_rate", schedule, names)
        if schedule == "auto":
            # A training that may stop at any time needs a rate that does not look at the end.
            return "constant" if self._stops_by_loss() else str(DEFAULTS["learning_rate_schedule"])
        return "inverse_scaling" if schedule == "invscaling" else schedule

    def _stops_by_loss(self) -> bool:
        """Whether tol or n_iter_no_change is given, and the training loss is what they judge."""
        is_given = self._is_given("tol") or self._is_given("n_iter_no_change")
        # L-BFGS has a tol of its own, for the gradient.
        return is_given and not self.early_stopping and self._optimizer() != LBFGS

    def _is_given(self, name: str) -> bool:
        return not isinstance(getattr(self, name), str)

    def _tolerance(self) -> float:
        return _TOL if self._auto("tol") else checks.real("tol", self.tol, 0.0)

    def _no_change(self) -> float:
        value = self.n_iter_no_change
        if self._auto("n_iter_no_change"):
            return _N_ITER_NO_CHANGE
        is_infinite = isinstance(value, float) and value == math.inf
        return value if is_infinite else checks.integer("n_iter_no_change", value, 1)

    def _most_epochs(self) -> int | None:
        return None if self._auto("max_iter") else checks.integer("max_iter", self.max_iter, 1)

    def _auto(self, name: str) -> bool:
        value = getattr(self, name)
        other = "a number" if name == "tol" else "an integer"
        return isinstance(value, str) and checks.choice(name, value, ("auto",), other) == "auto"

    def _seed(self, state: TrainingState | None = None) -> int:
        if state is not None and self.random_state is None:
            return int(state.options["seed"])  # which was drawn then
        if isinstance(self.random_state, (int, np.integer)):
            return int(ROWS["seed"].check("random_state", self.random_state))
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _decay(self, n_samples: int) -> dict[str, Any]:
        """Return the options of alpha: scikit-learn divides it by the size of the batch."""
        alpha = ROWS["l2"].check("alpha", self.alpha)
        if alpha == 0:
            return {}
        if self._optimizer() == LBFGS:
            return {"l2": alpha / n_samples}
        batch_size = ROWS["batch_size"].check("batch_size", self.batch_size)
        if isinstance(batch_size, str):
            batch_size = BATCH_OF_WHOLE_STEPS
        return {"l2": alpha / min(batch_size, n_samples), "batch_size": batch_size}

    def _options_of_fit(self, n_samples: int, **of_this_training: Any) -> dict[str, Any]:  # noqa: ANN401
        """Return the options of a training that is not one of partial_fit's."""
        self._seed_of_fit = self._seed(of_this_training.get("resume"))
        given = self._options(seed=self._seed_of_fit, **self._decay(n_samples), **of_this_training)
        if self.early_stopping:
            given["min_delta"] = 0.0 if self._auto("tol") else self._tolerance()
            if not self._auto("n_iter_no_change"):
                given["patience"] = _MOST_PATIENCE  # epochs are counted here
        if self.warm_start and hasattr(self, "model_"):
            given["init"] = self.model_
        return given

    # ------------------------------------------------------------------------------------- training

    def _fit(
        self,
        X: Any,  # noqa: ANN401 - checked
        y: npt.NDArray[Any],
        weight: npt.NDArray[Any] | None,
        validation: tuple[Matrix, npt.NDArray[Any]] | None,
        **about_y: Any,  # noqa: ANN401
    ) -> None:
        """Train anew, or with warm_start from the last network."""
        state: TrainingState | None = ROWS["resume"].check("resume", self.resume)
        most, stops = self._most_epochs(), self._stops_by_loss()
        epochs: int | str = "auto"
        if stops:
            epochs = most or _MAX_ITER
        elif self.early_stopping and most is not None:
            epochs = most
        given = self._options_of_fit(
            X.shape[0],
            epochs=epochs,
            resume=state,
            sample_weight=_of_mean_one(weight),
            validation_data=validation,
            **about_y,
        )
        options = check_options(given)
        known = None
        if state is not None:
            check_kind(state, of_ranks=False)
            known = settle_as(options, state)
        settled, data = read_and_settle(options, X, y, known=known, most_epochs=most)
        epochs_seen = self._follow(data, stops)
        model = self._run(options, settled, data, epochs_seen)
        self._decided = _decided(settled, data)
        self._enter(model, data.inputs.n_samples, settled, is_validated=data.validation is not None)
        self._calls = 0
        if stops and epochs_seen is not None and not epochs_seen.has_converged:
            warnings.warn(
                f"the training ended after max_iter={settled.epochs} epochs, and its loss still "
                f"falls by tol={self._tolerance():g}",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _partial_fit(
        self,
        X: Any,  # noqa: ANN401 - checked
        y: npt.NDArray[Any],
        weight: npt.NDArray[Any] | None,
        **about_y: Any,  # noqa: ANN401
    ) -> None:
        """Train for one epoch, from the last network if there is one."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        for name in ("checkpoint", "resume"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} goes with fit, whose training it is; got {name}="
                    f"{getattr(self, name)!r} in partial_fit, between whose calls a pickle of the "
                    "estimator has all that the next one needs"
                )
        is_first = not hasattr(self, "model_")
        if is_first:
            self._seed_of_fit, self._calls = self._seed(), 0
        n_samples = X.shape[0]
        given = self._options(
            epochs=1,
            seed=(self._seed_of_fit + self._calls) % 2**64,
            sample_weight=_of_mean_one(weight),
            **self._decay(n_samples),
            **about_y,
        )
        given["learning_rate_schedule"] = "constant"  # nobody knows how many calls there will be
        given["power_t"], given["tol"] = DEFAULTS["power_t"], DEFAULTS["tol"]
        decided: dict[str, Any] = {}
        if not is_first:
            decided = {name: self._decided[name] for name in self._decided if _is_open(given[name])}
            given.update({"init": self.model_, "warmup_samples": 0, **decided})
        options = check_options(given)
        data = read_data(options, X, y, found=decided)
        settled, _ = settle(options, data)
        remembered = None if is_first else self._solver_state
        model = self._run(options, settled, data, self._follow(data, stops=False), remembered)
        before = None if is_first else (self.loss_curve_, self.n_iter_, self.t_)
        if is_first:
            self._decided = _decided(settled, data)
        elif "scale_inputs" in decided:  # which may have got limits
            self._decided = {**self._decided, "scale_inputs": data.inputs.scaling or False}
        self._enter(model, data.inputs.n_samples, settled, is_validated=data.validation is not None)
        self._calls += 1
        if before is not None:
            curve, n_iter, t = before
            self.loss_curve_ = curve + self.loss_curve_
            self.n_iter_, self.t_ = n_iter + self.n_iter_, t + self.t_
            self.best_loss_ = min(self.loss_curve_)

    def _follow(self, data: TrainingData, stops: bool) -> _Epochs | None:
        judges = "training" if stops else None
        if self.early_stopping and self._is_given("n_iter_no_change"):
            judges = "validation"
        if judges is None and not self.verbose:
            return None
        return _Epochs(
            data.inputs.n_samples,
            self.warmup_samples,
            judges=judges,
            tol=0.0 if self.early_stopping and self._auto("tol") else self._tolerance(),
            n_iter_no_change=self._no_change(),
            verbose=bool(self.verbose),
            callback=self.callback,
        )

    def _run(
        self,
        given: Options,
        settled: Options,
        data: TrainingData,
        follower: _Epochs | None,
        remembered: tuple[tuple[str, bool], Arrays] | None = None,
    ) -> Model | Ensemble:
        """Train, and keep what the optimisers remember; they begin with what is remembered."""
        if follower is not None:
            place = given.checkpoint
            watched: dict[str, Any] = {
                "callback": follower,
                "checkpoint": None if place is None else follower.keep_in(place),
            }
            given = dataclasses.replace(given, **watched)
            settled = dataclasses.replace(settled, **watched)
        plan = make_plan(settled, data, retreats=retreats(given))
        self._solver_state = None
        if settled.optimizer == LBFGS or settled.merges_in_python:
            return Run(plan, data).train()
        state = given.resume
        if state is not None:
            check_plan(plan, data, state)
        kind = (settled.optimizer, settled.input_gain_rate > 0)
        begin = None
        if remembered is not None and remembered[0] == kind:
            networks = plan.threads if plan.strategy in ("replica", "pattern") else 1
            begin = optimizers_of_each(remembered[1], networks)

        def keep_optimizers(is_last: bool, take: Callable[[], Arrays]) -> None:
            if is_last:
                self._solver_state = (kind, mean_of_optimizers(take()))

        run = Run(
            plan,
            data,
            given=given,
            resume=state,
            optimizers=begin,
            keep_state=None if settled.steps_in_place else keep_optimizers,
        )
        if follower is not None and state is not None:
            follower.go_on(state, run.loss_unit())
        return run.train()

    def _enter(
        self, model: Model | Ensemble, n_samples: int, options: Options, *, is_validated: bool
    ) -> None:
        """Keep what a training made, by scikit-learn's names."""
        history = model.history
        ends, epochs = _last_rounds(history, n_samples, options.warmup_samples)
        seen = int(history.samples[-1]) if len(history) else 0
        self.model_ = model
        self.t_ = seen
        self.n_iter_ = epochs
        self.loss_curve_ = _losses(history, ends)
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else math.nan
        self.best_loss_ = min(self.loss_curve_, default=math.nan)
        self.validation_scores_ = self.best_validation_score_ = None
        if is_validated:
            scores = [
                history.validation_score[begin : end + 1]
                for begin, end in zip([0, *(ends[:-1] + 1)], ends, strict=True)
            ]
            # The last one of each epoch, where there is one.
            self.validation_scores_ = [
                float(known[-1]) for one in scores if len(known := one[~np.isnan(one)])
            ]
            self.best_validation_score_ = max(self.validation_scores_, default=math.nan)
        if options.early_stopping:
            self.best_loss_ = None

    # ------------------------------------------------------------------------------ the network

    @property
    def history_(self) -> History:
        """The rounds of the last training."""
        return self.model_.history

    @property
    def coefs_(self) -> list[npt.NDArray[np.float32]]:
        """The weights of each layer, of shape (fan_in, fan_out)."""
        return list(self._single().weights)

    @property
    def intercepts_(self) -> list[npt.NDArray[np.float32]]:
        """The biases of each layer, of shape (fan_out,)."""
        return list(self._single().biases)

    def _single(self) -> Model:
        if isinstance(self.model_, Ensemble):
            raise AttributeError("an ensemble has weights in each of its networks, model_.models")
        return self.model_

    @property
    def n_layers_(self) -> int:
        """The number of layers, the inputs among them."""
        return len(self.model_.layer_sizes)

    @property
    def n_outputs_(self) -> int:
        """The number of outputs; two for two classes."""
        return int(self.model_.layer_sizes[-1])

    @property
    def out_activation_(self) -> str:
        """The activation of the outputs."""
        return str(self.model_.output_activation)

    # -------------------------------------------------------------------------------------- checks

    def _checked(self, X: Matrix, *, reset: bool = False) -> Any:  # noqa: ANN401
        X = _readable(X)
        if is_frame(X):  # which the network reads, with text and categories
            return validate_data(self, X, reset=reset, skip_check_array=True)
        # What is not finite is found where the core looks, once.
        return validate_data(self, X, reset=reset, accept_sparse="csr", ensure_all_finite=False)

    def _checked_data(self, X: Matrix, y: object, *, reset: bool, numeric: bool) -> tuple[Any, Any]:
        X = _readable(X)
        if y is not None and _is_foreign(y):
            y = as_target(y, "y")
        if is_frame(X):
            X = validate_data(self, X, reset=reset, skip_check_array=True)
            y = check_array(
                y, ensure_2d=False, dtype="numeric" if numeric else None, input_name="y"
            )
            check_consistent_length(X, y)
            return X, y
        checked: tuple[Any, Any] = validate_data(
            self,
            X,
            y,
            reset=reset,
            accept_sparse="csr",
            ensure_all_finite=False,
            multi_output=True,
            y_numeric=numeric,
        )
        return checked

    def _check_validation(self, X_val: Matrix | None, y_val: object) -> None:
        if (X_val is None) != (y_val is None):
            got = "X_val" if y_val is None else "y_val"
            raise ValueError(f"X_val and y_val go together; got {got} alone")

    def _fitted(self, X: Matrix) -> tuple[Model | Ensemble, Any]:
        check_is_fitted(self, "model_")
        return self.model_, self._checked(X)

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.non_deterministic = self.strategy == "hogwild"
        return tags


def _readable(X: Any) -> Any:  # noqa: ANN401 - checked after this
    """Return X as scikit-learn checks it: it knows neither these tables nor all arrays as NumPy's.

    With ``array_api_dispatch``, it would hand on arrays of others as they are.
    """
    if is_frame(X):
        return known_frame(X, "X")
    return as_array(X, "X") if _is_array_of_others(X) else X


def _is_array_of_others(values: object) -> bool:
    if isinstance(values, np.ndarray):
        return False
    return any(hasattr(values, name) for name in ("__dlpack__", "__array_namespace__"))


def _is_foreign(y: object) -> bool:
    """Tell whether scikit-learn does not read y, or makes text of what is missing in it."""
    if isinstance(y, np.ndarray):
        return bool(y.dtype.kind == "T")  # strings of NumPy 2
    if is_frame(y) or is_series(y) or _is_array_of_others(y):
        return True
    return not (hasattr(y, "__array__") or hasattr(y, "toarray"))


def _as_one_dimension(y: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - checked before
    """Return one column as a vector, with scikit-learn's warning."""
    one: npt.NDArray[Any] = column_or_1d(y, warn=True) if y.shape[1:] == (1,) else y
    return one


def _weights(sample_weight: npt.ArrayLike | None, n_samples: int) -> npt.NDArray[Any] | None:
    if sample_weight is None:
        return None
    weight = checks.numeric(sample_weight, "sample_weight").astype(np.float64)
    if weight.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},); got {weight.shape}")
    return weight


def _has_partial_fit(estimator: _Estimator) -> bool:
    return estimator._can_go_on and bool(estimator.solver != "lbfgs")


def _sizes(sizes: object) -> object:
    """One number is one hidden layer, as in scikit-learn."""
    if isinstance(sizes, np.ndarray):
        sizes = sizes.tolist()
    return (sizes,) if isinstance(sizes, (int, np.integer)) else sizes


def _workers(n_jobs: object) -> int | None:
    """Return the number of workers; None leaves it to the training."""
    if n_jobs is None:
        return 1 if _is_in_thread_of_joblib() else None
    number = checks.integer("n_jobs", n_jobs, -(2**31))
    if number == 0:
        raise ValueError("n_jobs must be a number of workers, or negative as in joblib; got 0")
    return number if number > 0 else max(1, available_cores() + 1 + number)


def _is_in_thread_of_joblib() -> bool:
    """Tell whether joblib runs this in one of several threads, which share the cores.

    Its processes have their share in OMP_NUM_THREADS.
    """
    if threading.current_thread() is threading.main_thread():
        return False
    backend, _ = joblib.parallel.get_active_backend()
    return bool((backend.nesting_level or 0) > 0)


def _of_mean_one(weight: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
    """Return the weights over their mean, so that their unit does not lengthen steps."""
    if weight is None or not 0 < weight.mean() < math.inf:
        return weight  # the training states what is wrong
    weight = weight / weight.mean()
    return None if (weight == 1).all() else weight


def _is_open(value: object) -> bool:
    return isinstance(value, str) and value == "auto"


def _decided(options: Options, data: TrainingData) -> dict[str, Any]:
    """Return the decisions about a training that hold for those that go on with its network."""
    return {
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "center_inputs": options.center_inputs,
        "scale_inputs": data.inputs.scaling or False,
        "scale_targets": _wide_enough(data.targets.scaling),
    }


def _wide_enough(scaling: Scaling | None) -> Scaling | bool:
    """Return the scales of y for data to come: of a column of one value, the value itself."""
    if scaling is None:
        return False
    size = np.abs(scaling.offset)
    scale = np.where(scaling.scale > 2.0**-20 * size, scaling.scale, np.maximum(size, 1.0))
    return Scaling(scaling.offset, scale)


class OmpMLPClassifier(ClassifierMixin, _Estimator):
    """A classifier in the manner of scikit-learn's ``MLPClassifier``, trained in parallel.

    It trains by :func:`omp_mlp.train_parallel`. What is not given is decided from the data.
    ``docs/scikit_learn.md`` says what differs from scikit-learn.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int or int, default (128,)
        Units of each hidden layer. One number is one hidden layer; an empty sequence gives a linear
        model.
    activation : str, default "relu"
    solver : str, default "auto"
        "auto": plain descent, as :func:`omp_mlp.train_parallel` does it by default; but "adam" if
        ``learning_rate_init`` is a number, for which it is scikit-learn's default. "sgd": with
        ``momentum``, as in scikit-learn. Or an ``optimizer`` of ``train_parallel``, such as "adam".
        Settings of other solvers are overlooked.
    alpha : float, default 0.0
        L2 penalty, which scikit-learn divides by the size of the batch: ``train_parallel`` gets
        ``l2 = alpha / batch_size``, with the ``batch_size`` of whole batches, or 32 where none is
        given.
    batch_size : int or "auto", default "auto"
    learning_rate : str, default "auto"
        The schedule: "constant", "invscaling" or "adaptive", as in scikit-learn, or a
        ``learning_rate_schedule`` of ``train_parallel``. "auto": "linear"; but "constant" for a
        training that ``tol`` may stop.
    learning_rate_init : float or "auto", default "auto"
        The ``learning_rate`` of ``train_parallel``.
    max_iter : int or "auto", default "auto"
        The most epochs. How many there are is found as ``train_parallel`` finds ``epochs``, up to
        ``max_iter``. If ``tol`` or ``n_iter_no_change`` is given, or ``early_stopping`` set, these
        end the training instead; ``max_iter`` is then 200 if only ``tol`` or ``n_iter_no_change``
        is given.
    shuffle : bool or str, default True
        True: "global". Or a value of ``train_parallel``.
    random_state : int, RandomState or None, default None
        An int is the ``seed`` of ``train_parallel``. Otherwise the seed is drawn: from a
        RandomState, or with None from NumPy's global one.
    tol : float or "auto", default "auto"
        Given, it ends the training after more than ``n_iter_no_change`` epochs in turn whose
        training loss was not below the least one by ``tol``, as in scikit-learn. "auto": 1e-4 if
        ``n_iter_no_change`` is given; otherwise the loss ends nothing. With ``early_stopping``, it
        is compared with the validation loss. With ``learning_rate="adaptive"``, it is also the
        ``tol`` of that schedule.
    n_iter_no_change : int, inf or "auto", default "auto"
        The epochs of ``tol``. "auto": 10 if ``tol`` is given. With ``early_stopping``, "auto" is
        the ``patience="auto"`` of ``train_parallel``.
    verbose : bool, default False
        Print the loss of each epoch.
    warm_start : bool, default False
        ``fit`` goes on with the network of the last ``fit``. The state of the solver begins anew.
    early_stopping : bool, default False
        As in ``train_parallel``: the validation loss is judged, and the best network is kept.
    n_jobs : int, optional
        The ``workers`` of ``train_parallel``; negative numbers count from the number of cores, as
        in joblib. Where ``threads`` is not given, there are as many replicas. In a thread of
        joblib's threading backend, the default is 1.
    max_fun : int, default 15000
        Scikit-learn has it. Here it does nothing.
    class_weight : mapping, "balanced" or None, default None
    power_t, momentum, nesterovs_momentum, validation_fraction, beta_1, beta_2, epsilon
        As in scikit-learn.
    preset : {"tabular"}, optional
        Other defaults, as in :func:`omp_mlp.train_parallel`. Here, a parameter that has its default
        counts as not given.
    checkpoint, checkpoint_every, resume
        As in :func:`omp_mlp.train_parallel`: ``fit`` keeps its state, and goes on from one. Then X,
        y and all other parameters have to be those of the ``fit`` that was interrupted; with
        ``random_state=None``, the seed is that of the state. ``partial_fit`` refuses them.
    loss, label_smoothing, skip_confident, and all others
        As in :func:`omp_mlp.train_parallel`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels in ascending order. Of several labels a sample: 0, 1, 2, ...
    model_ : Model
        The network. ``model_.save`` writes it to a file.
    history_ : History
        The rounds of the last training.
    coefs_, intercepts_ : list of ndarray of float32
        Weights of shape (fan_in, fan_out) and biases of shape (fan_out,) of each layer.
    loss_curve_ : list of float
        Mean training loss of each epoch; of each round, where rounds are longer. The penalty of
        ``alpha`` is not in it.
    loss_, best_loss_ : float
        The last of them, and the least; ``best_loss_`` is None with ``early_stopping``.
    validation_scores_ : list of float or None
        The score on the held-out data at the end of each epoch in which they were scored.
    best_validation_score_ : float or None
        The largest of them.
    n_iter_ : int
        Epochs.
    t_ : int
        Samples seen.
    n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from omp_mlp import OmpMLPClassifier
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")
    >>> classifier = OmpMLPClassifier(random_state=0, threads=2).fit(X, y)
    >>> bool(classifier.score(X, y) > 0.9)
    True
    """

    classes_: npt.NDArray[Any]

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] | int = (128,),
        activation: str = "relu",
        *,
        solver: str = "auto",
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate: str = "auto",
        learning_rate_init: float | str = "auto",
        power_t: float = 0.5,
        max_iter: int | str = "auto",
        shuffle: str | bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float | str = "auto",
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float | str = "auto",
        max_fun: int = 15000,
        loss: str = "auto",
        label_smoothing: float = 0.0,
        skip_confident: float = 0.0,
        class_weight: Mapping[Any, float] | str | None = None,
        n_jobs: int | None = None,
        threads: int | None = None,
        merge: str = "gradient_diversity",
        preset: str | None = None,
        merge_every: int | tuple[int, int] | str | None = "auto",
        merge_options: Mapping[str, Any] | None = None,
        outer_optimizer: str = "auto",
        outer_learning_rate: float | str = "auto",
        outer_momentum: float | str = "auto",
        last_merge: str | None = "auto",
        averaging: str = "none",
        averaging_span: int = 10,
        on_nonfinite: str = "raise",
        state_at_merge: str = "keep",
        strategy: str = "replica",
        costs: Costs | bool | None = None,
        output_activation: str = "auto",
        rho: float = 0.99,
        weight_decay: float | str = "auto",
        max_norm: float | None = None,
        dropout: float | Sequence[float] = 0.0,
        warmup_samples: int = 0,
        warmup_share: float = 0.0,
        init: str | Model = "shared",
        parametrization: str = "standard",
        input_gain_rate: float = 0.0,
        init_scale: float | str = "auto",
        scale_inputs: Scaling | str | bool = "auto",
        categorical_features: str | None = "from_dtype",
        center_inputs: bool | str = "auto",
        first_layer: str = "auto",
        precision: str = "float32",
        validate_every: int | str = "auto",
        callback: Callback | None = None,
        progress: bool = False,
        keep_replicas: bool = False,
        checkpoint: Checkpoint | None = None,
        checkpoint_every: int | str = "auto",
        resume: TrainingState | str | os.PathLike[str] | None = None,
    ) -> None:
        self._keep_parameters(locals())

    def fit(
        self,
        X: Matrix,
        y: Column,
        sample_weight: npt.ArrayLike | None = None,
        *,
        X_val: Matrix | None = None,
        y_val: Column | None = None,
    ) -> OmpMLPClassifier:
        """Train the network.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), or (n_samples, n_labels) of 0 and 1
            Labels; or, of several labels, which ones a sample has.
        sample_weight : array-like of shape (n_samples,), optional
            They are divided by their mean: as in scikit-learn, their unit does not matter.
        X_val, y_val : of the kind of X and y, optional
            Data to validate on, in place of rows that ``early_stopping`` holds out. Without
            ``early_stopping``, they are scored only.

        Returns
        -------
        OmpMLPClassifier
            The estimator itself.
        """
        rows, y = self._checked_data(X, y, reset=True, numeric=False)
        known = self.classes_ if self.warm_start and hasattr(self, "model_") else None
        labels = self._labels(y)
        self._check_known(labels, known)
        validation = None
        self._check_validation(X_val, y_val)
        if X_val is not None:
            X_val, y_val = self._checked_data(X_val, y_val, reset=False, numeric=False)
            validation = X_val, self._labels(y_val)
        weight, class_weight = _weights(sample_weight, rows.shape[0]), self.class_weight
        if not (self.early_stopping and isinstance(class_weight, str)):
            # Else the classes are counted once it is known which rows are held out.
            weight, class_weight = self._class_weights(labels, weight), None
        self._fit(rows, labels, weight, validation, task="classes", class_weight=class_weight)
        if known is None:
            self.classes_ = self._classes_of(y)
        return self

    @available_if(_has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Matrix,
        y: Column,
        classes: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> OmpMLPClassifier:
        """Train for one more epoch on these data, which may lack classes.

        Scales, batch size and learning rate are decided by the data of the first call. The rate is
        constant. The velocity of "sgd" and the moments of "adam" go on from call to call.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), or (n_samples, n_labels) of 0 and 1
        classes : array-like of shape (n_classes,), optional
            All labels that y has in any call. The first call needs them.
        sample_weight : array-like of shape (n_samples,), optional
            They are divided by their mean in each call.

        Returns
        -------
        OmpMLPClassifier
            The estimator itself.
        """
        is_first = not hasattr(self, "model_")
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' counts the classes of all data, which partial_fit does "
                "not see; expected None or a mapping from labels to weights"
            )
        if is_first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit")
        known = np.sort(np.asarray(classes)) if is_first else self.classes_
        if not is_first and classes is not None:
            given = np.unique(np.asarray(classes))
            if not np.array_equal(given, known):
                raise ValueError(
                    f"classes={given} are not those of the first call to partial_fit, {known}"
                )
        rows, y = self._checked_data(X, y, reset=is_first, numeric=False)
        labels = self._labels(y)
        self._check_known(labels, known)
        weight = self._class_weights(labels, _weights(sample_weight, rows.shape[0]))
        about_y: dict[str, Any] = {"task": "classes", "class_weight": None}
        if labels.ndim == 1:
            about_y["classes"] = read_classes(known)
        self._partial_fit(rows, labels, weight, **about_y)
        if is_first:
            self.classes_ = known
        return self

    def predict(self, X: Matrix) -> npt.NDArray[Any]:
        """Return the label of each sample.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            Of the dtype of ``classes_``. Of several labels a sample: a matrix of 0 and 1, of shape
            (n_samples, n_labels).
        """
        model, X = self._fitted(X)
        z = model.decision_function(X)
        if model.multilabel:
            return (z > 0).astype(np.int64)
        labels: npt.NDArray[Any] = self.classes_[z.argmax(axis=1)]
        return labels

    def score(self, X: Matrix, y: Column, sample_weight: npt.ArrayLike | None = None) -> float:
        """Return the (weighted) share of samples whose label, or whose every label, is right.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), or (n_samples, n_labels) of 0 and 1
        sample_weight : array-like of shape (n_samples,), optional
        """
        labels = self._labels(y if hasattr(y, "toarray") else as_target(y, "y"))
        return float(accuracy_score(labels, self.predict(X), sample_weight=sample_weight))

    def decision_function(self, X: Matrix) -> npt.NDArray[np.float32]:
        """Return the pre-activations of the last layer.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Of two classes: the second one's less the first one's, of shape (n_samples,).
        """
        model, X = self._fitted(X)
        z: npt.NDArray[np.float32] = model.decision_function(X)
        return z if model.multilabel or z.shape[1] != 2 else z[:, 1] - z[:, 0]

    def predict_proba(self, X: Matrix) -> npt.NDArray[np.float64]:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Of several labels a sample: the probability of each label.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Matrix) -> npt.NDArray[np.float64]:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        model, X = self._fitted(X)
        if model.output_activation != "softmax" and not model.multilabel:
            return np.log(model.predict_proba(X).astype(np.float64))
        z = model.decision_function(X)
        if model.multilabel:
            return -np.logaddexp(0.0, -z.astype(np.float64))
        if z.shape[1] == 2:  # in the order of decision_function, to the last bit
            margin = (z[:, 1] - z[:, 0]).astype(np.float64)
            both: npt.NDArray[np.float64] = -np.logaddexp(0.0, np.stack([margin, -margin], axis=1))
            return both
        return log_softmax(z.astype(np.float64))

    def _labels(self, y: Any) -> npt.NDArray[Any]:  # noqa: ANN401
        """Return y as the training takes it."""
        y = _as_one_dimension(y.toarray() if hasattr(y, "toarray") else y)
        as_given: npt.NDArray[Any] = y
        if y.ndim == 1 and y.dtype.kind in "biuUS":
            return as_given
        if y.ndim == 1 and y.dtype.kind == "O":
            return self._labels(as_target(y, "y"))
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if y.ndim == 1:
            return as_given
        if kind != "multilabel-indicator":
            raise ValueError(
                "y must be one label a sample, or 0 and 1 of each of several labels; got y of the "
                f"kind {kind!r} and shape {y.shape}"
            )
        return as_given.astype(np.int64)

    def _classes_of(self, y: Any) -> npt.NDArray[Any]:  # noqa: ANN401
        """Return the labels, of the dtype of y."""
        labels = self.model_.classes
        if labels is None:
            return np.arange(self.n_outputs_)
        is_text = y.dtype.kind == "O" and labels.dtype.kind in "US"
        return labels.astype(object) if is_text else labels.copy()

    def _check_known(self, labels: npt.NDArray[Any], known: npt.NDArray[Any] | None) -> None:
        """Check that y has labels of a network that goes on, and no others."""
        if known is None or labels.ndim != 1:
            return
        own = np.unique(labels)
        if not set(own.tolist()) <= set(known.tolist()):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {known}, `y` has {own}"
                if self.warm_start
                else f"y must have labels among the classes {known}; got {own}"
            )

    def _class_weights(
        self, y: npt.NDArray[Any], weight: npt.NDArray[Any] | None
    ) -> npt.NDArray[Any] | None:
        """Return the weights of samples times those of their classes."""
        class_weight = ROWS["class_weight"].check("class_weight", self.class_weight)
        if class_weight is None:
            return weight
        if y.ndim != 1:
            raise ValueError("class_weight goes with y of one label a sample; got several labels")
        known = self.classes_ if hasattr(self, "classes_") else np.unique(y)
        if isinstance(class_weight, Mapping):
            labels = {*known.tolist(), *np.unique(y).tolist()}
            unknown = [label for label in class_weight if label not in labels]
            if unknown:
                raise ValueError(
                    f"class_weight must be for classes of y, which are {known}; got a weight for "
                    f"{unknown[0]!r}"
                )
            weights_of_labels(class_weight, known.tolist())
        of_classes: npt.NDArray[Any] = compute_sample_weight(class_weight, y)
        of_both = of_classes if weight is None else weight * of_classes
        if not of_both.any() and (weight is None or weight.any()):
            raise ValueError(
                "class_weight must leave a sample a weight above zero; got zero for every sample"
            )
        return of_both

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class OmpMLPRegressor(RegressorMixin, _Estimator):
    """A regressor in the manner of scikit-learn's ``MLPRegressor``, trained in parallel.

    It trains by :func:`omp_mlp.train_parallel`. What is not given is decided from the data.
    ``docs/scikit_learn.md`` says what differs from scikit-learn.

    Parameters
    ----------
    loss : str, default "auto"
        "auto" is "squared_error". Or another loss of ``train_parallel`` for values.
    hidden_layer_sizes : sequence of int or int, default (128,)
        Units of each hidden layer. One number is one hidden layer; an empty sequence gives a linear
        model.
    activation : str, default "relu"
    solver : str, default "auto"
        "auto": plain descent, as :func:`omp_mlp.train_parallel` does it by default; but "adam" if
        ``learning_rate_init`` is a number, for which it is scikit-learn's default. "sgd": with
        ``momentum``, as in scikit-learn. Or an ``optimizer`` of ``train_parallel``, such as "adam".
        Settings of other solvers are overlooked.
    alpha : float, default 0.0
        L2 penalty, which scikit-learn divides by the size of the batch: ``train_parallel`` gets
        ``l2 = alpha / batch_size``, with the ``batch_size`` of whole batches, or 32 where none is
        given.
    batch_size : int or "auto", default "auto"
    learning_rate : str, default "auto"
        The schedule: "constant", "invscaling" or "adaptive", as in scikit-learn, or a
        ``learning_rate_schedule`` of ``train_parallel``. "auto": "linear"; but "constant" for a
        training that ``tol`` may stop.
    learning_rate_init : float or "auto", default "auto"
        The ``learning_rate`` of ``train_parallel``.
    max_iter : int or "auto", default "auto"
        The most epochs. How many there are is found as ``train_parallel`` finds ``epochs``, up to
        ``max_iter``. If ``tol`` or ``n_iter_no_change`` is given, or ``early_stopping`` set, these
        end the training instead; ``max_iter`` is then 200 if only ``tol`` or ``n_iter_no_change``
        is given.
    shuffle : bool or str, default True
        True: "global". Or a value of ``train_parallel``.
    random_state : int, RandomState or None, default None
        An int is the ``seed`` of ``train_parallel``. Otherwise the seed is drawn: from a
        RandomState, or with None from NumPy's global one.
    tol : float or "auto", default "auto"
        Given, it ends the training after more than ``n_iter_no_change`` epochs in turn whose
        training loss was not below the least one by ``tol``, as in scikit-learn. "auto": 1e-4 if
        ``n_iter_no_change`` is given; otherwise the loss ends nothing. With ``early_stopping``, it
        is compared with the validation loss. With ``learning_rate="adaptive"``, it is also the
        ``tol`` of that schedule.
    n_iter_no_change : int, inf or "auto", default "auto"
        The epochs of ``tol``. "auto": 10 if ``tol`` is given. With ``early_stopping``, "auto" is
        the ``patience="auto"`` of ``train_parallel``.
    verbose : bool, default False
        Print the loss of each epoch.
    warm_start : bool, default False
        ``fit`` goes on with the network of the last ``fit``. The state of the solver begins anew.
    early_stopping : bool, default False
        As in ``train_parallel``: the validation loss is judged, and the best network is kept.
    n_jobs : int, optional
        The ``workers`` of ``train_parallel``; negative numbers count from the number of cores, as
        in joblib. Where ``threads`` is not given, there are as many replicas. In a thread of
        joblib's threading backend, the default is 1.
    max_fun : int, default 15000
        Scikit-learn has it. Here it does nothing.
    power_t, momentum, nesterovs_momentum, validation_fraction, beta_1, beta_2, epsilon
        As in scikit-learn.
    preset : {"tabular"}, optional
        Other defaults, as in :func:`omp_mlp.train_parallel`. Here, a parameter that has its default
        counts as not given.
    checkpoint, checkpoint_every, resume
        As in :func:`omp_mlp.train_parallel`: ``fit`` keeps its state, and goes on from one. Then X,
        y and all other parameters have to be those of the ``fit`` that was interrupted; with
        ``random_state=None``, the seed is that of the state. ``partial_fit`` refuses them.
    huber_delta, quantile, scale_targets, and all others
        As in :func:`omp_mlp.train_parallel`.

    Attributes
    ----------
    model_ : Model
        The network. ``model_.save`` writes it to a file.
    history_ : History
        The rounds of the last training.
    coefs_, intercepts_ : list of ndarray of float32
        Weights of shape (fan_in, fan_out) and biases of shape (fan_out,) of each layer.
    loss_curve_ : list of float
        Mean training loss of each epoch; of each round, where rounds are longer. The penalty of
        ``alpha`` is not in it.
    loss_, best_loss_ : float
        The last of them, and the least; ``best_loss_`` is None with ``early_stopping``.
    validation_scores_ : list of float or None
        The score on the held-out data at the end of each epoch in which they were scored.
    best_validation_score_ : float or None
        The largest of them.
    n_iter_ : int
        Epochs.
    t_ : int
        Samples seen.
    n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from omp_mlp import OmpMLPRegressor
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> y = 1000 + X[:, 0] * X[:, 1]
    >>> bool(OmpMLPRegressor(random_state=0, threads=2).fit(X, y).score(X, y) > 0.9)
    True
    """

    def __init__(
        self,
        loss: str = "auto",
        hidden_layer_sizes: Sequence[int] | int = (128,),
        activation: str = "relu",
        *,
        solver: str = "auto",
        alpha: float = 0.0,
        batch_size: int | str = "auto",
        learning_rate: str = "auto",
        learning_rate_init: float | str = "auto",
        power_t: float = 0.5,
        max_iter: int | str = "auto",
        shuffle: str | bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float | str = "auto",
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float | str = "auto",
        max_fun: int = 15000,
        huber_delta: float = 1.0,
        quantile: float = 0.5,
        scale_targets: Scaling | str | bool = "auto",
        n_jobs: int | None = None,
        threads: int | None = None,
        merge: str = "gradient_diversity",
        preset: str | None = None,
        merge_every: int | tuple[int, int] | str | None = "auto",
        merge_options: Mapping[str, Any] | None = None,
        outer_optimizer: str = "auto",
        outer_learning_rate: float | str = "auto",
        outer_momentum: float | str = "auto",
        last_merge: str | None = "auto",
        averaging: str = "none",
        averaging_span: int = 10,
        on_nonfinite: str = "raise",
        state_at_merge: str = "keep",
        strategy: str = "replica",
        costs: Costs | bool | None = None,
        output_activation: str = "auto",
        rho: float = 0.99,
        weight_decay: float | str = "auto",
        max_norm: float | None = None,
        dropout: float | Sequence[float] = 0.0,
        warmup_samples: int = 0,
        warmup_share: float = 0.0,
        init: str | Model = "shared",
        parametrization: str = "standard",
        input_gain_rate: float = 0.0,
        init_scale: float | str = "auto",
        scale_inputs: Scaling | str | bool = "auto",
        categorical_features: str | None = "from_dtype",
        center_inputs: bool | str = "auto",
        first_layer: str = "auto",
        precision: str = "float32",
        validate_every: int | str = "auto",
        callback: Callback | None = None,
        progress: bool = False,
        keep_replicas: bool = False,
        checkpoint: Checkpoint | None = None,
        checkpoint_every: int | str = "auto",
        resume: TrainingState | str | os.PathLike[str] | None = None,
    ) -> None:
        self._keep_parameters(locals())

    def fit(
        self,
        X: Matrix,
        y: Column,
        sample_weight: npt.ArrayLike | None = None,
        *,
        X_val: Matrix | None = None,
        y_val: Column | None = None,
    ) -> OmpMLPRegressor:
        """Train the network.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            They are divided by their mean: as in scikit-learn, their unit does not matter.
        X_val, y_val : of the kind of X and y, optional
            Data to validate on, in place of rows that ``early_stopping`` holds out. Without
            ``early_stopping``, they are scored only.

        Returns
        -------
        OmpMLPRegressor
            The estimator itself.
        """
        rows, y = self._checked_data(X, y, reset=True, numeric=True)
        validation = None
        self._check_validation(X_val, y_val)
        if X_val is not None:
            X_val, y_val = self._checked_data(X_val, y_val, reset=False, numeric=True)
            validation = X_val, _as_one_dimension(y_val)
        weight = _weights(sample_weight, rows.shape[0])
        self._fit(rows, _as_one_dimension(y), weight, validation, task="values")
        return self

    @available_if(_has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Matrix, y: Column, sample_weight: npt.ArrayLike | None = None
    ) -> OmpMLPRegressor:
        """Train for one more epoch on these data.

        Scales, batch size and learning rate are decided by the data of the first call. The rate is
        constant. The velocity of "sgd" and the moments of "adam" go on from call to call.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            They are divided by their mean in each call.

        Returns
        -------
        OmpMLPRegressor
            The estimator itself.
        """
        rows, y = self._checked_data(X, y, reset=not hasattr(self, "model_"), numeric=True)
        weight = _weights(sample_weight, rows.shape[0])
        self._partial_fit(rows, _as_one_dimension(y), weight, task="values")
        return self

    def predict(self, X: Matrix) -> npt.NDArray[Any]:
        """Return the values of the samples.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Of one output, of the dtype of ``model_.predict``; of several, float64, as scikit-learn
            asks.
        """
        model, X = self._fitted(X)
        values = model.predict(X)
        return values if values.ndim == 1 else values.astype(np.float64)

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
