"""The table of options: what is refused before any work, and what agrees with the table."""

import ast
import dataclasses
import inspect
import re
import typing
from typing import Any

import numpy as np
import pytest

import fixed
import omp_mlp
from omp_mlp import cadence, keywords
from omp_mlp.merging.merge import MergesToModel
from omp_mlp.options import (
    DEFAULTS,
    ROWS,
    STRATEGIES,
    Options,
    check_options,
    core_fields,
    core_options,
)

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 3  # classes 0, 1, 2


def cases(rows):
    """Name the rows of a table by their first two entries."""
    return [pytest.param(*row, id=f"{row[0]}-{row[1]!r}"[:60]) for row in rows]


BAD_OPTIONS = [
    ("threads", 0, ValueError, "threads must be at least 1; got 0"),
    ("threads", -2, ValueError, "threads must be at least 1; got -2"),
    ("threads", 2.0, TypeError, "threads must be an integer; got 2.0 of type float"),
    ("threads", "2", TypeError, "threads must be an integer; got '2' of type str"),
    ("threads", True, TypeError, "threads must be an integer; got True of type bool"),
    (
        "threads",
        np.True_,
        TypeError,
        "True_ of type bool" if np.__version__ >= "2" else "of type bool_",
    ),
    (
        "threads",
        np.array([2]),
        TypeError,
        "threads must be an integer; got array([2]) of type ndarray",
    ),
    ("merge", "mean", ValueError, "merge must be one of 'average', 'sum', "),
    ("merge", "mean", ValueError, "; got 'mean'"),
    ("merge", "Average", ValueError, "; got 'Average'"),
    ("merge", None, ValueError, "; got None"),
    ("merge", ["sum"], ValueError, "; got ['sum']"),
    ("activation", "sigmoid", ValueError, "activation must be one of 'relu', 'leaky_relu', "),
    ("activation", "sigmoid", ValueError, "; got 'sigmoid'"),
    ("activation", None, ValueError, "'identity'; got None"),
    (
        "loss",
        "hinge",
        ValueError,
        "loss must be one of 'auto', 'cross_entropy', 'squared_error', 'huber', 'absolute', "
        "'quantile', 'poisson', 'binary_cross_entropy'; got 'hinge'",
    ),
    (
        "output_activation",
        "relu",
        ValueError,
        "output_activation must be one of 'auto', 'softmax', 'identity', 'logistic', "
        "'exponential'; got 'relu'",
    ),
    (
        "output_activation",
        "identity",
        ValueError,
        "loss='cross_entropy' goes with output_activation 'softmax'; got 'identity'",
    ),
    ("epochs", -1, ValueError, "epochs must be at least 0; got -1"),
    ("epochs", 1.5, TypeError, "epochs must be an integer; got 1.5 of type float"),
    ("epochs", None, TypeError, "epochs must be an integer; got None of type NoneType"),
    ("epochs", 2**62, ValueError, "epochs times samples must be less than 2^63; got 46116860"),
    ("batch_size", 0, ValueError, "batch_size must be at least 1; got 0"),
    ("batch_size", -8, ValueError, "batch_size must be at least 1; got -8"),
    ("batch_size", 8.0, TypeError, "batch_size must be an integer; got 8.0 of type float"),
    ("learning_rate", -0.1, ValueError, "learning_rate must be at least 0 and finite; got -0.1"),
    ("learning_rate", np.nan, ValueError, "learning_rate must be at least 0 and finite; got nan"),
    ("learning_rate", np.inf, ValueError, "learning_rate must be at least 0 and finite; got inf"),
    ("learning_rate", "0.1", ValueError, "learning_rate must be 'auto' or a number; got '0.1'"),
    ("learning_rate", None, TypeError, "learning_rate must be a number; got None"),
    ("learning_rate", 1j, TypeError, "learning_rate must be a number; got 1j of type complex"),
    ("learning_rate", True, TypeError, "learning_rate must be a number; got True of type bool"),
    (
        "learning_rate_schedule",
        "stairs",
        ValueError,
        "learning_rate_schedule must be one of 'linear', 'constant', 'cosine', 'one_cycle', "
        "'inverse_scaling', 'adaptive', 'coslog4'; got 'stairs'",
    ),
    ("merge_every", 0, ValueError, "merge_every must be at least 1; got 0"),
    ("merge_every", 3, ValueError, "merge_every must be at least batch_size, 4; got 3"),
    ("merge_every", 8.0, TypeError, "merge_every must be an integer; got 8.0 of type float"),
    ("merge_every", True, TypeError, "merge_every must be an integer; got True of type bool"),
    (
        "merge_every",
        "never",
        ValueError,
        "merge_every must be 'auto' or an integer, or a pair of integers; got 'never'",
    ),
    ("merge_every", (8, 3), ValueError, "merge_every[1] must be at least batch_size, 4; got 3"),
    ("merge_every", (8.0, 16), TypeError, "merge_every[0] must be an integer; got 8.0"),
    ("merge_every", (8, 16, 32), ValueError, "or a pair (first, last) of them; got 3 entries"),
    ("merge_options", 1, TypeError, "merge_options must be a mapping, such as {'alpha': '1/n'}"),
    ("merge_options", {"beta": 1}, ValueError, "it takes none; got 'beta'"),
    (
        "outer_optimizer",
        "adam",
        ValueError,
        "outer_optimizer must be one of 'auto', 'momentum', 'nesterov', 'bmuf', 'slowmo'; got",
    ),
    ("outer_optimizer", X, ValueError, "outer_optimizer must be one of 'auto', 'momentum'"),
    ("outer_learning_rate", -1, ValueError, "outer_learning_rate must be at least 0 and finite"),
    ("outer_learning_rate", "big", ValueError, "must be 'auto' or a number; got 'big'"),
    ("last_merge", "sum", ValueError, "last_merge must be one of 'auto', 'average', None; got"),
    ("on_nonfinite", "stop", ValueError, "on_nonfinite must be one of 'raise', 'skip'; got 'stop'"),
    ("warmup_samples", -1, ValueError, "warmup_samples must be at least 0; got -1"),
    ("warmup_samples", 2.5, TypeError, "warmup_samples must be an integer; got 2.5"),
    ("warmup_samples", 2**63 - 1, ValueError, "must be less than 2^63; got 1 epochs and 92233"),
    (
        "outer_momentum",
        -0.1,
        ValueError,
        "outer_momentum must be at least 0 and less than 1; got -0.1",
    ),
    (
        "outer_momentum",
        1.0,
        ValueError,
        "outer_momentum must be at least 0 and less than 1; got 1.0",
    ),
    ("outer_momentum", np.nan, ValueError, "and less than 1; got nan"),
    ("outer_momentum", "big", ValueError, "outer_momentum must be 'auto' or a number; got 'big'"),
    ("outer_momentum", None, TypeError, "outer_momentum must be a number; got None"),
    ("init", "zeros", ValueError, "init must be one of 'shared', 'independent'; got 'zeros'"),
    ("init", None, ValueError, "init must be one of 'shared', 'independent'; got None"),
    ("init", X, ValueError, "init must be one of 'shared', 'independent'; got array("),
    ("init_scale", -0.5, ValueError, "init_scale must be at least 0 and finite; got -0.5"),
    ("init_scale", np.inf, ValueError, "init_scale must be at least 0 and finite; got inf"),
    (
        "init_scale",
        "xavier",
        ValueError,
        "init_scale must be one of 'auto', 'glorot', 'he', 'lecun' or a number; got 'xavier'",
    ),
    ("init_scale", None, TypeError, "init_scale must be a number; got None of type NoneType"),
    ("shuffle", True, ValueError, "shuffle must be one of 'global', 'shards', False; got True"),
    ("shuffle", 0, ValueError, "shuffle must be one of 'global', 'shards', False; got 0"),
    ("shuffle", None, ValueError, "shuffle must be one of 'global', 'shards', False; got None"),
    (
        "shuffle",
        "local",
        ValueError,
        "shuffle must be one of 'global', 'shards', False; got 'local'",
    ),
    ("workers", 0, ValueError, "workers must be at least 1; got 0"),
    ("workers", 1.0, TypeError, "workers must be an integer; got 1.0 of type float"),
    ("workers", "all", TypeError, "workers must be an integer; got 'all' of type str"),
    ("seed", -1, ValueError, "seed must be at least 0; got -1"),
    ("seed", 2**64, ValueError, "seed must be less than 2^64; got 18446744073709551616"),
    ("threads", 2**31, ValueError, "threads must be at most 1048576; got 2147483648"),
    ("workers", 2**40, ValueError, "workers must be at most 1048576; got 1099511627776"),
    ("batch_size", 2**63, ValueError, "batch_size must be at most 9223372036854775807; got 92"),
    ("merge_every", 10**30, ValueError, "merge_every must be at most 9223372036854775807; got 10"),
    (
        "hidden_layer_sizes",
        (2**31,),
        ValueError,
        "hidden_layer_sizes[0] must be at most 2147483647",
    ),
    (
        "hidden_layer_sizes",
        (8, 2**31 - 1, 2**31 - 1),
        ValueError,
        "hidden_layer_sizes must make a network of at most 1099511627776 parameters; got (8, 214",
    ),
    ("seed", 0.5, TypeError, "seed must be an integer; got 0.5 of type float"),
    ("seed", None, TypeError, "seed must be an integer; got None of type NoneType"),
    ("callback", 5, TypeError, "callback must be callable; got int"),
    (
        "hidden_layer_sizes",
        128,
        TypeError,
        "must be a sequence of integers, such as (128,); got 128",
    ),
    (
        "hidden_layer_sizes",
        "128",
        TypeError,
        "must be a sequence of integers, such as (128,); got '128'",
    ),
    ("hidden_layer_sizes", (8, 0), ValueError, "hidden_layer_sizes[1] must be at least 1; got 0"),
    ("hidden_layer_sizes", b"x", TypeError, "hidden_layer_sizes must be a sequence of integers"),
    ("hidden_layer_sizes", {8, 4}, TypeError, "hidden_layer_sizes must be a sequence of integers"),
    ("hidden_layer_sizes", {8: 4}, TypeError, "hidden_layer_sizes must be a sequence of integers"),
    ("hidden_layer_sizes", (8.0,), TypeError, "hidden_layer_sizes[0] must be an integer; got 8.0"),
    ("sample_weight", np.ones(11), ValueError, "sample_weight must have shape (12,); got (11,)"),
    (
        "sample_weight",
        np.ones((12, 1)),
        ValueError,
        "sample_weight must have shape (12,); got (12, 1)",
    ),
    ("sample_weight", 1.0, ValueError, "sample_weight must have shape (12,); got ()"),
    (
        "sample_weight",
        np.where(np.arange(12) == 7, -2.5, 1),
        ValueError,
        "sample_weight must be finite and not negative; got -2.5 for sample 7",
    ),
    ("sample_weight", np.where(np.arange(12) > 3, np.nan, 1), ValueError, "got nan for sample 4"),
    ("sample_weight", np.where(np.arange(12) > 3, np.inf, 1), ValueError, "got inf for sample 4"),
    (
        "sample_weight",
        np.where(np.arange(12) > 3, 1e200, 1),
        ValueError,
        "got 1e+200 for sample 4, which is infinite in float32",
    ),
    (
        "sample_weight",
        ["heavy"] * 12,
        TypeError,
        "sample_weight must hold real numbers; got dtype <U5",
    ),
    (
        "sample_weight",
        np.ones(12, complex),
        TypeError,
        "must hold real numbers; got dtype complex128",
    ),
    ("validation_data", X, TypeError, "validation_data must be a pair (X, y); got ndarray"),
    ("validate_every", 0, ValueError, "validate_every must be at least 1; got 0"),
    ("validate_every", 2.0, TypeError, "validate_every must be an integer; got 2.0"),
    (
        "validate_every",
        "epoch",
        ValueError,
        "validate_every must be 'auto' or an integer; got 'epoch'",
    ),
    ("validation_data", (X,), TypeError, "validation_data must be a pair (X, y); got tuple"),
    ("validation_data", (X, Y, Y), TypeError, "validation_data must be a pair (X, y); got tuple"),
    (
        "validation_data",
        (X[:, :2], Y),
        ValueError,
        "validation_data[0] has 2 features, but the network was trained on 3",
    ),
    (
        "validation_data",
        (X, Y[:5]),
        ValueError,
        "validation_data[1] must have one entry for each of the 12",
    ),
    (
        "validation_data",
        (X[:0], Y[:0]),
        ValueError,
        "validation_data[0] must have at least one sample",
    ),
    (
        "validation_data",
        (X, Y + 1),
        ValueError,
        "validation_data[1] has labels that are not among the classes: 3; expected some of [0,",
    ),
    (
        "validation_data",
        (np.where(np.arange(36).reshape(12, 3) == 17, np.nan, X), Y),
        ValueError,
        "validation_data[0] must be finite in float32; got NaN in row 5, column 2",
    ),
]


@pytest.mark.parametrize(("option", "value", "error", "message"), cases(BAD_OPTIONS))
def test_bad_option(train_without_work, option, value, error, message):
    with pytest.raises(error, match=re.escape(message)) as caught:
        train_without_work(**{option: value})
    assert type(caught.value) is error


@pytest.mark.parametrize("size", [10**18, 2**63 - 1])
def test_a_batch_of_more_than_all_rows_is_all_rows(size):
    X, y = np.eye(6), np.arange(6) % 2
    options = {"epochs": 3, "hidden_layer_sizes": (2,), "learning_rate": 0.1, "seed": 1}
    for strategy in ("replica", "section", "synchronous", "pattern"):
        all_rows, more = (
            omp_mlp.train_parallel(X, y, 1, strategy=strategy, batch_size=rows, **options)
            for rows in (6, size)
        )
        np.testing.assert_allclose(more.weights[0], all_rows.weights[0], rtol=1e-6)


def test_unknown_merge_lists_every_method(train_without_work):
    with pytest.raises(ValueError, match="merge must be one of") as caught:
        train_without_work(merge="mean")
    for method in omp_mlp.merge_methods():
        assert repr(method.name) in str(caught.value)


def test_numpys_numbers_and_strings_are_numbers_and_strings():
    options = {
        "hidden_layer_sizes": np.array([4, 2]),
        "activation": np.str_("tanh"),
        "epochs": np.int8(1),
        "batch_size": np.uint64(2),
        "learning_rate": np.float32(0.5),
        "merge_every": np.int64(4),
        "seed": np.uint64(2**64 - 1),
        "init_scale": np.float16(0.5),
        "shuffle": np.str_("shards"),
    }
    plain = {
        name: value.tolist() if hasattr(value, "tolist") else value
        for name, value in options.items()
    }
    given = fixed.train_parallel(X, Y, np.int32(2), np.str_("sum"), **options)
    expected = fixed.train_parallel(X, Y, 2, "sum", **plain)
    assert type(given.activation) is str
    for got, wanted in zip(given.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_sum_means_nothing_without_a_replica(train_without_work):
    with pytest.raises(ValueError, match="'sum' does not; got on_nonfinite='skip'"):
        train_without_work(merge="sum", on_nonfinite="skip")


def test_slowmo_divides_by_the_learning_rate(train_without_work):
    with pytest.raises(ValueError, match="needs learning_rate greater than 0"):
        train_without_work(outer_optimizer="slowmo", learning_rate=0)


# --------------------------------------------------------------------------------------- the table


def signature_defaults() -> dict[str, Any]:
    parameters = inspect.signature(omp_mlp.train_parallel).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in ("X", "y")}


def documented_options() -> dict[str, str]:
    """Return the lines `name : type, default` of the docstring, by the names that stand in them."""
    text = inspect.getdoc(omp_mlp.train_parallel) or ""
    text = text[text.index("Parameters\n") : text.index("Returns\n")]
    return dict(re.findall(r"^(\w+) : (.+)$", text, re.MULTILINE))


def test_the_signature_has_the_rows_and_defaults_of_the_table() -> None:
    assert list(signature_defaults()) == list(ROWS)
    for name, default in signature_defaults().items():
        if default is inspect.Parameter.empty:
            assert DEFAULTS[name] is dataclasses.MISSING
        else:
            assert type(default) is type(DEFAULTS[name])
            assert default == DEFAULTS[name]


def test_every_option_is_documented_in_the_order_of_the_table() -> None:
    assert list(documented_options()) == ["X", "y", *ROWS]


def test_the_types_of_the_table_are_those_of_the_signature() -> None:
    """But for what a check turns into something else, or what the data decide."""
    signature = typing.get_type_hints(omp_mlp.train_parallel)
    table = typing.get_type_hints(Options)
    differ = {name for name in ROWS if signature[name] != table[name]}
    decided = {"threads", "epochs", "batch_size", "learning_rate", "center_inputs"}
    checked = {"hidden_layer_sizes", "dropout", "validation_data", "sample_weight", "classes"}
    assert differ == decided | checked | {"costs", "callback", "resume"}


def test_defaults_pass_their_own_checks() -> None:
    given = {**DEFAULTS, "threads": 2}
    assert check_options(given) == Options(threads=2)


ONE_VALUE_EACH = {
    "merge": "average",
    "merge_every": 64,
    "merge_options": {"alpha": "1/n"},
    "outer_optimizer": "nesterov",
    "outer_learning_rate": 0.5,
    "outer_momentum": 0.5,
    "state_at_merge": "average",
    "input_gain_rate": 6.0,
    "last_merge": None,
    "averaging": "lawa",
    "on_nonfinite": "skip",
    "warmup_samples": 5,
    "init": "independent",
    "precision": "bfloat16",
    "keep_replicas": True,
}


def test_every_option_of_some_strategies_only_is_tried_below() -> None:
    assert set(ONE_VALUE_EACH) == {
        name for name, row in ROWS.items() if set(row.strategies) != set(STRATEGIES)
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ONE_VALUE_EACH)
def test_an_option_goes_with_the_strategies_of_its_row(name: str, strategy: str) -> None:
    given = {**DEFAULTS, "threads": 2, "strategy": strategy, name: ONE_VALUE_EACH[name]}
    if name == "merge_options" and strategy in ROWS[name].strategies:
        given["merge"] = "delta_sum"
    if name == "state_at_merge":
        given["optimizer"] = "momentum"
    if strategy in ROWS[name].strategies:
        assert getattr(check_options(given), name) == ONE_VALUE_EACH[name]
        return
    with pytest.raises(ValueError, match="these go with strategy='replica'") as caught:
        check_options(given)
    message = str(caught.value)
    assert message.startswith(f"strategy={strategy!r} ")
    assert message.endswith(f"Got {name}={ONE_VALUE_EACH[name]!r}")
    without = message.partition("goes without ")[2].partition(";")[0]
    for other, row in ROWS.items():
        assert (re.search(rf"\b{other}\b", without) is None) == (strategy in row.strategies)


@pytest.mark.parametrize("strategy", ["section", "pattern"])
def test_a_start_from_a_model_goes_with_every_strategy(strategy: str) -> None:
    start = omp_mlp.Model([np.zeros((3, 2))], [np.zeros(2)])
    assert check_options({**DEFAULTS, "threads": 1, "strategy": strategy, "init": start})


# ----------------------------------------------------------------------------- fields of the core


def fields_of_the_core(options: Options) -> dict[str, Any]:
    merging = cadence.Merging((8, 16), 3, cadence.OuterStep(0.5, 0.25, True, True), True)
    left = {
        name: value for name, value in fixed.SETTINGS.items() if getattr(options, name) == "auto"
    }
    return {
        **core_fields(dataclasses.replace(options, **left)),
        **merging.core_fields("delta_sum", ["1/n"]),
        "dropout": [0.25, 0.5],
        "strategy": "replica",
        "threads": 3,
        "workers": 2,
        "batch.batch_size": 5,
        "batch.first_layer": "sparse",
        "init.rule": "fixed",
        "init.first": "he",
        "init.scale": 0.75,
        "init.first_biases": 0.5,
        "init.last_weights": 0.25,
        "keep_replicas": True,
    }


def at(options: Any, path: str) -> Any:
    for name in path.split("."):
        options = getattr(options, name)
    return options


def test_fields_arrive_where_their_paths_say() -> None:
    options = Options(
        threads=3, epochs=7, learning_rate=0.125, learning_rate_schedule="constant",
        on_nonfinite="skip", warmup_samples=11, init="independent", shuffle=False,
        precision="bfloat16", skip_confident=0.25, center_inputs=True, seed=2**64 - 1,
    )  # fmt: skip
    fields = fields_of_the_core(options)
    core = core_options(fields)
    for path, value in fields.items():
        got = at(core, path)
        assert (got.name if hasattr(got, "formula") else got) == (
            value.name if hasattr(value, "formula") else value
        ), path
    assert (core.epochs, core.optimizer.learning_rate.start) == (7, 0.125)
    assert (core.merge.skip_nonfinite, core.shared_start, core.shuffle) == (True, False, "none")
    assert core.batch.bfloat16
    assert core.merge.last_method is not None


@pytest.mark.parametrize("path", sorted(fields_of_the_core(Options(threads=1))))
def test_a_field_that_is_not_set_is_an_error(path: str) -> None:
    fields = fields_of_the_core(Options(threads=1))
    del fields[path]
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        core_options(fields)


def test_a_field_that_the_core_does_not_have_is_an_error() -> None:
    with pytest.raises(TypeError, match="incompatible constructor arguments"):
        core_options({**fields_of_the_core(Options(threads=1)), "batch.size": 3})


def test_a_name_that_the_core_does_not_know_is_an_error() -> None:
    with pytest.raises(ValueError, match="must be one of none, shards, global; got local"):
        core_options({**fields_of_the_core(Options(threads=1)), "shuffle": "local"})


def test_defaults_are_what_the_documentation_says() -> None:
    text = inspect.getdoc(omp_mlp.train_parallel) or ""
    documented = {
        name: ast.literal_eval(default)
        for name, default in re.findall(r"^(\w+) : .*, default (.+)$", text, re.MULTILINE)
    }
    defaults = signature_defaults()
    assert len(documented) > 15
    assert documented == {name: defaults[name] for name in documented}
    # What has no default in words is left out, by default.
    others = set(defaults) - set(documented) - {"threads"}
    assert not any(defaults[name] for name in others)


# ---- the types of the options ----


def test_types_of_options_are_those_of_the_signature():
    parameters = inspect.signature(omp_mlp.train_parallel).parameters
    by_name = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    declared = {
        name: kind.__forward_arg__ for name, kind in keywords.Options.__annotations__.items()
    }
    assert declared == by_name


def test_types_name_the_merge_methods():
    names = {method.name for method in omp_mlp.merge_methods()}
    assert {*typing.get_args(MergesToModel), "ensemble"} == names
