"""The scripts as they are run: what they print, write and refuse."""

import os
import shutil
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

SMOKE = ["--epochs", "2", "--train-size", "30", "--test-size", "20"]
SCRIPTS = Path(convnet.__file__).parent


@pytest.fixture
def recipe(monkeypatch):
    """Returns what a command line makes of the arguments, without a run."""
    def recipe(script, *argv):
        seen = []
        monkeypatch.setattr(command_line, "train_and_keep",
                            lambda *args: seen.append(args))
        script.main(list(argv))
        (args, recipe), = seen
        assert (args.device, args.threads, args.seed) == ("cpu", 1, 0)
        return (recipe.net_class.__name__, args.epochs, args.lr, args.wd,
                args.extend_data)
    return recipe


@pytest.mark.parametrize("argv, expected", [
    ("", ("ConvNetSimple", 60, 0.1, 0, False)),
    ("--net simple", ("ConvNetSimple", 60, 0.1, 0, False)),
    ("--net 2conv", ("ConvNetTwoConvLayers", 60, 0.1, 0, False)),
    ("--net relu", ("ConvNetTwoConvLayersReLU", 60, 0.03, 0.00005, False)),
    ("--net 2dense",
     ("ConvNetTwoConvTwoDenseLayers", 60, 0.03, 0.00005, True)),
    ("--net final", ("ConvNetTwoConvTwoDenseLayersWithDropout",
                     40, 0.005, 0, True)),
    ("--net final --no-extend_data --epochs 3 --lr 0.25 --wd 0.5",
     ("ConvNetTwoConvTwoDenseLayersWithDropout", 3, 0.25, 0.5, False)),
    ("--net relu --extend_data --wd 0",
     ("ConvNetTwoConvLayersReLU", 60, 0.03, 0, True)),
    ("--net relu --extend-data",
     ("ConvNetTwoConvLayersReLU", 60, 0.03, 0.00005, True)),
    ("--net 2dense --no-extend-data",
     ("ConvNetTwoConvTwoDenseLayers", 60, 0.03, 0.00005, False)),
])
def test_recipes(recipe, argv, expected):
    assert recipe(convnet, *argv.split()) == expected


def test_the_dense_recipes(recipe):
    assert recipe(dense) == ("Net", 30, 3.0, 0, False)
    assert recipe(dense, "--net", "dense") == ("Net", 30, 3.0, 0, False)
    assert recipe(dense, "--net", "shallow") == (
        "ShallowNet", 60, 0.1, 0, False)


def test_a_folder_that_vanishes_is_no_bad_flag(tmp_path, monkeypatch, capsys):
    def train(*args):
        (tmp_path / "gone").rmdir()

    monkeypatch.setattr(command_line, "train_and_test_network", train)
    (tmp_path / "gone").mkdir()
    with pytest.raises(SystemExit) as error:
        dense.main([*SMOKE, "--save", str(tmp_path / "gone" / "net.pt")])
    assert error.value.code == 1
    line, = capsys.readouterr().err.splitlines()
    assert "cannot write" in line and "gone/net.pt: No such" in line


@pytest.mark.parametrize("script", [convnet, dense])
def test_a_run_and_what_it_leaves(script, tmp_path, capsys, test_data):
    saved, record = tmp_path / "net.pt", tmp_path / "run.json"
    script.main([*SMOKE, "--seed", "5", "--save", str(saved),
                 "--record", str(record)])
    output = capsys.readouterr()
    header, first, second, empty, last = output.out.splitlines()
    assert "seed 5" in header and "cpu" in header
    assert output.err == ""

    record = runs.read_record(record)
    assert [first, second, empty, last] == [
        f"Test data results: {record['test_accuracy'][0]}, Epoch 1/2",
        f"Test data results: {record['test_accuracy'][1]}, Epoch 2/2",
        "", f"Test data results: {record['test_accuracy'][1]}"]
    net = {convnet: convnet.ConvNetSimple, dense: dense.Net}[script]()
    net.load_state_dict(torch.load(saved, weights_only=True))
    assert record["net"] == type(net).__name__
    assert (record["seed"], record["epochs"], record["train_size"]) == (
        5, 2, 30)
    assert len(record["seconds"]) == 2 and min(record["seconds"]) > 0
    assert len(record["loss"]) == 2 and min(record["loss"]) > 0

    predictions = torch.tensor([int(digit) for digit in record["predictions"]])
    first_20 = predictions[:20] == test_data.targets[:20]
    assert first_20.float().mean().item() == pytest.approx(
        record["test_accuracy"][-1])
    right = (predictions == test_data.targets).sum().item()
    assert common.test_network(net, common.get_test_loader()) == right / 10_000


def test_the_seed_decides_the_weights(tmp_path):
    def weights(seed, name):
        dense.main([*SMOKE, "--seed", seed, "--save", str(tmp_path / name)])
        return torch.load(tmp_path / name, weights_only=True)

    first, same = weights("1", "a"), weights("1", "b")
    other = weights("2", "c")
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["hidden_layer.bias"],
                           other["hidden_layer.bias"])


def test_the_repl_does_what_the_command_line_does(tmp_path, train_data):
    dense.main([*SMOKE, "--train_size", "200", "--test_size", "20",
                "--save", str(tmp_path / "net.pt")])
    torch.manual_seed(0)
    net = dense.Net()
    dense.run_network(net, 2, train_loader=common.get_loader(
        Subset(train_data, range(200))))
    saved = torch.load(tmp_path / "net.pt", weights_only=True)
    for name, weights in net.state_dict().items():
        assert torch.equal(weights, saved[name])


def test_sizes_are_counted_before_extension(monkeypatch):
    seen = []
    monkeypatch.setattr(
        command_line, "train_and_test_network",
        lambda net, *args, **kwargs: seen.append(args))
    convnet.main([*SMOKE, "--extend_data"])
    train_loader, test_loader = seen[0][4:6]
    assert len(train_loader.dataset) == 150 and len(test_loader.dataset) == 20
    assert train_loader.batch_size == 10


def test_distorted_images(monkeypatch):
    """They go through the one loader of the training, and no other."""
    seen = []
    monkeypatch.setattr(
        command_line, "train_and_test_network",
        lambda net, *args, **kwargs: seen.append(args))
    convnet.main([*SMOKE, "--distort"])
    train_loader, test_loader = seen[0][4:6]
    assert isinstance(train_loader, DistortedLoader)
    assert len(train_loader) == 3 and train_loader.batch_size == 10
    assert type(test_loader) is common.Loader


BAD = {  # arguments: words of the message
    "--net unknown": "invalid choice: 'unknown'",
    "--epochs 0": "--epochs 0 is not from 1",
    "--epochs -1": "--epochs -1 is not from 1",
    "--epochs 1.5": "invalid int value: '1.5'",
    "--lr -0.1": "--lr -0.1 is not from 0",
    "--lr nan": "--lr nan is not",
    "--lr inf": "--lr inf is not",
    "--wd -1": "--wd -1.0 is not from 0",
    "--wd inf": "--wd inf is not",
    "--seed -1": "--seed -1 is not from 0",
    "--train-size 0": "--train_size 0 is not from 1 to 60000",
    "--train-size 60001": "--train_size 60001 is not from 1 to 60000",
    "--test_size 0": "--test_size 0 is not from 1 to 10000",
    "--test-size 10001": "--test_size 10001 is not from 1 to 10000",
    "--threads 0": "--threads 0 is not from 1",
    "--device tpu": "invalid choice: 'tpu'",
    "--save missing/net.pt": "cannot write missing/net.pt: there is no folder",
    "--record .": "cannot write",
    "--checkpoint ": "cannot write",
    "--save /dev/null": "cannot write",
    "--save /proc/net.pt": "cannot write",
    f"--save {'x' * 256}": "cannot write",
    "--save x.pt --record x.pt": "must name different files",
    "--frobnicate": "unrecognized arguments: --frobnicate",
    "seven.jpg": "unrecognized arguments: seven.jpg",
}


@pytest.mark.parametrize("arguments", BAD)
@pytest.mark.parametrize("script", [convnet, dense])
def test_bad_input(script, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        script.main(arguments.split(" "))
    assert error.value.code == 2
    output = capsys.readouterr()
    usage, *_, message = output.err.splitlines()
    assert "[--read PICTURE ...]" in usage and BAD[arguments] in message
    assert output.out == "" and not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(capsys):
    with pytest.raises(SystemExit) as error:
        convnet.main(["--device", "cuda"])
    assert error.value.code == 2
    assert "cuda: torch finds no cuda device" in capsys.readouterr().err


def test_a_link_stays_a_link(tmp_path):
    link = tmp_path / "link.pt"
    link.symlink_to(tmp_path / "net.pt")
    dense.main([*SMOKE, "--save", str(link)])
    assert link.is_symlink() and (tmp_path / "net.pt").is_file()


@pytest.mark.parametrize("full", ["net.pt", "run.json"])
def test_one_file_is_written_if_the_disk_is_full_for_the_other(
        monkeypatch, tmp_path, capsys, full):
    def replacing(path):
        if Path(path).name == full:
            raise OSError(28, "No space left on device")
        return write(path)

    write = runs.replacing
    monkeypatch.setattr(runs, "replacing", replacing)
    with pytest.raises(SystemExit) as error:
        dense.main([*SMOKE, "--save", str(tmp_path / "net.pt"),
                    "--record", str(tmp_path / "run.json")])
    assert error.value.code == 1
    line, = capsys.readouterr().err.splitlines()
    assert "No space left" in line
    file, = tmp_path.iterdir()
    assert file.name in {"net.pt", "run.json"} - {full}


def test_damaged_data(monkeypatch, tmp_path, capsys):
    def fail(*args):
        raise RuntimeError("train-images is damaged; restore it")

    monkeypatch.setattr(common, "repair_files", fail)
    with pytest.raises(SystemExit) as error:
        dense.main(SMOKE)
    assert error.value.code == 1
    line, = capsys.readouterr().err.splitlines()
    assert "train-images is damaged; restore it" in line


@pytest.mark.parametrize("name, reason", [
    ("gone.jpg", "No such file"), ("", "Is a directory")])
def test_a_picture_that_cannot_be_read(tmp_path, capsys, name, reason):
    with pytest.raises(SystemExit) as error:
        convnet.main(["--read", str(tmp_path / name)])
    assert error.value.code == 2
    line, = capsys.readouterr().err.splitlines()
    assert f"error: cannot read {tmp_path / name}: {reason}" in line


def test_divergence(capsys):
    with pytest.raises(SystemExit) as error:
        convnet.main([*SMOKE, "--net", "relu", "--lr", "1e20"])
    assert error.value.code == 1
    output = capsys.readouterr()
    assert "Test data results" not in output.out
    line, = output.err.splitlines()
    assert "nan" in line and "Epoch 1/2" in line and "lower learning" in line


@pytest.mark.parametrize("flags, kept", [
    (["--checkpoint", "run.pt"], "the same command goes on"),
    ([], "--checkpoint FILE would have kept")])
def test_ctrl_c(monkeypatch, tmp_path, capsys, flags, kept):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "train_epoch", interrupt)
    with pytest.raises(SystemExit) as error:
        convnet.main([*SMOKE, *flags])
    assert error.value.code == 130
    empty, line = capsys.readouterr().err.split("\n", 1)
    assert empty == "" and "interrupted; " in line and kept in line


@pytest.mark.parametrize("flags, wanted", [([], 1), (["--threads", "3"], 3)])
def test_threads_for_the_run_alone(monkeypatch, flags, wanted):
    """main comes back, and leaves the setting as it was."""
    seen, threads = [], torch.get_num_threads()
    monkeypatch.setattr(command_line, "train_and_keep",
                        lambda *args: seen.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    assert dense.main([*SMOKE, *flags]) is None
    assert seen == [wanted] and torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_a_closed_pipe():
    """As behind | head -1, whose reader goes away."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        run = subprocess.run([sys.executable, dense.__file__, *SMOKE],
                             stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr) == (141, "")


def test_a_closed_stderr(tmp_path):
    """As after 2>&-: Python then has no sys.stderr."""
    run = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, dense.__file__,
         *SMOKE, "--checkpoint", str(tmp_path / "run.pt")],
        stdout=subprocess.PIPE, text=True)
    assert run.returncode == 0 and "Epoch 2/2" in run.stdout
    assert (tmp_path / "run.pt").exists()


def test_help_tells_the_recipes(capsys):
    with pytest.raises(SystemExit):
        convnet.main(["--help"])
    text = capsys.readouterr().out
    assert "relu    60 epochs, lr 0.03, wd 0.00005\n" in text
    assert "final   40 epochs, lr 0.005, wd 0, extended" in text


IMPORTS = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append((event, str(args)))
                 if event in ("open", "socket.connect") else None)
import torch
before = torch.get_rng_state()
import backprop_manual_calculation, backprop_pytorch
import common, pytorch_mnist_convnet, pytorch_mnist_dense
import extras.command_line, extras.digits, extras.runs
assert torch.equal(torch.get_rng_state(), before)
assert not [o for o in opened if o[0] != "open" or "MNIST/raw" in o[1]
            or "ubyte" in o[1]], opened
"""
FIVE = """
from pytorch_mnist_convnet import train_and_test_network, ConvNetSimple
from pytorch_mnist_dense import Net, run_network
from common import get_dataset, get_loader
from torch.utils.data import Subset
some = get_loader(Subset(get_dataset(), range(20)))
train_and_test_network(ConvNetSimple(), 1, train_loader=some, test_loader=some)
run_network(Net(), 1, train_loader=some, test_loader=some)
import backprop_manual_calculation, backprop_pytorch
"""


def run_code(code, scripts, here):
    """Returns a run of Python code that imports from a folder of scripts."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=here, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(scripts),
             "PYTHONDONTWRITEBYTECODE": "1"}, text=True)


@pytest.fixture
def scripts(tmp_path):
    """A folder with the owner's five files alone, beside an empty one."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (tmp_path / "here").mkdir()
    for script in SCRIPTS.glob("*.py"):
        shutil.copy(script, scripts)
    return scripts


def test_imports_touch_nothing(scripts):
    """Scripts without their data, from an empty folder."""
    shutil.copytree(SCRIPTS / "extras", scripts / "extras",
                    ignore=shutil.ignore_patterns("__pycache__"))
    before = sorted(scripts.rglob("*"))
    here = scripts.parent / "here"
    run = run_code(IMPORTS, scripts, here)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert sorted(scripts.rglob("*")) == before and not list(here.iterdir())


def test_the_five_files_and_the_data_train_alone(scripts):
    assert len(list(scripts.iterdir())) == 5
    (scripts / "data").symlink_to(SCRIPTS / "data")
    run = run_code(FIVE, scripts, scripts.parent / "here")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.count("Test data results: ") == 4
