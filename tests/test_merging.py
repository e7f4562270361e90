"""Merge methods that see layers as matrices: values, what they promise, as part of a training."""

from __future__ import annotations

import itertools
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle
from omp_mlp.merging import line_search, matching

ACTIVATIONS = tuple(oracle.ACTIVATIONS)
SIZES = [(5, 7, 3), (4, 9, 6, 3), (3, 8, 17, 5, 2), (6, 2)]


def random_layers(sizes: tuple[int, ...], seed: int) -> oracle.Parameters:
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=pair) / np.sqrt(pair[0]), rng.normal(scale=0.3, size=pair[1]))
        for pair in pairwise(sizes)
    ]


def model_of(layers: oracle.Parameters, **options: Any) -> omp_mlp.Model:
    return omp_mlp.Model([W for W, _ in layers], [b for _, b in layers], **options)


def layers_of(model: omp_mlp.Model) -> oracle.Parameters:
    """Return what the model holds, in double."""
    return [
        (W.astype(np.float64), b.astype(np.float64))
        for W, b in zip(model.weights, model.biases, strict=True)
    ]


def random_models(
    sizes: tuple[int, ...], count: int, seed: int = 0, **options: Any
) -> list[omp_mlp.Model]:
    return [model_of(random_layers(sizes, 100 * seed + i), **options) for i in range(count)]


def shuffled(layers: oracle.Parameters, seed: int, activation: str = "relu") -> oracle.Parameters:
    """Reorder the hidden units, and change the sign of some where that changes nothing."""
    rng = np.random.default_rng(seed)
    changed = list(layers)
    for layer in range(len(layers) - 1):
        (W, b), (V, c) = changed[layer], changed[layer + 1]
        order = rng.permutation(len(b))
        is_odd = activation in ("tanh", "logistic", "identity")
        signs = rng.choice([-1.0, 1.0], len(b)) if is_odd else np.ones(len(b))
        if activation == "logistic":
            c = c + V[order][signs < 0].sum(axis=0)
        changed[layer] = (W[:, order] * signs, b[order] * signs)
        changed[layer + 1] = (V[order] * signs[:, None], c)
    return changed


def assert_same_parameters(
    model: omp_mlp.Model, expected: oracle.Parameters, **tolerance: Any
) -> None:
    for (W, b), (V, c) in zip(layers_of(model), expected, strict=True):
        np.testing.assert_allclose(W, V, **tolerance)
        np.testing.assert_allclose(b, c, **tolerance)


def bits(model: omp_mlp.Model) -> bytes:
    return b"".join(array.tobytes() for array in [*model.weights, *model.biases])


def digits() -> tuple[NDArray[Any], ...]:
    pytest.importorskip("sklearn")
    return omp_mlp.datasets.load_digits()


# -------------------------------------------------------------------------------- weight matching


@pytest.mark.parametrize("n_models", [2, 3, 6])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_shuffled_copies_are_matched_back(
    activation: str, sizes: tuple[int, ...], n_models: int
) -> None:
    original = layers_of(model_of(random_layers(sizes, 1)))
    copies = [original] + [shuffled(original, seed, activation) for seed in range(1, n_models)]
    models = [model_of(copy, activation=activation) for copy in copies]
    merged = omp_mlp.merge(models, "weight_matching")
    # Exact, but that the logistic's copies had their biases rounded to float32.
    assert_same_parameters(
        merged, original, rtol=0, atol=1e-6 if activation == "logistic" else 1e-7
    )
    # The copies do compute the same, and their plain average does not.
    X = np.random.default_rng(0).normal(size=(20, sizes[0]))
    expected = models[0].decision_function(X)
    for model in models:
        np.testing.assert_allclose(model.decision_function(X), expected, atol=1e-5)
    if len(sizes) > 2:
        average = omp_mlp.merge(models, "average").decision_function(X)
        assert np.abs(average - expected).max() > 0.01


@pytest.mark.parametrize("sizes", [(5, 4, 3), (3, 3, 2)], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_two_networks_with_a_hidden_layer_against_all_orders(
    activation: str, sizes: tuple[int, ...]
) -> None:
    # One layer is one assignment problem, so that nothing better exists.
    for seed in range(3):
        models = random_models(sizes, 2, seed, activation=activation)
        expected = oracle.merge_weight_matching([layers_of(model) for model in models], activation)
        merged = omp_mlp.merge(models, "weight_matching")
        assert_same_parameters(merged, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_noisy_copies_against_all_orders(activation: str) -> None:
    sizes, n_models = ((4, 4, 3, 2), 3) if activation == "relu" else ((4, 3, 2, 2), 2)
    original = random_layers(sizes, 3)
    rng = np.random.default_rng(4)
    models = [
        model_of(
            [
                (W + 0.05 * rng.normal(size=W.shape), b + 0.05 * rng.normal(size=b.shape))
                for W, b in shuffled(original, seed, activation)
            ],
            activation=activation,
        )
        for seed in range(n_models)
    ]
    expected = oracle.merge_weight_matching([layers_of(model) for model in models], activation)
    merged = omp_mlp.merge(models, "weight_matching")
    assert_same_parameters(merged, expected, rtol=1e-6, atol=1e-7)


@given(
    st.sampled_from(ACTIVATIONS),
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.integers(1, 5),
    st.integers(0, 10**6),
)
def test_matching_keeps_every_network_and_makes_them_more_alike(
    activation: str, sizes: list[int], n_models: int, seed: int
) -> None:
    networks = [random_layers(tuple(sizes), seed + i) for i in range(n_models)]
    matched = matching.match(networks, activation)
    X = np.random.default_rng(seed).normal(size=(7, sizes[0]))
    for network, other in zip(networks, matched, strict=True):
        np.testing.assert_allclose(
            oracle.forward(other, X, activation, "identity").decision,
            oracle.forward(network, X, activation, "identity").decision,
            atol=1e-9,
        )
    found = oracle.matching_similarity(matched, activation)
    if n_models == 2:  # with more, the way to an optimum may go down
        assert found >= oracle.matching_similarity(networks, activation) - 1e-9
    # Nothing is left to gain: no exchange of two units of a network makes them more alike.
    for i, network in enumerate(matched):
        for layer, size in enumerate(sizes[1:-1]):
            for j, k in itertools.combinations(range(size), 2):
                order = np.arange(size)
                order[[j, k]] = k, j
                (W, b), (V, c) = network[layer], network[layer + 1]
                exchanged = list(network)
                exchanged[layer : layer + 2] = [(W[:, order], b[order]), (V[order], c)]
                others = [*matched[:i], exchanged, *matched[i + 1 :]]
                assert oracle.matching_similarity(others, activation) <= found + 1e-9


def test_bytes_are_matched_as_the_training_saw_them() -> None:
    # In units of bytes the first layer is so small that its biases would decide.
    (W, b), (V, c) = random_layers((6, 9, 2), 1)
    original = [(W, b), (0.01 * V, c)]
    copies = [original, shuffled(original, 2)]
    rng = np.random.default_rng(3)
    models = [
        model_of([(W / 256, b + 0.1 * rng.normal(size=b.shape)), layer]) for (W, b), layer in copies
    ]
    X = np.full((3, 6), 255, dtype=np.uint8)
    merged = omp_mlp.merge(models, "weight_matching", X=X)
    np.testing.assert_allclose(merged.weights[0], original[0][0] / 256, rtol=1e-6)
    np.testing.assert_allclose(merged.weights[1], original[1][0], rtol=1e-6)
    in_bytes = omp_mlp.merge(models, "weight_matching")
    assert not np.allclose(in_bytes.weights[0], original[0][0] / 256)


def test_matching_mends_the_average_of_independent_starts() -> None:
    X, y, X_test, y_test = digits()
    options: dict[str, Any] = {
        "init": "independent", "epochs": 20, "hidden_layer_sizes": (48,), "merge_every": None
    }  # fmt: skip
    gains = []
    for seed in range(3):
        average = fixed.train_parallel(X, y, 6, "average", seed=seed, **options)
        matched = fixed.train_parallel(X, y, 6, "weight_matching", seed=seed, **options)
        gains.append(matched.score(X_test, y_test) - average.score(X_test, y_test))
    assert np.mean(gains) > 0.05


# -------------------------------------------------------------------------------------- regression


@pytest.mark.parametrize("non_diagonal", [1.0, 0.9, 0.0])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_regmean_is_its_oracle(
    activation: str, sizes: tuple[int, ...], non_diagonal: float
) -> None:
    models = random_models(sizes, 3, activation=activation)
    X = np.random.default_rng(1).normal(size=(211, sizes[0]))
    merged = omp_mlp.merge(models, "regmean", X=X, merge_options={"non_diagonal": non_diagonal})
    expected = oracle.merge_regmean(
        [layers_of(model) for model in models],
        activation,
        X.astype(np.float32).astype(np.float64),
        non_diagonal,
    )
    # The first layer's output is float32, and normal equations square the condition number. Linear
    # units leave directions undetermined, and which ones is seen through the same rounding.
    assert_same_parameters(merged, expected, rtol=1e-3, atol=1e-4)


def test_regmean_minimises_what_it_says() -> None:
    models = random_models((5, 7, 6, 3), 3)
    X = np.random.default_rng(1).normal(size=(200, 5)).astype(np.float32)
    a = 0.8
    merged = layers_of(omp_mlp.merge(models, "regmean", X=X, merge_options={"non_diagonal": a}))
    rng = np.random.default_rng(2)
    for layer in range(3):
        stacks, grams = [], []
        for model in models:
            inputs = oracle.forward(layers_of(model), X, "relu", "identity").a[layer]
            A = np.column_stack([inputs, np.ones(len(inputs))])
            stacks.append(np.vstack(layers_of(model)[layer]))
            grams.append(a * A.T @ A + (1 - a) * np.diag(np.diag(A.T @ A)))

        def objective(W: NDArray[Any], stacks: Any = stacks, grams: Any = grams) -> float:
            return sum(
                float(np.trace((W - V).T @ G @ (W - V))) for V, G in zip(stacks, grams, strict=True)
            )

        solution = np.vstack(merged[layer])
        least = objective(solution)
        for _ in range(20):
            step = rng.normal(size=solution.shape)
            assert objective(solution + 1e-2 * step) > least
            # A minimum, not only better on one side: the slope is zero.
            slope = (objective(solution + 1e-3 * step) - objective(solution - 1e-3 * step)) / 2e-3
            assert abs(slope) < 1e-3 * least


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_regmean_of_copies_is_the_network(sizes: tuple[int, ...]) -> None:
    model = random_models(sizes, 1)[0]
    X = np.random.default_rng(1).normal(size=(3, sizes[0]))  # fewer samples than units
    for non_diagonal in (0.5, 1.0):
        merged = omp_mlp.merge(
            [model] * 3, "regmean", X=X, merge_options={"non_diagonal": non_diagonal}
        )
        assert_same_parameters(merged, layers_of(model), rtol=1e-7)


def test_regmean_leaves_silent_units_at_the_mean() -> None:
    models = random_models((4, 6, 2), 2)
    silent = [model_of([(W, b), (V, c)]) for (W, b), (V, c) in map(layers_of, models)]
    for model in silent:
        assert model.biases[0][2] > -50
    dead = [
        omp_mlp.Model(model.weights, [np.where(np.arange(6) == 2, -1e3, model.biases[0]),
                                      model.biases[1]])
        for model in models
    ]  # fmt: skip
    X = np.random.default_rng(1).normal(size=(50, 4))
    merged = omp_mlp.merge(dead, "regmean", X=X)
    np.testing.assert_allclose(
        merged.weights[1][2], (models[0].weights[1][2] + models[1].weights[1][2]) / 2, rtol=1e-6
    )


# ---------------------------------------------------------------------------------- output refitted


def labelled(
    n: int, features: int, classes: int, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features)).astype(np.float32)
    return X, (X[:, :classes] + 0.5 * rng.normal(size=(n, classes))).argmax(axis=1)


@pytest.mark.parametrize("ridge, steps", [(1e-6, 1), (0.3, 1), (1e-3, 20)])
@pytest.mark.parametrize("output", ["softmax", "logistic", "identity"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_refit_is_its_oracle(
    activation: str, sizes: tuple[int, ...], output: str, ridge: float, steps: int
) -> None:
    X, y = labelled(301, sizes[0], sizes[-1])
    models = random_models(
        sizes, 3, activation=activation, output_activation=output, classes=range(sizes[-1])
    )
    options = {"ridge": ridge, "steps": steps}
    merged = omp_mlp.merge(models, "refit_output", X=X, y=y, merge_options=options)
    expected = oracle.merge_refit_output(
        [layers_of(model) for model in models],
        activation,
        output,
        X.astype(np.float64),
        np.eye(sizes[-1])[y],
        ridge,
        1 if output == "identity" else steps,
    )
    # The fit reads float32 activations.
    assert_same_parameters(merged, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["softmax", "logistic"])
def test_no_step_of_a_refit_makes_the_loss_larger(output: str) -> None:
    X, y = labelled(400, 6, 4)
    models = random_models((6, 20, 4), 3, output_activation=output, classes=range(4))
    losses = [omp_mlp.merge(models, "average").evaluate(X, y)[0]]
    for steps in (0, 1, 2, 3, 10, 100, 3000):
        merged = omp_mlp.merge(models, "refit_output", X=X, y=y, merge_options={"steps": steps})
        losses.append(merged.evaluate(X, y)[0])
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert all(after < before - 1e-6 for before, after in pairwise(losses[1:]))
    # In the end it is a minimum of the network's own loss over the last layer.
    slopes = oracle.gradient(
        layers_of(merged),
        X.astype(np.float64),
        y,
        np.ones(400),
        activation="relu",
        output_activation=output,
        loss="cross_entropy" if output == "softmax" else "squared_error",
    )[-1]
    assert max(np.abs(slope).max() for slope in slopes) < 2e-4


def test_a_refit_beats_the_average_of_independent_starts() -> None:
    X, y, X_test, y_test = digits()
    replicas = fixed.train_parallel(
        X, y, 6, "ensemble", init="independent", epochs=20, hidden_layer_sizes=(48,)
    ).models
    average = omp_mlp.merge(replicas, "average").score(X_test, y_test)
    for align in (False, True):
        refitted = omp_mlp.merge(replicas, "refit_output", X=X, y=y, merge_options={"align": align})
        assert refitted.score(X_test, y_test) > average + 0.05


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("hidden", [(), (9,), (8, 6)])
def test_gradient_of_a_refitted_regression_is_zero(hidden: tuple[int, ...], columns: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 5)).astype(np.float32)
    y = np.sin(X @ rng.normal(size=(5, columns)))
    models = random_models((5, *hidden, columns), 2)
    merged = omp_mlp.merge(models, "refit_output", X=X, y=y, merge_options={"ridge": 0})
    # The library's own gradient of its own loss, in the last layer; the hidden ones are not fitted.
    gradients = oracle.gradient(
        layers_of(merged),
        X.astype(np.float64),
        y,
        np.ones(150),
        activation="relu",
        output_activation="identity",
        loss="squared_error",
    )
    before = oracle.gradient(
        layers_of(omp_mlp.merge(models)),
        X.astype(np.float64),
        y,
        np.ones(150),
        activation="relu",
        output_activation="identity",
        loss="squared_error",
    )
    for got, at_average in zip(gradients[-1], before[-1], strict=True):
        assert np.abs(got).max() < 1e-5 * max(1, np.abs(at_average).max())
    assert merged.evaluate(X, y)[0] < omp_mlp.merge(models).evaluate(X, y)[0]


@pytest.mark.parametrize("method", ["regmean", "refit_output"])
def test_data_may_be_sparse_or_bytes_and_longer_than_a_block(method: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 255, (9001, 5), dtype=np.uint8) * (rng.random((9001, 5)) < 0.4)
    X = X.astype(np.uint8)
    y = (X[:, 0] > X[:, 1]).astype(int)
    models = [
        model_of([(W / 256, b), layer], classes=[0, 1])
        for (W, b), layer in (random_layers((5, 6, 2), seed) for seed in (1, 2))
    ]
    merged = omp_mlp.merge(models, method, X=X, y=y)
    for other in (
        X.astype(np.float32),
        scipy.sparse.csr_matrix(X),
        np.asfortranarray(X),
        X.tolist(),
    ):
        same = omp_mlp.merge(models, method, X=other, y=y)
        assert_same_parameters(same, layers_of(merged), rtol=1e-4, atol=1e-5)


def test_refit_of_a_linear_model_on_sparse_data() -> None:
    X, y = labelled(200, 5, 3)
    X[np.abs(X) < 0.5] = 0
    models = random_models((5, 3), 2, classes=range(3))
    dense = omp_mlp.merge(models, "refit_output", X=X, y=y)
    sparse = omp_mlp.merge(models, "refit_output", X=scipy.sparse.csc_matrix(X), y=y)
    assert_same_parameters(sparse, layers_of(dense), rtol=1e-6, atol=1e-7)
    assert dense.score(X, y) > omp_mlp.merge(models).score(X, y) + 0.2


@pytest.mark.parametrize("method", ["regmean", "refit_output"])
def test_align_matches_first(method: str) -> None:
    X, y = labelled(100, 4, 2)
    original = layers_of(model_of(random_layers((4, 7, 2), 1)))
    models = [model_of(shuffled(original, seed), classes=[0, 1]) for seed in range(3)]
    aligned = omp_mlp.merge(models, method, X=X, y=y, merge_options={"align": True})
    expected = omp_mlp.merge([models[0]] * 3, method, X=X, y=y)
    assert_same_parameters(aligned, layers_of(expected), rtol=1e-5, atol=1e-6)
    apart = omp_mlp.merge(models, method, X=X, y=y)
    assert not np.allclose(apart.weights[0], expected.weights[0], atol=1e-2)


# ------------------------------------------------------------------------------------- line search


@pytest.mark.parametrize("at", [0.13, 0.5, 1.0, 1.7])
def test_line_search_finds_a_minimum(at: float) -> None:
    grid = np.geomspace(0.1, 2, 9)
    found = line_search.line_search(lambda x: (x - at) ** 2, grid)
    assert found == pytest.approx(at, rel=1e-3)


def test_line_search_stays_on_the_grid_and_minds_no_nan() -> None:
    grid = np.geomspace(0.25, 4, 5)
    assert line_search.line_search(lambda x: x, grid) == pytest.approx(0.25)
    assert line_search.line_search(lambda x: -x, grid) == pytest.approx(4)
    nan_above = line_search.line_search(lambda x: np.nan if x > 1 else -x, grid)
    assert nan_above == pytest.approx(1)


@pytest.mark.parametrize("n_models", [1, 2, 5])
def test_the_best_alpha_is_better_than_any_other(n_models: int) -> None:
    X, y = labelled(300, 6, 3)
    options: dict[str, Any] = {"hidden_layer_sizes": (12,), "learning_rate": 0.02, "seed": 1}
    base = fixed.train_parallel(X, y, 1, epochs=0, **options)
    models = [
        fixed.train_parallel(X[i::n_models], y[i::n_models], 1, epochs=4, init=base, **options)
        for i in range(n_models)
    ]

    def loss(alpha: float) -> float:
        moved = [
            (W + alpha * sum(V - W for V in others_W), b + alpha * sum(c - b for c in others_b))
            for (W, b), others_W, others_b in zip(
                layers_of(base),
                zip(*(model.weights for model in models), strict=True),
                zip(*(model.biases for model in models), strict=True),
                strict=True,
            )
        ]
        return model_of(moved, classes=range(3)).evaluate(X, y)[0]

    found = line_search.best_alpha(models, base, lambda model: model.evaluate(X, y)[0])
    assert 0.5 / n_models <= found <= 2
    tried = np.linspace(0.5 / n_models, 2, 200)
    assert loss(found) <= min(loss(alpha) for alpha in tried) + 1e-5


@pytest.mark.parametrize("warmup_samples", [0, 50])
@pytest.mark.parametrize("threads", [1, 3])
def test_line_search_in_a_training_and_after_it(threads: int, warmup_samples: int) -> None:
    X, y = labelled(330, 6, 3)
    held_out = (X[240:], y[240:])
    options: dict[str, Any] = {
        "hidden_layer_sizes": (12,), "epochs": 3, "seed": 1, "warmup_samples": warmup_samples
    }  # fmt: skip
    model = fixed.train_parallel(
        X[:240],
        y[:240],
        threads,
        "delta_sum",
        merge_options={"alpha": "line_search"},
        validation_data=held_out,
        keep_replicas=True,
        **options,
    )
    assert len(model.history) == 1 + (warmup_samples > 0)
    assert model.history.validation_loss[-1] == model.evaluate(*held_out)[0]
    assert len(model.replicas) == threads
    # A factor of 0 leaves the base.
    base = fixed.train_parallel(
        X[:240],
        y[:240],
        threads,
        "delta_sum",
        merge_options={"alpha": 0},
        merge_every=None,
        **options,
    )
    merged = omp_mlp.merge(
        model.replicas,
        "delta_sum",
        base=base,
        X=held_out[0],
        y=held_out[1],
        merge_options={"alpha": "line_search"},
    )
    assert bits(merged) == bits(model)
    for alpha in ("1/n", "1/sqrt(n)", 0.9, 1):
        other = omp_mlp.merge(
            model.replicas, "delta_sum", base=base, merge_options={"alpha": alpha}
        )
        assert other.evaluate(*held_out)[0] >= merged.evaluate(*held_out)[0] - 1e-6


def test_line_search_needs_data_and_a_base() -> None:
    options: dict[str, Any] = {"merge_options": {"alpha": "line_search"}, "method": "delta_sum"}
    with pytest.raises(ValueError, match=r"needs base=.*got none"):
        omp_mlp.merge([alike()], X=X_4, y=Y_2, **options)
    with pytest.raises(ValueError, match="'delta_sum' looks at data and needs X= and y=; got no y"):
        omp_mlp.merge([alike()], base=alike(), X=X_4, **options)


# ---------------------------------------------------------------------------------------- ensemble


@pytest.mark.parametrize("output, labels", [("softmax", 3), ("logistic", 3), ("identity", None)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_ensemble_answers_with_the_mean(activation: str, output: str, labels: int | None) -> None:
    classes = None if labels is None else ["a", "b", "c"]
    options = {"activation": activation, "output_activation": output, "classes": classes}
    models = random_models((5, 8, 3), 4, **options)
    X = np.random.default_rng(1).normal(size=(31, 5)).astype(np.float32)
    ensemble = omp_mlp.merge(models, "ensemble")
    assert isinstance(ensemble, omp_mlp.Ensemble)
    assert ensemble.models == tuple(models)
    assert len(ensemble) == 4
    expected = oracle.ensemble_decision([layers_of(m) for m in models], activation, X)
    np.testing.assert_allclose(ensemble.decision_function(X), expected, atol=2e-6)
    outputs = oracle.activate(output, expected)
    if classes is None:
        np.testing.assert_allclose(ensemble.predict(X), outputs, atol=2e-6)
        y = outputs + 0.1
        assert ensemble.evaluate(X, y)[0] == pytest.approx(0.5 * 3 * 0.01, rel=1e-3)
        return
    np.testing.assert_array_equal(ensemble.predict(X), np.array(classes)[expected.argmax(axis=1)])
    probabilities = outputs / outputs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ensemble.predict_proba(X), probabilities, atol=1e-6)
    y = np.array(classes)[np.arange(31) % 3]
    assert ensemble.score(X, y) == np.mean(ensemble.predict(X) == y)


def test_ensemble_is_one_wide_network() -> None:
    # Of a hidden layer: all hidden units side by side, and the output weights divided by n.
    models = random_models((5, 8, 3), 4)
    wide = omp_mlp.Model(
        [np.hstack([m.weights[0] for m in models]), np.vstack([m.weights[1] for m in models]) / 4],
        [np.hstack([m.biases[0] for m in models]), np.mean([m.biases[1] for m in models], axis=0)],
    )
    X = np.random.default_rng(1).normal(size=(31, 5))
    ensemble = omp_mlp.Ensemble(models)
    np.testing.assert_allclose(ensemble.predict(X), wide.predict(X), atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_ensemble_is_saved_loaded_and_pickled(tmp_path: Any, count: int) -> None:
    X, y = labelled(60, 4, 2)
    names = np.array(["no", "yes"])[y]
    ensemble = fixed.train_parallel(X, names, count, "ensemble", epochs=2)
    assert len(ensemble) == count
    assert len(ensemble.history) == 1
    path = tmp_path / "several.safetensors"
    ensemble.save(path)
    for copy in (omp_mlp.load(path), pickle.loads(pickle.dumps(ensemble))):
        assert isinstance(copy, omp_mlp.Ensemble)
        assert [bits(m) for m in copy.models] == [bits(m) for m in ensemble.models]
        assert copy.classes.tolist() == ["no", "yes"]
        np.testing.assert_array_equal(copy.decision_function(X), ensemble.decision_function(X))
        assert copy.history.as_dict().keys() == ensemble.history.as_dict().keys()
        assert copy.history.loss.tolist() == ensemble.history.loss.tolist()
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        omp_mlp.load(path)


def test_ensemble_by_hand_checks_its_models() -> None:
    with pytest.raises(ValueError, match="needs models, at least one; got none"):
        omp_mlp.Ensemble([])
    with pytest.raises(TypeError, match=r"models\[1\] must be a Model; got str"):
        omp_mlp.Ensemble([random_models((3, 2), 1)[0], "model"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"models\[1\] must have the layer_sizes"):
        omp_mlp.Ensemble([*random_models((3, 2), 1), *random_models((4, 2), 1)])


def test_distilled_network_agrees_with_its_ensemble() -> None:
    X, y, X_test, _ = digits()
    ensemble = fixed.train_parallel(
        X, y, 5, "ensemble", epochs=20, init="independent", hidden_layer_sizes=(48,)
    )
    student = ensemble.distill(X, epochs=30, seed=7)
    assert isinstance(student, omp_mlp.Model)
    assert student.layer_sizes == ensemble.layer_sizes
    assert student.output_activation == "softmax"
    assert np.mean(student.predict(X_test) == ensemble.predict(X_test)) > 0.96
    # Logits, up to what the softmax does not see.
    z = ensemble.decision_function(X_test)
    z = z - z.mean(axis=1, keepdims=True)
    error = student.decision_function(X_test) - z
    assert np.sqrt(np.mean(error**2)) < 0.25 * z.std()
    np.testing.assert_allclose(
        student.predict_proba(X_test).max(axis=1).mean(),
        ensemble.predict_proba(X_test).max(axis=1).mean(),
        atol=0.02,
    )
    wider = ensemble.distill(X, 2, hidden_layer_sizes=(60, 20), activation="tanh", epochs=1)
    assert wider.layer_sizes == (64, 60, 20, 10)
    assert wider.activation == "tanh"


def test_regressions_are_distilled_too() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3)).astype(np.float32)
    y = 100 + 20 * np.sin(X[:, 0]) + 5 * X[:, 1]  # far from zero mean and unit size
    models = [
        fixed.train_parallel(X, (y - 100) / 20, 1, epochs=20, seed=seed, hidden_layer_sizes=(24,))
        for seed in range(3)
    ]
    scaled = [
        omp_mlp.Model([m.weights[0], 20 * m.weights[1]], [m.biases[0], 20 * m.biases[1] + 100])
        for m in models
    ]
    ensemble = omp_mlp.Ensemble(scaled)
    student = ensemble.distill(X, epochs=60, learning_rate=0.05)
    assert student.classes is None
    assert student.score(X, ensemble.predict(X)) > 0.98


@pytest.mark.parametrize(
    "options, message",
    [
        ({"y": 1}, "got y"),
        ({"loss": "squared_error"}, "got loss"),
        ({"validation_data": (1, 2)}, "got validation_data"),
        ({"init": random_models((3, 2), 1)[0]}, "got a Model for init"),
    ],
)
def test_distill_refuses_what_it_sets_itself(options: dict[str, Any], message: str) -> None:
    ensemble = omp_mlp.Ensemble(random_models((3, 2), 2))
    with pytest.raises(TypeError, match=message):
        ensemble.distill(np.zeros((4, 3)), **options)


# --------------------------------------------------------------------------------------- the table


def test_rows_in_python_have_what_the_cores_have() -> None:
    rows = {row.name: row for row in omp_mlp.merge_methods()}
    assert {name for name, row in rows.items() if row.needs_data} == {"regmean", "refit_output"}
    assert rows["regmean"].needs_data == ("X",)
    assert rows["refit_output"].needs_data == ("X", "y")
    for name in oracle.ONE_SHOT_MERGES:
        assert isinstance(rows[name], omp_mlp.MergeMethod)
        assert rows[name].cadence == "once"
        assert not rows[name].needs_base


# ------------------------------------------------------------------------- as part of a training


@pytest.mark.parametrize("kind", ["classes", "values", "bytes", "csr", "logistic", "centred"])
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("method", sorted(oracle.ONE_SHOT_MERGES))
def test_merging_kept_replicas_is_what_the_training_did(
    method: str, threads: int, kind: str
) -> None:
    rng = np.random.default_rng(5)
    X: Any = rng.normal(size=(41, 6)).astype(np.float32)
    y: Any = np.arange(41) % 3
    options: dict[str, Any] = {
        "epochs": 3, "hidden_layer_sizes": (11, 5), "init": "independent", "keep_replicas": True
    }  # fmt: skip
    if kind == "values":
        y = X[:, :2] ** 2
    elif kind == "bytes":
        X = rng.integers(0, 200, (41, 6), dtype=np.uint8)
    elif kind == "csr":
        X = scipy.sparse.csr_matrix(np.where(np.abs(X) > 0.5, X, 0))
    elif kind == "centred":
        X, options = X + 3, options | {"center_inputs": True}
    elif kind == "logistic":
        options |= {"activation": "logistic", "loss": "squared_error"}
    model = fixed.train_parallel(X, y, threads, method, validation_data=(X, y), **options)
    assert len(model.history) == 1
    assert model.history.samples.tolist() == [3 * 41]
    loss, score = model.evaluate(X, y)
    assert model.history.validation_loss.tolist() == [loss]
    assert model.history.validation_score.tolist() == [score]
    assert model.history.merge_seconds[0] > 0
    replicas = model.models if method == "ensemble" else model.replicas
    assert len(replicas) == threads
    again = omp_mlp.merge(replicas, method, X=X, y=y)
    if method == "ensemble":
        assert [bits(m) for m in again.models] == [bits(m) for m in model.models]
    else:
        assert bits(again) == bits(model)
        assert len(again.history) == 0
    # The replicas are those of a training that averages, and any workers make the same.
    averaged = fixed.train_parallel(X, y, threads, "average", merge_every=None, **options)
    assert [bits(m) for m in averaged.replicas] == [bits(m) for m in replicas]
    other = fixed.train_parallel(X, y, threads, method, workers=2, **options)
    kept = other.models if method == "ensemble" else [other]
    assert [bits(m) for m in kept] == [
        bits(m) for m in (model.models if method == "ensemble" else [model])
    ]


@pytest.mark.parametrize("method", sorted(oracle.ONE_SHOT_MERGES))
def test_no_epochs_give_the_start(method: str) -> None:
    X, y = labelled(30, 4, 2)
    start = fixed.train_parallel(X, y, 3, "average", epochs=0)
    model = fixed.train_parallel(X, y, 3, method, epochs=0)
    assert len(model.history) == 0
    if method == "ensemble":
        assert [bits(m) for m in model.models] == [bits(start)]
    elif method != "refit_output":
        assert_same_parameters(model, layers_of(start), rtol=1e-6)


def test_callback_hears_of_the_merge_and_may_stop_before() -> None:
    X, y = labelled(500, 6, 3)
    reports: list[omp_mlp.Progress] = []
    model = fixed.train_parallel(
        X, y, 3, "weight_matching", epochs=4, validation_data=(X, y), callback=reports.append
    )
    assert [report.merged for report in reports].count(True) == 1
    assert reports[-1].merged
    assert reports[-1].samples == reports[-1].total_samples == 2000
    assert reports[-1].validation_score == model.history.validation_score[0]
    assert model.replicas == ()

    stopped = fixed.train_parallel(
        np.tile(X, (10, 1)),
        np.tile(y, 10),
        2,
        "refit_output",
        epochs=10**4,
        callback=lambda _: True,
    )
    assert 0 < stopped.history.samples[-1] < 10**4 * 5000


@pytest.mark.parametrize("ends", [KeyboardInterrupt, RuntimeError])
def test_a_merge_that_is_interrupted_leaves_the_replicas(
    ends: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = labelled(300, 6, 3)
    options: dict[str, Any] = {"epochs": 2, "scale_inputs": "auto"}
    whole = fixed.train_parallel(X, y, 3, "weight_matching", keep_replicas=True, **options)

    def interrupted(*_: object) -> None:
        raise ends

    monkeypatch.setattr("omp_mlp.run.apply", interrupted)
    with pytest.raises(ends) as caught:
        fixed.train_parallel(X, y, 3, "weight_matching", **options)
    monkeypatch.undo()
    error: Any = caught.value
    assert [bits(one) for one in error.model.replicas] == [bits(one) for one in whole.replicas]
    assert error.history.loss.tolist() == whole.history.loss.tolist()
    start = fixed.train_parallel(X, y, 3, "weight_matching", **{**options, "epochs": 0})
    assert error.model.layer_sizes == start.layer_sizes
    merged = omp_mlp.merge(error.model.replicas, "weight_matching", base=error.model)
    got, expected = merged.predict_proba(X), whole.predict_proba(X)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------- networks as lists of arrays


@pytest.mark.parametrize("form", ["pair", "pair of tuples", "flat"])
def test_networks_may_be_arrays(form: str) -> None:
    X, y = labelled(50, 4, 3)
    options = {"activation": "tanh", "classes": ["a", "b", "c"]}
    models = random_models((4, 6, 3), 3, **options)
    base = random_models((4, 6, 3), 1, seed=9, **options)[0]

    def arrays(model: omp_mlp.Model) -> Any:
        if form == "pair":
            return model.weights, model.biases
        if form == "pair of tuples":
            return [tuple(model.weights), tuple(model.biases)]
        return [part for layer in zip(model.weights, model.biases, strict=True) for part in layer]

    letters = np.array(["a", "b", "c"])[y]
    for row in omp_mlp.merge_methods():
        data: dict[str, Any] = {"X": X, "y": letters} if row.needs_data else {}
        expected = omp_mlp.merge(models, row.name, base=base, **data)
        merged = omp_mlp.merge(
            [arrays(model) for model in models], row.name, base=arrays(base), **data, **options
        )
        np.testing.assert_array_equal(merged.predict(X), expected.predict(X))
        assert merged.activation == "tanh"
        # With Models beside them they have to be of one kind.
        mixed = omp_mlp.merge(
            [models[0], *map(arrays, models[1:])], row.name, base=base, **data, **options
        )
        np.testing.assert_array_equal(mixed.decision_function(X), expected.decision_function(X))


def test_networks_of_scikit_learn_are_pairs() -> None:
    neural_network = pytest.importorskip("sklearn.neural_network")
    X, y = labelled(80, 4, 3)
    networks = [
        neural_network.MLPClassifier((7,), max_iter=400, tol=1e-2, random_state=seed).fit(X, y)
        for seed in range(2)
    ]
    ensemble = omp_mlp.merge(
        [(network.coefs_, network.intercepts_) for network in networks],
        "ensemble",
        classes=range(3),
    )
    product = networks[0].predict_proba(X) * networks[1].predict_proba(X)
    expected = np.sqrt(product) / np.sqrt(product).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ensemble.predict_proba(X), expected, atol=1e-5)


# ------------------------------------------------------------------------------------------ errors


def alike(**changed: Any) -> omp_mlp.Model:
    return random_models((4, 3, 2), 1, **({"classes": [0, 1]} | changed))[0]


X_4, Y_2 = np.zeros((5, 4)), np.array([0, 1, 0, 1, 0])
NAN = [np.ones((2, 2)), np.array([1.0, np.nan])]
FINE = [np.ones((2, 2)), np.ones(2)]


@pytest.mark.parametrize(
    "models, options, error, message",
    [
        (
            [alike(), alike(activation="tanh")],
            {},
            ValueError,
            r"models\[1\] must have the activation",
        ),
        ([alike(), alike(classes=[0, 2])], {}, ValueError, r"models\[1\] must have the classes"),
        (
            [alike(), random_models((4, 5, 2), 1)[0]],
            {},
            ValueError,
            r"models\[1\] must have the layer_sizes of models\[0\], \(4, 3, 2\); got \(4, 5, 2\)",
        ),
        (
            [alike()],
            {"method": "regmean"},
            ValueError,
            "'regmean' looks at data and needs X=; got no X",
        ),
        (
            [alike()],
            {"method": "refit_output", "X": X_4},
            ValueError,
            "'refit_output' looks at data and needs X= and y=; got no y",
        ),
        (
            [alike()],
            {"method": "regmean", "X": np.zeros((5, 3))},
            ValueError,
            "X has 3 features, but the network was trained on 4",
        ),
        (
            [alike()],
            {"method": "regmean", "X": np.full((2, 4), np.inf)},
            ValueError,
            "X must be finite",
        ),
        (
            [alike()],
            {"method": "refit_output", "X": X_4, "y": Y_2[:-1]},
            ValueError,
            "one entry for each of the 5 samples",
        ),
        (
            [alike()],
            {"method": "refit_output", "X": X_4, "y": Y_2 + 1},
            ValueError,
            "labels that are not among the classes: 2",
        ),
        (
            [alike()],
            {"merge_options": {"align": True}, "method": "ensemble"},
            ValueError,
            "merge_options of 'ensemble': it takes none; got 'align'",
        ),
        (
            [alike()],
            {"merge_options": {"aligned": True}, "method": "regmean", "X": X_4},
            ValueError,
            "'regmean': it takes 'non_diagonal', 'align'; got 'aligned'",
        ),
        (
            [alike()],
            {"merge_options": {"align": 1}, "method": "regmean", "X": X_4},
            ValueError,
            r"merge_options\['align'\] must be one of False, True; got 1",
        ),
        (
            [alike()],
            {"merge_options": {"non_diagonal": 1.5}, "method": "regmean", "X": X_4},
            ValueError,
            r"merge_options\['non_diagonal'\] must be at most 1; got 1.5",
        ),
        (
            [alike()],
            {"merge_options": {"ridge": -1}, "method": "refit_output", "X": X_4, "y": Y_2},
            ValueError,
            r"merge_options\['ridge'\] must be at least 0",
        ),
        (
            [alike()],
            {"merge_options": ["align"], "method": "regmean", "X": X_4},
            TypeError,
            "merge_options must be a mapping.*got list",
        ),
        ([FINE, NAN], {}, ValueError, r"models\[1\] must be finite; got nan in biases\[0\]\[1\]"),
        ([FINE], {"base": NAN}, ValueError, r"base must be finite; got nan in biases\[0\]\[1\]"),
        ([FINE, [np.ones((2, 2)), np.ones(3)]], {}, ValueError, r"models\[1\]: biases\[0\] must"),
        ([FINE, FINE[:1]], {}, TypeError, r"models\[1\] must be a Model.*got list of 1"),
        ([FINE, alike()], {}, ValueError, r"models\[1\] must have the layer_sizes"),
        ([3], {}, TypeError, r"models\[0\] must be a Model.*got int"),
    ],
)
def test_errors(
    models: list[Any], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        omp_mlp.merge(models, **({"method": "weight_matching"} | options))


@pytest.mark.parametrize(
    "options, error, message",
    [
        (
            {"merge": "weight_matching", "merge_every": 16},
            ValueError,
            "merge='weight_matching' merges once here, at the end.*got 16, which makes 13 merges",
        ),
        (
            {"merge": "ensemble", "outer_momentum": 0.5},
            ValueError,
            "merge='ensemble' merges once here.*got outer_momentum=0.5",
        ),
        (
            {"merge": "regmean", "outer_optimizer": "nesterov", "outer_learning_rate": 0.5},
            ValueError,
            "merge='regmean' merges once here.*outer_learning_rate=0.5",
        ),
        (
            {"merge": "refit_output", "last_merge": "average"},
            ValueError,
            "merge='refit_output' merges once here.*last_merge='average'",
        ),
        (
            {"merge": "delta_sum", "merge_options": {"alpha": "line_search"}},
            ValueError,
            "looks for the least loss on validation_data; got none",
        ),
        (
            {
                "merge": "delta_sum",
                "merge_options": {"alpha": "line_search"},
                "validation_data": (np.zeros((2, 4), np.float32), [0, 1]),
                "merge_every": 8,
            },
            ValueError,
            "merge='delta_sum' merges once here.*got 8, which makes 25 merges",
        ),
        (
            {"merge": "regmean", "merge_options": {"ridge": 1}},
            ValueError,
            "merge_options of 'regmean': it takes",
        ),
    ],
)
def test_training_refuses_before_any_work(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    def work(_: omp_mlp.Progress) -> None:
        raise AssertionError("the training began")

    X, y = labelled(40, 4, 2)
    with pytest.raises(error, match=message):
        fixed.train_parallel(X, y, 2, epochs=10, callback=work, **options)


# The rows of the replica that is left out take part in the loss.
@pytest.mark.filterwarnings("ignore:after the merge, the loss is:omp_mlp.SettingsWarning")
@pytest.mark.parametrize("method", sorted(oracle.ONE_SHOT_MERGES))
def test_replicas_that_are_not_finite_may_be_left_out(method: str) -> None:
    X, y = labelled(64, 4, 2)
    X[40:] *= 1e20  # in the second half only
    options: dict[str, Any] = {"shuffle": False, "learning_rate": 0.01, "epochs": 2}
    options["init_scale"] = "he"  # "auto" starts otherwise with half of the rows
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match="replica 1 in round 0"):
        model = fixed.train_parallel(
            X, y - 0.5, 2, method, on_nonfinite="skip", keep_replicas=True, **options
        )
    replica = fixed.train_parallel(X[:32], y[:32] - 0.5, 1, "average", merge_every=None, **options)
    if method == "ensemble":
        assert [bits(m) for m in model.models] == [bits(replica)]
        return
    assert len(model.replicas) == 2
    if method == "weight_matching":
        assert bits(model) == bits(replica)
    # On arrays, likewise.
    arrays = [[m.weights, m.biases] for m in model.replicas]
    with pytest.raises(ValueError, match=r"models\[1\] must be finite; got (nan|-?inf)"):
        omp_mlp.merge(arrays, method, X=X[:32], y=y[:32] - 0.5)
    with pytest.warns(omp_mlp.SkippedReplicaWarning, match=r"without models\[1\]"):
        merged = omp_mlp.merge(
            arrays,
            method,
            X=X[:32],
            y=y[:32] - 0.5,
            on_nonfinite="skip",
            output_activation="identity",
        )
    expected = omp_mlp.merge([replica], method, X=X[:32], y=y[:32] - 0.5)
    assert bits(merged) == bits(expected)


@pytest.mark.parametrize("method", sorted(oracle.ONE_SHOT_MERGES))
def test_a_warm_up_is_a_round_of_its_own(method: str) -> None:
    X, y = labelled(200, 5, 3)
    reports: list[omp_mlp.Progress] = []
    options: dict[str, Any] = {"warmup_samples": 37, "epochs": 2, "validation_data": (X, y)}
    model = fixed.train_parallel(
        X, y, 3, method, callback=reports.append, keep_replicas=True, **options
    )
    assert model.history.samples.tolist() == [37, 437]
    assert [report.samples for report in reports if report.merged] == [37, 437]
    assert model.history.validation_score[-1] == model.score(X, y)
    assert reports[-1].validation_score == model.score(X, y)
    averaged = fixed.train_parallel(X, y, 3, "average", keep_replicas=True, **options)
    assert model.history.validation_score[0] == averaged.history.validation_score[0]
    replicas = model.models if method == "ensemble" else model.replicas
    assert [bits(m) for m in replicas] == [bits(m) for m in averaged.replicas]
    stopped = fixed.train_parallel(
        X, y, 3, method, callback=lambda report: report.merged, **options
    )
    assert stopped.history.samples.tolist() == [37]


def test_a_long_enough_period_is_one_merge() -> None:
    X, y = labelled(40, 4, 2)
    once = fixed.train_parallel(X, y, 2, "weight_matching", epochs=2)
    assert bits(fixed.train_parallel(X, y, 2, "weight_matching", epochs=2, merge_every=40)) == bits(
        once
    )


def test_a_replica_that_diverges_is_named() -> None:
    X, y = labelled(64, 4, 2)
    X[40:] *= 1e20  # in the second half only
    with pytest.raises(omp_mlp.TrainingDivergedError, match="replica 1") as raised:
        fixed.train_parallel(
            X, y - 0.5, 2, "weight_matching", shuffle=False, learning_rate=0.01, epochs=5
        )
    assert raised.value.replica == 1
