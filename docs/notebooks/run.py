"""Run the notebooks, and keep their outputs: ``make notebooks``.

Times of cells and addresses of objects, which are others in every run, are not kept.
"""

import argparse
import base64
import io
import re
import sys
from pathlib import Path

import nbclient
import nbformat
from PIL import Image

HERE = Path(__file__).resolve().parent
TIMEOUT_SECONDS = 600  # of one cell
MOST_BYTES = 200_000  # of one notebook
COLOURS = 64  # of a picture


def run(path: Path, *, write: bool) -> None:
    """Run a notebook from top to bottom; any error ends it."""
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
        record_timing=False,
    )
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("metadata", {}).clear()
            # The address of an object says nothing, and is another one each time.
            for kind, text in output.get("data", {}).items():
                if kind == "text/plain":
                    output["data"][kind] = re.sub(r" at 0x[0-9a-f]+", "", text)
                elif kind == "image/png":
                    output["data"][kind] = _smaller(text)
    notebook.metadata.pop("language_info", None)
    text = nbformat.writes(notebook) + "\n"
    if len(text) > MOST_BYTES:
        raise SystemExit(
            f"{path.name} has {len(text)} bytes with its outputs; at most {MOST_BYTES}"
        )
    if write:
        path.write_text(text, encoding="utf-8")


def _smaller(picture: str) -> str:
    """Return a PNG with fewer colours, in base64 as it came."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    packed = io.BytesIO()
    image.quantize(COLOURS).save(packed, format="PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def main() -> None:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="without .ipynb; default: all")
    parser.add_argument("--check", action="store_true", help="keep no outputs")
    given = parser.parse_args()
    names = given.names or sorted(path.stem for path in HERE.glob("*.ipynb"))
    for name in names:
        path = HERE / f"{name}.ipynb"
        if not path.exists():
            raise SystemExit(f"there is no notebook {name}; got {given.names}")
        print(f"{name} ...", file=sys.stderr, flush=True)
        run(path, write=not given.check)


if __name__ == "__main__":
    main()
