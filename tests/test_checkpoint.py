"""A run that is interrupted and goes on ends as if it had not been."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras import runs

FINAL = ["--net", "final", "--no-extend_data", "--distort",
         "--epochs", 4]  # all that draws numbers


@pytest.fixture
def run(own_folder, monkeypatch, tiny_test_loader):
    """Runs a script on thirty images, with a checkpoint."""
    def run(*flags, script=dense):
        script.main(["--epochs", 2, "--train-size", 30, "--test-size", 20,
                     "--checkpoint", "run.pt", *flags])
    monkeypatch.setattr(runs, "get_test_loader", lambda: tiny_test_loader)
    return run


@pytest.fixture
def refused(run, capsys, tmp_path):
    """Returns the line with which a run is refused, its file untouched."""
    def refused(*flags):
        before = (tmp_path / "run.pt").read_bytes()
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run(*flags)
        assert stop.value.code == 2
        assert (tmp_path / "run.pt").read_bytes() == before
        line, = capsys.readouterr().err.splitlines()
        return line
    return refused


def kill_while_writing(run, whole):
    """Runs the command until it has written so many whole checkpoints, and is
    about to finish writing the next."""
    def fsync(file):
        if len(written) == whole:
            os.kill(os.getpid(), signal.SIGKILL)
        written.append(file)

    written, child = [], os.fork()
    if child == 0:
        try:
            os.fsync = fsync
            run(*FINAL, script=convnet)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch cannot train in "
                    "a forked process beside a GPU")
def test_killed_runs_end_like_an_uninterrupted_one(run, tmp_path, capsys):
    def finish(checkpoint):
        run(*FINAL, "--checkpoint", checkpoint, "--save", "net.pt",
            "--record", "run.json", script=convnet)
        record = runs.read_record("run.json")
        assert len(record.pop("seconds")) == 4
        return record, [*torch.load("net.pt").values(),
                        *torch.load(checkpoint)["net"].values()]

    record, weights = finish("other.pt")
    kill_while_writing(run, whole=0)
    assert not os.path.exists("run.pt") and [*tmp_path.glob("*.tmp")]
    kill_while_writing(run, whole=1)
    kill_while_writing(run, whole=1)  # a run that has been resumed
    capsys.readouterr()
    resumed_record, resumed_weights = finish("run.pt")
    assert "Resuming run.pt after epoch 2/4\n" in capsys.readouterr().out
    assert resumed_record == record
    assert all(map(torch.equal, resumed_weights, weights))


def test_a_finished_run_only_tests_but_can_be_extended(run, capsys):
    run("--lr", 1)
    first = capsys.readouterr().out.splitlines()
    run("--lr", "1.0", "--wd", "0.0")  # equal numbers, written otherwise
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Resuming run.pt after epoch 2/2", "", first[-1]]
    run("--lr", 1, "--epochs", 3)
    output = capsys.readouterr().out
    assert "after epoch 2/3\n" in output and ", Epoch 3/3\n" in output


def test_other_settings_are_refused(run, refused, monkeypatch):
    run()
    for flags, complaint in {
            "--lr 0.25": "run.pt belongs to another run: lr was 3.0, not 0.25",
            "--wd 0.25": "wd was 0, not 0.25",
            "--seed 3": "seed was 0, not 3",
            "--train-size 31": "train_size was 30, not 31",
            "--test-size 21": "test_size was 20, not 21",
            "--distort": "distort was False, not True",
            "--threads 2": "threads was 1, not 2",
            "--net shallow": "lr was 3.0, not 0.1, net was Net, not Sh",
            "--epochs 1": "has 2 epochs, more than the 1"}.items():
        assert complaint in refused(*flags.split())
    monkeypatch.setattr(runs, "BATCH_SIZE", 64)
    assert "another run: batch_size was 10, not 64; change" in refused()


def test_another_program_is_refused(run, refused, monkeypatch):
    """One whose net's file is another."""
    run()
    code = Path(dense.__file__).read_text("utf-8")
    assert torch.load("run.pt")["run"]["code"] == code
    monkeypatch.setattr(runs.inspect, "getsource", lambda module: code + "#")
    assert ("run.pt belongs to another run: code has changed; change it back "
            "or name another" in refused())


@pytest.mark.parametrize("content, complaint", [
    ([3], "run.pt is not a checkpoint; move it away or name another file"),
    ({"net": {}, "history": {}}, "is not a checkpoint"),
    ({"net": {}, "history": {}, "random": {}}, "belongs to another run")])
def test_what_is_not_a_checkpoint(run, refused, content, complaint):
    torch.save(content, "run.pt")
    assert complaint in refused()


def test_a_diverged_epoch_is_not_kept(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run("--net", "relu", "--lr", "1e20", script=convnet)
    line, = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1 and "Epoch 1/2: training diverged" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("full, complaint", [
    ("log", "error: [Errno 28]"), ("disk", "cannot write run.pt:")])
def test_no_epoch_is_lost(run, monkeypatch, capsys, full, complaint):
    """Not if its line cannot be printed, nor if the next cannot be saved."""
    def write(*args):
        if full == "disk" or "Epoch 2" in args[0]:
            raise OSError(28, "No space left on device")

    run("--epochs", 1)
    place = {"log": (sys.stdout, "write"), "disk": (os, "fsync")}[full]
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="1"):
        patch.setattr(*place, write)
        run()
    assert os.listdir() == ["run.pt"]
    line, = capsys.readouterr().err.splitlines()
    assert f"{complaint} No space left on device" in line
    run()
    done = 2 if full == "log" else 1
    assert f"Resuming run.pt after epoch {done}/2" in capsys.readouterr().out
