"""The scripts as they are run: what they print, write and refuse."""

import os
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

SMOKE = ["--epochs", "2", "--train-size", "30", "--test-size", "20",
         "--device", "cpu"]
SCRIPTS = Path(convnet.__file__).parent


@pytest.fixture
def recipe(monkeypatch):
    """Returns what a command line makes of the arguments, without a run."""
    def recipe(script, *argv):
        seen = []
        monkeypatch.setattr(common, "train_and_keep",
                            lambda *args: seen.append(args))
        script.main(list(argv))
        (args, net_class, _), = seen
        return (net_class.__name__, args.epochs, args.lr, args.wd,
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
])
def test_recipes(recipe, argv, expected):
    assert recipe(convnet, *argv.split()) == expected


def test_the_dense_recipe(recipe):
    assert recipe(dense) == ("Net", 30, 3.0, 0, False)


@pytest.mark.parametrize("script", [convnet, dense])
def test_a_run_and_what_it_leaves(script, tmp_path, capsys, test_data):
    saved, record = tmp_path / "net.pt", tmp_path / "run.json"
    script.main([*SMOKE, "--seed", "5", "--save", str(saved),
                 "--record", str(record)])
    output = capsys.readouterr()
    header, first, second, empty, last = output.out.splitlines()
    assert "seed 5" in header and "cpu" in header
    assert output.err == ""

    record = common.read_record(record)
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
    dense.main([*SMOKE, "--train-size", "200",
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
        common, "train_and_test_network",
        lambda net, *args, **kwargs: seen.append(args))
    convnet.main([*SMOKE, "--extend_data"])
    train_loader, test_loader = seen[0][4:6]
    assert len(train_loader.dataset) == 150 and len(test_loader.dataset) == 20
    assert train_loader.batch_size == 10


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
    "--train-size 0": "--train-size 0 is not from 1 to 60000",
    "--train-size 60001": "--train-size 60001 is not from 1 to 60000",
    "--test-size 0": "--test-size 0 is not from 1 to 10000",
    "--test-size 10001": "--test-size 10001 is not from 1 to 10000",
    "--device tpu": "invalid choice: 'tpu'",
    "--save missing/net.pt": "cannot write missing/net.pt: there is no folder",
    "--record .": "cannot write",
    "--checkpoint ": "cannot write",
    "--save /dev/null": "cannot write",
    "--save /proc/net.pt": "cannot write",
    f"--save {'x' * 255}": "cannot write",
    "--save x.pt --record x.pt": "must name different files",
    "--frobnicate": "unrecognized arguments",
}


@pytest.mark.parametrize("arguments", BAD)
@pytest.mark.parametrize("script", [convnet, dense])
def test_bad_input(script, arguments, tmp_path, monkeypatch, capsys):
    if script is dense and "--net" in arguments:
        pytest.skip("there is but one")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        script.main(arguments.split(" "))
    assert error.value.code == 2
    output = capsys.readouterr()
    assert output.out == "" and BAD[arguments] in output.err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


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


def test_a_full_disk_is_told(monkeypatch, tmp_path, capsys):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SystemExit) as error:
        dense.main([*SMOKE, "--save", str(tmp_path / "net.pt")])
    assert error.value.code == 1
    assert "No space left" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_run(tmp_path, capsys):
    path = ["--checkpoint", str(tmp_path / "run.pt")]
    dense.main([*SMOKE, *path])
    with pytest.raises(SystemExit) as error:
        dense.main([*SMOKE, *path, "--lr", "1"])
    assert error.value.code == 2
    assert "lr was 3.0, not 1.0" in capsys.readouterr().err


def test_damaged_data(monkeypatch, tmp_path, capsys):
    def fail(*args):
        raise RuntimeError("train-images is damaged; restore it")

    monkeypatch.setattr(common, "repair_files", fail)
    with pytest.raises(SystemExit) as error:
        dense.main(SMOKE)
    assert error.value.code == 1
    line, = capsys.readouterr().err.splitlines()
    assert "train-images is damaged; restore it" in line


def test_divergence(capsys):
    with pytest.raises(SystemExit) as error:
        convnet.main([*SMOKE, "--net", "relu", "--lr", "1e20"])
    assert error.value.code == 1
    output = capsys.readouterr()
    assert "Test data results" not in output.out
    line, = output.err.splitlines()
    assert "nan" in line and "Epoch 1/2" in line and "lower learning" in line


def test_ctrl_c(monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(common, "train_epoch", interrupt)
    with pytest.raises(SystemExit) as error:
        convnet.main(SMOKE)
    assert error.value.code == 130
    assert capsys.readouterr().err.strip().endswith("interrupted")


SIGNALLED = """
import builtins, os, runpy, signal, sys
real = builtins.__import__
def interrupt(name, *args, **kwargs):
    if name.startswith("torch."):  # while torch is imported
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:  # some libraries swallow it
            pass
    return real(name, *args, **kwargs)
signal.signal(signal.SIGINT, signal.default_int_handler)
builtins.__import__ = interrupt
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.mark.parametrize("script", [convnet, dense])
def test_ctrl_c_during_the_imports(script):
    run = subprocess.run([sys.executable, "-c", SIGNALLED, script.__file__],
                         capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (-signal.SIGINT, "", "")


def test_a_closed_pipe():
    """As behind | head -1, whose reader goes away."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as pipe:
        run = subprocess.run([sys.executable, dense.__file__, *SMOKE],
                             stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr) == (141, "")


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
assert torch.equal(torch.get_rng_state(), before)
assert not [o for o in opened if o[0] != "open" or "MNIST/raw" in o[1]
            or "ubyte" in o[1]], opened
"""


def test_imports_touch_nothing(tmp_path):
    """Scripts without their data, from an empty folder."""
    scripts, here = tmp_path / "scripts", tmp_path / "here"
    scripts.mkdir()
    here.mkdir()
    for script in SCRIPTS.glob("*.py"):
        (scripts / script.name).write_text(script.read_text())
    before = sorted(scripts.iterdir())
    run = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=here, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(scripts),
             "PYTHONDONTWRITEBYTECODE": "1"}, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert sorted(scripts.iterdir()) == before and not list(here.iterdir())
