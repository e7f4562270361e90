"""The build tells on itself."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys

import pytest

import omp_mlp
from omp_mlp import _core
from processes import HANGS_AFTER

KEYS = [
    "version",
    "compiler",
    "build_type",
    "openmp",
    "pybind11",
    "kernels",
    "kernels_available",
    "python",
    "machine",
    "cores",
    "workers",
]


@pytest.fixture
def config():
    return omp_mlp.build_config()


def test_keys_are_the_documented_ones(config):
    assert list(config) == KEYS
    for key in KEYS:
        assert f"``{key}``" in omp_mlp.build_config.__doc__


def test_version_is_that_of_the_package(config):
    assert config["version"] == omp_mlp.__version__ == importlib.metadata.version("omp_mlp")


def test_build(config):
    assert re.fullmatch(r"(GNU|Clang|AppleClang) \d+(\.\d+)+", config["compiler"])
    assert config["build_type"] in ("Release", "Debug", "RelWithDebInfo")
    assert re.fullmatch(r"\d\.\d", config["openmp"])
    assert re.fullmatch(r"[3-9]\.\d+", config["pybind11"])


def test_machine(config):
    assert config["python"] == platform.python_version()
    assert platform.machine() in config["machine"]
    assert config["cores"] == os.cpu_count()
    assert 1 <= config["workers"] <= config["cores"]


def test_kernels(config):
    available = config["kernels_available"]
    assert available == _core.kernel_names()
    assert config["kernels"] in available
    assert available[-1] == "plain"
    assert len(set(available)) == len(available)


def test_kernels_follow_the_selection():
    before = _core.kernels_in_use()
    try:
        for name in _core.kernel_names():
            _core.select_kernels(name)
            assert omp_mlp.build_config()["kernels"] == name
        _core.select_kernels("best")
        assert omp_mlp.build_config()["kernels"] == _core.kernel_names()[0]
    finally:
        _core.select_kernels(before)


def test_unknown_kernels_are_refused_with_the_names():
    before = _core.kernels_in_use()
    with pytest.raises(ValueError, match=r"kernels must be one of 'best'.*'plain'; got 'mmx'"):
        _core.select_kernels("mmx")
    assert _core.kernels_in_use() == before


def in_a_process_with(**environment):
    return subprocess.run(
        [sys.executable, "-c", "import omp_mlp; print(omp_mlp.build_config()['kernels'])"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER,
        check=False,
    )


def test_kernels_can_be_forced_by_the_environment():
    forced = in_a_process_with(OMP_MLP_KERNELS="plain")
    assert (forced.stdout.strip(), forced.returncode) == ("plain", 0)
    unknown = in_a_process_with(OMP_MLP_KERNELS="mmx")
    assert unknown.returncode != 0
    assert "kernels must be one of" in unknown.stderr


def test_show_config_prints_a_line_for_each_entry(capsys, config):
    assert omp_mlp.show_config() is None
    lines = [line.split(": ", 1) for line in capsys.readouterr().out.splitlines()]
    shown = {name.strip(): value for name, value in lines}
    assert list(shown) == KEYS
    assert shown["version"] == omp_mlp.__version__
    assert shown["kernels_available"] == ", ".join(config["kernels_available"])
    assert {len(line[0]) for line in lines} == {18}


def test_public_names():
    for name in omp_mlp.__all__:
        assert getattr(omp_mlp, name) is not None
    undocumented = [
        name
        for name in omp_mlp.__all__
        if callable(getattr(omp_mlp, name)) and not getattr(omp_mlp, name).__doc__
    ]
    assert undocumented == []


def test_paper_is_a_mapping_of_options_that_nobody_can_change():
    with pytest.raises(TypeError, match="does not support item assignment"):
        omp_mlp.PAPER["epochs"] = 2
