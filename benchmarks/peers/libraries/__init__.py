"""A module for each library, with a class ``Peer``; the package above says what it has to do."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Inputs: TypeAlias = Any  # NumPy's array or SciPy's CSR, as the form of a row says
# Weights and biases of all layers. omp_mlp and scikit-learn draw their own, from the same
# distribution, and that is timed.
Start: TypeAlias = list[tuple[np.ndarray, np.ndarray]]
