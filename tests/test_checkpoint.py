"""A run that is interrupted and goes on ends as if it had not been."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import Subset

import common
import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense

ROOT = Path(convnet.__file__).parent
RUN = ["--net", "final", "--no-extend_data", "--epochs", "4",
       "--train-size", "100", "--test-size", "100", "--device", "cpu"]
KILLED_IN_FSYNC = """
import os, signal, sys
whole = int(sys.argv[1])
def kill(file):
    global whole
    if whole == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    whole -= 1
os.fsync = kill
import pytorch_mnist_convnet
pytorch_mnist_convnet.main(sys.argv[2:])
"""


def kill_while_writing(path, whole):
    """Runs the command until it has written so many whole checkpoints, and is
    about to finish writing the next."""
    run = subprocess.run([sys.executable, "-c", KILLED_IN_FSYNC, str(whole),
                          *RUN, "--checkpoint", str(path)], cwd=ROOT)
    assert run.returncode == -signal.SIGKILL
    assert list(path.parent.glob("*.tmp"))


def test_killed_runs_end_like_an_uninterrupted_one(tmp_path, capsys):
    path = tmp_path / "run.pt"
    convnet.main([*RUN, "--save", str(tmp_path / "whole.pt"),
                  "--record", str(tmp_path / "whole.json")])
    kill_while_writing(path, whole=0)
    assert not path.exists()
    kill_while_writing(path, whole=1)
    kill_while_writing(path, whole=1)  # a run that has been resumed
    capsys.readouterr()
    convnet.main([*RUN, "--checkpoint", str(path),
                  "--save", str(tmp_path / "parts.pt"),
                  "--record", str(tmp_path / "parts.json")])
    assert f"Resuming {path} after epoch 2/4" in capsys.readouterr().out

    whole, parts = (torch.load(tmp_path / f"{name}.pt", weights_only=True)
                    for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    whole, parts = (common.read_record(tmp_path / f"{name}.json")
                    for name in ("whole", "parts"))
    assert len(parts["seconds"]) == 4
    del whole["seconds"], parts["seconds"]
    assert whole == parts


@pytest.fixture
def train(tiny_train_loader, tiny_test_loader):
    def train(num_epochs=2, net_class=dense.Net, lr=0.5, seed=0, **changed):
        torch.manual_seed(seed)
        net = net_class()
        options = {"train_loader": tiny_train_loader,
                   "test_loader": tiny_test_loader, **changed}
        return net, common.train_and_test_network(net, num_epochs, lr,
                                                  **options)
    return train


@pytest.mark.parametrize("net_class", [
    dense.Net, convnet.ConvNetTwoConvTwoDenseLayersWithDropout])
def test_from_the_repl(train, tmp_path, net_class):
    path = tmp_path / "run.pt"
    whole, accuracies = train(3, net_class)
    train(1, net_class, checkpoint=path)
    parts, parts_accuracies = train(3, net_class, checkpoint=str(path))
    assert accuracies == parts_accuracies
    for a, b in zip(whole.parameters(), parts.parameters()):
        assert torch.equal(a, b)


def test_any_optimizer_goes_on(tiny_train_loader, tiny_test_loader, tmp_path):
    def train(num_epochs, checkpoint=None):
        torch.manual_seed(0)
        net = dense.Net()
        adam = torch.optim.Adam(net.parameters())
        common.train_network(net, tiny_train_loader, num_epochs,
                             dense.mean_squared_error, adam, tiny_test_loader,
                             checkpoint)
        return net.hidden_layer.weight

    whole = train(3)
    train(2, tmp_path / "run.pt")
    assert torch.equal(whole, train(3, tmp_path / "run.pt"))


def test_a_finished_run_only_tests(train, tmp_path, capsys):
    _, accuracies = train(checkpoint=tmp_path / "run.pt")
    capsys.readouterr()
    assert train(checkpoint=tmp_path / "run.pt")[1] == accuracies
    assert capsys.readouterr().out == (
        f"Resuming {tmp_path / 'run.pt'} after epoch 2/2\n"
        f"\nTest data results: {accuracies[-1]}\n")


@pytest.mark.parametrize("other, name", [
    ({"net_class": convnet.ConvNetSimple}, "net was Net, not ConvNetSimple"),
    ({"lr": 0.25}, "lr was 0.5, not 0.25"),
    ({"wd": 0.25}, "weight_decay was 0, not 0.25"),
    ({"seed": 3}, "seed was 0, not 3"),
    ({"loss_function": dense.mean_squared_error},
     "loss was CrossEntropyLoss, not mean_squared_error"),
    ({"num_epochs": 1}, "has 2 epochs, more than the 1"),
])
def test_another_run_is_refused(train, tmp_path, other, name):
    train(checkpoint=tmp_path / "run.pt")
    before = (tmp_path / "run.pt").read_bytes()
    with pytest.raises(ValueError, match=f"run.pt.*{name}"):
        train(checkpoint=tmp_path / "run.pt", **other)
    assert (tmp_path / "run.pt").read_bytes() == before


def test_a_checkpoint_without_losses_goes_on(train, tmp_path):
    """One that was written before the history kept them."""
    path, history = tmp_path / "run.pt", {}
    whole, _ = train(3, history=history)
    train(2, checkpoint=path)
    saved = torch.load(path, weights_only=True)
    del saved["history"]["loss"]
    torch.save(saved, path)
    resumed = {}
    parts, _ = train(3, checkpoint=path, history=resumed)
    assert resumed["loss"] == [None, None, history["loss"][2]]
    assert resumed["test_accuracy"] == history["test_accuracy"]
    for a, b in zip(whole.parameters(), parts.parameters()):
        assert torch.equal(a, b)


def test_another_number_of_threads_is_told(train, tmp_path, capsys):
    before = torch.get_num_threads()
    train(1, checkpoint=tmp_path / "run.pt")
    try:
        torch.set_num_threads(before + 1)
        train(2, checkpoint=tmp_path / "run.pt")
    finally:
        torch.set_num_threads(before)
    assert f"Threads: {before} before, {before + 1} now" in (
        capsys.readouterr().out)
    train(3, checkpoint=tmp_path / "run.pt")
    assert f"Threads: {before + 1} before, {before} now" in (
        capsys.readouterr().out)
    train(4, checkpoint=tmp_path / "run.pt")
    assert "Threads" not in capsys.readouterr().out


def test_equal_settings_written_otherwise(train, tmp_path):
    train(1, lr=1, wd=0, checkpoint=tmp_path / "run.pt")
    train(2, lr=1.0, wd=0.0, checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize("kind", ["train", "test"])
@pytest.mark.parametrize("change", ["size", "batch size", "extended"])
def test_other_data_is_refused(train, train_data, tmp_path, kind, change):
    train(checkpoint=tmp_path / "run.pt")
    n, batch_size, data = 200 if kind == "train" else 100, 10, train_data
    if change == "size":
        n = 50
    if change == "batch size":
        batch_size = 20
    if change == "extended":
        data = common.get_extended_dataset()
    loader = common.get_loader(Subset(data, range(n)), batch_size)
    with pytest.raises(ValueError, match=f"run.pt.*{kind}.* data was"):
        train(checkpoint=tmp_path / "run.pt", **{f"{kind}_loader": loader})


@pytest.mark.parametrize("damage", [
    "empty", "truncated", "flipped", "text", "a saved net"])
def test_a_damaged_checkpoint_is_refused(train, tmp_path, damage):
    path = tmp_path / "run.pt"
    net, _ = train(checkpoint=path)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes({"empty": b"", "truncated": content[:-100],
                      "flipped": content, "text": b"hello"}.get(damage, b""))
    if damage == "a saved net":
        torch.save(net.state_dict(), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="run.pt is damaged or not"):
        train(checkpoint=path)
    assert path.read_bytes() == before


def test_a_diverged_epoch_is_not_written(train, tmp_path):
    def loss(scores, labels):
        return scores.sum() / next(divisors)

    path = tmp_path / "run.pt"
    divisors = iter([1e6] * 40 + [0] * 20)  # for two and one epochs of 20
    train(2, checkpoint=path, loss_function=loss)
    before = path.read_bytes()
    with pytest.raises(FloatingPointError):
        train(3, checkpoint=path, loss_function=loss)
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", ["missing/run.pt", "."])
def test_a_path_that_cannot_be_written(train, tmp_path, path, capsys):
    with pytest.raises(ValueError, match="cannot write"):
        train(checkpoint=tmp_path / path)
    assert capsys.readouterr().out == ""  # not even one epoch


def test_it_is_loaded_without_pickled_code(train, tmp_path):
    train(checkpoint=tmp_path / "run.pt")
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    assert len(saved["history"]["test_accuracy"]) == 2
