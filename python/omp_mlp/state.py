"""The state of a training between two rounds, and its file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from omp_mlp import _core, checks, disk
from omp_mlp.gathering import Gather
from omp_mlp.safetensors_content import DAMAGED, metadata_of

Arrays = dict[str, npt.NDArray[Any]]

OBJECT = {"object": True}
"""In the place of an option that a state does not keep."""

_FORMAT, _VERSION = "omp_mlp_training_state", "1"
_OF_CORE = "core."
_TYPES = ("float32", "float64", "int64")
_OF_RANKS = (
    "optimizer.steps", "optimizer.slots", "optimizer.gains", "merge.left",
    "overlap.start", "overlap.trained", "overlap.results",
)  # fmt: skip
"""The core's arrays of which each rank has a part: for its networks, or for itself."""


@dataclass(frozen=True, repr=False)
class TrainingState:
    """All that a training knows between two rounds, so that it can go on with the same bits.

    ``train_parallel(checkpoint=)`` makes states, and ``train_parallel(resume=)`` goes on from one.
    A state has the network, what the optimisers and the outer optimiser remember, the position in
    the stream of samples, the learning rate, the history, and what early stopping has seen. It has
    a checksum of the data, and not the data.

    Attributes
    ----------
    options : dict
        The options of the training as they were given, by the names of ``train_parallel``. Those
        that are arrays or objects, such as ``sample_weight``, say so, and are not kept.
    settled : dict
        What the training made of options that were left to be decided.
    data : dict
        Shape, dtype and checksum (SHA-256) of all arrays of the training.
    round : int
        The rounds that are over, a warm-up among them.
    samples : int
        Samples trained on so far, by all replicas together.
    version : str
        The version of omp_mlp that made the state.
    """

    options: dict[str, Any]
    settled: dict[str, Any]
    data: dict[str, Any]
    version: str
    _judge: dict[str, Any] | None  # what early stopping has seen, besides the best network
    _watched: Arrays  # what Python has seen: the validation scores, the best network
    _core: Arrays  # of the core, by its names

    @property
    def round(self) -> int:
        """The rounds that are over."""
        return len(self._core["history.samples"])

    @property
    def samples(self) -> int:
        """Samples trained on so far."""
        samples = self._core["history.samples"]
        return int(samples[-1]) if len(samples) else 0

    def __repr__(self) -> str:
        return (
            f"TrainingState(after round {self.round}, {self.samples} samples, "
            f"{self.settled['strategy']} x {self.settled['threads']}, "
            f"optimizer={self.options['optimizer']!r}, seed={self.options['seed']})"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a safetensors file, which appears whole or not at all.

        Parameters
        ----------
        path : path-like

        Raises
        ------
        OSError
            If the file cannot be written. An old file is as it was then.
        """
        tensors = {
            **self._watched,
            **{_OF_CORE + name: array for name, array in self._core.items()},
        }
        about = {
            "options": self.options,
            "settled": self.settled,
            "data": self.data,
            "judge": self._judge,
        }
        metadata = {
            "format": _FORMAT,
            "format_version": _VERSION,
            "omp_mlp_version": self.version,
            "about": json.dumps(about),
        }
        metadata["sha256"] = _digest(metadata, tensors)
        disk.write_whole(path, safetensors.numpy.save(tensors, metadata=metadata))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainingState:
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        TrainingState

        Raises
        ------
        ValueError
            If the file is damaged, is no state of a training, or is of another version of the
            format.
        OSError
            If there is no such file, or it cannot be read.
        """
        name = disk.path_of(path)
        content = disk.read_regular(name)
        try:
            tensors = safetensors.numpy.load(content)
            metadata = metadata_of(content)
        except (safetensors.SafetensorError, *DAMAGED) as error:
            raise ValueError(f"{name}: not a readable safetensors file: {error}") from error
        if metadata.get("format") != _FORMAT:
            raise ValueError(
                f"{name}: not a state of a training by omp_mlp (metadata: {sorted(metadata)})"
            )
        if metadata.get("format_version") != _VERSION:
            raise ValueError(
                f"{name}: format version {metadata.get('format_version')!r}; this omp_mlp, "
                f"{_core.build_config()['version']}, reads version {_VERSION!r}"
            )
        try:
            return cls._of(tensors, metadata)
        except DAMAGED as error:
            raise ValueError(
                f"{name}: damaged or incomplete: {type(error).__name__}: {error}"
            ) from error

    @classmethod
    def _of(cls, tensors: Arrays, metadata: dict[str, str]) -> TrainingState:
        if metadata.pop("sha256") != _digest(metadata, tensors):
            raise ValueError("the content does not have the digest that was saved")
        about = json.loads(metadata["about"])
        of_core = {
            name.removeprefix(_OF_CORE): array
            for name, array in tensors.items()
            if name.startswith(_OF_CORE)
        }
        watched = {name: tensors[name] for name in tensors if not name.startswith(_OF_CORE)}
        parts = (about["options"], about["settled"], about["data"])
        state = cls(*parts, metadata["omp_mlp_version"], about["judge"], watched, of_core)
        state._check()
        return state

    def _check(self) -> None:
        """Check what is looked at here; the core checks its own arrays when it takes them."""
        for name, array in {**self._core, **self._watched}.items():
            if array.ndim != 1 or array.dtype not in _TYPES:
                raise ValueError(f"{name} of {array.dtype} and shape {array.shape}")
        samples, scores = self._core["history.samples"], self._watched["validation"]
        if samples.dtype != np.int64 or (np.diff(samples, prepend=0) < 0).any():
            raise ValueError("samples must be integers that do not fall")
        if scores.dtype != np.float64 or len(scores) != 2 * len(samples):
            raise ValueError("validation must have a loss and a score of each round")
        for name in ("round", "position"):
            if self._core[name].shape != (1,):
                raise ValueError(f"{name} must be one number")
        for part, names in (
            (self.options, {"optimizer", "seed"}),
            (self.settled, {"strategy", "merge_every", "outer_optimizer"}),
            (self.data, {"X", "y"} if "X" in self.data else {"X values", "y"}),
        ):
            if not part.keys() >= names:
                raise ValueError(f"{sorted(names)} must be among {sorted(part)}")
        for name, array in self.data.items():
            if array.keys() != {"shape", "dtype", "sha256"} or not isinstance(array["sha256"], str):
                raise ValueError(f"{name} must have shape, dtype and sha256")
            for size in array["shape"]:
                checks.integer(f"shape of {name}", size, 0)
        checks.integer("threads", self.settled["threads"], 1)
        checks.integer("epochs", self.settled["epochs"], 0)
        if self._judge is not None:
            for name in ("least", "to_beat"):
                if not isinstance(self._judge[name], float):
                    raise TypeError(f"judge.{name} must be a float")
            checks.integer("judge.failures", self._judge["failures"], 0)
            if self._judge["best_round"] is not None:
                checks.integer("judge.best_round", self._judge["best_round"], 0, len(samples) - 1)
                if self._watched["best"].shape != self._core["master"].shape:
                    raise ValueError("the best network must have the shape of the last one")


def kept_option(described: Any) -> Any:  # noqa: ANN401 - of any option
    """Return an option from what a state says of it."""
    return described["mapping"] if isinstance(described, dict) else described


def mean_of_optimizers(core: Arrays) -> Arrays:
    """Return what the optimisers remember, the mean over the networks, from the core's arrays."""
    steps = core.get("optimizer.steps")
    if steps is None:
        return {}
    mean: Arrays = {"optimizer.steps": steps.max(keepdims=True)}
    for name in ("optimizer.slots", "optimizer.gains"):
        of_each = core[name].reshape(len(steps), -1).astype(np.float64)
        mean[name] = of_each.mean(axis=0).astype(np.float32)
    return mean


def of_all_ranks(core: Arrays, gather: Gather) -> Arrays:
    """Return the core's arrays with what all ranks remember, in their order."""
    parts = gather({name: core[name] for name in _OF_RANKS if name in core})
    return {**core, **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}}


def of_one_rank(core: Arrays, rank: int, size: int) -> Arrays:
    """Undo :func:`of_all_ranks` for one of ``size`` ranks, which need not be as many as then."""
    own = {name: np.split(core[name], size)[rank] for name in _OF_RANKS if name in core}
    return {**core, **own}


def optimizers_of_each(mean: Arrays, networks: int) -> Arrays:
    """Return for the core that the optimisers of all networks remember the same."""
    return {name: np.tile(array, networks) for name, array in mean.items()}


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """Hash what a file holds."""
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, array in sorted(tensors.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
