"""An ONNX graph while it is put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class Graph:
    """Nodes and constants, in the order in which they are added."""

    def __init__(self, onnx: Any) -> None:  # noqa: ANN401
        self._onnx = onnx
        self.types = onnx.TensorProto
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.new_names: dict[str, str] = {}

    @property
    def names(self) -> set[str]:
        """The names of all constants and results."""
        results = {name for node in self.nodes for name in node.output}
        return results | {constant.name for constant in self.constants}

    def rename(self, inputs: Sequence[str], names: Sequence[str]) -> None:
        """Give inputs of the graph other names."""
        self.new_names = dict(zip(inputs, names, strict=True))
        for node in self.nodes:
            node.input[:] = [self.new_names.get(name, name) for name in node.input]

    def add(
        self,
        op: str,
        *inputs: str,
        output: str | None = None,
        **attributes: Any,  # noqa: ANN401
    ) -> str:
        """Add a node, and return the name of its output."""
        output = output or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, values: npt.NDArray[Any]) -> str:
        """Add a constant, and return its name."""
        if values.dtype.kind == "O":
            tensor = self._onnx.helper.make_tensor(
                name,
                self._onnx.TensorProto.STRING,
                values.shape,
                [text.encode() for text in values.ravel()],
            )
        else:
            tensor = self._onnx.numpy_helper.from_array(values, name)
        self.constants.append(tensor)
        return name

    def number(self, name: str, value: float) -> str:
        """Add a float32 constant."""
        return self.constant(name, np.array(value, np.float32))

    def cast(self, name: str, kind: str, output: str | None = None) -> str:
        """Add a change of type."""
        return self.add("Cast", name, output=output, to=getattr(self._onnx.TensorProto, kind))
