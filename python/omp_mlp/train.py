"""Train in parallel: replicas of a network train on shards of the data, a merge makes them one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy.typing as npt

from omp_mlp.automatic import read_and_settle, retreats
from omp_mlp.checks import Column, Matrix
from omp_mlp.costs import Costs
from omp_mlp.ensemble import Ensemble
from omp_mlp.keywords import Options
from omp_mlp.merging.merge import MergesToModel
from omp_mlp.model import Model
from omp_mlp.options import Checkpoint, check_options
from omp_mlp.plan import make_plan
from omp_mlp.presets import with_presets
from omp_mlp.resume import check_kind, check_plan, settle_as, with_resume
from omp_mlp.run import Run
from omp_mlp.scaling import Scaling
from omp_mlp.state import TrainingState
from omp_mlp.watch import Callback

if TYPE_CHECKING:
    from typing_extensions import Unpack


@overload
def train_parallel(
    X: Matrix,
    y: Column,
    threads: int | None,
    merge: Literal["ensemble"],
    **options: Unpack[Options],
) -> Ensemble: ...
@overload
def train_parallel(
    X: Matrix,
    y: Column,
    threads: int | None = None,
    *,
    merge: Literal["ensemble"],
    **options: Unpack[Options],
) -> Ensemble: ...
@overload
def train_parallel(
    X: Matrix,
    y: Column,
    threads: int | None = None,
    merge: MergesToModel = "gradient_diversity",
    **options: Unpack[Options],
) -> Model: ...
@overload
def train_parallel(
    X: Matrix,
    y: Column,
    threads: int | None = None,
    merge: str = "gradient_diversity",
    **options: Unpack[Options],
) -> Model | Ensemble: ...
@with_resume
@with_presets
def train_parallel(
    X: Matrix,
    y: Column,
    threads: int | None = None,
    merge: str = "gradient_diversity",
    *,
    preset: str | None = None,
    hidden_layer_sizes: Sequence[int] = (128,),
    activation: str = "relu",
    output_activation: str = "auto",
    task: str = "auto",
    classes: npt.ArrayLike | None = None,
    loss: str = "auto",
    huber_delta: float = 1.0,
    quantile: float = 0.5,
    label_smoothing: float = 0.0,
    epochs: int | str = "auto",
    batch_size: int | str = "auto",
    learning_rate: float | str = "auto",
    learning_rate_schedule: str = "linear",
    power_t: float = 0.5,
    tol: float = 1e-4,
    warmup_share: float = 0.0,
    optimizer: str = "sgd",
    momentum: float = 0.9,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    rho: float = 0.99,
    epsilon: float = 1e-8,
    weight_decay: float | str = "auto",
    l2: float = 0.0,
    max_norm: float | None = None,
    state_at_merge: str = "keep",
    merge_every: int | tuple[int, int] | str | None = "auto",
    merge_options: Mapping[str, Any] | None = None,
    outer_optimizer: str = "auto",
    outer_learning_rate: float | str = "auto",
    outer_momentum: float | str = "auto",
    last_merge: str | None = "auto",
    averaging: str = "none",
    averaging_span: int = 10,
    on_nonfinite: str = "raise",
    warmup_samples: int = 0,
    init: str | Model = "shared",
    parametrization: str = "standard",
    input_gain_rate: float = 0.0,
    init_scale: float | str = "auto",
    shuffle: str | bool = "global",
    sample_weight: npt.ArrayLike | None = None,
    class_weight: Mapping[Any, float] | str | None = None,
    validation_data: tuple[Matrix, Column] | None = None,
    validate_every: int | str = "auto",
    early_stopping: bool = False,
    validation_fraction: float = 0.1,
    patience: int | str = "auto",
    min_delta: float = 0.0,
    dropout: float | Sequence[float] = 0.0,
    first_layer: str = "auto",
    precision: str = "float32",
    skip_confident: float = 0.0,
    categorical_features: str | None = "from_dtype",
    center_inputs: bool | str = "auto",
    scale_inputs: Scaling | str | bool = "auto",
    scale_targets: Scaling | str | bool = "auto",
    strategy: str = "replica",
    costs: Costs | bool | None = None,
    workers: int | None = None,
    seed: int = 0,
    callback: Callback | None = None,
    progress: bool = False,
    keep_replicas: bool = False,
    checkpoint: Checkpoint | None = None,
    checkpoint_every: int | str = "auto",
    resume: TrainingState | str | os.PathLike[str] | None = None,
) -> Model | Ensemble:
    """Train a multilayer perceptron on the CPU, data-parallel.

    Each of ``threads`` replicas of the network trains by stochastic gradient descent on its own
    samples. A merge makes the replicas one network: once at the end (Ott 2017), or every
    ``merge_every`` samples. The result depends on the data, the options, ``seed`` and ``threads``,
    and on nothing else. It has the same bits for any number of ``workers``, on the same machine and
    build.

    Parameters
    ----------
    X : array-like, SciPy sparse matrix or table, of shape (n_samples, n_features)
        A table has named columns: of pandas, polars or pyarrow, or of what they can read. Its
        columns are numbers, booleans, or, with ``categorical_features``, text and categories. The
        network keeps the names, and finds the columns of another table by them.

        X is never changed, and the returned network applies to X in the units given here. float32
        in C order and CSR of float32 are read in place where they are not scaled. Other numbers are
        converted to float32. Bytes (uint8) are read in place; the training uses X / 2^k with the
        smallest k that brings the largest byte to at most 1. Scaled images are floats that are all
        bytes divided by 255 (or 1, 16, 256). While replicas train, such a matrix is also kept as
        bytes if these take at most 56 MB, because bytes are quicker to read; every entry still
        stands for the same float.
    y : array-like, column or table, of shape (n_samples,) or (n_samples, n_outputs)
        Integers, strings or booleans are the labels of a classification. Floats are the values of a
        regression, in one or several columns. ``task`` says otherwise. A matrix of integers or
        booleans 0 and 1 with two columns or more is a multilabel classification: each column says
        of a label whether a sample has that label.
    threads : int, optional
        Number of replicas (the paper's n). ``threads`` changes the result; ``workers`` changes the
        speed. For the strategies that train one network: the number of parts of the work. Default:
        as many as this process has cores, but so few that each replica has 128 rows. So the default
        gives another result on a machine with another number of cores.
    merge : str, default "gradient_diversity"
        A name from :func:`omp_mlp.merge_methods`.
    preset : {"tabular"}, optional
        Other defaults for options that the call does not give. What the call gives counts, even if
        it gives the default. "tabular" is for tables, and has parts of RealMLP (Holzmueller et al.
        2024): ``hidden_layer_sizes=(128, 128)``, ``parametrization="ntk"``,
        ``input_gain_rate=6.0``, ``optimizer="adam"``, ``beta_2=0.95``, ``weight_decay=0.1`` and
        ``learning_rate_schedule="coslog4"``, and ``strategy="synchronous"``, so that ``threads``
        changes the speed alone. docs/defaults.md says what each part is worth. The search for the
        epochs and the rate stays.
    hidden_layer_sizes : sequence of int, default (128,)
        Units of each hidden layer. An empty sequence gives a linear model.
    activation : str, default "relu"
        The activation phi of the hidden layers: "relu", "leaky_relu" (0.01 z for negative z),
        "tanh", "logistic", "gelu" (the exact one, z Phi(z) with Phi the normal distribution, as
        ``torch.nn.GELU()``), "silu" (z times the logistic of z), "selu" (1.0507 z for positive z,
        else 1.7581 (exp(z) - 1)), "mish" (z tanh(ln(1 + exp(z)))) or "identity".
    output_activation : {"auto", "softmax", "identity", "logistic", "exponential"}, default "auto"
        "softmax" goes with cross-entropy, "exponential", exp(z), with the Poisson loss. "logistic"
        goes with binary cross-entropy and with squared error, "identity" with squared error and all
        other losses. "auto": the one of the loss; for squared error, logistic with labels and
        identity with values.
    task : {"auto", "classes", "values"}, default "auto"
        What y is. "auto" goes by its dtype: floats are values, and all else is classes. A
        :class:`omp_mlp.TaskWarning` says when the numbers look like the other: floats that are
        whole numbers of 2 to 20 kinds, with ten rows a kind or more; integers of more than 20
        kinds, with fewer than ten rows a kind. "classes" trains floats as labels, too, if they are
        whole numbers. "values" trains any numbers as values.
    classes : array-like of shape (n_classes,), optional
        All labels that the network is to know, in any order. y has some of them, and nothing else.
        Default: the labels in y; or, from a Model as ``init``, the classes of that model, if they
        include the labels in y.
    loss : str, default "auto"
        The loss of a sample, with outputs o and targets t. All but the first are summed over the
        outputs.

        "cross_entropy"
            -log p(correct), with labels.
        "squared_error"
            (o - t)^2 / 2, with values. With labels, t is 1 for the right class and 0 for the
            others.
        "huber"
            (o - t)^2 / 2 up to ``|o - t|`` = ``huber_delta``, and linear beyond (Huber 1964), with
            values; as ``torch.nn.HuberLoss``.
        "absolute"
            ``|o - t|``, with values. The derivative at 0 is 0.
        "quantile"
            ``quantile`` (t - o) where o is below t, else (1 - ``quantile``) (o - t): the pinball
            loss (Koenker & Bassett 1978), with values. The outputs become this quantile of y.
        "poisson"
            exp(z) - t z, with values that are not negative, such as counts. The outputs are the
            rates o = exp(z), which ``predict`` gives. As ``torch.nn.PoissonNLLLoss``.
        "binary_cross_entropy"
            -t log p - (1 - t) log(1 - p), with several labels a sample.

        "auto": cross-entropy with labels, binary cross-entropy with several labels a sample,
        squared error with values. "huber", "absolute", "quantile" and "poisson" train integers as
        values, too, if ``task`` is "auto".
    huber_delta : float greater than 0, default 1.0
        Of the Huber loss, in the units that the training sees: with ``scale_targets``, in standard
        deviations of y.
    quantile : float in (0, 1), default 0.5
        Of the quantile loss.
    label_smoothing : float s in [0, 1), default 0.0
        Cross-entropy compares p with 1 - s + s / K for the right one of K classes, and with s / K
        for the others, as ``torch.nn.CrossEntropyLoss``. The losses in ``history`` are these.
    epochs : int or "auto", default "auto"
        How often each replica visits its shard. 0 returns the start itself. "auto" chooses by
        cross-validation from three numbers. The largest makes 800,000 samples, but is from 10 to
        80, or twice that for more than 8 replicas; the others are a quarter and a sixteenth of it.
        While the largest is the best, four times as many are tried, as long as they make no more
        than 200,000 samples (twice that for more than 8 replicas), which fewer than some 600 rows
        do, or as the largest has less error than the one before it by more than a sixth of the
        smallest's.
        A fifth of the rows is held out, or each fifth in turn if there are fewer than 2,000 rows.
        The error is the squared error of the probabilities (Brier 1950), or the loss for outputs
        other than softmax. The chosen number then trains on all rows. The search takes about twice
        the time of that training. There is no search, but one fixed number, if it would take more
        than some seconds; with ``early_stopping``; from a Model as ``init``; for "hogwild"; and for
        merge methods that are applied once. For "lbfgs", the three numbers are 12, 50 and 200
        iterations.
    batch_size : int or "auto", default "auto"
        Samples of a step; 1 is online training. The gradient g of a step is that of the batch's
        mean loss. "auto": 8 for images and sparse matrices, else 2. It is also 8 for networks of
        more than 100,000 parameters, and 32 for more than a million. For optimisers other than
        plain descent, it is 32. For ``parametrization="ntk"``, it is the power of two next to a
        32nd of a replica's rows, but at least 16, and at most 256 over the number of replicas, or
        32 where that is more.
    learning_rate : float or "auto", default "auto"
        The rate that the schedule begins with, or the highest that it rises to. "auto": 8 / c with
        labels, and with values 1.5 / c for one replica and 1 / c for several. c is the curvature of
        the squared error of one sample at the start, which follows from the squares of the inputs
        and the numbers of units. The rate is at most 0.1. In batches of more than 8 samples, it
        grows with the square root of the batch size. If ``epochs`` is also "auto", the search tries
        twice the rate, and half of it. "momentum" and "nesterov" have 1 - momentum times this rate.
        "adam", "adamw" and "rmsprop" have 0.002 in batches of 32. A training that diverges at a
        rate found by "auto" goes on with half the rate from its last good network, and warns with a
        :class:`omp_mlp.LearningRateWarning`.
    learning_rate_schedule : str, default "linear"
        The rate of each step, by the share x of a replica's samples that come before it:

        "linear"
            ``learning_rate`` (1 - x), which falls to 0 after the last sample.
        "constant"
            ``learning_rate``.
        "cosine"
            ``learning_rate`` (1 + cos(pi x)) / 2 (Loshchilov & Hutter 2017, without restarts).
        "one_cycle"
            The first 30 % rise from ``learning_rate`` / 25 to ``learning_rate``, and the rest falls
            to ``learning_rate`` / 250000, both by half a cosine. This is ``OneCycleLR`` of PyTorch
            with its defaults, after Smith & Topin (2019). The momentum stays as it is.
        "inverse_scaling"
            ``learning_rate`` / (t + 1)^power_t, where t counts the replica's samples, as in
            scikit-learn. But scikit-learn changes the rate between epochs only.
        "adaptive"
            ``learning_rate``, which is divided by 5 each time that the mean training loss of two
            epochs in turn failed to fall below the least one before by ``tol``, as in scikit-learn.
            An epoch is judged at the merge after its end. Where rounds are longer than an epoch,
            each round is judged.
        "coslog4"
            ``learning_rate`` (1 - cos(2 pi log2(1 + 15 x))) / 2: four waves, each twice as long as
            the one before (RealMLP, Holzmueller et al. 2024). The rate is 0 at the first step.
    power_t : float, default 0.5
        The exponent of ``learning_rate_schedule="inverse_scaling"``.
    tol : float, default 1e-4
        By how much the loss of an epoch has to fall for ``learning_rate_schedule="adaptive"``. The
        largest entry of the gradient at which ``optimizer="lbfgs"`` ends. With ``scale_targets``,
        both are in units of the scaled loss.
    warmup_share : float in [0, 1), default 0.0
        The share of the training over which the rate rises from 0 to ``learning_rate`` in a line.
        The schedule begins after that, and x and t count from there. ``warmup_samples`` is another
        thing: a training of one replica before the replicas part. ``warmup_share`` counts from
        where they part.
    optimizer : str, default "sgd"
        How a gradient g changes the weights W in step t = 1, 2, ... All of them are the algorithms
        of ``torch.optim``. V and M are 0 at the start.

        "sgd"
            Plain descent: W <- W - rate g.
        "momentum"
            Heavy-ball momentum (Polyak 1964): V <- momentum V + g, W <- W - rate V.
        "nesterov"
            Nesterov's momentum (Sutskever et al. 2013): V <- momentum V + g,
            W <- W - rate (g + momentum V).
        "adam"
            Kingma & Ba (2015): M <- beta_1 M + (1 - beta_1) g, V <- beta_2 V + (1 - beta_2) g^2,
            W <- W - rate M / (1 - beta_1^t) / (sqrt(V / (1 - beta_2^t)) + epsilon).
        "adamw"
            "adam" with decoupled weight decay (Loshchilov & Hutter 2019).
        "rmsprop"
            Tieleman & Hinton (2012), as PyTorch has it: V <- rho V + (1 - rho) g^2,
            W <- W - rate g / (sqrt(V) + epsilon).
        "lbfgs"
            L-BFGS (Liu & Nocedal 1989) on the mean loss of all samples, with ``l2`` / 2 times the
            sum of all W^2 added, by SciPy (``pip install omp_mlp[lbfgs]``). It suits small tables.
            It trains one network, and all workers find the loss and its gradient at once. So
            ``threads`` does not change the result; it is the largest number of workers. ``epochs``
            is the largest number of iterations, each of which is a round of ``history``. An
            iteration counts each sample once there, however often the line search visits that
            sample. The loss of a round is that of the network that the round made. The training
            ends before that when no entry of the gradient is larger than ``tol``, or when the loss
            falls by less than about 2e-9 of itself, as in scikit-learn.

            "lbfgs" goes with ``strategy`` "replica" and "auto", which mean "synchronous" here, and
            with "synchronous". It goes without ``merge`` and all other options of replicas, and
            without ``batch_size``, ``learning_rate`` and its schedule, ``weight_decay``,
            ``max_norm``, ``dropout``, ``skip_confident`` and ``shuffle``.

        Rates of "adam", "adamw" and "rmsprop" are about 0.001. Each replica has M and V of its own,
        and ``state_at_merge`` says what a merge makes of them. After a warm-up, they are 0. A step
        of "sgd" visits the weights of nonzero inputs only, while all other steps visit every
        weight. All but "lbfgs" go with every strategy, except that "hogwild" goes with "sgd" alone.
        Predictions by ``costs`` are those of "sgd".
    momentum : float in [0, 1), default 0.9
        The factor of the last velocity, of "momentum" and "nesterov".
    beta_1 : float in [0, 1), default 0.9
        How much of the last M "adam" and "adamw" keep.
    beta_2 : float in [0, 1), default 0.999
        How much of the last V "adam" and "adamw" keep.
    rho : float in [0, 1), default 0.99
        How much of the last V "rmsprop" keeps (PyTorch's ``alpha``).
    epsilon : float, default 1e-8
        What "adam", "adamw" and "rmsprop" add to the root of V. At least 2^-126, the smallest
        normal float32.
    weight_decay : float or "auto", default "auto"
        Decoupled weight decay: in each step also W <- W - rate weight_decay W, with the W before
        the step. Biases do not decay. It goes with every optimiser; "adam" with it is "adamw".
        "auto": 0.01 for "adamw", as in PyTorch, else 0.
    l2 : float, default 0.0
        Coupled decay: g <- g + l2 W, the gradient of l2 / 2 times the sum of all W^2. Biases do not
        decay. This is PyTorch's ``weight_decay`` of SGD, Adam and RMSprop. Scikit-learn divides its
        ``alpha`` by the batch size: ``l2`` is alpha / batch_size. Losses in ``history`` are without
        it.
    max_norm : float, optional
        Clips the gradient of a batch, before ``l2``: if the norm of all its entries together is
        above ``max_norm``, it is scaled down to ``max_norm``, as by
        ``torch.nn.utils.clip_grad_norm_`` (Pascanu et al. 2013).

        "sgd" with ``weight_decay``, ``l2`` or ``max_norm`` visits every weight in each step, as the
        other optimisers do. "hogwild" goes without them.
    state_at_merge : {"keep", "average", "reset"}, default "keep"
        What a merge makes of M and V of optimisers that have them. "keep": each replica goes on
        with its own. "average": all go on with the mean over the replicas and with the largest t.
        "reset": all begin anew, with t = 1. A replica that ``on_nonfinite="skip"`` leaves out of a
        merge begins anew in any case, or gets the mean.
    merge_every : int, pair (first, last) of int, None or "auto", default "auto"
        Samples that each replica trains on between merges, at least ``batch_size``. With a pair
        such as ``(16, 256)``, they grow from first to last in equal ratios over the training,
        rounded to whole batches. None: one merge, at the end. "auto" depends on the method. With
        one thread, it is an epoch. Methods that are applied once merge once, if there is no outer
        optimiser. Periodic methods get a pair of which last is 16 times first. Its mean is such
        that a merge takes about a tenth of the time between merges, by the number of threads, the
        layer sizes and the nonzeros in X. It is shorter if there would be fewer than about 512
        merges, but first is at least 8 samples or a batch. Where that leaves fewer than 512, last
        is 8, 4, 2 or 1 times first, unless a merge of so many parameters takes longer than the
        training between. The differences of ``history.samples`` show the choice. Methods that see
        layers as matrices (such as ``"weight_matching"``) and a line search merge once only.
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
        round, where the rate falls. Where the rate rises, it leaves M as it is: a schedule may rise
        from 0. "auto": "momentum".
    outer_learning_rate : float or "auto", default "auto"
        "auto": 0.7 for "nesterov", else 1.
    outer_momentum : float in [0, 1) or "auto", default "auto"
        "auto": for "momentum" 0 below 4 threads, 0.3 up to 8, 0.4 up to 16, 0.5 above; 0.9 for
        "nesterov", 1 - 1/threads for "bmuf", 0.7 for "slowmo". In three cases "auto" gives an
        ``outer_momentum`` of 0 and an ``outer_learning_rate`` of 1: with one thread; with eight or
        fewer merges; and for methods that are applied once, if there is no outer optimiser. For
        "momentum", it is also 0 with ``merge_every="auto"`` if a replica trains on fewer than 1,024
        samples in all.
    last_merge : {"auto", "average", None}, default "auto"
        "average": the last merge is a plain average without an outer step. None: it is like all
        others. "auto": "average" for trainings with two to eight merges by a periodic method whose
        ``outer_momentum`` is also "auto", else None.
    averaging : {"none", "lawa", "ema"}, default "none"
        Return a mean of the masters of the training in the place of the last master. The training
        itself stays as it is. "lawa": the mean of the last ``averaging_span`` masters (latest
        weight averaging, Kaddour 2022). "ema": an exponential mean E, which is the first master to
        begin with; then E <- E + 2 / (averaging_span + 1) (master - E). There is a master for each
        merge, or, where several threads train one network, for each epoch. A warm-up makes none.
        Where the learning rate is halved (see ``learning_rate``), the mean begins anew. What is
        scored on validation data, judged by ``early_stopping`` and seen by a callback is the mean,
        too. ``TrainingDivergedError.model`` is a single master. Sums are in double precision.
        "hogwild", "lbfgs", ``keep_replicas`` and merges that Python does go without it. It makes up
        for a constant rate, and changes little where the schedule ends at 0.
    averaging_span : int, default 10
        How many masters "lawa" averages; the masters of "ema" are as old on the mean. "lawa" keeps
        so many networks in memory.
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
        same shape. Limits of its ``input_scaling`` do not go along: this training finds its own.
    parametrization : {"standard", "ntk"}, default "standard"
        What the optimiser steps. "ntk" is the neural tangent parametrisation (Jacot et al. 2018): a
        layer of fan_in inputs is V / sqrt(fan_in), and the optimiser steps V. So the gradient of
        the weights W has a factor 1 / sqrt(fan_in), and so has their step. Biases step as always.
        The weights of adaptive optimisers then move by about rate / sqrt(fan_in), so that one
        rate fits layers of all widths. "auto" rates of these optimisers are 0.04 in batches of
        256. ``weight_decay`` and ``l2`` are those of W. All optimisers go with it, and all
        strategies but "hogwild".
    input_gain_rate : float, default 0.0
        Train a factor of each input, too: the scaling layer of RealMLP (Holzmueller et al. 2024).
        The weights of input j are s_j V_j, and the optimiser steps V_j, and s_j from 1 on with
        ``input_gain_rate`` times the learning rate. Inputs that help get large weights soon, and
        those that do not, small ones. The returned network has the products as its weights. 0:
        there are no factors. It goes with ``strategy`` "replica", "pattern" and "synchronous".
        Each replica has factors of its own, which ``state_at_merge`` treats as the optimiser's
        state.
    init_scale : {"auto", "glorot", "he", "lecun"} or float, default "auto"
        Initial weights are uniform in [-scale, scale). "glorot" is sqrt(6 / (fan_in + fan_out)),
        "he" is sqrt(6 / fan_in), "lecun" is sqrt(3 / fan_in). "auto": for relu, leaky_relu, gelu,
        silu and mish "he", but "glorot" in the first layer; "lecun" for selu and for
        ``parametrization="ntk"``, else "glorot". Biases start at 0. But with "auto" and up to 16
        inputs, those of the first layer are uniform in the range of its weights, as in
        scikit-learn; not for "ntk". With "auto" and fewer than 100 rows for each input, the last
        layer's weights are multiplied by the rows for each input / 100, or by 0.1 if that is more;
        of classes only for "ntk".
    shuffle : {"global", "shards", False}, default "global"
        "global": every epoch deals all samples out to the replicas afresh. "shards": replica i
        keeps block i of ``numpy.array_split(X, threads)``, and shuffles within the block. False:
        the same blocks, in order.
    sample_weight : array-like of shape (n_samples,), optional
        Factors of the samples' losses. They are not negative, not all 0, and are not normalised.
    class_weight : mapping, "balanced" or None, default None
        Factors of the samples' losses by their class, on top of ``sample_weight``. A mapping has
        weights by labels; classes that it does not name have weight 1. "balanced" weighs a class by
        n_samples / (n_classes * samples of the class), as scikit-learn. Rows that
        ``early_stopping`` holds out do not count. It does not change losses and scores on
        validation data.
    validation_data : tuple (X, y), optional
        The history has the master's loss and score on these data, after the rounds that
        ``validate_every`` names.
    validate_every : int or "auto", default "auto"
        Rounds from one scoring of ``validation_data`` to the next; 1 scores after every round. The
        last round is always scored. The rounds between have NaN in ``history``. "auto": so often
        that scoring takes about a tenth of the training at most. It counts multiply-adds and reads
        no clock. It scores every round if rounds are epochs or longer, or if all scorings together
        are some hundredths of a second of work.
    early_stopping : bool, default False
        Stop when the loss on held-out data no longer falls, and return the master that had the
        least loss; ``history.best_round`` is its round. The loss is judged, because it is finer
        than accuracy. Held-out data are ``validation_data``, or else ``validation_fraction`` of the
        rows of X. The loss that is judged is without outliers of the latter, which
        ``scale_targets`` is about. The training needs two merges at least, done by the core. A
        linear schedule still falls to 0 at the end of all ``epochs``.
    validation_fraction : float in (0, 1), default 0.1
        The share of rows that ``early_stopping`` holds out if there is no ``validation_data``. Each
        class is held out in this share; ``seed`` draws the rows. The training and the held-out rows
        are copies of the rows of X, in its own format: bytes stay bytes and CSR stays CSR.
        ``sample_weight`` does not count for held-out rows.
    patience : int or "auto", default "auto"
        ``early_stopping`` stops after so many scorings in turn without improvement. "auto": as many
        as two epochs have, but at least 10.
    min_delta : float, default 0.0
        A loss must be lower than the least so far by more than this to count as an improvement. The
        master of the least loss is returned in any case.
    dropout : float or sequence of float in [0, 1), default 0.0
        The rate at which hidden units are left out of a sample's pass while the network trains
        (Srivastava et al. 2014), for all hidden layers or one for each. The units that stay are
        multiplied by 1 / (1 - rate), so that the returned network needs no change. Which units are
        left out depends on ``seed``, the epoch, the sample's row in X, the layer and the unit
        alone. So the strategies agree. The losses of the training in ``history`` are those with
        dropout; those on validation data are without.
    first_layer : {"auto", "sparse", "dense"}, default "auto"
        How the first layer reads X. "sparse" touches only the weights of nonzero inputs, "dense"
        all weights. "auto" decides by the share of nonzeros in X. The choice changes the speed, and
        it changes the result by rounding only.
    precision : {"float32", "bfloat16"}, default "float32"
        With "bfloat16", the three products of a dense layer (forward, backward, gradient) round
        both factors to 8 bits of precision, to nearest, ties to even, where the machine multiplies
        them faster so. Sums, weights, gradients and steps stay float32. So do products that would
        be no faster: batches of fewer than 16 samples (32 where a layer has up to 256 units),
        layers with fewer than 128 units or 64 inputs, and a first layer that is read sparse.
        Predictions are float32, too. "bfloat16" does not go with "hogwild" or "lbfgs". Which
        machines have it: docs/architecture.md. On others, the training is in float32, and warns
        with a `SettingsWarning`.
    skip_confident : float in [0, 1), default 0.0
        Samples whose 1 - p(correct) is below this make no step: selective backpropagation (Jiang
        et al. 2019). It is not gradient descent, and it is faster. Cross-entropy only.
    categorical_features : {"from_dtype", None}, default "from_dtype"
        What is done with columns of a table that are not plain numbers. "from_dtype": text and
        categories have an input for each of their labels, which is 1 where a row has that label.
        Labels that the training did not have, and missing ones, are 0 in all of them; a column
        that has nothing but entries of another type, such as numbers for text, is an error. Missing
        numbers become the median of the column, and a further input says with 1 that they were
        missing. Where the training had every number of a column, those that a table lacks later
        become the median, too, without such an input, and with a
        :class:`omp_mlp.MissingNumbersWarning`. If all columns are such numbers, the median is that
        of up to 1,024 rows at equal distances. The network keeps this as ``model.columns``, and
        takes tables as they come. None: such columns, and missing numbers, are errors.
    center_inputs : bool or "auto", default "auto"
        "auto": True for images (bytes, and what ``scale_inputs`` finds to be an image), else False.
        Train on X minus the mean of each feature over X. The problem is then better conditioned and
        needs fewer epochs. Inputs do not become dense, and the returned network applies to X as it
        is. The result equals that of training on centred inputs, up to float32 rounding.
    scale_inputs : {False, "auto", "compress"} or Scaling, default "auto"
        "auto" scales X for the training. The returned network applies to X as it is given: the
        scaling is folded into its weights, or, where that would lose digits, kept beside them as
        ``model.input_scaling``. Constant columns become 0. ``sample_weight`` does not change the
        scales, and neither do ``workers`` and rows that ``early_stopping`` holds out. Scales
        are found and applied in double precision, before the conversion to float32, which makes one
        float32 copy of a dense X.

        Bytes are read as always. Numbers that are an image are read as bytes are: whole numbers
        from 0 to 255, or such numbers divided by 16, 255 or 256, of which at least half are zero,
        and whose columns mostly reach a quarter of the largest. In other sparse matrices,
        zeros stay zeros: each column is divided by its standard deviation or a quarter of its
        largest magnitude, if that is more. So are the columns that are at least half zero in an
        array that is at least half zero and has columns of one scale. All other columns, those of
        tables, are standardised, whatever their units and their zero: x becomes
        (x - mean) / scale, where scale is the standard deviation or a tenth of the largest distance
        from the mean, if that is more. A Scaling is taken instead of one that is found in X.

        Values of a dense column that are outliers by the rule of ``scale_targets`` are brought to
        its near end, with a warning (:class:`omp_mlp.SettingsWarning`), and do not change the
        scale. One of them would make all other values of the column look the same. Where D_0.8 is
        0, the values that are not the median are looked at alone, if they are 20 at least. Some
        16,000 rows at most tell the quantiles. The network keeps the limits as ``lower`` and
        ``upper`` of ``model.input_scaling``, beside its weights: validation, scores and predictions
        bring such values nearer, too. Bytes, images and sparse matrices have no limits. False keeps
        the values, for an X that is scaled by hand.

        "compress" compresses the columns of a table that have long tails: those with a value more
        than ten standard deviations from the mean. x becomes arsinh(z), where z is the distance
        from the median, in units of the median distance of the values that are not the median.
        That is z near the median, and grows like log(2 z), so that large values count by their
        order of magnitude. The network keeps this as ``bend`` of ``model.input_scaling``, beside
        its weights. "auto" chooses between both by the error on held-out rows, if ``epochs`` is
        "auto" and makes a search; if not, no column is compressed. A training that begins with a
        network (``init``) compresses what that network does.
    scale_targets : {False, "auto"} or Scaling, default "auto"
        "auto" trains a regression with identity outputs on (y - mean) / std of each output, and has
        no effect on others. The returned network gives values in the units of y. Losses in
        ``history`` are in these units. But with several outputs, the training's loss is the one of
        scaled outputs times the mean of their variances, because the training does not tell them
        apart; the validation's loss is exact. For absolute and quantile loss, it is the mean of
        their standard deviations. The Poisson loss has targets that are not scaled.

        Outliers do not change mean and std. For the squared error, "auto" also brings them nearer
        for the training, and warns (:class:`omp_mlp.SettingsWarning`). With D_p the quantiles of
        the n distances from the median of a column, log D is continued in a straight line from
        p = 0.8 and 0.95: over the quantiles of the normal distribution for a near end, and over
        -log(1 - p) for a far one. A value is an outlier if it is 10 + 1000 / n times as far as the
        far end. Then all values beyond the near end are brought to it. The lines are at least as
        steep as the normal distribution there. So log-normal values and those with tails of a power
        stay as they are. Nothing is an outlier if n < 20 or D_0.8 = 0. The rows of all ranks count
        alike, and ``sample_weight`` does not count.

        Validation and scores have y as it is given. Only ``early_stopping`` judges the rows that it
        holds out itself with their outliers brought nearer, too. A rare group of true values, a
        hundred times as far away as the others spread, looks like outliers: False keeps them, for
        a y that is scaled by hand.
    strategy : str, default "replica"
        How the work is made parallel (docs/strategies.md):

        "replica"
            Each thread trains a network of its own, and merges make them one: the note's Figure 2.
            The options of merging, ``init="independent"`` and ``keep_replicas`` go with
            this strategy and, but for ``merge_every`` and the outer optimiser, with "pattern".
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
        (by OpenMP's maximum, ``OMP_NUM_THREADS``, CPU affinity, cgroup quota and
        ``LOKY_MAX_CPU_COUNT``), but not more than ``threads``. An explicit number is obeyed, but
        "section" and "synchronous" use as many as there are cores at most: their threads wait for
        each other in every batch. If the system refuses threads, the training runs on fewer, with a
        RuntimeWarning.
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
    checkpoint : path-like or callable, optional
        Where the state of the training goes, so that ``resume`` can go on from it: a file, which
        appears whole or not at all and is replaced by the next state; or what is called with each
        :class:`omp_mlp.TrainingState`. States are kept after the last round, too, and where a
        callback ends the training after a merge. None is kept after a warm-up, within a round, and
        where ``early_stopping`` ends the training; and none after the last round with
        ``keep_replicas``. It goes without "hogwild", which does not repeat itself, without "lbfgs",
        and without merges that happen once in Python.
    checkpoint_every : int or "auto", default "auto"
        Rounds (merges) from one state to the next. "auto": those of an epoch.
    resume : TrainingState or path-like, optional
        Go on from a state. The network that comes back has the bits of a training that was not
        interrupted, on the same version, build and machine, for any number of ``workers``. X and y
        have to be those of that training, which a checksum shows. What this call does not give, the
        state decides. What it gives has to be what the training began with, but for ``workers``,
        ``callback``, ``progress``, ``costs``, ``checkpoint`` and ``checkpoint_every``. Arrays and
        objects, such as ``sample_weight``, have to be given again.

        ``epochs`` may be larger with ``learning_rate_schedule`` "constant", "adaptive" or
        "inverse_scaling", whose rates do not depend on the end, and a ``merge_every`` and outer
        optimiser that do not depend on it. The bits are those of the longer training if the state
        comes from before the last merge of the shorter one. The last merge may be another one
        (``last_merge``), and its round may be shorter.

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
        that happens in all replicas of a round, or by a merge. Nothing is lost: ``error.model`` is
        the last good master.
    KeyboardInterrupt
        Within about 50 ms of Ctrl-C, or at the end of a batch that takes longer. What was trained
        is not lost: ``error.model`` is the network of the last merge and ``error.history`` has all
        rounds that were finished. Exceptions of a callback have both, too.

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
    given = dict(locals())  # every argument by its name; nothing else is local yet
    options = check_options(given)
    state = options.resume
    known = None
    if state is not None:
        check_kind(state, of_ranks=False)
        known = settle_as(options, state)
    settled, data = read_and_settle(options, X, y, known=known)
    plan = make_plan(settled, data, retreats=retreats(options))
    if state is not None:
        check_plan(plan, data, state)
    return Run(plan, data, given=options, resume=state).train()


Ensemble._train = staticmethod(train_parallel)  # an ensemble is distilled by a training
