"""Runs of one's own are read, compared and plotted."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from extras import comparison


def record(seed, *accuracies, **settings):
    return {"net": "Net", "lr": 0.1, "distort": False, "seed": seed,
            "test_accuracy": accuracies, **settings}


@pytest.fixture
def write(tmp_path):
    """Writes what JSON can hold as my-0.json, my-1.json and so on; returns the
    pattern that they fit."""
    def write(*contents):
        for k, content in enumerate(contents):
            (tmp_path / f"my-{k}.json").write_text(json.dumps(content))
        return tmp_path / "my-*.json"
    return write


def test_runs_are_read_by_name(write):
    first = record(5, 0.5)
    del first["distort"]  # as in the first records, which were not distorted
    runs = comparison.read_runs(write(first, record(1, 0.6), record(0, 0.7)))
    assert [run["seed"] for run in runs] == [5, 1, 0]


@pytest.mark.parametrize("second, complaint", [
    (record(1, 0.5, lr=0.2), "my-1.json has lr 0.2, but .*my-0.json has 0.1"),
    (record(1, 0.5, distort=True), "has distort True"),
    (record(0, 0.5), "the same seed.*seeds .0, 0."),
    ({"seed": 1}, "my-1.json is not a record"), (3, "is not a record")])
def test_what_is_not_of_one_kind(write, second, complaint):
    with pytest.raises(ValueError, match=complaint):
        comparison.read_runs(write(record(0, 0.5), second))


def test_no_record(write):
    with pytest.raises(FileNotFoundError, match="no record fits .*my-"):
        comparison.read_runs(write())


def test_the_last_epochs_of_runs():
    runs = [record(0, 0.1, 0.2, 0.4), record(1, 0.5, 0.7, 0.9)]
    assert comparison.last(runs) == pytest.approx([40, 90])
    assert comparison.last(runs, 2) == pytest.approx([30, 80])


@pytest.mark.parametrize("runs", [
    [0.5, 0.6], {"test_accuracy": [0.5]}, [{}], [], 3,
    [record(0, 0.5), record(1, 0.5, 0.6)]])
def test_what_are_no_runs(runs):
    for function in comparison.last, lambda runs: comparison.plot_runs(
            Figure().subplots(), {"mine": runs}):
        with pytest.raises(ValueError, match="must be a list of records"):
            function(runs)


def test_two_kinds_of_runs_compared():
    old = [record(0, 0.9, 0.10, 0.30), record(1, 0.9, 0.30, 0.20)]
    new = [record(0, 0.4, 0.40), record(1, 0.6, 0.44), record(2, 0.5, 0.45)]
    gain = comparison.compare_runs(old, new, epochs=2)
    values = [20, 25], [40, 52, 47.5]
    assert gain.points == pytest.approx(46.5 - 22.5)
    assert gain.error == pytest.approx(
        sum(stats.sem(kind) ** 2 for kind in values) ** 0.5)
    histories = [{"test_accuracy": run["test_accuracy"]} for run in new]
    assert comparison.compare_runs(old, histories, epochs=2) == gain
    with pytest.raises(ValueError, match="give epochs=2, or fewer"):
        comparison.compare_runs(old, new)
    with pytest.raises(ValueError, match="last 0"):
        comparison.compare_runs(old, new, epochs=0)


def test_a_difference_and_its_error():
    old, new = np.array([99.0, 99.2]), np.array([99.4, 99.5, 99.6])
    difference = comparison.compare(old, new)
    assert difference[:2] == pytest.approx(
        (0.4, (0.02 / 2 + 0.01 / 3) ** 0.5))
    assert difference.p == pytest.approx(
        stats.ttest_ind(old, new, equal_var=False).pvalue)
    assert str(difference) == "+0.40 ± 0.12"
    one = comparison.compare(old, new[:1])
    assert str(one) == "+0.30" and np.isnan(one.p)
    agreed = comparison.compare(np.array([98.0, 98]), np.array([99.0, 99]))
    assert str(agreed) == "+1.00" and np.isnan(agreed.p)
    wider = comparison.compare(old, new, extra_error=0.2)
    assert wider[:2] == pytest.approx(
        (0.4, (0.02 / 2 + 0.01 / 3 + 0.04) ** 0.5))


def test_a_plot_of_two_kinds_of_runs():
    axes = Figure().subplots()
    comparison.plot_runs(axes, {
        "old": [record(0, 0.1, 0.2), record(1, 0.3, 0.6)],
        "new": [record(0, 0.5, 0.7, 0.8)]})
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "epoch", "test accuracy (%)")
    old, new = axes.get_lines()
    np.testing.assert_allclose(old.get_xydata(), [(1, 20), (2, 40)])
    np.testing.assert_allclose(new.get_xydata(), [(1, 50), (2, 70), (3, 80)])
    band, _ = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert corners == {(1, 10), (1, 30), (2, 20), (2, 60)}
    low, high = axes.get_ylim()
    assert low < 10 and 80 < high < 90
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "old (n = 2)", "new (n = 1)"]
