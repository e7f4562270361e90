"""benchmarks/versions: two versions of omp_mlp, compared in turn."""

import signal
import subprocess
import sys

import numpy as np
import pytest

import omp_mlp
from benchmarks.common import files
from benchmarks.peers import Training
from benchmarks.peers.bench import Bench
from benchmarks.peers.libraries import omp
from benchmarks.versions import __main__ as script
from benchmarks.versions import busy, measure, tables
from benchmarks.versions.cells import Cell


class FakeBench(Bench):
    """Asks no process: a version takes ``cost`` seconds a sample, by strategy."""

    def ask(self, entry, do, samples, **_):
        assert do == "train"
        assert entry.training.learning_rate == 0.1  # of batches of 8
        strategy = entry.training.options["strategy"]
        self.log.append((entry.row.name, strategy))
        seconds = samples * self.cost[entry.row.python][strategy]
        return {"seconds": seconds, "cpu_seconds": seconds, "samples": samples, "accuracy": None}


def compared(cost_old, cost_new, again=0):
    cells = [Cell(strategy, "bytes", 8, 128, 1) for strategy in cost_old]
    bench = FakeBench(
        *([], {}, 60_000),
        quick=False, rounds=4, seeds=1, turn=0.1, max_samples=60_000, say=lambda _: None,
    )  # fmt: skip
    bench.log, bench.cost = [], {"a": cost_old, "b": cost_new}
    entries = measure.compare(bench, cells, {"old": "a", "new": "b"}, again)
    return entries, bench.log


def test_ratios_are_new_over_old_in_samples_a_second():
    entries, log = compared({"replica": 1e-5, "section": 2e-5}, {"replica": 2e-5, "section": 1e-5})
    first, second = entries
    assert first["ratio"]["median"] == pytest.approx(0.5)
    assert second["ratio"]["median"] == pytest.approx(2.0)
    assert first["old"]["runs"] == pytest.approx([1e5] * 4)
    assert first["new"]["median"] == pytest.approx(5e4)
    # As many samples as the old version trains on in about a tenth of a second, for both.
    assert 0.05 <= first["samples"] * 1e-5 <= 0.2
    assert measure.slower(entries) == [first]
    # The last pairs: cells in turn, the version that goes first changes.
    pairs = [name for name, strategy in log[-16:] if strategy == "replica"]
    assert pairs == ["old", "new", "new", "old"] * 2
    assert "".join(strategy[0] for _, strategy in log[-16:]) == "rrssssrrrrssssrr"


def test_cells_that_are_too_slow_get_more_pairs():
    cost = {"replica": 1e-5, "section": 1e-5}
    entries, _ = compared(cost, {**cost, "section": 1.1e-5}, again=2)
    assert [len(entry["ratio"]["runs"]) for entry in entries] == [4, 12]


def test_the_table_flags_what_is_below_the_least_ratio():
    cost = {"replica": 1e-5, "section": 1e-5}
    entries, _ = compared(cost, {"replica": 1.019e-5, "section": 1.022e-5})
    lines = tables.table(entries).splitlines()
    assert lines[-2].split()[:5] == ["replica", "bytes", "8", "128", "1"]
    assert lines[-2].split()[7] == "0.981"
    assert [line.endswith("SLOWER") for line in lines[-2:]] == [False, True]
    assert tables.verdict(entries).startswith(
        "1 of 2 median ratios are below 0.98; the lowest is 0.978"
    )


def test_two_processes_of_this_version_answer(tmp_path, capsys):
    code = script.main(
        [
            *("--old", sys.executable, "--new", sys.executable, "--data", "digits"),
            *("--limit", "600", "--pairs", "2", "--again", "0", "--seconds", "0.001"),
            *("--batch-sizes", "32", "--hidden", "16", "--workers", "2", "--threads", "3"),
            *("--out", str(tmp_path)),
        ]
    )
    stored = files.read_json(tmp_path / "versions.json")
    entries = stored["pieces"]["speed"]
    # How fast they are is not for a test to say.
    assert code == (1 if measure.slower(entries) else 0)
    assert [(entry["strategy"], entry["form"]) for entry in entries] == [
        (strategy, form)
        for strategy in ("replica", "section", "synchronous")
        for form in ("bytes", "float32")
    ]
    for entry in entries:
        assert (entry["workers"], entry["threads"]) == (2, 3)
        old, new = (np.array(entry[name]["runs"]) for name in ("old", "new"))
        np.testing.assert_allclose(entry["ratio"]["runs"], new / old)
    assert stored["versions"]["old"] == stored["versions"]["new"]
    assert stored["versions"]["new"]["version"] == omp_mlp.__version__
    assert str(tmp_path) not in (tmp_path / "versions.json").read_text()
    assert "of 6 median ratios are below 0.98" in capsys.readouterr().out


def test_busy_programs_run_until_the_block_ends(monkeypatch):
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            started.append(self)

    monkeypatch.setattr(busy.subprocess, "Popen", Popen)
    with busy.busy_programs(2):
        assert [program.poll() for program in started] == [None, None]
    assert [program.returncode for program in started] == [-signal.SIGKILL] * 2


def test_replicas_or_sections_are_as_many_as_asked_for():
    few, many = Cell("section", "bytes", 8, 128, 2), Cell("section", "bytes", 8, 128, 2, threads=8)
    assert measure.entry(few, "old", "python").training.options["threads"] == 2
    assert measure.entry(many, "old", "python").training.options["threads"] == 8
    assert (few.name, many.name) == (
        "section, bytes, B 8, 128 hidden, 2 workers",
        "section, bytes, B 8, 128 hidden, 2 workers, 8 threads",
    )


def test_an_interpreter_without_the_library_is_named(tmp_path):
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'no module named omp_mlp' >&2\n")
    fake.chmod(0o755)
    arguments = ["--data", "digits", "--limit", "60", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match=r"--old: old: the process ended: no module named omp_mlp"):
        script.main(["--old", str(fake), "--new", sys.executable, *arguments])
    with pytest.raises(SystemExit, match=r"--old: .*not there"):
        script.main(["--old", str(tmp_path / "not there"), "--new", sys.executable, *arguments])


def test_an_older_version_is_not_given_what_it_does_not_know(monkeypatch):
    given = {}
    monkeypatch.setattr(omp, "_KNOWN", set(omp._KNOWN) - {"optimizer", "scale_targets"})
    monkeypatch.setattr(omp_mlp, "train_parallel", lambda *_, **options: given.update(options))
    omp.Peer(1, {}).train(Training(8, 0.1), None, None, [])
    assert set(given) <= omp._KNOWN
    assert given["center_inputs"] is False
    # But what it cannot do, it has to say.
    omp.Peer(1, {}).train(Training(8, 0.1, solver="adam"), None, None, [])
    assert given["optimizer"] == "adam"
