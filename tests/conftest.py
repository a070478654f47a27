"""What the tests share: real data, and a state to start from."""

import pytest
import torch
from torch.utils.data import Subset

import common
from extras import command_line, runs
from pytorch_mnist_convnet import ConvNetTwoConvTwoDenseLayersWithDropout


@pytest.fixture(scope="session")
def train_data():
    return common.get_dataset()


@pytest.fixture(scope="session")
def test_data():
    return common.get_dataset(train=False)


@pytest.fixture(scope="session")
def final_net():
    """A published network."""
    net = ConvNetTwoConvTwoDenseLayersWithDropout()
    runs.load_weights(net, runs.find_weights("double_fc_dropout"))
    return net


@pytest.fixture
def own_folder(monkeypatch, tmp_path, train_data, test_data):
    """An empty folder to work in; the command line need not read the data."""
    monkeypatch.setattr(command_line, "get_dataset", lambda train=True:
                        train_data if train else test_data)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tiny_train_loader(train_data):
    return common.get_loader(Subset(train_data, range(200)))


@pytest.fixture
def tiny_test_loader(test_data):
    return common.get_loader(Subset(test_data, range(100)), shuffle=False)


@pytest.fixture(autouse=True)
def torch_as_new():
    """A seed, and one thread, as batches this small gain nothing from more."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
