"""The files of a run: weights, and how files are written and read."""

import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras import runs

RESULTS = Path(convnet.__file__).parent / "results"


@pytest.fixture
def weights(tmp_path):
    """A file of a dense net's weights."""
    runs.save_weights(tmp_path / "net.pt", dense.Net())
    return tmp_path / "net.pt"


def test_weights_come_back(weights):
    net = dense.Net()
    net.lock = threading.Lock()  # which no copy of a net may hold
    runs.load_weights(net, weights)
    saved = torch.load(weights, weights_only=True)
    assert saved.keys() == net.state_dict().keys()
    assert all(torch.equal(saved[name], value)
               for name, value in net.state_dict().items())


def test_weights_of_another_net_change_nothing():
    net = convnet.ConvNetTwoConvTwoDenseLayers()
    before = net.conv1.weight.clone()
    with pytest.raises(ValueError, match="dbl_conv-seed0.pt does not hold the "
                       "weights of a ConvNetTwoConvTwoDenseLayers"):
        runs.load_weights(net, RESULTS / "dbl_conv-seed0.pt")
    assert torch.equal(net.conv1.weight, before)


@pytest.mark.parametrize("wrap", [torch.compile, torch.nn.DataParallel])
def test_weights_of_a_wrapped_net(wrap, tmp_path):
    torch.save(wrap(dense.Net()).state_dict(), tmp_path / "net.pt")
    with pytest.raises(ValueError, match="of a compiled or parallel net, "
                       r"whose names begin with (_orig_mod\.|module\.)"):
        runs.load_weights(dense.Net(), tmp_path / "net.pt")


@pytest.mark.parametrize("content", [
    torch.ones(3), {}, {3: torch.ones(3)}, {"net": dense.Net().state_dict()}])
def test_a_file_of_something_else(tmp_path, content):
    torch.save(content, tmp_path / "net.pt")
    with pytest.raises(ValueError, match="a Net, but something else"):
        runs.load_weights(dense.Net(), tmp_path / "net.pt")


def test_a_file_of_a_whole_net(tmp_path):
    torch.save(dense.Net(), tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"just weights; .* --save, or "
                       r"torch.save\(net.state_dict\(\), FILE\)"):
        runs.load_weights(dense.Net(), tmp_path / "net.pt")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1j])
def test_weights_that_are_no_numbers(weights, bad):
    saved = torch.load(weights)
    torch.save({**saved, "hidden_layer.bias":
                saved["hidden_layer.bias"] * bad}, weights)
    with pytest.raises(ValueError, match="complex, in hidden_layer.bias"):
        runs.load_weights(dense.Net(), weights)


@pytest.mark.parametrize("error", [
    MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_too_little_memory_is_not_damage(weights, monkeypatch, error):
    def load(*args, **options):
        raise error

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError, match="too little memory to read .*net"):
        runs.load_weights(dense.Net(), weights)


def test_a_small_file_that_unpacks_to_a_large_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pt", "w",
                         zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data", bytes(10**7))
    with pytest.raises(ValueError, match="net.pt is damaged, or does not"):
        runs.load_weights(dense.Net(), tmp_path / "net.pt")


@pytest.mark.parametrize("read", [
    runs.read_record, lambda path: runs.load_weights(dense.Net(), path)])
def test_no_file(read, tmp_path):
    for path in tmp_path / "run", tmp_path:
        with pytest.raises(FileNotFoundError, match=f"readable file {path}"):
            read(path)


def test_a_damaged_record(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match="run.json is damaged, or not a rec"):
        runs.read_record(tmp_path / "run.json")


def test_several_threads_may_write_one_file(tmp_path):
    def write(k):
        with runs.replacing(tmp_path / "file") as file:
            for _ in range(100):
                file.write(bytes([k]) * 1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    content = (tmp_path / "file").read_bytes()
    assert len(content) == 100_000 and len({*content}) == 1
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_vanishes(tmp_path):
    with pytest.raises(OSError, match="cannot write .*gone/net.pt: No such"):
        runs.save_weights(tmp_path / "gone" / "net.pt", dense.Net())


def test_a_file_that_fails_halfway_is_not_written(tmp_path):
    (tmp_path / "file").write_text("before")
    with pytest.raises(OSError, match="cannot write .*file: disk full"):
        with runs.replacing(tmp_path / "file") as file:
            file.write(b"half")
            raise OSError("disk full")
    assert (tmp_path / "file").read_text() == "before"
    assert os.listdir(tmp_path) == ["file"]
