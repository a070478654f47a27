"""The pages and the figures of the results tell what the records hold."""

import json
import re
import shutil
import statistics
import sys
from collections import Counter
from math import gamma, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch

RESULTS = Path(__file__).resolve().parents[1] / "results"
sys.path.insert(0, str(RESULTS))

import report  # noqa: E402

PAGES = report.README, RESULTS / "README.md"
TEXTS = [page.read_text("utf-8") for page in PAGES]
FIGURES = ("mistakes", "filters", "way", "final", "loss", "all",
           "costs")


@pytest.fixture(scope="module")
def test_data():
    return report.get_dataset(train=False)


@pytest.fixture(scope="module")
def labels(test_data):
    return test_data.targets


@pytest.fixture(scope="module")
def records(labels):
    return report.read_records(labels)


@pytest.fixture(scope="module")
def figures(records, test_data):
    return report.draw_figures(records, test_data)


@pytest.fixture(autouse=True, scope="module")
def each_net_is_tested_once():
    """Remembers how certain nets are: most tests need the same few."""
    known, certainty = {}, report.certainty

    def remembered(net):
        weights = torch.cat([w.detach().flatten() for w in net.parameters()])
        key = weights.numpy().tobytes()
        if key not in known:
            known[key] = certainty(net)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "certainty", remembered)
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of records, saved nets and pages for the report to work on."""
    folder = tmp_path / "results"
    folder.mkdir()
    for path in [*RESULTS.glob("*.json"), *RESULTS.glob("*.pt"),
                 *RESULTS.glob("*.md")]:
        shutil.copy(path, folder)
    shutil.copy(report.README, tmp_path)
    monkeypatch.setattr(report, "RESULTS", folder)
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    return folder


def texts():
    """Returns what the pages that the report works on say now."""
    return [page.read_text("utf-8")
            for page in (report.README, report.RESULTS / "README.md")]


def refused(capsys):
    """Returns the message with which the report stops, writing nothing."""
    before = texts()
    with pytest.raises(SystemExit) as stop:
        report.main([])
    assert stop.value.code == 2
    assert texts() == before
    assert not [*report.RESULTS.glob("*.png"), *report.RESULTS.glob("*.tmp")]
    return capsys.readouterr().err


def fake(labels, wrong=0, seconds=60):
    """Returns a record of two epochs that ends with so many wrong answers."""
    answers = labels.clone()
    answers[:wrong] = (answers[:wrong] + 1) % 10
    return {"test_accuracy": [0.5, 1 - wrong / 10_000], "seconds": [seconds],
            "predictions": "".join(map(str, answers.tolist())),
            "device": "cpu", "processor": "x", "threads": 1, "python": "3",
            "torch": "2"}


def cells(table, name):
    line, = [line for line in table.splitlines()
             if line.startswith(f"| {name} |")]
    return line.strip("| ").split(" | ")


def block(name):
    """Returns the one block of that name on the two pages."""
    text, = re.findall(f"<!-- {name} -->\n(.*?)<!-- end -->\n",
                       "".join(TEXTS), re.DOTALL)
    return text


# The published pages

def test_the_report_makes_all_again_and_trains_nothing(folder, monkeypatch):
    """Every number and sentence on both pages, from emptied blocks."""
    monkeypatch.setattr(torch.Tensor, "backward", None)
    for page, text in zip((report.README, folder / "README.md"), TEXTS):
        empty = re.sub("(<!-- .* -->\n)(?:(?!<!-- ).*\n)+(<!-- end -->\n)",
                       r"\1\2", text)
        assert len(empty) < 0.9 * len(text)
        page.write_text(empty, "utf-8")
    report.main([])
    assert texts() == TEXTS
    assert {path.stem for path in folder.glob("*.png")} == {*FIGURES}
    for name in FIGURES:
        assert (RESULTS / f"{name}.png").exists()
        assert f"({name}.png)" in TEXTS[1] or (
            f"(results/{name}.png)" in TEXTS[0])
    assert not list(folder.glob("*.tmp"))


def test_no_accuracy_is_typed_by_hand():
    """What stands outside the blocks are published ones, or a session's."""
    published = {"85.31",  # of the article, and of its repository later:
                 "97.58", "98.91", "99.13", "99.30", "99.43", "99.64"}
    for text in TEXTS:
        text = re.sub("<!-- .* -->\n(?s:.*?)<!-- end -->\n", "", text)
        text = re.sub("```(?s:.*?)```", "", text)
        assert {*re.findall(r"\b\d\d\.\d\d\b", text)} <= published


def by_hand(records, name):
    """Returns a row's last accuracies, and its lists of the last ten."""
    tests = [[100 * accuracy for accuracy in run["test_accuracy"]]
             for run in records[name]]
    return [test[-1] for test in tests], [test[-10:] for test in tests]


@pytest.mark.parametrize("name", report.EXPERIMENTS)
def test_the_row_of_each_experiment(records, labels, name):
    ends, tens = by_hand(records, name)
    means, flat = [sum(ten) / 10 for ten in tens], sum(tens, [])
    row = cells(block("runs"), name)
    assert int(row[2]) == len(ends)
    for cell, values in (row[3], ends), (row[4], means):
        numbers = [float(number) for number in cell.split(" ± ")]
        expected = [statistics.mean(values)]
        expected += [statistics.stdev(values)] if len(values) > 1 else []
        assert numbers == pytest.approx(expected, abs=0.0051)
    assert float(row[5]) == pytest.approx(statistics.stdev(flat), abs=0.0051)
    assert row[6] == f"{min(flat):.2f} to {max(flat):.2f}"
    best = max(max(run["test_accuracy"]) for run in records[name])
    assert row[7] == f"{100 * best:.2f}"
    wrong = [sum(int(digit) != label for digit, label
                 in zip(run["predictions"], labels.tolist()))
             for run in records[name]]
    assert row[8:10] == [str(min(wrong)), str(max(wrong))]
    assert cells(block("results"), name)[4:] == [row[3], row[2]]


def test_the_published_numbers_among_ours(records):
    for line in block("published").splitlines()[2:]:
        name, *found = line.strip("| ").split(" | ")
        ends, _ = by_hand(records, name)
        for published, place in (found[:2], found[2:4]):
            if "(" in place:
                spread = statistics.stdev(ends) * (1 + 1 / len(ends)) ** 0.5
                distance = (float(published)
                            - statistics.mean(ends)) / spread
                limit = report.T95[len(ends) - 2]
                word = ("expected" if abs(distance) < limit else
                        "higher" if distance > 0 else "lower")
                assert place == f"{word} ({distance:+.1f})"
            else:
                assert place == "-" or len(ends) == 1


def test_the_steps(records):
    lines = block("steps").splitlines()[2:]
    assert len(lines) == 8
    for line, (what, before, after, claimed) in zip(lines, report.STEPS):
        row = line.strip("| ").split(" | ")
        assert row[:2] == [what, f"{before} -> {after}"]
        for cell, verdict, kind in ((row[4], row[5], 0), (row[6], row[7], 1)):
            old, new = ([statistics.mean(value) if kind else value
                         for value in by_hand(records, name)[kind]]
                        for name in (before, after))
            difference = statistics.mean(new) - statistics.mean(old)
            if min(len(old), len(new)) == 1:
                assert float(cell) == pytest.approx(difference, abs=0.0051)
                assert verdict in ("undecided", "no difference seen")
                continue
            error = (statistics.variance(old) / len(old)
                     + statistics.variance(new) / len(new)) ** 0.5
            assert [float(number) for number in cell.split(" ± ")] == (
                pytest.approx([difference, error], abs=0.0051))
            if abs(difference) < 1.96 * error:
                assert verdict in ("undecided", "no difference seen")
            if abs(difference) > 12.8 * error:
                assert verdict in ("borne out", "better") or difference < 0


@pytest.mark.parametrize("name", [
    name for name in report.EXPERIMENTS if "_wd" not in name])
def test_what_a_network_brought(name):
    line, = [line for line in TEXTS[0].splitlines()
             if line.startswith(f"Our runs of {name}: ")]
    row = cells(block("runs"), name)
    assert f": {row[3]} % (n = {row[2]})" in line
    steps = [line.strip("| ").split(" | ") for line
             in block("steps").splitlines()]
    step = [step for step in steps if step[1].endswith(f"-> {name}")
            and step[0] in dict((what, claimed) for what, *_, claimed
                                in report.STEPS if claimed)]
    assert ("points" in line) == bool(step)
    for _, names, _, _, end, end_verdict, ten, ten_verdict in step:
        assert line.endswith(
            f" Against {names.split(' -> ')[0]}: {end} points after the last "
            f"epoch ({end_verdict}), {ten} over the last ten epochs "
            f"({ten_verdict}).")


def test_how_much_faster():
    step, test = (sorted(float(line.split(" | ")[-1].strip("| "))
                         for line in block("speed").splitlines()
                         if f": a {kind}" in line)
                  for kind in ("step", "test"))
    assert len(step) == len(test) == 6
    assert f" {step[0]:.1f} to {step[-1]:.1f} times" in block("speed ratios")
    assert f" {test[0]:.0f} to {test[-1]:.0f} times" in block("speed ratios")


def test_the_vote(records, labels):
    runs = records["double_fc_dropout"]
    counts = Counter()
    for label, *digits in zip(labels.tolist(), *(
            map(int, run["predictions"]) for run in runs)):
        winner = max(sorted(set(digits)), key=digits.count)
        wrong = sum(digit != label for digit in digits)
        counts[wrong, winner == label] += 1
    lines = block("vote").splitlines()[2:]
    assert len(lines) == len(runs) + 2
    for wrong, line in enumerate(lines[:-1]):
        right, left = counts[wrong, True], counts[wrong, False]
        assert line == f"| {wrong} | {right + left} | {right} | {left} |"
    all_wrong = sum(counts[wrong, False] for wrong in range(len(runs) + 1))
    row, = [line for line in block("results").splitlines() if "vote" in line]
    assert f"| {100 - all_wrong / 100:.2f} |" in row
    assert f"vote of {len(runs)} nets" in row


@pytest.mark.parametrize("name, blocks", [
    ("dbl_conv-seed1.json", "results runs published steps plateau machines"),
    ("double_fc_dropout-seed2.json", "results runs published steps vote"),
    ("double_fc_dropout-seed0.json", "results runs published steps vote"),
    ("dbl_conv_relu-seed2.json", "results runs published steps extended"),
    ("expanded_data_double_fc-seed0.json", "results runs")])
def test_without_a_record_its_numbers_change(folder, name, blocks, labels):
    (folder / name).unlink()
    new = report.make_blocks(report.read_records(labels), labels)
    for changed in blocks.split():
        assert new[changed] != block(changed)


# Blocks of made-up runs

def test_a_row_of_several_runs(records, labels):
    runs = [fake(labels, 100, seconds=60), fake(labels, 120, seconds=120),
            fake(labels, 80, seconds=60)]
    some = {**records, "dbl_conv": runs}
    assert cells(report.results_table(some, labels), "dbl_conv") == [
        "dbl_conv", "`--net 2conv`", "99.06", "99.05", "99.00 ± 0.20", "3"]
    assert cells(report.runs_table(some, labels), "dbl_conv")[7:] == [
        "99.20", "80", "120", "1"]


def test_a_row_of_one_run_has_no_deviation(records, labels):
    one = {**records, "dbl_conv": [fake(labels, 100)]}
    assert cells(report.results_table(one, labels), "dbl_conv")[4:] == [
        "99.00", "1"]
    assert cells(report.published_table(one), "dbl_conv")[2] == (
        "cannot be told yet")


@pytest.mark.parametrize("name", report.EXPERIMENTS)
def test_rows_without_runs(records, labels, name):
    none = {**records, name: []}
    blocks = report.make_blocks(none, labels)
    assert cells(blocks["results"], name)[4:] == ["not run yet", "0"]
    assert cells(blocks["runs"], name)[2:] == ["0", *["-"] * 8]
    assert f"-> {name} |" not in blocks["steps"]


@pytest.mark.parametrize("name, flags", [
    ("dense", "pytorch_mnist_dense.py"), ("basic_conv", "--net simple"),
    ("dbl_conv_relu_wd0.00002", "--net relu --wd 0.00002"),
    ("expanded_data", "--net relu --extend_data"),
    ("double_fc_dropout_lr0.03", "--net final --lr 0.03")])
def test_commands(name, flags):
    assert report.command(name) == f"`{flags}`"


def test_the_vote_of_three_nets(records, labels):
    runs = [fake(labels, 100), fake(labels, 60), fake(labels, 80)]
    three = {**records, "double_fc_dropout": runs}
    row = "vote of 3 nets of double_fc_dropout"
    assert cells(report.results_table(three, labels), row) == [
        row, "-", "99.67 (5 nets)", "-", "99.20", "1"]
    assert report.vote_table(three, labels).splitlines()[2:] == [
        "| 0 | 9900 | 9900 | 0 |", "| 1 | 20 | 20 | 0 |",
        "| 2 | 20 | 0 | 20 |", "| 3 | 60 | 0 | 60 |",
        "| together | 10000 | 9920 | 80 |"]


def test_two_nets_do_not_vote(records, labels):
    two = {**records, "double_fc_dropout": [fake(labels), fake(labels)]}
    row = "vote of 2 nets of double_fc_dropout"
    assert cells(report.results_table(two, labels), row)[4] == "not run yet"
    assert "Three nets" in report.vote_table(two, labels)


def test_the_machines(records, labels):
    other = {**fake(labels), "device": "cuda"}
    table = report.machines_table({**records, "dbl_conv": [other]})
    assert "| cuda | 1 | x | 3 | 2 | 1 |" in table


# Statistics

def test_the_limits_are_those_of_student():
    """T95 beside the integral of the density."""
    for freedom, limit in enumerate(report.T95, start=1):
        t = np.linspace(-limit, limit, 100_001)
        density = (1 + t ** 2 / freedom) ** (-(freedom + 1) / 2)
        factor = gamma((freedom + 1) / 2) / (
            gamma(freedom / 2) * sqrt(freedom * pi))
        inside = np.trapezoid(density, t) * factor
        assert inside == pytest.approx(0.95, abs=1e-4)


def test_a_difference_and_its_error():
    old, new = np.array([99.0, 99.2]), np.array([99.4, 99.5, 99.6])
    difference, error, limit = report.compare(old, new)
    assert difference == pytest.approx(0.4)
    assert error == pytest.approx((0.02 / 2 + 0.01 / 3) ** 0.5)
    freedom = error ** 4 / (0.01 ** 2 / 1 + (0.01 / 3) ** 2 / 2)
    assert 1 < freedom < 2 and limit == pytest.approx(12.706 * error)
    assert np.isnan(report.compare(old, new[:1])[1:]).all()


@pytest.mark.parametrize("difference, limit, verdict, unclaimed", [
    (0.3, 0.2, "borne out", "better"), (-0.3, 0.2, "not borne out", "worse"),
    (0.1, 0.2, "undecided", "no difference seen"),
    (-0.1, 0.2, "undecided", "no difference seen"),
    (9, float("nan"), "undecided", "no difference seen")])
def test_verdicts(difference, limit, verdict, unclaimed):
    assert report.judge(difference, limit) == verdict
    assert report.judge(difference, limit, claimed=False) == unclaimed


@pytest.mark.parametrize("published, where", [
    ("99.11", "expected (+0.1)"), ("99.50", "expected (+2.3)"),
    ("97.00", "lower (-12.1)"), ("99.99", "higher (+5.1)"),
    ("close to 98", "-"), ("-", "-")])
def test_where_a_published_number_lies(published, where):
    values = np.array([99.10, 98.95, 99.25])
    assert report.place(published, values) == where
    one = report.place(published, values[:1])
    assert one == ("-" if where == "-" else "cannot be told yet")


def test_what_weight_decay_does_to_the_weights(folder, records, labels):
    """By the saved nets, of which one forgets: all weights are 0."""
    saved = torch.load(folder / "dbl_conv_relu-seed0.pt", weights_only=True)
    end = sum(w.double().square().sum() for w in saved.values()).sqrt()
    for path in folder.glob("dbl_conv_relu_wd0.1-seed*.pt"):
        path.unlink()
    shutil.copy(folder / "dbl_conv_relu-seed0.pt",
                folder / "dbl_conv_relu_wd0.1-seed0.pt")
    torch.save({name: 0 * w for name, w in saved.items()},
               folder / "dbl_conv_relu_wd0.1-seed1.pt")
    net = report.load_net("dbl_conv_relu")
    torch.manual_seed(0)
    first = report.NETS["relu"][0]().conv1.weight
    assert torch.equal(net.conv1.weight, first)
    text = report.decay_text(records, labels)
    assert f" {report.norm(net):.1f} at the start." in text
    ends = f"{end:.1f} with decay 0.00005, but {end:.1f} (seed 0) and 0.0 "
    assert ends in text
    usual, same, forgetful = re.findall(r" (0\.\d\d\d) ", text)
    assert (usual, forgetful) == (same, "0.100")
    assert float(usual) > 0.98


def test_runs_that_learn_nothing_under_weight_decay(folder, labels):
    """They never do better than one answer to all images, at best a 1."""
    name = report.STRONG_DECAY
    good, chance = fake(labels, wrong=800), fake(labels)
    chance["test_accuracy"] = [0.1009, 0.1135]
    for runs, learned in (([good, chance], 1), ([chance], 0), ([good], 1)):
        text = report.decay_text({name: runs}, labels)
        assert f"{len(runs) - learned} of {len(runs)} learned nothing" in text
        assert ("between 50.00 and 92.00 %" in text) == bool(learned)


# Bad input

@pytest.mark.parametrize("name, text, complaint", [
    ("dbl_conv-seed0.json", "{", "is damaged or not a record"),
    ("dbl_conv-seed0.json", "{}", "is damaged or not a record"),
    ("dbl_conv-seed0.json", "3", "is damaged or not a record"),
    ("dbl_conv-seed0.json", "[" * 10**5, "is damaged or not a record"),
    ("speed.md", "", "has no table of the speeds"),
    ("best-seed0.json", "{}", "is not named EXPERIMENT-seedN.json"),
    ("dbl_conv.json", "{}", "is not named EXPERIMENT-seedN.json"),
    ("dbl_conv-seed00.json", "{}", "is not named EXPERIMENT-seedN.json"),
    ("double_fc_dropout-seed0.pt", "damaged", "does not hold"),
    ("README.md", "My own", "needs a line <!-- NAME -->"),
    ("README.md", "<!-- runs -->\n", "needs a line <!-- NAME -->"),
    ("README.md", "<!-- x -->\n<!-- end -->\n", "has <!-- x -->, but"),
    ("../README.md", "My own", "needs a line <!-- NAME -->")])
def test_bad_input(folder, capsys, name, text, complaint):
    (folder / name).write_text(text)
    error = refused(capsys)
    assert complaint in error and Path(name).name in error


def test_all_is_written_or_nothing(folder, figures, monkeypatch, capsys):
    monkeypatch.setattr(report, "draw_figures", lambda *args: {
        name: figures[name] for name in ("costs", "all")})
    (folder / "all.png").mkdir()
    (folder / "dbl_conv-seed0.json").unlink()
    before = texts()
    with pytest.raises(SystemExit):
        report.main([])
    assert "all.png" in capsys.readouterr().err
    assert texts() == before
    assert [path.name for path in folder.glob("*.png")] == ["all.png"]


@pytest.mark.parametrize("predictions", [
    "1", "1" * 9_999, "1" * 9_999 + "١", "1" * 10_000 + "\n"])
def test_a_record_needs_10000_digits(folder, capsys, labels, predictions):
    path = folder / "dbl_conv-seed0.json"
    record = json.loads(path.read_text())
    record["test_accuracy"][-1] = (labels == 1).double().mean().item()
    path.write_text(json.dumps({**record, "predictions": predictions}))
    error = refused(capsys)
    assert path.name in error and "10,000 digits" in error


@pytest.mark.parametrize("field, value", [
    ("net", "Net"), ("seed", 7), ("epochs", 1), ("lr", 1.0), ("wd", 1),
    ("extend_data", True), ("train_size", 2000), ("test_size", 500),
    ("test_accuracy", [0.5]), ("test_accuracy", [0.99] * 60),
    ("test_accuracy", [99.13] * 60), ("test_accuracy", ["0.99"] * 60),
    ("test_accuracy", None), ("test_accuracy", [float("nan")] * 60),
    ("seconds", []), ("seconds", [None] * 60),
    ("seconds", [float("inf")] * 60),
    ("loss", []), ("loss", ["0.1"]), ("loss", 3),
    ("device", ["cpu"]), ("threads", "one"), ("processor", 3),
    ("predictions", "12"), ("predictions", None)])
def test_a_record_of_something_else(folder, capsys, field, value):
    path = folder / "dbl_conv-seed0.json"
    record = {**json.loads(path.read_text()), field: value}
    path.write_text(json.dumps(record))
    error = refused(capsys)
    assert path.name in error and field in error


def test_no_run_of_the_final_net(folder, capsys):
    for path in folder.glob("double_fc_dropout-seed*.json"):
        path.unlink()
    assert "no record of double_fc_dropout" in refused(capsys)


# The figures

@pytest.mark.parametrize("name", ["final", "all", "costs"])
def test_axes_have_names_and_units(figures, name):
    axes, = figures[name].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == {
        "costs": ("output x, which should be 1", "cost")}.get(
            name, ("epoch", "test accuracy (%)"))
    assert len(axes.get_legend().get_texts()) == len({
        line.get_color() for line in axes.get_lines()})


def test_lines_of_the_final_net_are_its_records(records, figures):
    axes, = figures["final"].axes
    runs = records["double_fc_dropout_lr0.03"] + records["double_fc_dropout"]
    assert len(axes.get_lines()) == len(runs) > 0
    for line, record in zip(axes.get_lines(), runs):
        assert list(line.get_xdata()) == [*range(1, 41)]
        np.testing.assert_allclose(
            line.get_ydata(), 100 * np.array(record["test_accuracy"]))


def test_lines_of_all_nets_are_means_of_the_records(records, figures):
    axes, = figures["all"].axes
    ends = []
    for line in axes.get_lines():
        name, last, n = re.fullmatch(r"(.*): (.*) \(n = (.*)\)",
                                     line.get_label()).groups()
        runs = [run["test_accuracy"] for run in records[name]]
        means = [sum(values) / len(runs) for values in zip(*runs)]
        assert list(line.get_xdata()) == [*range(1, len(means) + 1)]
        np.testing.assert_allclose(line.get_ydata(), means)
        assert (last, int(n)) == (f"{100 * means[-1]:.2f}", len(runs))
        assert line.get_linestyle() == ("-" if len(runs) > 1 else "--")
        assert axes.get_ylim()[0] < means[-1] < axes.get_ylim()[1]
        ends.append(means[-1])
    assert len(ends) >= 6 and ends == sorted(ends, reverse=True)
    for tick, text in zip(axes.get_yticks(), axes.get_yticklabels()):
        assert float(text.get_text()) == pytest.approx(100 * tick)


def test_bands_of_all_nets_hold_their_runs(records, figures):
    axes, = figures["all"].axes
    for line, band in zip(axes.get_lines(), axes.collections, strict=True):
        name = line.get_label().split(":")[0]
        corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
        for epoch, *values in zip(line.get_xdata(), *(
                run["test_accuracy"] for run in records[name])):
            assert {(epoch, min(values)), (epoch, max(values))} <= corners


def test_losses_of_the_final_net(records):
    some = [{**run, "loss": [None, *np.arange(39, 0, -1)]} if seed != 1
            else {key: run[key] for key in run if key != "loss"}
            for seed, run in enumerate(records["double_fc_dropout"][:3])]
    above, below = report.figures.draw_loss(
        {"double_fc_dropout": some}).axes
    assert above.get_ylabel() == "training loss (log scale)"
    assert below.get_ylabel() == "test accuracy (%)"
    assert [line.get_label() for line in below.lines] == ["seed 0", "seed 2"]
    for k, run in enumerate((some[0], some[2])):
        np.testing.assert_allclose(above.get_lines()[k].get_ydata()[1:],
                                   np.arange(39, 0, -1))
        np.testing.assert_allclose(below.get_lines()[k].get_ydata(),
                                   100 * np.array(run["test_accuracy"]))


def test_the_way_through_the_final_net(test_data):
    net = report.load_net(report.FINAL, RESULTS / f"{report.FINAL}-seed0.pt")
    image = test_data[0][0]
    scores = net.eval()(image[None])[0].double()
    stages, probabilities = report.way_through(net, image)
    assert [(name, tuple(maps.shape)) for name, maps in stages] == [
        ("image", (1, 28, 28)), ("conv1, ReLU", (20, 24, 24)),
        ("pooling", (20, 12, 12)), ("conv2, ReLU", (40, 8, 8)),
        ("pooling", (40, 4, 4))]
    torch.testing.assert_close(probabilities, scores.softmax(dim=0),
                               rtol=1e-4, atol=1e-8)
    *_, image_axes, bars = report.figures.draw_way(stages, probabilities).axes
    assert image_axes.get_xlabel() == "28x28"
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(
        probabilities.tolist())


def test_curves_of_the_two_costs(figures):
    axes, = figures["costs"].axes
    log, square = (line.get_xydata() for line in axes.get_lines())
    np.testing.assert_allclose(np.exp(-log[:, 1]), log[:, 0])
    np.testing.assert_allclose(1 - np.sqrt(square[:, 1]), square[:, 0])
    assert log[0, 1] > 6 and square[0, 1] == pytest.approx(1, abs=0.01)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        r"$-\ln x$", "$(x - 1)^2$"]


def test_filters_are_the_final_nets(figures):
    *pictures, bar = figures["filters"].axes
    weights = torch.load(RESULTS / "double_fc_dropout-seed0.pt",
                         weights_only=True)["conv1.weight"]
    assert len(pictures) == 20 and bar.get_ylabel() == "weight"
    for axes, filter in zip(pictures, weights[:, 0]):
        shown = axes.images[0].get_array()
        np.testing.assert_array_equal(shown, filter)


def test_mistakes_are_those_of_the_record(records, labels, figures):
    record = records["double_fc_dropout"][0]
    wrong = [(f"{label} → {answer}", i) for i, (label, answer) in enumerate(
        zip(labels.tolist(), map(int, record["predictions"])))
        if label != answer]
    shown = [axes for axes in figures["mistakes"].axes if axes.images]
    images = report.get_dataset(train=False).data
    assert [axes.get_title() for axes in shown] == [name for name, _ in wrong]
    for axes, (_, i) in zip(shown, wrong):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[i])
