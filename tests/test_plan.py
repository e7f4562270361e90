"""What is planned from options and data together: what goes with what, and "auto"."""

import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import fixed
from omp_mlp import Model, cadence
from omp_mlp.inputs import read_inputs

X = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 3  # classes 0, 1, 2
A_MODEL = Model(
    [np.zeros((3, 128)), np.zeros((128, 3))], [np.zeros(128), np.zeros(3)], classes=[0, 1, 2]
)
REGRESSION = Model([np.zeros((3, 128)), np.zeros((128, 3))], [np.zeros(128), np.zeros(3)])


def test_numbers_beyond_the_data_are_as_good_as_the_data():
    # Neither overflows the core's 64-bit integers, nor reserves memory for batches that never come.
    expected = fixed.train_parallel(X, Y, 2, "average", epochs=2, batch_size=6, merge_every=12)
    for huge in (2**40, 2**63 - 1):
        model = fixed.train_parallel(
            X, Y, 2, "average", epochs=2, batch_size=huge, merge_every=huge, workers=2**20
        )
        np.testing.assert_array_equal(model.weights[0], expected.weights[0])
        assert len(model.history) == 1


def test_warmup_and_outer_steps_have_a_common_start(train_without_work):
    with pytest.raises(ValueError, match="warmup_samples=5 trains one common start"):
        train_without_work(merge="average", init="independent", warmup_samples=5)
    with pytest.raises(ValueError, match=r"outer_learning_rate=0\.5 merges updates"):
        train_without_work(merge="average", init="independent", outer_learning_rate=0.5)


@pytest.mark.parametrize(
    ("merge", "momentum"),
    [("gradient_diversity", "auto"), ("gradient_diversity", 0), ("average", 0.5)],
)
def test_independent_starts_have_no_common_base(train_without_work, merge, momentum):
    with pytest.raises(ValueError, match=r"needs init='shared' or a Model; got init='independent'"):
        train_without_work(merge=merge, outer_momentum=momentum, init="independent")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            A_MODEL,
            {"hidden_layer_sizes": (64,)},
            "init must be a Model of layer_sizes (3, 64, 3), as this training has; got (3, 128, 3)",
        ),
        (A_MODEL, {"activation": "tanh"}, "of activation 'tanh', as this training has; got 'relu'"),
        (
            A_MODEL,
            {"loss": "squared_error"},
            "of output_activation 'logistic', as this training has; got 'softmax'",
        ),
        (
            A_MODEL,
            {"y": np.array(["a", "b", "c"])[Y]},
            "init must be a Model of the classes in y, ['a' 'b' 'c']; got [0 1 2]",
        ),
        (A_MODEL, {"y": Y + 1}, "of the classes in y, [1 2 3]; got [0 1 2]"),
        (
            REGRESSION,
            {"loss": "squared_error", "output_activation": "identity"},
            "of the classes in y, [0 1 2]; got None",
        ),
        (A_MODEL, {"y": X}, "of output_activation 'identity', as this training has; got 'softmax'"),
    ],
)
def test_start_that_does_not_fit(train_without_work, model, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        train_without_work(init=model, **options)


def test_losses_that_do_not_fit_y(train_without_work):
    with pytest.raises(ValueError, match=r"loss='cross_entropy' needs y of labels.*got y of"):
        train_without_work(y=X[:, 0], loss="cross_entropy")
    with pytest.raises(
        ValueError, match=r"goes with output_activation 'identity' or 'logistic'; got 's"
    ):
        train_without_work(y=X[:, 0], output_activation="softmax")


def automatic_period(
    X: Any, threads: int, batch_size: int, layer_sizes: tuple[int, ...], **changed: Any
) -> tuple[int, int]:
    """Return what merge_every="auto" chooses for ten epochs."""
    options: dict[str, Any] = {"merge_every": "auto", "is_periodic": True, **changed}
    return cadence.merge_period(
        **options,
        threads=threads,
        batch_size=batch_size,
        n_samples=len(X),
        samples_a_replica=10 * -(-len(X) // threads),
        layer_sizes=layer_sizes,
        nonzeros=read_inputs(X).nonzeros_a_sample,
    )


@pytest.mark.parametrize(
    ("name", "samples", "momentum"),
    [
        ("auto", 1023, 0.0),
        ("auto", 1024, 0.5),
        ("auto", None, 0.5),
        ("momentum", 1023, 0.0),
        ("nesterov", 1023, 0.9),
        ("bmuf", 1023, 1 - 1 / 32),
    ],
)
def test_outer_momentum_needs_samples(name: str, samples: int | None, momentum: float) -> None:
    outer = cadence.outer_step(
        name,
        "auto",
        "auto",
        is_periodic=True,
        threads=32,
        merges=100,
        samples_a_replica=samples,
    )
    assert outer.momentum == momentum


def test_automatic_period_by_hand() -> None:
    # Half of 512 inputs are nonzero: a sample takes 2 * 256 * 64 + 3 * 64 * 4 = 33,536 multiply-
    # adds, a merge of two replicas 12 * (513 * 64 + 65 * 4) + 2 * 10,000 = 417,104, a tenth of
    # 124.37 samples. As many merges has a period that grows from A to 16 A, if A is 0.338 of it.
    X = np.tile(np.float32([0, 1]), (16_384, 256))
    sizes = (512, 64, 4)
    for form in (X, scipy.sparse.csr_array(X[:300])):
        assert cadence.work_a_sample(read_inputs(form).nonzeros_a_sample(), sizes) == 33_536
    assert cadence.cheap_period(2, sizes, 33_536) == pytest.approx(124.37, abs=0.01)
    factor = (15 / 16) / np.log(16)
    # Two threads: 81,920 samples a replica; 160 for 512 merges are more than 124.4.
    assert factor * 124.37 == pytest.approx(42.05, abs=0.01)
    assert automatic_period(X, 2, 1, sizes) == (42, 672)
    assert automatic_period(X, 2, 8, sizes) == (40, 640)
    # Eight threads: 20,480 samples a replica; 40 for 512 merges.
    assert factor * 40 == pytest.approx(13.53, abs=0.01)
    assert automatic_period(X, 8, 1, sizes) == (14, 224)
    assert automatic_period(X, 8, 30, sizes) == (30, 480)
    # A hundred threads: 1,640 samples a replica. Not even rounds of 8 samples that stay as they are
    # make 512 merges.
    assert automatic_period(X, 100, 1, sizes) == (8, 8)
    assert automatic_period(X, 100, 6, sizes) == (6, 6)
    # Twenty threads: 8,200 samples; 16 for 512 merges. Rounds that grow 4 times from 8 have 14.8 on
    # the mean, and such that grow 8 times 19.
    assert automatic_period(X, 20, 1, sizes) == (8, 32)
    assert automatic_period(X, 20, 3, sizes) == (9, 36)
    # One of 8 inputs is nonzero: a merge takes longer, 4 * (513 * 64 + 65 * 4) = 132,368 multiply-
    # adds, than 8 samples do, each of 2 * 64 * 64 + 3 * 64 * 4 = 8,960.
    sparse = np.tile(np.eye(8, dtype=np.float32)[0], (16_384, 64))
    assert automatic_period(sparse, 100, 1, sizes) == (8, 128)
    # One thread: an epoch. A method that is applied once: all of it.
    assert automatic_period(X, 1, 8, sizes) == (16_384, 16_384)
    assert automatic_period(X, 8, 8, sizes, is_periodic=False) == (20_480, 20_480)
