"""Half a minute with an installed wheel: README's example, the same bits, saved and loaded."""

import os
import re
import tempfile
from pathlib import Path

import numpy as np

import omp_mlp

X = np.random.default_rng(0).normal(size=(500, 2))
y = X[:, 0] * X[:, 1] > 0
one, two = (omp_mlp.train_parallel(X, y, 2, epochs=20, workers=workers) for workers in (1, 2))
assert all(np.array_equal(a, b) for a, b in zip(one.weights, two.weights, strict=True))
assert one.score(X, y) > 0.9

readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
example = re.search(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
assert example, "README.md has no example"
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "network.safetensors"
    one.save(path)
    assert np.array_equal(omp_mlp.load(path).predict(X), one.predict(X))

    before = Path.cwd()
    os.chdir(folder)
    exec(example[1], {})
    os.chdir(before)  # Windows removes no folder that a process is in
omp_mlp.show_config()
