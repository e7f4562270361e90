"""The trainings that are compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

# Floats of X at most: 160 MB with the rows that are held out.
MOST_FLOATS = 20_000_000
MOST_ROWS = 20_000


@dataclass(frozen=True)
class Panel:
    """A part of the map: every width with every batch size, all else the same."""

    features: int
    layers: int
    solver: str
    widths: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    products: str = "float32"  # what the factors of products are rounded to

    @property
    def name(self) -> str:
        """In tables and pictures."""
        hidden = "1 hidden layer" if self.layers == 1 else f"{self.layers} hidden layers"
        solver = {"sgd": "SGD", "adam": "Adam"}[self.solver]
        rounded = "" if self.products == "float32" else f", {self.products} products"
        return f"{self.features:,} inputs, {hidden}, {solver}{rounded}"

    @property
    def rows(self) -> int:
        """Rows of X."""
        return min(MOST_ROWS, MOST_FLOATS // self.features)

    def cells(self) -> Iterator[tuple[int, int]]:
        """Return every width and batch size."""
        return product(self.widths, self.batch_sizes)


_BATCHES = (1, 8, 32, 128, 512)

# In the order of the numbers of inputs: the data of a process are drawn once.
PANELS = (
    Panel(20, 1, "sgd", (16, 256, 4096), (1, 32, 512)),
    Panel(100, 2, "sgd", (16, 64, 256, 1024), _BATCHES),
    Panel(100, 1, "sgd", (4096,), _BATCHES),
    Panel(512, 2, "sgd", (1024,), (1, 8, 32, 256)),
    Panel(512, 2, "sgd", (256, 1024, 2048), (32, 256), products="bfloat16"),
    Panel(784, 1, "sgd", (16, 128, 1024), _BATCHES),
    Panel(784, 1, "adam", (128, 1024), (32, 128, 256)),
    Panel(784, 3, "sgd", (64, 256, 1024), (1, 32, 512)),
    Panel(1024, 2, "sgd", (2048,), (8, 32, 128, 512)),
    Panel(1024, 2, "adam", (1024,), (32, 256)),
    Panel(10_000, 1, "sgd", (16, 256), (1, 32, 512)),
    Panel(10_000, 1, "sgd", (1024,), (32, 512)),
)
QUICK = (
    Panel(20, 1, "sgd", (16, 256), (1, 32)),
    Panel(20, 2, "adam", (64,), (32,)),
)
