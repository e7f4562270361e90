"""omp_mlp beside PyTorch, scikit-learn, NumPy and JAX, and beside what one core can do.

libraries/     a module for each library
serve.py       the process of one peer; data.py: what it trains on
bench.py       take turns: the same request to many processes
parts.py       what is measured: a function for each part
limits.py      what one core can do (limits.cpp), and how much of that a training needs
settings.py    learning rates, and each peer's best settings, which tune.py searches
judge.py       what omp_mlp has to reach, and whether it did
tables.py, pictures.py
__main__.py    the command line

``ROWS`` below is the table of what is compared. Each row names a module of ``libraries`` whose
class ``Peer`` trains and predicts with one library:

    Peer(cores, options)                    imports the library and sets its thread count
    peer.train(training, X, y, start)       a network trained from ``start``; all of this is timed
    peer.predict(network, X)                labels as a NumPy array; all of this is timed

A peer gets X as its row's ``form`` says. Whatever it converts beyond that, it converts in ``train``
or ``predict``, where it counts.

This file is read before a process is pinned to its cores, so it must not import NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Row:
    """One thing to compare: a library, used in one way."""

    name: str  # in files and on the command line
    label: str  # in tables and pictures
    module: str  # of ``libraries``
    library: str  # what has to be importable
    # What X is before the clock starts: dense float32 in [0, 1], dense "bytes", or float32 "csr".
    form: str = "float32"
    # For ``Peer``; those of "omp" are options of ``omp_mlp.train_parallel``.
    options: Mapping[str, Any] = field(default_factory=dict)
    least_cores: int = 1  # with fewer the row would repeat another
    # Whether it takes the steps of plain SGD, so that its accuracy has to be that of the others.
    plain: bool = True
    python: str = ""  # the interpreter that has the library; this one if there is no other

    @property
    def ours(self) -> bool:
        """Whether this is omp_mlp."""
        return self.module == "omp"

    @property
    def installed(self) -> bool:
        """Whether the library is there."""
        return find_spec(self.library) is not None


def _ours(name: str, label: str, **fields: Any) -> Row:  # noqa: ANN401 - fields of many types
    return Row(name, label, "omp", "omp_mlp", **fields)


_DIVERSITY = {"merge": "gradient_diversity", "merge_every": "auto"}

# With n cores omp_mlp has n replicas. Where its row says nothing else, they are merged once, at the
# end, by their average. Options that are off by default have a row of their own.
ROWS = (
    _ours("omp_mlp", "omp_mlp"),
    _ours("omp_mlp-bytes", "omp_mlp, from bytes", form="bytes"),
    _ours("omp_mlp-csr", "omp_mlp, from CSR", form="csr"),
    _ours(
        *("omp_mlp-periodic", "omp_mlp, gradient diversity every 64"),
        options=_DIVERSITY,
        least_cores=2,
        plain=False,
    ),
    _ours(
        *("omp_mlp-bf16", "omp_mlp, bfloat16 products"),
        options={"precision": "bfloat16"},
    ),
    _ours(
        *("omp_mlp-skip", "omp_mlp, skipping confident samples"),
        options={"skip_confident": 0.05},
        plain=False,
    ),
    Row("torch-nn", "PyTorch, nn and optim", "pytorch", "torch"),
    Row("torch-manual", "PyTorch, gradients by hand", "pytorch", "torch", options={"manual": True}),
    Row(
        *("torch-bf16", "PyTorch, nn and optim, bfloat16 products", "pytorch", "torch"),
        options={"autocast": True},
    ),
    Row("sklearn", "scikit-learn", "scikit", "sklearn"),
    Row("sklearn-csr", "scikit-learn, from CSR", "scikit", "sklearn", form="csr"),
    Row("numpy", "NumPy", "numpy_blas", "numpy"),
    Row("numpy-blas", "NumPy and SciPy's BLAS", "numpy_blas", "scipy", options={"blas": True}),
    Row("jax", "JAX, jit and scan", "jax_scan", "jax"),
)


def row(name: str) -> Row:
    """Return the row of that name."""
    return next(entry for entry in ROWS if entry.name == name)


@dataclass(frozen=True)
class Training:
    """What is trained, the same for all peers: hidden layers of ReLU, softmax, cross-entropy."""

    batch_size: int
    learning_rate: float
    epochs: int = 1
    # "constant", or "linear": from ``learning_rate`` to 0.
    schedule: str = "constant"
    solver: str = "sgd"  # known to all; some know "momentum" and "adam", too
    hidden: int = 128  # units of a hidden layer
    layers: int = 1  # of hidden units
    seed: int = 0  # of the shuffling; every epoch goes through all samples in a new order
    # Of ``omp_mlp.train_parallel``, over those of the row.
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def rates(self, samples: int) -> np.ndarray:
        """Return the learning rate of every batch, float32 of shape (epochs, batches)."""
        import numpy as np

        shape = self.epochs, -(-samples // self.batch_size)
        if self.schedule == "constant":
            return np.full(shape, self.learning_rate, np.float32)
        if self.schedule == "linear":
            # Of the first sample of a batch, counted from the start of the training.
            position = np.arange(shape[1]) * self.batch_size
            position = np.arange(self.epochs)[:, None] * samples + position
            rates = self.learning_rate * (1 - position / (self.epochs * samples))
            return rates.astype(np.float32)
        raise ValueError(f"no schedule of that name here: {self.schedule}")

    def only(self, *solvers: str) -> None:
        """Raise ValueError for a solver that a peer does not have."""
        if self.solver not in solvers:
            raise ValueError(f"no solver of that name here: {self.solver}")
