"""Calls as users write them, for mypy: what they return, and what it refuses. Nothing runs them."""

from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import assert_type

import omp_mlp
from omp_mlp import Ensemble, Model


class Sparse:
    """What SciPy's matrices have."""

    shape: tuple[int, int]

    def tocsr(self, copy: bool = False) -> Any: ...


def trainings(X: npt.NDArray[np.float32], y: npt.NDArray[np.int64], method: str) -> None:
    assert_type(omp_mlp.train_parallel(X, y), Model)
    assert_type(omp_mlp.train_parallel(X, [1, 2], 2, "sum", epochs=3, seed=1), Model)
    assert_type(omp_mlp.train_parallel(X, y, 2, "ensemble"), Ensemble)
    assert_type(omp_mlp.train_parallel(X, y, merge="ensemble", activation="tanh"), Ensemble)
    assert_type(omp_mlp.train_parallel(X, y, 2, method), Model | Ensemble)
    omp_mlp.train_parallel(X, y, validation_data=(X, y), callback=lambda seen: seen.merged)


def models(X: npt.NDArray[np.float32], y: npt.NDArray[np.int64], model: Model, name: str) -> None:
    assert_type(omp_mlp.merge([model, model]), Model)
    assert_type(omp_mlp.merge([model, model], "ensemble"), Ensemble)
    assert_type(omp_mlp.merge([model, model], name, base=model), Model | Ensemble)
    assert_type(model.predict(X), npt.NDArray[Any])
    assert_type(model.predict_proba(Sparse()), npt.NDArray[np.float32])
    assert_type(model.score([[1.0, 2.0]], y), float)
    assert_type(Model.from_onnx("network.onnx"), Model)
    assert_type(omp_mlp.load("network.safetensors"), Model | Ensemble)


def mistakes(X: npt.NDArray[np.float32], y: npt.NDArray[np.int64], model: Model) -> None:
    # mypy complains of an ignore that is not used, so each of these has to be an error.
    omp_mlp.train_parallel(X, y, epochs=[1])  # type: ignore[call-overload]
    omp_mlp.train_parallel(X, y, epoch=1)  # type: ignore[call-overload]
    omp_mlp.train_parallel(object(), y)  # type: ignore[call-overload]
    omp_mlp.merge([model], bases=model)  # type: ignore[call-overload]
    model.predict(object())  # type: ignore[arg-type]
    model.score(X, object())  # type: ignore[arg-type]
    model.score(X, y, sample_weight=object())  # type: ignore[arg-type]
