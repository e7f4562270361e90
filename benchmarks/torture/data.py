"""Inputs that are wrong, or at the edges of what numbers can be."""

from __future__ import annotations

from .trial import Trial, attempts

_SPARSE = """
import scipy.sparse
model = fit(rng)
y = np.arange(30) % 3
for _ in range(count):
    nnz = int(rng.integers(0, 60))
    X = scipy.sparse.csr_matrix((30, 20), dtype=np.float32)
    indptr = np.sort(rng.integers(0, nnz + 1, 31))
    indptr[0], indptr[-1] = 0, nnz
    X.indptr, X.indices = indptr, rng.integers(0, 20, nnz).astype(np.int32)
    X.data = rng.normal(size=nnz).astype(np.float32)
    kind = rng.integers(8)
    if kind == 0:
        X.indptr = rng.integers(-5, nnz + 5, int(rng.integers(0, 50)))
    elif kind == 1 and nnz:
        X.indices[rng.integers(nnz)] = rng.choice([-1, 20, 2**31 - 1, -(2**31)])
    elif kind == 2:
        X.data = X.data[: nnz // 2]
    elif kind == 3 and nnz:
        X.data[rng.integers(nnz)] = rng.choice([np.nan, np.inf, 3e38])
    elif kind == 4:
        X.indptr = np.sort(rng.integers(0, 2**40, 31))
    elif kind == 5:
        X = X.astype(rng.choice(["f8", "i4", "i8"]))
    try:
        if rng.random() < 0.5:
            trained = omp_mlp.train_parallel(X, y, 2, epochs=1, hidden_layer_sizes=(8,))
            answer = trained.predict_proba(X)
        else:
            answer = model.predict_proba(X)
        if not np.isfinite(answer).all():
            failures.append("infinite answers")
    except (ValueError, TypeError, omp_mlp.TrainingDivergedError):
        pass
    except BaseException as error:
        failures.append(repr(error))
"""

_EDGES = """
import itertools, warnings
warnings.simplefilter("ignore")
VALUES = [0.0, 1e-45, 1e-38, 1e-20, 1.0, 1e10, 1e30, 3e38, 1e200, 1e308, -1e38]
SHAPES = [(1, 1), (2, 1), (3, 40), (64, 3)]
STRATEGIES = ["replica", "section", "synchronous", "hogwild"]
TASKS = ["classes", "values"]
SCALES = ["auto", False]
cases = list(itertools.product(VALUES, SHAPES, STRATEGIES, TASKS, SCALES))
for k in rng.permutation(len(cases))[: count]:
    value, shape, strategy, task, scale = cases[k]
    X = np.where(rng.random(shape) < 0.5, value, rng.normal(size=shape) * value)
    y = np.arange(shape[0]) % 2 if task == "classes" else rng.normal(size=shape[0]) * value
    try:
        model = omp_mlp.train_parallel(
            X, y, int(rng.integers(1, 5)), epochs=2, strategy=strategy, task=task,
            scale_inputs=scale, hidden_layer_sizes=(5,), batch_size=int(rng.integers(1, 9)),
        )
        answer = model.predict(X)
        if task == "values" and not np.isfinite(answer).all():
            failures.append(f"infinite answers: {cases[k]}")
    except (ValueError, TypeError, omp_mlp.TrainingDivergedError):
        pass
    except BaseException as error:
        failures.append(f"{cases[k]}: {error!r}")
"""

_SIZES = """
NAMES = ["hidden_layer_sizes", "batch_size", "epochs", "workers", "warmup_samples", "merge_every"]
for _ in range(count):
    name = NAMES[rng.integers(len(NAMES))]
    # So large that nothing can hold it, or no number of the core's.
    size = int(2 ** rng.uniform(40, 100))
    value = (32, size) if name == "hidden_layer_sizes" else size
    if name in ("batch_size", "merge_every") and size < 2**63:
        continue  # as good as all samples
    if name in ("epochs", "warmup_samples"):
        value = size << 64
    try:
        fit(rng, **{"epochs": 1, name: value})
        failures.append(f"{name}={value} was taken")
    except (ValueError, MemoryError) as error:
        if "std::" in str(error) or not str(error):
            failures.append(repr(error))
    except BaseException as error:
        failures.append(repr(error))
"""


TRIALS = (
    Trial("CSR matrices built by hand", 2000, attempts(_SPARSE)),
    Trial("inputs at the edges of what numbers can be", 704, attempts(_EDGES)),
    Trial("sizes that nothing can hold", 500, attempts(_SIZES)),
)
