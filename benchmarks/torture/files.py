"""Damaged files, and programs that end while they write."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import omp_mlp

from .trial import SkipError, Trial, attempts

# The digest is computed as docs/conversions.md says, by hand.
_MUTATE = """
import hashlib, safetensors, safetensors.numpy
path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
model = fit(rng)
model.save(path)
content = open(path, "rb").read()
expected = model.predict_proba(np.ones((3, 20)))

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


_MODEL_FILES = (
    _MUTATE
    + """
for _ in range(count):
    damaged = mutated(content)
    open(path, "wb").write(damaged)
    loaded = check(lambda: omp_mlp.load(path), ValueError)
    if loaded is not None and (loaded.predict_proba(np.ones((3, 20))) != expected).any():
        failures.append("loaded another network")
"""
)


_MODEL_FILES_WITH_DIGEST = (
    _MUTATE
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


def _kills(seed: int, count: int) -> Sequence[str]:
    rng = np.random.default_rng(seed)
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        for number in range(2):
            _large(number).save(Path(folder) / f"{number}.safetensors")
        script = (
            "import omp_mlp, itertools\n"
            f"models = [omp_mlp.load(f'{folder}/{{n}}.safetensors') for n in (0, 1)]\n"
            f"models[0].save('{path}')\nprint('ready', flush=True)\n"
            f"for n in itertools.cycle((1, 0)):\n    models[n].save('{path}')\n"
        )
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            try:
                loaded = omp_mlp.load(path)
                if loaded.biases[0][0] not in (0, 1):
                    failures.append("another network")
            except Exception as error:
                failures.append(repr(error))
        _large(0).save(path)
        left = [name for name in os.listdir(folder) if name.endswith(".draft")]
        failures += [f"{len(left)} drafts are left"] if left else []
    return failures


def _large(number: int) -> omp_mlp.Model:
    return omp_mlp.Model([np.full((500, 400), number)], [np.full(400, number)])


_INTERRUPTS_OF_SAVE = (
    _MUTATE
    + """
signal.signal(signal.SIGALRM, signal.default_int_handler)
models = [omp_mlp.Model([np.full((500, 400), n)], [np.full(400, n)]) for n in (0, 1)]
models[0].save(path)
for k in range(count):
    try:
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 4e-3))
        models[k % 2].save(path)
        signal.pause()
    except KeyboardInterrupt:
        pass
    except BaseException as error:
        failures.append(repr(error))
    if check(lambda: omp_mlp.load(path), ()) is None:
        continue
models[0].save(path)
if len(os.listdir(os.path.dirname(path))) > 1:
    failures.append("drafts are left")
"""
)


def _order_on_disk(seed: int, count: int) -> Sequence[str]:
    del seed
    if shutil.which("strace") is None:
        raise SkipError("there is no strace")
    failures = []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            script = (
                "import numpy as np, omp_mlp\n"
                f"omp_mlp.Model([np.eye(2)], [np.ones(2)]).save('{folder}/model')\n"
            )
            calls = "trace=openat,write,fsync,rename,renameat,renameat2"
            log = Path(folder) / "log"
            subprocess.run(
                ["strace", "-f", "-e", calls, "-o", str(log), sys.executable, "-c", script],
                check=True,
            )
            names = [
                line.split("(")[0].split()[-1]
                for line in log.read_text().splitlines()
                if "fsync(" in line or ("rename" in line and folder in line)
            ]
            if names[-3:] != ["fsync", names[-2], "fsync"] or "rename" not in names[-2]:
                failures.append(f"the order was {names}")
    return failures


TRIALS = (
    Trial("model files, damaged", 2500, attempts(_MODEL_FILES)),
    Trial("model files, changed, with a right digest", 2500, attempts(_MODEL_FILES_WITH_DIGEST)),
    Trial("IDX files, damaged, plain and compressed", 1000, attempts(_IDX_FILES)),
    Trial("kills during save", 200, _kills),
    Trial("Ctrl-C during save", 400, attempts(_INTERRUPTS_OF_SAVE)),
    Trial("order of file, name and folder on the disk (strace)", 5, _order_on_disk),
)
