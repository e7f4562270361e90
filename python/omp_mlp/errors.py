"""What can go wrong while training."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omp_mlp.history import History
    from omp_mlp.model import Model
    from omp_mlp.state import TrainingState


class TrainingDivergedError(ArithmeticError):
    """A loss or a parameter became infinite or not a number.

    A smaller ``learning_rate``, or inputs scaled to about unit size, usually cure it. What was
    trained before is not lost: ``model`` is the last good master.

    Attributes
    ----------
    round : int
        The round, counted from 0, in which the training diverged.
    replica : int or None
        The lowest index of the replicas that diverged. None if every replica was finite and the
        merged network was not. 0 where several threads train one network.
    model : Model or None
        The last good master, as :func:`omp_mlp.train_parallel` would return it, without replicas.
        Before the first merge, this is the start. With ``early_stopping``, this is the best master
        so far. ``model.history`` has the rounds that made it.

        A master is good if it is finite and the round that made it was sound: the loss of that
        round is not above the loss of the first round, or at most ten times the least loss of the
        rounds so far. So the masters of rounds in which the training was about to diverge do not
        count. Where several threads train one network, a master is written after the first epoch,
        and then after every epoch, or after several epochs that have 256 samples together.

        None only in an error that was made by hand.
    history : History or None
        All rounds that were finished.
    state : TrainingState or None
        What the option ``checkpoint`` kept last.
    """

    def __init__(
        self,
        round: int,  # noqa: A002
        replica: int | None,
        model: Model | None = None,
        history: History | None = None,
    ) -> None:
        super().__init__(round, replica)
        self.round = round
        self.replica = replica
        self.model = model
        self.history = history
        self.state: TrainingState | None = None

    def __str__(self) -> str:
        who = "the merged network" if self.replica is None else f"replica {self.replica}"
        return (
            f"training diverged: {who} has an infinite loss or weight, or one that is not a "
            f"number, in round {self.round}; try a smaller learning_rate, or scale the inputs"
        )


class RankError(RuntimeError):
    """Another of the processes that train together failed, or does not answer.

    Attributes
    ----------
    rank : int
        The rank that failed.
    size : int
        The number of ranks.
    reason : str
        What it said.
    """

    def __init__(self, rank: int, size: int, reason: str) -> None:
        super().__init__(rank, size, reason)
        self.rank = rank
        self.size = size
        self.reason = reason

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.size} failed: {self.reason}"
