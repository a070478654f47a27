"""Runs of one's own are read, compared and plotted."""

import json

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats

from extras import comparison

FIRST = {"net": "Net", "layers": "Net(784, 10)", "epochs": 1, "lr": 0.1,
         "wd": 0, "extend_data": False, "distort": False, "train_size": 60,
         "test_size": 10, "batch_size": 10, "seed": 0, "test_accuracy": [0.5]}


def kind(*runs):
    return [{"test_accuracy": accuracies} for accuracies in runs]


@pytest.fixture
def write(tmp_path):
    """Writes what JSON can hold as my-0.json, my-1.json and so on; returns the
    pattern that they match."""
    def write(*contents):
        for k, content in enumerate(contents):
            (tmp_path / f"my-{k}.json").write_text(json.dumps(content))
        return tmp_path / "my-*.json"
    return write


def test_runs_are_read_by_name(write):
    seeds = [5, 1, 0]
    pattern = write(*[{**FIRST, "seed": seed, "threads": seed}
                      for seed in seeds])
    assert [run["seed"] for run in comparison.read_runs(pattern)] == seeds
    with pytest.raises(FileNotFoundError, match="no record matches other-"):
        comparison.read_runs("other-*.json")


@pytest.mark.parametrize("second, complaint", [
    *[({**FIRST, "seed": 1, name: 64}, f"my-1.json has {name} 64, but .*my-0."
       f"json has {FIRST[name]}; read one") for name in [*FIRST][:10]
      if name != "layers"],
    ({**FIRST, "seed": 1, "layers": "Net(784, 20)"}, "has layers Net.784, 20"),
    (FIRST, "the same seed.*seeds .0, 0."),
    ({"seed": 1}, "my-1.json is not a record"), (3, "is not a record")])
def test_what_is_not_another_run(write, second, complaint):
    with pytest.raises(ValueError, match=complaint):
        comparison.read_runs(write(FIRST, second))


def test_two_kinds_of_runs_compared():
    old = kind([0.9, 0.10, 0.30], [0.9, 0.30, 0.20])
    new = kind([0.4, 0.40], [0.6, 0.44], [0.5, 0.45])
    assert comparison.mean_of_last(new) == pytest.approx([40, 44, 45])
    test = stats.ttest_ind([40, 52, 47.5], [20, 25], equal_var=False)
    gain = comparison.compare_runs(old, new, epochs=2)
    assert gain == pytest.approx((24, 24 / test.statistic, test.pvalue))
    assert str(gain) == "+24.00 ± 4.30"
    assert str(comparison.compare_runs(new, old, 1)) == "-18.00 ± 5.23"
    for before, after, text in ((old, new[:1], "+15.00"),
                                (new[:1], old, "-15.00"),
                                (new[:1] * 2, new[:1] * 2, "+0.00")):
        gain = comparison.compare_runs(before, after, 1)
        assert str(gain) == text and np.isnan(gain.p)
    for before, after, text in ((old, new[:1] * 2, "+15.00 ± 5.00"),
                                (new[:1] * 2, old, "-15.00 ± 5.00")):
        assert str(comparison.compare_runs(before, after, 1)) == text
    for epochs in 0, 3:
        with pytest.raises(ValueError, match=f"last {epochs} .*epochs=2, or"):
            comparison.compare_runs(old, new, epochs)


def test_the_last_ten_epochs_are_compared():
    old, new = kind([0, *[0.5] * 10]), kind([0, *[0.5] * 9, 0.7])
    assert comparison.compare_runs(old, new).points == pytest.approx(2)
    new = kind([0.9, *[0.5] * 10])
    assert comparison.compare_runs(old, new).points == 0


def test_a_plot_of_two_kinds_of_runs():
    axes = Figure().subplots()
    comparison.plot_runs(axes, {"old": kind([0.1, 0.2], [0.3, 0.6]),
                                "new": kind([0.5, 0.7, 0.8])})
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "epoch", "test accuracy (%)")
    old, new = axes.get_lines()
    np.testing.assert_allclose(old.get_xydata(), [(1, 20), (2, 40)])
    np.testing.assert_allclose(new.get_xydata(), [(1, 50), (2, 70), (3, 80)])
    band, _ = axes.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert corners == {(1, 10), (1, 30), (2, 20), (2, 60)}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "old (n = 2)", "new (n = 1)"]


def test_all_is_in_view_but_the_steep_rise():
    axes = Figure().subplots()
    for accuracies, low, high in (([0.1, 0.2, *[0.8] * 7, 0.9], 79.49, 90.51),
                                  ([0.2] * 10, 19.99, 90.51),
                                  ([0.5] * 10, 19.99, 90.51)):
        comparison.plot_runs(axes, {"mine": kind(accuracies)})
        assert axes.get_ylim() == pytest.approx((low, high))


def test_a_vote():
    """Ties go to the smallest digit."""
    answers = [[1, 7, 3, 9], [1, 2, 3, 4], [5, 7, 8, 4], [5, 2, 3, 0]]
    for predictions in answers, torch.tensor(answers), np.array(answers):
        assert comparison.vote(predictions).tolist() == [1, 2, 3, 4]
