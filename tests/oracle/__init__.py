"""A second, slow implementation of training and merging in plain NumPy: the oracle of the tests.

Nothing here is shared with the library, and nothing here is fast. Every function states the formula
that it computes, so that it can be checked by reading; ``test_oracle_*.py`` check it by numbers.

Conventions
-----------
* A network is a list of layers ``(W, b)``, ``W`` of shape (fan_in, fan_out), ``b`` of shape
  (fan_out,); a layer computes ``z = a W + b``. The *flat* form of a network is the concatenation of
  ``W_1.ravel(), b_1, W_2.ravel(), b_2, ...``.
* Targets are either class indices, an integer array (N,), or real targets, a float array (N, k).
* Everything is computed in ``dtype`` (float32 as in the library, float64 to check gradients),
  except losses and the sums of merges, which are accumulated in double.
"""

from oracle.merging import (
    MERGES,
    ONE_SHOT_MERGES,
    MergeInput,
    Outer,
    ensemble_decision,
    matching_similarity,
    merge_refit_output,
    merge_regmean,
    merge_weight_matching,
    outer_step,
)
from oracle.network import (
    ACTIVATIONS,
    PAIRS,
    FloatArray,
    Parameters,
    activate,
    activation_derivative,
    batch_loss,
    dropout_factors,
    flatten,
    forward,
    gradient,
    initial_parameters,
    layer_boundaries,
    layer_sizes_of,
    output_deltas,
    sample_losses,
    unflatten,
    uniform_scale,
)
from oracle.optimizer import (
    OPTIMIZERS,
    Optimizer,
    Settings,
    learning_rate_at,
    merge_states,
    sgd_step,
)
from oracle.random import ORDER, derive, derive_many, permutation, permute
from oracle.sending import (
    choose_largest,
    merge_largest,
    sum_up_a_tree,
    sum_up_in_parts,
    to_bfloat16,
)
from oracle.training import (
    TrainingResult,
    batches,
    block,
    growing_ends,
    rounds,
    sample_order,
    train_parallel,
)
