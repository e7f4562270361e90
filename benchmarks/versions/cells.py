"""The trainings that are compared."""

from __future__ import annotations

from dataclasses import dataclass

STRATEGIES = ("replica", "section", "synchronous")
FORMS = ("bytes", "float32")
BATCH_SIZES = (1, 8, 32, 128)
HIDDEN = (128, 1024)
WORKERS = (1, 2)

# What trains well in plain SGD, so that as many units are active as in a training of use.
LEARNING_RATES = {1: 0.01, 8: 0.1, 32: 0.2, 128: 0.4}


@dataclass(frozen=True)
class Cell:
    """A kind of training: ``threads`` is the number of replicas or sections; 0: of workers."""

    strategy: str
    form: str
    batch_size: int
    hidden: int
    workers: int
    threads: int = 0

    @property
    def name(self) -> str:
        """In tables and files."""
        return (
            f"{self.strategy}, {self.form}, B {self.batch_size}, {self.hidden} hidden, "
            f"{self.workers} worker"
            + ("s" if self.workers > 1 else "")
            + (f", {self.threads} threads" if self.threads else "")
        )
