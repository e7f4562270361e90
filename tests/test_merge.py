"""Merging: every method of the table against its oracle, by hand, and as part of a training."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle
from omp_mlp import _core

METHODS = sorted(oracle.MERGES)  # the core's; test_merging.py has those in Python
ALL_METHODS = [*oracle.MERGES, *oracle.ONE_SHOT_MERGES]
SHAPES = [(1, 1), (3, 2), (7, 5, 3), (2, 33, 17, 4), (70, 31, 10)]  # the last: 2,521 parameters


def random_model(
    layer_sizes: tuple[int, ...], seed: int, scale: float = 1.0, **options: Any
) -> omp_mlp.Model:
    rng = np.random.default_rng(seed)
    return omp_mlp.Model(
        [rng.normal(scale=scale, size=pair) for pair in pairwise(layer_sizes)],
        [rng.normal(scale=scale, size=size) for size in layer_sizes[1:]],
        **options,
    )


def near(base: omp_mlp.Model, seed: int, step: float = 0.1) -> omp_mlp.Model:
    """Make what a replica that started at the base may have become."""
    rng = np.random.default_rng(seed)
    return omp_mlp.Model(
        [W + step * rng.normal(size=W.shape) for W in base.weights],
        [b + step * rng.normal(size=b.shape) for b in base.biases],
    )


def flat(model: omp_mlp.Model) -> NDArray[np.float32]:
    return oracle.flatten(list(zip(model.weights, model.biases, strict=True)))


def pair_model(first: float, second: float) -> omp_mlp.Model:
    """Make the smallest network: one weight, one bias."""
    return omp_mlp.Model([[[first]]], [[second]])


def merge_oracle(
    method: str,
    models: list[omp_mlp.Model],
    base: omp_mlp.Model | None = None,
    sample_share: list[float] | None = None,
    options: dict[str, float | str] | None = None,
) -> NDArray[np.float32]:
    return oracle.MERGES[method](
        oracle.MergeInput(
            base=flat(models[0] if base is None else base),
            replicas=[flat(model) for model in models],
            sample_share=sample_share or [1 / len(models)] * len(models),
            boundaries=oracle.layer_boundaries(models[0].layer_sizes),
            options=options or {},
        )
    )


def assert_rounded_once(
    merged: omp_mlp.Model,
    expected: NDArray[np.float32],
    method: str,
    models: list[omp_mlp.Model],
    base: omp_mlp.Model,
) -> None:
    """Both sum in double, not in the same order, and round once: at most the last bit differs.

    Gradient diversity's updates are differences in float, added up in fours before they are double.
    """
    moved = np.sum([np.abs(flat(model) - flat(base)) for model in models], axis=0)
    bound = 2**-23 * np.abs(expected) + 1e-12 * np.maximum(1, moved)
    if method == "gradient_diversity":
        bound += 2**-22 * moved
    assert (np.abs(flat(merged) - expected) <= bound).all()


# ---------------------------------------------------------------------------------------- the table


def test_every_method_has_an_oracle_and_every_oracle_a_method() -> None:
    assert sorted(method.name for method in omp_mlp.merge_methods()) == sorted(ALL_METHODS)


def test_rows_of_the_table() -> None:
    rows = {method.name: method for method in omp_mlp.merge_methods()}
    assert len(rows) == len(omp_mlp.merge_methods())
    for row in rows.values():
        assert row.summary.endswith(".")
        assert "W = " in row.formula
        assert any(year in row.reference for year in map(str, range(1990, 2030)))
        assert row.cadence in ("once", "periodic")
    periodic = {"gradient_diversity", "adasum"}
    assert {name for name, row in rows.items() if row.needs_base} == {*periodic, "delta_sum"}
    assert {name for name, row in rows.items() if row.cadence == "periodic"} == periodic
    # Without some of its terms, the sum of all is another network.
    assert {name for name, row in rows.items() if not row.may_skip} == {"sum"}
    options = {name: [option.name for option in row.options] for name, row in rows.items()}
    with_options = {"delta_sum", "regmean", "refit_output"}
    assert {name for name, names in options.items() if names} == with_options
    assert options["delta_sum"] == ["alpha"]
    assert rows["delta_sum"].options[0].words == ("1/sqrt(n)", "1/n", "line_search")
    assert rows["delta_sum"].options[0].summary.endswith(".")
    assert "Eq. 1" in rows["average"].reference
    assert "Eq. 2" in rows["sum"].reference


# ------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("n_models", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("layer_sizes", SHAPES, ids=lambda sizes: "-".join(map(str, sizes)))
@pytest.mark.parametrize("method", METHODS)
def test_values_are_the_oracles(method: str, layer_sizes: tuple[int, ...], n_models: int) -> None:
    base = random_model(layer_sizes, seed=0)
    models = [near(base, seed) for seed in range(1, n_models + 1)]
    share = np.random.default_rng(9).random(n_models) + 0.1
    share /= share.sum()
    merged = omp_mlp.merge(models, method, base=base, sample_share=share)
    expected = merge_oracle(method, models, base, share.tolist())
    assert_rounded_once(merged, expected, method, models, base)
    assert merged.layer_sizes == layer_sizes
    assert len(merged.history) == 0
    assert merged.replicas == ()


@pytest.mark.parametrize("n_models", [2, 5, 11])
@pytest.mark.parametrize("method", METHODS)
def test_loops_for_every_instruction_set_give_the_same_bits(method: str, n_models: int) -> None:
    """The sizes leave some numbers over, whatever the width of a register."""
    base = random_model((70, 31, 10), seed=0)
    models = [near(base, seed) for seed in range(1, n_models + 1)]
    results = {}
    try:
        for name in _core.merge_loop_names():
            _core.select_merge_loops(name)
            results[name] = flat(omp_mlp.merge(models, method, base=base)).tobytes()
    finally:
        _core.select_merge_loops("best")
    assert "narrow" in results
    assert len(set(results.values())) == 1


@pytest.mark.parametrize("outer", ["momentum", "nesterov", "slowmo"])
def test_outer_steps_for_every_instruction_set_give_the_same_bits(outer: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(96, 13)).astype(np.float32)
    y = rng.integers(3, size=96)
    weights = set()
    try:
        for name in _core.merge_loop_names():
            _core.select_merge_loops(name)
            model = fixed.train_parallel(
                X,
                y,
                4,
                hidden_layer_sizes=(7,),
                epochs=3,
                batch_size=1,
                learning_rate=0.1,
                merge_every=4,
                outer_optimizer=outer,
                outer_momentum=0.5,
            )
            weights.add(flat(model).tobytes())
    finally:
        _core.select_merge_loops("best")
    assert len(weights) == 1


def test_unknown_merge_loops_are_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match=r"merge loops must be one of 'best'.*'narrow'; got 'mmx'"):
        _core.select_merge_loops("mmx")


@pytest.mark.parametrize("workers", [2, 5])
@pytest.mark.parametrize("method", METHODS)
def test_merge_has_the_same_bits_for_any_number_of_workers(method: str, workers: int) -> None:
    base = random_model((200, 31, 10), seed=0)  # several slices in the first layer
    arguments: dict[str, Any] = {
        "method": _core.merge_method(method),
        "options": [0.3] if method == "delta_sum" else [],
        "replicas": [flat(near(base, seed)) for seed in range(1, 5)],
        "base": flat(base),
        "sample_share": [0.1, 0.2, 0.3, 0.4],
        "layer_ends": oracle.layer_boundaries(base.layer_sizes)[1:],
    }
    alone = _core.merge(**arguments, workers=1)
    assert _core.merge(**arguments, workers=workers).tobytes() == alone.tobytes()


@given(
    st.sampled_from(METHODS),
    st.lists(st.integers(1, 12), min_size=2, max_size=4),
    st.integers(1, 9),
    st.sampled_from([1e-3, 1.0, 1e3]),
    st.integers(0, 10**6),
)
def test_values_for_any_shape(
    method: str, sizes: list[int], n_models: int, step: float, seed: int
) -> None:
    base = random_model(tuple(sizes), seed)
    models = [near(base, seed + i + 1, step) for i in range(n_models)]
    merged = omp_mlp.merge(models, method, base=base)
    expected = merge_oracle(method, models, base)
    assert_rounded_once(merged, expected, method, models, base)


@pytest.mark.parametrize("alpha", [0, 0.3, 1, np.float32(2.5), "1/n", "1/sqrt(n)"])
@pytest.mark.parametrize("n_models", [1, 5])
def test_alpha_of_delta_sum(alpha: Any, n_models: int) -> None:
    base = random_model((40, 31, 3), seed=0)
    models = [near(base, seed) for seed in range(1, n_models + 1)]
    merged = flat(omp_mlp.merge(models, "delta_sum", base=base, merge_options={"alpha": alpha}))
    expected = merge_oracle("delta_sum", models, base, options={"alpha": alpha})
    np.testing.assert_allclose(merged, expected, rtol=2**-23, atol=1e-12)


# (w, b) of two networks that started at (1, 0) and moved by (2, 0) and (0, 1): orthogonally.
@pytest.mark.parametrize(
    "method, options, expected",
    [
        ("average", {}, [2.0, 0.5]),
        ("sum", {}, [4.0, 1.0]),
        ("weighted_average", {"sample_share": [3, 1]}, [2.5, 0.25]),
        ("weighted_average", {"sample_share": [0, 5]}, [1.0, 1.0]),
        ("weighted_average", {}, [2.0, 0.5]),
        ("median", {}, [2.0, 0.5]),
        # Updates (2, 0) and (0, 1), added up and divided by the root of 2, or by 2.
        ("delta_sum", {"base": pair_model(1, 0)}, [1 + np.float32(2**0.5), np.float32(0.5**0.5)]),
        (
            "delta_sum",
            {"base": pair_model(1, 0), "merge_options": {"alpha": "1/n"}},
            [2.0, 0.5],
        ),
        ("adasum", {"base": pair_model(1, 0)}, [3.0, 1.0]),
        # sum |d_i|^2 = 4 + 1, |sum d_i|^2 = |(2, 1)|^2 = 5: c = 1, the sum of the updates.
        ("gradient_diversity", {"base": pair_model(1, 0)}, [3.0, 1.0]),
    ],
)
def test_two_networks_by_hand(method: str, options: dict[str, Any], expected: list[float]) -> None:
    merged = omp_mlp.merge([pair_model(3, 0), pair_model(1, 1)], method, **options)
    assert flat(merged).tolist() == expected


@pytest.mark.parametrize(
    "moves, expected",
    [
        # The same update twice: 2 * 1 / |2|^2 = 1/2, the average of the updates.
        ([(1, 0), (1, 0)], (1, 0)),
        # 1 + 1/4 over (3/2)^2 = 5/9: c = 5/9 of the sum.
        ([(1, 0), (0.5, 0)], (5 / 6, 0)),
        # (1, 0) and (1, 1): (1 + 2) / |(2, 1)|^2 = 3/5.
        ([(1, 0), (1, 1)], (6 / 5, 3 / 5)),
        # Opposite enough for a ratio above 1: clipped, the sum. (1 + 1/4) / (1/2)^2 = 5.
        ([(1, 0), (-0.5, 0)], (0.5, 0)),
        # Updates that cancel: nothing to divide by, and nothing to add.
        ([(1, 2), (-1, -2)], (0, 0)),
        ([(0, 0), (0, 0)], (0, 0)),
        # Three alike: 3 / 9, the average. A lone one: itself.
        ([(1, 1), (1, 1), (1, 1)], (1, 1)),
        ([(0.25, -3)], (0.25, -3)),
    ],
)
def test_gradient_diversity_by_hand(
    moves: list[tuple[float, float]], expected: tuple[float, float]
) -> None:
    base = pair_model(0.5, -0.25)
    models = [pair_model(0.5 + dw, -0.25 + db) for dw, db in moves]
    merged = flat(omp_mlp.merge(models, "gradient_diversity", base=base))
    np.testing.assert_allclose(merged, [0.5 + expected[0], -0.25 + expected[1]], rtol=1e-7)


@pytest.mark.parametrize(
    "moves, expected",
    [
        # The same update, however often: itself.
        ([(1, 2)] * 2, (1, 2)),
        ([(1, 2)] * 8, (1, 2)),
        # (1, 0) and (1, 1): (1 - 1/2) (1, 0) + (1 - 1/4) (1, 1).
        ([(1, 0), (1, 1)], (5 / 4, 3 / 4)),
        # That once more beside two that did not move, and alone behind two that cancel:
        # (1, 0) and (-1, 0) make 3/2 (1, 0) - 3/2 (1, 0).
        ([(0, 0), (0, 0), (1, 0), (1, 1)], (5 / 4, 3 / 4)),
        ([(1, 0), (-1, 0), (3, 4)], (3, 4)),
    ],
)
def test_adasum_by_hand(moves: list[tuple[float, float]], expected: tuple[float, float]) -> None:
    base = pair_model(0.5, -0.25)
    models = [pair_model(0.5 + dw, -0.25 + db) for dw, db in moves]
    merged = flat(omp_mlp.merge(models, "adasum", base=base))
    np.testing.assert_allclose(merged, [0.5 + expected[0], -0.25 + expected[1]], rtol=1e-7)


def test_median_is_not_moved_by_one_that_went_astray() -> None:
    models = [random_model((7, 5, 3), seed, scale=0.1) for seed in range(5)]
    astray = random_model((7, 5, 3), seed=9, scale=1e30)
    merged = flat(omp_mlp.merge([*models, astray, astray], "median"))
    assert np.abs(merged).max() <= max(np.abs(flat(model)).max() for model in models)


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1.0, 1e20, 1e30])
def test_gradient_diversity_of_updates_whose_squares_are_no_floats(size: float) -> None:
    # Half of each update is common to all three, half its own: c = 3 (1 + 1) / (9 + 3) = 1/2.
    base = omp_mlp.Model([np.zeros((4, 1))], [[0.0]])
    models = [
        omp_mlp.Model([size * (np.eye(4)[:, [0]] + np.eye(4)[:, [i]])], [[0.0]]) for i in (1, 2, 3)
    ]
    merged = flat(omp_mlp.merge(models, "gradient_diversity", base=base))
    np.testing.assert_allclose(merged / size, [1.5, 0.5, 0.5, 0.5, 0.0], rtol=1e-6)


def test_gradient_diversity_decides_for_each_layer() -> None:
    # In the first layer both networks move alike (c = 1/2), in the second orthogonally (c = 1).
    base = omp_mlp.Model([[[0.0]], [[0.0]]], [[0.0], [0.0]])
    models = [
        omp_mlp.Model([[[1.0]], [[1.0]]], [[2.0], [0.0]]),
        omp_mlp.Model([[[1.0]], [[0.0]]], [[2.0], [1.0]]),
    ]
    merged = omp_mlp.merge(models, "gradient_diversity", base=base)
    assert flat(merged).tolist() == [1, 2, 1, 1]


def test_sums_are_accumulated_in_double() -> None:
    # In float32, 1 + 2^-25 is 1, however often; with 1,024 of them the exact sum is 1 + 2^-15.
    models = [pair_model(1.0, 0.0)] + [pair_model(2.0**-25, 0.0)] * 1024
    assert flat(omp_mlp.merge(models, "sum"))[0] == np.float32(1 + 2.0**-15)
    # The overflow of a partial sum is none, if the average itself is in range.
    largest = float(np.finfo(np.float32).max)
    assert flat(omp_mlp.merge([pair_model(largest, 0)] * 3, "average"))[0] == np.float32(largest)


@pytest.mark.parametrize("method", METHODS)
def test_one_network_merges_to_itself(method: str) -> None:
    model = random_model((7, 5, 3), seed=1)
    base = random_model((7, 5, 3), seed=2)
    merged = omp_mlp.merge([model], method, base=base)
    assert_rounded_once(merged, flat(model), method, [model], base)


@pytest.mark.parametrize(
    "method", ["average", "weighted_average", "median", "gradient_diversity", "adasum"]
)
def test_copies_merge_to_themselves(method: str) -> None:
    model = random_model((7, 5, 3), seed=1)
    merged = omp_mlp.merge([model] * 7, method, base=model)
    assert flat(merged).tobytes() == flat(model).tobytes()


def test_methods_without_a_base_ignore_one() -> None:
    models = [random_model((7, 5, 3), seed) for seed in (1, 2)]
    base = random_model((7, 5, 3), seed=3)
    for method in ("average", "sum", "weighted_average", "median"):
        merged = omp_mlp.merge(models, method)
        assert flat(omp_mlp.merge(models, method, base=base)).tobytes() == flat(merged).tobytes()


def test_shares_are_proportions() -> None:
    models = [random_model((7, 5, 3), seed) for seed in (1, 2, 3)]
    expected = flat(omp_mlp.merge(models, "weighted_average", sample_share=[0.5, 0.25, 0.25]))
    for share in ([2, 1, 1], np.array([8.0, 4.0, 4.0]), (200, 100, 100)):
        merged = omp_mlp.merge(models, "weighted_average", sample_share=share)
        assert flat(merged).tobytes() == expected.tobytes()


def test_the_merged_network_is_one_of_their_kind() -> None:
    options = {"activation": "logistic", "output_activation": "logistic", "classes": ["a", "b"]}
    models = [random_model((4, 3, 2), seed, **options) for seed in (1, 2)]
    before = [flat(model).copy() for model in models]
    merged = omp_mlp.merge(iter(models), "average")  # any iterable
    assert (merged.activation, merged.output_activation) == ("logistic", "logistic")
    assert merged.classes is not None
    assert merged.classes.tolist() == ["a", "b"]
    assert set(merged.predict(np.eye(4))) <= {"a", "b"}
    for model, unchanged in zip(models, before, strict=True):
        np.testing.assert_array_equal(flat(model), unchanged)
    with pytest.raises(ValueError, match="read-only"):
        merged.weights[0][0, 0] = 1


# ------------------------------------------------------------------------ the same as in a training


@pytest.mark.parametrize("merge_every", [None, 8], ids="every_{}".format)
@pytest.mark.parametrize("threads", [1, 2, 5, 40])
@pytest.mark.parametrize("method", METHODS)
def test_merging_kept_replicas_is_what_the_training_did(
    method: str, threads: int, merge_every: int | None
) -> None:
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(31, 7)).astype(np.float32), np.arange(31) % 3
    options: dict[str, Any] = {
        "merge": method,
        "hidden_layer_sizes": (40,),
        "activation": "tanh",
        "epochs": 2 if method == "sum" else 3,
        "batch_size": 4,
        "init_scale": 0.01 if method == "sum" else "glorot",
        "merge_every": merge_every,
        "outer_momentum": 0.0,
        "seed": 1,
    }
    model = fixed.train_parallel(X, y, threads, keep_replicas=True, **options)
    rounds = len(model.history)
    # The base of the last round: the start, or what the training gives when it is stopped before.
    if rounds == 1:
        base = fixed.train_parallel(X, y, threads, **{**options, "epochs": 0})
    else:
        base = fixed.train_parallel(
            X, y, threads, callback=lambda p: p.merged and p.round == rounds - 2, **options
        )
        assert len(base.history) == rounds - 1
    lengths = [options["epochs"] * len(b) for b in np.array_split(np.arange(31), threads)]
    before = 0 if merge_every is None else (rounds - 1) * merge_every
    seen = [max(0, length - before) for length in lengths]
    merged = omp_mlp.merge(model.replicas, method, base=base, sample_share=seen)
    assert flat(merged).tobytes() == flat(model).tobytes()


# --------------------------------------------------------------------- models that are not finite


def spoilt(model: omp_mlp.Model, value: float) -> omp_mlp.Model:
    """Make what a replica that diverged is: no model built by hand is not finite."""
    packed = flat(model).copy()
    packed[8] = value  # of (7, 5, 3): row 1, column 3 of the first weights
    return model._like(packed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_is_not_finite_is_named_or_left_out(method: str, value: float) -> None:
    base = random_model((7, 5, 3), seed=0)
    models = [near(base, seed) for seed in range(1, 5)]
    with_bad = [models[0], spoilt(base, value), *models[1:]]
    options: dict[str, Any] = {"base": base, "sample_share": [1, 5, 2, 3, 4]}
    with pytest.raises(
        ValueError, match=rf"models\[1\] must be finite; got {value} in weights\[0\]\[1, 3\]"
    ):
        omp_mlp.merge(with_bad, method, **options)
    if method == "sum":
        with pytest.raises(ValueError, match="'sum' does not; got on_nonfinite='skip'"):
            omp_mlp.merge(with_bad, method, on_nonfinite="skip", **options)
        return
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match=r"without models\[1\]: not finite"):
        merged = omp_mlp.merge(with_bad, method, on_nonfinite="skip", **options)
    expected = omp_mlp.merge(models, method, base=base, sample_share=[1, 2, 3, 4])
    # The shares of those that stay are divided by another sum: the last bit may differ.
    np.testing.assert_allclose(flat(merged), flat(expected), rtol=2**-23)


def test_nothing_is_merged_of_nothing_finite() -> None:
    base = random_model((7, 5, 3), seed=0)
    bad = spoilt(base, np.nan)
    with pytest.raises(ValueError, match=r"models\[0\] must be .*; no other model is finite"):
        omp_mlp.merge([bad, bad], on_nonfinite="skip")
    with pytest.raises(ValueError, match=r"base must be finite; got nan in weights\[0\]\[1, 3\]"):
        omp_mlp.merge([base, base], "delta_sum", base=bad, on_nonfinite="skip")


# ------------------------------------------------------------------------------------------- errors


def alike(**changed: Any) -> omp_mlp.Model:
    options = {"activation": "relu", "output_activation": "softmax", "classes": [0, 1]} | changed
    return random_model((4, 3, 2), 1, **options)


@pytest.mark.parametrize(
    "models, options, error, message",
    [
        pytest.param([], {}, ValueError, "needs models, at least one; got none", id="none"),
        pytest.param(
            [alike()],
            {"method": "mean"},
            ValueError,
            "must be one of " + ", ".join(map(repr, ALL_METHODS)) + "; got 'mean'",
            id="unknown_method",
        ),
        pytest.param([alike()], {"method": None}, ValueError, "got None", id="no_method"),
        pytest.param(
            [alike(), "model"],
            {},
            TypeError,
            r"models\[1\] must be a Model, .*a list of arrays \[W1, b1.*; got str",
            id="not_a_model",
        ),
        pytest.param(
            [alike(), random_model((4, 4, 2), 1, classes=[0, 1])],
            {},
            ValueError,
            r"models\[1\] must have the layer_sizes of models\[0\], \(4, 3, 2\); got \(4, 4, 2\)",
            id="shape",
        ),
        pytest.param(
            [alike(), alike(activation="tanh")],
            {},
            ValueError,
            r"models\[1\] must have the activation of models\[0\], 'relu'; got 'tanh'",
            id="activation",
        ),
        pytest.param(
            [alike(), alike(), alike(output_activation="logistic")],
            {},
            ValueError,
            r"models\[2\] must have the output_activation .*'softmax'; got 'logistic'",
            id="output_activation",
        ),
        pytest.param(
            [alike(), alike(classes=[0, 2])],
            {},
            ValueError,
            r"models\[1\] must have the classes of models\[0\], \[0 1\]; got \[0 2\]",
            id="classes",
        ),
        pytest.param(
            [alike(), alike(classes=None)],
            {},
            ValueError,
            r"models\[1\] must have the classes of models\[0\], \[0 1\]; got None",
            id="no_classes",
        ),
        pytest.param(
            [alike(), alike()],
            {"method": "gradient_diversity"},
            ValueError,
            "'gradient_diversity' merges updates and needs base=.*got none",
            id="no_base",
        ),
        *(
            pytest.param(
                [alike(), alike()],
                {"method": "delta_sum", "base": alike(), "merge_options": options},
                error,
                message,
                id=f"options_{number}",
            )
            for number, (options, error, message) in enumerate(
                [
                    (3, TypeError, "merge_options must be a mapping.*got int"),
                    ({"beta": 1}, ValueError, "'delta_sum': it takes 'alpha'; got 'beta'"),
                    (
                        {"alpha": "n"},
                        ValueError,
                        r"'alpha'\] must be a number or one of '1/sqrt\(n\)', '1/n', "
                        "'line_search'; got 'n'",
                    ),
                    ({"alpha": -1}, ValueError, r"\['alpha'\] must be at least 0 .*got -1"),
                    ({"alpha": np.nan}, ValueError, "finite; got nan"),
                    ({"alpha": True}, TypeError, r"\['alpha'\] must be a number; got True"),
                ]
            )
        ),
        pytest.param(
            [alike()],
            {"merge_options": {"alpha": 1}},
            ValueError,
            "merge_options of 'average': it takes none; got 'alpha'",
            id="no_options",
        ),
        pytest.param(
            [alike()],
            {"on_nonfinite": "ignore"},
            ValueError,
            "on_nonfinite must be one of 'raise', 'skip'; got 'ignore'",
            id="on_nonfinite",
        ),
        pytest.param(
            [alike(), alike()],
            {"base": np.zeros(3)},
            TypeError,
            "base must be a Model, .*; got ndarray",
            id="base_is_no_model",
        ),
        pytest.param(
            [alike(), alike()],
            {"base": random_model((4, 2), 1, classes=[0, 1]), "method": "gradient_diversity"},
            ValueError,
            r"base must have the layer_sizes of models\[0\], \(4, 3, 2\); got \(4, 2\)",
            id="base_of_other_shape",
        ),
        pytest.param(
            [alike(), alike()],
            {"sample_share": [1, 2, 3]},
            ValueError,
            r"one entry for each of the 2 models; got shape \(3,\)",
            id="too_many_shares",
        ),
        pytest.param(
            [alike(), alike()],
            {"sample_share": [1, -1]},
            ValueError,
            r"finite, not negative, and not all zero; got \[1.0, -1.0\]",
            id="negative_share",
        ),
        pytest.param(
            [alike(), alike()],
            {"sample_share": [0, 0]},
            ValueError,
            "not all zero",
            id="no_share",
        ),
        pytest.param(
            [alike(), alike()],
            {"sample_share": [1, np.nan]},
            ValueError,
            "finite",
            id="nan_share",
        ),
    ],
)
def test_errors(
    models: list[Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        omp_mlp.merge(models, **options)
