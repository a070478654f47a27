"""A run that is interrupted and goes on ends as if it had not been."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras.runs import load_weights, read_record

ROOT = Path(convnet.__file__).parent
RUN = ["--net", "final", "--no-extend_data", "--distort", "--epochs", "4",
       "--train-size", "100", "--test-size", "100"]  # all that draws numbers
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
    whole, parts = (read_record(tmp_path / f"{name}.json")
                    for name in ("whole", "parts"))
    assert len(parts["seconds"]) == 4
    del whole["seconds"], parts["seconds"]
    assert whole == parts


# In Python

def test_training_goes_on_after_the_epochs_of_a_history(
        tiny_train_loader, tiny_test_loader, capsys):
    def train(*epochs):
        torch.manual_seed(0)
        net, history = dense.Net(), {}
        for num_epochs in epochs:
            accuracies = dense.run_network(
                net, num_epochs, train_loader=tiny_train_loader,
                test_loader=tiny_test_loader, history=history)
        del history["seconds"]
        return net.hidden_layer.weight, accuracies, history

    weights, accuracies, history = train(3)
    assert "Nothing to train" not in capsys.readouterr().out
    parts, parts_accuracies, parts_history = train(1, 3, 3)
    assert ("Nothing to train: the history holds 3 epochs\n"
            in capsys.readouterr().out)
    assert torch.equal(weights, parts)
    assert parts_accuracies == accuracies and len(accuracies) == 3
    assert parts_history == history


def test_a_function_is_called_after_each_epoch(tiny_train_loader,
                                               tiny_test_loader):
    history, lengths = {}, []
    dense.run_network(
        dense.Net(), 2, train_loader=tiny_train_loader,
        test_loader=tiny_test_loader, history=history,
        after_epoch=lambda: lengths.append(
            {len(values) for values in history.values()}))
    assert lengths == [{1}, {2}]


# From the command line

@pytest.fixture
def run(tmp_path):
    """Runs a script on thirty images, with a checkpoint."""
    def run(*flags, script=dense, name="run.pt"):
        script.main(["--epochs", "2", "--train-size", "30", "--test-size",
                     "20", "--checkpoint", str(tmp_path / name), *flags])
    return run


def refused(run, capsys, *flags, **options):
    """Returns the message with which a run is refused."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run(*flags, **options)
    assert stop.value.code == 2
    output = capsys.readouterr()
    assert output.out == "" or output.out.count("\n") == 1  # the settings
    return output.err


def test_a_finished_run_only_tests(run, tmp_path, capsys):
    run()
    first = capsys.readouterr().out.splitlines()
    run()
    assert capsys.readouterr().out.splitlines() == [
        first[0], f"Resuming {tmp_path / 'run.pt'} after epoch 2/2",
        "Nothing to train: the history holds 2 epochs", "", first[-1]]


def test_more_epochs_extend_a_run(run, tmp_path):
    run("--epochs", "3", "--save", str(tmp_path / "whole"), name="other.pt")
    run()
    run("--epochs", "3", "--save", str(tmp_path / "parts"))
    whole, parts = (torch.load(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.parametrize("flags, complaint", [
    ("--lr 0.25", "lr was 3.0, not 0.25"),
    ("--wd 0.25", "wd was 0, not 0.25"),
    ("--seed 3", "seed was 0, not 3"),
    ("--train-size 31", "train_size was 30, not 31"),
    ("--test-size 21", "test_size was 20, not 21"),
    ("--extend_data", "extend_data was False, not True"),
    ("--distort", "distort was False, not True"),
    ("--threads 2", "threads was 1, not 2"),
    ("--epochs 1", "has 2 epochs, more than the 1")])
def test_another_run_is_refused(run, tmp_path, capsys, flags, complaint):
    run()
    before = (tmp_path / "run.pt").read_bytes()
    error = refused(run, capsys, *flags.split())
    assert complaint in error and "run.pt" in error
    assert (tmp_path / "run.pt").read_bytes() == before


def test_another_net_is_refused(run, capsys):
    run()
    error = refused(run, capsys, script=convnet)
    assert "net was Net, not ConvNetSimple" in error


def test_a_net_that_was_edited_is_refused(run, capsys, monkeypatch):
    run()
    monkeypatch.setattr(dense.Net, "extra_repr", lambda net: "edited")
    assert "layers was Net(" in refused(run, capsys)


def test_equal_settings_written_otherwise(run):
    run("--lr", "1")
    run("--lr", "1.0", "--wd", "0.0", "--epochs", "3")


def test_a_checkpoint_of_an_older_release(run, tmp_path, capsys):
    run()
    saved = torch.load(tmp_path / "run.pt")
    torch.save({**saved, "optimizer": {}}, tmp_path / "run.pt")
    assert "run.pt was written by an older release; finish its run with" in (
        refused(run, capsys))


@pytest.mark.parametrize("damage", [
    "empty", "truncated", "flipped", "text", "a list", "a saved net",
    "no random state", "no settings", "other lengths"])
def test_a_damaged_checkpoint_is_refused(run, tmp_path, capsys, damage):
    path = tmp_path / "run.pt"
    run()
    content, saved = bytearray(path.read_bytes()), torch.load(path)
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes({"empty": b"", "truncated": content[:-100],
                      "flipped": content}.get(damage, b"hello"))
    others = {"a list": [3], "a saved net": dense.Net().state_dict(),
              "no random state": {**saved, "random": {"cpu": torch.ones(3)}},
              "no settings": {**saved, "settings": None},
              "other lengths": {**saved, "history": {
                  **saved["history"], "test_accuracy": [0.5]}}}
    if damage in others:
        torch.save(others[damage], path)
    before = path.read_bytes()
    assert "run.pt is damaged or not a checkpoint" in refused(run, capsys)
    assert path.read_bytes() == before


def test_a_diverged_epoch_is_not_kept(run, tmp_path):
    with pytest.raises(SystemExit):
        run("--net", "relu", "--lr", "1e20", script=convnet)
    assert not list(tmp_path.iterdir())


def test_it_is_loaded_without_pickled_code(run, tmp_path):
    run()
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    assert len(saved["history"]["test_accuracy"]) == 2


def test_it_is_no_file_of_weights(run, tmp_path):
    run()
    with pytest.raises(ValueError, match="is a checkpoint; to get weights"):
        load_weights(dense.Net(), tmp_path / "run.pt")


def test_it_keeps_its_mode(run, tmp_path):
    run("--epochs", "1")
    (tmp_path / "run.pt").chmod(0o600)
    run()
    assert (tmp_path / "run.pt").stat().st_mode & 0o777 == 0o600


def test_its_name_may_be_one_that_the_terminal_cannot_print(run, tmp_path):
    run(name="für.pt")
    resumed = subprocess.run(
        [sys.executable, dense.__file__, "--epochs", "2", "--train-size", "30",
         "--test-size", "20", "--checkpoint", str(tmp_path / "für.pt")],
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True,
        text=True)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert r"f\xfcr.pt after epoch 2/2" in resumed.stdout
