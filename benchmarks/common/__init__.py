"""What all benchmarks share. Each module does one thing, and there is no second way to do it.

arguments.py   read the command line: a table of the options that several benchmarks have
machine.py     name the machine, the build and the commit
data.py        load the images that a benchmark trains on
timing.py      take times in turn, and wait for cores that nobody else slows down
others.py      what other programs take of the cores meanwhile
progress.py    say what goes on
process.py     a process of its own that answers requests
files.py       write JSON, whole or not at all, after every piece of a run
tables.py      lay out tables for the terminal and for documents
pictures.py    the look of pictures, and saving them
documents.py   fill the generated blocks of a document, and store the results beside it
report.py      show what was found: print it, draw it, and publish it in a document

A benchmark calls them in this order::

    arguments = arguments.parser(__doc__, "data", "quick", "docs", "out").parse_args(argv)
    results = Results(arguments.out / "name.json", machine.describe_run("make name", options))
    found = results.take("piece", measure)          # measures, and writes all that is there so far
    report.show(arguments, results.content, "page.md", "name", {"block": table}, draw)
"""

from importlib.util import find_spec

for _name in ("matplotlib", "numpy", "omp_mlp"):
    if find_spec(_name) is None:
        raise SystemExit(
            f"{_name} is not installed. From the project's root: pip install '.[bench]'"
        )
