"""The options of a training: a row for each, with its check, strategies and field of the core.

To add an option: a row here, a parameter with its text in :func:`omp_mlp.train_parallel`, and, if
the core has to know it, a field of ``TrainOptions`` (cpp/training/options.hpp).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from omp_mlp import _core, cadence, checks, disk
from omp_mlp.activations import ACTIVATIONS
from omp_mlp.losses import LOSSES
from omp_mlp.merging.methods import (
    LINE_SEARCH,
    MergeMethod,
    PythonMethod,
    find_method,
    option_values,
    skips,
)
from omp_mlp.model import OUTPUT_ACTIVATIONS, Model
from omp_mlp.presets import PRESETS
from omp_mlp.safetensors_content import DAMAGED
from omp_mlp.scaling import Scaling, check_scaling
from omp_mlp.state import OBJECT, TrainingState, kept_option

ONE_NETWORK = ("section", "synchronous", "hogwild")
"""The strategies that train one network with several threads, without replicas to merge."""
STRATEGIES = ("replica", *ONE_NETWORK, "pattern", "auto")
LBFGS = "lbfgs"
"""The optimizer that takes steps of the full batch, with SciPy; the others are the core's."""
_STEPWISE = tuple(row.name for row in _core.optimizers())
OPTIMIZERS = (*_STEPWISE, LBFGS)
PLAIN_OPTIMIZERS = tuple(row.name for row in _core.optimizers() if row.may_step_in_place)
"""The optimizers that keep no gradient in memory, where nothing else asks for one."""
STRATEGIES_OF_LBFGS = ("replica", "synchronous", "auto")
SCHEDULES = ("linear", "constant", "cosine", "one_cycle", "inverse_scaling", "adaptive", "coslog4")
OUTPUTS_OF_LOSS = {name: tuple(row.outputs) for name, row in LOSSES.items()}
_LOSSES_OF_SETTING = {
    "huber_delta": ("huber",),
    "quantile": ("quantile",),
    "label_smoothing": ("auto", "cross_entropy"),
}

COMPRESS = "compress"
"""The word of ``scale_inputs`` that compresses columns with long tails."""
SETTLED = ("threads", "epochs", "batch_size", "learning_rate", "center_inputs", "strategy")
"""The options that a training settles where they are left open, and a state keeps."""

# The strategies that an option goes with.
_ANY = STRATEGIES
_REPLICAS = ("replica", "pattern", "auto")
_REPRODUCIBLE = tuple(name for name in STRATEGIES if name != "hogwild")
_MERGES = ("replica", "auto")  # the strategies that leave it open when to merge

_TINY = 2.0**-126  # the smallest normal float32
_MOST_THREADS = 2**20  # replicas, or parts of the work
_MOST_UNITS = 2**31 - 1  # of a layer

Checkpoint = str | os.PathLike[str] | Callable[[TrainingState], object]
"""Where the states of a training go: a file, or what gets each state."""

Check = Callable[[str, Any], Any]  # the name of an option, a value -> the value to go on with


# ---------------------------------------------------------------------------- checks of one value


def _as_it_is(name: str, value: object) -> object:  # noqa: ARG001 - checked with what it goes with
    return value


def _integer(minimum: int, maximum: int = checks.MOST_INTEGER) -> Check:
    return lambda name, value: checks.integer(name, value, minimum, maximum)


def _real(minimum: float = 0.0, *, below: float = math.inf) -> Check:
    return lambda name, value: checks.real(name, value, minimum, below=below)


def _positive(name: str, value: object) -> float:
    number = checks.real(name, value, 0.0)
    if number == 0.0:
        raise ValueError(f"{name} must be greater than 0 and finite; got {value}")
    return number


def _fraction(name: str, value: object) -> float:
    number = checks.real(name, value, 0.0, below=1.0)
    if number == 0.0:
        raise ValueError(f"{name} must be greater than 0 and less than 1; got {value}")
    return number


def _weights_of_classes(name: str, value: object) -> object:
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, str):
        raise TypeError(
            f"{name} must be None, 'balanced' or a mapping from labels to weights; "
            f"got {type(value).__name__}"
        )
    return checks.choice(name, value, ("balanced",))


def _one_of(*choices: object) -> Check:
    return lambda name, value: checks.choice(name, value, choices)


def _scaling_or(*choices: object) -> Check:
    def check(name: str, value: object) -> object:
        if not isinstance(value, Scaling):
            return checks.choice(name, value, choices)
        check_scaling(name, value, len(value.scale), may_limit=name == "scale_inputs")
        return value

    return check


def _words_or(words: Iterable[str], check: Check, other: str = "a number") -> Check:
    """Accept one of some words, or what another check accepts; ``other`` names that in messages."""
    words = tuple(words)
    return lambda name, value: (
        checks.choice(name, value, words, other) if isinstance(value, str) else check(name, value)
    )


def _none_or(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _flag(name: str, value: object) -> bool:
    return bool(checks.choice(name, value, (False, True)))


def _method_name(name: str, value: object) -> str:
    return find_method(value, parameter=name).name


def _sizes(name: str, value: object) -> tuple[int, ...]:
    sizes = checks.sequence(name, value, "integers, such as (128,)")
    return tuple(
        checks.integer(f"{name}[{k}]", size, 1, _MOST_UNITS) for k, size in enumerate(sizes)
    )


def _rates(name: str, value: object) -> float | tuple[float, ...]:
    if not isinstance(value, (tuple, list)):
        return checks.real(name, value, 0.0, below=1.0)
    return tuple(checks.real(f"{name}[{k}]", rate, 0.0, below=1.0) for k, rate in enumerate(value))


def _periods(name: str, value: object) -> int | tuple[int, int]:
    if not isinstance(value, (tuple, list)):
        return checks.integer(name, value, 1)
    if len(value) != 2:
        raise ValueError(
            f"{name} must be a number of samples or a pair (first, last) of them; "
            f"got {len(value)} entries"
        )
    return checks.integer(f"{name}[0]", value[0], 1), checks.integer(f"{name}[1]", value[1], 1)


def _start(name: str, value: object) -> str | Model:
    if isinstance(value, Model):
        return value
    return checks.choice(name, value, ("shared", "independent"))


def _pair(name: str, value: object) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (X, y); got {type(value).__name__}")
    return value[0], value[1]


def _seed(name: str, value: object) -> int:
    seed = checks.integer(name, value, 0, 2**64)
    if seed == 2**64:
        raise ValueError(f"{name} must be less than 2^64; got {seed}")
    return seed


def _callable(name: str, value: object) -> object:
    if not callable(value):
        raise TypeError(f"{name} must be callable; got {type(value).__name__}")
    return value


def _place_or_callable(name: str, value: object) -> object:
    if callable(value):
        return value
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path or callable; got {type(value).__name__}")
    path = disk.path_of(value, name)
    try:
        disk.check_writable(path)
    except OSError as error:
        raise ValueError(
            f"{name} must name a file that can be written; got {checks.shown(error.filename)}: "
            f"{error.strerror}"
        ) from error
    return value


def _state(name: str, value: object) -> TrainingState:
    if isinstance(value, TrainingState):
        return value
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(
            f"{name} must be a TrainingState or the path of one; got {type(value).__name__}"
        )
    path = disk.path_of(value, name)
    state = TrainingState.load(path)
    try:
        _check_kept(state)
    except DAMAGED as error:
        raise ValueError(
            f"{path}: damaged or incomplete: {type(error).__name__}: {error}"
        ) from error
    return state


def _check_kept(state: TrainingState) -> None:
    """Check the options that a state has, and those that its training settled."""
    for name, described in state.options.items():
        if described != OBJECT:
            ROWS[name].check(name, kept_option(described))
    merge, merge_options = (state.options[name] for name in ("merge", "merge_options"))
    if merge_options != OBJECT:
        option_values(find_method(merge), kept_option(merge_options))
    for name in SETTLED:
        ROWS[name].check(name, state.settled[name])


# ------------------------------------------------------------------------------- rows of the table


@dataclass(frozen=True)
class Row:
    """What the table knows of an option besides its name and its default."""

    check: Check
    strategies: tuple[str, ...]  # the strategies that the option goes with
    only: object  # the one value that goes with these strategies alone; None: all but the default
    optimizers: tuple[str, ...] | None  # the optimizers that read the option; None: all
    field: str | None  # the path of the core's field; None: the plan decides what the core gets
    to_core: Callable[[Any], Any]  # makes the field's value from the option's


def _row(
    default: object,
    check: Check,
    strategies: tuple[str, ...] = _ANY,
    *,
    only: object = None,
    optimizers: tuple[str, ...] | None = None,
    field: str | None = None,
    to_core: Callable[[Any], Any] = lambda value: value,
) -> Any:  # noqa: ANN401 - the type stands beside the name
    row = Row(check, strategies, only, optimizers, field, to_core)
    return dataclasses.field(default=default, metadata={"row": row})


_AUTO = ("auto",)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one training, checked.

    A row has the type of the checked value, the default, the check, and the strategies that the
    option goes with. If the core takes the option as it is, the row also names the core's field.

    ``threads``, ``epochs``, ``batch_size``, ``learning_rate`` and ``center_inputs`` have these
    types once :func:`omp_mlp.automatic.settle` has decided what was left to it.
    """

    threads: int = _row(None, _none_or(_integer(1, _MOST_THREADS)))
    merge: str = _row("gradient_diversity", _method_name, _REPLICAS)
    preset: str | None = _row(None, _one_of(None, *PRESETS))
    hidden_layer_sizes: tuple[int, ...] = _row((128,), _sizes)
    activation: str = _row("relu", _one_of(*ACTIVATIONS))
    output_activation: str = _row("auto", _one_of("auto", *OUTPUT_ACTIVATIONS))
    task: str = _row("auto", _one_of("auto", "classes", "values"))
    classes: Any = _row(None, _as_it_is)
    loss: str = _row("auto", _one_of("auto", *OUTPUTS_OF_LOSS))
    huber_delta: float = _row(1.0, _positive)
    quantile: float = _row(0.5, _fraction)
    label_smoothing: float = _row(0.0, _real(below=1.0))
    epochs: int = _row("auto", _words_or(_AUTO, _integer(0), "an integer"), field="epochs")
    batch_size: int = _row(
        "auto", _words_or(_AUTO, _integer(1), "an integer"), optimizers=_STEPWISE
    )
    learning_rate: float = _row(
        "auto",
        _words_or(_AUTO, _real()),
        optimizers=_STEPWISE,
        field="optimizer.learning_rate.start",
    )
    learning_rate_schedule: str = _row(
        "linear",
        _one_of(*SCHEDULES),
        optimizers=_STEPWISE,
        field="optimizer.learning_rate.schedule",
    )
    power_t: float = _row(0.5, _real(), field="optimizer.learning_rate.power_t")
    tol: float = _row(1e-4, _real(), field="optimizer.learning_rate.tol")
    warmup_share: float = _row(
        0.0, _real(below=1.0), optimizers=_STEPWISE, field="optimizer.learning_rate.warmup_share"
    )
    optimizer: str = _row(
        "sgd", _one_of(*OPTIMIZERS), field="optimizer.method", to_core=_core.optimizer
    )
    momentum: float = _row(
        0.9, _real(below=1.0), optimizers=("momentum", "nesterov"), field="optimizer.momentum"
    )
    beta_1: float = _row(
        0.9, _real(below=1.0), optimizers=("adam", "adamw"), field="optimizer.beta_1"
    )
    beta_2: float = _row(
        0.999, _real(below=1.0), optimizers=("adam", "adamw"), field="optimizer.beta_2"
    )
    rho: float = _row(0.99, _real(below=1.0), optimizers=("rmsprop",), field="optimizer.rho")
    epsilon: float = _row(
        1e-8, _real(_TINY), optimizers=("adam", "adamw", "rmsprop"), field="optimizer.epsilon"
    )
    weight_decay: float | str = _row("auto", _words_or(_AUTO, _real()), optimizers=_STEPWISE)
    l2: float = _row(0.0, _real(), field="optimizer.l2")
    max_norm: float | None = _row(
        None,
        _none_or(_positive),
        optimizers=_STEPWISE,
        field="optimizer.max_norm",
        to_core=lambda value: math.inf if value is None else value,
    )
    state_at_merge: str = _row(
        "keep",
        _one_of("keep", "average", "reset"),
        _REPLICAS,
        optimizers=tuple(row.name for row in _core.optimizers() if row.state),
        field="merge.state",
    )
    merge_every: int | tuple[int, int] | str | None = _row(
        "auto", _none_or(_words_or(_AUTO, _periods, "an integer, or a pair of integers")), _MERGES
    )
    merge_options: Mapping[str, Any] | None = _row(None, _as_it_is, _REPLICAS)
    outer_optimizer: str = _row("auto", _one_of(*cadence.OUTER_OPTIMIZERS), _MERGES)
    outer_learning_rate: float | str = _row("auto", _words_or(_AUTO, _real()), _MERGES)
    outer_momentum: float | str = _row("auto", _words_or(_AUTO, _real(below=1.0)), _MERGES)
    last_merge: str | None = _row("auto", _one_of("auto", "average", None), _REPLICAS)
    averaging: str = _row(
        "none",
        _one_of("none", "lawa", "ema"),
        _REPRODUCIBLE,
        optimizers=_STEPWISE,
        field="averaging.kind",
    )
    averaging_span: int = _row(10, _integer(1), field="averaging.span")
    on_nonfinite: str = _row(
        "raise",
        _one_of("raise", "skip"),
        _REPLICAS,
        field="merge.skip_nonfinite",
        to_core=lambda value: value == "skip",
    )
    warmup_samples: int = _row(0, _integer(0), _REPLICAS, field="warmup_samples")
    init: str | Model = _row(
        "shared",
        _start,
        _REPLICAS,
        only="independent",
        field="shared_start",
        to_core=lambda value: isinstance(value, Model) or value == "shared",
    )
    parametrization: str = _row(
        "standard",
        _one_of("standard", "ntk"),
        optimizers=_STEPWISE,
        field="optimizer.ntk",
        to_core=lambda value: value == "ntk",
    )
    input_gain_rate: float = _row(
        0.0,
        _real(),
        ("replica", "synchronous", "pattern", "auto"),
        optimizers=_STEPWISE,
        field="optimizer.gain_rate",
    )
    init_scale: float | str = _row("auto", _words_or(("auto", "glorot", "he", "lecun"), _real()))
    shuffle: str | bool = _row(
        "global",
        _one_of("global", "shards", False),
        optimizers=_STEPWISE,
        field="shuffle",
        to_core=lambda value: value or "none",
    )
    sample_weight: Any = _row(None, _as_it_is)
    class_weight: Mapping[Any, float] | str | None = _row(None, _none_or(_weights_of_classes))
    validation_data: tuple[Any, Any] | None = _row(None, _none_or(_pair))
    validate_every: int | str = _row("auto", _words_or(_AUTO, _integer(1), "an integer"))
    early_stopping: bool = _row(False, _flag)
    validation_fraction: float = _row(0.1, _fraction)
    patience: int | str = _row("auto", _words_or(_AUTO, _integer(1), "an integer"))
    min_delta: float = _row(0.0, _real())
    dropout: float | tuple[float, ...] = _row(0.0, _rates, optimizers=_STEPWISE)
    first_layer: str = _row("auto", _one_of("auto", "sparse", "dense"))
    precision: str = _row(
        "float32",
        _one_of("float32", "bfloat16"),
        _REPRODUCIBLE,
        optimizers=_STEPWISE,
        only="bfloat16",
        field="batch.bfloat16",
        to_core=lambda value: value == "bfloat16",
    )
    skip_confident: float = _row(
        0.0, _real(below=1.0), optimizers=_STEPWISE, field="batch.skip_confident"
    )
    categorical_features: str | None = _row("from_dtype", _one_of("from_dtype", None))
    center_inputs: bool = _row("auto", _one_of(False, True, "auto"), field="center_inputs")
    scale_inputs: Scaling | str | bool = _row("auto", _scaling_or(False, "auto", COMPRESS))
    scale_targets: Scaling | str | bool = _row("auto", _scaling_or(False, "auto"))
    strategy: str = _row("replica", _one_of(*STRATEGIES))
    costs: Any = _row(None, _as_it_is)
    workers: int | None = _row(None, _none_or(_integer(1, _MOST_THREADS)))
    seed: int = _row(0, _seed, field="seed")
    callback: Callable[..., object] | None = _row(None, _none_or(_callable))
    progress: bool = _row(False, _flag)
    keep_replicas: bool = _row(False, _flag, _REPLICAS)
    checkpoint: Checkpoint | None = _row(None, _none_or(_place_or_callable))
    checkpoint_every: int | str = _row("auto", _words_or(_AUTO, _integer(1), "an integer"))
    resume: TrainingState | None = _row(None, _none_or(_state))

    @functools.cached_property
    def method(self) -> MergeMethod:
        """The row of the merge method."""
        return find_method(self.merge)

    @functools.cached_property
    def method_options(self) -> list[Any]:
        """A value for each option of the merge method."""
        return option_values(self.method, self.merge_options)

    @property
    def decay(self) -> float:
        """The weight decay; that of "adamw" is PyTorch's default."""
        if isinstance(self.weight_decay, str):
            return 0.01 if self.optimizer == "adamw" else 0.0
        return self.weight_decay

    @property
    def dropout_rates(self) -> list[float]:
        """The rate of each hidden layer; none if nothing is left out."""
        rates = self.dropout
        if not isinstance(rates, tuple):
            rates = (rates,) * len(self.hidden_layer_sizes)
        return list(rates) if any(rates) else []

    @property
    def searches(self) -> bool:
        """Whether the merge looks for the alpha of the least loss."""
        return LINE_SEARCH in self.method_options

    @property
    def merges_in_python(self) -> bool:
        """Whether Python merges the replicas of the only round, and not the core."""
        return self.searches or isinstance(self.method, PythonMethod)

    @property
    def is_periodic(self) -> bool:
        """Whether it is best to merge in every round."""
        return self.method.cadence == "periodic" or self.outer_optimizer != "auto"

    @property
    def changes_of_gradients(self) -> dict[str, Any]:
        """What else a step makes of a gradient, by the names of options; falsy if nothing."""
        return {
            "weight_decay": self.decay,
            "l2": self.l2,
            "max_norm": self.max_norm,
            "parametrization": None if self.parametrization == "standard" else self.parametrization,
            "input_gain_rate": self.input_gain_rate,
        }

    @property
    def steps_in_place(self) -> bool:
        """Whether a step is added to the weights without a gradient in memory of its own."""
        return not self.asked_of_gradients()

    @property
    def starts_apart(self) -> bool:
        """Whether each replica starts from its own random weights."""
        return self.init == "independent" and not isinstance(self.init, Model)

    def asked_of_replicas(self) -> list[str]:
        """Return the names of options that only a training with replicas can have."""
        return [name for name in ROWS if _is_refused(self, name, "section")]

    def asked_of_gradients(self) -> list[str]:
        """Return the options, as "name=value", that need a gradient in memory of its own."""
        plain = self.optimizer in PLAIN_OPTIMIZERS
        asked = {} if plain else {"optimizer": self.optimizer}
        asked |= {name: value for name, value in self.changes_of_gradients.items() if value}
        return [f"{name}={value!r}" for name, value in asked.items()]


ROWS: Mapping[str, Row] = MappingProxyType(
    {field.name: field.metadata["row"] for field in dataclasses.fields(Options)}
)
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {field.name: field.default for field in dataclasses.fields(Options)}
)

PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_layer_sizes": (128,),
        "activation": "logistic",
        "output_activation": "logistic",
        "loss": "squared_error",
        "epochs": 1,
        "batch_size": 1,
        "learning_rate": 0.1,
        "learning_rate_schedule": "constant",
        "merge_every": None,
        "outer_momentum": 0.0,
        "init": "independent",
        "init_scale": 0.6,
        "shuffle": "shards",
        "center_inputs": False,
        "scale_inputs": False,
        "scale_targets": False,
    }
)
"""The options that come nearest to Ott (2017): ``train_parallel(X, y, 8, "sum", **PAPER)``.

The note does not state activation, loss, learning rate, initialisation and epochs. docs/paper.md
says how these options were found.
"""


# ---------------------------------------------------------------------------------- the whole table


def check_options(given: Mapping[str, object]) -> Options:
    """Check a value for every row, each by itself and then all together."""
    options = Options(**{name: _checked(name, given[name]) for name in ROWS})
    _check_strategy(options)
    _check_optimizer(options)
    _check_schedule(options)
    _check_loss(options)
    _check_dropout(options)
    skips(options.method, options.on_nonfinite)
    if options.classes is not None and options.task == "values":
        raise ValueError("classes goes with task='auto' or 'classes'; got task='values'")
    if options.searches and options.validation_data is None:
        raise ValueError(
            "merge_options={'alpha': 'line_search'} looks for the least loss on validation_data; "
            "got none"
        )
    _check_early_stopping(options)
    _check_averaging(options)
    _check_checkpoint(options)
    if options.starts_apart and options.warmup_samples:
        raise ValueError(
            f"warmup_samples={options.warmup_samples} trains one common start and needs "
            "init='shared' or a Model; got init='independent'"
        )
    if options.outer_optimizer == "slowmo" and options.learning_rate == 0.0:
        raise ValueError("outer_optimizer='slowmo' needs learning_rate greater than 0; got 0.0")
    return options


def _checked(name: str, value: Any) -> Any:  # noqa: ANN401 - each row has its own type
    # A default needs no check. All checks together take as long as a very short training.
    return value if value is DEFAULTS[name] else ROWS[name].check(name, value)


def _check_loss(options: Options) -> None:
    for name, losses in _LOSSES_OF_SETTING.items():
        value = getattr(options, name)
        if options.loss not in losses and value != DEFAULTS[name]:
            raise ValueError(
                f"{name} goes with loss={losses[-1]!r}; got {name}={value!r} and "
                f"loss={options.loss!r}"
            )
    if options.label_smoothing > 0 and options.skip_confident > 0:
        raise ValueError(
            "skip_confident skips samples whose p(correct) is near 1, which label_smoothing keeps "
            f"away from 1; got skip_confident={options.skip_confident:g} and "
            f"label_smoothing={options.label_smoothing:g}"
        )


def _check_dropout(options: Options) -> None:
    rates, hidden = options.dropout, len(options.hidden_layer_sizes)
    if isinstance(rates, tuple) and len(rates) != hidden:
        raise ValueError(
            f"dropout must be one rate, or one for each of the {hidden} hidden layer(s); "
            f"got {len(rates)} rates"
        )
    if not isinstance(rates, tuple) and rates > 0 and hidden == 0:
        raise ValueError(
            f"dropout leaves out hidden units; got dropout={rates:g} and no hidden layer"
        )


def _check_early_stopping(options: Options) -> None:
    if not options.early_stopping:
        for name in ("validation_fraction", "patience", "min_delta"):
            if getattr(options, name) != DEFAULTS[name]:
                raise ValueError(
                    f"{name} goes with early_stopping=True; got early_stopping=False and "
                    f"{name}={getattr(options, name)!r}"
                )
        return
    if options.validation_data is not None and options.validation_fraction != 0.1:
        raise ValueError(
            "validation_fraction holds out rows of X where there is no validation_data; got both, "
            f"with validation_fraction={options.validation_fraction:g}"
        )
    if options.keep_replicas:
        raise ValueError(
            "early_stopping=True returns the best master, which is not the merge of the last "
            "replicas, and goes with keep_replicas=False; got True"
        )
    if options.merges_in_python:
        raise ValueError(
            "early_stopping=True judges merges during the training, and goes with merges that the "
            f"core does, such as 'gradient_diversity'; got merge={options.merge!r}, which merges "
            "once, after the training"
        )


def _check_averaging(options: Options) -> None:
    if options.averaging == "none":
        if options.averaging_span != DEFAULTS["averaging_span"]:
            raise ValueError(
                "averaging_span goes with averaging='lawa' or 'ema'; got averaging='none' and "
                f"averaging_span={options.averaging_span}"
            )
        return
    if options.keep_replicas:
        raise ValueError(
            f"averaging={options.averaging!r} returns a mean of masters, which is not the merge of "
            "the last replicas, and goes with keep_replicas=False; got True"
        )
    if options.merges_in_python:
        raise ValueError(
            f"averaging={options.averaging!r} averages the masters of several merges, and goes "
            "with merges that the core does, such as 'gradient_diversity'; got "
            f"merge={options.merge!r}, which merges once, after the training"
        )


def _check_checkpoint(options: Options) -> None:
    if options.checkpoint is None and options.checkpoint_every != DEFAULTS["checkpoint_every"]:
        raise ValueError(
            "checkpoint_every goes with checkpoint, the file that it is for; got "
            f"checkpoint=None and checkpoint_every={options.checkpoint_every!r}"
        )
    for name in ("checkpoint", "resume"):
        if getattr(options, name) is None:
            continue
        for other, because in (
            ("strategy", "hogwild"),
            ("optimizer", LBFGS),
        ):
            if getattr(options, other) == because:
                raise ValueError(f"{name} goes without {other}={because!r}: {_STATELESS[because]}")
        if options.merges_in_python:
            raise ValueError(
                f"{name} goes with merges that the core does in rounds, such as "
                f"'gradient_diversity'; got merge={options.merge!r}, which merges once, at the end"
            )


_STATELESS = {
    "hogwild": "no two of its trainings are the same",
    LBFGS: "SciPy keeps the state of its line search to itself",
}

_WHAT_STRATEGIES_DO = {
    **dict.fromkeys(ONE_NETWORK, "trains one network, with nothing to merge,"),
    "pattern": "merges after every epoch and without an outer step,",
}


def _check_strategy(options: Options) -> None:
    strategy = options.strategy
    refused = [name for name in ROWS if _is_refused(options, name, strategy)]
    if refused:
        without = [
            name if row.only is None else f"{name}={row.only!r}"
            for name, row in ROWS.items()
            if strategy not in row.strategies
        ]
        got = ", ".join(f"{name}={getattr(options, name)!r}" for name in refused)
        raise ValueError(
            f"strategy={strategy!r} {_WHAT_STRATEGIES_DO[strategy]} and goes without "
            f"{', '.join(without[:-1])} and {without[-1]}; these go with strategy='replica'. "
            f"Got {got}"
        )


def _check_optimizer(options: Options) -> None:
    for name, row in ROWS.items():
        value = getattr(options, name)
        if row.optimizers and options.optimizer not in row.optimizers and value != DEFAULTS[name]:
            raise ValueError(
                f"{name} goes with optimizer={' or '.join(map(repr, row.optimizers))}; "
                f"got {name}={value!r} and optimizer={options.optimizer!r}"
            )
    if options.optimizer == LBFGS:
        _check_lbfgs(options)
    got = options.asked_of_gradients()
    if options.strategy == "hogwild" and got:
        raise ValueError(
            "strategy='hogwild' adds its steps to the weights in place and goes with "
            f"optimizer={' or '.join(map(repr, PLAIN_OPTIMIZERS))} without "
            f"{', '.join(options.changes_of_gradients)}; got {', '.join(got)}"
        )


def _check_lbfgs(options: Options) -> None:
    checks.require_scipy("optimizer='lbfgs'", LBFGS)
    if options.strategy not in STRATEGIES_OF_LBFGS:
        raise ValueError(
            "optimizer='lbfgs' takes all samples for a step, and goes with strategy="
            f"{' or '.join(map(repr, STRATEGIES_OF_LBFGS))}; got strategy={options.strategy!r}"
        )
    refused = [name for name in ROWS if _is_refused(options, name, "synchronous")]
    if refused:
        got = ", ".join(f"{name}={getattr(options, name)!r}" for name in refused)
        raise ValueError(
            "optimizer='lbfgs' trains one network, with nothing to merge; options of replicas go "
            f"with optimizer={' or '.join(map(repr, _STEPWISE))}. Got {got}"
        )


def _check_schedule(options: Options) -> None:
    schedule = options.learning_rate_schedule
    for name, goes_with in (("power_t", "inverse_scaling"), ("tol", "adaptive")):
        value = getattr(options, name)
        if name == "tol" and options.optimizer == LBFGS:
            continue
        if value != DEFAULTS[name] and schedule != goes_with:
            also = " or optimizer='lbfgs'" if name == "tol" else ""
            raise ValueError(
                f"{name} goes with learning_rate_schedule={goes_with!r}{also}; got "
                f"{name}={value!r} and learning_rate_schedule={schedule!r}"
            )


def _is_refused(options: Options, name: str, strategy: str) -> bool:
    """Tell whether an option has a value that the strategy cannot have."""
    row, value, default = ROWS[name], getattr(options, name), DEFAULTS[name]
    if strategy in row.strategies:
        return False
    if row.only is not None:
        return isinstance(value, str) and value == row.only
    # The type is asked for too: arrays do not compare to a single bool.
    return value is not default and not (isinstance(value, type(default)) and value == default)


# ------------------------------------------------------------------------------ options of the core

# By their paths, each before the part that it is a field of.
_PARTS: Mapping[str, Callable[..., Any]] = {
    "averaging": _core.AveragingOptions,
    "batch": _core.BatchOptions,
    "init": _core.Init,
    "merge.every": _core.Period,
    "merge.outer": _core.OuterStep,
    "merge": _core.MergeOptions,
    "optimizer.learning_rate": _core.LearningRate,
    "optimizer": _core.OptimizerOptions,
}


def core_fields(options: Options) -> dict[str, Any]:
    """Return the fields of the core's options, by their paths, that the plan does not decide."""
    fields = {
        row.field: row.to_core(getattr(options, name)) for name, row in ROWS.items() if row.field
    }
    return {
        **fields,
        "optimizer.weight_decay": options.decay,
        "optimizer.accumulates": False,
        "optimizer.learning_rate.retreats": 0,
    }


def core_options(fields: Mapping[str, Any]) -> _core.TrainOptions:
    """Build the core's options from their fields, such as ``{"batch.batch_size": 8}``.

    The core refuses a missing field and an unknown one.
    """
    parts: dict[str, dict[str, Any]] = {path: {} for path in ("", *_PARTS)}
    for path, value in fields.items():
        part, _, name = path.rpartition(".")
        parts[part][name] = value
    for path, build in _PARTS.items():
        part, _, name = path.rpartition(".")
        parts[part][name] = build(**parts[path])
    return _core.TrainOptions(**parts[""])
