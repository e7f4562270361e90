"""Lay out the source of the site: ``python docs/site/stage.py FOLDER``.

Pages keep their places in the project, so that their links to each other hold. Links to folders and
to source code, which are not on the site, become plain text. The gallery gets a picture from each
notebook.
"""

import base64
import json
import os
import re
import shutil
import sys
from pathlib import Path

SITE = Path(__file__).resolve().parent
ROOT = SITE.parents[1]

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "benchmarks/README.md"]
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def stage(target: Path) -> None:
    """Write the whole source of the site into a folder of its own."""
    shutil.rmtree(target, ignore_errors=True)
    notebooks = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
    pages = [ROOT / page for page in PAGES]
    pages += sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs").glob("*.json"))
    pages += [*sorted((ROOT / "docs/figures").glob("*.png")), *notebooks]
    for page in pages:
        place = target / page.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        if page.suffix == ".md":
            place.write_text(_on_the_site(page, pages), encoding="utf-8")
        else:
            shutil.copyfile(page, place)
    for page in SITE.rglob("*.md"):
        place = target / page.relative_to(SITE)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, place)
    (target / "notebooks.md").write_text(_gallery(notebooks, target), encoding="utf-8")


def _on_the_site(page: Path, pages: list[Path]) -> str:
    """Return a page whose links lead to pages of the site."""

    def link(match: re.Match[str]) -> str:
        text, there, _ = match.groups()
        if "://" in there or Path(os.path.normpath(page.parent / there)) in pages:
            return match.group()
        if not (page.parent / there).exists():
            raise SystemExit(f"{page.relative_to(ROOT)}: there is no {there}")
        return text

    return _LINK.sub(link, page.read_text(encoding="utf-8"))


def _gallery(notebooks: list[Path], target: Path) -> str:
    """Return a page with a card for each notebook: its title, first sentences and first picture."""
    thumbnails = target / "thumbnails"
    thumbnails.mkdir()
    cards = []
    for path in notebooks:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        title, _, about = "".join(cells[0]["source"]).partition("\n")
        pictures = [
            output["data"]["image/png"]
            for cell in cells
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        if not pictures:
            raise SystemExit(f"{path.name} has no picture: run make notebooks")
        picture = "".join(pictures[0])
        (thumbnails / f"{path.stem}.png").write_bytes(base64.b64decode(picture))
        cards.append(
            f":::{{grid-item-card}} {title.lstrip('# ')}\n"
            f":link: docs/notebooks/{path.stem}\n:link-type: doc\n"
            f":img-top: thumbnails/{path.stem}.png\n\n{about.strip()}\n:::\n"
        )
    contents = "\n".join(f"docs/notebooks/{path.stem}" for path in notebooks)
    return (
        "# Notebooks\n\n::::{grid} 1 2 2 2\n:gutter: 3\n\n"
        + "\n".join(cards)
        + f"::::\n\n```{{toctree}}\n:hidden:\n\n{contents}\n```\n"
    )


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
