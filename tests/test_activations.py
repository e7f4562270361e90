"""The activations: the core's functions and rows against SciPy, in every table of kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle
from omp_mlp import _core
from omp_mlp.activations import ACTIVATIONS, activate

NAMES = tuple(ACTIVATIONS)
SMALLEST = float(np.finfo(np.float32).tiny)


def selu(z: NDArray[Any]) -> NDArray[np.float64]:
    scale, alpha = 1.0507009873554804934193, 1.6732632423543772848170
    return scale * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def mish(z: NDArray[Any]) -> NDArray[np.float64]:
    """Return z tanh(ln(1 + e^z)), without a difference that cancels."""
    e = np.exp(np.minimum(z, 40))
    return z * (e * (e + 2) / (e * (e + 2) + 2))


def exact(name: str, z: NDArray[Any]) -> NDArray[np.float64]:
    """Return phi(z) in double, with its limits at the infinities."""
    z = z.astype(np.float64)
    functions = {
        "relu": lambda z: np.maximum(z, 0),
        "leaky_relu": lambda z: np.maximum(z, 0.01 * z),
        "tanh": np.tanh,
        "logistic": scipy.special.expit,
        "gelu": lambda z: z * scipy.special.erfc(-z / np.sqrt(2)) / 2,  # 1 + erf would cancel
        "silu": lambda z: z * scipy.special.expit(z),
        "selu": selu,
        "mish": mish,
        "identity": lambda z: z,
    }
    with np.errstate(invalid="ignore"):  # minus infinity times 0
        values: NDArray[np.float64] = functions[name](z)
    return np.where(
        np.isneginf(z), {"gelu": 0.0, "silu": 0.0, "mish": 0.0}.get(name, values), values
    )


def run(name: str, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return phi(z) and phi'(z) from the kernels in use."""
    a, slopes = _core.activate_units(
        activation=name, z=z.reshape(1, -1), delta=np.ones((1, z.size), np.float32)
    )
    return a[0, : z.size], slopes[0, : z.size]


def ordinary() -> NDArray[np.float32]:
    """Draw numbers of every magnitude and sign, dense where the functions bend."""
    magnitudes = np.geomspace(1e-37, 1e37, 2001)
    near = np.linspace(-20, 20, 40_001)
    wide = np.linspace(-110, 110, 4_001)
    return np.concatenate([magnitudes, -magnitudes, near, wide]).astype(np.float32)


def test_every_activation_has_a_row_and_an_oracle() -> None:
    assert tuple(oracle.ACTIVATIONS) == NAMES
    for name, row in ACTIVATIONS.items():
        assert row.name == name
        assert name.isidentifier()
        assert row.formula
        assert row.init in ("he", "glorot", "lecun")


# Relative to the result, above what is lost to float32's smallest number. GELU's tail falls as
# e^(-z^2 / 2): where z^2 = 170, the roundings of z^2, or of z / sqrt(2), count 85 and 170 times.
BOUNDS = {"relu": 0, "identity": 0, "leaky_relu": 1e-7, "gelu": 2e-5, "selu": 6e-7, "mish": 6e-7}


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", NAMES)
def test_values(name: str) -> None:
    z = ordinary()
    expected = exact(name, z)
    got = run(name, z)[0].astype(np.float64)
    np.testing.assert_allclose(got, expected, rtol=BOUNDS.get(name, 4e-7), atol=90 * SMALLEST)


@pytest.mark.usefixtures("kernels")
def test_gelu_is_accurate_where_it_is_large() -> None:
    z = np.linspace(-3, 20, 50_001).astype(np.float32)
    got = run("gelu", z)[0].astype(np.float64)
    np.testing.assert_allclose(got, exact("gelu", z), rtol=1e-6, atol=0)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", NAMES)
def test_values_at_the_ends(name: str) -> None:
    z = np.array([0.0, -0.0, np.inf, -np.inf, 3e38, -3e38, 1e-44, -1e-44, np.nan], np.float32)
    got, slopes = run(name, z)
    np.testing.assert_allclose(got, exact(name, z), rtol=4e-7, atol=90 * SMALLEST)
    assert np.isnan(got[-1])
    assert np.isfinite(slopes[:-1]).all()
    if name not in ("relu", "leaky_relu", "identity"):  # those pass the delta on or do not
        assert np.isnan(slopes[-1])


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", NAMES)
def test_derivative_by_central_differences(name: str) -> None:
    z = np.linspace(-30, 30, 60_002).astype(np.float32)  # 0 is not among them
    h = 1e-4
    wide = z.astype(np.float64)
    slopes = (exact(name, wide + h) - exact(name, wide - h)) / (2 * h)
    away = np.abs(wide) > 2 * h if "relu" in name or name == "selu" else np.ones(len(z), bool)
    # h^2 / 6 times the third derivative, which is at most 2; the rest is rounding in float32.
    np.testing.assert_allclose(run(name, z)[1][away], slopes[away], rtol=0, atol=5e-7)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", NAMES)
def test_derivative_is_the_oracles(name: str) -> None:
    z = ordinary()
    z = z[np.abs(z) < 1e15]  # the square of z is finite
    expected = oracle.activation_derivative(name, z.astype(np.float64))
    if "relu" in name:
        # Of z = -1e-37, leaky_relu makes a number that float32 still has.
        np.testing.assert_array_equal(run(name, z)[1], expected.astype(np.float32))
    np.testing.assert_allclose(run(name, z)[1], expected, rtol=0, atol=5e-7)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("units", [1, 15, 16, 17, 40])
def test_padding_stays_zero_and_rows_do_not_mix(name: str, units: int) -> None:
    rng = np.random.default_rng(units)
    z = rng.normal(scale=3, size=(5, units)).astype(np.float32)
    delta = rng.normal(size=(5, units)).astype(np.float32)
    a, below = _core.activate_units(activation=name, z=z, delta=delta)
    assert a.shape == below.shape == (5, -(-units // 16) * 16)
    assert not a[:, units:].any()
    assert not below[:, units:].any()
    wide = z.astype(np.float64)
    np.testing.assert_allclose(a[:, :units], exact(name, wide), rtol=7e-6, atol=1e-7)
    expected = delta * oracle.activation_derivative(name, wide)
    np.testing.assert_allclose(below[:, :units], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_values_in_double(name: str) -> None:
    z = np.concatenate([ordinary().astype(np.float64), [np.inf, -np.inf, np.nan]])
    got = activate(name, z.reshape(-1, 1))
    assert got.shape == (len(z), 1)
    np.testing.assert_allclose(got[:, 0], exact(name, z), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("name", NAMES)
def test_properties_are_those_of_the_functions(name: str) -> None:
    row = ACTIVATIONS[name]
    z = np.linspace(-8, 8, 1001)
    at_zero = float(exact(name, np.zeros(1))[0])
    assert row.keeps_zero == (at_zero == 0)
    odd_part = exact(name, z) - at_zero
    even = np.abs(odd_part + odd_part[::-1]).max()
    assert row.is_odd == (even < 1e-12)
    assert row.is_odd or even > 0.1
    # The derivative needs z if two z have the same phi, but not the same slope.
    is_monotone = (np.diff(exact(name, z)) >= 0).all()
    assert row.needs_z == (not is_monotone)


@pytest.mark.parametrize("name", NAMES)
def test_default_scale_fits_what_the_units_let_through(name: str) -> None:
    """He et al. for units that let through about half of the variance of z, Glorot for more.

    The logistic ones let through what their mean is; Glorot and Bengio's rule is the usual one.
    """
    z = scipy.special.ndtri((np.arange(10_000) + 0.5) / 10_000)
    second_moment = np.mean(exact(name, z) ** 2)
    expected = "he" if second_moment < 0.55 and not ACTIVATIONS[name].is_odd else "glorot"
    if name == "selu":  # made to let through all of it, with weights of variance 1 / fan_in
        assert second_moment == pytest.approx(1, abs=1e-3)
        expected = "lecun"
    assert ACTIVATIONS[name].init == expected


def test_unknown_names() -> None:
    listed = ", ".join(repr(name) for name in NAMES)
    with pytest.raises(ValueError, match=f"activation must be one of {listed}; got 'sigmoid'"):
        omp_mlp.Model([[[1.0]]], [[0.0]], activation="sigmoid")
    with pytest.raises(ValueError, match=f"activation must be one of {listed}; got 'sigmoid'"):
        _core.activation_values(activation="sigmoid", z=np.zeros(1))


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("first_layer", ["sparse", "dense"])
@pytest.mark.parametrize("strategy", ["replica", "section", "synchronous", "hogwild", "pattern"])
@pytest.mark.parametrize("name", [name for name in NAMES if ACTIVATIONS[name].needs_z])
def test_every_strategy_keeps_z(
    name: str, strategy: str, first_layer: str, batch_size: int
) -> None:
    """Batches of 1 share a visit of the first layer, which keeps their z until they are used."""
    rng = np.random.default_rng(8)
    X = (rng.normal(size=(70, 21)) * (rng.random((70, 21)) < 0.4)).astype(np.float32)
    y = np.arange(70) % 3
    options = {
        "hidden_layer_sizes": (19, 37),
        "activation": name,
        "epochs": 2,
        "batch_size": batch_size,
        "learning_rate": 0.1,
        "learning_rate_schedule": "linear",
        "shuffle": "global",
        "init_scale": "he",
        "seed": 3,
    }
    threads = 1 if strategy in ("replica", "hogwild", "pattern") else 3
    model = fixed.train_parallel(
        X, y, threads, strategy=strategy, first_layer=first_layer, **options
    )
    expected = oracle.train_parallel(
        X, y, 1, "average", output_activation="softmax", loss="cross_entropy", init="shared",
        merge_every=None, outer_momentum=0.0, **options,
    )  # fmt: skip
    for layer, (W, b) in enumerate(expected.parameters):
        np.testing.assert_allclose(model.weights[layer], W, rtol=0, atol=1e-5)
        np.testing.assert_allclose(model.biases[layer], b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_files_have_the_activation(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    model = omp_mlp.Model(
        [rng.normal(size=(4, 7)), rng.normal(size=(7, 2))],
        [rng.normal(size=7), rng.normal(size=2)],
        activation=name,
    )
    model.save(tmp_path / "network.safetensors")
    again = omp_mlp.load(tmp_path / "network.safetensors")
    assert again.activation == name
    X = rng.normal(size=(9, 4))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
