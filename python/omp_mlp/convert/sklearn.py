"""Networks to and from scikit-learn's ``MLPClassifier`` and ``MLPRegressor``."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from omp_mlp.checks import FloatArray, shown
from omp_mlp.convert.parts import Parts, from_layers, name_in, only_activation, scaling_of
from omp_mlp.extras import imported
from omp_mlp.scaling import Layers, Scaling

# Our names of output activations, and scikit-learn's.
_OUTPUTS = {
    "identity": "identity",
    "softmax": "softmax",
    "logistic": "logistic",
    "exponential": "exp",
}
_ACTIVATIONS = {name: name for name in ("identity", "logistic", "tanh", "relu")}


def _sklearn() -> None:
    imported("sklearn", "this conversion", "scikit-learn", "sklearn")


def to_sklearn(parts: Parts) -> Any:  # noqa: ANN401
    """Return the fitted estimator of :meth:`omp_mlp.Model.to_sklearn`."""
    _sklearn()
    name_in("scikit-learn", _ACTIVATIONS, "activation", parts.activation)
    is_classifier = parts.classes is not None or parts.multilabel
    _check_output(parts, is_classifier)
    estimator = _classifier(parts) if is_classifier else _regressor(parts)
    if parts.input_scaling is not None and parts.input_scaling.bend is not None:
        raise ValueError(
            "this network compresses columns of X, by the bend of its input_scaling, and "
            "scikit-learn has no scaler that does; to_onnx and to_torch keep the bend"
        )
    if parts.input_scaling is not None and parts.input_scaling.limits is not None:
        raise ValueError(
            "this network brings outliers of X nearer, by the limits of its input_scaling, and "
            "scikit-learn has no scaler that does; to_onnx and to_torch keep the limits"
        )
    if parts.input_scaling is not None:
        estimator = _behind_scaler(estimator, parts.input_scaling)
    if parts.target_scaling is not None:
        estimator = _before_scaler(estimator, parts.target_scaling)
    return estimator


def _check_output(parts: Parts, is_classifier: bool) -> None:
    expected = ("softmax",) if is_classifier else ("identity", "exponential")
    if parts.multilabel:
        expected = ("logistic",)
    if parts.output_activation not in expected:
        kind = "MLPClassifier" if is_classifier else "MLPRegressor"
        raise ValueError(
            f"scikit-learn's {kind} has {' or '.join(expected)} outputs for such labels; this "
            f"network has {parts.output_activation} outputs"
        )


def _fill(
    estimator: Any,  # noqa: ANN401
    parts: Parts,
    layers: list[tuple[FloatArray, FloatArray]],
) -> None:
    """Give an estimator the attributes of one that was fitted."""
    estimator.coefs_ = [W for W, _ in layers]
    estimator.intercepts_ = [b for _, b in layers]
    estimator.n_features_in_ = len(layers[0][0])
    estimator.n_outputs_ = layers[-1][0].shape[1]
    estimator.n_layers_ = len(layers) + 1
    estimator.out_activation_ = _OUTPUTS[parts.output_activation]
    estimator.n_iter_ = estimator.t_ = 0
    estimator.loss_curve_ = []
    estimator.best_loss_ = None


def _hidden(parts: Parts) -> tuple[int, ...]:
    return tuple(W.shape[1] for W in parts.weights[:-1])


def _classifier(parts: Parts) -> Any:  # noqa: ANN401
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import LabelBinarizer

    estimator = MLPClassifier(hidden_layer_sizes=_hidden(parts), activation=parts.activation)
    layers = [(W.copy(), b.copy()) for W, b in parts.layers]
    n_outputs = len(layers[-1][1])
    if n_outputs < 2:
        raise ValueError(
            "scikit-learn's MLPClassifier needs two classes or labels, or more; this network has "
            f"{n_outputs}"
        )
    binarizer = LabelBinarizer()
    if parts.classes is None:
        labels = np.arange(n_outputs)
        binarizer.fit(np.eye(n_outputs, dtype=int))
    else:
        labels = parts.classes.copy()
        binarizer.fit(labels)
    _fill(estimator, parts, layers)
    estimator._label_binarizer = binarizer
    estimator.classes_ = labels
    if parts.classes is not None and len(labels) == 2:
        # softmax of (z_0, z_1) is the logistic of z_1 - z_0, scikit-learn's only output.
        W, b = layers[-1]
        estimator.coefs_[-1] = (W[:, 1:] - W[:, :1]).copy()
        estimator.intercepts_[-1] = b[1:] - b[:1]
        estimator.out_activation_, estimator.n_outputs_ = "logistic", 1
    return estimator


def _regressor(parts: Parts) -> Any:  # noqa: ANN401
    from sklearn.neural_network import MLPRegressor

    options: dict[str, Any] = {"hidden_layer_sizes": _hidden(parts)}
    if parts.output_activation == "exponential":
        if "loss" not in inspect.signature(MLPRegressor).parameters:
            raise ValueError("exponential outputs need scikit-learn 1.7 or later")
        options["loss"] = "poisson"
    estimator = MLPRegressor(activation=parts.activation, **options)
    _fill(estimator, parts, [(W.copy(), b.copy()) for W, b in parts.layers])
    return estimator


def _scaler(scaling: Scaling) -> Any:  # noqa: ANN401
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    scaler.mean_, scaler.scale_ = scaling.offset.copy(), scaling.scale.copy()
    scaler.var_ = scaler.scale_**2
    scaler.n_features_in_, scaler.n_samples_seen_ = len(scaler.scale_), 1
    return scaler


def _behind_scaler(estimator: Any, scaling: Scaling) -> Any:  # noqa: ANN401
    from sklearn.pipeline import make_pipeline

    return make_pipeline(_scaler(scaling), estimator)


def _before_scaler(estimator: Any, scaling: Scaling) -> Any:  # noqa: ANN401
    from sklearn.compose import TransformedTargetRegressor

    scaled = TransformedTargetRegressor(estimator, transformer=_scaler(scaling))
    scaled.regressor_, scaled.transformer_ = scaled.regressor, scaled.transformer
    scaled._training_dim = 1 if len(scaling.scale) == 1 else 2
    return scaled


# ----------------------------------------------------------------------------------- and back again


def from_sklearn(estimator: object) -> Parts:
    """Return the parts of a fitted estimator; see :meth:`omp_mlp.Model.from_sklearn`."""
    _sklearn()
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.utils.validation import check_is_fitted

    network: Any = estimator
    targets = None
    if isinstance(network, TransformedTargetRegressor):
        check_is_fitted(network)
        transformer = network.transformer_
        network = network.regressor_
        targets = _scaling_of(transformer, len(_last_of(network).intercepts_[-1]))
    steps = [step for _, step in network.steps] if isinstance(network, Pipeline) else [network]
    # None and "passthrough" stand for steps that do nothing.
    steps = [step for step in steps if step is not None and not isinstance(step, str)]
    *before, network = steps or [None]
    if not isinstance(network, (MLPClassifier, MLPRegressor)) or len(before) > 1:
        raise TypeError(
            "estimator must be a fitted MLPClassifier or MLPRegressor, or a Pipeline of at most "
            "one scaler and one of these, or a TransformedTargetRegressor of such; got "
            f"{shown(estimator)}"
        )
    check_is_fitted(network)
    inputs = _scaling_of(before[0], network.n_features_in_) if before else None
    layers: Layers = [
        (W.astype(np.float64), b.astype(np.float64))
        for W, b in zip(network.coefs_, network.intercepts_, strict=True)
    ]
    (output,) = (ours for ours, name in _OUTPUTS.items() if name == network.out_activation_)
    classes, multilabel = None, False
    if isinstance(network, MLPClassifier):
        multilabel = network._label_binarizer.y_type_ == "multilabel-indicator"
        classes = None if multilabel else network.classes_.copy()
        if classes is not None and output == "logistic":
            # One logistic output is the softmax of two: of 0 and z.
            W, b = layers[-1]
            layers[-1] = (np.hstack([np.zeros_like(W), W]), np.concatenate([np.zeros(1), b]))
            output = "softmax"
    return from_layers(
        layers,
        only_activation([network.activation] * (len(layers) - 1), "scikit-learn"),
        output,
        classes=classes,
        multilabel=multilabel,
        input_scaling=inputs,
        target_scaling=targets,
    )


def _last_of(estimator: Any) -> Any:  # noqa: ANN401
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def _scaling_of(scaler: Any, n_columns: int) -> Scaling | None:  # noqa: ANN401
    """Return what a fitted scaler does: (x - offset) / scale."""
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

    if isinstance(scaler, StandardScaler):
        offset = 0.0 if scaler.mean_ is None or not scaler.with_mean else scaler.mean_
        return scaling_of(offset, 1.0 if scaler.scale_ is None else scaler.scale_, n_columns)
    if isinstance(scaler, MaxAbsScaler):
        return scaling_of(0.0, scaler.scale_, n_columns)
    if isinstance(scaler, MinMaxScaler) and not scaler.clip:
        # X * scale_ + min_
        return scaling_of(-scaler.min_ / scaler.scale_, 1 / scaler.scale_, n_columns)
    raise TypeError(
        "a scaler must be a fitted StandardScaler, MaxAbsScaler or MinMaxScaler (without clip); "
        f"got {scaler!r}"
    )
