"""What holds for every test: environment, property tests, which cases run, shared fixtures."""

import copy
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import fixed
from covering import covering

# Limits of the user's own for OpenMP and for workers. OpenMP reads them once, when it is loaded.
for _name in list(os.environ):
    if _name.startswith(("OMP_", "GOMP_", "KMP_", "LOKY_")) and not _name.startswith("OMP_MLP_"):
        del os.environ[_name]

from omp_mlp import _core  # noqa: E402

# `make test` draws the same examples every time, and bounds no time: a busy machine is no mistake.
# `make explore` draws others each time, and many; what it finds becomes an @example.
settings.register_profile(
    "test",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore",
    derandomize=False,
    print_blob=True,
    deadline=None,
    max_examples=3000,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("test")


def pytest_configure(config: pytest.Config) -> None:
    """Give the tests, and what they start, a home of their own: no user's cache, nor settings.

    Let them train few rows.
    """
    # Most tests train a handful of rows, which is what this one warning is about.
    few_rows = "ignore:threads=[0-9]+ leaves a replica:omp_mlp.SettingsWarning"
    config.addinivalue_line("filterwarnings", few_rows)
    home = tempfile.TemporaryDirectory(prefix="omp_mlp-tests-")
    config.add_cleanup(home.cleanup)
    os.environ["HOME"] = home.name
    for name in [name for name in os.environ if name.startswith("XDG_")] + ["OMP_MLP_CACHE"]:
        os.environ.pop(name, None)
    os.environ["XDG_CACHE_HOME"] = os.path.join(home.name, ".cache")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that runs products of parameters whole."""
    parser.addoption(
        "--all-cases", action="store_true", help="run all cases of tests marked `covering`, too"
    )


_DRAWS = pytest.StashKey[dict[str, Any]]()  # the state of each module's RNG after its import


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note where the modules' generators of random numbers stand."""
    modules = {item.module for item in session.items if isinstance(item, pytest.Function)}
    session.config.stash[_DRAWS] = {
        module.__name__: module.RNG.bit_generator.state
        for module in modules
        if hasattr(module, "RNG")
    }


@pytest.fixture(autouse=True)
def _the_same_numbers_in_any_order(request: pytest.FixtureRequest) -> None:
    """Let every test draw from its module's RNG what it would draw as the only test."""
    state = request.config.stash[_DRAWS].get(request.module.__name__)
    if state is not None:
        request.module.RNG.bit_generator.state = state


@pytest.hookimpl(tryfirst=True)  # before a random order, so that it runs the same cases
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cases that a test marked ``covering`` can do without."""
    if config.getoption("all_cases"):
        return
    tests: dict[str, list[Any]] = {}
    for item in items:
        if item.get_closest_marker("covering"):
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    chosen = {id(case) for cases in tests.values() for case in _covering_cases(cases)}
    for item in items:
        is_kept = item.get_closest_marker("covering") is None or id(item) in chosen
        (kept if is_kept else left_out).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


def _covering_cases(cases: list[Any]) -> list[Any]:
    (strength,) = cases[0].get_closest_marker("covering").args
    # An id for each parametrize of the test, and for each of its fixtures with parameters.
    ids = [tuple(case.callspec._idlist) for case in cases]
    return [cases[k] for k in covering(ids, strength)]


# All that this machine can run, or the one that is forced.
FORCED = "OMP_MLP_KERNELS" in os.environ
KERNELS = [_core.kernels_in_use()] if FORCED else _core.kernel_names()


@pytest.fixture(params=KERNELS)
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test with every table of kernels, or those that it names."""
    before = _core.kernels_in_use()
    _core.select_kernels(request.param)
    yield request.param
    _core.select_kernels(before)


X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 3
OPTIONS = {"epochs": 1, "batch_size": 4}


@pytest.fixture
def train_without_work(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Train with an argument or two out of order; fail if any work is done, or the data change."""
    fixed.train_parallel(X, Y, 2, "average", **OPTIONS)  # in order, all is well

    def work(**_: Any) -> None:
        pytest.fail("the core was called")

    def callback(_: Any) -> None:
        pytest.fail("the callback was called")

    monkeypatch.setattr(_core, "train", work)

    def run(
        X: Any = X, y: Any = Y, threads: Any = 2, merge: Any = "average", **options: Any
    ) -> Any:
        options = {**OPTIONS, "callback": callback, **options}
        before = copy.deepcopy((X, y))
        try:
            return fixed.train_parallel(X, y, threads, merge, **options)
        finally:
            for given, original in zip((X, y), before, strict=True):
                if isinstance(given, np.ndarray):
                    np.testing.assert_array_equal(given, original)

    return run
