"""Networks that go to another library and come back: what it answers, and what came back."""

import pytest

from omp_mlp import Model


def through_onnx(network, X, path):
    """Return the values that onnxruntime has for X, and the network that the file gives."""
    pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network.to_onnx(path)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (got,) = session.run(["variable"], {"X": X})
    return got[:, 0], Model.from_onnx(path)


def through_torch(network, X):
    """Return the values that PyTorch has for X, the module, and the network that it gives."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
    module = network.to_torch()
    with torch.no_grad():
        got = module(torch.from_numpy(X)).numpy()
    return got[:, 0], module, Model.from_torch(module)
