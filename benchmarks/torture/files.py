"""Damaged files: networks, states of trainings, and IDX files."""

from __future__ import annotations

from .trial import Trial, attempts

# Every damage is one of bits, of bytes that are missing, or of bytes that are too many.
_MUTATE = """
path = os.path.join(tempfile.mkdtemp(), "file")

def mutated(content):
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        kind, at = rng.integers(4), int(rng.integers(len(damaged)))
        length = int(rng.integers(1, 40))
        if kind == 0:
            damaged[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del damaged[at : at + length]
        elif kind == 2:
            damaged[at:at] = rng.bytes(length)
        else:
            damaged[at : at + length] = damaged[:length]
    return bytes(damaged)

def check(read, kinds):
    try:
        return read()
    except kinds as error:
        if path not in str(error):
            failures.append(f"no name of the file: {error!r}")
    except BaseException as error:
        failures.append(repr(error))
"""

_MODEL = (
    _MUTATE
    + """
import hashlib, safetensors, safetensors.numpy
model = fit(rng)
model.save(path)
content = open(path, "rb").read()
expected = model.predict_proba(np.ones((3, 20)))
"""
)

_MODEL_FILES = (
    _MODEL
    + """
for _ in range(count):
    open(path, "wb").write(mutated(content))
    loaded = check(lambda: omp_mlp.load(path), ValueError)
    if loaded is not None and (loaded.predict_proba(np.ones((3, 20))) != expected).any():
        failures.append("loaded another network")
"""
)

# The digest is computed as docs/conversions.md says, by hand.
_MODEL_FILES_WITH_DIGEST = (
    _MODEL
    + """
WORDS = ["", "null", "[]", "{}", "-1", "1e999", "NaN", '["a"]', "relu", "<U9"]
WORDS += ["9" * 5000, "[" * 9999]
with safetensors.safe_open(path, framework="numpy") as file:
    original = file.metadata()
tensors = safetensors.numpy.load(content)
sizes = [20, 16, 3]
names = ["weights.0", "biases.0", "weights.1", "biases.1"]
packed = np.concatenate([tensors[name].ravel() for name in names])
for _ in range(count):
    metadata = dict(original)
    for _ in range(rng.integers(1, 3)):
        name = str(rng.choice(sorted(metadata)))
        text, word = metadata[name], WORDS[rng.integers(len(WORDS))]
        at = int(rng.integers(len(text) + 1))
        metadata[name] = word if rng.random() < 0.5 else text[:at] + word + text[at + 3 :]
    metadata.pop("sha256", None)
    described = json.dumps([sorted(metadata.items()), sizes]).encode()
    digest = hashlib.sha256(described + packed.astype("<f4").tobytes()).hexdigest()
    safetensors.numpy.save_file(tensors, path, {**metadata, "sha256": digest})
    loaded = check(lambda: omp_mlp.load(path), ValueError)
    if loaded is not None:
        loaded.predict(np.ones((3, 20)))
        loaded.save(path)
        omp_mlp.load(path)
"""
)


# Of networks that encode columns, compress them, have limits or scaled targets.
_FILES_OF_TABLES = (
    _MUTATE
    + """
warnings.simplefilter("ignore")
import pickle
import pandas as pd
from benchmarks.torture.model_files import change_something
rows = np.arange(120)
amounts, far = np.exp(3 * rng.normal(size=(120, 3))), rng.normal(size=(120, 3))
far[3, 0] = 1e6
table = pd.DataFrame({"text": np.array(["u", "v", "w"])[rows % 3], "amount": amounts[:, 0],
                      "gaps": np.where(rows % 9 == 0, np.nan, far[:, 1] * 1e6 + 1e9),
                      "flag": pd.Categorical(rows % 2 == 0)})
numbered = pd.DataFrame(far, columns=[7, 8, ("a", 1)])

def trained(X, y, **options):
    model = omp_mlp.train_parallel(X, y, 1, epochs=2, hidden_layer_sizes=(4,), **options)
    model.save(path)
    return model, X, open(path, "rb").read()

made = [
    trained(table, rows % 3), trained(table, far[:, 1] * 1e8 + 1e10, scale_inputs="compress"),
    trained(amounts, rows % 2, scale_inputs="compress"), trained(numbered, rows % 2),
    trained(table, np.stack([rows % 2, rows % 3 > 0], 1)),
]
for k in range(count):
    model, X, content = made[k % len(made)]
    change_something(pathlib.Path(path), content, rng)
    loaded = check(lambda: omp_mlp.load(path), ValueError)
    if loaded is None:
        continue
    try:
        if not np.isfinite(loaded.predict(X)).all():
            failures.append("infinite predictions")
    except (TypeError, ValueError):
        pass  # columns of other names
    loaded.summary()
    pickle.loads(pickle.dumps(loaded)).save(path)
    if omp_mlp.load(path).columns != loaded.columns:
        failures.append("other columns after save")
"""
)


# What each training leaves behind is of another kind: slots, means, the best network.
_STATES = (
    _MUTATE
    + """
warnings.simplefilter("ignore")
X, y = rng.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3
arrays = {"validation_data": (X, y)}
KINDS = [
    ({"merge_every": 10}, {}),
    ({"strategy": "section"}, {}),
    ({"strategy": "synchronous", "optimizer": "adam"}, {}),
    ({"merge_every": 10, "optimizer": "adam", "averaging": "ema", "outer_momentum": 0.5}, arrays),
    ({"merge_every": 10, "averaging": "lawa", "averaging_span": 3, "optimizer": "rmsprop",
      "learning_rate_schedule": "adaptive", "input_gain_rate": 0.1}, arrays),
]

def trained(kind):
    options, arrays = kind
    states = []
    model = omp_mlp.train_parallel(
        X, y, 3, epochs=4, hidden_layer_sizes=(8,), batch_size=4, checkpoint=states.append,
        checkpoint_every=1, **options, **arrays,
    )
    states[len(states) // 2].save(path)
    return model, open(path, "rb").read()

made = [trained(kind) for kind in KINDS]
"""
)

_STATE_FILES = (
    _STATES
    + """
for k in range(count):
    (options, arrays), (model, content) = KINDS[k % len(KINDS)], made[k % len(KINDS)]
    open(path, "wb").write(mutated(content))
    found = check(lambda: omp_mlp.train_parallel(X, y, resume=path, **arrays), ValueError)
    if found is not None and (found.predict_proba(X) != model.predict_proba(X)).any():
        failures.append("went on to another network")
"""
)

_STATE_FILES_WITH_DIGEST = (
    _STATES
    + """
from benchmarks.torture.state_files import change_something, rewrite
for k in range(count):
    (options, arrays), (model, content) = KINDS[k % len(KINDS)], made[k % len(KINDS)]
    rewrite(pathlib.Path(path), content, change_something(rng))
    more = {"epochs": 5} if k % 2 else {}
    try:
        found = omp_mlp.train_parallel(X, y, resume=path, **more, **arrays)
        if not np.isfinite(found.predict_proba(X)).all():
            failures.append("went on to an infinite network")
    except (ValueError, MemoryError, omp_mlp.TrainingDivergedError) as error:
        if "std::" in str(error):
            failures.append(repr(error))
    except BaseException as error:
        failures.append(repr(error))
"""
)


_IDX_FILES = (
    _MUTATE
    + """
import gzip
from omp_mlp.datasets import read_idx
plain = bytes([0, 0, 8, 2, 0, 0, 0, 7, 0, 0, 0, 9]) + rng.bytes(63)
for k in range(count):
    open(path, "wb").write(mutated(gzip.compress(plain) if k % 2 else plain))
    check(lambda: read_idx(path), ValueError)
"""
)

TRIALS = (
    Trial("model files, damaged", 1500, attempts(_MODEL_FILES)),
    Trial("model files, changed, with a right digest", 1500, attempts(_MODEL_FILES_WITH_DIGEST)),
    Trial("model files of tables, changed, with a right digest", 1500, attempts(_FILES_OF_TABLES)),
    Trial("states of trainings, damaged", 1000, attempts(_STATE_FILES)),
    Trial("states, changed, with a right digest", 2000, attempts(_STATE_FILES_WITH_DIGEST)),
    Trial("IDX files, damaged, plain and compressed", 1000, attempts(_IDX_FILES)),
)
