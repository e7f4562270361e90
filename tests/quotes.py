"""Find the figures that a document quotes by hand, and those that its JSON does not have.

A *figure* is a number with a unit of measurement (``UNITS``) outside of the generated blocks; the
numbers of a list share its unit, as in "1.2, 1.4 and 1.8 ms". Figures are also, without a unit,
both numbers around a ±, and a decimal number that has a cell of a table to itself. What stands in
code, in a link's address or in a comment is none.

A figure has to be in one of these places, rounded to the digits that are quoted:

``docs/page.json``, beside ``docs/page.md``
    A number under a key that goes with the unit, in the results of a benchmark. Single runs and
    trials do not count, nor do options.
``"quoted"`` in the same file
    For what no benchmark of today measures: the note's own figures, trials of the past. Entries
    ``{"figures": ["581k", "693k"], "of": "...", "source": "..."}``.
``docs/definitions.json``
    Likewise, for numbers that are set and not measured; the source is a file of the project. They
    may be used in every document.

An entry whose figures no document quotes any more is reported as well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.documents import without_blocks
from benchmarks.common.files import read_json

_TIME = r"seconds|_time|^time"
_SHARE = r"percent|share|accurac|score|error|gain|points|mean|sd"
_RATIO = r"ratio|speed_?up|of_medians|paired|times|factor"
_SPEED = r"(samples|rows)_per_second"

# Units: which keys of the JSON go with them, and by what a number there may have to be multiplied.
UNITS: dict[str, tuple[str, tuple[float, ...]]] = {
    "%": (f"{_SHARE}|{_RATIO}|overhead", (1, 100)),
    "percent": (f"{_SHARE}|{_RATIO}", (1, 100)),
    "points": (_SHARE, (1, 100)),
    "point": (_SHARE, (1, 100)),
    "hours": (_TIME, (1 / 3600,)),
    "minutes": (_TIME, (1 / 60,)),
    "minute": (_TIME, (1 / 60,)),
    "seconds": (_TIME, (1,)),
    "s": (_TIME, (1,)),
    "ms": (_TIME, (1e3,)),
    "µs": (_TIME, (1e6,)),
    "us": (_TIME, (1e6,)),
    "ns": (_TIME, (1e9,)),
    "times": (_RATIO, (1,)),
    "x": (_RATIO, (1,)),
    "×": (_RATIO, (1,)),
    "samples/s": (_SPEED, (1,)),
    "k": (_SPEED, (1e-3,)),
    "M": (_SPEED, (1e-6,)),
    "GFLOP/s": (r"flop", (1e-9, 1)),
    "GHz": (r"cycles_per_second", (1e-9,)),
    "cycles": (r"cycle", (1,)),
    "GB/s": (r"bytes_per_second", (1e-9,)),
    "GB": (r"bytes", (1e-9, 2**-30)),
    "MB": (r"bytes", (1e-6, 2**-20)),
    "KB": (r"bytes", (1e-3, 2**-10)),
    "kB": (r"bytes", (1e-3, 2**-10)),
}
_NO_UNIT = "|".join(keys for keys, _ in UNITS.values())

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_SIGNED = rf"(?:[+−-] ?)?{_NUMBER}"
# A comma makes a list only where an "and" follows: in "94 % at 1, 35 % at 16" the 1 has no unit.
_LIST = rf"{_NUMBER}(?:(?:, {_SIGNED})*,? (?:to|and|or) {_SIGNED}| ?[–-] ?{_NUMBER}|\.\.{_NUMBER})?"
_SPREAD = rf"{_NUMBER} ?± ?{_NUMBER}"
_UNIT = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
# The unit is none at the beginning of a product ("28 × 28", "4 x threads") or of a name.
_FIGURES = re.compile(
    rf"(?<![\w.^])(?P<numbers>{_SPREAD}|{_LIST})"
    rf"[ \u00a0-]?(?P<unit>{_UNIT})(?![\w/])(?<![x×](?= threads| ?[\d(]))"
    rf"|(?<![\w.^])(?P<spread>{_SPREAD})"
)
_CELL = re.compile(_SIGNED)
_NOT_TEXT = re.compile(
    r"^```.*?^```|`[^`\n]+`|<!--.*?-->|(?<=\])\([^)\n]*\)|https?://\S+", re.DOTALL | re.MULTILINE
)
# Single runs, and what says how something was measured.
_NOT_RESULTS = {"runs", "trials", "options", "machine", "build", "source", "quoted", "settings"}


@dataclass(frozen=True)
class Figure:
    """A number that a document quotes."""

    line: int
    number: str  # as it stands there
    unit: str  # "" in a table without one

    def matches(self, value: float, scale: float) -> bool:
        """Whether a number of the JSON is this one, rounded to its digits."""
        quoted = float(self.number.replace(",", ""))
        digits = len(self.number.partition(".")[2])
        return abs(abs(value * scale) - quoted) <= 0.5 * 10.0**-digits * (1 + 1e-6)


def figures(text: str) -> list[Figure]:
    """Return the figures that a document quotes by hand."""
    text = _NOT_TEXT.sub(lambda match: re.sub(r"[^\n]", "\0", match[0]), without_blocks(text))
    found = []
    for line, content in enumerate(text.splitlines(), 1):
        for match in _FIGURES.finditer(content):
            numbers, unit = match["numbers"] or match["spread"], match["unit"] or ""
            found += [Figure(line, number, unit) for number in re.findall(_NUMBER, numbers)]
        if content.startswith("|"):
            cells = [cell.strip().strip("*") for cell in content.strip("|").split("|")]
            found += [
                Figure(line, re.findall(_NUMBER, cell)[0], "")
                for cell in cells
                if _CELL.fullmatch(cell) and "." in cell
            ]
    return found


def unknown(
    text: str, beside: Mapping[str, Any], entries: Collection[Mapping[str, Any]]
) -> list[Figure]:
    """Return the figures of a document that are nowhere: not in the JSON beside it, nor stated.

    The ``entries``, which state figures, are those of "quoted" and of ``docs/definitions.json``.
    """
    stated = {figure for entry in entries for figure in _stated(entry)}
    values = list(_numbers(beside))

    def is_known(figure: Figure) -> bool:
        if (figure.number, figure.unit) in stated:
            return True
        keys, scales = UNITS.get(figure.unit, (_NO_UNIT, (1, 100, 1e3, 1e6)))
        wanted = re.compile(keys)
        return any(
            wanted.search(key) and figure.matches(value, scale)
            for key, value in values
            for scale in scales
        )

    return [figure for figure in figures(text) if not is_known(figure)]


def unused(texts: Sequence[str], entries: Collection[Mapping[str, Any]]) -> list[str]:
    """Return the figures of the entries that none of the documents quotes."""
    quoted = {(figure.number, figure.unit) for text in texts for figure in figures(text)}
    return [
        f"{number} {unit} ({entry['of']})"
        for entry in entries
        for number, unit in _stated(entry)
        if (number, unit) not in quoted
    ]


def _stated(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return numbers and units of an entry, which needs to say of what they are and from where."""
    if not (entry.get("of") and entry.get("source")):
        raise ValueError(f"an entry says of what its figures are, and their source; got {entry}")
    found = []
    for text in entry["figures"]:
        match = re.fullmatch(rf"({_NUMBER}) ?({_UNIT}|)", text)
        if match is None:
            raise ValueError(f"expected a number and a unit, got {text!r}")
        found.append((match[1], match[2]))
    return found


def _numbers(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of results, with the keys that lead to them."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield path, float(value)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            if key not in _NOT_RESULTS:
                yield from _numbers(entry, f"{path}/{key}")
    elif isinstance(value, list):
        for entry in value:
            yield from _numbers(entry, path)


# --- the documents of the project ---------------------------------------------------------------


def documents_of(root: Path) -> list[Path]:
    """Return the documents that may quote figures."""
    # The log of changes tells what was so at the time.
    return [
        path
        for folder in (root, root / "docs", root / "benchmarks")
        for path in sorted(folder.glob("*.md"))
        if path.name != "CHANGELOG.md"
    ]


def problems(root: Path) -> list[str]:
    """Return what is wrong with the figures of a project, a line each."""
    definitions_file = root / "docs" / "definitions.json"
    definitions = read_json(definitions_file)["figures"] if definitions_file.exists() else []
    found = [
        f"docs/definitions.json: {entry['source']} of {entry['of']!r} is no file of the project"
        for entry in definitions
        if not (root / entry["source"]).is_file()
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in documents_of(root)}
    for path, text in texts.items():
        name, beside = path.relative_to(root), path.with_suffix(".json")
        content = read_json(beside) if beside.exists() else {}
        entries = content.get("quoted", [])
        found += [
            f"{name}:{figure.line}: {figure.number} {figure.unit}".rstrip()
            + f' is not in {name.with_suffix(".json")} (or its "quoted", or definitions.json)'
            for figure in unknown(text, content, [*entries, *definitions])
        ]
        found += [
            f"{name.with_suffix('.json')}: nothing quotes {figure}"
            for figure in unused([text], entries)
        ]
    return found + [
        f"docs/definitions.json: nothing quotes {figure}"
        for figure in unused(list(texts.values()), definitions)
    ]
