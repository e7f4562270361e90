"""The cards of docs/merge_methods.md: what the table of methods says, and one measured line each.

    python benchmarks/merge_cards.py            # writes the generated parts of the page
    python benchmarks/merge_cards.py --measure  # measures first, in some minutes

A card is a heading, a part between two comments that is written by this script, and text below it
that is written by hand. A method that is new in the table gets a card with the text still missing.
tests/test_merge_cards.py holds the page to the table.

How it is measured
------------------
MNIST, 784-128-10, ReLU and cross-entropy, the defaults of ``train_parallel`` but 5 epochs in total;
n = 8 and 32 replicas from a shared start and from independent ones; three seeds; accuracy on the
official test images, nothing chosen by it. For each (n, start, seed) there is one training of
replicas that never meet, and every method that is applied once merges these same replicas; methods
that look at data get the 60,000 training images. A periodic method has a training of its own, with
a shared start. Times are those of merging 8 replicas, on one core.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

try:
    import omp_mlp
except ImportError as missing:
    raise SystemExit(f"{missing}. From the project's root: pip install '.[bench]'") from missing

# Found next to this file, from whatever directory the script is started.
sys.path.insert(0, str(Path(__file__).resolve().parent))
import _report as report

DOCS = report.PROJECT_ROOT / "docs"
PAGE = DOCS / "merge_methods.md"
MEASURED = DOCS / "merge_methods.json"

REPLICAS = (8, 32)
STARTS = ("shared", "independent")
_ALIGNED = "independent, aligned"
_ALIGNABLE = ("regmean", "refit_output")
SEEDS = (0, 1, 2)
EPOCHS = 5

_BEGIN = "<!-- {}: written by benchmarks/merge_cards.py -->"
_END = "<!-- by hand from here -->"
_MISSING = "*When, when not, cost: not written yet.*"


# --- the page -----------------------------------------------------------------------------------


def overview(methods: Sequence[omp_mlp.MergeMethod]) -> str:
    """Return the table of all methods."""
    lines = ["| method | applied | needs | what it makes |", "|---|---|---|---|"]
    for method in methods:
        name = f"[`{method.name}`](#{method.name})"
        lines.append(f"| {name} | {method.cadence} | {needs(method)} | {method.summary} |")
    return "\n".join(lines)


def needs(method: omp_mlp.MergeMethod) -> str:
    """Say what a method needs besides the networks."""
    wanted = [*(["base"] if method.needs_base else []), *method.needs_data]
    return ", ".join(wanted) or "-"


def facts(method: omp_mlp.MergeMethod, measured: Mapping[str, Any]) -> str:
    """Return the generated part of a card."""
    lines = [
        method.summary,
        "",
        *("    " + part.strip() for part in method.formula.split(";")),
        "",
        f"- **Applied**: {method.cadence}. **Needs**: {needs(method)}.",
        *(f"- **Option** `{option.name}`: {described(option)}" for option in method.options),
        f"- **Reference**: {method.reference}.",
        f"- **Measured**: {measured_line(method.name, measured)}",
    ]
    return "\n".join(lines)


def described(option: omp_mlp.MergeOption) -> str:
    """Say what an option is, and what it may be if that is not said already."""
    if not option.words:
        return option.summary
    default, *others = (f"`{word!r}`" for word in option.words)
    return f"{option.summary} {default} (the default), {', '.join(others)} or a number."


def measured_line(name: str, measured: Mapping[str, Any]) -> str:
    """Return what was measured of a method, in a line."""
    rows = measured.get("methods", {}).get(name)
    if not rows:
        return "see [frontier.md](frontier.md)."
    parts = []
    for start in (*STARTS, _ALIGNED):
        scores = [
            f"{100 * np.mean(runs):.1f} ± {100 * np.std(runs, ddof=1):.1f}"
            for count in REPLICAS
            if (runs := rows["scores"].get(f"{count} {start}"))
        ]
        if scores:
            parts.append(f"{' and '.join(scores)} % ({start})")
    line = f"n = {' and '.join(map(str, REPLICAS))}: {'; '.join(parts)}"
    if (seconds := rows.get("seconds")) is not None:
        shown = f"{seconds:.1f} s" if seconds >= 0.1 else f"{1000 * seconds:.2g} ms"
        line += f"; {shown} for n = {REPLICAS[0]}"
    return line + "."


def render(page: str, methods: Sequence[omp_mlp.MergeMethod], measured: Mapping[str, Any]) -> str:
    """Return the page with its generated parts as they should be."""
    page = replaced(page, "overview", overview(methods))
    page = replaced(page, "setting", setting(measured))
    for method in methods:
        if _BEGIN.format(method.name) not in page:
            begin = _BEGIN.format(method.name)
            page += f"\n## {method.name}\n\n{begin}\n{_END}\n\n{_MISSING}\n"
        page = replaced(page, method.name, facts(method, measured))
    return page


def setting(measured: Mapping[str, Any]) -> str:
    """Say where the measured lines come from."""
    return (
        "The measured lines: test accuracy on MNIST (784-128-10, ReLU, cross-entropy, "
        f"{EPOCHS} epochs in total, mean ± standard deviation of {len(SEEDS)} seeds; one network "
        f"on all samples: {one_network(measured)}), from "
        "`python benchmarks/merge_cards.py --measure` on "
        f"{report.machine_line(measured['machine'])}; times on one core. The same replicas for "
        "every method that is applied once, from a shared or from independent starts (*aligned*: "
        'with `merge_options={"align": True}`); a run of its own for a periodic one.'
    )


def one_network(measured: Mapping[str, Any]) -> str:
    """Return the accuracy of the network that was trained without replicas."""
    runs = 100 * np.array(measured["one_network"])
    return f"{runs.mean():.1f} ± {runs.std(ddof=1):.1f} %"


def replaced(page: str, name: str, text: str) -> str:
    """Replace what stands between a part's comments."""
    begin = _BEGIN.format(name)
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(_END), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no part {begin!r}")
    return pattern.sub(lambda _: f"{begin}\n\n{text}\n\n{_END}", page, count=1)


# --- the numbers --------------------------------------------------------------------------------


def measure() -> dict[str, Any]:
    """Train and merge, and return all accuracies."""
    data = omp_mlp.datasets.load_mnist(split="standard", dtype="uint8")
    X, y, X_test, y_test = data
    options: dict[str, Any] = {"hidden_layer_sizes": (128,), "epochs": EPOCHS}
    methods = omp_mlp.merge_methods()
    rows: dict[str, Any] = {method.name: {"scores": {}, "seconds": None} for method in methods}

    def note(name: str, setting: str, network: Any) -> None:  # noqa: ANN401 - Model or Ensemble
        score = network.score(X_test, y_test)
        rows[name]["scores"].setdefault(setting, []).append(score)
        print(f"{setting:24} {name:20} {100 * score:.2f} %", flush=True)

    alone = []
    for seed in SEEDS:
        network = omp_mlp.train_parallel(X, y, 1, "average", seed=seed, **options)
        alone.append(network.score(X_test, y_test))
        for count in REPLICAS:
            for start in STARTS:
                replicas = omp_mlp.train_parallel(
                    X, y, count, "ensemble", init=start, seed=seed, **options
                ).models
                base = omp_mlp.train_parallel(
                    X, y, count, "average", seed=seed, **{**options, "epochs": 0}
                )
                for method in methods:
                    if method.cadence == "once" and not (method.needs_base and start != "shared"):
                        began = time.perf_counter()
                        merged = omp_mlp.merge(replicas, method.name, base=base, X=X, y=y)
                        seconds = time.perf_counter() - began
                        if count == REPLICAS[0]:
                            best = rows[method.name]["seconds"]
                            rows[method.name]["seconds"] = min(seconds, best or seconds)
                        note(method.name, f"{count} {start}", merged)
                        if start == "independent" and method.name in _ALIGNABLE:
                            merged = omp_mlp.merge(
                                replicas, method.name, X=X, y=y, merge_options={"align": True}
                            )
                            note(method.name, f"{count} {_ALIGNED}", merged)
            for method in methods:
                if method.cadence == "periodic":
                    merged = omp_mlp.train_parallel(X, y, count, method.name, seed=seed, **options)
                    note(method.name, f"{count} shared", merged)
    return {
        "machine": report.describe_machine(),
        "build": report.describe_build(),
        "source": report.describe_source(),
        "options": {**options, "replicas": REPLICAS, "seeds": SEEDS},
        "one_network": alone,
        "methods": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--measure", action="store_true", help="measure before writing")
    if parser.parse_args().measure:
        report.write_json(MEASURED, measure())
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    page = render(PAGE.read_text(encoding="utf-8"), omp_mlp.merge_methods(), measured)
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE.relative_to(report.PROJECT_ROOT))


if __name__ == "__main__":
    main()
