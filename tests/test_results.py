"""The measured runs: each is of its recipe, and the saved nets repeat it."""

from pathlib import Path

import pytest
import torch

import common
import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense

RESULTS = Path(convnet.__file__).parent / "results"
RECORDS = sorted(RESULTS.glob("*.json"))
NETS = {net.__name__: net for net, _ in convnet.NETS.values()}
NETS["Net"] = dense.Net


def named(path):
    return path.name


def digits(record):
    return torch.tensor([int(digit) for digit in record["predictions"]])


@pytest.mark.parametrize("path", RECORDS, ids=named)
def test_a_record_is_of_its_recipe(path, test_data):
    record = common.read_record(path)
    name, seed = path.stem.rsplit("-seed", 1)
    recipe = convnet.EXPERIMENTS[name]
    net = dense.Net if name == "dense" else convnet.NETS[recipe.net][0]
    assert (record["net"], record["seed"]) == (net.__name__, int(seed))
    assert (record["epochs"], record["lr"], record["wd"],
            record["extend_data"]) == recipe[1:5]
    assert (record["train_size"], record["test_size"]) == (60_000, 10_000)
    assert len(record["test_accuracy"]) == recipe.epochs
    assert len(record["seconds"]) == recipe.epochs
    right = (digits(record) == test_data.targets).sum().item()
    assert right / 10_000 == record["test_accuracy"][-1]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.pt")), ids=named)
def test_a_saved_net_repeats_its_record(path, test_data):
    record = common.read_record(path.with_suffix(".json"))
    net = NETS[record["net"]]()
    weights = torch.load(path, weights_only=True)
    net.load_state_dict({  # denormal numbers are slow
        name: values.where(values.abs() >= 1e-30, 0.0)
        for name, values in weights.items()})
    with common.testing(net):
        scores = torch.cat([net(part) for images, _
                            in common.get_test_loader()
                            for part in images.split(250)])
    other = scores.argmax(dim=1) != digits(record)
    best, second = scores.topk(2).values.T
    assert (best - second)[other].le(1e-4).all()
    accuracy = common.test_network(net, common.get_test_loader())
    near_ties = (best - second <= 1e-4).sum().item()
    assert abs(accuracy - record["test_accuracy"][-1]) <= near_ties / 10_000
