"""What the tests share: the project on the path, and tiny real data."""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import Subset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common  # noqa: E402


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
def seeded():
    torch.manual_seed(0)
