"""Trainings on a Dask cluster of two worker processes."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

import omp_mlp
from processes import HANGS_AFTER

pytest.importorskip("distributed", reason="needs dask and distributed: pip install omp_mlp[dask]")

import dask.array as da
import dask.dataframe as dd
import pandas as pd
import sklearn.base
from distributed import Client, LocalCluster

import omp_mlp.dask
from omp_mlp.dask import job
from omp_mlp.dask.parts import joined

ROWS = 240
OPTIONS: dict[str, Any] = {
    "hidden_layer_sizes": (9,), "epochs": 2, "batch_size": 4, "merge_every": 16, "seed": 3,
    "learning_rate": 0.05,
}  # fmt: skip


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
            local_directory=str(tmp_path_factory.mktemp("dask")),
            silence_logs=50,
        ) as cluster,
        Client(cluster) as made,
    ):
        yield made


@pytest.fixture
def workers(client: Client) -> list[str]:
    """Return the addresses of two workers: one that was killed is started anew by its nanny."""
    client.wait_for_workers(2, timeout=HANGS_AFTER)
    return sorted(client.nthreads())


def bytes_and_classes() -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (ROWS, 12)).astype(np.uint8)
    X[rng.random(X.shape) < 0.6] = 0
    return X, np.arange(ROWS) % 3


def held(client: Client, blocks: list[Any], workers: list[str]) -> Any:
    """Return a Dask array of blocks that are on these workers."""
    parts = []
    for block, worker in zip(blocks, workers, strict=True):
        (future,) = client.scatter([block], workers=[worker], hash=False)
        parts.append(da.from_delayed(future, block.shape, block.dtype))
    return da.concatenate(parts)


def halves(client: Client, workers: list[str]) -> tuple[Any, Any]:
    X, y = bytes_and_classes()
    return (
        held(client, np.array_split(X, 2), workers),
        held(client, np.array_split(y, 2), workers),
    )


def ended(work: Callable[[], Any]) -> Any:
    """Return what work returns or raises; fail if it hangs."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # a result as any other
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(HANGS_AFTER)
    if not found:
        pytest.fail("hangs")
    return found[0]


def parts_of(model: omp_mlp.Model) -> list[NDArray[np.float32]]:
    return [*model.weights, *model.biases]


def assert_same_bits(got: omp_mlp.Model, expected: omp_mlp.Model) -> None:
    for mine, other in zip(parts_of(got), parts_of(expected), strict=True):
        assert (mine == other).all()


def test_two_workers_train_the_network_of_one_process(client: Client, workers: list[str]) -> None:
    X, y = halves(client, workers)
    alone = omp_mlp.train_parallel(*bytes_and_classes(), 2, shuffle="shards", **OPTIONS)
    gathered = omp_mlp.dask.train(client, X, y, deterministic=True, **OPTIONS)
    assert_same_bits(gathered, alone)
    assert (gathered.history.loss == alone.history.loss).all()
    summed = omp_mlp.dask.train(client, X, y, **OPTIONS)
    for mine, other in zip(parts_of(summed), parts_of(alone), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=2e-6 * np.abs(other).max())


def test_sparse_blocks_are_trained_as_they_are(client: Client, workers: list[str]) -> None:
    X, y = bytes_and_classes()
    X = X.astype(np.float32) / 255
    rows = [scipy.sparse.csr_matrix(block) for block in np.array_split(X, 3)]
    at = [workers[0], workers[0], workers[1]]
    got = omp_mlp.dask.train(
        client,
        held(client, rows, at),
        held(client, np.array_split(y, 3), at),
        deterministic=True,
        **OPTIONS,
        scale_inputs=False,
    )
    assert got.score(X, y) > 0.3
    assert got.history.samples[-1] == 2 * ROWS


def test_frames_of_unknown_length_keep_names_and_labels(client: Client) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(ROWS, 3)), columns=["a", "b", "c"])
    labels = pd.Series(np.where(frame["a"] > 0, "up", "down"))
    X = dd.from_pandas(frame, npartitions=4)
    y = dd.from_pandas(labels, npartitions=4)
    weight = dd.from_pandas(pd.Series(np.ones(ROWS)), npartitions=4)
    model = omp_mlp.dask.train(client, X, y, sample_weight=weight, **{**OPTIONS, "epochs": 20})
    assert model.columns is not None
    assert model.columns.names == ("a", "b", "c")
    assert model.classes is not None
    assert model.classes.tolist() == ["down", "up"]
    assert model.score(frame, labels) > 0.9
    lazy = omp_mlp.dask.predict(model, X)
    assert lazy.npartitions == 4
    answers = lazy.compute()
    assert (answers.index == frame.index).all()
    assert (answers.to_numpy() == model.predict(frame)).all()
    proba = omp_mlp.dask.predict_proba(model, X).compute()
    assert proba.columns.tolist() == ["down", "up"]
    np.testing.assert_array_equal(proba.to_numpy(), model.predict_proba(frame))


def test_labels_of_one_worker_alone_are_learned(client: Client, workers: list[str]) -> None:
    X, y = bytes_and_classes()
    order = np.argsort(y, kind="stable")
    model = omp_mlp.dask.train(
        client,
        held(client, np.array_split(X[order], 2), workers),
        held(client, np.array_split(y[order], 2), workers),
        **OPTIONS,
    )
    assert model.classes is not None
    assert model.classes.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("ends", "at", "ranks"),
    [
        ([0, 0, 200, ROWS], [0, 0, 1, 1], 2),  # empty and unequal ones
        ([0, 100, 100, ROWS], [1, 1, 0, 1], 1),  # a worker has a part without rows
        ([0, 70, 150, ROWS], [1, 1, 1, 1], 1),  # a worker has none
    ],
)
def test_empty_and_unequal_partitions(
    client: Client, workers: list[str], ends: list[int], at: list[int], ranks: int
) -> None:
    X, y = bytes_and_classes()
    places = [workers[k] for k in at]
    lengths = np.diff([0, *ends])
    blocks_of_X, blocks_of_y = np.split(X, ends[:-1]), np.split(y, ends[:-1])
    assert [len(block) for block in blocks_of_X] == lengths.tolist()
    X_dask, y_dask = held(client, blocks_of_X, places), held(client, blocks_of_y, places)
    model = omp_mlp.dask.train(client, X_dask, y_dask, deterministic=True, **OPTIONS)
    assert model.history.samples[-1] == 2 * ROWS
    if ranks == 1:
        assert_same_bits(model, omp_mlp.train_parallel(X, y, 1, shuffle="shards", **OPTIONS))
    for method in ("predict", "predict_proba"):
        lazy = getattr(omp_mlp.dask, method)(model, X_dask)
        assert lazy.chunks[0] == X_dask.chunks[0]
        expected = getattr(model, method)(X)
        assert lazy.dtype == expected.dtype
        np.testing.assert_array_equal(lazy.compute(), expected)


def test_arrays_that_are_cut_otherwise_are_cut_alike(client: Client) -> None:
    X, y = bytes_and_classes()
    weight = np.linspace(0.5, 1.5, ROWS)
    model = omp_mlp.dask.train(
        client,
        da.from_array(X, chunks=(ROWS, 5)),
        da.from_array(y, chunks=100),
        sample_weight=da.from_array(weight, chunks=7),
        deterministic=True,
        **OPTIONS,
    )
    alone = omp_mlp.train_parallel(X, y, 1, shuffle="shards", sample_weight=weight, **OPTIONS)
    assert_same_bits(model, alone)


@pytest.mark.parametrize("kind", ["arrays", "Dask"])
def test_early_stopping_on_the_same_rows_everywhere(
    client: Client, workers: list[str], kind: str
) -> None:
    X, y = bytes_and_classes()
    held_out: Any = (X[::5], y[::5])
    changed = {**OPTIONS, "early_stopping": True, "patience": 2}
    expected = omp_mlp.train_parallel(
        X, y, 2, shuffle="shards", validation_data=held_out, **changed
    )
    if kind == "Dask":
        held_out = tuple(da.from_array(part, chunks=(20, *part.shape[1:])) for part in held_out)
    X_dask, y_dask = halves(client, workers)
    model = omp_mlp.dask.train(
        client, X_dask, y_dask, deterministic=True, validation_data=held_out, **changed
    )
    assert model.history.best_round == expected.history.best_round
    assert_same_bits(model, expected)


def test_updates_may_be_rounded(client: Client, workers: list[str]) -> None:
    X, y = halves(client, workers)
    exact, got, again = (
        omp_mlp.dask.train(client, X, y, send=send, merge_ranks_every=1, **OPTIONS)
        for send in ("float32", "bfloat16", "bfloat16")
    )
    assert_same_bits(got, again)
    for mine, other in zip(parts_of(got), parts_of(exact), strict=True):
        assert 0 < np.abs(mine - other).max() < 0.02 * np.abs(other).max()
    with pytest.raises(ValueError, match="send must be 'float32' where deterministic=True"):
        omp_mlp.dask.train(client, X, y, send="bfloat16", deterministic=True, **OPTIONS)


def test_workers_may_train_on_while_updates_travel(client: Client, workers: list[str]) -> None:
    X, y = halves(client, workers)
    changed = {**OPTIONS, "merge_ranks_every": 1}
    plain, got, again = (
        omp_mlp.dask.train(client, X, y, overlap=overlap, **changed)
        for overlap in (False, True, True)
    )
    assert_same_bits(got, again)
    assert len(got.history) == len(plain.history) > 2
    for mine, other in zip(parts_of(got), parts_of(plain), strict=True):
        assert np.abs(mine - other).max() > 0
    for wrong, words in [
        ({"overlap": True, "deterministic": True}, "overlap must be False where deterministic"),
        ({"overlap": 2}, "overlap must be one of False, True; got 2"),
    ]:
        with pytest.raises(ValueError, match=words):
            omp_mlp.dask.train(client, X, y, **{**OPTIONS, **wrong})


def test_a_worker_that_is_killed_while_updates_travel_is_named(
    client: Client, workers: list[str]
) -> None:
    X, y = halves(client, workers)
    endless = {**OPTIONS, "epochs": 10**9, "overlap": True}

    def kill(progress: omp_mlp.Progress) -> None:
        if progress.round == 3:
            os.kill(os.getpid(), 9)

    error = ended(lambda: omp_mlp.dask.train(client, X, y, **endless, callback=kill))
    assert isinstance(error, omp_mlp.dask.RankError), error
    assert error.reason == f"its worker {workers[0]} left the cluster"
    client.wait_for_workers(2, timeout=HANGS_AFTER)
    X, y = halves(client, sorted(client.nthreads()))
    model = ended(lambda: omp_mlp.dask.train(client, X, y, overlap=True, **OPTIONS))
    assert isinstance(model, omp_mlp.Model), model


def test_trainings_at_once_take_turns(client: Client, workers: list[str]) -> None:
    X, y = halves(client, workers)
    options = {**OPTIONS, "deterministic": True}
    expected = omp_mlp.dask.train(client, X, y, **options)

    def train(_: int) -> omp_mlp.Model:
        return omp_mlp.dask.train(client, X, y, **options)

    with ThreadPoolExecutor(3) as pool:
        for model in ended(lambda: list(pool.map(train, range(3)))):
            assert_same_bits(model, expected)


def test_a_worker_that_is_killed_is_named_and_the_others_train_again(
    client: Client, workers: list[str]
) -> None:
    X, y = halves(client, workers)
    endless = {**OPTIONS, "epochs": 10**9}

    def kill(_: omp_mlp.Progress) -> None:
        os.kill(os.getpid(), 9)

    error = ended(lambda: omp_mlp.dask.train(client, X, y, **endless, callback=kill))
    assert isinstance(error, omp_mlp.dask.RankError), error
    assert error.rank == 0
    assert error.reason == f"its worker {workers[0]} left the cluster"
    client.wait_for_workers(2, timeout=HANGS_AFTER)
    X, y = halves(client, sorted(client.nthreads()))
    model = ended(lambda: omp_mlp.dask.train(client, X, y, **OPTIONS))
    assert isinstance(model, omp_mlp.Model), model


def test_a_worker_that_stands_still_is_waited_for_no_longer_than_the_timeout(
    client: Client, workers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_GRACE", 0.5)
    X, y = halves(client, workers)
    processes = client.run(os.getpid)

    def stop(_: omp_mlp.Progress) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    try:
        endless = {**OPTIONS, "epochs": 10**9, "timeout": 2.0}
        error = ended(lambda: omp_mlp.dask.train(client, X, y, **endless, callback=stop))
    finally:
        os.kill(processes[workers[0]], signal.SIGCONT)
    assert isinstance(error, TimeoutError), error
    assert "of 2 waited for rank" in str(error)
    model = ended(lambda: omp_mlp.dask.train(client, X, y, **OPTIONS))
    assert isinstance(model, omp_mlp.Model), model


def test_a_cluster_that_encrypts_is_refused() -> None:
    job.check_not_encrypted(["tcp://127.0.0.1:1"])
    with pytest.raises(ValueError, match="got the worker tls:"):
        job.check_not_encrypted(["tcp://127.0.0.1:1", "tls://10.0.0.1:8"])


def test_an_error_on_a_worker_is_raised_by_the_client(client: Client, workers: list[str]) -> None:
    X, y = halves(client, workers)

    def fail(progress: omp_mlp.Progress) -> None:
        raise KeyError(f"round {progress.round}")

    error = ended(lambda: omp_mlp.dask.train(client, X, y, **OPTIONS, callback=fail))
    assert isinstance(error, KeyError)
    assert error.args == ("round 0",)
    rows = bytes_and_classes()[0].astype(np.float64)
    rows[-1, 2] = np.nan
    X = held(client, np.array_split(rows, 2), workers)
    error = ended(lambda: omp_mlp.dask.train(client, X, y, **OPTIONS))
    assert isinstance(error, ValueError)
    assert "NaN in row 119, column 2" in str(error)
    assert isinstance(
        omp_mlp.dask.train(client, *halves(client, workers), **OPTIONS), omp_mlp.Model
    )


def test_a_warning_of_the_workers_is_given_by_the_client(
    client: Client, workers: list[str]
) -> None:
    X, y = halves(client, workers)
    with pytest.warns(omp_mlp.TaskWarning, match="whole numbers of 3 kinds") as found:
        omp_mlp.dask.train(client, X, y.astype(float), **OPTIONS)
    assert {warning.filename for warning in found} == {__file__}


def test_a_callback_ends_the_training_of_all(client: Client, workers: list[str]) -> None:
    X, y = halves(client, workers)
    model = omp_mlp.dask.train(
        client, X, y, **OPTIONS, callback=lambda progress: progress.merged and progress.round == 2
    )
    assert len(model.history) == 3


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"X": np.zeros((4, 2))},
            TypeError,
            "X must be a Dask array or a Dask dataframe; got a nd",
        ),
        ({"y": [0, 1]}, TypeError, "y must be a Dask array or a Dask dataframe; got a list"),
        (
            {"y": da.zeros(99, dtype=int)},
            ValueError,
            "y must have a row for each of the 240 rows of X; got 99",
        ),
        (
            {"y": dd.from_pandas(pd.Series(np.zeros(ROWS, int)), npartitions=3)},
            ValueError,
            "y must have as many partitions as X, 2; got 3",
        ),
        (
            {"y": dd.from_pandas(pd.Series(np.zeros(ROWS + 2, int)), npartitions=2)},
            ValueError,
            "y must have as many rows as X in each partition; got 121 where X has 120, in part",
        ),
        ({"epoch": 3}, TypeError, "'epoch' is not an option of a training"),
        ({"timeout": -1}, ValueError, "timeout must be"),
        ({"ports": [70_000]}, ValueError, "ports must be"),
        ({"progress": True}, ValueError, "progress must be False"),
        ({"checkpoint": "a file"}, ValueError, "checkpoint must be None on a cluster"),
        ({"shuffle": "global"}, ValueError, "shuffle must be 'shards' or False"),
        ({"early_stopping": True}, ValueError, "needs validation_data"),
        ({"validation_data": 3}, TypeError, "validation_data must be a pair"),
        ({"client": "tcp://"}, TypeError, "client must be a distributed.Client; got a str"),
        ({"X": da.zeros((0, 3)), "y": da.zeros(0)}, ValueError, "X must have rows; got 1 part"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    client: Client,
    workers: list[str],
    changed: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    X, y = halves(client, workers)
    given = {"client": client, "X": X, "y": y, **OPTIONS, **changed}
    with pytest.raises(error, match=message):
        omp_mlp.dask.train(**given)


def test_classifier(client: Client, workers: list[str]) -> None:
    X, y = bytes_and_classes()
    names = np.array(["zero", "one", "two"])
    weight = np.linspace(1.0, 3.0, ROWS)
    X_dask, y_dask = halves(client, workers)
    y_dask = y_dask.map_blocks(lambda block: names[block], dtype=names.dtype)
    weight_dask = da.from_array(weight, chunks=y_dask.chunks)
    estimator = omp_mlp.dask.DaskOmpMLPClassifier(
        (9,), max_iter=3, random_state=0, merge_every=16, batch_size=4
    )
    estimator.client = client
    fitted = estimator.fit(X_dask, y_dask, weight_dask, X_val=X, y_val=names[y])
    assert fitted is estimator
    assert estimator.classes_.tolist() == ["one", "two", "zero"]
    assert (estimator.n_iter_, estimator.t_, estimator.n_features_in_) == (3, 3 * ROWS, 12)
    assert len(estimator.validation_scores_) == 3
    local = pickle.loads(pickle.dumps(estimator)).to_local()
    assert type(local) is omp_mlp.OmpMLPClassifier
    assert local.get_params() == estimator.get_params()
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        lazy = getattr(estimator, method)(X_dask)
        np.testing.assert_array_equal(lazy.compute(), getattr(local, method)(X))
    assert estimator.score(X_dask, y_dask) == pytest.approx(local.score(X, names[y]))
    got = estimator.score(X_dask, y_dask, weight_dask)
    assert got == pytest.approx(local.score(X, names[y], weight))
    assert estimator.score(X, names[y]) == local.score(X, names[y])
    assert not hasattr(estimator, "partial_fit")
    assert hasattr(local, "partial_fit")
    assert not hasattr(sklearn.base.clone(estimator), "model_")


def test_regressor(client: Client, workers: list[str]) -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(ROWS, 4))
    y = X[:, :2] @ [[1.0, 2.0], [-3.0, 0.5]] + 1000.0
    weight = np.linspace(0.0, 3.0, ROWS)
    X_dask, y_dask, weight_dask = (
        held(client, np.split(part, [0, 100]), [workers[1], *workers]) for part in (X, y, weight)
    )
    estimator = omp_mlp.dask.DaskOmpMLPRegressor(
        hidden_layer_sizes=(9,), max_iter=20, random_state=0
    )
    estimator.fit(X_dask, y_dask, weight_dask)
    local = estimator.to_local()
    assert local.score(X, y) > 0.9
    np.testing.assert_array_equal(estimator.predict(X_dask).compute(), local.predict(X))
    assert estimator.score(X_dask, y_dask) == pytest.approx(local.score(X, y), rel=1e-9)
    got = estimator.score(X_dask, y_dask, weight_dask)
    assert got == pytest.approx(local.score(X, y, weight), rel=1e-9)


@pytest.mark.parametrize("given", [{"tol": 1e-3}, {"n_iter_no_change": 4}, {"verbose": True}])
@pytest.mark.usefixtures("client")
def test_estimators_refuse_what_a_cluster_does_not_do(given: dict[str, Any]) -> None:
    estimator = omp_mlp.dask.DaskOmpMLPClassifier(**given)
    with pytest.raises(ValueError, match=f"{next(iter(given))} must be"):
        estimator.fit(da.zeros((4, 2)), da.zeros(4))


def test_blocks_are_joined_without_those_that_have_no_rows() -> None:
    empty = np.zeros((0, 2))
    some = np.ones((3, 2))
    assert joined([empty, some, empty]) is some
    assert joined([empty, empty]) is empty
    assert joined([some, None]) is None
    np.testing.assert_array_equal(joined([some, 2 * some]), np.concatenate([some, 2 * some]))
    matrix = scipy.sparse.csr_matrix(some)
    assert (joined([matrix, matrix]) != scipy.sparse.vstack([matrix, matrix])).nnz == 0
    frame = pd.DataFrame(some, columns=["a", "b"])
    assert joined([frame, frame]).shape == (6, 2)
