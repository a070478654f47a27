"""The figures of the results show what the records and saved nets hold."""

import re
import statistics

import numpy as np
import pytest
import torch

import backprop_pytorch
import figures as curves
import records
import report


@pytest.fixture(scope="module")
def runs(test_data):
    return records.read_records(test_data.targets)


@pytest.fixture(scope="module")
def figures(runs, test_data):
    return report.draw_figures(runs, test_data)


def test_each_figure_is_on_a_page(figures):
    pages = report.README, report.RESULTS / "README.md"
    text = "".join(page.read_text("utf-8") for page in pages)
    shown = re.findall(r"\((?:results/)?(\w+).png\)", text)
    files = [path.stem for path in report.RESULTS.glob("*.png")]
    assert {*shown} == {*files} == {*figures, "digits"}


@pytest.mark.parametrize("name", ["final", "all", "costs"])
def test_axes_have_names_and_units(figures, name):
    axes, = figures[name].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == {
        "costs": ("output a, which should be 1", "cost")}.get(
            name, ("epoch", "test accuracy (%)"))
    assert len(axes.get_legend().get_texts()) == len({
        line.get_color() for line in axes.get_lines()})


def test_lines_of_the_final_net_are_its_records(runs, figures):
    axes, = figures["final"].axes
    for line, name in zip(axes.get_lines(), (
            "double_fc_dropout_lr0.03", "double_fc_dropout"), strict=True):
        tests = zip(*(run["test_accuracy"] for run in runs[name]))
        assert [*line.get_xdata()] == [*range(1, 41)]
        np.testing.assert_allclose(line.get_ydata() / 100,
                                   [*map(statistics.mean, tests)])


def test_lines_and_bands_of_all_nets_are_those_of_their_runs(runs, figures):
    axes, = figures["all"].axes
    ends = []
    for line, band in zip(axes.get_lines(), axes.collections, strict=True):
        name, last, n = re.fullmatch(r"(.*): (.*) \(n = (.*)\)",
                                     line.get_label()).groups()
        tests = [[100 * accuracy for accuracy in epoch] for epoch
                 in zip(*(run["test_accuracy"] for run in runs[name]))]
        means = [statistics.mean(values) for values in tests]
        np.testing.assert_allclose(line.get_ydata(), means)
        assert float(last) == pytest.approx(means[-1], abs=0.005 + 1e-9)
        assert int(n) == len(runs[name])
        corners = band.get_paths()[0].vertices
        for bound in min, max:
            for corner in enumerate(map(bound, tests), start=1):
                assert np.isclose(corners, corner).all(axis=1).any()
        ends.append(means[-1])
    assert len(ends) >= 6 and ends == sorted(ends, reverse=True)


def test_losses_of_the_runs_that_kept_them(runs):
    """The mean of two of a net's three runs."""
    first, second, third = (
        {key: run[key] for key in run if key != "loss"}
        for run in runs["double_fc_dropout"][:3])
    some = [{**first, "loss": [None, *range(39, 0, -1)]}, second,
            {**third, "loss": [*range(42, 2, -1)]}]
    above, below = curves.draw_loss(
        {**runs, "double_fc_dropout": some}).axes
    assert above.get_ylabel() == "training loss (log scale)"
    loss, accuracy = (axes.get_lines()[3] for axes in (above, below))
    np.testing.assert_allclose(loss.get_ydata()[1:], range(40, 1, -1))
    assert accuracy.get_label() == "double_fc_dropout (n = 2)"
    assert accuracy.get_ydata()[-1] == pytest.approx(
        50 * (first["test_accuracy"][-1] + third["test_accuracy"][-1]))


def test_the_seven_is_recognised(figures):
    image, *_, fc2, bars = figures["way"].axes
    assert (image.get_xlabel(), fc2.get_xlabel()) == ("28x28", "1,000 units")
    widths = [bar.get_width() for bar in bars.patches]
    assert sum(widths) == pytest.approx(1) and widths[7] > 0.99


def test_a_window_times_a_kernel_is_a_pixel_of_the_map(figures):
    """The frames mark it, and the pixel that pooling makes of it."""
    image, kernel, feature_map, pooled = figures["convolution"].axes

    def framed(axes, k):
        x, y = (round(corner + 0.5) for corner in axes.patches[k].get_xy())
        side = axes.patches[k].get_width()
        return axes.images[0].get_array()[y:y + side, x:x + side]

    bias = torch.load(report.RESULTS / "double_fc_dropout-seed0.pt",
                      weights_only=True)["conv1.bias"].numpy()
    pixel, = framed(feature_map, 1).ravel()
    window = framed(image, 0) * kernel.images[0].get_array()
    assert np.isclose(window.sum() + bias, pixel, atol=1e-5).any()
    assert framed(feature_map, 0).max() == pixel == framed(pooled, 0).item()
    assert framed(feature_map, 0).shape == (2, 2)


def test_lines_tell_which_maps_a_map_is_made_of(figures):
    """1 to 4 maps, 4 to 4 of their own, 4 to 4 of all, again 4 to 4 of their
    own, 4 to one layer, one to one, and that to the probabilities."""
    assert len(figures["way"].artists) == 4 + 4 + 16 + 4 + 4 + 1 + 1


def test_the_step_of_backpropagation_is_drawn_as_the_scripts_compute_it(
        figures):
    axes, = figures["backprop"].axes
    drawn = "\n".join(text.get_text() for text in axes.texts)
    net, x = backprop_pytorch.Net(), torch.tensor([backprop_pytorch.INPUT])
    (net(x) - 1).square().backward()
    for name, weights in zip(("w_l1", "b_l1", "w_l2", "b_l2"),
                             net.parameters()):
        assert f"{name} = {weights.item():.2f}\n" in drawn + "\n"
        assert f"slope for {name}: {weights.grad.item():.4f}" in drawn
    assert f"a_l2\n{net(x).item():.4f}" in drawn


def test_curves_of_the_two_costs(figures):
    axes, = figures["costs"].axes
    log, square = (line.get_xydata() for line in axes.get_lines())
    np.testing.assert_allclose(np.exp(-log[:, 1]), log[:, 0])
    np.testing.assert_allclose(1 - np.sqrt(square[:, 1]), square[:, 0])
    assert log[0, 1] > 6 and square[0, 1] == pytest.approx(1, abs=0.01)


def test_filters_are_the_final_nets(figures):
    *pictures, bar = figures["filters"].axes
    weights = torch.load(report.RESULTS / "double_fc_dropout-seed0.pt",
                         weights_only=True)["conv1.weight"]
    assert len(pictures) == 20 and bar.get_ylabel() == "weight"
    for axes, kernel in zip(pictures, weights[:, 0]):
        np.testing.assert_array_equal(axes.images[0].get_array(), kernel)
    page = (report.RESULTS / "README.md").read_text("utf-8")
    number, = re.findall(r"Kernel (\d+) is\s+the\s+one", page)
    chosen, = (axes for axes in pictures if axes.get_title() == number)
    np.testing.assert_array_equal(
        chosen.images[0].get_array(),
        figures["convolution"].axes[1].images[0].get_array())


def test_mistakes_are_those_of_the_record(runs, test_data, figures):
    record = runs["double_fc_dropout"][0]
    wrong = [(f"{label} → {answer}", i) for i, (label, answer) in enumerate(
        zip(test_data.targets.tolist(), map(int, record["predictions"])))
        if label != answer]
    shown = [axes for axes in figures["mistakes"].axes if axes.images]
    assert [axes.get_title() for axes in shown] == [name for name, _ in wrong]
    for axes, (_, i) in zip(shown, wrong):
        np.testing.assert_array_equal(axes.images[0].get_array(),
                                      test_data.data[i])
