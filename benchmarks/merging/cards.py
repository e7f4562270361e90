"""The cards of docs/merge_methods.md: what the table of methods says, and what was measured.

    make cards                  writes the blocks of the page
    make cards ARGS=--measure   measures first, in some minutes

A card is a heading, a block that is written by this script, and text below it that is written by
hand. A method that is new in the table gets a card with the text still missing.
tests/test_benchmarks_merging.py holds the page to the table.

How it is measured
------------------
MNIST, 784-128-10, ReLU and cross-entropy, batches of 8 at a rate of 0.05, 5 epochs in total;
n = 8 and 32 replicas from a shared start and from independent ones; three seeds; accuracy on the
official test images, nothing chosen by it. For each (n, start, seed) there is one training of
replicas that never meet, and every method that is applied once merges these same replicas; methods
that look at data get the 60,000 training images. A periodic method has a training of its own, with
a shared start. Times are those of merging 8 replicas, on one core.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import omp_mlp

from ..common import data, documents
from ..common.arguments import parser
from ..common.files import DOCS, plain, read_json
from ..common.machine import describe_run
from ..common.tables import as_markdown
from ..common.timing import summarise

COMMAND = "make cards"
PAGE = DOCS / "merge_methods.md"
MEASURED = PAGE.with_suffix(".json")
REPLICAS = (8, 32)
STARTS = ("shared", "independent", "independent, aligned")
SEEDS = (0, 1, 2)
TRAINING: dict[str, Any] = {
    "hidden_layer_sizes": (128,),
    "epochs": 5,
    "batch_size": 8,
    "learning_rate": 0.05,
    **data.AS_GIVEN,
}
MISSING = "*When, when not, cost: not written yet.*"


# --- the page -----------------------------------------------------------------------------------


def overview(methods: Sequence[omp_mlp.MergeMethod]) -> str:
    """Return the table of all methods."""
    rows = [[_link(m.name), m.cadence, needs(m), m.summary] for m in methods]
    return as_markdown(["method", "applied", "needs", "what it makes"], rows)


def _link(name: str) -> str:
    return f"[`{name}`](#{name})"


def needs(method: omp_mlp.MergeMethod) -> str:
    """Say what a method needs besides the networks."""
    return ", ".join([*(["base"] if method.needs_base else []), *method.needs_data]) or "-"


def card(method: omp_mlp.MergeMethod) -> str:
    """Return the written part of a card."""
    lines = [
        method.summary,
        "",
        *("    " + part.strip() for part in method.formula.split(";")),
        "",
        f"- **Applied**: {method.cadence}. **Needs**: {needs(method)}.",
        *(f"- **Option** `{option.name}`: {_described(option)}" for option in method.options),
        f"- **Reference**: {method.reference}.",
    ]
    return "\n".join(lines)


def _described(option: omp_mlp.MergeOption) -> str:
    """Say what an option is, and what it may be if that is not said already."""
    if not option.words:
        return option.summary
    default, *others = (f"`{word!r}`" for word in option.words)
    return f"{option.summary} {default} (the default), {', '.join(others)} or a number."


def measured(results: Mapping[str, Any]) -> str:
    """Return the table of accuracies and times."""
    columns = [(n, start) for start in STARTS for n in REPLICAS]

    def percent(runs: Sequence[float] | None) -> str:
        if not runs:
            return "-"
        found = summarise(runs)
        return f"{100 * found['mean']:.1f} ± {100 * found['sd']:.1f}"

    rows = []
    for name, row in results["methods"].items():
        shown = "-"
        if (seconds := row["seconds"]) is not None:
            shown = f"{seconds:.1f} s" if seconds >= 0.1 else f"{1000 * seconds:.2g} ms"
        cells = [percent(row["scores"].get(f"{n} {start}")) for n, start in columns]
        rows.append([_link(name), *cells, shown])
    header = [f"%, n = {n}, {start}" for n, start in columns]
    table = as_markdown(["method", *header, f"time, n = {REPLICAS[0]}"], rows, numeric=True)
    return f"{table}\n\nOne network on all samples: {percent(results['one_network'])} %."


def render(
    page: str, methods: Sequence[omp_mlp.MergeMethod], results: Mapping[str, Any]
) -> tuple[str, dict[str, str]]:
    """Return the page with a card for every method, and the text of each block."""
    known = {block.name for block in documents.blocks_of(page)}
    for name in (method.name for method in methods):
        if name not in known:
            mark = f"<!-- {name}: written by {COMMAND} -->\n<!-- end -->"
            page += f"\n## {name}\n\n{mark}\n\n{MISSING}\n"
    cards = {method.name: card(method) for method in methods}
    return page, {"overview": overview(methods), "measured": measured(results), **cards}


# --- the numbers --------------------------------------------------------------------------------


def measure() -> dict[str, Any]:
    """Train and merge, and return all accuracies."""
    mnist = data.load("mnist")
    X, y = mnist.X, mnist.y
    methods = omp_mlp.merge_methods()
    rows: dict[str, Any] = {method.name: {"scores": {}, "seconds": None} for method in methods}

    def note(name: str, setting: str, network: omp_mlp.Model | omp_mlp.Ensemble) -> None:
        score = network.score(mnist.X_test, mnist.y_test)
        rows[name]["scores"].setdefault(setting, []).append(score)
        print(f"{setting:24} {name:20} {100 * score:.2f} %", flush=True)

    def train(n: int, merge: str, seed: int, **more: Any) -> Any:  # noqa: ANN401
        return omp_mlp.train_parallel(X, y, n, merge, seed=seed, **{**TRAINING, **more})

    def merge_once(n: int, start: str, seed: int) -> None:
        replicas = train(n, "ensemble", seed, init=start).models
        base = train(n, "average", seed, epochs=0)
        for method in methods:
            if method.cadence != "once" or (method.needs_base and start != "shared"):
                continue
            began = time.perf_counter()
            merged = omp_mlp.merge(replicas, method.name, base=base, X=X, y=y)
            seconds = time.perf_counter() - began
            note(method.name, f"{n} {start}", merged)
            if n == REPLICAS[0]:
                best = rows[method.name]["seconds"]
                rows[method.name]["seconds"] = min(seconds, best or seconds)
            if start == "independent" and "align" in {option.name for option in method.options}:
                options = {"align": True}
                merged = omp_mlp.merge(replicas, method.name, X=X, y=y, merge_options=options)
                note(method.name, f"{n} {start}, aligned", merged)

    alone = []
    for seed in SEEDS:
        alone.append(train(1, "average", seed).score(mnist.X_test, mnist.y_test))
        for n in REPLICAS:
            for start in ("shared", "independent"):
                merge_once(n, start, seed)
            for method in methods:
                if method.cadence == "periodic":
                    note(method.name, f"{n} shared", train(n, method.name, seed))
    options = {**TRAINING, "replicas": REPLICAS, "seeds": SEEDS}
    return {**describe_run(COMMAND, options), "one_network": alone, "methods": rows}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure if asked to, and write the page."""
    reader = parser(__doc__)
    reader.add_argument("--measure", action="store_true", help="measure before writing")
    asked = reader.parse_args(argv).measure
    results = plain(measure()) if asked else read_json(MEASURED)["cards"]
    page, texts = render(PAGE.read_text(encoding="utf-8"), omp_mlp.merge_methods(), results)
    PAGE.write_text(page, encoding="utf-8")
    for path in documents.publish(PAGE.name, "cards", results, texts):
        print(path)


if __name__ == "__main__":
    main()
