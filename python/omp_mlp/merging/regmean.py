"""RegMean (Jin et al. 2023): a layer that answers like those of all networks, by least squares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from omp_mlp.inputs import Inputs
from omp_mlp.merging.layers import (
    BLOCK,
    Array,
    average,
    layer_inputs,
    layers_of,
    pseudo_inverse,
    with_layers,
)
from omp_mlp.model import Model


def regmean(models: Sequence[Model], inputs: Inputs, non_diagonal: float) -> Model:
    """Merge by regression, layer by layer.

    Let A_i be the inputs of a layer in network i, with a column of ones for the bias; let
    G_i = A_i^T A_i, and let W_i be the layer's weights above its biases. The merged W minimises

        sum_i tr((W - W_i)^T G~_i (W - W_i)),    G~_i = a G_i + (1 - a) diag(G_i).

    For a = 1 this is sum_i |A_i W - A_i W_i|^2. The minimum is W = (sum_i G~_i)^-1 sum_i G~_i W_i.
    Where that is not determined (a unit that never answers), W stays as near to the mean as it can.
    All networks see the same X. So G of the first layer is the same for all, and its W is the mean.
    """
    networks = [layers_of(model) for model in models]
    merged = average(networks)
    for layer, grams in enumerate(_grams(models, inputs), start=1):
        mean = np.vstack(merged[layer])
        total = np.zeros_like(grams[0])
        right = np.zeros_like(mean)
        for network, gram in zip(networks, grams, strict=True):
            shrunk = non_diagonal * gram + (1 - non_diagonal) * np.diag(np.diag(gram))
            total += shrunk
            right += shrunk @ (np.vstack(network[layer]) - mean)
        solution = mean + pseudo_inverse(total) @ right
        merged[layer] = (solution[:-1], solution[-1])
    return with_layers(models[0], merged)


def _grams(models: Sequence[Model], inputs: Inputs) -> list[list[Array]]:
    """Return, for each layer but the first and each model, A^T A of what the layer gets."""
    sizes = models[0].layer_sizes[1:-1]
    grams = [[np.zeros((size + 1, size + 1)) for _ in models] for size in sizes]
    for _, block in inputs.blocks(BLOCK):
        for i, model in enumerate(models):
            for layer, a in enumerate(layer_inputs(model, block)):
                grams[layer][i] += a.T @ a
    return grams
