"""The tables and figures show what the records and published nets hold."""

import json
import re
import statistics

import numpy as np
import pytest
import torch
from scipy import special, stats

import common
import pytorch_mnist_convnet as convnet
from extras.report import __main__ as report
from extras.report import figures, records, saved_nets, tables
from extras.runs import CHANCE, RESULTS, read_record

ROOT = RESULTS.parent
WEIGHTS = sorted((RESULTS / "weights").glob("*.pt"))


@pytest.fixture(scope="module")
def labels(test_data):
    return test_data.targets


@pytest.fixture(scope="module")
def runs(labels):
    return records.read_records(RESULTS / "runs", labels)


@pytest.fixture(scope="module")
def drawn(runs, test_data):
    return report.draw_figures(runs, test_data)


def rows(table):
    """Returns {first cell: the other cells} of a table's rows."""
    cells = [line.strip("| \n").split(" | ") for line in table.splitlines()]
    return {first: others for first, *others in cells[2:]}


def ends(runs, epochs=1):
    """Returns the mean accuracy in per cent of each run's last epochs."""
    return [100 * statistics.mean(run["test_accuracy"][-epochs:])
            for run in runs]


# Records and published nets

@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_a_published_net_repeats_its_record(path, test_data):
    """But for images whose two highest outputs are nearly the same."""
    record = read_record(RESULTS / "runs" / f"{path.stem}.json")
    net = saved_nets.load_net(path.stem.split("-seed")[0], path)
    images = test_data.data[:2000, None] / 255
    outputs = common.compute_outputs(net, images)
    other = outputs.argmax(dim=1) != records.predictions([record])[0, :2000]
    best, second = outputs.topk(2).values.T
    assert (best - second)[other].le(1e-4).all()


@pytest.mark.parametrize("field, value", [
    ("net", "Net"), ("seed", 7), ("epochs", 1), ("lr", 1.0), ("wd", 1),
    ("extend_data", True), ("distort", True), ("train_size", 2000),
    ("batch_size", 64), ("test_accuracy", [0.5] * 60), ("seconds", [1] * 59),
    ("predictions", "1" * 10_000)])
def test_a_record_of_another_run_or_damaged(labels, field, value):
    path = RESULTS / "runs" / "dbl_conv-seed0.json"
    record, recipe = read_record(path), convnet.EXPERIMENTS["dbl_conv"]
    records.check_record(path, record, recipe, 0, labels)
    with pytest.raises(ValueError, match=path.name):
        records.check_record(path, {**record, field: value}, recipe, 0, labels)


def test_records_are_sorted_by_seed_and_named_by_experiment(tmp_path, labels):
    record = read_record(RESULTS / "runs" / "dense-seed0.json")
    for seed in 2, 10:
        (tmp_path / f"dense-seed{seed}.json").write_text(
            json.dumps({**record, "seed": seed}))
    found = records.read_records(tmp_path, labels)
    assert {name: [run["seed"] for run in runs]
            for name, runs in found.items()} == {"dense": [2, 10]}
    (tmp_path / "mine-seed0.json").write_text("{}")
    with pytest.raises(ValueError, match="mine-seed0.json is not named"):
        records.read_records(tmp_path, labels)


def test_all_records_have_one_schema():
    """But for the loss, which the earliest lack."""
    keys = {frozenset(read_record(path)) - {"loss"}
            for path in (RESULTS / "runs").glob("*.json")}
    assert len(keys) == 1 and {"layers", "distort"} <= keys.pop()


def test_accuracies_on_shifted_images():
    """Of a net that sees the digit 1 where the pixel in the middle is ink."""
    class Middle(torch.nn.Module):
        def forward(self, images):
            ink = images[:, 0, 14, 14]
            return torch.nn.functional.one_hot(ink.long(), 10)

    image = torch.zeros(1, 1, 28, 28)
    image[..., 14, 13:16] = 1  # a line of three pixels
    loader = [(image, torch.tensor([1]))]
    assert saved_nets.shift_accuracies(Middle(), loader) == [100, 50, 0]


# Tables

def test_the_pages_hold_the_tables(runs, labels):
    """All but those that take minutes or another machine."""
    blocks = tables.make_tables(runs, labels)
    for page in report.PAGES:
        text = (ROOT / page).read_text("utf-8")
        for name, block in re.findall(
                "<!-- (.*) -->\n((?:(?!<!-- ).*\n)*)<!-- end -->\n", text):
            if name not in ("shifts", "steps timed", "tests timed"):
                assert block == blocks[name]
        assert text.count("<!-- ") % 2 == 0


def test_results_and_runs(runs, labels):
    blocks = tables.make_tables(runs, labels)
    results, all_runs = rows(blocks["results"]), rows(blocks["runs"])
    for name, cells in all_runs.items():
        nielsen, article, last, s, tens, _, wrong, n = cells
        assert int(n) == len(runs[name])
        if name != "dbl_conv_relu_wd0.1":
            assert float(last) == pytest.approx(
                statistics.mean(ends(runs[name])), abs=0.0051)
            assert float(s) == pytest.approx(
                statistics.stdev(ends(runs[name])), abs=0.0051)
            assert float(tens) == pytest.approx(
                statistics.mean(ends(runs[name], 10)), abs=0.0051)
        assert wrong.split(" to ")[0] == str(min(
            sum(int(digit) != label for digit, label
                in zip(run["predictions"], labels.tolist()))
            for run in runs[name]))
    assert f"from {all_runs['dbl_conv_relu'][6]} images wrong" in " ".join(
        (ROOT / "docs/ladder.md").read_text("utf-8").split())
    experiment, *numbers, n, _, net = results["dropout"]
    assert experiment == "`double_fc_dropout_lr0.03`"
    assert net == "`ConvNetTwoConvTwoDenseLayersWithDropout`"
    assert numbers[:2] == ["99.60", "99.64"]
    assert numbers == all_runs["double_fc_dropout_lr0.03"][:3]


def test_the_articles_numbers_are_near_our_means(runs):
    """But for that with ReLU, above all our runs, as README.md says."""
    for name, idea in tables.IDEAS.items():
        if article := records.RECIPES[name].article:
            near = abs(statistics.mean(ends(runs[name])) - article) < 0.1
            assert near == (idea != "rectified linear units (ReLU)")
    assert max(ends(runs["dbl_conv_relu"])) < 99.43


def test_steps_and_rungs(runs, labels):
    blocks = tables.make_tables(runs, labels)
    way, nielsen, article, gain, p = rows(blocks["steps"])["ReLU"]
    before, after = (ends(runs[name], 10)
                     for name in ("dbl_conv", "dbl_conv_relu"))
    assert way == "dbl_conv → dbl_conv_relu"
    assert (nielsen, article) == ("+0.17", "+0.38")
    assert float(gain.split()[0]) == pytest.approx(
        statistics.mean(after) - statistics.mean(before), abs=0.0051)
    expected = stats.ttest_ind(before, after, equal_var=False).pvalue
    assert p == f"{expected:.3f}" or p == "< 0.001" and expected < 0.001
    assert rows(blocks["rung dbl_conv_relu"]) == {
        "accuracy": ["99.23", "99.43",
                     rows(blocks["runs"])["dbl_conv_relu"][2]],
        "over the last ten epochs": ["-", "-", rows(blocks["runs"])[
            "dbl_conv_relu"][4]],
        "gain over `dbl_conv`": [nielsen, article, gain]}
    assert len(rows(blocks["rung dense"])) == 2


def test_what_the_results_page_says_of_gains(runs, labels):
    """How they compare with luck with the seeds, and with the test images."""
    more, ratios = [], {}
    for idea, start, end in tables.STEPS:
        if {start, end} <= runs.keys():
            before, after = (ends(runs[name], 10) for name in (start, end))
            seeds = np.hypot(stats.sem(before), stats.sem(after))
            images = 100 * stats.sem(sum(
                sign * (records.predictions(runs[name]) == labels).double()
                .mean(dim=0) for sign, name in ((-1, start), (1, end))))
            more.append(images > seeds)
            ratios[idea] = (np.mean(after) - np.mean(before)) / np.hypot(
                seeds, images)
    assert sum(more) > 0.6 * len(more)
    assert ratios["a convolution"] > 10
    for idea in ("softmax and cross-entropy", "a second convolution", "ReLU",
                 "extended data", "dropout"):
        assert 2 < ratios[idea] < 4


def test_what_the_results_page_says_of_relu_and_extended_data(runs):
    sigmoid, relu = runs["dbl_conv"], runs["dbl_conv_relu"]
    for some in relu, [run for run in relu if run["seed"] > 4]:
        assert stats.ttest_ind(ends(sigmoid, 10), ends(some, 10),
                               equal_var=False).pvalue < 0.001
    pairs = np.subtract.outer(ends(relu), ends(sigmoid))
    assert 1 / 8 < (pairs < 0).mean() < 1 / 5
    assert np.quantile(pairs, 0.8) > 0.17 and pairs.max() < 0.38
    dips = {name: [any(test < statistics.median(tests[k - 10:k]) - 0.002
                       for k, test in enumerate(tests) if k >= 30)
                   for tests in (run["test_accuracy"] for run in runs[name])]
            for name in runs if name.startswith("dbl_conv_relu")}
    assert sum(dips["dbl_conv_relu"]) > 10
    assert not any(dips["dbl_conv_relu_wd0"] + dips["dbl_conv_relu_wd0.00002"])
    epoch_12 = [100 * run["test_accuracy"][11]
                for run in runs["expanded_data"]]
    assert np.mean(epoch_12) > np.mean(ends(relu, 10)) + 0.15


def test_runs_no_better_than_chance_have_no_mean(labels):
    assert CHANCE == labels.bincount().max().item() / 10_000
    values = np.array([91.171, 100 * CHANCE, 92.0])
    assert tables.mean_text(values) == "11.35 to 92.00"
    assert tables.mean_text(values[::2]) == "91.59"
    assert [tables.deviation_text(some) for some in (
        values, values[:1], values[::2])] == ["-", "-", "0.59"]


def test_votes(runs, labels):
    alone, together = rows(tables.votes_table(runs, labels))[
        "double_fc_dropout"]
    answers = [run["predictions"] for run in runs["double_fc_dropout"]]
    votes = [statistics.mode(sorted(digits)) for digits in zip(*answers)]
    assert int(together) == sum(int(digit) != label for digit, label
                                in zip(votes, labels.tolist()))
    assert len(alone.split(", ")) == len(answers)


def test_speeds(tmp_path):
    head = "| time | ours |\n| --- | --: |\n"
    (tmp_path / "gpu.md").write_text(
        f"{head}| simple: a step | 1 |\n| shallow: a step | 2 |\n"
        "| simple: a test of 9 images | 3 |\n\nMeasured.\n")
    assert tables.speed_table(tmp_path, "a step") == (
        head + "| simple: a step | 1 |\n")


def test_a_page_with_an_open_block_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- runs -->\nold\n<!-- end -->\nand\n")
    assert report.fill_in(page, {"runs": "new\n"}) == (
        b"<!-- runs -->\nnew\n<!-- end -->\nand\n")
    page.write_text("<!-- runs -->\n")
    with pytest.raises(ValueError, match="needs a line <!-- NAME -->"):
        report.fill_in(page, {"runs": ""})


# Figures

def test_each_figure_is_drawn_and_on_a_page(drawn):
    text = "".join((ROOT / page).read_text("utf-8") for page in report.PAGES)
    shown = re.findall(r"figures/(\w+).png\)", text)
    files = [path.stem for path in (ROOT / "docs/figures").glob("*.png")]
    assert {*shown} == {*files} == {*drawn}


def test_dots_are_the_runs(runs, drawn):
    axes, = drawn["dots"].axes
    names = [label.get_text().split("\n")[1].split()[0]
             for label in axes.get_yticklabels()]
    assert names == [name for name in runs if "_wd" not in name]
    dots = [points.get_offsets() for points in axes.collections
            if points.get_label() == "one of our runs"]
    for row, name in enumerate(names):
        np.testing.assert_allclose(dots[row][:, 0], ends(runs[name], 10))
        assert (abs(row - dots[row][:, 1]) < 0.5).all()
    means = [container[0].get_xdata()[0] for container in axes.containers]
    np.testing.assert_allclose(
        means, [statistics.mean(ends(runs[name], 10)) for name in names])
    marks = [points.get_offsets()[0, 0] for points in axes.collections
             if points.get_label() == "Nielsen"]
    assert marks[:3] == [96.59, 97.80, 98.78]


def test_lines_are_the_means_of_the_runs(runs, drawn):
    axes, = drawn["all"].axes
    for line, text in zip(axes.get_lines(), axes.texts, strict=True):
        tests = zip(*(run["test_accuracy"] for run in runs[
            text.get_text().strip()]))
        np.testing.assert_allclose(line.get_ydata() / 100,
                                   [*map(statistics.mean, tests)])
    for axes, name in zip(drawn["final"].axes, (
            "double_fc_dropout_lr0.03", "double_fc_dropout")):
        tests = [run["test_accuracy"] for run in runs[name]]
        np.testing.assert_allclose(
            [line.get_ydata() / 100 for line in axes.get_lines()],
            [*tests, np.mean(tests, axis=0)])
        assert axes.get_title() == ("learning rate "
                                    f"{convnet.EXPERIMENTS[name].lr}")


def test_losses_of_the_runs_that_kept_them(runs):
    first, second, *_ = runs["double_fc_dropout_lr0.03"]
    some = [*({**first, "loss": [*range(40 + more, more, -1)]}
              for more in (0, 1, 9)),
            {name: second[name] for name in second if name != "loss"}]
    above, below = figures.draw_loss(
        {**runs, "double_fc_dropout_lr0.03": some}).axes
    np.testing.assert_allclose(above.get_lines()[2].get_ydata(),
                               range(41, 1, -1))
    np.testing.assert_allclose(below.get_lines()[2].get_ydata() / 100,
                               np.mean([run["test_accuracy"] for run in (
                                   first, first, first, second)], axis=0))


def test_curves_of_the_two_costs(drawn):
    over_a, over_z = drawn["costs"].axes
    for axes, output in (over_a, lambda a: a), (over_z, special.expit):
        log, square = (line.get_xydata().T for line in axes.get_lines())
        np.testing.assert_allclose(np.exp(-log[1]), output(log[0]))
        np.testing.assert_allclose(1 - np.sqrt(square[1]), output(square[0]))


def test_activations_of_a_seven(drawn, test_data):
    image = test_data[0][0]
    net = saved_nets.load_net("double_fc_dropout",
                              RESULTS / "weights/double_fc_dropout-seed0.pt")
    stages, probabilities = saved_nets.compute_activations(net, image)
    scores = net.eval().double()(image[None].double())[0]
    torch.testing.assert_close(probabilities, scores.softmax(dim=0))
    pooled, fc1, fc2 = (maps.flatten() for _, maps in stages[-3:])
    torch.testing.assert_close(fc1, net.fc1(pooled).relu())
    torch.testing.assert_close(net.out(fc2), scores)
    titles = [axes.get_title() for axes in drawn["activations"].axes]
    assert [title for title in titles if title] == [
        "image", "conv1, ReLU", "pooling", "conv2, ReLU", "pooling",
        "fc1, ReLU", "fc2, ReLU", "softmax"]
    *_, bars = drawn["activations"].axes
    assert bars.patches[7].get_width() > 0.99


def test_a_window_times_a_kernel_is_a_pixel_of_the_map(drawn):
    """The frames mark it, and the pixel that pooling makes of it."""
    image, kernel, feature_map, pooled = drawn["convolution"].axes

    def framed(axes, k):
        x, y = (round(corner + 0.5) for corner in axes.patches[k].get_xy())
        side = axes.patches[k].get_width()
        return axes.images[0].get_array()[y:y + side, x:x + side]

    weights = torch.load(RESULTS / "weights/double_fc_dropout-seed0.pt")
    bias = weights["conv1.bias"].numpy()
    np.testing.assert_array_equal(kernel.images[0].get_array(),
                                  weights["conv1.weight"][9, 0])
    pixel, = framed(feature_map, 1).ravel()
    window = framed(image, 0) * kernel.images[0].get_array()
    assert np.isclose(window.sum() + bias, pixel, atol=1e-5).any()
    assert framed(feature_map, 0).max() == pixel == framed(pooled, 0).item()


def test_mistakes_are_those_of_the_record(runs, test_data, drawn):
    record = runs["double_fc_dropout"][0]
    wrong = [(f"{label} → {answer}", i) for i, (label, answer) in enumerate(
        zip(test_data.targets.tolist(), map(int, record["predictions"])))
        if label != answer]
    shown = [axes for axes in drawn["mistakes"].axes if axes.images]
    assert [axes.get_title() for axes in shown] == [name for name, _ in wrong]
    for axes, (_, i) in zip(shown, wrong):
        np.testing.assert_array_equal(axes.images[0].get_array(),
                                      test_data.data[i])


def test_drawn_digits_and_their_answers(drawn):
    """All right with read_digit; crosses only at wrong answers."""
    answers = [axes.get_xlabel() for axes in drawn["digits"].axes]
    assert answers[20:] == [*"0123456789"]
    for digit, answer in enumerate(answers[10:20]):
        assert answer in (f"{digit}", f"{answer[0]} ✗")
        assert (answer[0] == f"{digit}") == ("✗" not in answer)
