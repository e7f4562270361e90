"""The command line: what it prints and writes, exit codes, and errors in one line."""

import errno
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import omp_mlp
from omp_mlp import cli
from omp_mlp.options import ROWS
from processes import start_python

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 3))
Y = np.where(X[:, 0] > 0, "yes", "no")
QUICK = ["--epochs", "2", "--batch-size", "4", "--learning-rate", "0.05", "--threads", "2"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with data.csv, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    rows = [",".join([*map(repr, row.tolist()), label]) for row, label in zip(X, Y, strict=True)]
    (tmp_path / "data.csv").write_text("\n".join(["a,b,c,y", *rows]) + "\n")
    return tmp_path


def run(capsys, *arguments, code=0):
    """Run a command, and return what it printed."""
    assert cli.main(list(arguments)) == code
    printed = capsys.readouterr()
    if code == 0:
        assert printed.err == ""
        return printed.out
    assert printed.out == ""
    assert printed.err.startswith("omp-mlp: ")
    assert printed.err.count("\n") == 1
    return printed.err


def train(capsys, *more, output="m.safetensors"):
    return run(capsys, "train", "data.csv", "--target", "y", "-o", output, *QUICK, *more)


def expected(**options):
    given = {"epochs": 2, "batch_size": 4, "learning_rate": 0.05, **options}
    return omp_mlp.train_parallel(X, Y, 2, **given)


def test_train_predict_and_score_do_what_the_library_does(folder, capsys):
    said = train(capsys, "--hidden-layer-sizes", "7,5", "--activation", "tanh", "--seed", "3")
    model = omp_mlp.load("m.safetensors")
    twin = expected(hidden_layer_sizes=(7, 5), activation="tanh", seed=3)
    np.testing.assert_array_equal(model._packed, twin._packed)
    assert said.splitlines()[0] == repr(model)

    lines = run(capsys, "predict", "m.safetensors", "data.csv", "--target", "y").splitlines()
    assert lines == ["prediction", *model.predict(X)]
    run(capsys, "predict", "m.safetensors", "data.csv", "--target", "y", "--proba", "-o", "p.csv")
    header, *rows = (folder / "p.csv").read_text().splitlines()
    assert header == "no,yes"
    got = [[float(cell) for cell in row.split(",")] for row in rows]
    np.testing.assert_allclose(got, model.predict_proba(X), rtol=1e-7)  # nine digits

    scored = json.loads(
        run(capsys, "score", "m.safetensors", "data.csv", "--target", "y", "--json")
    )
    assert scored == {"loss": pytest.approx(model.evaluate(X, Y)[0]), "accuracy": model.score(X, Y)}


def test_options_come_from_the_table():
    text = cli._parser().parse_args(
        ["train", "d.csv", "--target", "y", "-o", "m.safetensors", "--merge-every", "8,32"]
    )
    assert text.option_merge_every == (8, 32)
    described = cli._descriptions()
    for name in set(ROWS) - set(cli._NOT_TEXT):
        assert described[name], name
    assert cli._value("none") is None
    assert cli._value("False") is False
    assert cli._value("1e-3") == 0.001
    assert cli._value("cosine") == "cosine"
    assert cli._value("{'a': 2}") == {"a": 2}


def test_flags_weights_start_and_validation(folder, capsys):
    np.savez(folder / "data.npz", X=X, y=Y, w=np.arange(80.0))
    arguments = ["train", "data.npz", "--target", "y", "-o", "m.safetensors", *QUICK]
    run(capsys, *arguments, "--sample-weight", "w", "--no-early-stopping")
    twin = expected(sample_weight=np.arange(80.0))
    np.testing.assert_array_equal(omp_mlp.load("m.safetensors")._packed, twin._packed)
    np.savez(folder / "plain.npz", X=X, y=Y)
    arguments[1], arguments[5] = "plain.npz", "n.safetensors"
    arguments += ["--init", "m.safetensors", "--validation-data", "plain.npz", "--json"]
    report = json.loads(run(capsys, *arguments))
    again = expected(init=omp_mlp.load("m.safetensors"), validation_data=(X, Y))
    np.testing.assert_array_equal(omp_mlp.load("n.safetensors")._packed, again._packed)
    assert report["validation_score"] == again.history.validation_score[-1]
    assert report["threads"] == 2


def on_shell(command):
    """Run a command of a shell in this folder; return its exit code, output and errors.

    Output is buffered, as it is for users: Python writes what is left of it at its very end.
    """
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["sh", "-c", command.replace("omp-mlp", '"$0" -m omp_mlp'), sys.executable],
        env=buffered,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.usefixtures("folder")
def test_output_that_takes_nothing_is_named(capsys):
    train(capsys)
    said = run(capsys, "predict", "m.safetensors", "data.csv", "-o", "/dev/full", code=1)
    assert said == "omp-mlp: error: /dev/full: No space left on device\n"
    predict = "omp-mlp predict m.safetensors data.csv"
    full = "omp-mlp: error: standard output: No space left on device\n"
    assert on_shell(f"{predict} > /dev/full") == (1, "", full)
    assert on_shell("omp-mlp info > /dev/full") == (1, "", full)
    closed = "omp-mlp: error: standard output: Bad file descriptor\n"
    assert on_shell(f"{predict} >&-") == (1, "", closed)
    assert on_shell("omp-mlp info m.safetensors >&-") == (0, "", "")
    # What is an error is no answer, and goes nowhere else.
    assert on_shell("omp-mlp predict m.safetensors no.csv 2>&-") == (1, "", "")
    assert (
        on_shell(f"omp-mlp train data.csv --target y -o n.safetensors {' '.join(QUICK)} 2>&-")[0]
        == 0
    )
    assert omp_mlp.load("n.safetensors").layer_sizes == (3, 128, 2)


@pytest.mark.usefixtures("folder")
def test_standard_input_that_is_closed_or_no_text(capsys):
    train(capsys)
    code, out, err = on_shell("omp-mlp predict m.safetensors - <&-")
    assert (code, out) == (1, "")
    assert err == (
        "omp-mlp: error: standard input must be open to read CSV from it; it is closed\n"
    )
    code, out, err = on_shell("printf 'a\\n\\377' | omp-mlp predict m.safetensors -")
    assert (code, out) == (1, "")
    assert err.startswith("omp-mlp: error: standard input is not text in UTF-8: 'utf-8' codec")


@pytest.mark.usefixtures("folder")
def test_merge_convert_and_info(capsys):
    train(capsys)
    train(capsys, "--seed", "1", output="other.safetensors")
    run(capsys, "merge", "m.safetensors", "other.safetensors", "-o", "merged.safetensors")
    networks = [omp_mlp.load(name) for name in ("m.safetensors", "other.safetensors")]
    merged = omp_mlp.merge(networks)
    np.testing.assert_array_equal(omp_mlp.load("merged.safetensors")._packed, merged._packed)
    run(
        capsys,
        *("merge", "m.safetensors", "other.safetensors", "-o", "merged.safetensors"),
        *("--method", "refit_output", "--data", "data.csv", "--target", "y"),
    )
    refitted = omp_mlp.merge(networks, "refit_output", X=X, y=Y)
    np.testing.assert_array_equal(omp_mlp.load("merged.safetensors")._packed, refitted._packed)

    pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")
    run(capsys, "convert", "m.safetensors", "m.onnx")
    run(capsys, "convert", "m.onnx", "back.safetensors")
    np.testing.assert_array_equal(omp_mlp.load("back.safetensors")._packed, networks[0]._packed)
    assert run(capsys, "info", "m.safetensors") == networks[0].summary() + "\n"
    about = json.loads(run(capsys, "info", "m.onnx", "--json"))
    assert about["layer_sizes"] == [3, 128, 2]
    assert about["classes"] == ["no", "yes"]
    assert json.loads(run(capsys, "info", "--json"))["version"] == omp_mlp.__version__


def test_tables_are_encoded_and_found_by_their_names(folder, capsys):
    """Text that looks like numbers is text where the training had text."""
    kind = np.array(["1", "2", "x"])[np.arange(80) % 3]
    gaps = np.where(np.arange(80) % 7 == 0, "", X[:, 1].astype(str))
    rows = list(zip(kind, gaps, X[:, 0].astype(str), Y, strict=True))
    (folder / "mixed.csv").write_text("\n".join(map(",".join, [("kind", "gaps", "c", "y"), *rows])))
    options = ["--target", "y", "-o", "m.safetensors", *QUICK]
    said = run(capsys, "train", "mixed.csv", *options, "--validation-data", "mixed.csv")
    model = omp_mlp.load("m.safetensors")
    assert said.splitlines()[0] == repr(model) == "Model(6-128-2, relu, softmax)"
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"kind": kind, "gaps": pandas.to_numeric(gaps), "c": X[:, 0]})
    twin = omp_mlp.train_parallel(frame, Y, 2, epochs=2, batch_size=4, learning_rate=0.05)
    np.testing.assert_array_equal(model._packed, twin._packed)
    assert model.columns == twin.columns

    scored = json.loads(
        run(capsys, "score", "m.safetensors", "mixed.csv", "--target", "y", "--json")
    )
    assert scored["accuracy"] == twin.score(frame, Y)
    # In another order, beside other columns, with no kind that is not a number.
    ones = [("more", "c", "kind", "gaps"), *(("?", c, "1", gap) for _, gap, c, _ in rows)]
    (folder / "ones.tsv").write_text("\n".join(map("\t".join, ones)))
    got = run(capsys, "predict", "m.safetensors", "ones.tsv").splitlines()[1:]
    assert got == twin.predict(frame.assign(kind="1")).tolist()

    told = run(capsys, "info", "m.safetensors")
    assert "labels 1, 2, x" in told
    assert f"number, or {model.columns.encodings[1].median:.6g} if missing" in told
    assert told == model.summary() + "\n"
    about = json.loads(run(capsys, "info", "m.safetensors", "--json"))
    assert about["columns"]["names"] == ["kind", "gaps", "c"]
    assert about["columns"]["encodings"][0] == {"labels": ["1", "2", "x"], "median": None}
    message = "X must have the columns of the training; 1 of 3 are missing: 'kind'"
    (folder / "few.csv").write_text("gaps,c\n1,2\n")
    assert message in run(capsys, "predict", "m.safetensors", "few.csv", code=1)
    # Without names there is nothing to go by but the places.
    (folder / "bare.csv").write_text("1,0.5,0.25\n2,,1\n")
    bare = frame[:2].assign(kind=["1", "2"], gaps=[0.5, np.nan], c=[0.25, 1])
    got = run(capsys, "predict", "m.safetensors", "bare.csv").splitlines()[1:]
    assert got == twin.predict(bare).tolist()
    (folder / "bare.csv").write_text("1,0.5\n")
    assert "the 3 columns of the training; got 2" in run(
        capsys, "predict", "m.safetensors", "bare.csv", code=1
    )
    (folder / "gap.csv").write_text("c,y\n1,a\n2,\n")
    said = run(capsys, "train", "gap.csv", *options, code=1)
    assert "y must have a label or a value in every row; got None in row 1" in said


@pytest.mark.usefixtures("folder")
def test_bench_prints_a_rate_for_each_number_of_workers(capsys):
    report = json.loads(
        run(capsys, "bench", "data.csv", "--target", "y", "--repeat", "1", "--json")
    )
    assert (report["rows"], report["features"]) == (80, 3)
    assert all(rate > 0 for rate in report["samples_per_second"].values())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "data.csv", "--target", "z", "-o", "m.safetensors"], "no column 'z'"),
        (["train", "absent.csv", "--target", "y", "-o", "m.safetensors"], "absent.csv: No such"),
        (["train", "data.csv", "--target", "y", "-o", "m.h5"], "must end in .safetensors or .onnx"),
        (
            ["train", "data.csv", "--target", "y", "-o", "m.safetensors", "--epochs", "-1"],
            "epochs must be at least 0; got -1",
        ),
        (
            [
                *("train", "data.csv", "--target", "a", "-o", "m.safetensors"),
                *("--categorical-features", "none"),
            ],
            "X must hold numbers; got text or categories in column 'y'",
        ),
        (["train", "data.csv", "--target", "y", "-o", "no/m.onnx"], "no/m.onnx: No such file"),
        (["predict", "absent.safetensors", "data.csv", "-o", "p.csv"], "absent.safetensors"),
        (["info", "data.csv"], "not a readable safetensors file"),
        (["bench", "data.csv"], "needs --target"),
        (["merge", "absent.safetensors", "-o", "m.safetensors"], "absent.safetensors"),
    ],
)
def test_errors_are_one_line_and_leave_no_file(folder, capsys, arguments, message):
    assert message in run(capsys, *arguments, code=1)
    assert [path.name for path in folder.iterdir()] == ["data.csv"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("output, extra", [("no/m.safetensors", ""), ("m.onnx", "[onnx]")])
def test_what_cannot_be_written_is_said_before_the_training(capsys, monkeypatch, output, extra):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(cli, "train_parallel", lambda *_, **__: pytest.fail("it was trained"))
    message = run(capsys, "train", "data.csv", "--target", "y", "-o", output, code=1)
    assert output in message
    assert extra in message


def test_predictions_are_a_whole_file_or_none(folder, capsys):
    run(capsys, "train", "data.csv", "--target", "y", "-o", "m.safetensors", *QUICK)
    (folder / "there.csv").write_text("as it was", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", _is_full)
        run(capsys, "predict", "m.safetensors", "data.csv", "-o", "there.csv", code=1)
    assert (folder / "there.csv").read_text(encoding="utf-8") == "as it was"
    assert {path.name for path in folder.iterdir()} == {"data.csv", "m.safetensors", "there.csv"}
    predicted = run(capsys, "predict", "m.safetensors", "data.csv")
    run(capsys, "predict", "m.safetensors", "data.csv", "-o", "there.csv")
    assert (folder / "there.csv").read_text(encoding="utf-8") == predicted


def _is_full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "is_terminal, more, shows", [(True, [], True), (True, ["--quiet"], False), (False, [], False)]
)
def test_progress_is_for_terminals(monkeypatch, is_terminal, more, shows):
    asked = []

    def train_parallel(X, y, *, progress, **options):
        asked.append(progress)
        return omp_mlp.train_parallel(X, y, **options)

    monkeypatch.setattr(cli, "train_parallel", train_parallel)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    arguments = ["train", "data.csv", "--target", "y", "-o", "m.safetensors", *QUICK, *more]
    assert cli.main(arguments) == 0
    assert asked == [shows]


def test_wrong_arguments_exit_with_2(capsys):
    for arguments in ([], ["train"], ["merge", "a", "-o", "b", "--method", "none"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2
    capsys.readouterr()


def test_module_runs_with_standard_input_and_stops_at_ctrl_c(folder):
    command = [sys.executable, "-m", "omp_mlp"]
    data = (folder / "data.csv").read_bytes()
    done = subprocess.run(
        [
            *command,
            "train",
            "-",
            "--target",
            "y",
            "-o",
            "m.safetensors",
            *QUICK,
            "--threads",
            "1",
            "--json",
        ],
        input=data,
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""  # no terminal, no progress
    assert json.loads(done.stdout)["layer_sizes"] == [3, 128, 2]
    if os.name != "posix":
        return
    # Standard input stays open: the process waits for it until the signal comes.
    predict = """
    from omp_mlp.cli import main
    sys.exit(main(["predict", "m.safetensors", "-"]))
    """
    with start_python(predict, stdin=subprocess.PIPE) as waiting:
        assert waiting.stdin is not None
        waiting.stdin.write(data[: 1 << 10].decode())
        waiting.stdin.flush()
        # Reading has begun when the pipe is empty; before that, Python has its own handler already.
        while _unread(waiting.stdin.fileno()):
            pass
        waiting.send_signal(signal.SIGINT)
        assert waiting.stderr is not None
        said = waiting.stderr.read()
        assert waiting.wait() == 130
    assert said == "omp-mlp: interrupted\n"


def _unread(pipe):
    import array
    import fcntl
    import termios

    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]
