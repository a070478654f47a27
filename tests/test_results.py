"""The saved nets repeat their records, which are checked and compared."""

from pathlib import Path

import numpy as np
import pytest
import torch

import common
import saved_nets
import records
import significance
from extras.comparison import Difference
from extras.runs import read_record


@pytest.fixture
def labels(test_data):
    return test_data.targets


@pytest.mark.parametrize("path", sorted(records.RESULTS.glob("*.pt")),
                         ids=lambda path: path.stem)
def test_a_saved_net_repeats_its_record(path):
    """But for images whose two highest outputs are nearly the same."""
    record = read_record(path.with_suffix(".json"))
    net = saved_nets.load_net(path.stem.split("-seed")[0], path)
    outputs = torch.cat([common.compute_outputs(net, images)
                         for images, _ in common.get_test_loader()])
    other = outputs.argmax(dim=1) != records.predictions(record)
    best, second = outputs.topk(2).values.T
    assert (best - second)[other].le(1e-4).all()


def test_a_net_without_weights_is_as_seed_0_starts_it():
    net = saved_nets.load_net("dbl_conv_relu")
    torch.manual_seed(0)
    first = records.EXPERIMENTS["dbl_conv_relu"].net_class()
    assert torch.equal(net.conv1.weight, first.conv1.weight)


def test_accuracies_on_shifted_images():
    """Of a net that sees the digit 1 where the pixel in the middle is ink."""
    class Middle(torch.nn.Module):
        def forward(self, images):
            ink = images[:, 0, 14, 14]
            return torch.nn.functional.one_hot(ink.long(), 10)

    image = torch.zeros(1, 1, 28, 28)
    image[..., 14, 13:16] = 1  # a line of three pixels
    loader = [(image, torch.tensor([1]))]
    assert saved_nets.shift_accuracies(Middle(), loader, loader) == [
        100, 50, 0, 100]


def test_the_way_through_the_final_net(test_data):
    image = test_data[0][0]
    net = saved_nets.load_net("double_fc_dropout")
    stages, probabilities = saved_nets.way_through(net, image)
    assert [(name, tuple(maps.shape)) for name, maps in stages] == [
        ("image", (1, 28, 28)), ("conv1, ReLU", (20, 24, 24)),
        ("pooling", (20, 12, 12)), ("conv2, ReLU", (40, 8, 8)),
        ("pooling", (40, 4, 4)), ("fc1, ReLU", (1, 40, 25)),
        ("fc2, ReLU", (1, 40, 25))]
    scores = net.eval().double()(image[None].double())[0]
    torch.testing.assert_close(probabilities, scores.softmax(dim=0))
    pooled, fc1, fc2 = (maps.flatten() for _, maps in stages[-3:])
    torch.testing.assert_close(fc1, net.fc1(pooled).relu())
    torch.testing.assert_close(fc2, net.fc2(fc1).relu())
    torch.testing.assert_close(net.out(fc2), scores)


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

def test_the_luck_of_the_images(labels):
    """Of 10,000 images, the second kind of net gets 30 more right, 10 wrong;
    and others by the luck of the runs, which is not counted."""
    def runs(*wrong):
        answers = [labels.clone() for _ in wrong]
        for digits, images in zip(answers, wrong):
            digits[images] = (digits[images] + 1) % 10
        return [{"predictions": "".join(map(str, digits.tolist()))}
                for digits in answers]

    some, others = torch.arange(30), torch.arange(50, 60)
    mean = 20 / 10_000
    error = 100 * ((40 / 10_000 - mean ** 2) / 9_999) ** 0.5
    assert significance.image_error(
        runs(some, some), runs(others, others), labels) == pytest.approx(error)
    lucky = [torch.cat([images, torch.randperm(9000)[:400] + 1000])
             for images in (some, some, others, others)]
    assert significance.image_error(
        runs(*lucky[:2]), runs(*lucky[2:]), labels) == pytest.approx(
            error, rel=0.5)
    assert significance.image_error(runs(*[torch.randperm(10_000)[:100]
                                           for _ in range(2)]),
                                    runs(*[torch.randperm(10_000)[:100]
                                           for _ in range(2)]), labels) < 0.05


def test_holms_correction():
    """4 * 0.005, 3 * 0.01, 2 * 0.03; 0.04 must not be less than 0.03."""
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02])
    assert significance.holm([0.9, 0.6]) == pytest.approx([1, 1])


def test_verdicts_on_claims_made_at_once():
    gains = [Difference(*gain) for gain in (
        (0.3, 0.1, 0.001), (-0.3, 0.1, 0.02), (0.1, 0.1, 0.04),
        (9, float("nan"), float("nan")))]
    assert significance.verdicts(gains) == [
        "borne out", "undecided", "undecided", "undecided"]
    assert significance.verdicts(gains[1:2]) == ["contradicted"]


@pytest.mark.parametrize("published, where", [
    ("99.11", "expected (+0.1)"), ("99.50", "expected (+2.3)"),
    ("97.00", "lower (-12.1)"), ("99.99", "higher (+5.1)"),
    ("close to 98", "-"), ("-", "-")])
def test_where_a_published_number_lies(published, where):
    values = np.array([99.10, 98.95, 99.25])
    assert records.place_among(values, published) == where
    one = records.place_among(values[:1], published)
    assert one == ("-" if where == "-" else "cannot be told")


def test_runs_that_know_no_more_than_chance(labels):
    ones = (labels == 1).double().mean().item()
    assert records.CHANCE == 100 * labels.bincount().max() / 10_000
    values = np.array([91.171, 100 * ones, 92.0])
    assert records.mean_text(values) == "91.17, 11.35, 92.00"
    assert records.mean_text(values[::2]) == "91.59"
    assert [records.deviation_text(some) for some in (
        values, values[:1], values[::2])] == ["-", "-", "0.59"]
    assert records.place_among(values, "85.31") == "cannot be told"
