"""The command line: ``omp-mlp`` and ``python -m omp_mlp``."""

from __future__ import annotations

import argparse
import ast
import errno
import importlib.util
import inspect
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core, config, disk, errors
from omp_mlp.ensemble import Ensemble
from omp_mlp.extras import missing
from omp_mlp.frames import Frame
from omp_mlp.loading import load
from omp_mlp.merging.merge import merge
from omp_mlp.merging.methods import merge_methods
from omp_mlp.model import Model
from omp_mlp.options import DEFAULTS, ROWS
from omp_mlp.tables import SUFFIXES, Table, read_table
from omp_mlp.train import train_parallel

_STANDARD_OUTPUT = "standard output"
_FAILED, _INTERRUPTED, _PIPE_CLOSED = 1, 130, 141  # the last two as shells have them
_FAILURES = (
    ValueError, TypeError, ImportError, errors.TrainingDivergedError, errors.RankError
)  # fmt: skip

# Options of train_parallel that are no text: objects, or what the command line decides itself.
_NOT_TEXT = ("callback", "progress", "keep_replicas")
# Those whose text names a file or a column.
_NAMES = {
    "validation_data": ("FILE", "Score this table, which has the same columns, as it trains."),
    "checkpoint": ("FILE", "Write the state of the training to this file, to go on from it."),
    "resume": ("FILE", "Go on from the state in this file."),
    "sample_weight": ("COLUMN", "The column that has the weight of each row."),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.

    Returns
    -------
    int
        0; 1 if the command failed, with one line on standard error; 130 after Ctrl-C. Wrong
        arguments exit with 2.
    """
    given = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            given.run(given)
        if sys.stdout is not None:
            with disk.naming(_STANDARD_OUTPUT):
                sys.stdout.flush()
    except KeyboardInterrupt:
        _complain("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:  # whoever read the output has seen enough
        _drop_output()
        return _PIPE_CLOSED
    except _ToldElsewhereError:
        return _FAILED
    except OSError as error:
        named = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _complain(f"error: {named}")
        if error.filename == _STANDARD_OUTPUT:
            _drop_output()
        return _FAILED
    except _FAILURES as error:
        _complain(f"error: {error}")
        return _FAILED
    return 0


def _drop_output() -> None:
    """Let nobody get what is still to be written, which Python tries once more at its end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _ToldElsewhereError(Exception):
    """Ends the work of a rank whose error another rank shows."""


def _complain(text: str) -> None:
    if sys.stderr is not None:  # else print would write to standard output
        print(f"omp-mlp: {' '.join(text.split())}", file=sys.stderr)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:  # noqa: ANN401
    _complain(f"warning: {message}")


# ------------------------------------------------------------------------------------ the arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="omp-mlp",
        description="Train multilayer perceptrons in parallel on CPU cores.",
        epilog=f"DATA is a file {', '.join(SUFFIXES)}, or - for CSV from standard input.",
    )
    version = _core.build_config()["version"]
    parser.add_argument("--version", action="version", version=f"omp-mlp {version}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], None], summary: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        added.add_argument("--json", action="store_true", help="print one JSON object")
        added.set_defaults(run=run)
        return added

    train = command("train", _train, "Train a network on a table.")
    train.add_argument("data", metavar="DATA")
    train.add_argument("--target", required=True, metavar="COLUMN", help="what to learn")
    train.add_argument("-o", "--output", required=True, metavar="MODEL", help="the file to write")
    train.add_argument("--quiet", action="store_true", help="show no progress")
    _add_options_of_ranks(train.add_argument_group("options of several processes"))
    _add_options(train.add_argument_group("options of train_parallel"))

    predict = command("predict", _predict, "Print a label, or values, for each row.")
    _add_model_and_data(predict, target_is_needed=False)
    predict.add_argument("--proba", action="store_true", help="print probabilities")
    predict.add_argument("-o", "--output", metavar="FILE", help="a CSV file instead of the screen")

    score = command("score", _score, "Print loss and accuracy, or R^2, on a table.")
    _add_model_and_data(score, target_is_needed=True)

    merging = command("merge", _merge, "Merge networks that are trained.")
    merging.add_argument("models", nargs="+", metavar="MODEL")
    merging.add_argument("-o", "--output", required=True, metavar="MODEL")
    names = [method.name for method in merge_methods()]
    merging.add_argument(
        "--method", default="average", choices=names, metavar="METHOD", help=", ".join(names)
    )
    merging.add_argument("--base", metavar="MODEL", help="the network that all started from")
    merging.add_argument("--data", metavar="DATA", help="samples for the methods that need them")
    merging.add_argument("--target", metavar="COLUMN", help="the target in DATA")
    merging.add_argument(
        "--merge-options", type=_value, metavar="DICT", help="such as \"{'alpha': '1/n'}\""
    )

    converting = command("convert", _convert, "Convert a network by the ends of the names.")
    converting.add_argument("source", metavar="FROM", help=".safetensors or .onnx")
    converting.add_argument(
        "output", metavar="TO", help=".safetensors, .onnx, or .pt (state_dict of to_torch)"
    )

    info = command("info", _info, "Describe a network, or this installation.")
    info.add_argument("model", nargs="?", metavar="MODEL")

    bench = command("bench", _bench, "Measure how fast this machine trains.")
    bench.add_argument("data", nargs="?", metavar="DATA", help="default: made-up images")
    bench.add_argument("--target", metavar="COLUMN")
    bench.add_argument("--repeat", type=int, default=3, metavar="N", help="default: 3")
    return parser


def _add_model_and_data(parser: argparse.ArgumentParser, *, target_is_needed: bool) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("data", metavar="DATA")
    parser.add_argument(
        "--target",
        required=target_is_needed,
        metavar="COLUMN",
        help="what the network has learned" if target_is_needed else "a column to leave out",
    )


def _add_options_of_ranks(group: Any) -> None:  # noqa: ANN401 - as below
    group.add_argument(
        "--mpi",
        action="store_true",
        help="train with all processes that mpiexec starts; --threads counts the replicas of each",
    )
    for name, words in (
        ("--deterministic", "merge with the bits of one process"),
        ("--overlap", "train on while what the processes have learned travels between them"),
    ):
        group.add_argument(
            name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=words
        )
    for name, kind, unit, words in (
        (
            *("--merge-ranks-every", _value, "VALUE"),
            "merges of a process by itself from one merge of all processes to the next",
        ),
        (
            *("--send", _value, "VALUE"),
            "what a process sends of its updates: float32, bfloat16, or a share, the largest",
        ),
        ("--timeout", float, "SECONDS", "how long a process waits for the others"),
    ):
        group.add_argument(name, type=kind, default=argparse.SUPPRESS, metavar=unit, help=words)


def _add_options(group: Any) -> None:  # noqa: ANN401 - argparse's group has no public type
    """Add an option for each row of the table of options."""
    described = _descriptions()
    for name in ROWS:
        if name in _NOT_TEXT:
            continue
        metavar, text = _NAMES.get(name, ("VALUE", described.get(name, "")))
        reading: dict[str, Any] = {"type": str if name in _NAMES else _value, "metavar": metavar}
        if isinstance(DEFAULTS[name], bool):
            reading = {"action": argparse.BooleanOptionalAction}
        group.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"option_{name}",
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
            **reading,
        )


def _descriptions() -> dict[str, str]:
    """Return the type and the first sentence of each parameter, from the docstring."""
    text = (inspect.getdoc(train_parallel) or "").partition("Returns\n-------")[0]
    found = re.findall(r"^(\w+) : (.+)\n((?:    .*\n|\n)*)", text, re.MULTILINE)
    described = {}
    for name, kind, body in found:
        text = re.sub(r":\w+:`([^`]*)`", r"\1", " ".join(body.split()))
        sentence = re.split(r"(?<=[.:])\s", text, maxsplit=1)[0]
        described[name] = f"{kind}. {sentence.rstrip(':')}"
    return described


def _value(text: str) -> Any:  # noqa: ANN401 - the table of options checks it
    """Return what a text means: a Python literal, true, false or none, else the text itself."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


# ------------------------------------------------------------------------------------- the commands


def _train(given: argparse.Namespace) -> None:
    options = {
        name.removeprefix("option_"): value
        for name, value in vars(given).items()
        if name.startswith("option_")
    }
    for name, value in options.items():
        if isinstance(DEFAULTS[name], tuple) and not isinstance(value, (tuple, list)):
            options[name] = (value,)  # a single layer
    _needs_suffix(given.output, (".safetensors", ".onnx"))
    if isinstance(options.get("init"), str) and options["init"].endswith(".safetensors"):
        options["init"] = load(options["init"])
    options["progress"] = (
        sys.stderr is not None
        and sys.stderr.isatty()
        and not given.quiet
        and importlib.util.find_spec("tqdm") is not None
    )
    of_ranks = {
        name: getattr(given, name)
        for name in ("deterministic", "merge_ranks_every", "send", "overlap", "timeout")
        if hasattr(given, name)
    }
    if given.mpi:
        _train_on_ranks(given, options, of_ranks)
        return
    if of_ranks:
        name = next(iter(of_ranks)).replace("_", "-")
        raise ValueError(f"--{name} goes with --mpi; got no --mpi")
    _check_writable(given.output)
    X, y = _read_samples(given, options, slice)
    _finish(given, train_parallel(X, y, **options), {})


def _train_on_ranks(
    given: argparse.Namespace, options: dict[str, Any], of_ranks: dict[str, Any]
) -> None:
    """Train with the other ranks; the first one writes the network and prints."""
    from omp_mlp import mpi
    from omp_mlp.distributed.data import share_of_rows

    job = mpi.job(of_ranks.get("timeout"))
    threads = options.get("threads")
    of_one = threads if isinstance(threads, int) and threads > 0 else 1
    if job.rank > 0:
        options["progress"] = False
        warnings.simplefilter("ignore")  # the first rank has the same

    def own(n_rows: int) -> slice:
        return share_of_rows(n_rows, job.rank, job.size, of_one)

    def read() -> tuple[Frame | npt.NDArray[Any], npt.NDArray[Any]]:
        if job.rank == 0:
            _check_writable(given.output)
        return _read_samples(given, options, own)

    def finish() -> None:
        if job.rank == 0:
            _finish(given, model, {"ranks": job.size})

    try:
        X, y = job.together(read)
        model = mpi.train_parallel(X, y, **options, **of_ranks)
        job.together(finish)
    except Exception as error:
        if mpi.is_told_here(job, error):
            raise
        raise _ToldElsewhereError from error


def _read_samples(
    given: argparse.Namespace, options: dict[str, Any], rows: Callable[[int], slice]
) -> tuple[Frame | npt.NDArray[Any], npt.NDArray[Any]]:
    """Return X and y, of some rows; put what names a file or a column in the options' place."""
    weight = options.pop("sample_weight", None)
    besides = [given.target] + ([weight] if weight is not None else [])
    table = read_table(given.data).rows(rows)
    X, y = _data(table, given.target, besides)
    if weight is not None:
        options["sample_weight"] = table.column(weight)
    if "validation_data" in options:
        options["validation_data"] = _data(
            read_table(options["validation_data"]), given.target, besides
        )
    return X, y


def _finish(given: argparse.Namespace, model: Any, besides: dict[str, Any]) -> None:  # noqa: ANN401
    """Write a network that was trained, and report."""
    _write(model, given.output)
    history = model.history
    scores = history.validation_score[~np.isnan(history.validation_score)]
    _report(
        given,
        {
            "model": given.output,
            "layer_sizes": list(model.layer_sizes),
            "threads": history.threads,
            **besides,
            "rounds": len(history),
            "samples": int(history.samples[-1]) if len(history) else 0,
            "loss": float(history.loss[-1]) if len(history) else None,
            "validation_score": float(scores[-1]) if len(scores) else None,
            "seconds": float(history.train_seconds.sum() + history.merge_seconds.sum()),
        },
        f"{model!r}\n{history!r}\n{given.output}",
    )


def _predict(given: argparse.Namespace) -> None:
    model = _load(given.model)
    table = read_table(given.data)
    X = table.inputs([given.target] if given.target is not None else [])
    answers = model.predict_proba(X) if given.proba else model.predict(X)
    columns = answers.reshape(len(answers), -1)
    if given.proba and model.classes is not None:
        names = [str(label) for label in model.classes.tolist()]
    else:
        names = ["prediction"] if columns.shape[1] == 1 else list(map(str, range(columns.shape[1])))
    if given.json:
        text = json.dumps({"columns": names, "rows": columns.tolist()}) + "\n"
    else:
        text = "".join(f"{','.join(map(_cell, row))}\n" for row in [names, *columns.tolist()])
    if given.output is None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), _STANDARD_OUTPUT)
        _print(text)
    elif os.path.exists(given.output) and not os.path.isfile(given.output):  # /dev/stdout, a pipe
        with disk.naming(given.output), open(given.output, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        disk.write_whole(given.output, text.encode())


def _cell(value: object) -> str:
    """Return a cell of CSV."""
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text


def _score(given: argparse.Namespace) -> None:
    model = _load(given.model)
    loss, score = model.evaluate(*_data(read_table(given.data), given.target, [given.target]))
    what = "accuracy" if model.classes is not None or model.multilabel else "r2"
    _report(given, {"loss": loss, what: score}, f"loss: {loss:.6g}\n{what}: {score:.6g}")


def _merge(given: argparse.Namespace) -> None:
    _needs_suffix(given.output, (".safetensors", ".onnx"))
    X, y = None, None
    if given.data is not None:
        table = read_table(given.data)
        if given.target is None:
            X = table.inputs([])
        else:
            X, y = _data(table, given.target, [given.target])
    merged = merge(
        [_load(path) for path in given.models],
        given.method,
        base=None if given.base is None else _load(given.base),
        X=X,
        y=y,
        merge_options=given.merge_options,
    )
    _write(merged, given.output)
    _report(
        given,
        {"model": given.output, "method": given.method, "models": given.models},
        f"{merged!r}\n{given.output}",
    )


def _convert(given: argparse.Namespace) -> None:
    _needs_suffix(given.output, (".safetensors", ".onnx", ".pt"))
    model = _load(given.source)
    _write(model, given.output)
    _report(given, {"model": given.output}, f"{model!r}\n{given.output}")


def _info(given: argparse.Namespace) -> None:
    if given.model is None:
        built = config.build_config()
        _report(given, built, None)
        if not given.json:
            with disk.naming(_STANDARD_OUTPUT):
                config.show_config()
        return
    model = _load(given.model)
    about = {
        "kind": type(model).__name__,
        "layer_sizes": list(model.layer_sizes),
        "activation": model.activation,
        "output_activation": model.output_activation,
        "multilabel": model.multilabel,
        "classes": None if model.classes is None else model.classes.tolist(),
        "columns": None if model.columns is None else model.columns.as_dict(),
        "scaled_inputs": model.input_scaling is not None,
        "scaled_targets": model.target_scaling is not None,
        "rounds": len(model.history),
    }
    _report(given, about, model.summary())


def _bench(given: argparse.Namespace) -> None:
    if given.repeat < 1:
        raise ValueError(f"--repeat must be at least 1; got {given.repeat}")
    X: Frame | npt.NDArray[Any]
    if given.data is None:
        X, y = _made_up()
    elif given.target is None:
        raise ValueError("bench DATA needs --target; got none")
    else:
        X, y = _data(read_table(given.data), given.target, [given.target])
    cores = config.build_config()["workers"]
    assert isinstance(cores, int)
    rates = {}
    for workers in sorted({1, cores}):
        times = []
        for _ in range(given.repeat):
            begin = time.perf_counter()
            model = train_parallel(
                X, y, cores, epochs=1, batch_size=8, learning_rate=0.01, workers=workers
            )
            times.append(time.perf_counter() - begin)
        rates[workers] = len(X) / min(times)
    _report(
        given,
        {"rows": len(X), "features": model.layer_sizes[0], "samples_per_second": rates},
        "\n".join(f"workers={workers}: {rate:,.0f} samples/s" for workers, rate in rates.items()),
    )


def _made_up() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return bytes with the shape and the density of MNIST, 19 % of them not zero."""
    rng = np.random.default_rng(0)
    X = rng.integers(1, 256, size=(20_000, 784), dtype=np.uint8)
    X[rng.random(X.shape, dtype=np.float32) > 0.19] = 0
    return X, rng.integers(0, 10, len(X))


# --------------------------------------------------------------------------- files and what is said


def _data(
    table: Table, target: str, besides: Sequence[str]
) -> tuple[Frame | npt.NDArray[Any], npt.NDArray[Any]]:
    """Return X and y."""
    y = table.column(target)
    return table.inputs(besides), y


def _needs_suffix(path: str, suffixes: Sequence[str]) -> None:
    if not path.endswith(tuple(suffixes)):
        raise ValueError(f"the file to write must end in {' or '.join(suffixes)}; got {path}")


def _check_writable(path: str) -> None:
    """Check that a network can be written to a file, before work is done for it."""
    try:
        disk.check_writable(path)
    except FileNotFoundError as error:  # the folder, in the words that writing would have
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
    if path.endswith(".onnx") and importlib.util.find_spec("onnx") is None:
        raise missing(f"writing {path}", "onnx", "onnx")


def _load(path: str) -> Any:  # noqa: ANN401 - a Model or an Ensemble
    return Model.from_onnx(path) if path.endswith(".onnx") else load(path)


def _write(model: Any, path: str) -> None:  # noqa: ANN401 - a Model or an Ensemble
    if path.endswith(".safetensors"):
        model.save(path)
    elif isinstance(model, Ensemble):
        raise TypeError(f"an ensemble goes into a file .safetensors; got {path}")
    elif path.endswith(".onnx"):
        model.to_onnx(path)
    else:
        from omp_mlp.convert.torch import save_state

        save_state(model.to_torch(), path)


def _report(given: argparse.Namespace, facts: dict[str, Any], text: str | None) -> None:
    if given.json:
        _print(json.dumps(facts) + "\n")
    elif text is not None:
        _print(text + "\n")


def _print(text: str) -> None:
    if sys.stdout is not None:
        with disk.naming(_STANDARD_OUTPUT):
            sys.stdout.write(text)
