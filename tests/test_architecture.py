"""The rules of the tree: who may know whom, and what no file may do.

They are rules between folders, by path: a new file in an old folder needs no line here.
docs/architecture.md gives the reasons.
"""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import omp_mlp
import oracle
from omp_mlp import _core

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"

# ---------------------------------------------------------------------------------------------- C++

CPP = {path.relative_to(ROOT / "cpp").as_posix(): path for path in (ROOT / "cpp").rglob("*.?pp")}

# A room knows the rooms before it in this list, and no other.
ROOMS = [
    *("base", "threads", "kernels", "data", "network", "optimizer", "merging", "training"),
    *("bindings", "tests"),
]
# These have nothing to do with each other, although one stands before the other.
STRANGERS = [("kernels", "threads"), ("merging", "data"), ("merging", "network")]
ALONE = {"bindings", "tests"}  # at the end of the core: nobody includes them


def room(name):
    """Return the folder of a C++ file, given from cpp/ on."""
    return name.split("/")[0]


def code_of(path):
    """Return the text of a C++ file without its comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def includes(path):
    """Return the names in the #include lines of a file, and whether each is in quotes."""
    found = re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', path.read_text(), re.MULTILINE)
    return [(name, bracket == '"') for bracket, name in found]


def own_includes(path):
    return {name for name, quoted in includes(path) if quoted}


def all_known(start, knows):
    """Return what something knows, directly or through others."""
    found, new = set(), set(knows[start])
    while new:
        found |= new
        new = set().union(*(knows[name] for name in new)) - found
    return found


def test_rooms_of_the_core_know_only_those_before_them():
    knows = {name: own_includes(path) for name, path in CPP.items()}
    assert {room(name) for name in CPP} == set(ROOMS)
    for name, included in knows.items():
        here = room(name)
        before = set(ROOMS[: ROOMS.index(here) + 1]) - (ALONE - {here})
        assert {room(header) for header in included} <= before, name
        known = {room(header) for header in all_known(name, knows)}
        assert not {other for one, other in STRANGERS if one == here} & known, name


def test_headers_of_the_core_say_what_they_are_and_are_included_by_path():
    for name, path in CPP.items():
        for header, quoted in includes(path):
            assert quoted == (header in CPP), (name, header)
        if name.endswith(".hpp"):
            assert path.read_text().startswith("// "), name
            assert path.read_text().count("#pragma once") == 1, name


def test_openmp_has_one_door_and_one_region():
    users = {
        name
        for name, path in CPP.items()
        if ("omp.h", False) in includes(path)
        or re.search(r"#\s*pragma\s+omp|\bomp_\w+\s*\(", code_of(path))
    }
    assert users == {"threads/team.cpp"}
    code = code_of(CPP["threads/team.cpp"])
    assert len(re.findall(r"#\s*pragma\s+omp\s+parallel", code)) == 1
    # A float reduction has no fixed order of summation.
    assert "reduction" not in code


def test_only_the_bindings_know_python():
    for name, path in CPP.items():
        knows = re.search(r"pybind11|Python\.h|\bPy[A-Z]\w*|\bpy::", code_of(path))
        assert not knows or room(name) == "bindings", name


# ------------------------------------------------------------------------------------------- Python

PACKAGE = ROOT / "python" / "omp_mlp"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}

# What a training is put together from, in this order: each knows those before it, and all modules
# that are not listed, which know none of these.
ORDER = ["merging", "cadence", "options", "costs", "data", "network", "plan", "lbfgs", "resume"]
ORDER += [
    "run",
    "search",
    "automatic",
    "keywords",
    "train",
    "distributed",
    "mpi",
    "sklearn",
    "dask",
    "plot",
    "cli",
    "__main__",
]
REQUIRED = {"numpy", "safetensors"}
OPTIONAL = {
    "dask",
    "distributed",
    "google",
    "joblib",
    "matplotlib",
    "mpi4py",
    "onnx",
    "pandas",
    "pooch",
    "pyarrow",
    "scipy",
    "sklearn",
}
OPTIONAL |= {"threadpoolctl", "torch", "tqdm", "typing_extensions"}
# Classes that are made of another library's: these modules are imported where they are used.
MADE_OF = {
    "convert.torch_modules": {"torch"},
    "dask.estimators": {"dask", "sklearn"},
    "dask.job": {"dask", "distributed"},
    "dask.parts": {"dask", "distributed"},
    "dask.predictions": {"dask"},
    "dask.scores": {"dask"},
    "dask.workers": {"distributed"},
    "sklearn": {"joblib", "sklearn"},
}


def imported(tree):
    """Return what the import statements of a module or of a part of it name, in full."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            found |= {f"{prefix}.{alias.name}" for alias in node.names}
    return found


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def at_import(path):
    """Return the import statements of a module that run when it is imported."""
    body = [node for node in parsed(path).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return ast.Module(body, [])


def packages(tree):
    return {name.split(".")[0] for name in imported(tree)}


def own_modules(tree):
    """Return those modules of the package that a part of a module imports."""
    found = set()
    for name in imported(tree):
        if name.startswith("omp_mlp."):
            inner = name.removeprefix("omp_mlp.")
            # Either a module, or a name from a module.
            found.add(inner if inner in MODULES or inner == "_core" else inner.rpartition(".")[0])
    return found - {"_core"}


def test_modules_know_only_those_before_them():
    def place(module):
        first = module.split(".")[0]
        return ORDER.index(first) if first in ORDER else -1

    for module, path in MODULES.items():
        for other in own_modules(parsed(path)):
            assert place(other) <= place(module), (module, other)


@pytest.mark.parametrize("of", ["the package", "the oracle", "the core"])
def test_nothing_goes_in_circles(of):
    if of == "the core":
        knows = {name: own_includes(path) & set(CPP) for name, path in CPP.items()}
    elif of == "the package":
        knows = {module: own_modules(parsed(path)) for module, path in MODULES.items()}
    else:
        knows = {
            path.stem: {name.split(".")[1] for name in imported(parsed(path)) if "oracle." in name}
            for path in (TESTS / "oracle").glob("*.py")
        }
    assert len(knows) > 4
    for name in knows:
        # A package's own __init__ is what its modules are reached through.
        assert name not in all_known(name, knows) or name in ("merging", "costs"), name


def test_packages_that_are_optional_are_imported_where_they_are_used():
    ours = {"omp_mlp", *sys.stdlib_module_names}
    for module, path in MODULES.items():
        assert packages(parsed(path)) - ours <= REQUIRED | OPTIONAL, module
        assert packages(at_import(path)) - ours <= REQUIRED | MADE_OF.get(module, set()), module
        assert module in MADE_OF or not own_modules(at_import(path)) & set(MADE_OF), module


# A product of NumPy wakes the threads of BLAS. They spin for a while after it, on the cores that a
# training needs, and its bits depend on their number. Merge methods in Python need such products.
def test_trainings_leave_the_threads_of_blas_asleep():
    calls = {"dot", "inner", "matmul", "tensordot", "vdot"}
    for module, path in MODULES.items():
        if path.parent.name == "merging":
            continue
        for node in ast.walk(parsed(path)):
            is_product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
            assert not is_product, (module, ast.unparse(node))
            called = isinstance(node, ast.Attribute) and node.attr in {*calls, "linalg"}
            assert not called, (module, ast.unparse(node))


def test_works_with_numpy_and_safetensors_alone(tmp_path):
    program = f"""
import sys
for name in {sorted(OPTIONAL)}:
    sys.modules[name] = None  # importing it raises ImportError
import omp_mlp
import numpy as np
X = np.random.default_rng(0).normal(size=(40, 3))
model = omp_mlp.train_parallel(X, X[:, 0] > 0, 2, epochs=1, validation_data=(X, X[:, 0] > 0))
model.save("network.safetensors")
loaded = omp_mlp.load("network.safetensors")
assert (loaded.predict(X) == model.predict(X)).all()
omp_mlp.merge([model, loaded])
omp_mlp.merge([model, loaded], "refit_output", X=X, y=X[:, 0] > 0)
omp_mlp.merge([model, loaded], "ensemble").distill(X, epochs=1)
try:
    omp_mlp.train_parallel(X, X[:, 0] > 0, 2, "weight_matching", callback=lambda p: 1 / 0)
except ImportError as error:
    assert 'pip install "omp_mlp[merge]"' in str(error)
else:
    raise AssertionError
omp_mlp.show_config()
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


# ------------------------------------------------------------------------------ the compiled module


def functions_of(body):
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def stub_arguments(function):
    arguments = function.args
    names = [a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]]
    return [name for name in names if name != "self"], len(arguments.kwonlyargs)


def runtime_arguments(function):
    """Return the names of the arguments, and how many are keyword-only.

    pybind11 has no other signature than the first line of the docstring.
    """
    signature = inspect.getdoc(function).splitlines()[0]
    # A default or an annotation may have commas and parentheses; names stand before a colon.
    listed = signature[signature.index("(") + 1 : signature.rindex(")")]
    depth, parts = 0, [""]
    for character in listed:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    names = [part.split(":")[0].strip() for part in parts if part.strip()]
    keywords = len(names) - names.index("*") - 1 if "*" in names else 0
    return [name for name in names if name not in ("self", "*", "/")], keywords


def test_stub_has_the_names_and_arguments_of_the_compiled_module():
    stub = parsed(PACKAGE / "_core.pyi")
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    functions = functions_of(stub.body)
    assert {*classes, *functions} == {name for name in vars(_core) if not name.startswith("_")}
    pairs = [(getattr(_core, name), function) for name, function in functions.items()]
    for name, node in classes.items():
        owner, methods = vars(getattr(_core, name)), functions_of(node.body)
        assert {*methods} - {"__init__"} == {name for name in owner if name[0] != "_"}, name
        pairs += [
            (getattr(getattr(_core, name), method), function)
            for method, function in methods.items()
            if not isinstance(owner[method], property)
        ]
    assert len(pairs) > 25
    for compiled, function in pairs:
        assert stub_arguments(function) == runtime_arguments(compiled), function.name


@pytest.mark.parametrize(
    ("rows", "oracles"),
    [
        (omp_mlp.merge_methods(), [*oracle.MERGES, *oracle.ONE_SHOT_MERGES]),
        (_core.optimizers(), oracle.OPTIMIZERS),
        (_core.activations(), oracle.ACTIVATIONS),
        (_core.losses(), {loss for loss, _ in oracle.PAIRS}),
    ],
    ids=["merge methods", "optimisers", "activations", "losses"],
)
def test_every_row_says_what_it_is_and_has_an_oracle(rows, oracles):
    assert sorted(row.name for row in rows) == sorted(oracles)
    for row in rows:
        assert row.name.isidentifier()
        assert row.name.islower()
        # Who first wrote max(z, 0), or z, is not known.
        assert row.formula
        assert row.reference or row.name in oracle.ACTIVATIONS


# ----------------------------------------------------------------------------- tests and benchmarks


def test_oracle_shares_nothing_with_the_package():
    for path in (TESTS / "oracle").rglob("*.py"):
        assert packages(parsed(path)) <= {"numpy", "oracle", *sys.stdlib_module_names}, path


# What holds for the whole tree, or for more than one module.
OF_THE_WHOLE = {"architecture", "covering", "docs", "mnist", "multilabel", "parallel"}


def test_every_test_file_mirrors_a_module():
    python = {part for module in MODULES for part in module.split(".")}
    core = {Path(name).stem for name in CPP} | {room(name) for name in CPP}
    benchmarks = {path.stem for path in (ROOT / "benchmarks").iterdir()}
    names = {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")}
    names = {name.removeprefix("benchmarks_").removeprefix("oracle_") for name in names}
    assert names - (python | core | benchmarks | OF_THE_WHOLE) == set()


def test_tests_ask_no_clock_and_draw_nothing_at_random():
    for path in TESTS.rglob("*.py"):
        tree = parsed(path)
        assert not {"random", "time", "timeit"} & packages(tree), path
        if path.name == "conftest.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("settings", "hypothesis.settings"), (path, "has a profile")
                seeded = node.args or node.keywords
                assert seeded or not called.endswith(("default_rng", "RandomState")), path


# The core's merges alone, without the copies that a training makes.
TIMES_THE_CORE = {"benchmarks/merging/cost.py"}


def test_benchmarks_use_what_users_have():
    for path in (ROOT / "benchmarks").rglob("*.py"):
        ours = {name for name in imported(parsed(path)) if name.split(".")[0] == "omp_mlp"}
        private = {name for name in ours if any(part[:1] == "_" for part in name.split("."))}
        assert not private or path.relative_to(ROOT).as_posix() in TIMES_THE_CORE, path
        for name in ours - private - {"omp_mlp"}:
            assert name.split(".")[1] in {*omp_mlp.__all__, "dask", "mpi"}, (path, name)


# ----------------------------------------------------------------------------------- build and tree


def test_build_is_of_every_source_for_every_machine_and_keeps_ieee_arithmetic():
    for name in ("CMakeLists.txt", "CMakePresets.json", "Makefile", "pyproject.toml"):
        lines = (ROOT / name).read_text().splitlines()
        code = "\n".join(line.split("#")[0] for line in lines)  # none of these has # in a string
        for flag in ("-march=native", "-mtune=native", "-ffast-math", "-Ofast", "-funsafe-math"):
            assert flag not in code, name
        # Found by tools that limit the number of threads only if it is linked dynamically.
        assert "libgomp.a" not in code, name
    build = (ROOT / "CMakeLists.txt").read_text()
    assert [name for name in CPP if name.endswith(".cpp") and f"cpp/{name}" not in build] == []


def test_no_path_of_one_machine():
    # Written with care not to find itself.
    elsewhere = re.compile(r"(?<![\w.\-])/(?:home|root|Users|work|mnt|media|srv)/\w")
    skip = {".git", ".venv", "build", "dist", "results", "__pycache__", ".hypothesis"}
    suffixes = {".py", ".pyi", ".cpp", ".hpp", ".md", ".toml", ".txt", ".json", ".yaml", ".yml", ""}
    checked = 0
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if skip.intersection(parts) or any(part.endswith("_cache") for part in parts):
            continue
        if path.is_file() and path.suffix in suffixes:
            text = path.read_text(encoding="utf-8")
            assert not elsewhere.search(text), (path, elsewhere.search(text))
            checked += 1
    assert checked > 40
