"""benchmarks/common: what all benchmarks share."""

import argparse
import json
import subprocess
import sys
from contextlib import closing

import numpy as np
import pytest

from benchmarks.common import (
    arguments,
    data,
    documents,
    files,
    machine,
    others,
    pictures,
    process,
    progress,
    tables,
    timing,
)

ABOUT = {
    "command": "make things",
    "started": "2026-01-02T03:04:05+00:00",
    "options": {"quick": False, "threads": [1, 2]},
    "machine": {
        "processor": "Some Core",
        "family": "25",
        "model": "17",
        "cores": 8,
        "cores_available": 2,
        "operating_system": "Linux 6.1",
        "python": "3.11.2",
    },
    "build": {"version": "0.1.0", "compiler": "GNU 12", "kernels": "avx2", "openmp": ""},
    "source": {"commit": "v0.1-3-gabcdef", "dirty": True},
}


# ---- arguments ----


def test_a_parser_knows_the_options_that_were_named_and_no_other():
    parser = arguments.parser("What it does.\n\nHow.", "threads", "quick", "out", seeds=3)
    found = parser.parse_args(["--threads", "1", "8"])
    assert vars(found) == {"threads": [1, 8], "quick": False, "out": files.RESULTS, "seeds": 3}
    assert parser.description == "What it does."
    with pytest.raises(SystemExit):
        parser.parse_args(["--limit", "3"])


@pytest.mark.parametrize("text", ["0", "-2"])
def test_positive_refuses_what_is_below_one(text):
    assert arguments.positive("1") == 1
    with pytest.raises(argparse.ArgumentTypeError, match=f"at least 1, got {text}"):
        arguments.positive(text)


# ---- machine ----


def test_a_processor_is_named_from_what_linux_says_of_the_first_core(monkeypatch):
    said = (
        "processor\t: 0\nmodel\t\t: 17\ncpu family\t: 25\nmodel name\t: Some   Core\n"
        "flags\t\t: fpu avx2 avx512f amx_tile\n\nprocessor\t: 1\nmodel name\t: Another\n"
    )
    monkeypatch.setattr(machine.Path, "read_text", lambda *_, **__: said)
    found = machine.describe_machine()
    assert (found["processor"], found["family"], found["model"]) == ("Some Core", "25", "17")
    assert found["instruction_sets"] == ["avx2", "avx512f", "amx_tile"]
    assert 1 <= found["cores_available"] <= found["cores"]


def test_lines_name_machine_build_and_commit():
    assert machine.stamp(ABOUT) == (
        "Measured at commit v0.1-3-gabcdef with changes on Some Core (family 25, model 17), 2 "
        "cores of 8, Linux 6.1, Python 3.11.2; version 0.1.0, compiler GNU 12, kernels avx2."
    )
    quick = {**ABOUT, "options": {"quick": True}}
    assert machine.stamp(quick).endswith("avx2. A quick run, to be replaced.")


def test_the_source_is_the_commit_and_whether_files_were_changed_since(tmp_path):
    def git(*words):
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)

    assert machine.describe_source(tmp_path) == {"commit": "unknown", "dirty": None}
    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "One")
    git("-c", "user.name=a", "-c", "user.email=a@b", "tag", "-a", "v7", "-m", "seven")
    assert machine.describe_source(tmp_path) == {"commit": "v7", "dirty": False}
    (tmp_path / "file").write_text("2")
    assert machine.describe_source(tmp_path) == {"commit": "v7", "dirty": True}
    # A folder within a checkout is not the checkout.
    (tmp_path / "inner").mkdir()
    assert machine.describe_source(tmp_path / "inner")["commit"] == "unknown"


def test_the_build_is_described_in_what_json_knows():
    build = machine.describe_build()
    assert build["kernels"] in build["kernels_available"]
    assert json.loads(json.dumps(build)) == build


# ---- data ----


def test_digits_are_there_without_a_network_and_have_the_shape_that_was_asked_for():
    found = data.load("digits", 60, split="paper", dtype="float32")
    assert (found.X.shape, found.X_test.shape) == ((60, 784), (12, 784))
    described = found.describe()
    assert described["dtype"] == "float32"
    assert described["nonzero_share"] == np.mean(found.X != 0)
    assert data.line(described) == (
        "augmented digits (scikit-learn), 60 training and 12 test samples"
    )


def test_auto_falls_back_to_digits_and_says_so(monkeypatch, capsys):
    def missing(*_, **__):
        raise data.datasets.DatasetNotFoundError("no MNIST here")

    monkeypatch.setattr(data.datasets, "load_mnist", missing)
    assert data.load("auto", 24).slug == "augmented-digits"
    assert "going on with augmented digits" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no MNIST here"):
        data.load("mnist", 24)


def test_mnist_is_limited_and_its_last_training_samples_can_be_held_out(monkeypatch):
    X = np.arange(60, dtype=np.uint8)[:, None]
    monkeypatch.setattr(
        data.datasets, "load_mnist", lambda *_, **__: (X, X[:, 0] % 10, X[:10], X[:10, 0])
    )
    found = data.load("mnist", 30)
    assert (len(found.X), len(found.X_test), found.slug) == (30, 5, "mnist")
    split = found.held_out(10)
    np.testing.assert_array_equal(split.X_test[:, 0], [25, 26, 27, 28, 29])
    np.testing.assert_array_equal(split.X[:, 0], np.arange(25))
    np.testing.assert_array_equal(split.y_test, split.X_test[:, 0] % 10)


# ---- timing ----


def test_cells_take_turns_and_every_second_pass_goes_backwards():
    order = []

    def measure(cell):
        order.append(cell)
        return len(order)

    assert timing.in_turn("abc", measure, 3) == [[1, 6, 7], [2, 5, 8], [3, 4, 9]]
    assert "".join(order) == "abccbaabc"


def test_a_budget_ends_passes_but_not_the_first_ones():
    found = timing.in_turn("ab", lambda cell: cell, 9, budget=0.0)
    assert found == [["a"] * 3, ["b"] * 3]


def test_summaries_by_hand():
    assert timing.summarise([3.0, 1.0, 2.0, 10.0]) == {
        "median": 2.5,
        "mean": 4.0,
        "sd": pytest.approx(np.sqrt((1 + 9 + 4 + 36) / 3)),
        "min": 1.0,
        "max": 10.0,
        "runs": [3.0, 1.0, 2.0, 10.0],
    }
    assert timing.summarise([2.0])["sd"] is None
    # Of the ratios within each pass, not of medians: those would be 4 / 2.
    assert timing.ratios([2.0, 4.0, 9.0], [1.0, 4.0, 2.0])["median"] == 2.0


class _Cores(timing.Probe):
    """A probe that is told how long its piece of work takes."""

    def __init__(self, patience, seconds):
        super().__init__(1, 0.0)
        self._told, self._least, self.patience = iter(seconds), 1.0, patience

    def seconds(self):
        return next(self._told)


def test_a_measurement_is_repeated_while_others_slow_down_the_cores(monkeypatch):
    monkeypatch.setattr(timing.time, "sleep", lambda _: None)
    taken = []

    def measure():
        taken.append(None)
        return len(taken)

    # Disturbed before; quiet before and disturbed after; quiet before and after.
    probe = _Cores(100.0, [2.0, 1.05, 1.2, 1.1, 1.0])
    assert probe.undisturbed(measure) == 2


def test_without_patience_the_cores_are_not_looked_at():
    probe = _Cores(0.0, [])
    assert probe.undisturbed(lambda: "measured") == "measured"


def test_a_probe_takes_a_tenth_more_than_the_least_for_disturbed():
    probe = _Cores(1.0, [0.9, 0.99, 1.0, 0.8, 0.9])
    assert [probe.is_quiet() for _ in range(5)] == [True, True, False, True, False]


def test_a_probe_times_work_of_its_own():
    assert timing.Probe(1, 0.0).seconds() > 0


def test_progress_is_silent_between_lines_about_one_thing(capsys, monkeypatch):
    now = iter([0.0, 3.0, 11.0, 11.0, 11.0, 12.0, 13.0, 13.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(now))
    say = progress.Progress()
    say("too soon")
    say("first")
    say("too soon again")
    say.say("said anyway")
    assert capsys.readouterr().out == "[   11 s] first\n[   13 s] said anyway\n"


# ---- files ----


def test_json_is_strict_whole_and_has_a_line_for_what_holds_no_other(tmp_path):
    path = files.write_json(
        tmp_path / "a.json",
        {"runs": np.array([1.5, np.nan]), "n": np.int64(3), 4: {"deep": [{"x": (1,)}]}, "e": {}},
    )
    assert json.loads(path.read_text()) == {
        "runs": [1.5, None],
        "n": 3,
        "4": {"deep": [{"x": [1]}]},
        "e": {},
    }
    assert '"runs": [1.5, null],' in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_json_has_a_line_for_each_row_and_not_for_each_number(tmp_path):
    content = {"chosen": {"8": {"every": [8, 64]}}, "rows": [[1, [2, 3]], [4, [5, None]]]}
    assert files.write_json(tmp_path / "a.json", content).read_text() == (
        '{\n "chosen": {\n  "8": {"every": [8, 64]}\n },\n'
        ' "rows": [\n  [1, [2, 3]],\n  [4, [5, null]]\n ]\n}\n'
    )
    long = {"runs": [list(range(120)), list(range(120))]}
    assert files.write_json(tmp_path / "a.json", long).read_text().count("\n") == 6


def test_rows_of_one_kind_become_a_table_and_come_back():
    rows = [{"name": "a", "seconds": np.float64(0.123456), "n": 12345, "best": True},
            {"name": "b", "seconds": None, "n": 2, "best": False}]  # fmt: skip
    table = files.as_columns(rows, 3)
    assert table["columns"] == ["name", "seconds", "n", "best"]
    assert table["rows"] == [["a", 0.123, 12345, True], ["b", None, 2, False]]
    assert files.from_columns(json.loads(json.dumps(table)))[0] == {**rows[0], "seconds": 0.123}


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path):
    path = files.write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(UnicodeEncodeError):
        files.write_json(path, {"x": "\udc80"})
    assert files.read_json(path) == {"x": 1}


def test_results_are_there_after_every_piece_and_are_gone_on_with(tmp_path):
    path = tmp_path / "new" / "run.json"
    results = files.Results(path, ABOUT)
    assert results.take("time/a", lambda: {"seconds": np.float64(2)}) == {"seconds": 2.0}

    def fails():
        raise RuntimeError("ended")

    with pytest.raises(RuntimeError, match="ended"):
        results.take("time/b", fails)
    stored = files.read_json(path)
    assert stored["pieces"] == {"time/a": {"seconds": 2.0}}
    assert stored["command"] == "make things"

    later = files.Results(path, ABOUT, resume=True)
    assert later.take("time/a", fails) == {"seconds": 2.0}
    later.take("score", lambda: 5)
    later.write(verdict="met")
    assert files.read_json(path)["verdict"] == "met"

    again = files.Results(path, ABOUT, resume=True, again=["time"])
    assert again.content["pieces"] == {"score": 5}
    assert set(again.content["seconds"]) == {"score"}


def test_a_run_with_other_options_or_of_another_commit_is_not_gone_on_with(tmp_path):
    path = tmp_path / "run.json"
    with pytest.raises(SystemExit, match="no earlier run"):
        files.Results(path, ABOUT, resume=True)
    files.Results(path, ABOUT).write(kept=1)
    assert files.Results(path, ABOUT, resume=True).content["kept"] == 1
    other = {**ABOUT, "options": {"quick": True, "threads": [1, 2]}}
    with pytest.raises(SystemExit, match=r"has options .*'quick': False.*; expected"):
        files.Results(path, other, resume=True)
    other = {**ABOUT, "source": {"commit": "later", "dirty": False}}
    with pytest.raises(SystemExit, match=r"has source .*gabcdef.*; expected .*later"):
        files.Results(path, other, resume=True)


# ---- tables ----


def test_tables_in_plain_text():
    rows = [["a", "1\nx"], ["long", "20"]]
    assert tables.as_text(["", "n"], rows, numeric=True) == (
        "       n\n----  --\na      1\n       x\nlong  20"
    )


def test_tables_in_markdown():
    assert tables.as_markdown(["", "n"], [["a", "1\n2"]], numeric=True) == (
        "|  | n |\n| --- | ---: |\n| a | 1<br>2 |"
    )


# ---- pictures ----


def test_a_picture_is_saved_as_png_with_its_title(tmp_path):
    from matplotlib.figure import Figure

    with pictures.style():
        fig = Figure(figsize=(4, 3))
        ax = fig.subplots()
        ax.plot([1, 2], [3, 4], label="curve")
        pictures.band(ax, [1, 2], [2, 3], [4, 5], pictures.COLOURS["blue"])
        pictures.caption(fig, "Title", "subtitle", ["a note " * 30], legend=ax)
        path = pictures.save(fig, tmp_path / "folder" / "name-1.5.png")
    assert path == tmp_path / "folder" / "name-1.5.png"
    assert b"name-1.5\0" not in path.read_bytes()
    assert b"Title\0name-1.5" in path.read_bytes()
    assert [text.get_text() for text in fig.texts][:2] == ["Title", "subtitle"]


# ---- documents ----

PAGE = """# Page

By hand.

<!-- speed: generated by make things -->
old
<!-- end -->

<!-- names: written by make things -->
<!-- end -->

<!-- other: generated by make others -->
stays
<!-- end -->
"""


def test_blocks_of_one_command_are_filled_and_stamped():
    text = documents.filled(PAGE, "make things", {"speed": "| new |\n", "names": "a, b"}, ABOUT)
    speed, names, other = documents.blocks_of(text)
    assert speed.text == f"| new |\n\n*{machine.stamp(ABOUT)}*"
    assert (names.text, names.measured) == ("a, b", False)
    assert other == documents.Block("other", "make others", "stays", measured=True)
    # The same again leaves everything as it is.
    assert documents.filled(text, "make things", {"speed": "| new |", "names": "a, b"}, ABOUT) == (
        text
    )


def test_no_block_of_an_earlier_run_may_stay():
    with pytest.raises(ValueError, match=r"named \['names', 'speed'\]; expected .*\['speed'\]"):
        documents.filled(PAGE, "make things", {"speed": ""}, ABOUT)
    with pytest.raises(ValueError, match="'speed' is measured and has no results"):
        documents.filled(PAGE, "make things", {"speed": "", "names": ""}, None)


def test_text_without_blocks_keeps_the_numbers_of_its_lines():
    text = documents.without_blocks(PAGE)
    assert "old" not in text
    assert "By hand." in text
    assert text.count("\n") == PAGE.count("\n")


def test_publishing_writes_page_json_and_pictures(tmp_path):
    docs, picture = tmp_path / "docs", tmp_path / "speed.png"
    docs.mkdir()
    (docs / "page.md").write_text(PAGE)
    other = {"command": "make others"}
    stored = {"quoted": [1], "earlier": {"command": "make things"}, "other": other}
    files.write_json(docs / "page.json", stored)
    picture.write_bytes(b"png")
    results = {**ABOUT, "pieces": {"x": 1}}
    written = documents.publish(
        "page.md", "things", results, {"speed": "new", "names": "a"}, [picture], docs=docs
    )
    assert written == [docs / "page.md", docs / "page.json", docs / "figures" / "speed.png"]
    expected = {"things": results, "quoted": [1], "other": other}
    assert files.read_json(docs / "page.json") == expected
    assert "\nnew\n" in (docs / "page.md").read_text()
    assert (docs / "figures" / "speed.png").read_bytes() == b"png"


# ---- process ----

_ANSWERING = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "end":
        print("last words", file=sys.stderr)
        break
    print(json.dumps({"error": "not this"} if request["do"] == "fail" else request), flush=True)
"""


def _process():
    return process.Process("child", [sys.executable, "-c", _ANSWERING], data=3)


def test_a_process_answers_reports_errors_and_goes_on():
    with closing(_process()) as child:
        assert child.about == {"do": "open", "data": 3}
        with pytest.raises(process.ProcessError, match="child: not this"):
            child.ask("fail")
        assert child.ask("train", samples=4) == {"do": "train", "samples": 4}


def test_a_process_that_ends_is_an_error_with_its_last_words():
    with closing(_process()) as child:
        with pytest.raises(process.ProcessError, match="child: the process ended: last words"):
            child.ask("end")
        with pytest.raises(process.ProcessError, match="the process ended"):
            child.ask("train")
    with pytest.raises(process.ProcessError, match="ZeroDivisionError"):
        process.Process("child", [sys.executable, "-c", "1 / 0"])


def _write_processes(folder, cores, processes):
    """Write /proc of a machine: ticks of the states of all cores, and (parent, name, ticks)."""
    (folder / "stat").write_text(f"cpu  {' '.join(map(str, cores))}\ncpu0 1 2 3\n")
    for pid, (parent, name, ticks) in processes.items():
        (folder / str(pid)).mkdir(exist_ok=True)
        fields = ["S", parent, *[9] * 9, *ticks, 20, 0]
        (folder / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")


def test_others_are_all_processes_but_this_one_and_those_below_it(monkeypatch, tmp_path):
    now = iter([10.0, 12.0])
    monkeypatch.setattr(others, "_PROC", tmp_path)
    monkeypatch.setattr(others.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(others.os, "getpid", lambda: 7)
    monkeypatch.setattr(others.os, "sysconf", lambda _: 100)
    (tmp_path / "uptime").write_text("not a process")
    processes = {
        7: (1, "python", (10, 10, 10, 10)), 8: (7, "a) b (", (5, 5, 0, 0)),
        9: (8, "below", (20, 0, 0, 0)), 10: (1, "another", (1000, 0, 0, 0)),
    }  # fmt: skip
    # Idle cores, and those that wait for a disk, do not work.
    _write_processes(tmp_path, [500, 100, 300, 7777, 888, 50, 50, 70, 0, 0], processes)
    watch = others.Others()
    processes |= {8: (7, "a) b (", (105, 5, 0, 0)), 10: (1, "another", (1060, 0, 0, 0))}
    _write_processes(tmp_path, [560, 200, 300, 9999, 999, 50, 50, 70, 0, 0], processes)
    # 160 ticks of work in two seconds, 100 of them below this process.
    assert watch.cores() == pytest.approx(0.3)


def test_where_the_system_does_not_tell_of_others_nothing_is_known(monkeypatch, tmp_path):
    monkeypatch.setattr(others, "_PROC", tmp_path)
    assert others.Others().cores() is None
