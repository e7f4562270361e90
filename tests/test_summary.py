"""What networks, histories and merge methods say of themselves."""

import numpy as np

import fixed
import omp_mlp
from omp_mlp import Ensemble, Model
from omp_mlp.encoding import Columns, Encoding

W = [np.ones((784, 128)), np.ones((128, 10))]
b = [np.zeros(128), np.zeros(10)]


def test_summary_of_a_network_by_hand():
    model = Model(W, b, classes=np.arange(10))
    assert model.summary().splitlines() == [
        "Model(784-128-10, relu, softmax)",
        "",
        "layer  inputs x units  parameters  activation",
        "1      784 x 128          100,480  relu",
        "2      128 x 10             1,290  softmax",
        "",
        "parameters: 101,770",
        "classes: 10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        "training: none",
    ]


def test_summary_of_a_training():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 3))
    model = fixed.train_parallel(
        X, X[:, 0], 2, epochs=2, merge_every=16, scale_targets=False, validation_data=(X, X[:, 0])
    )
    said = model.summary()
    for line in (
        "outputs: values",
        "training: replica, threads=2",
        "rounds: 4",
        "samples: 128",
        f"last loss: {model.history.loss[-1]:.4g}",
        f"last validation score: {model.history.validation_score[-1]:.4g}",
    ):
        assert line in said.splitlines()
    assert "best round" not in said


def of_columns(n_inputs, columns):
    """Return a network without hidden units on the columns of a table."""
    parameters = np.zeros(n_inputs + 1, np.float32)
    return Model._of((n_inputs, 1), parameters, "relu", "identity", None, columns=columns)


def test_summary_has_the_columns_of_a_table():
    columns = Columns(
        ("size", "kind", "gaps"),
        (Encoding(), Encoding(labels=tuple("abcdefghij")), Encoding(median=0.5)),
    )
    model = of_columns(13, columns)
    said = model.summary().splitlines()
    assert said[5:9] == [
        "column  read as                    inputs",
        "size    number                          1",
        "kind    labels a, b, c, d, e, ...      10",
        "gaps    number, or 0.5 if missing       2",
    ]
    assert "columns: 3: size, kind, gaps" in said
    assert "<td>number, or 0.5 if missing</td>" in model._repr_html_()
    numbers = of_columns(2, Columns(("u", "v")))
    assert "columns: 2: u, v" in numbers.summary().splitlines()
    assert "read as" not in numbers.summary()


def test_html_has_the_facts_and_escapes_labels():
    model = Model([np.ones((2, 2))], [np.zeros(2)], classes=["<b>", "x & y"])
    said = model._repr_html_()
    assert "&lt;b&gt;, x &amp; y" in said
    assert "<b>" not in said
    assert "2 x 2" in said
    assert "Ensemble(2 of Model(2-2" in Ensemble([model, model])._repr_html_()
    assert "no rounds" in model.history._repr_html_()


def test_html_of_every_merge_method_has_its_formula_and_options():
    import html

    for method in omp_mlp.merge_methods():
        said = html.unescape(method._repr_html_())
        assert method.formula in said
        for option in method.options:
            assert option.summary in said
