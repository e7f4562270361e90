"""Peers that are slow, or that take more than scikit-learn to install: the extra ``peers``.

``make defaults ARGS=--peers`` asks them, and keeps their answers in ``peers.json``, beside this
file; other runs read that. All train on the first ``ROWS`` rows of a table, on one core.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..common.files import read_json
from .contestants import timed
from .problems import Problem

ROWS = 3_000  # the slowest peer takes minutes for so many
KEPT = Path(__file__).with_name("peers.json")

LABELS = {
    "torch": "PyTorch with Adam",
    "lightgbm": "LightGBM",
    "realmlp_td_s": "RealMLP-TD-S",
    "realmlp_td": "RealMLP-TD",
    "tabm": "TabM",
}
# pytabkit's names, with its defaults.
_OF_PYTABKIT = {"realmlp_td_s": "RealMLP_TD_S", "realmlp_td": "RealMLP_TD", "tabm": "TabM_D"}

Predictor = Callable[[np.ndarray], np.ndarray]


def kept() -> Mapping[str, Any]:
    """Return the answers that are kept: by table, and by peer."""
    return read_json(KEPT)["pieces"] if KEPT.exists() else {}


def ask(peer: str, problem: Problem, seed: int) -> dict[str, float | None]:
    """Train a peer; return its score on held-out rows, and CPU seconds."""

    def score() -> float:
        predicted = _fit(peer, problem, seed)(problem.X_test)
        if not problem.is_regression:
            return float(np.mean(predicted == problem.y_test))
        return float(1 - np.mean((predicted - problem.y_test) ** 2) / np.var(problem.y_test))

    return timed(score)


def _fit(peer: str, problem: Problem, seed: int) -> Predictor:
    if peer == "torch":
        return _torch(problem, seed)
    kind = "Regressor" if problem.is_regression else "Classifier"
    if peer == "lightgbm":
        import lightgbm

        trees = getattr(lightgbm, f"LGBM{kind}")(random_state=seed, n_jobs=1, verbose=-1)
        predict: Predictor = trees.fit(problem.X, problem.y).predict
        return predict
    from pytabkit.models.sklearn import sklearn_interfaces

    maker = getattr(sklearn_interfaces, f"{_OF_PYTABKIT[peer]}_{kind}")
    network = maker(device="cpu", random_state=seed, n_threads=1, n_cv=1, verbosity=0)
    network.fit(problem.X.astype(np.float32), problem.y)
    return lambda X: np.asarray(network.predict(X.astype(np.float32))).ravel()


def _torch(problem: Problem, seed: int) -> Predictor:
    """Train as users of PyTorch do: two layers, Adam, and the best epoch on a fifth of the rows."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    mean, scale = problem.X.mean(axis=0), problem.X.std(axis=0)
    scale[scale == 0] = 1

    def tensor(X: np.ndarray) -> Any:  # noqa: ANN401
        return torch.tensor((X - mean) / scale, dtype=torch.float32)

    X, regresses = tensor(problem.X), problem.is_regression
    middle, unit = (problem.y.mean(), problem.y.std()) if regresses else (0, 1)
    y = torch.tensor((problem.y - middle) / unit).float() if regresses else torch.tensor(problem.y)
    outputs = 1 if regresses else int(problem.y.max()) + 1
    network = nn.Sequential(
        nn.Linear(X.shape[1], 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
        nn.Linear(256, outputs),
    )  # fmt: skip
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    loss = (lambda o, t: ((o[:, 0] - t) ** 2).mean()) if regresses else nn.CrossEntropyLoss()
    held, rows = torch.randperm(len(X)).split([len(X) // 5, len(X) - len(X) // 5])
    least, best, failures = np.inf, network.state_dict(), 0
    for _ in range(200):
        for batch in rows[torch.randperm(len(rows))].split(128):
            adam.zero_grad()
            loss(network(X[batch]), y[batch]).backward()
            adam.step()
        with torch.no_grad():
            answers = network(X[held])
            wrong = loss(answers, y[held]) if regresses else (answers.argmax(1) != y[held]).float()
        error, failures = float(wrong.mean()), failures + 1
        if error < least:
            best = {name: value.clone() for name, value in network.state_dict().items()}
            least, failures = error, 0
        if failures == 20:
            break
    network.load_state_dict(best)

    def predict(X: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            answers = network(tensor(X)).numpy()
        return answers[:, 0] * unit + middle if regresses else answers.argmax(axis=1)

    return predict
