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


# Every form that X may have, of numbers that most forms can hold; many of them are refused.
_FORMS = """
import decimal, fractions
import scipy.sparse
warnings.simplefilter("ignore")
try:
    import pandas as pd
except ImportError:
    pd = None
DTYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g", ">f8", ">i4"]
DTYPES += ["c8", "M8[D]", "m8[s]", "S3", "U3", "V4", [("a", "f4"), ("b", "f4")]]
SPARSE = ["csr_array", "csc_array", "coo_array", "bsr_array", "lil_matrix", "dok_matrix"]
NAMES = ["a", "", "\\0", "a" * 100_000, "\\ud800", "\\u202e", 0, None, ("a", 1), np.nan, "a"]

def misaligned(X):
    raw = np.zeros(X.nbytes + 1, np.uint8)[1:]
    copied = raw.view(X.dtype).reshape(X.shape)
    copied[...] = X
    return copied

def hidden(X):
    return np.ma.masked_array(X, rng.random(X.shape) < rng.choice([0, 0.1, 1]))

def table(X):
    columns = {}
    for column, name in zip(X.T, rng.permutation(len(NAMES)), strict=False):
        kind = rng.integers(8)
        if kind == 0:
            column = pd.Series(column.astype(int)).astype("category")
        elif kind == 1:
            column = pd.Series(column.astype(int), dtype="Int64").mask(rng.random(len(X)) < 0.1)
        elif kind == 2:
            column = pd.Series(column.astype(int).astype(str))
        elif kind == 3:
            column = pd.Series(column).mask(rng.random(len(X)) < 0.1)
        elif kind == 4:
            column = pd.Series(list(column)).astype(object)
        elif kind == 5:
            column = pd.to_datetime(column.astype(int), unit="D")
        columns[NAMES[name]] = column
    return pd.DataFrame(columns)

FORMS = [
    lambda X: X, np.asfortranarray, lambda X: X[::-1], lambda X: X[::2], lambda X: X[:, ::-1],
    lambda X: np.broadcast_to(X[:1], X.shape), misaligned, hidden, lambda X: X.tolist(),
    lambda X: tuple(map(tuple, X.tolist())), lambda X: X.astype(object), lambda X: list(X),
    lambda X: np.vectorize(decimal.Decimal, "O")(X.astype(float)),
    lambda X: np.vectorize(fractions.Fraction, "O")(X.astype(float)),
    lambda X: memoryview(np.ascontiguousarray(X)), lambda X: X[:, :0], lambda X: X[:0],
    lambda X: X[0], lambda X: X[None], lambda X: X.tolist()[:-1] + [[1]], lambda X: np.matrix(X),
    lambda X: iter(X.tolist()), lambda X: {"a": X}, lambda X: np.ma.asarray(X),
]
FORMS += [lambda X, kind=kind: getattr(scipy.sparse, kind)(X) for kind in SPARSE]
FORMS += [table] * 6 * (pd is not None)
for k in range(count):
    dtype, form = DTYPES[rng.integers(len(DTYPES))], FORMS[rng.integers(len(FORMS))]
    rows = int(rng.choice([1, 2, 40]))
    try:
        plain = rng.integers(0, 9, (rows, 6)).astype(dtype)
        X = form(plain)
        y = [np.arange(rows) % 2, np.arange(rows) % 2.0, list("ab" * rows)[:rows]][rng.integers(3)]
    except (TypeError, ValueError, NotImplementedError):
        continue  # NumPy, SciPy or pandas has no such thing
    try:
        rows = X.shape[0] if hasattr(X, "shape") and not isinstance(X, np.ma.MaskedArray) else rows
        model = omp_mlp.train_parallel(X, y[:rows], 2, epochs=1, hidden_layer_sizes=(4,))
        answer = model.predict_proba(X) if model.classes is not None else model.predict(X)
        if not np.isfinite(answer).all():
            failures.append(f"infinite answers: {dtype} {k}")
        if isinstance(X, np.ma.MaskedArray) and np.ma.getmaskarray(X).any():
            failures.append("trained on what a mask hides")
        if isinstance(X, np.ndarray) and X.dtype.kind in "biuf":
            same = model.predict(np.ascontiguousarray(X, dtype=np.float64))
            if (same != model.predict(X)).mean() > 0 and model.classes is not None:
                failures.append(f"other answers for float64: {dtype} {k}")
    except (ValueError, TypeError, omp_mlp.TrainingDivergedError) as error:
        if not str(error):
            failures.append(repr(error))
    except BaseException as error:
        failures.append(f"{dtype} {k}: {error!r}")
"""

# Each argument of each public function gets what it was not made for, and errors have its name.
_ARGUMENTS = """
import inspect, scipy.sparse
from omp_mlp import datasets
warnings.simplefilter("ignore")
os.chdir(tempfile.mkdtemp())
X, y = rng.normal(size=(24, 4)).astype(np.float32), np.arange(24) % 3
VALUES = [
    None, True, -1, 0, 1, 2.5, float("nan"), float("inf"), -float("inf"), 10**30, 10**400, 10**5000,
    -(10**30), 1j, "", "x", "\\ud800", "a\\0b", b"x", (), [], {}, [None], ["a", "b"],
    [float("nan")], (1, 2, 3), {"a": 1}, {1: float("nan")}, object(), np.nan, np.float32("inf"),
    np.array([]), np.zeros((0, 0)), np.zeros((2, 2, 2)), np.array("a"), np.array([None]),
    np.full(24, np.nan), np.full(24, np.inf), np.ma.masked_array([1, 2], [0, 1]), ...,
    np.datetime64("NaT"), np.array(["2001"], "M8[D]"), range(10**4), memoryview(b"abc"), X, y,
    "replica" * 1000, set(), frozenset([1]), 1e-320, np.float16(1), np.bool_(1), np.str_("relu"),
    slice(1), scipy.sparse.csr_matrix(X), scipy.sparse.coo_array(X), np.zeros((24, 0)),
    np.zeros((0, 4)), [[1, 2], [3]], np.zeros(4, "V4"), np.zeros(24, [("a", "f4")]), "x" * 10**6,
]
model = omp_mlp.train_parallel(X, y, 2, epochs=1, hidden_layer_sizes=(4,))
values = omp_mlp.train_parallel(X, X[:, 0], 2, epochs=1, hidden_layer_sizes=(4,))
short = {"X": X, "y": y, "epochs": 1, "hidden_layer_sizes": (4,), "batch_size": 4, "threads": 2}
merged = {"models": [model, model], "X": X, "y": y, "base": model}
CALLS = [(omp_mlp.train_parallel, short)]
CALLS += [
    (omp_mlp.Model, {"weights": [np.ones((4, 3))], "biases": [np.ones(3)]}),
    (omp_mlp.Ensemble, {"models": [model]}), (omp_mlp.load, {"path": "x"}),
    (omp_mlp.TrainingState.load, {"path": "x"}), (datasets.read_idx, {"path": "x"}),
    (datasets.load_digits, {}), (omp_mlp.Model.from_keras, {"weights": [np.eye(2), np.ones(2)]}),
]
CALLS += [(omp_mlp.merge, {**merged, "method": row.name}) for row in omp_mlp.merge_methods()]
for network, target in ((model, y), (values, X[:, 0]), (omp_mlp.Ensemble([model, model]), y)):
    for name in ("predict", "predict_proba", "decision_function", "score", "evaluate", "save"):
        if network is values and name == "predict_proba":
            continue  # a regression has none
        function = getattr(network, name)
        known = {"X": X, "y": target, "path": "file"}
        names = inspect.signature(function).parameters
        CALLS.append((function, {name: known[name] for name in names if name in known}))
cases = [
    (function, given, name, k)
    for function, given in CALLS
    for name in inspect.signature(function).parameters
    for k in range(len(VALUES))
]
for case in rng.permutation(len(cases))[:count]:
    function, given, name, k = cases[case]
    what = f"{function.__name__}({name}={repr(VALUES[k])[:40] if k != 11 else '10**5000'})"
    try:
        function(**{**given, name: VALUES[k]})
    except (ValueError, TypeError, MemoryError) as error:
        # A path is named by itself, and what is right may be the other argument's fault.
        if name not in str(error) and name not in ("path", "resume", "classes", "weights"):
            failures.append(f"{what}: no name: {str(error)[:200]}")
        if len(str(error)) > 5000 or "std::" in str(error):
            failures.append(f"{what}: {str(error)[:200]}")
    except (OSError, ImportError, omp_mlp.TrainingDivergedError):
        pass
    except BaseException as error:
        failures.append(f"{what}: {error!r}")
"""

TRIALS = (
    Trial("CSR matrices built by hand", 2000, attempts(_SPARSE)),
    Trial("forms of X: dtypes, layouts, masks, tables", 2000, attempts(_FORMS)),
    Trial("wrong values for every argument", 8000, attempts(_ARGUMENTS)),
    Trial("inputs at the edges of what numbers can be", 704, attempts(_EDGES)),
    Trial("sizes that nothing can hold", 500, attempts(_SIZES)),
)
