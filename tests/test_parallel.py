"""The same bits from any number of workers, and order when threads, forks and signals meet."""

from __future__ import annotations

import concurrent.futures
import hashlib
import math
import os
import pickle
import signal
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

import fixed
import omp_mlp
import oracle
from processes import HANGS_AFTER, run_python, start_python

METHODS = sorted(oracle.MERGES)

# Shared by this file and by the processes that it starts: what is trained on, and the digest.
SETTING = """
import hashlib
import numpy as np
import omp_mlp

def data(n_samples=203, n_features=23):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n_samples, n_features)).astype(np.float32)
    return X, np.arange(n_samples) % 3

def digest(model):
    parts = [part for layer in zip(model.weights, model.biases) for part in layer]
    parts += [model.history.samples, model.history.loss]
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()

def train(threads=7, merge="gradient_diversity", **changed):
    options = dict(hidden_layer_sizes=(33, 5), epochs=3, batch_size=4, merge_every=16, seed=2)
    return omp_mlp.train_parallel(*data(), threads, merge, **{**options, **changed})
"""
_setting: dict[str, Any] = {}
exec(SETTING, _setting)
data: Callable[..., tuple[NDArray[np.float32], NDArray[np.int64]]] = _setting["data"]
digest: Callable[[omp_mlp.Model], str] = _setting["digest"]
train: Callable[..., omp_mlp.Model] = _setting["train"]

# A training that nobody waits for the end of.
ENDLESS = 10**9


def run(script: str, **environment: str) -> Any:
    """Run a script after SETTING in a process of its own; return what it prints, read as JSON."""
    return run_python(SETTING + textwrap.dedent(script), **environment)


# ------------------------------------------------------------------------------------ the same bits


@pytest.mark.covering(2)
@pytest.mark.parametrize("merge_every", [None, 16], ids="every_{}".format)
@pytest.mark.parametrize("batch_size", [1, 4], ids="batch_{}".format)
@pytest.mark.parametrize("threads", [1, 2, 7, 16])
@pytest.mark.parametrize("merge", METHODS)
def test_any_number_of_workers_twice_in_a_row(
    merge: str, threads: int, batch_size: int, merge_every: int | None
) -> None:
    options: dict[str, Any] = {"merge_every": merge_every, "batch_size": batch_size}
    if merge == "sum":
        options |= {"init_scale": 0.001, "epochs": 1}
    if merge_every is not None and merge == "sum":
        options["merge_every"] = 8 * -(-203 // threads) // 9  # two rounds
    digests = {
        digest(train(threads, merge, workers=workers, **options))
        for workers in (1, 2, 5, None, 1, 2, 5)
    }
    assert len(digests) == 1


@pytest.mark.parametrize("init", ["shared", "independent"])
@pytest.mark.parametrize("shuffle", ["global", "shards", False], ids="shuffle_{}".format)
@pytest.mark.parametrize("form", ["dense", "bytes", "sparse"])
def test_any_number_of_workers_for_any_input(form: str, shuffle: str | bool, init: str) -> None:
    X, y = data()
    X_given = {
        "dense": X,
        "bytes": (X * 40).clip(0, 255).astype(np.uint8),
        "sparse": scipy.sparse.csr_array(X * (X > 0)),
    }[form]
    options = {"epochs": 2, "batch_size": 3, "merge_every": 10, "shuffle": shuffle, "init": init}
    models = [
        fixed.train_parallel(
            X_given, y, 7, "average", workers=w, validation_data=(X_given, y), **options
        )
        for w in (1, 2, 5)
    ]
    assert len({digest(model) for model in models}) == 1
    assert len({tuple(model.history.validation_loss.tolist()) for model in models}) == 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"first_layer": "sparse"},
        {"first_layer": "dense"},
        {"skip_confident": 0.3},
    ],
    ids=lambda options: ",".join(map(str, options.values())) or "plain",
)
@pytest.mark.usefixtures("kernels")
def test_any_number_of_workers_with_every_kernel(options: dict[str, Any]) -> None:
    for batch_size in (1, 5, 16):
        digests = {digest(train(workers=w, batch_size=batch_size, **options)) for w in (1, 2, 5)}
        assert len(digests) == 1


def test_where_X_lies_in_memory_does_not_matter() -> None:
    X, y = data()
    expected = digest(fixed.train_parallel(X, y, 3, epochs=2))
    for offset in (1, 3, 8, 15):
        moved = np.empty(X.size + offset, dtype=np.float32)[offset:].reshape(X.shape)
        moved[:] = X
        assert digest(fixed.train_parallel(moved, y, 3, epochs=2)) == expected


def expected_digests() -> list[str]:
    return [digest(train(merge=merge)) for merge in ("average", "gradient_diversity")]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OMP_THREAD_LIMIT": "1"},
        {"OMP_THREAD_LIMIT": "2"},
        {"OMP_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "3"},
        {"OMP_NUM_THREADS": "3", "OMP_DYNAMIC": "true"},
        {"OMP_MAX_ACTIVE_LEVELS": "0"},
        {"OMP_PROC_BIND": "true"},
        {"OMP_SCHEDULE": "dynamic,1", "OMP_WAIT_POLICY": "active"},
    ],
    ids=lambda environment: ",".join(f"{k}={v}" for k, v in environment.items()) or "as_it_is",
)
def test_settings_of_openmp_do_not_change_a_bit(environment: dict[str, str]) -> None:
    script = """
    found = []
    for merge in ("average", "gradient_diversity"):
        for workers in (None, 4):
            found.append(digest(train(merge=merge, workers=workers)))
    print(json.dumps(found))
    """
    average, diversity = expected_digests()
    assert run(script, **environment) == [average] * 2 + [diversity] * 2


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs Linux's /proc")
@pytest.mark.parametrize("workers, threads", [(1, 7), (2, 7), (5, 7), (9, 7), (3, 1)])
def test_as_many_threads_run_as_workers_were_asked_for(workers: int, threads: int) -> None:
    # Counted in a fresh process, in which no earlier training has left threads behind.
    found = run(f"""
    before = len(os.listdir("/proc/self/task"))
    counts = []
    train({threads}, workers={workers}, epochs=1,
          callback=lambda report: counts.append(len(os.listdir("/proc/self/task"))))
    print(json.dumps([count - before for count in counts]))
    """)
    assert len(found) >= 1
    assert set(found) == {min(workers, threads) - 1}


def test_two_python_threads_at_once() -> None:
    configurations = [(4, "average"), (7, "gradient_diversity")] * 4
    options = {"epochs": 40, "workers": 2}
    alone = [digest(train(*c, **options)) for c in configurations[:2]] * 4
    barrier = threading.Barrier(2)

    def work(part: list[tuple[int, str]]) -> list[str]:
        barrier.wait()
        return [digest(train(*c, **options)) for c in part]

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, [configurations, configurations[::-1]])
    assert first == alone
    assert second == alone[::-1]


def test_prediction_from_two_python_threads_while_training() -> None:
    X, _ = data()
    model = train()
    expected = model.predict_proba(X)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        training = pool.submit(train, epochs=40, workers=2)
        answers = list(pool.map(model.predict_proba, [X] * 50))
        trained = training.result()
    assert all(answer.tobytes() == expected.tobytes() for answer in answers)
    assert digest(trained) == digest(train(epochs=40))


# -------------------------------------------------------------------------------------------- forks

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no os.fork on this platform")


@needs_fork
@pytest.mark.parametrize("workers", [1, 4])
def test_fork_after_training(workers: int) -> None:
    # An OpenMP runtime that keeps a pool of threads hangs in a forked child that uses it again.
    found = run(f"""
    before = digest(train(workers={workers}))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm({HANGS_AFTER})
        os.write(write, digest(train(workers={workers})).encode())
        os._exit(0)
    os.close(write)
    in_child = os.read(read, 1000).decode()
    _, status = os.waitpid(child, 0)
    after = digest(train(workers={workers}))
    print(json.dumps([before, in_child, after, status]))
    """)
    assert found == [digest(train())] * 3 + [0]


@needs_fork
def test_pool_of_forked_processes_after_training() -> None:
    found = run(f"""
    import multiprocessing
    def work(workers):
        return digest(train(workers=workers))
    before = work(4)
    context = multiprocessing.get_context("fork")
    # Each process has its own alarm: those of the parent are not inherited.
    with context.Pool(2, initializer=signal.alarm, initargs=({HANGS_AFTER},)) as pool:
        found = pool.map(work, [4, 1, 2, 4])
    print(json.dumps([before, *found, work(4)]))
    """)
    assert found == [digest(train())] * 6


@needs_fork
def test_fork_of_a_fork() -> None:
    found = run(f"""
    def in_child(depth):
        mine = [digest(train(workers=3))]
        if depth == 0:
            return mine
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm({HANGS_AFTER})
            os.write(write, json.dumps(in_child(depth - 1)).encode())
            os._exit(0)
        os.close(write)
        theirs = json.loads(os.read(read, 4000).decode())
        os.waitpid(child, 0)
        return mine + theirs + [digest(train(workers=3))]
    print(json.dumps(in_child(2)))
    """)
    assert found == [digest(train())] * 5


def test_a_started_process_trains_the_same() -> None:
    assert run("print(json.dumps(digest(train())))") == digest(train())


# ------------------------------------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"threads": 1, "merge_every": None}, id="one_thread-one_round"),
        pytest.param({"threads": 4, "workers": 1, "merge_every": None}, id="one_worker-one_round"),
        pytest.param({"threads": 4, "workers": 2, "merge_every": None}, id="two_workers-one_round"),
        pytest.param(
            {"threads": 5, "workers": 4, "merge_every": None}, id="four_workers-one_round"
        ),
        # Rounds that are over sooner than anybody would think of looking up from them.
        pytest.param({"threads": 1, "merge_every": 4}, id="one_thread-short_rounds"),
        pytest.param({"threads": 4, "workers": 1, "merge_every": 4}, id="one_worker-short_rounds"),
        pytest.param({"threads": 4, "workers": 2, "merge_every": 4}, id="two_workers-short_rounds"),
        pytest.param({"threads": 1, "merge_every": "auto"}, id="one_thread-rounds_of_an_epoch"),
        pytest.param({"threads": 300, "workers": 2, "merge_every": 4}, id="tiny_shards"),
    ],
)
def test_ctrl_c(options: dict[str, Any]) -> None:
    # Without the signal, nothing would end this training before the alarm.
    digests = run(
        f"""
    def interrupt():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
    before = digest(train())
    timer = threading.Thread(target=interrupt)
    try:
        timer.start()
        train(epochs={ENDLESS}, **{options!r})
    except KeyboardInterrupt:
        timer.join()
        print(json.dumps([before, digest(train()), digest(train(workers=3))]))
    """
    )
    # Python and the library are in order: the next training is what it always was.
    assert digests == [digest(train())] * 3


def test_ctrl_c_in_a_training_with_callback_and_validation() -> None:
    reported, after = run(
        f"""
    started = threading.Event()
    def interrupt():
        started.wait()
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=interrupt).start()
    reports = []
    def callback(report):
        reports.append(report)
        started.set()
    try:
        train(4, workers=2, epochs={ENDLESS}, callback=callback, validation_data=data(5))
    except KeyboardInterrupt:
        print(json.dumps([len(reports), digest(train())]))
    """
    )
    assert reported > 0
    assert after == digest(train())


def test_ctrl_c_by_a_signal_from_outside() -> None:
    # What a terminal does: the signal reaches the process while its main thread is in the core.
    script = f"""
    def ready():
        time.sleep(0.3)
        print("training", flush=True)
    try:
        threading.Thread(target=ready).start()
        train(4, workers=2, epochs={ENDLESS}, merge_every=None)
    except KeyboardInterrupt:
        print(digest(train()), flush=True)
    """
    with start_python(SETTING + textwrap.dedent(script)) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "training\n"
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=2 * HANGS_AFTER)
        finally:
            process.kill()
    assert out == digest(train()) + "\n", errors


# ---------------------------------------------------------------------------------------- callbacks


def test_callback_is_told_of_every_round() -> None:
    X, y = data()
    reports: list[omp_mlp.Progress] = []
    caller: set[threading.Thread] = set()

    def callback(report: omp_mlp.Progress) -> None:
        reports.append(report)
        caller.add(threading.current_thread())

    model = train(3, workers=2, callback=callback, validation_data=(X[:50], y[:50]))
    # Shards of 68|68|67 for 3 epochs in rounds of 16: ceil(204 / 16).
    assert len(model.history) == 13
    merged = [report for report in reports if report.merged]
    assert [report.round for report in merged] == list(range(13))
    assert {report.rounds for report in reports} == {13}
    assert {report.total_samples for report in reports} == {3 * 203}
    assert [report.samples for report in merged] == model.history.samples.tolist()
    assert [report.loss for report in merged] == model.history.loss.tolist()
    for column in ("validation_loss", "validation_score"):
        told = [getattr(report, column) for report in merged]
        assert told == getattr(model.history, column).tolist()
    assert caller == {threading.current_thread()}
    assert digest(model) == digest(train(3))


@pytest.mark.parametrize("merge_every", [None, 4], ids="every_{}".format)
@pytest.mark.parametrize("workers", [1, 2])
def test_callback_looks_into_long_trainings(workers: int, merge_every: int | None) -> None:
    # Long rounds are looked into; short ones report themselves. Either way somebody hears of it.
    reports, total, finite = run(
        f"""
        reports = []
        def callback(report):
            reports.append([report.merged, report.samples, report.loss, report.validation_loss])
            return len(reports) == 3
        model = train(3, workers={workers}, epochs={ENDLESS}, merge_every={merge_every},
                      callback=callback)
        finite = all(np.isfinite(W).all() for W in model.weights)
        print(json.dumps([reports, int(model.history.samples[-1]), finite]))
        """,
    )
    assert len(reports) >= 3  # and one of the stopped round's merge
    samples = [report[1] for report in reports]
    assert samples == sorted(samples)
    assert samples[0] > 0
    assert all(math.isfinite(loss) for _, _, loss, _ in reports)
    assert all(math.isnan(validation_loss) for _, _, _, validation_loss in reports)
    if merge_every is None:
        assert [report[0] for report in reports] == [False, False, False, True]
    assert samples[-1] == total < ENDLESS * 203
    assert finite


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("last", [0, 1, 4])
def test_callback_stops_at_the_end_of_a_round(last: int, workers: int) -> None:
    X, y = data(210)
    options: dict[str, Any] = {
        "hidden_layer_sizes": (5,),
        "activation": "tanh",
        "batch_size": 4,
        "learning_rate": 0.1,
        "learning_rate_schedule": "constant",
        "outer_momentum": 0.0,
    }
    stopped = fixed.train_parallel(
        X,
        y,
        7,
        epochs=10,
        merge_every=30,
        workers=workers,
        callback=lambda report: report.merged and report.round == last,
        **options,
    )
    # A round is an epoch, and the rate is constant: a shorter training is the same so far.
    shorter = fixed.train_parallel(X, y, 7, epochs=last + 1, merge_every=30, **options)
    assert digest(stopped) == digest(shorter)
    assert len(stopped.history) == last + 1
    expected = oracle.train_parallel(
        X,
        y,
        7,
        "gradient_diversity",
        epochs=last + 1,
        merge_every=30,
        output_activation="softmax",
        loss="cross_entropy",
        init_scale="glorot",
        **options,
    )
    for (W, b), W_got, b_got in zip(
        expected.parameters, stopped.weights, stopped.biases, strict=True
    ):
        np.testing.assert_allclose(W_got, W, rtol=0, atol=1e-5)
        np.testing.assert_allclose(b_got, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("answer", [None, False, 0, 1, "stop", [1]], ids=repr)
def test_only_true_stops(answer: object) -> None:
    model = train(3, callback=lambda _: answer)
    assert digest(model) == digest(train(3))


class SpecialError(Exception):
    pass


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("at", [1, 2, 6])
def test_callback_that_raises(at: int, workers: int) -> None:
    calls = []
    error = SpecialError("from the callback")

    def callback(report: omp_mlp.Progress) -> None:
        calls.append(report)
        if len(calls) == at:
            raise error

    with pytest.raises(SpecialError) as caught:
        train(workers=workers, callback=callback)
    assert caught.value is error
    assert len(calls) == at
    assert digest(train(workers=workers)) == digest(train(workers=1))


@pytest.mark.parametrize("workers", [1, 3])
def test_callback_that_raises_within_a_round(workers: int) -> None:
    found = run(
        f"""
        class SpecialError(Exception):
            pass
        merged = []
        def callback(report):
            merged.append(report.merged)
            raise SpecialError
        try:
            train(4, workers={workers}, epochs={ENDLESS}, merge_every=None, callback=callback)
        except SpecialError:
            print(json.dumps([merged, digest(train(workers={workers}))]))
        """,
    )
    assert found == [[False], digest(train())]


def test_interrupt_raised_by_a_callback() -> None:
    def callback(_: omp_mlp.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(callback=callback)


@pytest.mark.parametrize("workers", [1, 2])
def test_callback_that_trains(workers: int) -> None:
    X, y = data()
    expected = digest(train(3, workers=1))
    inner: list[str] = []

    def callback(report: omp_mlp.Progress) -> None:
        if report.merged:
            trained = train(3, workers=workers)
            trained.predict(X)
            inner.append(digest(trained))

    model = train(5, workers=workers, callback=callback, validation_data=(X, y))
    assert inner == [expected] * len(model.history)
    assert digest(model) == digest(train(5))


def test_progress_bar_shows_all_samples(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = data()
    model = train(3, progress=True, validation_data=(X, y))
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "609/609" in shown
    assert f"validation={model.history.validation_score[-1]:.4f}" in shown
    assert digest(model) == digest(train(3))


# --------------------------------------------------------------------------------------- divergence


def linear(X: NDArray[Any], y: NDArray[Any], threads: int, **changed: Any) -> omp_mlp.Model:
    """Train a linear regression on blocks in order."""
    options: dict[str, Any] = {
        "merge": "average",
        "hidden_layer_sizes": (),
        "epochs": 1,
        "batch_size": 1,
        "learning_rate": 0.1,
        "learning_rate_schedule": "constant",
        "merge_every": None,
        "shuffle": False,
    }
    return fixed.train_parallel(X, y, threads, **{**options, **changed})


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_divergence_names_the_lowest_replica(workers: int) -> None:
    # Seven shards of 10 samples; in those of replicas 2, 3 and 6 are numbers whose squares leave
    # float32, and with them the weights.
    X, y = np.ones((70, 3)), np.ones(70)
    for replica in (6, 3, 2):
        X[10 * replica + 4] = 1e30
    with pytest.raises(omp_mlp.TrainingDivergedError) as caught:
        linear(X, y, 7, workers=workers)
    assert (caught.value.round, caught.value.replica) == (0, 2)
    # The next training is not affected.
    assert np.isfinite(linear(X * 0, y, 7, workers=workers).weights[0]).all()


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("position, expected_round", [(0, 0), (2, 0), (5, 1), (6, 1), (12, 2)])
def test_divergence_names_the_round(position: int, expected_round: int, workers: int) -> None:
    # Rounds of 5 samples. (Not the last sample of a round: the weights that it spoils are looked at
    # only in the last round; in others, the loss of the next sample tells.)
    X, y = np.ones((75, 3)), np.ones(75)
    X[15 * 3 + position] = 1e30
    with pytest.raises(omp_mlp.TrainingDivergedError) as caught:
        linear(X, y, 5, merge_every=5, workers=workers)
    assert (caught.value.round, caught.value.replica) == (expected_round, 3)


def test_divergence_at_the_very_last_sample() -> None:
    X, y = np.ones((70, 3)), np.ones(70)
    X[49] = 1e30
    with pytest.raises(omp_mlp.TrainingDivergedError) as caught:
        linear(X, y, 7)
    assert (caught.value.round, caught.value.replica) == (0, 4)


@pytest.mark.parametrize("merge_every", [None, 5], ids="every_{}".format)
@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_huge_learning_rate_diverges(activation: str, merge_every: int | None) -> None:
    X, y = data()
    with pytest.raises(omp_mlp.TrainingDivergedError, match=r"training diverged: .* in round 0"):
        fixed.train_parallel(
            X,
            y + 0.5,
            3,
            "average",
            hidden_layer_sizes=(5, 5),
            activation=activation,
            learning_rate=1e30,
            merge_every=merge_every,
            batch_size=1,
        )


@pytest.mark.filterwarnings("ignore:after the first round:omp_mlp.SettingsWarning")
@pytest.mark.parametrize("output_activation", ["softmax", "identity", "logistic"])
@pytest.mark.parametrize("activation", oracle.ACTIVATIONS)
@pytest.mark.parametrize("learning_rate", [1e3, 1e20, 3e38])
def test_no_training_returns_what_is_not_finite(
    learning_rate: float, activation: str, output_activation: str
) -> None:
    # Bounded activations may survive such rates, with saturated units. But never silently broken.
    X, y = data()
    try:
        model = fixed.train_parallel(
            X,
            y,
            3,
            "average",
            hidden_layer_sizes=(5,),
            activation=activation,
            output_activation=output_activation,
            loss="cross_entropy" if output_activation == "softmax" else "squared_error",
            learning_rate=learning_rate,
            learning_rate_schedule="constant",
            epochs=2,
            merge_every=10,
        )
    except omp_mlp.TrainingDivergedError:
        return
    assert np.isfinite(model.history.loss).all()
    assert all(np.isfinite(part).all() for part in [*model.weights, *model.biases])


def test_divergence_of_the_merge_alone() -> None:
    # Every replica is finite, but twice 3e38 is more than float32 holds.
    start = omp_mlp.Model([[[3e38]]], [[0.0]])
    with pytest.raises(omp_mlp.TrainingDivergedError, match="merged network") as caught:
        linear(np.zeros((4, 1)), np.ones(4), 2, merge="sum", init=start)
    assert (caught.value.round, caught.value.replica) == (0, None)


def test_divergence_error_tells_and_can_be_sent_to_other_processes() -> None:
    error = omp_mlp.TrainingDivergedError(3, 1)
    assert isinstance(error, ArithmeticError)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.round, copy.replica) == (3, 1)
    assert str(copy) == str(error)
    assert "replica 1" in str(error)
    assert "round 3" in str(error)


def test_digests_tell_models_apart() -> None:
    # The tests above are worth as much as this function.
    digests = {digest(train(seed=seed)) for seed in range(5)}
    assert len(digests) == 5
    assert all(len(d) == len(hashlib.sha256().hexdigest()) for d in digests)


# ------------------------------------------------------- forks, threads and ends at the worst times


@needs_fork
@pytest.mark.parametrize("strategy", ["replica", "section", "synchronous", "hogwild"])
def test_a_child_that_returns_from_the_callback_gets_an_error(strategy: str) -> None:
    # The child has one thread, and would wait for the others for ever.
    found = run(f"""
    children = []
    def callback(report):
        if not children:
            children.append(os.fork())
            if children == [0]:
                signal.alarm({HANGS_AFTER})
    options = {{"strategy": {strategy!r}, "merge": "average", "merge_every": None}}
    if {strategy!r} != "replica":
        options = {{"strategy": {strategy!r}}}
    def fit(**changed):
        return omp_mlp.train_parallel(*data(4000), 2, workers=2, epochs=8, **options, **changed)
    read, write = os.pipe()
    try:
        fit(callback=callback)
    except RuntimeError as error:
        assert children == [0] and "forked" in str(error), error
        # Whatever it does from then on, it does.
        again = fit().history.loss
        os.write(write, json.dumps(again.shape).encode())
        os._exit(7)
    assert children[0] > 0
    _, status = os.waitpid(children[0], 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), json.loads(os.read(read, 100))]))
    """)
    assert found == [7, [8 if strategy != "replica" else 1]]


@needs_fork
def test_fork_while_another_thread_trains() -> None:
    found = run(f"""
    train(workers=2)  # this thread has a pool of OpenMP's threads now
    stop = threading.Event()
    started = threading.Event()
    def callback(report):
        started.set()
        return stop.is_set()
    other = threading.Thread(
        target=lambda: train(2, workers=2, epochs={ENDLESS}, callback=callback)
    )
    other.start()
    started.wait()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm({HANGS_AFTER})
        os.write(write, digest(train(workers=2)).encode())
        grandchild = os.fork()
        if grandchild == 0:
            signal.alarm({HANGS_AFTER})
            os.write(write, digest(train(workers=2)).encode())
            os._exit(0)
        _, status = os.waitpid(grandchild, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    _, status = os.waitpid(child, 0)
    stop.set()
    other.join()
    print(json.dumps([os.waitstatus_to_exitcode(status), os.read(read, 1000).decode()]))
    """)
    assert found == [0, 2 * digest(train())]


@pytest.mark.parametrize("work", ["train(4, epochs=10**9, workers=2)", "model.predict(rows)"])
def test_the_interpreter_ends_while_a_daemon_thread_works(work: str) -> None:
    with start_python(
        SETTING
        + textwrap.dedent(f"""
    weights = [np.ones((10, 3000)), np.ones((3000, 3000)), np.ones((3000, 1))]
    model = omp_mlp.Model(weights, [np.zeros(3000), np.zeros(3000), np.zeros(1)])
    rows = np.ones((50_000, 10), np.float32)
    def work():
        for _ in range(1000):
            {work}
    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.2)
    print("end")
    """)
    ) as process:
        try:
            out, errors = process.communicate(timeout=2 * HANGS_AFTER)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, "end\n"), errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of POSIX")
def test_threads_that_the_system_refuses() -> None:
    # No stack of this size is to be had, and OpenMP would end the process.
    found = run(
        """
    import resource, warnings
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained = digest(train(workers=4))
        predicted = train().predict(np.zeros((2, 23), np.float32)).tolist()
    print(json.dumps([trained, predicted, [str(w.message)[:48] for w in caught]]))
    """,
        OMP_STACKSIZE="64G",
    )
    expected = train().predict(np.zeros((2, 23), np.float32)).tolist()
    assert found[:2] == [digest(train()), expected]
    assert "the system refused 3 thread(s), and the training" in found[2]


def test_ctrl_c_in_a_prediction_and_a_merge() -> None:
    # Without the signal, each of them would take minutes.
    found = run("""
    sizes = [(10, 3000), (3000, 3000), (3000, 1)]
    model = omp_mlp.Model([np.ones(s) for s in sizes], [np.zeros(s[1]) for s in sizes])
    rows = np.broadcast_to(np.float32(1), (2_000_000, 10))
    found = []
    for work in (
        lambda: model.predict(rows),
        lambda: [omp_mlp.merge([model] * 200, "median") for _ in range(50)],
    ):
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            work()
        except KeyboardInterrupt:
            found.append("interrupted")
    print(json.dumps(found))
    """)
    assert found == ["interrupted"] * 2


def test_ctrl_c_gives_back_what_was_trained() -> None:
    found = run(f"""
    X, y = data()
    def callback(report):
        if report.round == 5 and report.merged:
            found.append(digest(report.model._with(omp_mlp.History.empty())))
            os.kill(os.getpid(), signal.SIGINT)
    found = []
    try:
        train(4, epochs={ENDLESS}, callback=callback, validation_data=(X, y))
    except KeyboardInterrupt as error:
        rounds = len(error.history)
        found += [len(error.model.history) == rounds, bool(rounds >= 6)]
        found += [bool(np.isfinite(error.model.predict_proba(X)).all()), error.history.threads]
        found.append(len(error.history.validation_loss) == rounds)
    print(json.dumps(found[1:]))
    """)
    assert found == [True, True, True, 4, True]


def test_an_exception_of_a_callback_has_what_was_trained_too() -> None:
    masters = []

    def callback(report: omp_mlp.Progress) -> None:
        masters.append(report.model)
        if report.round == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        train(callback=callback)
    model, history = caught.value.model, caught.value.history  # type: ignore[attr-defined]
    assert len(history) == len(model.history) == 3
    # The first network that the callback saw may be none: within the first round.
    assert isinstance(masters[-1], omp_mlp.Model)
    for ours, theirs in zip(model.weights, masters[-1].weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("strategy", ["replica", "section", "synchronous"])
@pytest.mark.parametrize("option", ["l2", "weight_decay", "learning_rate"])
def test_subnormal_options_are_zeros_everywhere(strategy: str, option: str) -> None:
    # Within its loops the core would read them as zeros, and take another path than outside.
    X, y = data()
    states: list[omp_mlp.TrainingState] = []
    options = {"strategy": strategy, "checkpoint": states.append, "epochs": 1}
    trained = [
        digest(fixed.train_parallel(X, y, 2, **{option: value}, **options))
        for value in (1e-320, 0.0)
    ]
    assert trained[0] == trained[1]
    assert states


@pytest.mark.parametrize("strategy", ["replica", "section", "synchronous", "hogwild"])
@pytest.mark.parametrize("error", [MemoryError(), MemoryError("mine"), SystemExit(3)])
def test_what_a_callback_raises_comes_out_as_it_is(strategy: str, error: BaseException) -> None:
    def callback(report: omp_mlp.Progress) -> None:
        if report.merged:
            raise error

    X, y = data()
    with pytest.raises(type(error)) as caught:
        fixed.train_parallel(X, y, 3, callback=callback, strategy=strategy, epochs=2)
    assert caught.value is error
    assert isinstance(caught.value.model, omp_mlp.Model)  # type: ignore[attr-defined]


def test_subnormal_numbers_count_as_zeros_in_the_core_and_stay_outside() -> None:
    seen = []
    tiny = np.float32(1e-40)

    def callback(_: omp_mlp.Progress) -> None:
        seen.append(tiny * np.float32(1) == tiny != 0)

    X, y = data()
    options = {"epochs": 2, "scale_inputs": False, "workers": 1, "center_inputs": False}
    options["merge_every"] = 8  # "auto" counts what is not zero in X
    trained = [
        fixed.train_parallel(rows, y, 2, callback=callback, **options)
        for rows in (X * tiny, np.zeros_like(X))
    ]
    assert seen
    assert all(seen)
    assert tiny * np.float32(1) == tiny != 0
    np.testing.assert_allclose(trained[0].biases[-1], trained[1].biases[-1], rtol=1e-6)
