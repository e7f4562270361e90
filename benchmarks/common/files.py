"""Write JSON, whole or not at all, and the results of a run after every piece of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PROJECT_ROOT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT_ROOT / "results"
DOCS = PROJECT_ROOT / "docs"
MOST_OF_A_ROW = 400  # characters of JSON


class Results:
    """The results of a run. They are written after every piece, so that none is lost.

    ``content`` is what :func:`..machine.describe_run` said ``about`` the run; ``pieces``, what was
    found by name; and ``seconds``, how long each piece took. The folder of the file is made if it
    is not there.

    ``resume`` goes on with the run in the file: pieces that it has are not measured again, unless
    ``again`` has their name, or what stands before the "/" in it. It must have the same options,
    build and commit. Its other entries are kept.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        *,
        resume: bool = False,
        again: Collection[str] = (),
    ) -> None:
        self.path = path
        self.content: dict[str, Any] = {**plain(about), "seconds": {}, "pieces": {}}
        path.parent.mkdir(parents=True, exist_ok=True)
        if resume:
            self._go_on(again)

    def _go_on(self, again: Collection[str]) -> None:
        if not self.path.exists():
            raise SystemExit(f"--resume: there is no earlier run to go on with, {self.path}")
        earlier = read_json(self.path)
        for key in ("options", "build", "source"):
            if earlier[key] != self.content[key]:
                raise SystemExit(
                    f"--resume: {self.path} has {key} {earlier[key]}; expected those of this run, "
                    f"{self.content[key]}"
                )
        self.content = {**earlier, **self.content}
        for name, found in earlier["pieces"].items():
            if not {name, name.partition("/")[0]} & set(again):
                self.content["pieces"][name] = found
                self.content["seconds"][name] = earlier["seconds"][name]

    def take(self, name: str, measure: Callable[[], object]) -> Any:  # noqa: ANN401 - JSON
        """Return the piece of this name; measure it, and write everything, if it is not there."""
        if name not in self.content["pieces"]:
            begin = time.perf_counter()
            self.content["pieces"][name] = plain(measure())
            self.content["seconds"][name] = round(time.perf_counter() - begin, 2)
            self.write()
        return self.content["pieces"][name]

    def write(self, **more: object) -> Path:
        """Add entries to the content, and write all of it."""
        self.content.update(plain(more))
        return write_json(self.path, self.content)


def plain(value: object) -> Any:  # noqa: ANN401 - what JSON knows is of many types
    """Turn NumPy values, tuples and mappings into what JSON knows; NaN and infinity into None."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return str(value)


def as_columns(rows: Sequence[Mapping[str, Any]], digits: int) -> dict[str, Any]:
    """Return rows of one kind as a table for JSON: the names once, and floats to so many digits."""

    def short(value: object) -> object:
        return float(f"{value:.{digits}g}") if isinstance(value, float) else value

    table = [[short(value) for value in row.values()] for row in plain(rows)]
    return {"columns": list(rows[0]), "rows": table}


def from_columns(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of what :func:`as_columns` returned."""
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write strict JSON (no NaN), UTF-8, in the order given."""
    # Whole or not at all, whenever the run is ended.
    partial = path.with_name(path.name + ".part")
    partial.write_text(_laid_out(plain(content)) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _laid_out(value: object, indent: str = "") -> str:
    """Return JSON with a line for what holds numbers only, and for a short row of such lists."""
    inside = _inside(value)
    nested = [entry for entry in inside if isinstance(entry, dict | list)]
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    row = not any(isinstance(e, dict) or any(map(_inside, e)) for e in nested)
    if not nested or (row and len(line) <= MOST_OF_A_ROW):
        return line
    deeper = indent + " "
    if isinstance(value, dict):
        lines = [
            f"{json.dumps(key, ensure_ascii=False)}: {_laid_out(entry, deeper)}"
            for key, entry in value.items()
        ]
    else:
        lines = [_laid_out(entry, deeper) for entry in inside]
    begin, end = "{}" if isinstance(value, dict) else "[]"
    return f"{begin}\n{deeper}" + f",\n{deeper}".join(lines) + f"\n{indent}{end}"
