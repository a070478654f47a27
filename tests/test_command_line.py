"""The scripts as they are run: what they print, write and refuse."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import Subset

import common
import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras import command_line, runs
from extras.distortions import DistortedLoader

ROOT = Path(common.__file__).parent
SEVEN = ROOT / "tests" / "digits" / "7.jpg"
FINAL = ROOT / "results" / "weights" / "double_fc_dropout-seed0.pt"
SMOKE = ["--epochs", 2, "--train-size", 30, "--test-size", 20]
LIMITS = {"epochs": (1, 10**9), "seed": (0, 2**63 - 1), "threads": (1, 1024),
          "train_size": (1, 60000), "test_size": (1, 10000)}


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def refused(capsys):
    """Runs a script that must end with a status; returns its last line, which
    nothing precedes but the usage, of two lines."""
    def refused(status, script, *argv):
        with pytest.raises(SystemExit) as stop:
            script.main(argv)
        assert stop.value.code == status
        *usage, line = capsys.readouterr().err.strip().splitlines()
        assert not usage or usage[0].startswith("usage: ") and len(usage) == 2
        return line
    return refused


@pytest.mark.parametrize("script, argv, name, changes", [
    (convnet, "", "basic_conv", {}), (dense, "", "dense", {}),
    (convnet, "--net final --no-extend_data --epochs 3 --lr 0 --wd 0.5",
     "double_fc_dropout",
     {"extend_data": False, "epochs": 3, "lr": 0, "wd": 0.5}),
    (convnet, "--net relu --extend-data --distort --wd 0", "dbl_conv_relu",
     {"extend_data": True, "distort": True, "wd": 0}),
    (convnet, "--experiment distorted_data --no-distort", "distorted_data",
     {"distort": False}),
    *[(dense, f"--{flag} {value}", "dense", {flag: value})
      for flag, limits in LIMITS.items() for value in limits],
    *[(script, f"--experiment {name}", name, {})
      for script in (dense, convnet) for name in script.EXPERIMENTS],
    *[(script, f"--net {net}", name, {})
      for script in (dense, convnet) for net, name in script.NETS.items()]])
def test_flags(monkeypatch, script, argv, name, changes):
    seen, recipe = [], script.EXPERIMENTS[name]
    monkeypatch.setattr(command_line, "train", lambda *args: seen.extend(
        [*args, torch.get_num_threads()]))
    torch.set_num_threads(2)  # which main restores
    assert script.main(argv.split()) is None and torch.get_num_threads() == 2
    torch.set_num_threads(1)
    _, args, found, threads = seen
    expected = {
        "epochs": recipe.epochs, "lr": recipe.lr, "wd": recipe.wd,
        "extend_data": recipe.extend_data, "distort": recipe.distort,
        "seed": 0, "train_size": 60000, "test_size": 10000, "threads": 1,
        "device": "cpu", **changes}
    assert (found, threads) == (recipe, expected["threads"])
    assert {name: getattr(args, name) for name in expected} == expected


@pytest.mark.parametrize("script, name, other", [
    (convnet, "dense", dense), (dense, "dbl_conv", convnet)])
def test_an_experiment_of_the_other_script(capsys, script, name, other):
    with pytest.raises(SystemExit):
        script.main(["--experiment", name])
    assert Path(other.__file__).name in capsys.readouterr().err


def test_the_nets_and_the_help(capsys):
    assert convnet.NETS == {
        "simple": "basic_conv", "2conv": "dbl_conv", "relu": "dbl_conv_relu",
        "2dense": "expanded_data_double_fc", "final": "double_fc_dropout"}
    with pytest.raises(SystemExit):
        convnet.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for words in ("default: basic_conv, but double_fc_dropout to read",
                  "experiment: simple for basic_conv, 2conv for dbl_conv, rel",
                  "dbl_conv_relu 60 epochs, lr 0.03, wd 0.00005 expanded_data "
                  "60", "wd 0, extended distorted_data 60 epochs, lr 0.01, wd "
                  "0, distorted dbl_"):
        assert words in text


BAD = {  # arguments: words of the message
    "--net unknown": "invalid choice: 'unknown'",
    "--experiment basic": "'dbl_conv_relu', 'expanded_data', ",
    "--net relu --experiment dbl_conv": "not allowed with argument --net",
    "--epochs 1.5": "invalid int value: '1.5'",
    "--lr -0.1": "--lr -0.1 is not from 0",
    "--lr nan": "--lr nan is not",
    "--wd -1": "--wd -1.0 is not from 0",
    "--wd inf": "--wd inf is not",
    "--device cuda": "cuda: torch finds no cuda device on this machine, only",
    "--save missing/net.pt": "cannot write missing/net.pt: there is no folder",
    "--checkpoint .": "cannot write .: it is not a file",
    f"--record {'x' * 256}": "cannot write xxx",
    "--save x.pt --record ./x.pt": "must name different files",
    "--extend-dat": "unrecognized arguments: --extend-dat",
    "seven.jpg": "argument seven.jpg; to read a picture, put --read before it",
    "--read x.jpg --epochs 3 --save x": "do not train; leave out --epochs, --",
    "--read x.jpg --test-size 3": "leave out --test-size",
    "--read x.jpg --net 2dense": "no weights of expanded_data_double_fc are",
    "--load x.pt": "cannot read x.pt: No such file or directory",
    "--load  --epochs 1": "leave out --epochs",
    f"--load {SEVEN}": "7.jpg is damaged, or not written by --save",
    f"--load {FINAL}": "do not fit a ConvNetSimple: fc1.weight is",
    "--read x.jpg --draw": "--draw: not allowed with",
    "--read": "--read: expected at least one argument",
    **{f"--{flag} {value}":
       f"--{flag.replace('_', '-')} {value} is not from {least} to {most}"
       for flag, (least, most) in LIMITS.items()
       for value in (least - 1, most + 1)}}


@pytest.mark.parametrize("arguments", BAD)
def test_bad_flags(monkeypatch, refused, arguments, tmp_path):
    for name in "train_and_test_network", "test_network", "read_digit":
        monkeypatch.setattr(command_line, name,
                            lambda *args: pytest.fail("it was not refused"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert BAD[arguments] in refused(2, convnet, *arguments.split(" "))
    assert not list(tmp_path.iterdir())


# Training

def test_a_run_and_what_it_leaves(capsys, test_data):
    dense.main(["--epochs", 2, "--train-size", 1000, "--test-size", 50,
                "--seed", 5, "--save", "net.pt", "--record", "run.json"])
    output, record = capsys.readouterr(), runs.read_record("run.json")
    (first, second), net = record["test_accuracy"], dense.Net()
    assert output.err == "" and output.out.splitlines() == [
        "Net, epochs 2, lr 3.0, wd 0, extend_data False, distort False, "
        "seed 5, train_size 1000, test_size 50, device cpu, threads 1",
        f"Test data results: {first}, Epoch 1/2",
        f"Test data results: {second}, Epoch 2/2",
        "", f"Test data results: {second}"]
    assert (record["net"], record["seed"], record["batch_size"]) == (
        "Net", 5, 10)
    assert record["layers"].startswith("Net( (hidden_layer): Linear(in_featur")
    net.load_state_dict(torch.load("net.pt", weights_only=True))
    answers = torch.tensor([int(digit) for digit in record["predictions"]])
    right = answers == test_data.targets
    assert right[:50].sum().item() / 50 == second
    assert right.sum().item() / 10_000 == common.measure_accuracy(
        net, common.get_test_loader())


def test_the_repl_does_what_the_command_line_does(train_data):
    def bias(*flags):
        dense.main([*SMOKE, "--save", "net.pt", *flags])
        return torch.load("net.pt")["output_layer.bias"]

    torch.manual_seed(0)
    net = dense.Net()
    some = common.get_loader(Subset(train_data, range(30)))
    dense.run_network(net, 2, train_loader=some, test_loader=some)
    assert torch.equal(net.output_layer.bias, bias())
    assert not torch.equal(net.output_layer.bias, bias("--seed", 1))


def test_what_is_trained_and_on_what(monkeypatch):
    """The sizes count images before they are extended, and only those of
    training are distorted."""
    def arguments(*flags):
        with pytest.raises(ZeroDivisionError):
            convnet.main([*SMOKE, *flags])
        return seen.pop()

    seen, extended = [], range(300_000)
    monkeypatch.setattr(command_line, "get_extended_dataset", lambda: extended)
    monkeypatch.setattr(command_line, "train_and_test_network",
                        lambda *args: seen.append(args) or 1 / 0)
    net, *numbers, _, train, test, _, _, threads = arguments(
        "--lr", 0.2, "--wd", 0.3, "--threads", 4)
    assert (type(net), numbers, threads) == (
        convnet.ConvNetSimple, [2, 0.2, 0.3], 4)
    assert (len(train), train.batch_size, train.shuffle) == (3, 10, True)
    assert (len(test), len(test.data), test.shuffle) == (1, 20, False)
    assert len(arguments("--extend_data")[5]) == 15
    train, test = arguments("--distort")[5:7]
    assert (type(train), len(train)) == (DistortedLoader, 3)
    assert type(test) is common.MemoryLoader


def test_a_rate_so_high_that_the_net_only_guesses(capsys):
    convnet.main([*SMOKE, "--lr", 100])
    line, = capsys.readouterr().err.splitlines()
    assert "warning: the network does no better than chance; try a" in line


# What the project refuses, in one line

@pytest.mark.parametrize("error, flags, status, words", [
    (MemoryError("too large"), [], 1, "error: too large"),
    (torch.OutOfMemoryError("too large"), [], 1, "error: too large"),
    (KeyboardInterrupt, [], 130,
     "interrupted; --checkpoint FILE would have kept the finished epochs"),
    (KeyboardInterrupt, ["--checkpoint", "run.pt"], 130,
     "interrupted; the same command goes on after the last whole epoch")])
def test_failed_runs(monkeypatch, refused, error, flags, status, words):
    def fail(*args):
        raise error

    monkeypatch.setattr(common, "train_epoch", fail)
    line = refused(status, dense, *SMOKE, *flags)
    assert line.endswith(f": {words}")


def test_damaged_data(monkeypatch, refused):
    runs.save_weights(dense.Net(), "net.pt")
    monkeypatch.setattr(command_line, "get_dataset", common.get_dataset)
    monkeypatch.setattr(common, "check_integrity", lambda *args: False)
    for flags in [], ["--load", "net.pt"]:
        assert "is damaged, its archive not whole" in refused(2, dense, *flags)


@pytest.mark.parametrize("full, left", [
    ([1], ["run.json"]), ([2], ["net.pt"]), ([1, 2], [])])
def test_files_for_which_the_disk_is_full(monkeypatch, refused, full, left):
    """Each is told, and neither hinders the other."""
    def fsync(file):
        writes.append(file)
        if len(writes) in full:
            raise OSError(28, "No space left on device")

    writes = []
    monkeypatch.setattr(os, "fsync", fsync)
    line = refused(1, dense, *SMOKE, "--save", "net.pt",
                   "--record", "run.json")
    for name in "net.pt", "run.json":
        assert (f"cannot write {name}: No space" in line) is (name not in left)
    assert os.listdir() == left


# A learner's own errors: as they are, with the line where they arose

@pytest.mark.parametrize("place, argv", [
    ("forward", SMOKE), ("forward", ["--load", "net.pt"]),
    ("forward", ["--load", "net.pt", "--read", SEVEN]), ("loss", SMOKE)])
@pytest.mark.parametrize("error, mistake", [
    (RuntimeError, lambda x: x.flatten(1) @ torch.ones(700, 10)),
    (RuntimeError, lambda x: x.sum().backward() or x.sum()),  # backward twice
    (ValueError, lambda x: [width for _, _, _, _, width in [x.shape]]),
    (FileNotFoundError, lambda x: open("missing.txt"))])
def test_an_error_of_ones_own(monkeypatch, capsys, place, argv, error,
                              mistake):
    class Mine(dense.Net):
        def forward(self, images):
            return mistake(images)

    runs.save_weights(Mine(), "net.pt")
    changes = {"net_class": Mine} if place == "forward" else {
        "loss_function": lambda outputs, labels: mistake(outputs)}
    monkeypatch.setitem(dense.EXPERIMENTS, "dense",
                        dense.EXPERIMENTS["dense"]._replace(**changes))
    with pytest.raises(error) as caught:
        dense.main(argv)
    names = {entry.name for entry in caught.traceback}
    assert (place if place == "forward" else "train_epoch") in names
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("argv", [SMOKE, ["--load", "net.pt"]])
def test_an_error_in_ones_own_loader(monkeypatch, argv):
    def load(*args):
        raise RuntimeError("mine")

    runs.save_weights(dense.Net(), "net.pt")
    monkeypatch.setattr(command_line, "make_test_loader", load)
    with pytest.raises(RuntimeError, match="mine"):
        dense.main(argv)


# Reading, and imports

@pytest.mark.parametrize("flags, weights", [
    ([], "double_fc_dropout-seed0"), (["--net", "simple"], "basic_conv-seed0"),
    (["--experiment", "expanded_data"], "expanded_data-seed3")])
def test_published_weights(monkeypatch, capsys, flags, weights):
    def load(net, path):
        assert path == runs.RESULTS / "weights" / f"{weights}.pt"
        runs.load_weights(net, path)

    monkeypatch.setattr(command_line, "load_weights", load)
    convnet.main([*flags, "--read", SEVEN])
    assert capsys.readouterr().out.startswith(f"{SEVEN}: 7 (probability ")


ALONE = f"""
import importlib, sys, torch, torchvision
seen = []
sys.addaudithook(lambda event, args: seen.append((event, str(args[0]))))

def import_quietly(*names):
    seen.clear()
    before = torch.get_rng_state()
    for name in names:
        importlib.import_module(name)
    assert torch.equal(torch.get_rng_state(), before)
    assert not [(event, path) for event, path in seen
                if event == "socket.connect" or event == "open"
                and ("MNIST/raw" in path or "/results/" in path)]

import_quietly("backprop_manual_calculation", "backprop_pytorch", "common",
               "pytorch_mnist_convnet", "pytorch_mnist_dense")
from pytorch_mnist_convnet import train_and_test_network, ConvNetSimple
from pytorch_mnist_dense import Net, main, run_network
from common import get_dataset, get_loader
some = get_loader(torch.utils.data.Subset(get_dataset(), range(20)))
train_and_test_network(ConvNetSimple(), 1, train_loader=some, test_loader=some)
run_network(Net(), 1, train_loader=some, test_loader=some)

sys.path.append({str(ROOT)!r})  # only from here on is there extras
import_quietly("extras.command_line")
main(["--read", {str(SEVEN)!r}])
for name in "scipy.stats", "matplotlib", "extras.comparison", "extras.report":
    assert name not in sys.modules, name
"""


def test_the_five_files_train_alone_and_imports_touch_nothing(tmp_path):
    (tmp_path / "here").mkdir()
    for name in ("common.py", "pytorch_mnist_convnet.py", "data",
                 "pytorch_mnist_dense.py", "backprop_manual_calculation.py",
                 "backprop_pytorch.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    run = subprocess.run(
        [sys.executable, "-c", ALONE], cwd="here", capture_output=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path),
             "PYTHONDONTWRITEBYTECODE": "1"}, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert [line.split(": ")[0] for line in run.stdout.splitlines()] == [
        *["Test data results", "", "Test data results"] * 2, str(SEVEN)]
    assert len(os.listdir()) == 7 and not os.listdir("here")
