"""Networks to and from ONNX graphs, with encoding, scalings and labels in the graph.

The graphs need opset 17 of ONNX and run in float32. Only the scalings are computed in double.
"""

from __future__ import annotations

import json
import os
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from omp_mlp.convert.onnx_columns import LABELS_OPSET, add_columns, input_names
from omp_mlp.convert.onnx_graph import Graph
from omp_mlp.convert.parts import Parts
from omp_mlp.disk import read_regular, write_whole
from omp_mlp.encoding import Columns
from omp_mlp.extras import imported
from omp_mlp.safetensors_content import DAMAGED
from omp_mlp.scaling import PARTS, Doubles, Scaling

_OPSET = 17
_IR_VERSION = 8  # of opset 17's time: runtimes of 2022 and later read it
_LEAKY_SLOPE = 0.01

_SIMPLE = {
    "relu": "Relu",
    "tanh": "Tanh",
    "logistic": "Sigmoid",
    "selu": "Selu",
    "identity": "Identity",
    "softmax": "Softmax",
    "exponential": "Exp",
}
_PREFIX = "omp_mlp."  # of metadata


def _onnx() -> Any:  # noqa: ANN401 - onnx need not be there
    return imported("onnx", "this conversion", "onnx", "onnx")


# ------------------------------------------------------------------------------------------ writing


def to_onnx(parts: Parts, path: str | os.PathLike[str], version: str) -> None:
    """Write the graph of :meth:`omp_mlp.Model.to_onnx`."""
    onnx = _onnx()
    model = _model(onnx, parts, version)
    onnx.checker.check_model(model, full_check=True)
    write_whole(path, model.SerializeToString())


def _model(onnx: Any, parts: Parts, version: str) -> Any:  # noqa: ANN401
    labels = None if parts.classes is None else _graph_labels(parts.classes)
    graph = Graph(onnx)
    X, inputs = _inputs(graph, parts)
    z = _hidden_part(graph, parts, X)
    outputs = _outputs(graph, parts, z, labels)
    if parts.encodes:
        assert parts.columns is not None
        graph.rename([name for name, _, _ in inputs], input_names(parts.columns, graph.names))
        inputs = [(graph.new_names[name], kind, width) for name, kind, width in inputs]
    n_outputs = parts.weights[-1].shape[1]
    shape_of = {"label": ["n"] if not parts.multilabel else ["n", n_outputs]}
    info = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "omp_mlp",
            [info(name, kind, ["n", width]) for name, kind, width in inputs],
            [info(name, kind, shape_of.get(name, ["n", n_outputs])) for name, kind in outputs],
            graph.constants,
        ),
        opset_imports=[
            onnx.helper.make_opsetid("", _OPSET),
            *([onnx.helper.make_opsetid("ai.onnx.ml", LABELS_OPSET)] if parts.encodes else []),
        ],
        ir_version=_IR_VERSION,
        producer_name="omp_mlp",
        producer_version=version,
    )
    about = {
        "activation": parts.activation,
        "output_activation": parts.output_activation,
        "classes_dtype": "" if parts.classes is None else parts.classes.dtype.str,
        "multilabel": str(int(parts.multilabel)),
    }
    if parts.columns is not None:
        about["columns"] = json.dumps(parts.columns.as_dict())
    onnx.helper.set_model_props(model, {_PREFIX + name: text for name, text in about.items()})
    return model


def _graph_labels(classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the labels in a type that ONNX runtimes can pick from."""
    kind = classes.dtype.kind
    if kind in "iu":
        if kind == "u" and classes.max() >= 2**63:
            raise ValueError(f"ONNX labels are int64; got {classes.max()} among the classes")
        return classes.astype(np.int64)
    if kind == "S":
        raise TypeError(f"ONNX has no labels of bytes; got classes of dtype {classes.dtype}")
    return classes.astype({"b": np.bool_, "f": np.float64, "U": np.object_}[kind])


def _inputs(graph: Graph, parts: Parts) -> tuple[str, list[tuple[str, int, int]]]:
    """Return the name of X, and name, type and width of the graph's inputs."""
    if not parts.encodes:
        kind = graph.types.FLOAT if parts.input_scaling is None else graph.types.DOUBLE
        matrix = [("X", int(kind), parts.weights[0].shape[0])]
        if parts.columns is None or parts.columns.medians is None:
            return "X", matrix
        dtype = np.float32 if parts.input_scaling is None else np.float64
        medians = graph.constant("medians", np.array([parts.columns.medians], dtype=dtype))
        return graph.add("Where", graph.add("IsNaN", "X"), medians, "X"), matrix
    assert parts.columns is not None
    X, inputs = add_columns(graph, parts.columns)
    if parts.input_scaling is None:
        X = graph.cast(X, "FLOAT")
    return X, [(name, kind, 1) for name, kind in inputs]


def _hidden_part(graph: Graph, parts: Parts, a: str) -> str:
    """Add all layers behind the inputs, and return the name of the last pre-activations."""
    if parts.input_scaling is not None:
        if parts.input_scaling.limits is not None:
            lower, upper = parts.input_scaling.limits
            a = graph.add("Max", a, graph.constant("input_lower", lower))
            a = graph.add("Min", a, graph.constant("input_upper", upper))
        offset = graph.constant("input_offset", parts.input_scaling.offset)
        scale = graph.constant("input_scale", parts.input_scaling.scale)
        a = graph.cast(graph.add("Div", graph.add("Sub", a, offset), scale), "FLOAT")
        if parts.input_scaling.bend is not None:
            a = _compress(graph, parts.input_scaling.bend, a)
    for index, (W, b) in enumerate(parts.layers):
        if index:
            a = _activate(graph, parts.activation, a, index)
        names = (
            graph.constant(f"weights.{index}", np.ascontiguousarray(W)),
            graph.constant(f"biases.{index}", np.ascontiguousarray(b)),
        )
        a = graph.add("Gemm", a, *names)
    return a


def _compress(graph: Graph, bend: Doubles, z: str) -> str:
    """Add b arsinh(z / b) where b is finite: sign(u) b log(|u| + sqrt(u^2 + 1)) with u = z / b.

    In double precision, where runtimes have no Asinh.
    """
    b = graph.constant("input_bend", bend)
    one = graph.constant("bend.one", np.array(1.0))
    bends = graph.add("Less", b, graph.constant("bend.none", np.array(np.inf)))
    b = graph.add("Where", bends, b, one)
    u = graph.add("Div", graph.cast(z, "DOUBLE"), b)
    size = graph.add("Abs", u)
    root = graph.add("Sqrt", graph.add("Add", graph.add("Mul", size, size), one))
    logarithm = graph.add("Log", graph.add("Add", size, root))
    compressed = graph.add("Mul", graph.add("Sign", u), graph.add("Mul", b, logarithm))
    return graph.add("Where", bends, graph.cast(compressed, "FLOAT"), z)


def _activate(graph: Graph, activation: str, z: str, layer: int) -> str:
    if activation in _SIMPLE:
        return graph.add(_SIMPLE[activation], z)
    if activation == "leaky_relu":
        return graph.add("LeakyRelu", z, alpha=_LEAKY_SLOPE)
    if activation == "silu":
        return graph.add("Mul", z, graph.add("Sigmoid", z))
    if activation == "mish":  # opset 17 has no Mish
        return graph.add("Mul", z, graph.add("Tanh", graph.add("Softplus", z)))
    if activation == "gelu":  # z (1 + erf(z / sqrt 2)) / 2; opset 17 has no Gelu
        root = graph.number(f"root.{layer}", np.sqrt(0.5))
        one, half = graph.number(f"one.{layer}", 1.0), graph.number(f"half.{layer}", 0.5)
        erf = graph.add("Erf", graph.add("Mul", z, root))
        return graph.add("Mul", graph.add("Mul", z, graph.add("Add", erf, one)), half)
    raise ValueError(f"ONNX has no activation {activation!r} here")


def _outputs(
    graph: Graph, parts: Parts, z: str, labels: npt.NDArray[Any] | None
) -> list[tuple[str, int]]:
    """Add what follows on the last pre-activations; return names and types of the outputs."""
    types = graph.types
    if labels is not None:
        picked = graph.add("ArgMax", z, axis=1, keepdims=0)
        graph.add("Gather", graph.constant("classes", labels), picked, output="label")
        kinds = {"i": types.INT64, "b": types.BOOL, "f": types.DOUBLE, "O": types.STRING}
        kind = ("label", kinds[labels.dtype.kind])
        if parts.output_activation == "identity":
            graph.add("Identity", z, output="decision")
            return [kind, ("decision", types.FLOAT)]
        if parts.output_activation == "softmax":
            graph.add("Softmax", z, axis=1, output="probabilities")
        else:
            least = graph.number("least", float(np.finfo(np.float32).tiny))
            values = graph.add("Add", graph.add("Sigmoid", z), least)
            total = graph.add("ReduceSum", values, graph.constant("axis", np.array([1])))
            graph.add("Div", values, total, output="probabilities")
        return [kind, ("probabilities", types.FLOAT)]
    if parts.multilabel:
        graph.cast(graph.add("Greater", z, graph.number("zero", 0.0)), "INT64", output="label")
        graph.add("Sigmoid", z, output="probabilities")
        return [("label", types.INT64), ("probabilities", types.FLOAT)]
    values = _SIMPLE.get(parts.output_activation, "Identity")
    attributes: dict[str, Any] = {"axis": 1} if parts.output_activation == "softmax" else {}
    if parts.target_scaling is None:
        graph.add(values, z, output="variable", **attributes)
        return [("variable", types.FLOAT)]
    o = graph.cast(graph.add(values, z, **attributes), "DOUBLE")
    scale = graph.constant("target_scale", parts.target_scaling.scale)
    offset = graph.constant("target_offset", parts.target_scaling.offset)
    graph.add("Add", graph.add("Mul", o, scale), offset, output="variable")
    return [("variable", types.DOUBLE)]


# ------------------------------------------------------------------------------------------ reading


def from_onnx(path: str | os.PathLike[str]) -> Parts:
    """Return the parts of a graph; see :meth:`omp_mlp.Model.from_onnx`."""
    onnx = _onnx()
    from google.protobuf.message import DecodeError  # onnx stands on protobuf

    try:
        # What other files hold is not read: to_onnx writes one file.
        model = onnx.load_model_from_string(read_regular(path))
    except DecodeError as error:
        raise ValueError(f"{path}: not a readable ONNX file: {error}") from error
    try:
        about = {
            prop.key.removeprefix(_PREFIX): prop.value
            for prop in model.metadata_props
            if prop.key.startswith(_PREFIX)
        }
        constants = {tensor.name: _array(onnx, tensor) for tensor in model.graph.initializer}
        parts = _parts(about, constants)
        # Whoever has changed the graph, or written another one, means another network.
        is_ours = _model(onnx, parts, "").graph == model.graph
    except (*DAMAGED, onnx.shape_inference.InferenceError, onnx.checker.ValidationError):
        is_ours = False
    if not is_ours:
        raise ValueError(
            f"{path}: from_onnx reads the graphs that to_onnx writes, unchanged; got a graph of "
            f"{model.producer_name or 'unknown origin'} with {len(model.graph.node)} nodes"
        )
    return parts


def _array(onnx: Any, tensor: Any) -> npt.NDArray[Any]:  # noqa: ANN401
    if tensor.data_location != onnx.TensorProto.DEFAULT:
        raise ValueError("the numbers are in another file")
    array: npt.NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    return array


def _parts(about: dict[str, str], constants: dict[str, npt.NDArray[Any]]) -> Parts:
    depth = next(k for k in count() if f"weights.{k}" not in constants)
    classes = constants.get("classes")
    if classes is not None and classes.dtype.kind == "O":
        # Older versions of onnx give bytes.
        texts = [text.decode() if isinstance(text, bytes) else text for text in classes]
        classes = np.array(texts, dtype=about["classes_dtype"])
    elif classes is not None:
        classes = classes.astype(about["classes_dtype"])
    input_scaling, target_scaling = (
        Scaling(
            **{
                part: constants[f"{of}_{part}"].copy()
                for part in PARTS
                if f"{of}_{part}" in constants
            }
        )
        if f"{of}_offset" in constants
        else None
        for of in ("input", "target")
    )
    columns = Columns.from_dict(json.loads(about["columns"])) if "columns" in about else None
    if columns is not None:
        columns.check(constants["weights.0"].shape[0])
    return Parts(
        [constants[f"weights.{k}"] for k in range(depth)],
        [constants[f"biases.{k}"] for k in range(depth)],
        about["activation"],
        about["output_activation"],
        classes,
        about["multilabel"] == "1",
        input_scaling,
        target_scaling,
        columns,
    )
