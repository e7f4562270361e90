"""Types of the compiled core (cpp/bindings.cpp). Private: use the package."""

from collections.abc import Callable
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

_Float32 = npt.NDArray[np.float32]

class _MergeOption(TypedDict):
    name: str
    summary: str
    words: list[str]

class _MergeMethod(TypedDict):
    name: str
    summary: str
    formula: str
    reference: str
    cadence: Literal["once", "periodic"]
    needs_base: bool
    may_skip: bool
    options: list[_MergeOption]

class _MergeCost(TypedDict):
    share_seconds: list[float]
    load_seconds: list[float]
    loop_seconds: list[float]
    loops: int

class Samples:
    @staticmethod
    def dense_float32(*, X: _Float32) -> Samples: ...
    @staticmethod
    def dense_uint8(*, X: npt.NDArray[np.uint8], scale: float) -> Samples: ...
    @staticmethod
    def csr(
        *,
        starts: npt.NDArray[np.int64],
        indices: npt.NDArray[np.int32],
        values: _Float32,
        rows: int,
        columns: int,
    ) -> Samples: ...
    def list_density(self, *, first_layer: str) -> float | None: ...
    def keep_pixels(self, *, workers: int) -> bool: ...
    def first_nonfinite(self, *, workers: int) -> tuple[int, int] | None: ...

class Network:
    def __init__(
        self,
        *,
        layer_sizes: list[int],
        activation: str,
        output: str,
        parameters: _Float32 | None,
    ) -> None: ...
    def predict(self, *, samples: Samples, raw: bool, workers: int) -> _Float32: ...
    def gradient(
        self,
        *,
        samples: Samples,
        classes: npt.NDArray[np.int32] | None,
        values: _Float32 | None,
        sample_weight: _Float32 | None,
        first_layer: str,
    ) -> tuple[float, _Float32]: ...

def train(
    *,
    network: Network,
    samples: Samples,
    classes: npt.NDArray[np.int32] | None,
    values: _Float32 | None,
    sample_weight: _Float32 | None,
    strategy: str,
    threads: int,
    workers: int,
    epochs: int,
    batch_size: int,
    first_layer: str,
    bfloat16_forward: bool,
    skip_confident: float,
    center_inputs: bool,
    warmup_samples: int,
    merge_every: tuple[int, int],
    merge: str,
    merge_options: list[float | str],
    last_merge: str | None,
    outer_learning_rate: float,
    outer_momentum: float,
    outer_nesterov: bool,
    momentum_follows_rate: bool,
    skip_nonfinite: bool,
    learning_rate: float,
    learning_rate_schedule: str,
    shuffle: str,
    init_rule: str,
    init_scale: float,
    init: str,
    seed: int,
    keep_replicas: bool,
    after_round: Callable[[int, float, float, float, float, _Float32], bool] | None,
    during_round: Callable[[int, float], bool] | None,
) -> tuple[_Float32, list[_Float32], npt.NDArray[np.float64], list[tuple[int, int]]]: ...
def count_rounds(*, length: int, merge_every: tuple[int, int], batch_size: int) -> int: ...
def merge(
    *,
    method: str,
    options: list[float | str],
    replicas: list[_Float32],
    base: _Float32 | None,
    sample_share: list[float],
    layer_ends: list[int],
    workers: int,
) -> _Float32: ...
def merge_cost(
    *,
    method: str,
    options: list[float | str],
    layer_sizes: list[int],
    touched: float | None,
    outer_momentum: float,
    replicas: int,
    workers: int,
    passes: int,
) -> _MergeCost: ...
def merge_methods() -> list[_MergeMethod]: ...
def kernel_names() -> list[str]: ...
def kernels_in_use() -> str: ...
def select_kernels(name: str) -> None: ...
def merge_loop_names() -> list[str]: ...
def select_merge_loops(name: str) -> None: ...
def openmp_max_threads() -> int: ...
def release_threads() -> bool: ...
def build_config() -> dict[str, str]: ...
def epoch_order(
    *, samples: int, replicas: int, replica: int, epoch: int, shuffle: str, seed: int
) -> npt.NDArray[np.int64]: ...
