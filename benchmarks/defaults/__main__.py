"""Measure what a training with no option set makes of data that it was not made for.

    make defaults                           everything; under 20 minutes
    make defaults ARGS=--quick              small data and one seed, to see that all works
    make defaults ARGS=--docs               and put tables, pictures and JSON into docs/
    make defaults ARGS="--redraw --docs"    without measuring, from the JSON in --out
    make defaults ARGS=--parts              the parts of preset="tabular" alone, and its peers
    make defaults ARGS=--states             what becomes of an optimiser's state at a merge, alone
    make defaults ARGS=--outliers           what is learned beside outliers of y, alone
    make defaults ARGS=--columns            the same beside far values of X
    make defaults ARGS=--peers              ask the slow peers alone; needs the extra "peers"
    make defaults ARGS=--estimators         the estimators against scikit-learn's, by name alone

A quarter of the rows of each set is held out; it is scored once, after the training. Each training
has one core. Seconds are CPU seconds of the whole call, the search for epochs and the scoring
included. The settings of omp_mlp were decided on these sets, so their scores say what was reached
here, and not what other data will give.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ..common import arguments as options
from ..common.files import Results, read_json
from ..common.machine import describe_run, machine_line
from ..common.progress import Progress
from ..common.report import show
from . import columns, estimators, measure, outliers, peers, pictures, problems, states, tables
from .problems import Problem

COMMAND = "make defaults"
_QUICK_ROWS = 2_000


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = options.parser(
        __doc__, *("seeds", "quick", "resume", "redraw", "docs", "out"), seeds=3
    )
    parser.add_argument(
        "--tables", type=Path, default=problems.tables_folder(), help="folder of the tables"
    )
    parser.add_argument("--mnist", metavar="FOLDER", help="MNIST's files, if not in OMP_MLP_DATA")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these data only")
    parser.add_argument(
        "--parts", action="store_true", help='measure the parts of preset="tabular" alone'
    )
    parser.add_argument(
        "--states",
        action="store_true",
        help="measure state_at_merge alone, on six tables and MNIST",
    )
    parser.add_argument(
        "--outliers",
        action="store_true",
        help="measure what is learned beside outliers of y alone",
    )
    parser.add_argument(
        "--columns",
        action="store_true",
        help="measure what is learned beside far values of X alone",
    )
    parser.add_argument(
        "--estimators", action="store_true", help="ask the estimators and scikit-learn's alone"
    )
    parser.add_argument(
        "--peers", nargs="*", choices=list(peers.LABELS), metavar="NAME",
        help="ask these peers alone, or all, and keep their answers in peers.json",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.seeds = 1
    for option in ("docs", "parts"):
        if getattr(arguments, option) and arguments.tables is None and not arguments.redraw:
            parser.error(
                f"--{option} takes the tables: give their folder with --tables, or the folder of "
                "MNIST, beside which they are, in OMP_MLP_DATA"
            )
    return arguments


def measured(
    arguments: argparse.Namespace,
    file: str,
    command: str,
    of: Iterable[Problem],
    take: Callable[[Problem, int, Progress], dict[str, Any]],
) -> dict[str, Any]:
    """Measure the problems; what there is so far is written after each of them.

    With ``--redraw``, return what the file holds.
    """
    if arguments.redraw:
        return read_json(arguments.out / file)
    progress = Progress()
    decided = {key: getattr(arguments, key) for key in ("quick", "seeds", "only")}
    about = describe_run(command, decided)
    results = Results(arguments.out / file, about, resume=arguments.resume)
    with threadpool_limits(1):
        for problem in of:
            results.take(problem.name, lambda p=problem: take(p, arguments.seeds, progress))
    return results.content


def loaded(arguments: argparse.Namespace, names: Iterable[str]) -> Iterator[Problem]:
    """Yield the problems of these names, or of ``--only``, whose data can be had."""
    for name in arguments.only or names:
        problem = problems.load(name, arguments.tables, arguments.mnist)
        if problem is not None and not (arguments.quick and problem.X.shape[0] > _QUICK_ROWS):
            yield problem


def from_files(arguments: argparse.Namespace) -> Iterator[Problem]:
    """Yield the tables that come from files."""
    names = problems.of_folder(arguments.tables)
    return (problem for problem in loaded(arguments, names) if problem.is_table)


def judge_alone(
    arguments: argparse.Namespace,
    name: str,
    of: Iterable[Problem],
    take: Callable[[Problem, int, Progress], dict[str, Any]],
    lay_out: Callable[[Mapping[str, Any]], Mapping[str, str]],
    document: str = "defaults.md",
) -> dict[str, Any]:
    """Measure what the option of this name is about, and nothing else; return the results."""
    command = f"{COMMAND} ARGS=--{name}"
    content = measured(arguments, f"defaults-{name}.json", command, of, take)
    show(arguments, content, document, name, lay_out(content["pieces"]))
    return content


def judge_parts(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the parts of the preset on the first rows of the tables; return the results."""
    return judge_alone(
        arguments,
        "parts",
        from_files(arguments),
        measure.measure_parts,
        lambda found: {
            "parts": tables.parts(found),
            "peers": tables.against_peers(found, peers.kept()),
        },
    )


def judge_states(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what a merge had best make of the state of an optimiser; return the results."""
    of = loaded(arguments, states.PROBLEMS)
    return judge_alone(
        arguments, "states", of, states.measure, lambda found: {"states": tables.of_states(found)}
    )


def judge_outliers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what is learned beside values that are far too large; return the results."""
    of = loaded(arguments, outliers.PROBLEMS)
    return judge_alone(
        arguments,
        "outliers",
        of,
        outliers.measure,
        lambda found: {"outliers": tables.of_outliers(found)},
    )


def judge_columns(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure what is learned beside far values of X; return the results."""
    return judge_alone(
        arguments,
        "columns",
        loaded(arguments, columns.PROBLEMS),
        columns.measure,
        lambda found: {"columns": tables.of_outliers(found, columns.SPOILS, columns.WAYS)},
    )


def judge_estimators(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the estimators on all problems; return the results."""
    return judge_alone(
        arguments,
        "estimators",
        loaded(arguments, problems.names(arguments.tables)),
        estimators.measure,
        lambda found: {"estimators": f"{estimators.table(found)}\n\n{estimators.verdict(found)}"},
        "scikit_learn.md",
    )


def ask_peers(arguments: argparse.Namespace) -> dict[str, Any]:
    """Ask slow peers for all tables; keep what they answer."""
    progress = Progress()
    decided = {key: getattr(arguments, key) for key in ("seeds", "only")}
    results = Results(peers.KEPT, describe_run(f"{COMMAND} ARGS=--peers", decided))
    answers = dict(peers.kept())
    with threadpool_limits(1):
        for peer in arguments.peers or peers.LABELS:
            for problem in from_files(arguments):
                answer = measure.measure_peer(peer, problem, arguments.seeds, progress)
                answers[problem.name] = {**answers.get(problem.name, {}), peer: answer}
                results.write(pieces=answers)
    return results.content


def main(argv: Sequence[str] | None = None) -> Mapping[str, Any]:
    """Measure, judge, write; return the results."""
    arguments = parse_arguments(argv)
    if arguments.peers is not None:
        return ask_peers(arguments)
    if arguments.estimators:
        return judge_estimators(arguments)
    if arguments.parts:
        return judge_parts(arguments)
    if arguments.states:
        return judge_states(arguments)
    if arguments.outliers:
        return judge_outliers(arguments)
    if arguments.columns:
        return judge_columns(arguments)
    of = loaded(arguments, problems.names(arguments.tables))
    content = measured(arguments, "defaults.json", COMMAND, of, measure.measure)
    found = content["pieces"]
    judged = measure.judge(found)
    made = {
        "scores": tables.scores(found),
        "seconds": tables.seconds(found),
        "verdict": tables.verdict(judged),
    }
    draw = partial(pictures.all_pictures, found, machine_line(content["machine"]))
    show(arguments, content, "defaults.md", "defaults", made, draw)
    return {**content, "verdict": judged}


if __name__ == "__main__":
    main()
