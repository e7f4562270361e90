"""The rules of the code as a whole: who may know whom, where OpenMP is, what a build may not do.

docs/architecture.md gives the reasons. A new folder or module has to be entered here, in its place.
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
CPP = sorted((ROOT / "cpp").rglob("*.?pp"))
PACKAGE = ROOT / "python" / "omp_mlp"

# ---------------------------------------------------------------------------------------------- C++

# A room knows the rooms before it in this list, and no other.
ROOMS = [
    *("base", "threads", "kernels", "data", "network", "optimizer", "merging", "training"),
    *("bindings", "tests"),
]
# These have nothing to do with each other, although one stands before the other.
STRANGERS = [("kernels", "threads"), ("merging", "data"), ("merging", "network")]
ALONE = {"bindings", "tests"}  # at the end of the core: nobody includes them


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def room(path):
    """Return the folder of a C++ file, given from cpp/ on."""
    return Path(path).parts[0]


def includes(path):
    """Return the names in the #include lines of a file, and whether each is in quotes."""
    found = re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', path.read_text(), re.MULTILINE)
    return [(name, bracket == '"') for bracket, name in found]


def own_includes(path):
    return [name for name, quoted in includes(path) if quoted]


def known(path, seen=None):
    """Return all headers that a file includes, directly or through others."""
    seen = set() if seen is None else seen
    for name in set(own_includes(path)) - seen:
        seen.add(name)
        known(ROOT / "cpp" / name, seen)
    return seen


def test_every_cpp_file_is_in_a_room():
    assert {room(path.relative_to(ROOT / "cpp")) for path in CPP} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_rooms_know_only_those_before_them(name):
    before = set(ROOMS[: ROOMS.index(name) + 1]) - (ALONE - {name})
    for path in (ROOT / "cpp" / name).rglob("*.?pp"):
        assert {room(header) for header in own_includes(path)} <= before, path


@pytest.mark.parametrize("one, other", STRANGERS)
def test_strangers_do_not_know_each_other(one, other):
    for path in (ROOT / "cpp" / one).rglob("*.?pp"):
        assert other not in {room(header) for header in known(path)}, path


def test_no_header_includes_itself():
    for path in CPP:
        if path.suffix == ".hpp":
            assert path.relative_to(ROOT / "cpp").as_posix() not in known(path), path


def test_own_headers_are_in_quotes_and_exist():
    for path in CPP:
        for name, quoted in includes(path):
            assert quoted == (ROOT / "cpp" / name).is_file(), (path, name)


def test_openmp_has_one_door_and_one_region():
    users = {
        path.relative_to(ROOT / "cpp").as_posix()
        for path in CPP
        if ("omp.h", False) in includes(path)
        or re.search(r"#\s*pragma\s+omp|\bomp_\w+\s*\(", without_comments(path.read_text()))
    }
    assert users == {"threads/team.cpp"}
    code = without_comments((ROOT / "cpp" / "threads" / "team.cpp").read_text())
    assert len(re.findall(r"#\s*pragma\s+omp\s+parallel", code)) == 1
    # A float reduction has no fixed order of summation.
    assert "reduction" not in code


def test_only_the_bindings_know_python():
    for path in CPP:
        code = without_comments(path.read_text())
        knows = re.search(r"pybind11|Python\.h|\bPy[A-Z]\w*|\bpy::", code)
        assert not knows or room(path.relative_to(ROOT / "cpp")) == "bindings", path


def test_headers_say_what_they_are_and_are_included_once():
    for path in CPP:
        if path.suffix == ".hpp":
            text = path.read_text()
            assert text.startswith("// "), path
            assert text.count("#pragma once") == 1, path


# ------------------------------------------------------------------------------------------- Python

MODULES = {
    path.relative_to(PACKAGE)
    .with_suffix("")
    .as_posix()
    .replace("/", ".")
    .removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}
# Each line knows those above it; within a line, modules know each other only without a circle.
LAYERS = [
    {"errors", "datasets", "history", "checks", "workers", "config"},
    {"sparse", "targets", "watch"},
    {"inputs"},
    {"predictor", "model", "ensemble"},
    {name for name in MODULES if name.startswith("merging")},
    {"cadence", "strategies"} | {name for name in MODULES if name.startswith("costs")},
    {"train"},
]
# An ensemble is distilled by a training, which may end in an ensemble: imported where it is used.
LATE = {("ensemble", "train")}
REQUIRED = {"numpy", "safetensors"}
OPTIONAL = {"matplotlib", "pooch", "scipy", "sklearn", "threadpoolctl", "tqdm"}


def imported_modules(tree):
    """Return what the import statements of a module or of a part of it name, in full."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports within the package name it"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_modules(tree):
    """Return those modules of the package that a part of a module imports."""
    found = set()
    for name in imported_modules(tree):
        if name.startswith("omp_mlp."):
            inner = name.removeprefix("omp_mlp.")
            # Either a module, or a name from a module.
            found.add(inner if inner in MODULES or inner == "_core" else inner.rpartition(".")[0])
    return found - {"_core"}


def strangers(names):
    return {name.split(".")[0] for name in names} - {"omp_mlp", *sys.stdlib_module_names}


def at_import(path):
    tree = ast.parse(path.read_text())
    body = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return ast.Module(body, [])


def test_every_module_has_its_layer():
    assert set().union(*LAYERS) == set(MODULES)
    assert sum(len(layer) for layer in LAYERS) == len(MODULES)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_modules_import_only_what_they_may_know(module):
    level = next(i for i, layer in enumerate(LAYERS) if module in layer)
    tree = ast.parse(MODULES[module].read_text())
    may_know = set().union(*LAYERS[: level + 1]) | {late for one, late in LATE if one == module}
    assert own_modules(tree) <= may_know
    assert strangers(imported_modules(tree)) <= REQUIRED | OPTIONAL
    # What is optional is imported where it is used.
    assert strangers(imported_modules(at_import(MODULES[module]))) <= REQUIRED


def test_imports_have_no_circle():
    knows = {module: own_modules(at_import(path)) for module, path in MODULES.items()}
    while knows:
        leaves = {module for module, others in knows.items() if not others & set(knows) - {module}}
        assert leaves, f"a circle among {sorted(knows)}"
        knows = {module: others for module, others in knows.items() if module not in leaves}


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
    assert "pip install omp_mlp[merge]" in str(error)
else:
    raise AssertionError
omp_mlp.show_config()
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, timeout=120)


# ------------------------------------------------------------------------------ the compiled module


def stub_functions(body):
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


STUB = ast.parse((PACKAGE / "_core.pyi").read_text())


def test_stub_has_the_names_of_the_module():
    classes = {node.name for node in STUB.body if isinstance(node, ast.ClassDef)}
    public = {name for name in vars(_core) if not name.startswith("_")}
    assert classes | set(stub_functions(STUB.body)) == public


def test_stub_has_the_methods_of_the_classes():
    for node in STUB.body:
        if isinstance(node, ast.ClassDef):
            methods = set(stub_functions(node.body)) - {"__init__"}
            runtime = {name for name in vars(getattr(_core, node.name)) if name[0] != "_"}
            assert methods == runtime, node.name


def test_stub_has_the_arguments_of_the_functions():
    functions = [(_core, node) for node in stub_functions(STUB.body).values()]
    for node in STUB.body:
        if isinstance(node, ast.ClassDef):
            owner = getattr(_core, node.name)
            functions += [
                (owner, method)
                for method in stub_functions(node.body).values()
                if not isinstance(vars(owner)[method.name], property)
            ]
    assert len(functions) > 25
    for owner, node in functions:
        assert stub_arguments(node) == runtime_arguments(getattr(owner, node.name)), node.name


def test_merge_methods_have_a_row_and_an_oracle():
    methods = omp_mlp.merge_methods()
    oracles = [*oracle.MERGES, *oracle.ONE_SHOT_MERGES]
    assert sorted(method.name for method in methods) == sorted(oracles)
    for method in methods:
        assert method.name.isidentifier()
        assert method.name.islower()
        assert min(len(method.summary), len(method.formula), len(method.reference)) > 5
        assert method.cadence in ("once", "periodic")


# ----------------------------------------------------------------------------------- build and tree


@pytest.mark.parametrize(
    "name", ["CMakeLists.txt", "CMakePresets.json", "Makefile", "pyproject.toml"]
)
def test_build_is_for_every_machine_and_keeps_ieee_arithmetic(name):
    lines = (ROOT / name).read_text().splitlines()
    code = "\n".join(line.split("#")[0] for line in lines)  # none of these has # in a string
    for flag in ("-march=native", "-mtune=native", "-ffast-math", "-Ofast", "-funsafe-math"):
        assert flag not in code
    # Found by tools that limit the number of threads only if it is linked dynamically.
    assert "libgomp.a" not in code


def test_every_source_file_is_built():
    build = (ROOT / "CMakeLists.txt").read_text()
    for path in CPP:
        if path.suffix == ".cpp":
            assert path.relative_to(ROOT).as_posix() in build


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
