"""Files and pickles of all releases can be read, and the networks answer as they did."""

import importlib.util
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest

import omp_mlp

GOLDEN = Path(__file__).resolve().parent / "golden"
RELEASES = sorted(path for path in GOLDEN.iterdir() if (path / "answers.json").exists())
# Sums of a few numbers about 1 in float32, in another order with other kernels. The largest values
# are about 1e6.
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture(scope="module")
def make():
    """The script that writes the files."""
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases():
    return [(release, name) for release in RELEASES for name in answers_of(release)]


def answers_of(release):
    return json.loads((release / "answers.json").read_text())


@pytest.mark.parametrize("release, name", cases(), ids=lambda one: getattr(one, "name", one))
def test_networks_of_a_release_answer_as_they_did(make, release, name):
    expected = answers_of(release)[name]
    asked = {"table": make.table(), "values": make.rows() * [1, 1, 1e5] + [0, 0, 1.6e9]}
    X = asked.get(name, make.rows())
    if name == "estimator":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns of a pickle of another version
            network = pickle.loads((release / "estimator.pickle").read_bytes())
        np.testing.assert_allclose(network.predict_proba(X), expected, **CLOSE)
        return
    saved = omp_mlp.load(release / f"{name}.safetensors")
    pickled = pickle.loads((release / f"{name}.pickle").read_bytes())
    for network in (saved, pickled):
        np.testing.assert_allclose(make.answers(network, X), expected, **CLOSE)
    np.testing.assert_array_equal(make.answers(saved, X), make.answers(pickled, X))
    assert len(saved.history) == len(pickled.history) > 0
    assert saved.columns == pickled.columns


def test_files_of_this_release_are_there_and_small(make):
    release = GOLDEN / omp_mlp.__version__
    assert release in RELEASES
    assert set(answers_of(release)) == {*make.networks(), "estimator"}
    assert sum(path.stat().st_size for path in release.iterdir()) < 40_000
