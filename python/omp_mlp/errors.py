"""What can go wrong while training."""

from __future__ import annotations


class TrainingDivergedError(ArithmeticError):
    """A loss or a parameter became infinite or not a number.

    A smaller ``learning_rate``, or inputs scaled to about unit size, usually cure it.

    Attributes
    ----------
    round : int
        The round, counted from 0, in which the training diverged.
    replica : int or None
        The lowest index of the replicas that diverged. None if every replica was finite and the
        merged network was not. 0 where several threads train one network.
    """

    def __init__(self, round: int, replica: int | None) -> None:  # noqa: A002
        super().__init__(round, replica)
        self.round = round
        self.replica = replica

    def __str__(self) -> str:
        who = "the merged network" if self.replica is None else f"replica {self.replica}"
        return (
            f"training diverged: {who} has an infinite loss or weight, or one that is not a "
            f"number, in round {self.round}; try a smaller learning_rate, or scale the inputs"
        )


class SkippedReplicaWarning(RuntimeWarning):
    """Replicas that were not finite were left out of a merge, as ``on_nonfinite="skip"`` asks."""
