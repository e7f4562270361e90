"""The script behind `make torture`: how a trial is watched, and what is written of it."""

import pytest

from benchmarks.common import documents, files

pytest.importorskip("matplotlib")

from benchmarks.torture import __main__ as run
from benchmarks.torture import kills
from benchmarks.torture.trial import Row, SkipError, Trial, attempts, run_script


def test_a_script_fills_its_failures() -> None:
    script = "failures += [f'{k} of {count}', int(rng.integers(1000)) >= 0]"
    assert run_script(script, seed=3, count=7, k=2) == ["2 of 7", True]


def test_the_death_of_a_script_is_a_failure() -> None:
    (failure,) = run_script("os.kill(os.getpid(), signal.SIGKILL)", seed=0, count=1)
    assert failure.startswith("exit status -9: ")
    (failure,) = run_script("print('why', file=sys.stderr); sys.exit(3)", seed=0, count=1)
    assert failure == "exit status 3: why\n"


def test_attempts_apart_have_a_process_each() -> None:
    make = attempts("failures.append(f'{k} {seed} {os.getpid()}')", apart=True)
    first, second = (failure.split() for failure in make(5, 2))
    assert (first[:2], second[:2]) == (["0", "5"], ["1", "6"])
    assert first[2] != second[2]


def test_a_trial_makes_a_share_and_may_be_skipped() -> None:
    row = Trial("counted", 40, lambda seed, count: [f"{seed} {count}"]).run(9, 0.05)
    assert row == Row("counted", 2, ["9 2"])
    skipped = Trial("skipped", 40, attempts("", skip="no luck")).run(9, 1.0)
    assert (skipped.failures, skipped.skipped) == ([], "no luck")
    with pytest.raises(SkipError, match="no luck"):
        attempts("", skip="no luck")(0, 1)


CONTENT = {
    "options": {"seed": 12},
    "pieces": {
        "one": {"tried": 1200, "failures": ["a", "b"], "skipped": ""},
        "two": {"tried": 40, "failures": [], "skipped": "there is no strace"},
    },
}


def test_the_table() -> None:
    assert run.table(CONTENT).splitlines() == [
        "| What was tried | Tried | Held | Failed |",
        "|---|---|---|---|",
        "| one | 1,200 | 1,198 | 2 |",
        "| two | skipped: there is no strace | | |",
        "",
        "Seed 12.",
    ]


def test_the_page_has_the_block() -> None:
    (block,) = documents.blocks_of((files.DOCS / "reliability.md").read_text())
    assert (block.name, block.command) == ("torture", run.COMMAND)


def test_names_are_different_and_a_part_is_not_published() -> None:
    names = [trial.name for trial in run.TRIALS]
    assert len(set(names)) == len(names)
    with pytest.raises(SystemExit):
        run.parse_arguments(["--docs", "--only", names[0]])


LOG = """
12 openat(AT_FDCWD, "/f/.omp_mlp-1.draft", O_WRONLY|O_CREAT|O_EXCL, 0666) = 3</f/.omp_mlp-1.draft>
12 write(3</f/.omp_mlp-1.draft>, "x", 1) = 1
12 write(1</dev/pts/0>, "said", 4) = 4
12 fsync(3</f/.omp_mlp-1.draft>) = 0
12 rename("/f/.omp_mlp-1.draft", "/f/file") = 0
12 openat(AT_FDCWD, "/f", O_RDONLY|O_DIRECTORY) = 3</f>
12 fsync(3</f>) = 0
""".strip()


@pytest.mark.parametrize("gone", [1, 3, 4, 6])
def test_the_order_on_the_disk(gone: int) -> None:
    assert kills._wrong_order(LOG, "/f") == []
    lines = LOG.splitlines()
    del lines[gone]
    assert len(kills._wrong_order("\n".join(lines), "/f")) == 1
