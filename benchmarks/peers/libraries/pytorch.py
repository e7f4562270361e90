"""PyTorch: ``nn`` with an optimiser, or gradients by hand under ``no_grad``.

With "autocast", the products of ``nn`` have factors in bfloat16, and the weights stay in float32.

No DataLoader: for data in memory, indexing a tensor is many times faster. No ``torch.compile``: it
is slower than eager for this network on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .. import Training
from . import Inputs, Start

Layers = list[tuple[torch.Tensor, torch.Tensor]]
Network = nn.Sequential | Layers

# Rows of X are indexed so many at a time and split into batches, which saves a call for each batch
# where batches are small.
GATHERED = 128


class Peer:
    """PyTorch in eager mode."""

    def __init__(self, cores: int, options: Mapping[str, Any]) -> None:
        torch.set_num_threads(cores)
        torch.set_num_interop_threads(1)
        self.manual = bool(options.get("manual"))
        self.products = torch.autocast("cpu", torch.bfloat16, bool(options.get("autocast")))

    def train(self, training: Training, X: Inputs, y: np.ndarray, start: Start) -> Network:
        """Train."""
        data = training, torch.from_numpy(X), torch.from_numpy(y), start
        return _train_by_hand(*data) if self.manual else _train_module(*data, self.products)

    def predict(self, network: Network, X: Inputs) -> np.ndarray:
        """Return labels."""
        with torch.inference_mode(), self.products:
            x = torch.from_numpy(X)
            if not isinstance(network, list):
                return network(x).argmax(1).numpy()
            *hidden, (W_out, b_out) = network
            for W, b in hidden:
                x = torch.addmm(b, x, W).relu_()
            return torch.addmm(b_out, x, W_out).argmax(1).numpy()


def _batches(
    training: Training, X: torch.Tensor, T: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
    """Yield inputs, targets and learning rate of every batch of every epoch."""
    size = training.batch_size
    gathered = max(size, GATHERED // size * size)
    rates = iter(training.rates(len(X)).ravel().tolist())
    generator = torch.Generator().manual_seed(training.seed)
    for _ in range(training.epochs):
        for rows in torch.randperm(len(X), generator=generator).split(gathered):
            yield from zip(X[rows].split(size), T[rows].split(size), rates, strict=False)


def _train_module(
    training: Training, X: torch.Tensor, y: torch.Tensor, start: Start, products: torch.autocast
) -> nn.Sequential:
    modules = [module for W, _ in start for module in (nn.Linear(*W.shape), nn.ReLU())]
    network = nn.Sequential(*modules[:-1])
    with torch.no_grad():
        for layer, (W, b) in zip(network[::2], start, strict=True):
            layer.weight.copy_(torch.from_numpy(W.T))
            layer.bias.copy_(torch.from_numpy(b))
    optimizer = _optimizer(training, network)
    [group] = optimizer.param_groups
    for x, t, rate in _batches(training, X, y):
        group["lr"] = rate  # what a scheduler does, without its cost for each batch
        optimizer.zero_grad()
        with products:  # which keeps its copies of the weights in bfloat16 until it ends
            loss = functional.cross_entropy(network(x), t)
        loss.backward()
        optimizer.step()
    return network


def _optimizer(training: Training, network: nn.Module) -> torch.optim.Optimizer:
    training.only("sgd", "momentum", "adam")
    parameters, rate = network.parameters(), training.learning_rate
    if training.solver == "adam":
        return torch.optim.Adam(parameters, lr=rate, fused=True)
    # For four small tensors the plain loop over them is faster than foreach and fused.
    if training.solver == "momentum":
        return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, foreach=False)
    return torch.optim.SGD(parameters, lr=rate, foreach=False)


@torch.no_grad()
def _train_by_hand(training: Training, X: torch.Tensor, y: torch.Tensor, start: Start) -> Layers:
    training.only("sgd")
    layers = [(torch.tensor(W), torch.tensor(b)) for W, b in start]
    *hidden, (W_out, b_out) = layers
    transposed = [W.t() for W, _ in layers]
    one_hot = functional.one_hot(y, len(b_out)).float()
    for x, t, rate in _batches(training, X, one_hot):
        scale = -rate / len(x)
        activations = [x]
        for W, b in hidden:
            activations.append(torch.addmm(b, activations[-1], W).relu_())
        d = torch.addmm(b_out, activations[-1], W_out).softmax(1).sub_(t)
        for (W, b), W_transposed in zip(reversed(layers), reversed(transposed), strict=True):
            a = activations.pop()
            # Of the layer below, with the weights that were there before the step.
            below = d.mm(W_transposed) if activations else d
            W.addmm_(a.t(), d, alpha=scale)
            b.add_(d.sum(0), alpha=scale)
            d = torch.ops.aten.threshold_backward(below, a, 0) if activations else d
    return layers
