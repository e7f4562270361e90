"""Programs that end while they write: killed, interrupted, without room on the disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import omp_mlp

from .trial import SkipError, Trial, attempts


def _kill_each(script: str, rng: np.random.Generator, count: int, most: float) -> Iterator[None]:
    """Start a script so often, wait for its first line, and kill it within so many seconds."""
    for _ in range(count):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0, most))
            process.send_signal(signal.SIGKILL)
        yield


def _drafts(folder: str) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".draft")]


def _kills_of_save(seed: int, count: int) -> Sequence[str]:
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
        for _ in _kill_each(script, np.random.default_rng(seed), count, 0.05):
            try:
                loaded = omp_mlp.load(path)
                if loaded.biases[0][0] not in (0, 1):
                    failures.append("another network")
            except Exception as error:
                failures.append(repr(error))
        _large(0).save(path)
        failures += [f"{len(_drafts(folder))} drafts are left"] if _drafts(folder) else []
    return failures


def _large(number: int) -> omp_mlp.Model:
    return omp_mlp.Model([np.full((500, 400), number)], [np.full(400, number)])


_TRAIN = """
import sys, warnings
import numpy as np, omp_mlp
warnings.simplefilter('ignore')
rng = np.random.default_rng(5)
X, y = rng.normal(size=(200, 20)).astype(np.float32), np.arange(200) % 3
def train(kind, **options):
    return omp_mlp.train_parallel(
        X, y, 3, epochs=150, hidden_layer_sizes=(64,), batch_size=4, workers=2, **kind, **options
    )
def resume(path):
    return omp_mlp.train_parallel(X, y, resume=path)
"""
_KINDS = (
    {"merge_every": 50},
    {"strategy": "section", "optimizer": "adam"},
    {"strategy": "synchronous", "averaging": "ema"},
)


def _kills_of_checkpoints(seed: int, count: int) -> Sequence[str]:
    rng, failures = np.random.default_rng(seed), []
    known: dict[str, object] = {}
    exec(_TRAIN, known)
    train: Any = known["train"]
    resume: Any = known["resume"]
    X = known["X"]
    for number, kind in enumerate(_KINDS):
        share = (count + number) // len(_KINDS)
        expected = train(kind).predict_proba(X)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state"
            script = (
                f"{_TRAIN}\ndef tell(report):\n    if report.round == 1 and report.merged:\n"
                f"        print('ready', flush=True)\n"
                f"train({kind!r}, callback=tell, checkpoint={str(path)!r}, checkpoint_every=1)"
            )
            for _ in _kill_each(script, rng, share, 0.3):
                try:
                    found = resume(path)
                    if (found.predict_proba(X) != expected).any():
                        failures.append(f"went on to another network: {kind}")
                except Exception as error:
                    failures.append(repr(error))
            omp_mlp.TrainingState.load(path).save(path)
            failures += [f"{len(_drafts(folder))} drafts are left"] if _drafts(folder) else []
    return failures


_INTERRUPTS_OF_SAVE = """
signal.signal(signal.SIGALRM, signal.default_int_handler)
path = os.path.join(tempfile.mkdtemp(), "model")
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
    try:
        omp_mlp.load(path)
    except BaseException as error:
        failures.append(repr(error))
models[0].save(path)
if len(os.listdir(os.path.dirname(path))) > 1:
    failures.append("drafts are left")
"""

_SAVE = "omp_mlp.Model([np.eye(2)], [np.ones(2)]).save({path!r})"
_CHECKPOINT = (
    "omp_mlp.train_parallel(np.eye(4), np.arange(4) % 2, epochs=1, hidden_layer_sizes=(2,), "
    "checkpoint={path!r})"
)


def _order_on_disk(seed: int, count: int) -> Sequence[str]:
    """Look at the calls of the system: after a loss of power, the old or the new file is there."""
    del seed
    if shutil.which("strace") is None:
        raise SkipError("there is no strace")
    failures = []
    for k in range(count):
        with tempfile.TemporaryDirectory() as folder:
            log, path = Path(folder) / "log", os.path.join(folder, "file")
            script = "import warnings; warnings.simplefilter('ignore')\n"
            script += "import numpy as np, omp_mlp\n" + (_SAVE, _CHECKPOINT)[k % 2].format(
                path=path
            )
            calls = "trace=openat,write,fsync,rename,renameat,renameat2"
            command = ["strace", "-f", "-y", "-e", calls, "-o", str(log), sys.executable]
            subprocess.run([*command, "-c", script], check=True)
            failures += _wrong_order(log.read_text(), folder)
    return failures


def _wrong_order(log: str, folder: str) -> list[str]:
    """Return what is wrong in a log of calls, with the files that they are about (strace -y)."""
    steps = []
    for line in log.splitlines():
        call = line.split("(")[0].split()[-1]
        if folder not in line or call == "openat":
            continue
        about = "draft" if ".draft" in line else "folder"
        if not steps or steps[-1] != (call, about):
            steps.append((call, about))
    names = [f"{call} {about}" for call, about in steps]
    is_renamed = len(names) == 4 and names[2].startswith("rename")
    if not is_renamed or [*names[:2], names[3]] != ["write draft", "fsync draft", "fsync folder"]:
        return [f"the order was {names}"]
    return []


# A file that is there stays whole, whatever cannot be written; no draft stays; errors have a name.
_NO_ROOM = """
folder = os.path.join(tempfile.mkdtemp(), "small")
os.mkdir(folder)
import subprocess
room = 40 + 16 * (k % 20)
command = ["mount", "-t", "tmpfs", "-o", f"size={room}k,nr_inodes={3 + k % 4}", "tmpfs", folder]
subprocess.run(command, check=True, capture_output=True)
try:
    path = os.path.join(folder, "file")
    old = omp_mlp.Model([np.eye(2)], [np.ones(2)])
    old.save(path)
    wide = omp_mlp.Model([np.ones((20, 400))], [np.ones(400)])
    for write in (
        lambda: wide.save(path),
        lambda: fit(rng, hidden_layer_sizes=(400,), checkpoint=path),
        lambda: wide.save(os.path.join(folder, "other")),
    ):
        try:
            write()
        except OSError as error:
            if folder not in str(error):
                failures.append(f"no name of the file: {error!r}")
        is_state = b"omp_mlp_training_state" in open(path, "rb").read()
        omp_mlp.TrainingState.load(path) if is_state else omp_mlp.load(path)
        if any(name.endswith(".draft") for name in os.listdir(folder)):
            failures.append("a draft is left")
finally:
    subprocess.run(["umount", folder], check=True)
"""


def _no_room(seed: int, count: int) -> Sequence[str]:
    if sys.platform != "linux" or os.getuid() != 0:
        raise SkipError("it mounts a small disk in memory, which takes root on Linux")
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "tmpfs", folder]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            raise SkipError("disks in memory cannot be mounted here")
        subprocess.run(["umount", folder], check=True)
    return attempts(_NO_ROOM, apart=True)(seed, count)


TRIALS = (
    Trial("kills during save", 100, _kills_of_save),
    Trial("kills during checkpoints, and going on", 100, _kills_of_checkpoints),
    Trial("Ctrl-C during save", 400, attempts(_INTERRUPTS_OF_SAVE)),
    Trial("order of file, name and folder on the disk (strace)", 6, _order_on_disk),
    Trial("disks without room", 40, _no_room),
)
