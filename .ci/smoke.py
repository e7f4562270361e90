"""A minute with an installed wheel: it trains, repeats its bits, saves and loads."""

import tempfile
from pathlib import Path

import numpy as np

import omp_mlp

X = np.random.default_rng(0).normal(size=(500, 2))
y = X[:, 0] * X[:, 1] > 0
one, two = (omp_mlp.train_parallel(X, y, 2, epochs=20, workers=workers) for workers in (1, 2))
assert all(np.array_equal(a, b) for a, b in zip(one.weights, two.weights, strict=True))
assert one.score(X, y) > 0.9
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "network.safetensors"
    one.save(path)
    assert np.array_equal(omp_mlp.load(path).predict(X), one.predict(X))
omp_mlp.show_config()
