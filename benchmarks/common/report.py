"""Show what a run found: tables on the terminal, pictures in files, and both in a page of docs/."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from . import documents, pictures
from .machine import stamp

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show(
    arguments: argparse.Namespace,
    content: Mapping[str, Any],
    page: str,
    name: str,
    blocks: Mapping[str, str],
    draw: Callable[[], Mapping[str, Figure]] = dict,
) -> None:
    """Print the blocks, save the pictures in ``--out``, and with ``--docs`` publish both.

    ``content`` is that of a run's JSON; ``page`` and ``name`` are those of
    :func:`.documents.publish`; ``draw`` returns the pictures by the names of their files.
    """
    print(f"\n{stamp(content)}\n")
    for block, text in blocks.items():
        print(f"{block}\n\n{text}\n")
    with pictures.style():
        figures = draw()
        drawn = [pictures.save(fig, arguments.out / f"{stem}.png") for stem, fig in figures.items()]
    filled = documents.publish(page, name, content, blocks, drawn) if arguments.docs else []
    print("Written:", *(str(path) for path in (*drawn, *filled)))
