"""Write the files that a release saves: ``python tests/golden/make.py``, once before a release.

A folder for each version has networks as files and as pickles, and what they answered. All later
versions have to read them (tests/test_files.py).
"""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd

import omp_mlp
from omp_mlp.scaling import Scaling

HERE = Path(__file__).resolve().parent
OPTIONS = {"hidden_layer_sizes": (4,), "epochs": 2, "batch_size": 4, "learning_rate": 0.05}


def rows() -> np.ndarray:
    """Return the samples that networks of arrays are asked about."""
    return np.linspace(-1, 1, 24).reshape(8, 3)


def table() -> pd.DataFrame:
    """Return the table that the network of a table is asked about."""
    kinds, sizes = ["a", "b", "a", None] * 2, [0.5, np.nan, -1.0, 2.0] * 2
    return pd.DataFrame({"kind": kinds, "size": sizes})


def networks() -> dict[str, tuple[object, object]]:
    """Return networks of all kinds that are saved, each with what it is asked about."""
    X = rows()
    labels = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
    stamps = X * [1, 1, 1e5] + [0, 0, 1.6e9]
    train = omp_mlp.train_parallel
    limited = Scaling(np.zeros(3), np.full(3, 2.0), np.full(3, -0.5), np.array([0.5, 0.25, np.inf]))
    compressed = Scaling(np.zeros(3), np.full(3, 0.1), bend=np.array([np.inf, 1.0, 2.0]))
    return {
        "classes": (train(X, labels, 2, **OPTIONS), X),
        "values": (train(stamps, 1e6 + X[:, 0], 2, **OPTIONS), stamps),  # scaled beside the weights
        "limits": (train(X, labels, 2, **OPTIONS, scale_inputs=limited), X),
        "compressed": (train(X, labels, 2, **OPTIONS, scale_inputs=compressed), X),
        "several_labels": (train(X, (X[:, :2] > 0).astype(int), 2, **OPTIONS), X),
        "table": (train(table(), labels, 2, **OPTIONS), table()),
        "ensemble": (train(X, labels, 2, "ensemble", **OPTIONS), X),
    }


def answers(network: object, asked: object) -> list:
    """Return probabilities, or values."""
    has_probabilities = network.classes is not None or network.multilabel
    return (network.predict_proba if has_probabilities else network.predict)(asked).tolist()


def main() -> None:
    """Write the folder of the version that is installed."""
    folder = HERE / omp_mlp.__version__
    folder.mkdir(exist_ok=True)
    expected = {}
    for name, (network, asked) in networks().items():
        network.save(folder / f"{name}.safetensors")
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(network, protocol=4))
        expected[name] = answers(network, asked)
    estimator = omp_mlp.OmpMLPClassifier((4,), max_iter=2, random_state=0, threads=2)
    estimator.fit(rows(), rows()[:, 0] > 0)
    (folder / "estimator.pickle").write_bytes(pickle.dumps(estimator, protocol=4))
    expected["estimator"] = estimator.predict_proba(rows()).tolist()
    (folder / "answers.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
