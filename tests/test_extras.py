"""Packages that only some uses need: what is said where one is missing."""

import ast
import os
import re
from pathlib import Path

import pytest

import omp_mlp
from omp_mlp import extras
from processes import run_python

PACKAGE = Path(omp_mlp.__file__).parent
ROOT = Path(__file__).resolve().parents[1]


def test_a_module_that_is_there_is_returned_and_one_that_is_not_is_named():
    assert extras.imported("json", "reading", "json", "none") is __import__("json")
    with pytest.raises(ImportError) as caught:
        extras.imported("no_such_module", "drawing", "No such", "plot")
    assert str(caught.value) == 'drawing needs No such: pip install "omp_mlp[plot]"'
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_waits_for_an_import_of_another_thread(tmp_path):
    (tmp_path / "slow_module.py").write_text(
        "import time\nimporting.set()\ntime.sleep(0.5)\nvalue = 3\n"
    )
    script = f"""
        import builtins, warnings
        sys.path.insert(0, {str(tmp_path)!r})
        warnings.simplefilter("ignore")  # about forks beside threads
        from omp_mlp.extras import imported
        builtins.importing = threading.Event()
        load = lambda: imported("slow_module", "this", "it", "none").value
        thread = threading.Thread(target=load)
        thread.start()
        importing.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(load())
        status = os.waitpid(child, 0)[1]
        thread.join()
        print(json.dumps([status, load()]))
    """
    assert run_python(script) == [3 << 8, 3]


def texts(tree):
    """Return the texts of a module in which a program speaks: all but docstrings."""
    bodies = (ast.Module, ast.ClassDef, ast.FunctionDef)
    silent = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, bodies) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent
    ]


def test_the_sentence_stands_in_one_place_and_names_extras_that_there_are():
    declared = re.search(
        r"\[project.optional-dependencies\]\n(.*?)\n\n",
        (ROOT / "pyproject.toml").read_text(),
        re.DOTALL,
    )
    names = set(re.findall(r"^(\w+) = \[", declared[1], re.MULTILINE))
    asked = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        speaks = any("pip install" in text for text in texts(tree))
        assert speaks == (path.name == "extras.py"), path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
                "imported",
                "missing",
            ):
                last = node.args[-1]
                asked |= {last.value} if isinstance(last, ast.Constant) else set()
    assert {"data", "onnx", "parquet", "plot", "progress", "sklearn", "torch"} <= asked <= names
