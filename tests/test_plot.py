"""Displays: what they compute, what they draw, and on which axes."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

import fixed
import omp_mlp
from omp_mlp import Model
from omp_mlp.plot import (
    CalibrationDisplay,
    HistoryDisplay,
    LossLineDisplay,
    ScalingDisplay,
    WeightsDisplay,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(96, 4))
Y = X[:, 0] * X[:, 1] > 0


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(scope="module")
def model():
    return fixed.train_parallel(
        X,
        Y,
        2,
        "average",
        hidden_layer_sizes=(6,),
        init="independent",
        epochs=4,
        merge_every=48,
        keep_replicas=True,
        validation_data=(X, Y),
        validate_every=2,
    )


class Fitted:
    """What an estimator shows of itself."""

    def __init__(self, model):
        self.model_ = model


def labels_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_history_has_the_losses_and_a_mark_for_each_merge(model, ax):
    display = HistoryDisplay.from_model(model, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    training, validation = display.lines_
    history = model.history
    np.testing.assert_array_equal(training.get_ydata(), history.loss)
    np.testing.assert_array_equal(training.get_xdata(), history.samples)
    scored = ~np.isnan(history.validation_loss)
    assert 0 < scored.sum() < len(history)
    np.testing.assert_array_equal(validation.get_ydata(), history.validation_loss[scored])
    marks = [path.vertices[0, 0] for path in display.merges_.get_paths()]
    assert marks == history.samples.tolist()
    assert labels_of(ax) == ["training", "validation", f"{len(history)} merges"]


def test_history_of_scores_and_of_an_estimator(model, ax):
    display = HistoryDisplay.from_estimator(Fitted(model), metric="score", ax=ax)
    (line,) = display.lines_
    score = model.history.validation_score
    np.testing.assert_array_equal(line.get_ydata(), score[~np.isnan(score)])
    assert ax.get_ylabel() == "validation score"


def test_history_shows_the_best_round_and_no_merges_of_one_network(ax):
    stopped = fixed.train_parallel(X, Y, 1, early_stopping=True, epochs=3)
    display = HistoryDisplay(stopped.history).plot(ax)
    assert display.merges_ is None
    assert labels_of(ax)[-1] == "best round"
    star = ax.get_lines()[-1]
    best = stopped.history.best_round
    assert star.get_ydata() == [stopped.history.validation_loss[best]]


def test_scaling_is_the_first_time_over_the_others(ax):
    display = ScalingDisplay([1, 2, 4], [8.0, 5.0, 2.0]).plot(ax)
    assert display.speed_up.tolist() == [1, 1.6, 4]
    ideal, measured = ax.get_lines()
    assert ideal.get_ydata().tolist() == [1, 2, 4]
    assert measured.get_ydata().tolist() == [1, 1.6, 4]
    assert [text.get_text() for text in ax.texts] == ["8 s", "5 s", "2 s"]


def test_scaling_trains_with_each_number_of_threads(ax):
    display = ScalingDisplay.from_data(X, Y, (1, 3), repeats=1, hidden_layer_sizes=(4,), ax=ax)
    assert display.threads.tolist() == [1, 3]
    assert (display.seconds > 0).all()


def test_weights_are_images_side_by_side(ax):
    weights = np.arange(12.0).reshape(4, 3)
    display = WeightsDisplay(weights, n_units=2).plot(ax)
    assert display.shape == (2, 2)
    assert display.units.tolist() == [1, 2]  # the largest
    nan = np.nan
    expected = [[1, 4, nan, 2, 5], [7, 10, nan, 8, 11]]
    np.testing.assert_array_equal(display.mosaic(), expected)
    np.testing.assert_array_equal(display.image_.get_array().filled(np.nan), expected)
    lowest, highest = display.image_.get_clim()
    assert -lowest == highest > 10
    column = WeightsDisplay(weights, shape=(4, 1))
    assert column.mosaic().shape == (2 * 5 - 1, 2 * 2 - 1)
    assert np.isnan(column.mosaic()[5:, 2]).all()  # three units in two rows of two


def test_weights_of_a_model(model, ax):
    display = WeightsDisplay.from_estimator(Fitted(model), ax=ax)
    np.testing.assert_array_equal(display.weights, model.weights[0])


def test_loss_line_goes_through_replicas_and_their_average(model, ax):
    display = LossLineDisplay.from_model(model, X, Y, match=True, n_points=7, ax=ax)
    one, other = model.replicas
    at = dict(zip(display.positions.round(6).tolist(), display.losses["as they are"], strict=True))
    assert at[0.0] == pytest.approx(one.evaluate(X, Y)[0])
    assert at[1.0] == pytest.approx(other.evaluate(X, Y)[0])
    average = omp_mlp.merge([one, other], "average").evaluate(X, Y)[0]
    assert at[0.5] == pytest.approx(average, rel=1e-6)
    assert display.merged == pytest.approx(average, rel=1e-6)
    matched = display.losses["units matched"]
    repaired = omp_mlp.merge([one, other], "weight_matching").evaluate(X, Y)[0]
    assert matched[3] == pytest.approx(repaired, rel=1e-6)
    # Matching changes the order of the units, and so not the network at the end.
    assert matched[5] == pytest.approx(at[1.0], rel=1e-5)
    assert labels_of(ax) == ["as they are", "units matched", "merged network"]


def test_new_axes_where_none_are_given(monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setitem(mpl.rcParams, "backend", "Agg")
    display = ScalingDisplay([1, 2], [2.0, 1.0]).plot()
    try:
        assert plt.fignum_exists(display.figure_.number)
    finally:
        plt.close(display.figure_)


def test_what_cannot_be_drawn(model):
    for error, make, message in [
        (TypeError, lambda: HistoryDisplay(3), "history must be a History; got int"),
        (TypeError, lambda: HistoryDisplay.from_model(3), "be a Model or an Ensemble; got int"),
        (ValueError, lambda: HistoryDisplay(Model([[[1]]], [[0]]).history), "at least one round"),
        (ValueError, lambda: HistoryDisplay(model.history, metric="x"), "metric must be one of"),
        (TypeError, lambda: HistoryDisplay.from_estimator(model), "fitted estimator of omp_mlp"),
        (ValueError, lambda: ScalingDisplay([2, 1], [1.0, 1.0]), "must be ascending"),
        (ValueError, lambda: ScalingDisplay([1, 2], [1.0]), "got 2 threads and 1 seconds"),
        (ValueError, lambda: WeightsDisplay(np.ones((5, 2))), "5 features make an image"),
        (ValueError, lambda: WeightsDisplay(np.ones((4, 2)), shape=(3, 2)), "of 4 pixels"),
        (ValueError, lambda: LossLineDisplay.from_model(model.replicas[0], X, Y), "keep_replicas"),
        (ValueError, lambda: LossLineDisplay([0, 1], {"a": [1]}), "each of the 2 positions"),
        (TypeError, lambda: ScalingDisplay([1], [1.0]).plot(3), "Matplotlib axes; got int"),
    ]:
        with pytest.raises(error, match=message):
            make()


def test_drawing_is_imported_when_it_is_asked_for():
    program = """
import sys
sys.modules["matplotlib"] = None  # importing it raises ImportError
import omp_mlp
assert "omp_mlp.plot" not in sys.modules
assert "plot" in dir(omp_mlp)
display = omp_mlp.plot.ScalingDisplay([1, 2], [2.0, 1.0])
try:
    display.plot()
except ImportError as error:
    assert 'pip install "omp_mlp[plot]"' in str(error)
else:
    raise AssertionError
try:
    omp_mlp.plots
except AttributeError as error:
    assert "no attribute 'plots'" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("label", [None, False])
def test_calibration_is_the_share_of_a_class_in_each_bin(model, ax, label):
    display = CalibrationDisplay.from_model(model, X, Y, label=label, n_bins=4, ax=ax, color="red")
    probability = model.predict_proba(X)[:, int(label is None)]
    bins = np.minimum((probability * 4).astype(int), 3)  # no probability stands on a border
    seen = np.unique(bins)
    right = Y if label is None else ~Y
    np.testing.assert_allclose(display.prob_true, [right[bins == k].mean() for k in seen])
    np.testing.assert_allclose(
        display.prob_pred, [probability[bins == k].mean() for k in seen], rtol=1e-6
    )
    np.testing.assert_array_equal(display.line_.get_ydata(), display.prob_true)
    assert (display.line_.get_color(), display.ax_) == ("red", ax)
    assert str(label is None) in labels_of(ax)
    again = display.plot(Figure().subplots())
    assert again.ax_ is not ax
    of_estimator = CalibrationDisplay.from_estimator(
        Fitted(model), X, Y, label=label, n_bins=4, ax=Figure().subplots()
    )
    np.testing.assert_array_equal(of_estimator.prob_true, display.prob_true)


def test_calibration_needs_a_class_with_probabilities(model):
    three = Model([np.ones((4, 3))], [np.zeros(3)], classes=["a", "b", "c"])
    for network, options, message in [
        (three, {}, "label must be one of 'a', 'b', 'c'; got None"),
        (three, {"label": "d"}, "label must be one of 'a', 'b', 'c'; got 'd'"),
        (Model([np.ones((4, 1))], [np.zeros(1)]), {}, "classifier with classes; got none"),
        (model, {"label": 2}, "label must be one of False, True; got 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            CalibrationDisplay.from_model(network, X, Y, **options)

    class Pipeline(Fitted):
        steps = ()

    with pytest.raises(TypeError, match="must be an OmpMLPClassifier; got a Pipeline"):
        CalibrationDisplay.from_estimator(Pipeline(model), X, Y)
