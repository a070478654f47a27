"""The saved nets repeat their records, which are checked and compared."""

from pathlib import Path

import numpy as np
import pytest
import torch

import common
import nets
import records
from extras.runs import read_record


@pytest.fixture
def labels(test_data):
    return test_data.targets


@pytest.mark.parametrize("path", sorted(records.RESULTS.glob("*.pt")),
                         ids=lambda path: path.stem)
def test_a_saved_net_repeats_its_record(path):
    """But for images whose two highest outputs are nearly the same."""
    record = read_record(path.with_suffix(".json"))
    net = nets.load_net(path.stem.split("-seed")[0], path)
    outputs = torch.cat([common.compute_outputs(net, images)
                         for images, _ in common.get_test_loader()])
    other = outputs.argmax(dim=1) != records.predictions(record)
    best, second = outputs.topk(2).values.T
    assert (best - second)[other].le(1e-4).all()


def test_a_net_without_weights_is_as_seed_0_starts_it():
    net = nets.load_net("dbl_conv_relu")
    torch.manual_seed(0)
    first = records.EXPERIMENTS["dbl_conv_relu"].net_class()
    assert torch.equal(net.conv1.weight, first.conv1.weight)


def test_the_way_through_the_final_net(test_data):
    image = test_data[0][0]
    net = nets.load_net("double_fc_dropout")
    stages, probabilities = nets.way_through(net, image)
    assert [(name, tuple(maps.shape)) for name, maps in stages] == [
        ("image", (1, 28, 28)), ("conv1, ReLU", (20, 24, 24)),
        ("pooling", (20, 12, 12)), ("conv2, ReLU", (40, 8, 8)),
        ("pooling", (40, 4, 4))]
    scores = net.eval().double()(image[None].double())[0]
    torch.testing.assert_close(probabilities, scores.softmax(dim=0))
    hidden = net.fc2(net.fc1(stages[-1][1].flatten()).relu()).relu()
    torch.testing.assert_close(net.out(hidden), scores)


# Records

def test_an_experiment_without_a_record(tmp_path, monkeypatch, labels):
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    with pytest.raises(ValueError, match="no record of dense"):
        records.read_records(labels)


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
    ("predictions", None), ("predictions", "1" * 9_999),
    ("predictions", "1" * 9_999 + "١"), ("predictions", "1" * 10_000 + "\n")])
def test_a_record_of_something_else(labels, field, value):
    path = records.RESULTS / "dbl_conv-seed0.json"
    record = read_record(path)
    records.check_record(path, record, labels)
    with pytest.raises(ValueError, match=f"{path.name}.*{field}"):
        records.check_record(path, {**record, field: value}, labels)


@pytest.mark.parametrize("record", [{}, 3, []])
def test_what_is_no_record(labels, record):
    with pytest.raises(ValueError, match="is damaged or not a record"):
        records.check_record(Path("dbl_conv-seed0.json"), record, labels)


# Statistics

def test_a_difference_and_its_error():
    old, new = np.array([99.0, 99.2]), np.array([99.4, 99.5, 99.6])
    difference = records.compare(old, new)
    assert difference[:2] == pytest.approx(
        (0.4, (0.02 / 2 + 0.01 / 3) ** 0.5))
    assert 0.05 < difference.p < 0.15  # t = 3.5, 1.7 degrees of freedom
    assert str(difference) == "+0.40 ± 0.12"
    assert str(records.compare(old, new[:1])) == "+0.30"


@pytest.mark.parametrize("points, p, verdict, unclaimed", [
    (0.3, 0.04, "borne out", "better"),
    (-0.3, 0.04, "not borne out", "worse"),
    (0.1, 0.06, "undecided", "no difference seen"),
    (-0.1, 0.06, "undecided", "no difference seen"),
    (9, float("nan"), "undecided", "no difference seen")])
def test_verdicts(points, p, verdict, unclaimed):
    difference = records.Difference(points, 0.1, p)
    assert records.verdict(difference) == verdict
    assert records.verdict(difference, claimed=False) == unclaimed


@pytest.mark.parametrize("published, where", [
    ("99.11", "expected (+0.1)"), ("99.50", "expected (+2.3)"),
    ("97.00", "lower (-12.1)"), ("99.99", "higher (+5.1)"),
    ("close to 98", "-"), ("-", "-")])
def test_where_a_published_number_lies(published, where):
    values = np.array([99.10, 98.95, 99.25])
    assert records.place_among(values, published) == where
    one = records.place_among(values[:1], published)
    assert one == ("-" if where == "-" else "cannot be told yet")
