"""What the tests share: real data, and a state to start from."""

import pytest
import torch
from torch.utils.data import Subset

import common


@pytest.fixture(scope="session")
def train_data():
    return common.get_dataset()


@pytest.fixture(scope="session")
def test_data():
    return common.get_dataset(train=False)


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
