"""Modules for what PyTorch has no module of its own for. Importing this needs PyTorch."""

from __future__ import annotations

import torch

from omp_mlp.scaling import PARTS, Scaling


class ScaleInputs(torch.nn.Module):
    """z = (x - offset) / scale in double precision, then float32; x is brought to the limits first.

    Columns with a finite bend b are then compressed to b arsinh(z / b).
    """

    offset: torch.Tensor
    scale: torch.Tensor
    lower: torch.Tensor | None
    upper: torch.Tensor | None
    bend: torch.Tensor | None

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        parts = scaling.parts()
        for name in PARTS:
            part = parts.get(name)
            self.register_buffer(name, None if part is None else torch.tensor(part))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the network's side of x."""
        x = x.double()
        if self.lower is not None:
            x = x.clamp(self.lower, self.upper)
        z = ((x - self.offset) / self.scale).float()
        if self.bend is None:
            return z
        bends = self.bend.isfinite()
        b = torch.where(bends, self.bend, 1.0)
        return torch.where(bends, (b * torch.asinh(z.double() / b)).float(), z)


class ScaleTargets(torch.nn.Module):
    """Offset + scale o, in double precision."""

    offset: torch.Tensor
    scale: torch.Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.register_buffer("offset", torch.tensor(scaling.offset))
        self.register_buffer("scale", torch.tensor(scaling.scale))

    def forward(self, o: torch.Tensor) -> torch.Tensor:
        """Return the values in the units of y."""
        return self.offset + self.scale * o.double()


class Exponential(torch.nn.Module):
    """exp(z): the rates of a network with Poisson loss."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return exp(z)."""
        return torch.exp(z)
