"""The files of a run: weights, records and checkpoints.

--save, --record and --checkpoint write them; load_weights and read_record read
them from Python. A file is written whole or not at all.
"""

import inspect
import io
import json
import os
import platform
import re
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from common import BATCH_SIZE, get_test_loader, predict

RESULTS = Path(__file__).resolve().parents[1] / "results"  # published runs
RECIPE = "epochs", "lr", "wd", "extend_data", "distort"  # of Recipe's fields
CHANCE = 0.1135  # the share of ones, the most frequent digit, in the test


# Weights

def save_weights(net, path):
    """Writes net's state_dict, as --save does. Raises OSError."""
    weights = {name: value.cpu().contiguous()
               for name, value in net.state_dict().items()}
    write_torch(path, weights)


def load_weights(net, path):
    """Loads weights that --save or --checkpoint wrote to path into net.

    Raises OSError if the file cannot be read, and ValueError if it is damaged
    or its weights do not fit, which leaves net as it was. Nets of equal
    shapes, such as those with and without dropout, fit each other.
    """
    content = read_torch(path)
    weights = content["net"] if is_checkpoint(content) else content
    if not isinstance(weights, dict) or not all(
            isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError(f"{path} does not hold just weights; write them with "
                         "--save, or torch.save(net.state_dict(), FILE)")
    check_fit(path, weights, net)
    net.load_state_dict(weights)


def find_weights(experiment):
    """Returns the path of an experiment's published weights, or None."""
    return min(RESULTS.glob(f"weights/{experiment}-seed*.pt"), default=None)


def check_fit(path, weights, net):
    """Raises ValueError if weights are not those of a net like this one."""
    there, here = ({name: tuple(value.shape) for name, value in state.items()}
                   for state in (weights, net.state_dict()))
    for name in {**here, **there}:
        if there.get(name) != here.get(name):
            raise ValueError(
                f"the weights in {path} do not fit a {type(net).__name__}: "
                f"{name} is {there.get(name, 'missing')} in the file but "
                f"{here.get(name, 'missing')} in the net; load them into the "
                "net that they were saved from (on the command line, name it "
                "with --net or --experiment)")


# Records

def write_record(net, path, settings, history):
    """Writes a run as JSON: its settings, its results and its machine.

    net (class), layers, epochs, lr, wd, extend_data, distort, seed,
    train_size, test_size, device, threads, batch_size: settings
    loss, test_accuracy, seconds: the lists of train_network's history
    predictions: the trained net's answers to all 10,000 test images, as a
        string of digits
    processor, python, torch: what computed it
    """
    digits = torch.cat([predict(net, images)
                        for images, _ in get_test_loader()])
    record = {
        "net": type(net).__name__, "layers": " ".join(str(net).split()),
        **settings, "batch_size": BATCH_SIZE, **history,
        "predictions": "".join(map(str, digits.tolist())),
        "processor": processor(settings["device"]),
        "python": platform.python_version(),
        "torch": torch.__version__}
    write_whole(path, json.dumps(record, indent=1).encode() + b"\n")


def read_record(path):
    """Returns the dict that write_record wrote to path. Raises OSError if the
    file cannot be read, and ValueError if it is not a whole record."""
    try:
        record = json.loads(Path(path).read_text("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged or not a record: {error}"
                         ) from error
    if not (isinstance(record, dict)
            and {"net", "seed", "test_accuracy"} <= record.keys()):
        raise ValueError(f"{path} is not a record; --record writes one")
    return record


def processor(device="cpu"):
    """Returns the name of the processor that a device computes with, or at
    least its architecture."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    return name[1] if name else platform.processor() or platform.machine()


# Checkpoints

def describe_run(net, settings):
    """Returns all that must not change while a run is resumed: its settings,
    and the name and the file of its net."""
    run = {**settings, "batch_size": BATCH_SIZE, "net": type(net).__name__,
           "code": inspect.getsource(inspect.getmodule(type(net)))}
    del run["epochs"]  # more of them extend a run
    return run


def save_checkpoint(net, path, run, history):
    """Writes all that resume needs; run is what describe_run returned."""
    write_torch(path, {
        "run": run, "net": net.state_dict(), "history": history,
        "random": {device: generator_module(device).get_rng_state()
                   for device in {"cpu", run["device"]}}})


def is_checkpoint(content):
    """Returns whether a file's content is what save_checkpoint wrote."""
    return (isinstance(content, dict)
            and {"net", "history", "random"} <= content.keys())


def resume(net, path, run, num_epochs, history):
    """Restores net, history and the random generators from a checkpoint, if
    there is one, so that training goes on as if it had never stopped. Raises
    ValueError if it is damaged, or of another run."""
    if not Path(path).exists():
        return
    saved = read_torch(path)
    if not is_checkpoint(saved):
        raise ValueError(f"{path} is not a checkpoint; move it away or name "
                         "another file")
    then = saved.get("run", {})
    changes = [
        "code has changed" if name == "code"
        else f"{name} was {then.get(name)}, not {run.get(name)}"
        for name in {**then, **run} if then.get(name) != run.get(name)]
    if changes:
        raise ValueError(f"{path} belongs to another run: "
                         f"{', '.join(changes)}; change it back or name "
                         "another file")
    done = len(saved["history"]["loss"])
    if done > num_epochs:
        raise ValueError(f"{path} already has {done} epochs, more than the "
                         f"{num_epochs} asked for; ask for more, or name "
                         "another file")
    net.load_state_dict(saved["net"])
    history.update(saved["history"])
    for device, state in saved["random"].items():
        generator_module(device).set_rng_state(state)


def generator_module(device):
    """Returns the module with the random generator of a device."""
    return torch if device == "cpu" else getattr(torch, device)


# Files

def write_whole(path, content):
    """Writes bytes to path, whole or not at all. Raises OSError; if path can
    be written but not replaced, it says where the content is instead."""
    file = Path(path).resolve()  # a link stays a link
    try:
        with TemporaryDirectory(suffix=".tmp", dir=file.parent) as folder:
            temporary = Path(folder, file.name)
            with open(temporary, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            try:
                temporary.replace(file)
            except OSError as error:
                kept = temporary.replace(f"{file}-{Path(folder).stem}")
                raise OSError(f"{error.strerror}; it is kept as {kept}"
                              ) from error
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}"
                      ) from error


def check_writable(path):
    """Raises ValueError if no file can be written at path."""
    try:
        file = Path(path).resolve()
        if not file.parent.is_dir():
            raise OSError(f"there is no folder {file.parent}")
        if file.exists() and not file.is_file():
            raise OSError("it is not a file")
        with TemporaryDirectory(suffix=".tmp", dir=file.parent) as folder:
            Path(folder, file.name).touch()
    except (OSError, RuntimeError, ValueError) as error:  # of resolve, too
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot write {path}: {reason}") from error


def write_torch(path, content):
    """Writes content as torch.save does; raises OSError if that fails."""
    buffer = io.BytesIO()  # with a file, torch raises errors of its own
    torch.save(content, buffer)
    write_whole(path, buffer.getbuffer())


def read_torch(path):
    """Returns what write_torch wrote, on the CPU. Raises OSError if the file
    cannot be read, and ValueError if it is damaged."""
    with open(path, "rb") as file:
        try:
            if zipfile.ZipFile(file).testzip():  # which torch.load does not
                raise zipfile.BadZipFile("wrong checksum")
            file.seek(0)
            return torch.load(file, "cpu", weights_only=True)
        except Exception as error:  # damage makes both raise anything
            raise ValueError(f"{path} is damaged, or not written by --save or "
                             f"--checkpoint ({error!r:.60})"
                             ) from error
