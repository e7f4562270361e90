"""Fixtures that several files of tests use."""

from collections.abc import Iterator

import pytest

from omp_mlp import _core


@pytest.fixture(params=_core.kernel_names())
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test with every table of kernels that this machine can run, or those that it names."""
    before = _core.kernels_in_use()
    _core.select_kernels(request.param)
    yield request.param
    _core.select_kernels(before)
