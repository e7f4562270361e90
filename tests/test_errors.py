"""Trainings that diverge: what the error tells."""

import pickle

import numpy as np
import pytest

import omp_mlp
from omp_mlp import TrainingDivergedError

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
OPTIONS = {"epochs": 1, "batch_size": 4}


def test_diverged_training_names_round_and_replica():
    bad_weight = np.where(np.arange(12) == 10, 3e38, 1)  # a sample of replica 1
    with pytest.raises(TrainingDivergedError) as caught:
        omp_mlp.train_parallel(
            X, X[:, 0] * 1e3, 2, "average", sample_weight=bad_weight, shuffle=False, **OPTIONS
        )
    assert (caught.value.round, caught.value.replica) == (0, 1)
    assert "replica 1 has an infinite loss or weight" in str(caught.value)
    assert "in round 0; try a smaller learning_rate" in str(caught.value)
    assert isinstance(caught.value, ArithmeticError)


def test_diverged_merge_names_no_replica():
    error = TrainingDivergedError(3, None)
    assert "the merged network has an infinite loss or weight" in str(error)
    assert "in round 3" in str(error)


@pytest.mark.parametrize("replica", [0, None])
def test_error_survives_pickling(replica):
    error = TrainingDivergedError(3, replica)
    again = pickle.loads(pickle.dumps(error))
    assert (again.round, again.replica, str(again)) == (3, replica, str(error))
