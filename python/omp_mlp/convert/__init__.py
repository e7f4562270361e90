"""Networks to and from other libraries, each of which is imported only when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from omp_mlp import _core, checks
from omp_mlp.convert.parts import Parts
from omp_mlp.losses import OUTPUT_FUNCTIONS

Network = TypeVar("Network", bound="Conversions")


class Conversions:
    """The conversions of :class:`omp_mlp.Model`.

    Each pair gives a network with the same predictions, up to the rounding of float32. Networks of
    other libraries have no history.
    """

    def _parts(self) -> Parts:
        raise NotImplementedError

    @classmethod
    def _of_parts(cls: type[Network], parts: Parts) -> Network:
        raise NotImplementedError

    def to_torch(self, *, logits: bool = False) -> Any:  # noqa: ANN401 - PyTorch need not be there
        """Return a PyTorch module that computes what the network does.

        Needs PyTorch (extra ``torch``).

        Parameters
        ----------
        logits : bool, default False
            Leave out the activation of the last layer: the module then gives what
            :meth:`decision_function` gives, for ``torch.nn.CrossEntropyLoss`` and other losses that
            want logits.

        Returns
        -------
        torch.nn.Sequential
            ``Linear`` layers and activations in float32, in training mode as all new modules, with
            weights of its own. ``Linear.weight`` is (fan_out, fan_in), the transpose of
            ``weights[k]``. An ``input_scaling`` becomes a first module that computes in float64 and
            gives float32, and a ``target_scaling`` a last one that gives float64
            (:mod:`omp_mlp.convert.torch_modules`). Do not convert these two to another precision.

        Examples
        --------
        >>> module = model.to_torch()  # doctest: +SKIP
        >>> probabilities = module(torch.from_numpy(X))  # doctest: +SKIP
        """
        from omp_mlp.convert import torch

        return torch.to_torch(self._parts().of_numbers(), logits=logits)

    @classmethod
    def from_torch(
        cls: type[Network],
        module: object,
        *,
        output_activation: str = "auto",
        classes: npt.ArrayLike | None = None,
        multilabel: bool = False,
    ) -> Network:
        """Return the network of a PyTorch module.

        Needs PyTorch (extra ``torch``).

        Parameters
        ----------
        module : torch.nn.Sequential
            ``Linear`` layers, each followed by at most one activation, the same for all hidden
            layers: ``ReLU``, ``LeakyReLU(0.01)``, ``Tanh``, ``Sigmoid``, ``GELU``, ``SiLU``,
            ``SELU``, ``Mish`` or ``Identity``. ``Softmax(dim=1)`` or ``Sigmoid`` may come last.
            ``Flatten`` may come first, and ``Dropout`` anywhere: neither changes a prediction for
            rows of X. Modules of :meth:`to_torch` are read whole.
        output_activation : str, default "auto"
            "auto": the activation at the module's end, or "identity". A module that gives logits
            needs "softmax", "logistic" or "exponential" here.
        classes : array-like of shape (n_outputs,), optional
            The label of each output. Default: 0, 1, 2, ... for softmax outputs, else None.
        multilabel : bool, default False
            As of :class:`omp_mlp.Model`.

        Returns
        -------
        Model
            Its weights are copies in float32.

        Raises
        ------
        TypeError, ValueError
            If the module has other parts, or does not fit the arguments.
        """
        from omp_mlp.convert import torch

        labels = None if classes is None else np.array(classes)
        parts = torch.from_torch(
            module, output_activation=output_activation, classes=labels, multilabel=multilabel
        )
        return cls._of_parts(_labelled(parts))

    def to_sklearn(self) -> Any:  # noqa: ANN401 - scikit-learn need not be there
        """Return a fitted scikit-learn estimator that computes what the network does.

        Needs scikit-learn (extra ``sklearn``).

        Returns
        -------
        MLPClassifier or MLPRegressor
            ``coefs_`` and ``intercepts_`` are copies of the weights. Softmax of two classes becomes
            scikit-learn's single logistic output, from the difference of the two. With an
            ``input_scaling``: a ``Pipeline`` whose first step is a ``StandardScaler``. With a
            ``target_scaling``: a ``TransformedTargetRegressor`` around that.

        Raises
        ------
        ValueError
            If scikit-learn has no such network: with "leaky_relu", "gelu" or "silu" units, or
            classes without softmax outputs.
        """
        from omp_mlp.convert import sklearn

        return sklearn.to_sklearn(self._parts().of_numbers())

    @classmethod
    def from_sklearn(cls: type[Network], estimator: object) -> Network:
        """Return the network of a fitted scikit-learn estimator.

        Needs scikit-learn (extra ``sklearn``).

        Parameters
        ----------
        estimator : MLPClassifier, MLPRegressor, Pipeline or TransformedTargetRegressor
            A Pipeline has at most one ``StandardScaler``, ``MaxAbsScaler`` or ``MinMaxScaler``
            before the network. A TransformedTargetRegressor has one of these as its transformer.
            Scalers are folded into the weights, or kept beside them where float32 weights would
            lose digits.

        Returns
        -------
        Model
            Its weights are in float32. A classifier with one logistic output becomes one with two
            softmax outputs, which have the same probabilities.

        Raises
        ------
        TypeError, ValueError
            If the estimator is another one, or is not fitted.
        """
        from omp_mlp.convert import sklearn

        return cls._of_parts(sklearn.from_sklearn(estimator))

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network as an ONNX graph, with its encoding, scalings and labels.

        Needs onnx (extra ``onnx``). The file appears whole or not at all.

        The input is ``X``, float32 of shape (n, n_features), or float64 for a network with an
        ``input_scaling``. The outputs have the names that skl2onnx gives them without its zipmap:
        ``label`` and ``probabilities`` of a classifier (of one with identity outputs ``label`` and
        ``decision``), and ``variable`` of a regression, of shape (n, n_outputs), in float64 for a
        network with a ``target_scaling``. Integer labels are int64, and strings are strings. The
        graph has opset 17.

        A network that encodes columns of a table has an input for each column instead of ``X``, of
        shape (n, 1), with the name of the column. Numbers are float64, with NaN where they are
        missing. Text and categories of text are strings, and those of integers are int64. A label
        that the training did not have is unknown, such as an empty string. A name that a result of
        the graph has, such as ``label``, gets "_" behind it.

        Parameters
        ----------
        path : str or path-like
            Replaced if it exists.

        Raises
        ------
        TypeError
            If the labels are bytes, which ONNX has not.
        ValueError
            If a label is an integer that int64 does not hold.
        """
        from omp_mlp.convert import onnx

        onnx.to_onnx(self._parts(), path, _core.build_config()["version"])

    @classmethod
    def from_onnx(cls: type[Network], path: str | os.PathLike[str]) -> Network:
        """Read a network from an ONNX graph that :meth:`to_onnx` wrote.

        Needs onnx (extra ``onnx``).

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        Model
            With the bits of the one that was written.

        Raises
        ------
        ValueError
            If the file is not such a graph, or was changed.
        OSError
            If there is no such file, or it cannot be read.
        """
        from omp_mlp.convert import onnx

        parts = onnx.from_onnx(path)
        try:
            return cls._of_parts(parts)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error

    def to_keras(self) -> list[npt.NDArray[np.float32]]:
        """Return the weights in Keras's order, for ``keras.Model.set_weights``.

        Returns
        -------
        list of ndarray of float32
            Kernel of shape (fan_in, fan_out) and bias of shape (fan_out,) of each ``Dense`` layer
            in turn, copied. The layers' activations are Keras's "relu", "tanh", "sigmoid"
            (logistic), "gelu", "silu", "linear" (identity), "softmax" and "exponential";
            ``LeakyReLU(negative_slope=0.01)`` is a layer.

        Raises
        ------
        ValueError
            If the network has a scaling beside its weights.
        """
        from omp_mlp.convert import keras

        return keras.to_keras(self._parts().of_numbers())

    @classmethod
    def from_keras(
        cls: type[Network],
        weights: Sequence[npt.ArrayLike],
        *,
        activation: str = "relu",
        output_activation: str = "softmax",
        classes: npt.ArrayLike | None = None,
        multilabel: bool = False,
    ) -> Network:
        """Return the network with weights in Keras's order.

        Parameters
        ----------
        weights : sequence of array-like
            What ``keras.Model.get_weights()`` gives for a Sequential of ``Dense`` layers.
        activation : str, default "relu"
            Of the hidden layers, by our name.
        output_activation : str, default "softmax"
            Of the last layer.
        classes : array-like of shape (n_outputs,), optional
            The label of each output. Default: 0, 1, 2, ... for softmax outputs, else None.
        multilabel : bool, default False
            As of :class:`omp_mlp.Model`.

        Returns
        -------
        Model

        Raises
        ------
        TypeError, ValueError
            If the arrays are not those of such layers.
        """
        from omp_mlp.convert import keras

        parts = keras.from_keras(
            weights,
            activation=activation,
            output_activation=output_activation,
            classes=None if classes is None else np.array(classes),
            multilabel=multilabel,
        )
        return cls._of_parts(_labelled(parts))


def _labelled(parts: Parts) -> Parts:
    """Give softmax outputs the labels 0, 1, 2, ... where there are none."""
    output = checks.choice(
        "output_activation", parts.output_activation, ("auto", *OUTPUT_FUNCTIONS)
    )
    if output != "softmax" or parts.classes is not None:
        return parts
    return parts.with_classes(np.arange(len(parts.biases[-1])))
