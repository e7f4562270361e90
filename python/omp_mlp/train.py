"""Train in parallel: replicas of a network train on shards of the data, a merge makes them one."""

from __future__ import annotations

import functools
import inspect
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp import _core, cadence, checks, strategies
from omp_mlp.checks import FloatArray, Matrix
from omp_mlp.costs import CHOICES, TYPICAL, Costs, Prediction, calibrate, choose, predict
from omp_mlp.ensemble import Ensemble
from omp_mlp.errors import SkippedReplicaWarning
from omp_mlp.history import History
from omp_mlp.inputs import read_inputs
from omp_mlp.merging.merge import search_alpha
from omp_mlp.merging.methods import (
    LINE_SEARCH,
    MergeMethod,
    PythonMethod,
    apply,
    find_method,
    option_values,
    skips,
)
from omp_mlp.model import ACTIVATIONS, OUTPUT_ACTIVATIONS, Model
from omp_mlp.predictor import Predictor
from omp_mlp.targets import Targets, read_sample_weight, read_targets, same_labels
from omp_mlp.watch import Callback, Watcher
from omp_mlp.workers import effective_workers

PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_layer_sizes": (128,),
        "activation": "logistic",
        "output_activation": "logistic",
        "loss": "squared_error",
        "epochs": 1,
        "batch_size": 1,
        "learning_rate": 0.1,
        "learning_rate_schedule": "constant",
        "merge_every": None,
        "outer_momentum": 0.0,
        "init": "independent",
        "init_scale": 0.6,
        "shuffle": "shards",
    }
)
"""The options that come nearest to Ott (2017): ``train_parallel(X, y, 8, "sum", **PAPER)``.

The note does not state activation, loss, learning rate, initialisation and epochs. docs/paper.md
says how these options were found.
"""

_OUTPUTS_OF_LOSS = {"cross_entropy": ("softmax",), "squared_error": ("identity", "logistic")}


def train_parallel(
    X: Matrix,
    y: object,
    threads: int,
    merge: str = "gradient_diversity",
    *,
    hidden_layer_sizes: Sequence[int] = (128,),
    activation: str = "relu",
    output_activation: str = "auto",
    loss: str = "auto",
    epochs: int = 10,
    batch_size: int = 8,
    learning_rate: float = 0.05,
    learning_rate_schedule: str = "linear",
    merge_every: int | tuple[int, int] | str | None = "auto",
    merge_options: Mapping[str, Any] | None = None,
    outer_optimizer: str = "auto",
    outer_learning_rate: float | str = "auto",
    outer_momentum: float | str = "auto",
    last_merge: str | None = "auto",
    on_nonfinite: str = "raise",
    warmup_samples: int = 0,
    init: str | Model = "shared",
    init_scale: float | str = "auto",
    shuffle: str | bool = "global",
    sample_weight: object = None,
    validation_data: tuple[Matrix, object] | None = None,
    first_layer: str = "auto",
    forward_precision: str = "float32",
    skip_confident: float = 0.0,
    center_inputs: bool = False,
    strategy: str = "replica",
    costs: Costs | bool | None = None,
    workers: int | None = None,
    seed: int = 0,
    callback: Callback | None = None,
    progress: bool = False,
    keep_replicas: bool = False,
) -> Model | Any:  # noqa: ANN401 - an Ensemble for one method, else a Model
    """Train a multilayer perceptron on the CPU, data-parallel.

    Each of ``threads`` replicas of the network trains by stochastic gradient descent on its own
    samples. A merge makes the replicas one network: once at the end (Ott 2017), or every
    ``merge_every`` samples. The result depends on the data, the options, ``seed`` and ``threads``,
    and on nothing else. It has the same bits for any number of ``workers``, on the same machine and
    build.

    Parameters
    ----------
    X : array-like or SciPy sparse matrix of shape (n_samples, n_features)
        X is never changed, and the returned network applies to X in the units given here. float32
        in C order and CSR of float32 are read in place. Other numbers are converted to float32.
        Scale them to about unit size yourself. Bytes (uint8) are read in place; the training uses
        X / 2^k with the smallest k that brings the largest byte to at most 1. Scaled images are
        floats that are all bytes divided by 255 (or 1, 16, 256). While replicas train, such a
        matrix is also kept as bytes if these take at most 56 MB, because bytes are quicker to read;
        every entry still stands for the same float.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Integers, strings or booleans are the labels of a classification. Floats are the values of a
        regression, in one or several columns.
    threads : int
        Number of replicas (the paper's n). ``threads`` changes the result; ``workers`` changes the
        speed. For the strategies that train one network: the number of parts of the work.
    merge : str, default "gradient_diversity"
        A name from :func:`omp_mlp.merge_methods`.
    hidden_layer_sizes : sequence of int, default (128,)
        Units of each hidden layer. An empty sequence gives a linear model.
    activation : {"relu", "tanh", "logistic", "identity"}, default "relu"
        The activation of the hidden layers.
    output_activation : {"auto", "softmax", "identity", "logistic"}, default "auto"
        "softmax" goes with cross-entropy, the others with squared error. "auto": softmax for
        cross-entropy; for squared error, logistic with labels and identity with values.
    loss : {"auto", "cross_entropy", "squared_error"}, default "auto"
        The loss of a sample is -log p(correct), or 1/2 sum_k (o_k - t_k)^2. With labels, t is 1 for
        the right class and 0 for the others. "auto": cross-entropy with labels, squared error with
        values.
    epochs : int, default 10
        How often each replica visits its shard. 0 returns the start itself.
    batch_size : int, default 8
        Samples of a step; 1 is online training. A step is ``learning_rate`` times the gradient of
        the batch's mean loss.
    learning_rate : float, default 0.05
    learning_rate_schedule : {"linear", "constant"}, default "linear"
        "linear" falls from ``learning_rate`` at the first sample to 0 after the last.
    merge_every : int, pair (first, last) of int, None or "auto", default "auto"
        Samples that each replica trains on between merges, at least ``batch_size``. With a pair
        such as ``(16, 256)``, they grow from first to last in equal ratios over the training,
        rounded to whole batches. None: one merge, at the end. "auto" depends on the method. With
        one thread, it is an epoch. Methods that are applied once merge once, if there is no outer
        optimiser. Periodic methods get a pair of which last is 16 times first. Its mean is such
        that a merge takes about a tenth of the time between merges, by the number of threads, the
        layer sizes and the nonzeros in X. It is shorter if there would be fewer than about 512
        merges, but first is at least 8 samples or a batch. The differences of ``history.samples``
        show the choice. Methods that see layers as matrices (such as ``"weight_matching"``) and a
        line search merge once only.
    merge_options : mapping, optional
        Settings of the merge method by name, such as ``{"alpha": "1/n"}`` of ``"delta_sum"``. The
        method's ``options`` in :func:`omp_mlp.merge_methods` list them. Methods that look at data
        get ``X`` and ``y`` (not ``sample_weight``). ``{"alpha": "line_search"}`` gets the
        ``validation_data``.
    outer_optimizer : {"auto", "momentum", "nesterov", "bmuf", "slowmo"}, default "auto"
        The outer optimiser makes the next master from the merged parameters. Let
        u = merged - base and M = outer_momentum M + u, with M = 0 at the start. For "nesterov"
        (Douillard et al. 2023, DiLoCo), master = base + outer_learning_rate (u + outer_momentum M).
        For the others, master = base + outer_learning_rate M. "bmuf" (blockwise model-update
        filtering, Chen & Huo 2016, with classical block momentum) is "momentum" with its own
        defaults. "slowmo" (Wang et al. 2020) keeps M in units of the learning rate: it multiplies M
        by this round's learning rate over that of the last round, each taken at the start of the
        round. "auto": "momentum".
    outer_learning_rate : float or "auto", default "auto"
        "auto": 0.7 for "nesterov", else 1.
    outer_momentum : float in [0, 1) or "auto", default "auto"
        "auto": for "momentum" 0 below 4 threads, 0.3 up to 8, 0.4 up to 16, 0.5 above; 0.9 for
        "nesterov", 1 - 1/threads for "bmuf", 0.7 for "slowmo". In three cases "auto" gives an
        ``outer_momentum`` of 0 and an ``outer_learning_rate`` of 1: with one thread; with eight or
        fewer merges; and for methods that are applied once, if there is no outer optimiser.
    last_merge : {"auto", "average", None}, default "auto"
        "average": the last merge is a plain average without an outer step. None: it is like all
        others. "auto": "average" for trainings with two to eight merges by a periodic method whose
        ``outer_momentum`` is also "auto", else None.
    on_nonfinite : {"raise", "skip"}, default "raise"
        What to do about replicas with a loss or a parameter that is infinite or not a number.
        "raise": raise a TrainingDivergedError. "skip": leave these replicas out of the round's
        merge and loss, let them go on from the new master, and warn with a
        :class:`omp_mlp.SkippedReplicaWarning` after the training. "skip" goes with methods whose
        ``may_skip`` is true.
    warmup_samples : int, default 0
        Samples that one replica trains on before the replicas part. They are the first samples of a
        training with one thread. All replicas start from the network that the warm-up makes. The
        warm-up's samples come on top of ``epochs``. Its ``learning_rate`` is constant; a schedule
        begins when the replicas part. The first entry of the history is the warm-up.
    init : {"shared", "independent"} or Model, default "shared"
        "shared": all replicas start from the same random weights. "independent": each replica
        starts from its own. A Model: all start from the parameters of that network, which has the
        same shape.
    init_scale : {"auto", "glorot", "he"} or float, default "auto"
        Initial weights are uniform in [-scale, scale). "glorot" is sqrt(6 / (fan_in + fan_out)),
        "he" is sqrt(6 / fan_in). "auto": "he" for relu, else "glorot". Biases start at 0.
    shuffle : {"global", "shards", False}, default "global"
        "global": every epoch deals all samples out to the replicas afresh. "shards": replica i
        keeps block i of ``numpy.array_split(X, threads)``, and shuffles within the block. False:
        the same blocks, in order.
    sample_weight : array-like of shape (n_samples,), optional
        Factors of the samples' losses. They are not negative, and are not normalised.
    validation_data : tuple (X, y), optional
        The history has the master's loss and score on these data after every round.
    first_layer : {"auto", "sparse", "dense"}, default "auto"
        How the first layer reads X. "sparse" touches only the weights of nonzero inputs, "dense"
        all weights. "auto" decides by the share of nonzeros in X. The choice changes the speed, and
        it changes the result by rounding only.
    forward_precision : {"float32", "bfloat16"}, default "float32"
        With "bfloat16", the forward pass of the first layer reads a copy of its weights that is
        rounded to 8 bits of precision, and rounds the inputs likewise. The weights themselves stay
        float32. "bfloat16" goes with arrays (not CSR) that are read sparse (``first_layer`` "auto"
        or "sparse").
    skip_confident : float in [0, 1), default 0.0
        Samples whose 1 - p(correct) is below this make no step: selective backpropagation (Jiang
        et al. 2019). It is not gradient descent, and it is faster. Cross-entropy only.
    center_inputs : bool, default False
        Train on X minus the mean of each feature over X. The problem is then better conditioned and
        needs fewer epochs. Inputs do not become dense, and the returned network applies to X as it
        is. The result equals that of training on centred inputs, up to float32 rounding.
    strategy : str, default "replica"
        How the work is made parallel (docs/strategies.md):

        "replica"
            Each thread trains a network of its own, and merges make them one: the note's Figure 2.
            Only this strategy takes the options of merging, ``init="independent"``,
            ``keep_replicas`` and ``forward_precision="bfloat16"``.
        "section"
            There is one network, and each thread owns a section of the hidden units of every layer:
            the note's Figure 1. The samples come in the order of ``threads=1``. The parameters are
            the same up to the rounding of float32 sums.
        "synchronous"
            There is one network, and each batch is split over the threads, which then take one
            step. The promise is that of "section".
        "hogwild"
            There is one network, and the threads share it without locks (Niu et al. 2011). It is
            not reproducible: the result depends on the clock.
        "pattern"
            "replica" with a merge after every epoch and without outer momentum, after the abstract
            of Dahl et al. (2008).
        "auto"
            The strategy that the cost model predicts to be the quickest on up to ``threads``
            threads. "auto" chooses from "replica" and, if no option needs replicas, "section" and
            "synchronous". ``model.history`` names the choice. The same choice, or the same strategy
            given by name, gives the same bits.
    costs : omp_mlp.costs.Costs, bool or None, default None
        What work costs on this machine, for ``strategy="auto"`` and for the predictions in
        ``model.history``. None: "auto" reads the costs from the user's cache; if there are none, it
        measures for up to 5 s and writes them there. Other strategies make no prediction. True: as
        None, for any strategy. False: "auto" uses the figures of a typical machine
        (:data:`omp_mlp.costs.TYPICAL`); nothing is measured, read or written.
    workers : int, optional
        Operating-system threads that run the replicas. Default: as many as this process has cores
        (by OpenMP's maximum, CPU affinity, cgroup quota and ``LOKY_MAX_CPU_COUNT``), but not more
        than ``threads``. An explicit number is obeyed.
    seed : int, default 0
        From 0 to 2^64 - 1.
    callback : callable, optional
        Called with a :class:`omp_mlp.Progress` on the calling thread, after every round and about
        every 50 ms within a round. If it returns True, training stops: the replicas are merged as
        they are, and the network is returned. An exception ends the training.
    progress : bool, default False
        Show a progress bar (needs tqdm).
    keep_replicas : bool, default False
        Keep the networks that the last merge merges, as ``model.replicas``.

    Returns
    -------
    Model
        For ``merge="ensemble"``: an :class:`omp_mlp.Ensemble` of the replicas.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what is described here. The error comes before any work.
    TrainingDivergedError
        If a loss or a parameter becomes infinite or not a number. With ``on_nonfinite="skip"``: if
        that happens in all replicas of a round, or by a merge.
    KeyboardInterrupt
        Within about 50 ms of Ctrl-C, or at the end of a batch that takes longer.

    References
    ----------
    J. A. Ott, "Training Neural Networks in Parallel" (2017): Eq. 1 is ``merge="average"``, Eq. 2 is
    ``merge="sum"``. A. Douillard et al., "DiLoCo" (2023). K. Chen & Q. Huo, "Scalable training of
    deep learning machines by incremental block training with intra-block parallel optimization and
    blockwise model-update filtering" (2016). J. Wang et al., "SlowMo" (2020). F. Niu et al.,
    "Hogwild" (2011). G. Dahl et al., "Parallelizing neural network training for cluster systems"
    (2008).

    Examples
    --------
    >>> import numpy as np, omp_mlp
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> model = omp_mlp.train_parallel(X, X[:, 0] * X[:, 1] > 0, threads=2, epochs=20)
    >>> model.score(X, X[:, 0] * X[:, 1] > 0) > 0.9
    True
    """
    threads = checks.integer("threads", threads, 1)
    method = find_method(merge)
    of_replicas = {
        "merge": merge,
        "merge_every": merge_every,
        "merge_options": merge_options,
        "outer_optimizer": outer_optimizer,
        "outer_learning_rate": outer_learning_rate,
        "outer_momentum": outer_momentum,
        "last_merge": last_merge,
        "on_nonfinite": on_nonfinite,
        "warmup_samples": warmup_samples,
        "init": init,
        "keep_replicas": keep_replicas,
        "forward_precision": forward_precision,
    }
    strategy = strategies.check(strategy, of_replicas, _defaults())
    method_options = option_values(method, merge_options)
    skip_nonfinite = skips(method, on_nonfinite)
    epochs = checks.integer("epochs", epochs, 0)
    batch_size = checks.integer("batch_size", batch_size, 1)
    learning_rate = checks.real("learning_rate", learning_rate, 0.0)
    checks.choice("learning_rate_schedule", learning_rate_schedule, ("linear", "constant"))
    checks.choice("first_layer", first_layer, ("auto", "sparse", "dense"))
    checks.choice("forward_precision", forward_precision, ("float32", "bfloat16"))
    if forward_precision == "bfloat16" and first_layer == "dense":
        raise ValueError(
            "forward_precision='bfloat16' goes with first_layer='auto' or 'sparse'; got 'dense'"
        )
    skip_confident = checks.real("skip_confident", skip_confident, 0.0, below=1.0)
    checks.choice("center_inputs", center_inputs, (False, True))
    checks.choice("shuffle", shuffle, ("global", "shards", False))
    activation = checks.choice("activation", activation, ACTIVATIONS)
    seed = checks.integer("seed", seed, 0)
    if seed >= 2**64:
        raise ValueError(f"seed must be less than 2^64; got {seed}")
    if workers is not None:
        workers = checks.integer("workers", workers, 1)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable; got {type(callback).__name__}")

    workers = effective_workers(workers, threads)
    may_read_pixels = first_layer != "dense" and strategy not in strategies.ONE_NETWORK
    samples = read_inputs(
        X, for_training=True, for_replicas=may_read_pixels and epochs > 0, workers=workers
    )
    if forward_precision == "bfloat16" and hasattr(X, "tocsr"):
        raise ValueError(
            "forward_precision='bfloat16' goes with X as an array; got a sparse matrix"
        )
    targets = read_targets(y, samples.n_samples)
    weights = read_sample_weight(sample_weight, samples.n_samples)
    output = _output_function(loss, output_activation, targets)
    if skip_confident > 0 and output != "softmax":
        raise ValueError(
            "skip_confident goes with loss='cross_entropy' on softmax outputs; "
            f"got output_activation={output!r}"
        )
    layer_sizes = _layer_sizes(samples.n_features, hidden_layer_sizes, targets.n_outputs)
    warmup_samples = checks.integer("warmup_samples", warmup_samples, 0)
    checks.choice("outer_optimizer", outer_optimizer, cadence.OUTER_OPTIMIZERS)
    total_samples = epochs * samples.n_samples + warmup_samples
    if total_samples >= 2**63:
        raise ValueError(
            f"epochs times samples must be less than 2^63; got {epochs} epochs and "
            f"{warmup_samples} samples of warm-up"
        )
    # Merged in Python, after the core has returned, from the replicas of the only round.
    searches = LINE_SEARCH in method_options
    merges_here = searches or isinstance(method, PythonMethod)
    core_batch_size = min(batch_size, samples.n_samples)

    def plan_for(strategy: str, threads: int) -> _Plan:
        if strategy != "replica":
            # A round is an epoch: of the one network, or of the largest shard.
            replicas = 1 if strategy in strategies.ONE_NETWORK else threads
            shard = -(-samples.n_samples // replicas)
            ends_in_average = _ends_in_average(last_merge, method, 0.0, threads, epochs)
            return _Plan((shard, shard), epochs, cadence.NO_OUTER_STEP, ends_in_average)
        stream = epochs * -(-samples.n_samples // threads)
        period = cadence.merge_period(
            None if merges_here and merge_every == "auto" else merge_every,
            is_periodic=method.cadence == "periodic" or outer_optimizer != "auto",
            threads=threads,
            batch_size=batch_size,
            n_samples=samples.n_samples,
            samples_a_replica=stream,
            layer_sizes=layer_sizes,
            X=X,
        )
        merges = cadence.count_merges(stream, period, core_batch_size)
        outer = cadence.outer_step(
            outer_optimizer,
            outer_learning_rate,
            outer_momentum,
            method=method,
            threads=threads,
            merges=merges,
        )
        ends_in_average = _ends_in_average(last_merge, method, outer_momentum, threads, merges)
        return _Plan(period, merges, outer, ends_in_average)

    plan = plan_for("replica" if strategy == "auto" else strategy, threads)
    outer = plan.outer
    if outer.follows_rate and learning_rate == 0.0:
        raise ValueError("outer_optimizer='slowmo' needs learning_rate greater than 0; got 0.0")
    if merges_here:
        _check_one_merge(merge, plan.merges, merge_every, outer, plan.ends_in_average)
    start = _start(init, layer_sizes, activation, output, targets, samples.scale)
    starts_apart = not isinstance(init, Model) and init == "independent"
    if starts_apart and (method.needs_base or outer.needs_base):
        raise ValueError(
            f"merge={merge!r} with outer_momentum={outer.momentum:g} and outer_learning_rate="
            f"{outer.learning_rate:g} merges updates of one common start and needs init='shared' "
            "or a Model; got init='independent'"
        )
    if starts_apart and warmup_samples:
        raise ValueError(
            f"warmup_samples={warmup_samples} trains one common start and needs init='shared' "
            "or a Model; got init='independent'"
        )
    init_rule, init_factor = _init_scale(init_scale, activation)

    def model_of(packed: FloatArray, **more: Any) -> Model:  # noqa: ANN401 - handed on
        # Exact: the scale is a power of two.
        packed[: layer_sizes[0] * layer_sizes[1]] *= np.float32(samples.scale)
        return Model._of(layer_sizes, packed, activation, output, targets.labels, **more)

    evaluate = _evaluation(validation_data, samples.n_features, targets)
    if searches and evaluate is None:
        raise ValueError(
            "merge_options={'alpha': 'line_search'} looks for the least loss on validation_data; "
            "got none"
        )
    prediction = None
    if epochs > 0 and (known_costs := _costs(costs, strategy)) is not None:
        is_periodic = method.cadence == "periodic" or outer_optimizer != "auto"
        prediction = _predict(
            strategy,
            strategies.asked_of_replicas(of_replicas, _defaults()),
            network=layer_sizes,
            n_samples=samples.n_samples,
            epochs=epochs,
            threads=threads,
            merge_every=None if merge_every == "auto" and not is_periodic else merge_every,
            batch_size=batch_size,
            density=samples.core.list_density(
                first_layer="sparse" if forward_precision == "bfloat16" else first_layer
            ),
            costs=known_costs,
        )
    if strategy == "auto":
        chosen = ("replica", 1) if prediction is None else (prediction.strategy, prediction.threads)
        strategy, threads = chosen
        plan = plan_for(strategy, threads)
    watcher = Watcher(
        plan.merges + (warmup_samples > 0),
        total_samples,
        callback,
        progress,
        None if evaluate is None else lambda packed: evaluate(model_of(packed)),
    )

    def after_round(report: dict[str, float], packed: FloatArray) -> bool:
        is_warmup = report["samples"] <= warmup_samples
        return (is_warmup or not merges_here) and watcher.after_round(report, packed)

    with watcher:
        result = _core.train(
            network=_core.Network(
                layer_sizes=list(layer_sizes),
                activation=activation,
                output=output,
                parameters=start,
            ),
            samples=samples.core,
            targets=_core.Targets(classes=targets.indices, values=targets.values, weights=weights),
            options=_core.TrainOptions(
                strategy=strategy if strategy in strategies.ONE_NETWORK else "replica",
                threads=threads,
                workers=min(workers, threads),
                epochs=epochs,
                batch=_core.BatchOptions(
                    batch_size=core_batch_size,
                    first_layer="sparse" if forward_precision == "bfloat16" else first_layer,
                    bfloat16_forward=forward_precision == "bfloat16",
                    skip_confident=skip_confident,
                ),
                center_inputs=bool(center_inputs),
                warmup_samples=warmup_samples,
                merge=_core.MergeOptions(
                    every=_core.Period(first=plan.period[0], last=plan.period[1]),
                    # A factor of 0 gives the base back, which the search starts from.
                    method=_core.merge_method(
                        method.name if searches or not merges_here else "average"
                    ),
                    method_options=[0.0] if searches else [] if merges_here else method_options,
                    last_method=_core.merge_method("average") if plan.ends_in_average else None,
                    outer=_core.OuterStep(
                        learning_rate=plan.outer.learning_rate,
                        momentum=plan.outer.momentum,
                        nesterov=plan.outer.nesterov,
                    ),
                    momentum_follows_rate=plan.outer.follows_rate,
                    skip_nonfinite=skip_nonfinite,
                ),
                optimizer=_core.OptimizerOptions(
                    method=_core.optimizer("sgd"),
                    learning_rate=_core.LearningRate(
                        start=learning_rate, schedule=learning_rate_schedule
                    ),
                    momentum=0.0,
                    accumulates=False,
                ),
                shuffle="none" if shuffle is False else str(shuffle),
                init=_core.Init(rule=init_rule, scale=init_factor),
                shared_start=not starts_apart,
                seed=seed,
                keep_replicas=keep_replicas or merges_here,
            ),
            after_round=after_round if watcher.watches_rounds else None,
            during_round=watcher.during_round if watcher.watches_within else None,
        )
        packed, replicas, skipped = result.parameters, result.replicas, result.skipped
        columns = result.history
        models = tuple(model_of(replica) for replica in replicas)
        master = model_of(packed)
        merged: Model | Ensemble = master
        if merges_here:
            began = time.perf_counter()
            left_out = {replica for _, replica in skipped}
            parted = len(columns["samples"]) > (
                warmup_samples > 0
            )  # else it ended or was stopped before
            finite = [model for i, model in enumerate(models) if parted and i not in left_out]
            if isinstance(method, PythonMethod):
                # Without a round there is the start alone, which is its own merge.
                merged = apply(method, finite or [master], X, y, method_options)
            elif finite:
                assert evaluate is not None
                loss_of = evaluate
                merged = search_alpha(finite, master, lambda model: loss_of(model)[0])
            if parted:
                columns["merge_seconds"][-1] += time.perf_counter() - began
                watcher.merged(
                    int(columns["samples"][-1]),
                    float(columns["loss"][-1]),
                    None if evaluate is None else evaluate(merged),
                )
    if skipped:
        _warn_of(skipped)
    history = _history(columns, watcher.validation, strategy, threads, prediction, total_samples)
    return merged._with(history, models if keep_replicas else ())


@dataclass(frozen=True)
class _Plan:
    """When a training merges, and what becomes of what is merged."""

    period: tuple[int, int]  # samples that each replica trains between merges, first and last
    merges: int
    outer: cadence.OuterStep
    ends_in_average: bool


def _costs(costs: object, strategy: str) -> Costs | None:
    """Return the costs to predict with; None if nobody asked."""
    if isinstance(costs, Costs):
        return costs
    if costs is not None and not isinstance(costs, (bool, np.bool_)):
        raise TypeError(
            f"costs must be an omp_mlp.costs.Costs, True, False or None; got {type(costs).__name__}"
        )
    if costs is None and strategy != "auto":
        return None
    if costs is None or costs:
        return calibrate()
    return TYPICAL if strategy == "auto" else None


def _predict(
    strategy: str,
    asked_of_replicas: Mapping[str, object],
    **options: Any,  # noqa: ANN401 - handed on
) -> Prediction:
    if strategy == "auto":
        return choose(strategies=("replica",) if asked_of_replicas else CHOICES, **options)
    return predict(strategy=strategy, **options)


@functools.cache
def _defaults() -> Mapping[str, object]:
    parameters = inspect.signature(train_parallel).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def _check_one_merge(
    name: str, merges: int, merge_every: object, outer: cadence.OuterStep, last_average: bool
) -> None:
    if merges > 1:
        raise ValueError(
            f"merge={name!r} merges once here, at the end, and needs merge_every=None or 'auto'; "
            f"got {merge_every}, which makes {merges} merges"
        )
    if outer.needs_base or last_average:
        raise ValueError(
            f"merge={name!r} merges once here, without an outer step or another last merge; got "
            f"outer_momentum={outer.momentum:g}, outer_learning_rate={outer.learning_rate:g} and "
            f"last_merge={'average' if last_average else None!r}"
        )


def _output_function(loss: str, output_activation: str, targets: Targets) -> str:
    """Resolve "auto" in loss and output_activation, and check that the two go together."""
    loss = checks.choice("loss", loss, ("auto", *_OUTPUTS_OF_LOSS))
    output_activation = checks.choice(
        "output_activation", output_activation, ("auto", *OUTPUT_ACTIVATIONS)
    )
    is_classification = targets.labels is not None
    if loss == "auto":
        loss = "cross_entropy" if is_classification else "squared_error"
    if loss == "cross_entropy" and not is_classification:
        raise ValueError(
            "loss='cross_entropy' needs y of integers, strings or booleans; got floats, which are "
            "the values of a regression (loss='squared_error')"
        )
    if output_activation == "auto":
        if loss == "cross_entropy":
            return "softmax"
        return "logistic" if is_classification else "identity"
    if output_activation not in _OUTPUTS_OF_LOSS[loss]:
        raise ValueError(
            f"loss={loss!r} goes with output_activation "
            + " or ".join(repr(name) for name in _OUTPUTS_OF_LOSS[loss])
            + f"; got {output_activation!r}"
        )
    return output_activation


def _layer_sizes(n_features: int, hidden_layer_sizes: object, n_outputs: int) -> tuple[int, ...]:
    if isinstance(hidden_layer_sizes, str) or not isinstance(hidden_layer_sizes, Iterable):
        raise TypeError(
            "hidden_layer_sizes must be a sequence of integers, such as (128,); "
            f"got {hidden_layer_sizes!r}"
        )
    hidden = [
        checks.integer(f"hidden_layer_sizes[{k}]", size, 1)
        for k, size in enumerate(hidden_layer_sizes)
    ]
    return (n_features, *hidden, n_outputs)


def _ends_in_average(
    last_merge: object, method: MergeMethod, outer_momentum: object, threads: int, merges: int
) -> bool:
    last_merge = checks.choice("last_merge", last_merge, ("auto", "average", None))
    if last_merge != "auto":
        return last_merge == "average"
    is_short = threads > 1 and 1 < merges <= cadence.FEW_MERGES
    return is_short and method.cadence == "periodic" and outer_momentum == "auto"


def _warn_of(skipped: list[tuple[int, int]]) -> None:
    shown = ", ".join(f"replica {replica} in round {round_}" for round_, replica in skipped[:5])
    more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
    warnings.warn(
        f"left out of the merge, with an infinite loss or weight, or one that is not a number: "
        f"{shown}{more}",
        SkippedReplicaWarning,
        stacklevel=3,
    )


def _start(
    init: str | Model,
    layer_sizes: tuple[int, ...],
    activation: str,
    output: str,
    targets: Targets,
    scale: float,
) -> FloatArray | None:
    """Return the parameters to start from, for inputs of that scale; None to draw them."""
    if not isinstance(init, Model):
        checks.choice("init", init, ("shared", "independent"))
        return None
    for name, got, expected in (
        ("layer_sizes", init.layer_sizes, layer_sizes),
        ("activation", init.activation, activation),
        ("output_activation", init.output_activation, output),
    ):
        if got != expected:
            raise ValueError(
                f"init must be a Model of {name} {expected!r}, as this training has; got {got!r}"
            )
    if not same_labels(init.classes, targets.labels):
        raise ValueError(
            f"init must be a Model of the classes in y, {targets.labels}; got {init.classes}"
        )
    packed = init._packed.copy()
    packed[: layer_sizes[0] * layer_sizes[1]] /= np.float32(scale)
    return packed


def _init_scale(init_scale: float | str, activation: str) -> tuple[str, float]:
    """Return the rule and, for a fixed scale, its value."""
    if not isinstance(init_scale, str):
        return "fixed", checks.real("init_scale", init_scale, 0.0)
    checks.choice("init_scale", init_scale, ("auto", "glorot", "he"))
    if init_scale == "auto":
        init_scale = "he" if activation == "relu" else "glorot"
    return init_scale, 0.0


def _evaluation(
    validation_data: object, n_features: int, targets: Targets
) -> Callable[[Predictor], tuple[float, float]] | None:
    """Check the validation data, and return what gives loss and score on them."""
    if validation_data is None:
        return None
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
        raise TypeError(
            f"validation_data must be a pair (X, y); got {type(validation_data).__name__}"
        )
    X, y = validation_data
    inputs = read_inputs(X, name="validation_data[0]", n_features=n_features)
    expected = read_targets(
        y, inputs.n_samples, name="validation_data[1]", like=(targets.labels, targets.n_outputs)
    )
    return lambda model: model._evaluate(inputs, expected)


def _history(
    columns: dict[str, npt.NDArray[Any]],
    validation: list[tuple[float, float]],
    strategy: str,
    threads: int,
    prediction: Prediction | None,
    total_samples: int,
) -> History:
    nan = [(np.nan, np.nan)] * len(columns["samples"])
    validation_loss, validation_score = np.array(validation or nan).reshape(-1, 2).T
    share = np.diff(columns["samples"], prepend=0) / max(total_samples, 1)
    return History(
        **columns,
        validation_loss=validation_loss,
        validation_score=validation_score,
        predicted_seconds=share * (np.nan if prediction is None else prediction.total),
        strategy=strategy,
        threads=threads,
    )
