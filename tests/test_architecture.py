"""The rules of the code as a whole: who may know whom, where OpenMP is, what a build may not do.

docs/architecture.md gives the reasons. A new file has to be entered here, with what it may know.
"""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import omp_mlp
import reference
from omp_mlp import _core

ROOT = Path(__file__).resolve().parents[1]
CPP = sorted((ROOT / "cpp").rglob("*.?pp"))
PACKAGE = ROOT / "python" / "omp_mlp"

# ---------------------------------------------------------------------------------------------- C++

# What each part of the core may include; its header and its source file count as one.
BASICS = {"buffer"}
NETWORK = BASICS | {"kernels", "parameters", "samples", "first_layer", "centering"}
REPLICA = NETWORK | {"network", "optimizer", "shard", "heartbeat", "clock"}
TRAIN = REPLICA | {"replica", "dispatch", "merge", "parallel", "rounds"}
ONE_NETWORK = REPLICA | {
    "replica",
    "train",
    "parallel",
    "one_network",
    "output_stage",
    "shared_batch",
}
MAY_INCLUDE = {
    "buffer": set(),
    "clock": set(),
    "random": set(),
    "permutation": {"random"},
    "heartbeat": BASICS,
    "optimizer": BASICS,
    "wait": set(),
    "lockstep": BASICS | {"wait"},
    "parallel": BASICS | {"wait"},
    "table_choice": set(),
    "replica_groups": BASICS,
    "merge_loops": BASICS | {"replica_groups", "table_choice"},
    "merge_loops_simd": BASICS | {"merge_loops", "replica_groups"},
    "merge": BASICS | {"merge_loops"},
    "merge_cost": BASICS | {"clock", "merge", "parallel", "random"},
    "rounds": BASICS,
    "samples": BASICS,
    "centering": BASICS | {"samples"},
    "pixels": BASICS | {"first_layer", "kernels", "parallel", "samples"},
    "examine": BASICS | {"samples", "parallel"},
    "first_layer": BASICS | {"samples"},
    "shard": BASICS | {"permutation"},
    "parameters": BASICS | {"random"},
    "kernels": BASICS,
    "kernel_tables": {"kernels"},
    "kernels_plain": {"kernels", "kernel_tables"},
    "kernels_simd": {"kernels", "kernel_tables"},
    "dispatch": {"kernels", "kernel_tables", "table_choice"},
    "network": NETWORK,
    "touched_rows": BASICS | {"parameters"},
    "replica": REPLICA | {"touched_rows"},
    "predict": NETWORK | {"network", "dispatch", "parallel", "shard"},
    "train": TRAIN,
    "shared_batch": NETWORK | {"network"},
    "output_stage": NETWORK | {"network"},
    "section": ONE_NETWORK | {"lockstep"},
    "synchronous": ONE_NETWORK | {"lockstep"},
    "hogwild": ONE_NETWORK,
    "one_network": TRAIN | {"train", "section", "synchronous", "hogwild", "lockstep"},
    "check_kernels": NETWORK | {"network", "dispatch", "random"},
    "bindings": REPLICA
    | {"dispatch", "examine", "merge", "merge_cost", "one_network"}
    | {"parallel", "pixels", "predict", "train"},
}
# These know nothing of each other, not even through others.
STRANGERS = ["kernels", "parameters", "samples", "shard", "merge", "parallel"]


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def includes(path):
    """Return the names in the #include lines of a file, and whether each is in quotes."""
    found = re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)', path.read_text(), re.MULTILINE)
    return [(name, bracket == '"') for bracket, name in found]


def included_parts():
    """Return the parts that each part includes directly."""
    parts = {path.stem: set() for path in CPP}
    for path in CPP:
        parts[path.stem] |= {Path(name).stem for name, quoted in includes(path) if quoted}
    return {part: others - {part} for part, others in parts.items()}


def test_every_cpp_file_has_its_rule():
    assert {path.stem for path in CPP} == set(MAY_INCLUDE)


@pytest.mark.parametrize("part", sorted(MAY_INCLUDE))
def test_parts_include_only_what_they_may_know(part):
    assert included_parts()[part] <= MAY_INCLUDE[part]


@pytest.mark.parametrize("part", STRANGERS)
def test_strangers_do_not_know_each_other(part):
    parts = included_parts()
    known, ahead = set(), [part]
    while ahead:
        known.add(ahead[-1])
        ahead = ahead[:-1] + [other for other in parts[ahead[-1]] if other not in known]
    assert known.isdisjoint(set(STRANGERS) - {part})


def test_own_headers_are_in_quotes_and_exist():
    for path in CPP:
        for name, quoted in includes(path):
            own = [ROOT / "cpp" / "include" / name, ROOT / "cpp" / "src" / name]
            assert quoted == any(candidate.is_file() for candidate in own), (path, name)


def test_openmp_has_one_door():
    users = {
        path.name
        for path in CPP
        if ("omp.h", False) in includes(path)
        or re.search(r"#\s*pragma\s+omp|\bomp_\w+\s*\(", without_comments(path.read_text()))
    }
    assert users == {"parallel.cpp"}


def test_openmp_has_one_region():
    code = without_comments((ROOT / "cpp" / "src" / "parallel.cpp").read_text())
    assert len(re.findall(r"#\s*pragma\s+omp\s+parallel", code)) == 1
    # A float reduction has no fixed order of summation.
    assert "reduction" not in code


def test_core_knows_nothing_of_python():
    for path in CPP:
        knows = re.search(r"pybind11|Python\.h|\bPy[A-Z]\w*", without_comments(path.read_text()))
        assert bool(knows) == (path.name == "bindings.cpp"), path


def test_merge_methods_see_no_network():
    code = without_comments((ROOT / "cpp" / "src" / "merge.cpp").read_text())
    code += without_comments((ROOT / "cpp" / "include" / "omp_mlp" / "merge.hpp").read_text())
    assert not re.search(r"\b(Network|Shape|Parameters|LayerView)\b", code)


def test_headers_say_what_they_are_and_are_included_once():
    for path in CPP:
        if path.suffix == ".hpp":
            text = path.read_text()
            assert text.startswith("// "), path
            assert text.count("#pragma once") == 1, path


# ------------------------------------------------------------------------------------------- Python

MAY_IMPORT = {
    "_errors": set(),
    "datasets": set(),
    "history": set(),
    "_validate": {"_core"},
    "_workers": {"_core"},
    "_config": {"_core", "_workers"},
    "_watch": {"_validate", "history"},
    "predictor": {"_validate"},
    "model": {"_core", "_validate", "_workers", "history", "predictor"},
    # A training may end in an ensemble, and an ensemble in a training (distill).
    "ensemble": {"_validate", "history", "model", "predictor", "train"},
    "_layers": {"_validate", "model"},
    "_line_search": {"model"},
    "_matching": {"_layers"},
    "_regmean": {"_layers", "_validate", "model"},
    "_refit": {"_layers", "_validate", "model", "predictor"},
    "_methods": {
        *("_core", "_layers", "_matching", "_refit", "_regmean", "_validate"),
        *("ensemble", "model"),
    },
    "merge": {"_core", "_errors", "_line_search", "_methods", "_validate", "model"},
    "_cadence": {"_core", "_methods", "_validate"},
    "_strategy": {"_validate"},
    "_cost_model": {"_cadence", "_validate", "model"},
    "_calibration": {"_core", "_cost_model", "_validate", "_workers"},
    "costs": {"_calibration", "_cost_model", "_validate", "model"},
    "train": {
        *("_cadence", "_core", "_errors", "_methods", "_strategy", "_validate", "_watch"),
        *("_workers", "costs"),
        *("ensemble", "history", "merge", "model", "predictor"),
    },
    "__init__": {
        *("_config", "_core", "_errors", "_methods"),
        *("costs", "datasets", "ensemble", "history", "merge", "model", "train"),
    },
}
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
            if node.module == "omp_mlp":
                found |= {f"omp_mlp.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


def strangers(names):
    return {name.split(".")[0] for name in names} - {"omp_mlp", *sys.stdlib_module_names}


def test_every_python_module_has_its_rule():
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", sorted(MAY_IMPORT))
def test_modules_import_only_what_they_may_know(module):
    found = imported_modules(ast.parse((PACKAGE / f"{module}.py").read_text()))
    own = {name.split(".")[1] for name in found if name.startswith("omp_mlp.")}
    assert own <= MAY_IMPORT[module]
    assert strangers(found) <= REQUIRED | OPTIONAL


@pytest.mark.parametrize("module", sorted(MAY_IMPORT))
def test_what_is_optional_is_imported_where_it_is_used(module):
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    at_import = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert strangers(imported_modules(ast.Module(at_import, []))) <= REQUIRED


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
    typed_dicts = {name for name in classes if name.startswith("_")}
    public = {name for name in vars(_core) if not name.startswith("_")}
    assert (classes - typed_dicts) | set(stub_functions(STUB.body)) == public


def test_stub_has_the_methods_of_the_classes():
    for node in STUB.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = set(stub_functions(node.body)) - {"__init__"}
            runtime = {name for name in vars(getattr(_core, node.name)) if name[0] != "_"}
            assert methods == runtime, node.name


def test_stub_has_the_arguments_of_the_functions():
    functions = [(_core, node) for node in stub_functions(STUB.body).values()]
    for owner in (_core.Samples, _core.Network):
        node = next(n for n in STUB.body if getattr(n, "name", "") == owner.__name__)
        functions += [(owner, method) for method in stub_functions(node.body).values()]
    assert len(functions) > 15
    for owner, node in functions:
        assert stub_arguments(node) == runtime_arguments(getattr(owner, node.name)), node.name


def test_merge_methods_have_a_row_and_an_oracle():
    methods = omp_mlp.merge_methods()
    oracles = [*reference.MERGES, *reference.ONE_SHOT_MERGES]
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
