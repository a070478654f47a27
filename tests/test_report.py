"""The README's table and the figures: they tell what the records hold."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

RESULTS = Path(__file__).resolve().parents[1] / "results"
sys.path.insert(0, str(RESULTS))

import report  # noqa: E402

README = report.README.read_text("utf-8")


@pytest.fixture(scope="module")
def labels():
    return report.get_dataset(train=False).targets


@pytest.fixture(scope="module")
def records(labels):
    return report.read_records(labels)


@pytest.fixture(scope="module")
def figures(records):
    return report.draw_figures(records)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of records and a README for the report to work on."""
    for path in RESULTS.glob("*.json"):
        shutil.copy(path, tmp_path)
    shutil.copy(RESULTS / "double_fc_dropout-seed0.pt", tmp_path)
    shutil.copy(report.README, tmp_path)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    return tmp_path


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


def test_readme_has_the_table_of_the_records(records, labels):
    text = report.README.read_text("utf-8")
    start, end = report.MARKERS
    assert (text.count(start), text.count(end)) == (1, 1)
    between = text.split(start)[1].split(end)[0]
    assert between == f"\n{report.make_table(records, labels)}"


def test_a_row_of_several_runs(records, labels):
    runs = [fake(labels, 100, seconds=60), fake(labels, 120, seconds=120),
            fake(labels, 80, seconds=60)]
    table = report.make_table({**records, "dbl_conv": runs}, labels)
    assert cells(table, "dbl_conv") == [
        "dbl_conv", "`2conv`: 60 epochs, lr 0.1, wd 0", "99.06", "99.05",
        "99.00 ± 0.20", "3", "99.20", "80", "1"]


def test_a_row_of_one_run_has_no_deviation(records, labels):
    one = {**records, "dbl_conv": [fake(labels, 100)]}
    assert cells(report.make_table(one, labels), "dbl_conv")[4:] == [
        "99.00", "1", "99.00", "100", "1"]


def test_a_row_without_runs_says_so(records, labels):
    none = {**records, "dbl_conv": []}
    assert cells(report.make_table(none, labels), "dbl_conv")[4:] == [
        "not run yet", "0", "-", "-", "-"]


def test_the_vote_of_three_nets(records, labels):
    runs = [fake(labels, 100), fake(labels, 60), fake(labels, 80)]
    three = {**records, "double_fc_dropout": runs}
    assert cells(report.make_table(three, labels),
                 "vote of 3 double_fc_dropout nets") == [
        "vote of 3 double_fc_dropout nets", "-", "99.67 (5 nets)", "-",
        "99.20", "1", "99.20", "80", "-"]


def test_two_nets_do_not_vote(records, labels):
    two = {**records, "double_fc_dropout": [fake(labels), fake(labels)]}
    assert cells(report.make_table(two, labels),
                 "vote of n double_fc_dropout nets")[4:6] == [
        "not run yet", "0"]


def test_the_table_tells_the_machines(records, labels):
    other = {**fake(labels), "device": "cuda"}
    table = report.make_table({**records, "dbl_conv": [other]}, labels)
    assert "Made on: cuda, threads 1, x, Python 3, torch 2." in table
    assert table.count("Made on: ") > 1


def test_the_report_makes_all_again_and_trains_nothing(folder, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "backward", None)
    text = report.README.read_text("utf-8")
    start, end = report.MARKERS
    old = text.split(start)[0] + start + "old" + end + text.split(end)[1]
    report.README.write_text(old, "utf-8")
    report.main([])
    assert report.README.read_text("utf-8") == text
    drawn = {path.name for path in folder.glob("*.png")}
    assert drawn == {f"{name}.png" for name in (
        "final", "all", "costs", "filters", "mistakes")}
    assert all((RESULTS / name).exists() for name in drawn)
    assert all(f"(results/{name})" in README for name in drawn)
    assert not list(folder.glob("*.tmp"))


@pytest.mark.parametrize("name, text, complaint", [
    ("dbl_conv-seed0.json", "{", "is damaged or no record"),
    ("dbl_conv-seed0.json", "{}", "is damaged or no record"),
    ("dbl_conv-seed0.json", "3", "is damaged or no record"),
    ("best-seed0.json", "{}", "is not named EXPERIMENT-seedN.json"),
    ("dbl_conv.json", "{}", "is not named EXPERIMENT-seedN.json"),
    ("dbl_conv-seed00.json", "{}", "is not named EXPERIMENT-seedN.json"),
    ("double_fc_dropout-seed0.pt", "damaged", "cannot load"),
    ("README.md", "My own", "needs the lines <!--")])
def test_bad_input(folder, capsys, name, text, complaint):
    before = report.README.read_text("utf-8")
    (folder / name).write_text(text)
    with pytest.raises(SystemExit) as stop:
        report.main([])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert complaint in error and name in error
    assert not list(folder.glob("*.png"))
    assert report.README.read_text("utf-8") == (
        text if name == "README.md" else before)


@pytest.mark.parametrize("predictions", [
    "1", "1" * 9_999, "1" * 9_999 + "١", "1" * 10_000 + "\n"])
def test_a_record_needs_10000_digits(folder, capsys, labels, predictions):
    path = folder / "dbl_conv-seed0.json"
    record = json.loads(path.read_text())
    record["test_accuracy"][-1] = (labels == 1).double().mean().item()
    path.write_text(json.dumps({**record, "predictions": predictions}))
    with pytest.raises(SystemExit):
        report.main([])
    error = capsys.readouterr().err
    assert path.name in error and "10,000 digits" in error


@pytest.mark.parametrize("field, value", [
    ("net", "Net"), ("seed", 7), ("epochs", 1), ("lr", 1.0), ("wd", 1),
    ("extend_data", True), ("train_size", 2000), ("test_size", 500),
    ("test_accuracy", [0.5]), ("test_accuracy", [0.99] * 60),
    ("test_accuracy", [99.13] * 60), ("test_accuracy", ["0.99"] * 60),
    ("test_accuracy", None), ("test_accuracy", [float("nan")] * 60),
    ("seconds", []), ("seconds", [None] * 60),
    ("predictions", "12"), ("predictions", None)])
def test_a_record_of_something_else(folder, capsys, field, value):
    path = folder / "dbl_conv-seed0.json"
    record = {**json.loads(path.read_text()), field: value}
    path.write_text(json.dumps(record))
    with pytest.raises(SystemExit) as stop:
        report.main([])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert path.name in error
    assert field in error
    assert report.README.read_text("utf-8") == README
    assert not list(folder.glob("*.png"))


def test_a_missing_record_is_named(folder, capsys):
    (folder / "double_fc_dropout-seed0.json").unlink()
    with pytest.raises(SystemExit) as stop:
        report.main([])
    assert stop.value.code == 2
    assert "double_fc_dropout-seed0.json" in capsys.readouterr().err


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
        name, last = line.get_label().split(": ")
        runs = [run["test_accuracy"] for run in records[name]]
        means = [sum(values) / len(runs) for values in zip(*runs)]
        assert list(line.get_xdata()) == [*range(1, len(means) + 1)]
        np.testing.assert_allclose(line.get_ydata(), means)
        assert last == f"{100 * means[-1]:.2f}"
        assert axes.get_ylim()[0] < means[-1] < axes.get_ylim()[1]
        ends.append(means[-1])
    assert len(ends) >= 6 and ends == sorted(ends, reverse=True)
    for tick, text in zip(axes.get_yticks(), axes.get_yticklabels()):
        assert float(text.get_text()) == pytest.approx(100 * tick)


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
