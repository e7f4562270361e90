"""Several networks that answer together: the merge that does not merge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from omp_mlp import checks, files
from omp_mlp.checks import FloatArray, Matrix
from omp_mlp.history import History
from omp_mlp.inputs import Inputs
from omp_mlp.losses import OUTPUT_FUNCTIONS
from omp_mlp.model import Model, check_alike, store
from omp_mlp.packed import views
from omp_mlp.predictor import Predictor

FORMAT = "omp_mlp ensemble"
# Of train_parallel; the targets and what goes with them are set by the ensemble.
_NOT_FOR_DISTILL = (
    *("y", "task", "classes", "loss", "huber_delta", "quantile", "label_smoothing", "class_weight"),
    *("output_activation", "validation_data", "scale_targets"),
)


class Ensemble(Predictor):
    """Networks of one kind that answer with the mean of their last layers' pre-activations.

    ``merge="ensemble"`` makes an ensemble. With softmax outputs, the pre-activations are the
    logits; softmax of their mean is the normalised geometric mean of the networks' probabilities.
    An answer takes the time of all networks together. :meth:`distill` trains one network that
    answers like the ensemble.

    Parameters
    ----------
    models : sequence of Model
        At least one model. All have the same layer sizes, activations and classes.

    Attributes
    ----------
    models : tuple of Model
    layer_sizes, activation, output_activation, classes, multilabel, input_scaling, target_scaling
        As in every model.
    history : History
        The history of the training that made the networks. It has no entries for an ensemble that
        was made by hand.

    Raises
    ------
    TypeError, ValueError
        If there is no model, or the models differ in more than their parameters.
    """

    models: tuple[Model, ...]
    history: History
    activation: str

    # train_parallel, which train.py enters here. A training may end in an ensemble, so
    # this module cannot import the training.
    _train: ClassVar[Callable[..., Any]]

    def __init__(self, models: Sequence[Model]) -> None:
        models = tuple(checks.sequence("models", models, "Models"))
        if not models:
            raise ValueError("an ensemble needs models, at least one; got none")
        for index, model in enumerate(models):
            check_alike(f"models[{index}]", model, models[0])
        self._fill(models, History.empty())

    def _fill(self, models: tuple[Model, ...], history: History) -> None:
        first = models[0]
        self.__dict__.update(
            models=models,
            history=history,
            layer_sizes=first.layer_sizes,
            activation=first.activation,
            output_activation=first.output_activation,
            classes=first.classes,
            multilabel=first.multilabel,
            input_scaling=first.input_scaling,
            target_scaling=first.target_scaling,
            columns=first.columns,
        )

    def _with(self, history: History, replicas: tuple[Model, ...] = ()) -> Ensemble:  # noqa: ARG002
        """Build an ensemble that differs in its history. The replicas are its models already."""
        ensemble = Ensemble.__new__(Ensemble)
        ensemble._fill(self.models, history)
        return ensemble

    def __len__(self) -> int:
        return len(self.models)

    def __repr__(self) -> str:
        return f"Ensemble({len(self.models)} of {self.models[0]!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {"models": self.models, "history": self.history}

    def __setstate__(self, state: dict[str, Any]) -> None:
        models = state["models"]
        for index, model in enumerate(models):
            check_alike(f"models[{index}]", model, models[0])
        self._fill(tuple(models), state["history"])

    def _run(self, inputs: Inputs, *, raw: bool, out: FloatArray | None = None) -> FloatArray:
        total = np.zeros((inputs.n_samples, self.layer_sizes[-1]))
        for model in self.models:
            total += model._run(inputs, raw=True)
        total /= len(self.models)
        outputs = total if raw else OUTPUT_FUNCTIONS[self.output_activation](total)
        if out is None:
            return outputs.astype(np.float32)
        out[...] = outputs
        return out

    def save(self, path: files.Place) -> None:
        """Write the networks and the history to a safetensors file; :func:`omp_mlp.load` reads it.

        As :meth:`omp_mlp.Model.save` does.

        Parameters
        ----------
        path : str, bytes, path-like or binary file
            As of :meth:`omp_mlp.Model.save`.
        """
        store(path, FORMAT, self.models, self.history)

    def distill(
        self,
        X: Matrix,
        threads: int = 1,
        *,
        hidden_layer_sizes: Sequence[int] | None = None,
        **options: Any,  # noqa: ANN401 - handed on to train_parallel
    ) -> Model:
        """Train one network to answer like the ensemble.

        The network learns the pre-activations of the ensemble's outputs by squared error (Ba and
        Caruana 2014). For softmax outputs, the mean over the classes is taken off first, because
        softmax does not depend on it. The training sees pre-activations of zero mean and unit size;
        the last layer takes up mean and size afterwards. No labels are needed.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
            The training data, or other data of their kind.
        threads : int, default 1
            Number of replicas that train the new network.
        hidden_layer_sizes : sequence of int, optional
            Hidden units of the new network. Default: those of the ensemble's models.
        **options
            Options of :func:`omp_mlp.train_parallel`, with its defaults, except that the default of
            ``activation`` is the ensemble's activation. What says what to learn (``y``, ``task``,
            ``loss`` and its settings, ``output_activation``, ``class_weight``,
            ``validation_data``, ``scale_targets``) and a Model for ``init`` are errors.

        Returns
        -------
        Model
            It has the ensemble's classes and output activation. Its ``history`` has the squared
            error of the pre-activations at unit size.

        Raises
        ------
        TypeError, ValueError
            If X does not fit the ensemble, or an option is not what ``train_parallel`` takes.
        """
        refused = [name for name in _NOT_FOR_DISTILL if name in options]
        if refused or not isinstance(options.get("init", "shared"), str):
            raise TypeError(
                "distill sets y, loss, output_activation and the start itself, and has no "
                f"validation; got {refused[0] if refused else 'a Model for init'}"
            )
        z = self.decision_function(X).astype(np.float64)
        scaling = self.models[0].target_scaling  # that of all models
        if scaling is not None:
            z = (z - scaling.offset) / scaling.scale
        if self.output_activation == "softmax":
            z -= z.mean(axis=1, keepdims=True)
        centre = z.mean(axis=0)
        size = float(np.sqrt(np.mean((z - centre) ** 2))) or 1.0
        student = self._train(
            X,
            (z - centre) / size,
            threads,
            hidden_layer_sizes=(
                self.layer_sizes[1:-1] if hidden_layer_sizes is None else hidden_layer_sizes
            ),
            task="values",
            loss="squared_error",
            output_activation="identity",
            scale_targets=False,
            **{"activation": self.activation, **options},
        )
        packed = student._packed.copy()
        weights, biases = views(student.layer_sizes, packed)
        weights[-1][...] = weights[-1] * np.float32(size)
        biases[-1][...] = (biases[-1] * size + centre).astype(np.float32)
        return Model._of(
            student.layer_sizes,
            packed,
            student.activation,
            self.output_activation,
            self.classes,
            student.history,
            input_scaling=student.input_scaling,
            target_scaling=scaling,
            multilabel=self.multilabel,
            columns=student.columns,
        )
