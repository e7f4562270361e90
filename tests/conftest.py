"""What holds for every test: the environment, how property tests draw, shared fixtures."""

import copy
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import fixed

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
    """Give the tests, and what they start, a home of their own: no user's cache, nor settings."""
    home = tempfile.TemporaryDirectory(prefix="omp_mlp-tests-")
    config.add_cleanup(home.cleanup)
    os.environ["HOME"] = home.name
    for name in [name for name in os.environ if name.startswith("XDG_")] + ["OMP_MLP_CACHE"]:
        os.environ.pop(name, None)
    os.environ["XDG_CACHE_HOME"] = os.path.join(home.name, ".cache")


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
