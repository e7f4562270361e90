"""The NumPy peer of the benchmarks beside omp_mlp."""

from __future__ import annotations

import numpy as np

import omp_mlp
from benchmarks.peers.libraries.omp import Peer as OmpPeer


def trained_alike(peer, training, X, y, start):
    """Train a peer and omp_mlp from the same weights, and see that they end alike; return both."""
    trained = peer.train(training, X, y, start)
    model = omp_mlp.Model([W for W, _ in start], [b for _, b in start], classes=y)
    expected = OmpPeer(1, {"init": model}).train(training, X, y, None)
    for (W, b), W_expected, b_expected in zip(
        trained, expected.weights, expected.biases, strict=True
    ):
        np.testing.assert_allclose(W, W_expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(b, b_expected, rtol=1e-4, atol=1e-5)
    return trained, expected
