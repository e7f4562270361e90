"""Networks to and from other libraries: the same numbers, the same labels, clear refusals."""

import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import safetensors.numpy
from sklearn.compose import TransformedTargetRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

import fixed
import omp_mlp
import oracle
from omp_mlp import Model
from omp_mlp.encoding import Columns, Encoding

ACTIVATIONS = tuple(oracle.ACTIVATIONS)
# Sums of up to 20 products of numbers about 1 in float32, in another order.
CLOSE = {"rtol": 1e-6, "atol": 1e-6}

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)


def network(n_outputs=3, activation="relu", **options):
    rng = np.random.default_rng(1)
    sizes = [(4, 9), (9, 5), (5, n_outputs)]
    return Model(
        [rng.uniform(-1, 1, size) for size in sizes],
        [rng.uniform(-1, 1, size[1]) for size in sizes],
        activation=activation,
        **options,
    )


CLASSIFIERS = {
    "integers": {"classes": np.array([-5, 0, 7], np.int32)},
    "strings": {"classes": ["a", "b", "ümlaut"]},
    "floats": {"classes": [0.5, 1.0, 2.5]},
    "logistic": {"classes": [1, 2, 3], "output_activation": "logistic"},
}
REGRESSIONS = {name: {"output_activation": name} for name in ("identity", "exponential")}
MULTILABEL = {"multilabel": {"multilabel": True}}


@pytest.fixture(scope="module")
def scaled():
    """A regression on time stamps and large values: both scalings stand beside the weights."""
    rng = np.random.default_rng(2)
    given = np.column_stack([1.6e9 + 1e5 * rng.normal(size=80), rng.normal(size=80)])
    y = 1e6 + given[:, 1] + (given[:, 0] - 1.6e9) / 1e5
    model = omp_mlp.train_parallel(given, y, 2, epochs=3, batch_size=4, hidden_layer_sizes=(6,))
    assert model.input_scaling is not None
    assert model.target_scaling is not None
    return model, given


def values(model, given):
    return model.predict_proba(given) if model.classes is not None else model.predict(given)


# ------------------------------------------------------------------------------------------ PyTorch


def torch_or_skip():
    return pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_torch_module_computes_what_the_model_does_and_comes_back(activation):
    torch = torch_or_skip()
    model = network(activation=activation, classes=["a", "b", "c"])
    module = model.to_torch()
    with torch.no_grad():
        got = module(torch.from_numpy(X)).numpy()
        logits = model.to_torch(logits=True)(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(got, model.predict_proba(X), **CLOSE)
    np.testing.assert_allclose(logits, model.decision_function(X), **CLOSE)
    np.testing.assert_array_equal(module[0].weight.detach().numpy(), model.weights[0].T)
    back = Model.from_torch(module, classes=model.classes)
    assert repr(back) == repr(model)
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("options", [*REGRESSIONS.values(), *MULTILABEL.values()])
def test_torch_has_every_output(options):
    torch = torch_or_skip()
    model = network(**options)
    module = model.to_torch()
    with torch.no_grad():
        got = module(torch.from_numpy(X)).numpy()
    expected = model.predict_proba(X) if model.multilabel else model.predict(X)
    np.testing.assert_allclose(got, expected, **CLOSE)
    back = Model.from_torch(module, multilabel=model.multilabel)
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


def test_torch_keeps_scalings_in_double(scaled):
    torch = torch_or_skip()
    model, given = scaled
    module = model.to_torch()
    with torch.no_grad():
        got = module(torch.from_numpy(given))
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got.numpy()[:, 0], model.predict(given), rtol=1e-12)
    back = Model.from_torch(module)
    np.testing.assert_array_equal(back.predict(given), model.predict(given))
    assert {"0.offset", "0.scale"} <= set(module.state_dict())


def test_torch_module_of_a_user_is_read_or_refused():
    torch = torch_or_skip()
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(4, 6), nn.Tanh()), nn.Dropout(0.5), nn.Linear(6, 2)
    ).eval()
    model = Model.from_torch(module, output_activation="softmax")
    assert repr(model) == "Model(4-6-2, tanh, softmax)"
    assert model.classes.tolist() == [0, 1]
    with torch.no_grad():
        np.testing.assert_allclose(model.decision_function(X), module(torch.from_numpy(X)), **CLOSE)
    for wrong, message in [
        (nn.Sequential(nn.Linear(4, 2), nn.ELU()), "Got ELU"),
        (nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Tanh()), "Got Tanh"),
        (nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), "Got ReLU"),
        (nn.Sequential(nn.Linear(4, 2), nn.LeakyReLU(0.2), nn.Linear(2, 1)), "Got LeakyReLU"),
        (nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)), "Got BatchNorm1d"),
        (nn.Sequential(), "at least one torch.nn.Linear"),
    ]:
        with pytest.raises(ValueError, match=message):
            Model.from_torch(wrong)
    mixed = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 1))
    with pytest.raises(ValueError, match="'relu' and 'tanh'"):
        Model.from_torch(mixed)
    ended = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
    with pytest.raises(ValueError, match="ends in the output activation 'softmax'"):
        Model.from_torch(ended, output_activation="logistic")
    with pytest.raises(TypeError, match=r"torch\.nn\.Module; got int"):
        Model.from_torch(3)
    for empty in (nn.Linear(2, 1, device="meta"), nn.LazyLinear(1)):
        with pytest.raises(ValueError, match="a parameter of module cannot be read as an array: "):
            Model.from_torch(empty)
    halves = Model.from_torch(nn.Linear(2, 1, dtype=torch.bfloat16))
    assert halves.weights[0].dtype == np.float32


# ------------------------------------------------------------------------------------- scikit-learn


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("n_outputs", [2, 3])
def test_sklearn_classifier(activation, n_outputs):
    labels = ["b", "c", "d"][:n_outputs]
    model = network(n_outputs, activation, classes=labels)
    estimator = model.to_sklearn()
    np.testing.assert_allclose(estimator.predict_proba(X), model.predict_proba(X), **CLOSE)
    assert estimator.predict(X).tolist() == model.predict(X).tolist()
    assert estimator.score(X, model.predict(X)) == 1
    back = Model.from_sklearn(estimator)
    assert repr(back) == repr(model)
    np.testing.assert_allclose(back.predict_proba(X), model.predict_proba(X), **CLOSE)
    assert back.classes.tolist() == labels


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("output", ["identity", "exponential"])
def test_sklearn_regressor(n_outputs, output):
    model = network(n_outputs, output_activation=output)
    if output == "exponential" and "loss" not in MLPRegressor().get_params():
        with pytest.raises(ValueError, match=r"scikit-learn 1\.7"):
            model.to_sklearn()
        return
    estimator = model.to_sklearn()
    got = estimator.predict(X)
    assert got.shape == model.predict(X).shape
    np.testing.assert_allclose(got, model.predict(X), rtol=1e-5, atol=1e-6)  # exp of up to 10
    np.testing.assert_array_equal(Model.from_sklearn(estimator).predict(X), model.predict(X))


def test_sklearn_multilabel():
    model = network(multilabel=True)
    estimator = model.to_sklearn()
    np.testing.assert_allclose(estimator.predict_proba(X), model.predict_proba(X), **CLOSE)
    np.testing.assert_array_equal(estimator.predict(X), model.predict(X))
    back = Model.from_sklearn(estimator)
    assert back.multilabel
    np.testing.assert_array_equal(back.predict(X), model.predict(X))


def test_sklearn_keeps_scalings_as_scalers(scaled):
    model, given = scaled
    estimator = model.to_sklearn()
    np.testing.assert_allclose(estimator.predict(given), model.predict(given), rtol=1e-9)
    back = Model.from_sklearn(estimator)
    np.testing.assert_array_equal(back.predict(given), model.predict(given))


@pytest.mark.parametrize("scaler", [StandardScaler(), MaxAbsScaler(), MinMaxScaler((-1, 1)), None])
def test_fitted_sklearn_estimators_are_read(scaler):
    given = X.astype(np.float64) * [1, 10, 100, 3] + [0, 5, 10, -2]
    y = given @ [1.0, 0.1, -0.01, 0.3] + 100
    options = {"hidden_layer_sizes": (7,), "max_iter": 3, "random_state": 0}
    steps = [scaler or "passthrough"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three epochs do not converge
        classifier = make_pipeline(*steps, MLPClassifier(**options)).fit(given, y > y.mean())
        regressor = TransformedTargetRegressor(
            make_pipeline(*steps, MLPRegressor(**options)), transformer=StandardScaler()
        ).fit(given, y)
    model = Model.from_sklearn(classifier)
    np.testing.assert_allclose(
        model.predict_proba(given), classifier.predict_proba(given), rtol=1e-4, atol=1e-5
    )
    assert model.classes.tolist() == [False, True]
    # Folded into float32 weights: see scaling.MOST_OFFSET.
    np.testing.assert_allclose(
        Model.from_sklearn(regressor).predict(given), regressor.predict(given), rtol=1e-5
    )


def test_sklearn_refuses_what_it_cannot_be():
    for model, message in [
        (network(activation="gelu"), "no activation 'gelu'; it has 'identity', 'logistic'"),
        (network(**CLASSIFIERS["logistic"]), "softmax outputs for such labels"),
        (network(output_activation="logistic"), "identity or exponential outputs"),
        (network(1, classes=["one"]), "two classes"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.to_sklearn()
    with pytest.raises(TypeError, match=r"must be a fitted MLPClassifier.*got StandardScaler"):
        Model.from_sklearn(StandardScaler())
    with pytest.raises(ValueError, match="not fitted"):
        Model.from_sklearn(MLPClassifier())


# --------------------------------------------------------------------------------------------- ONNX


def run(path, given):
    """Return the outputs of a graph by their names."""
    onnxruntime = pytest.importorskip(
        "onnxruntime", reason="onnxruntime is not installed (extra onnx)"
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"X": given}), strict=True))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("labels", CLASSIFIERS)
def test_onnx_classifiers(tmp_path, activation, labels):
    model = network(activation=activation, **CLASSIFIERS[labels])
    path = tmp_path / "network.onnx"
    model.to_onnx(path)
    got = run(path, X)
    assert list(got) == ["label", "probabilities"]
    assert got["label"].tolist() == model.predict(X).tolist()
    np.testing.assert_allclose(got["probabilities"], model.predict_proba(X), **CLOSE)
    back = Model.from_onnx(path)
    assert repr(back) == repr(model)
    assert back.classes.dtype == model.classes.dtype
    np.testing.assert_array_equal(back.decision_function(X), model.decision_function(X))


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("options", [*REGRESSIONS.values(), *MULTILABEL.values()])
def test_onnx_values_and_labels_of_their_own(tmp_path, n_outputs, options):
    model = network(n_outputs, **options)
    path = tmp_path / "network.onnx"
    model.to_onnx(path)
    got = run(path, X)
    if model.multilabel:
        np.testing.assert_array_equal(got["label"].reshape(60, -1), model.predict(X))
        np.testing.assert_allclose(got["probabilities"], model.predict_proba(X), **CLOSE)
    else:
        expected = model.predict(X).reshape(60, -1)
        np.testing.assert_allclose(got["variable"], expected, rtol=1e-5, atol=1e-6)
    assert repr(Model.from_onnx(path)) == repr(model)


def test_onnx_of_a_classifier_without_probabilities(tmp_path):
    model = network(classes=["a", "b", "c"], output_activation="identity")
    model.to_onnx(tmp_path / "network.onnx")
    got = run(tmp_path / "network.onnx", X)
    assert got["label"].tolist() == model.predict(X).tolist()
    np.testing.assert_allclose(got["decision"], model.decision_function(X), **CLOSE)


def test_onnx_keeps_scalings_in_double(tmp_path, scaled):
    model, given = scaled
    path = tmp_path / "network.onnx"
    model.to_onnx(path)
    got = run(path, given)["variable"]
    assert got.dtype == np.float64
    np.testing.assert_allclose(got[:, 0], model.predict(given), rtol=1e-12)
    np.testing.assert_array_equal(Model.from_onnx(path).predict(given), model.predict(given))


def test_onnx_reads_its_own_graphs_alone(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")
    path = tmp_path / "network.onnx"
    network(classes=[1, 2, 3]).to_onnx(path)
    graph = onnx.load(path)
    graph.graph.node[1].op_type = "Tanh"  # behind the first layer
    onnx.save(graph, tmp_path / "changed.onnx")
    with pytest.raises(ValueError, match=r"changed.onnx: from_onnx reads the graphs that to_onnx"):
        Model.from_onnx(tmp_path / "changed.onnx")
    graph = onnx.load(path)
    graph.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    (tmp_path / "elsewhere.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(ValueError, match=r"elsewhere.onnx: from_onnx reads the graphs"):
        Model.from_onnx(tmp_path / "elsewhere.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ValueError, match=r"text.onnx: not a readable ONNX file"):
        Model.from_onnx(tmp_path / "text.onnx")
    with pytest.raises(FileNotFoundError):
        Model.from_onnx(tmp_path / "absent.onnx")
    with pytest.raises(TypeError, match="no labels of bytes"):
        network(classes=[b"a", b"b", b"c"]).to_onnx(path)
    assert Model.from_onnx(path).classes.tolist() == [1, 2, 3]  # the refusal left the file


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("input_scale", lambda array: 0 * array, "input_scaling.scale must be positive; got 0"),
        ("input_scale", lambda array: array[:1], "input_scaling.scale must be 2 finite numbers"),
        ("input_offset", lambda array: array * np.nan, "input_scaling.offset must be 2 finite"),
        ("target_scale", lambda array: -array, "target_scaling.scale must be positive; got -"),
        ("weights.0", lambda array: array * np.inf, "weights and biases must be finite"),
    ],
)
def test_numbers_of_an_onnx_graph_are_not_believed(tmp_path, scaled, name, change, message):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")
    path = tmp_path / "changed.onnx"
    scaled[0].to_onnx(path)
    model = onnx.load(path)
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    array = change(onnx.numpy_helper.to_array(tensor))
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, path)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        Model.from_onnx(path)


def test_scalers_that_scale_by_nothing_are_refused(scaled):
    estimator = scaled[0].to_sklearn()
    estimator.regressor_[0].scale_[1] = 0.0
    with pytest.raises(ValueError, match=re.escape("input_scaling.scale must be positive; got 0")):
        Model.from_sklearn(estimator)


@pytest.fixture(scope="module")
def table():
    """A table with text, categories of all types, gaps and numbers that float32 would round."""
    pandas = pytest.importorskip("pandas", reason="pandas is not installed (extra test)")
    rng = np.random.default_rng(3)
    place = np.arange(90)
    return pandas.DataFrame(
        {
            "kind": np.array(["x", "ümlaut", ""])[place % 3],
            "label": np.where(place % 7 == 0, np.nan, 10 * rng.normal(size=90)),
            "onehotencoder_0": rng.normal(size=90),  # as a node of the graph is called
            "level": pandas.Categorical(place % 4),
            "yes": pandas.Categorical(place % 2 == 0),
            "share": pandas.Categorical(0.5 * (place % 3)),
            "time": 1.6e9 + 1e5 * rng.normal(size=90),
        }
    )


def columns_of(frame, path):
    """Return the inputs of a graph: as the columns come, in the types that it wants."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    types = {"tensor(string)": object, "tensor(int64)": np.int64, "tensor(double)": np.float64}
    inputs = {
        one.name: frame[[name]].to_numpy().astype(types[one.type])
        for one, name in zip(session.get_inputs(), frame, strict=True)
    }
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True)), list(inputs)


@pytest.mark.parametrize("has_time", [True, False])
def test_onnx_encodes_the_columns_of_a_table(tmp_path, table, has_time):
    frame = table if has_time else table.drop(columns="time")
    y = np.where(frame["onehotencoder_0"] > 0, "yes", "nö")
    model = omp_mlp.train_parallel(
        frame, y, 2, epochs=3, batch_size=4, learning_rate=0.05, hidden_layer_sizes=(6,)
    )
    assert (model.input_scaling is not None) == has_time
    path = tmp_path / "network.onnx"
    model.to_onnx(path)
    unknown = frame.astype({"level": int}).assign(kind=["new", *frame["kind"][1:]])
    unknown.loc[3, "level"] = 9
    for rows in (frame, unknown):
        got, names = columns_of(rows, path)
        assert names == [
            {"label": "label_", "onehotencoder_0": "onehotencoder_0_"}.get(one, one)
            for one in frame
        ]
        assert got["label"].tolist() == model.predict(rows).tolist()
        np.testing.assert_allclose(got["probabilities"], model.predict_proba(rows), **CLOSE)
    back = Model.from_onnx(path)
    assert back.columns == model.columns
    np.testing.assert_array_equal(back.predict_proba(frame), model.predict_proba(frame))


def test_onnx_of_a_regression_on_a_table(tmp_path, table):
    frame = table[["kind", "label"]]
    model = omp_mlp.train_parallel(
        frame, frame["label"].fillna(1e6) + 1e6, 2, epochs=3, batch_size=4, learning_rate=0.05
    )
    model.to_onnx(tmp_path / "network.onnx")
    got, _ = columns_of(frame, tmp_path / "network.onnx")
    np.testing.assert_allclose(got["variable"][:, 0], model.predict(frame), rtol=1e-6)


def test_onnx_names_of_columns_are_kept_without_an_encoding(tmp_path, table):
    frame = table[["onehotencoder_0", "time"]].rename(columns={"time": "X"})
    model = fixed.train_parallel(frame / [1, 1e9], frame["onehotencoder_0"] > 0, 2, epochs=1)
    model.to_onnx(tmp_path / "network.onnx")
    back = Model.from_onnx(tmp_path / "network.onnx")
    assert back.columns == model.columns
    turned = frame[["X", "onehotencoder_0"]] / [1e9, 1]
    np.testing.assert_array_equal(back.predict_proba(turned), model.predict_proba(turned))


def of_columns(n_inputs, columns):
    """Return a network without hidden units on the columns of a table."""
    parameters = np.zeros(n_inputs + 1, np.float32)
    return Model._of((n_inputs, 1), parameters, "relu", "identity", None, columns=columns)


def test_onnx_inputs_of_columns_without_names_and_of_large_labels(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra onnx)")
    path = tmp_path / "network.onnx"
    numbers = Columns(None, (Encoding(median=0.5), Encoding(labels=()), Encoding()))
    of_columns(3, numbers).to_onnx(path)
    names = [one.name for one in onnx.load(path).graph.input]
    assert names == ["column0", "column1", "column2"]
    assert Model.from_onnx(path).columns == numbers
    graph = onnx.load(path)
    graph.metadata_props[-1].value = "[" * 99_999
    onnx.save_model(graph, path)
    with pytest.raises(ValueError, match="from_onnx reads the graphs that to_onnx writes"):
        Model.from_onnx(path)
    graph.metadata_props[-1].value = json.dumps({"names": ["a"]})
    onnx.save(graph, path)
    with pytest.raises(ValueError, match="from_onnx reads the graphs that to_onnx writes"):
        Model.from_onnx(path)
    large = Columns(("a",), (Encoding(labels=(0, 2**63)),))
    with pytest.raises(ValueError, match="ONNX labels are int64; got 9223372036854775808"):
        of_columns(2, large).to_onnx(path)


# -------------------------------------------------------------------------- Keras and our own files


def test_keras_weights_are_kernel_and_bias_in_turn():
    model = network(activation="tanh", classes=[0, 1, 2])
    weights = model.to_keras()
    assert [array.shape for array in weights] == [(4, 9), (9,), (9, 5), (5,), (5, 3), (3,)]
    a = X
    for W, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):  # what Dense computes
        a = np.tanh(a @ W + b)
    np.testing.assert_allclose(
        a @ weights[-2] + weights[-1], model.decision_function(X), rtol=1e-5, atol=1e-6
    )
    back = Model.from_keras(weights, activation="tanh")
    assert repr(back) == repr(model)
    np.testing.assert_array_equal(back.decision_function(X), model.decision_function(X))
    with pytest.raises(ValueError, match="kernel and bias of each Dense layer"):
        Model.from_keras(weights[:3])
    with pytest.raises(ValueError, match="weights must be kernel and bias of each Dense layer"):
        Model.from_keras([])
    with pytest.raises(ValueError, match=r"got arrays of shapes \[\(\), \(\), .*\.\.\.$") as error:
        Model.from_keras(range(10_000))
    assert len(str(error.value)) < 400
    with pytest.raises(TypeError, match="weights must be a sequence of arrays; got None"):
        Model.from_keras(None)
    with pytest.raises(ValueError, match="output_activation must be one of"):
        Model.from_keras(weights, output_activation=np.ones(3))


def test_keras_refuses_scalings(scaled):
    with pytest.raises(ValueError, match="input_scaling beside its weights; to_onnx and to_torch"):
        scaled[0].to_keras()


def test_files_have_the_names_and_orientation_that_the_docs_state(tmp_path, scaled):
    model = network(classes=["a", "b", "c"])
    model.save(tmp_path / "plain.safetensors")
    tensors = safetensors.numpy.load_file(tmp_path / "plain.safetensors")
    assert set(tensors) == {f"{part}.{k}" for part in ("weights", "biases") for k in range(3)}
    assert tensors["weights.0"].shape == (4, 9)  # (fan_in, fan_out)
    np.testing.assert_array_equal(tensors["weights.1"], model.weights[1])
    scaled[0].save(tmp_path / "scaled.safetensors")
    beside = set(safetensors.numpy.load_file(tmp_path / "scaled.safetensors")) - set(tensors)
    assert beside == {f"{of}_{part}" for of in ("input", "target") for part in ("offset", "scale")}


# --------------------------------------------------------------------------------- without the rest


def test_a_library_that_is_missing_is_named_with_its_extra():
    program = """
import sys
for name in ("torch", "onnx", "sklearn"):
    sys.modules[name] = None  # importing it raises ImportError
import omp_mlp
model = omp_mlp.Model([[[1.0]]], [[0.0]])
for extra, use in {
    "torch": [model.to_torch, lambda: omp_mlp.Model.from_torch(1)],
    "onnx": [lambda: model.to_onnx("x.onnx"), lambda: omp_mlp.Model.from_onnx("x.onnx")],
    "sklearn": [model.to_sklearn, lambda: omp_mlp.Model.from_sklearn(1)],
}.items():
    for call in use:
        try:
            call()
        except ImportError as error:
            assert f'pip install "omp_mlp[{extra}]"' in str(error), error
        else:
            raise AssertionError(extra)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_trained_network_goes_through_onnx_and_sklearn(tmp_path):
    y = np.where(X[:, 0] > 0, "yes", "no")
    model = fixed.train_parallel(X, y, 2, epochs=2)
    model.to_onnx(tmp_path / "network.onnx")
    for back in (
        Model.from_onnx(tmp_path / "network.onnx"),
        Model.from_sklearn(model.to_sklearn()),
    ):
        np.testing.assert_allclose(back.predict_proba(X), model.predict_proba(X), **CLOSE)
        assert back.score(X, y) == model.score(X, y)
        assert len(back.history) == 0
