"""The output layer is fitted again, by least squares, to what the hidden layers of a merge give."""

from __future__ import annotations

import numpy as np

from omp_mlp._layers import Array, layer_inputs, layers_of, row_blocks, solve, with_layers
from omp_mlp._line_search import line_search
from omp_mlp._validate import Matrix, Targets
from omp_mlp.model import Model
from omp_mlp.predictor import loss_and_score

# Where the factor of a bent output layer is looked for: a fit to -1 and 1 is of about unit size.
_FACTORS = np.geomspace(2.0**-3, 2.0**10, 27)


def refit_output(model: Model, X: Matrix, targets: Targets, ridge: float) -> Model:
    """Replace the last layer by one that is fitted to the data by least squares.

    With a what the last layer gets of a sample, it minimises

        sum |t - W^T a - b|^2 + r |W|^2,    r = ridge * mean over the units of sum (a - mean(a))^2.

    With identity outputs t are the targets themselves, and the network's squared error is
    minimal. Softmax and logistic outputs bend what they get, so t is 1 for the right class and -1
    for the others (2 y - 1 for values y), which decides between the classes as the least squares to
    0 and 1 do; one factor of W and b then brings the outputs' mean loss to its least, and leaves
    the order of the outputs, and so the accuracy, as it is.
    """
    bends = model.output_activation != "identity"
    n_outputs = model.layer_sizes[-1]
    if targets.indices is not None:
        wanted = np.eye(n_outputs)[targets.indices]
    else:
        assert targets.values is not None
        wanted = targets.values.astype(np.float64)
    fitted = 2 * wanted - 1 if bends else wanted

    units = layers_of(model)[-1][0].shape[0]
    gram = np.zeros((units + 1, units + 1))
    right = np.zeros((units + 1, n_outputs))
    for block, rows in row_blocks(X):
        inputs = _last_inputs(model, rows)
        gram += inputs.T @ inputs
        right += inputs.T @ fitted[block]

    # Centred, so that the bias drops out of the penalised problem.
    count = gram[-1, -1]
    mean, mean_fitted = gram[-1, :-1] / count, right[-1] / count
    covariance = gram[:-1, :-1] - count * np.outer(mean, mean)
    covariance[np.diag_indices(units)] += ridge * np.trace(covariance) / units
    W = solve(covariance, right[:-1] - count * np.outer(mean, mean_fitted))
    b = mean_fitted - mean @ W
    if bends:
        z = np.vstack([_last_inputs(model, rows) @ np.vstack([W, b]) for _, rows in row_blocks(X)])
        factor = line_search(
            lambda factor: loss_and_score(model.output_activation, factor * z, targets)[0],
            _FACTORS,
        )
        W, b = factor * W, factor * b
    return with_layers(model, [*layers_of(model)[:-1], (W, b)])


def _last_inputs(model: Model, rows: Matrix) -> Array:
    """Return what the last layer gets, with a column of ones for its bias."""
    if len(model.weights) > 1:
        return layer_inputs(model, rows)[-1]
    dense = (rows.toarray() if hasattr(rows, "toarray") else rows).astype(np.float64)
    return np.column_stack([dense, np.ones(len(dense))])
