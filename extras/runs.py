"""The files of a run: weights, records and checkpoints.

--save, --record and --checkpoint write them; load_weights and read_record read
them from Python. A file is written whole or not at all.
"""

import io
import json
import os
import platform
import re
import shutil
import zipfile
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from common import BATCH_SIZE, get_test_loader, predict


# Weights

def save_weights(path, net):
    """Writes net's state_dict, as --save does. Raises OSError."""
    save(path, {name: weights.cpu().contiguous()
                for name, weights in net.state_dict().items()})


def load_weights(net, path):
    """Loads the weights that --save wrote to path into net.

    Raises FileNotFoundError if there is no such file, and ValueError if it is
    damaged or its weights do not fit, which leaves net as it was. Nets of
    equal shapes, such as those with and without dropout, fit each other.
    """
    with reading(path, "is damaged, or does not hold just weights; write "
                 "them with --save, or torch.save(net.state_dict(), FILE)"):
        weights = load(path)
    check_weights(path, weights, type(net).__name__)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        net.load_state_dict(before)
        raise ValueError(f"{path} does not hold the weights of a "
                         f"{type(net).__name__}; load it into the net that it "
                         "was saved from (on the command line, name that with "
                         "--net)") from error


def check_weights(path, weights, net):
    """Raises ValueError for what is known not to be the weights of a net."""
    if isinstance(weights, dict) and {"settings", "history"} <= {*weights}:
        raise ValueError(f"{path} is a checkpoint; to get weights from it, "
                         "finish the run with --checkpoint and --save")
    if not (isinstance(weights, dict) and weights
            and all(isinstance(name, str) and isinstance(value, torch.Tensor)
                    for name, value in weights.items())):
        raise ValueError(f"{path} does not hold the weights of a {net}, but "
                         "something else; --save writes weights")
    for prefix in "_orig_mod.", "module.":
        if any(name.startswith(prefix) for name in weights):
            raise ValueError(
                f"{path} holds the weights of a compiled or parallel net, "
                f"whose names begin with {prefix}; save those of the {net} "
                "inside it")
    for name, value in weights.items():
        if value.is_complex() or not value.isfinite().all():
            raise ValueError(f"{path} holds weights that are nan, infinite or "
                             f"complex, in {name}; save those of a sound net")


# Records

def write_record(path, net, settings, history):
    """Writes a run as JSON: its settings, its results and its machine.

    net (class), epochs, lr, wd, extend_data, distort, seed, train_size,
    test_size, batch_size, device, threads, processor, python, torch: settings
    loss, test_accuracy, seconds: the lists of train_network's history
    predictions: the trained net's answers to all 10,000 test images, as a
        string of digits
    """
    digits = torch.cat([predict(net, images)
                        for images, _ in get_test_loader()])
    record = {
        "net": type(net).__name__, **settings, "batch_size": BATCH_SIZE,
        **history, "predictions": "".join(map(str, digits.tolist())),
        "processor": processor(settings["device"]),
        "python": platform.python_version(),
        "torch": torch.__version__}
    with replacing(path) as file:
        file.write(json.dumps(record, indent=1).encode() + b"\n")


def read_record(path):
    """Returns the dict that write_record wrote to path. Raises
    FileNotFoundError if there is none, and ValueError if it is damaged."""
    with reading(path, "is damaged, or not a record: {}"):
        return json.loads(Path(path).read_text("utf-8"))


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

def save_checkpoint(path, settings, net, history):
    """Writes all that resume needs; settings {name: value} tell the run."""
    save(path, {
        "settings": settings, "net": net.state_dict(), "history": history,
        "random": {device: generator_module(device).get_rng_state()
                   for device in {"cpu", settings["device"]}}})


def resume(path, settings, num_epochs, net, history):
    """Restores net, history and the random generators from a checkpoint, if
    there is one, so that training goes on as if it had never stopped. Raises
    ValueError if it is damaged, or of another run."""
    if not Path(path).exists():
        return
    damage = ("is damaged or not a checkpoint; move it away or name another "
              "file")
    with reading(path, damage):
        saved = load(path)
        there, kept = dict(saved["settings"]), saved["history"]
        done, = {len(kept[name])
                 for name in ("loss", "test_accuracy", "seconds")}
    if "optimizer" in saved:
        raise ValueError(f"{path} was written by an older release; finish its "
                         "run with that release, or name another file")
    for name, here in settings.items():
        if there.get(name) != here:
            raise ValueError(f"{path} belongs to another run: {name} was "
                             f"{there.get(name)}, not {here}; change it back "
                             "or name another file")
    if done > num_epochs:
        raise ValueError(f"{path} already has {done} epochs, more than the "
                         f"{num_epochs} asked for; ask for more, or name "
                         "another file")
    with reading(path, damage):
        net.load_state_dict(saved["net"])
        history.update(kept)
        for device, state in saved["random"].items():
            generator_module(device).set_rng_state(state)


def generator_module(device):
    """Returns the module with the random generator of a device."""
    return torch if device == "cpu" else getattr(torch, device)


# Files

@contextmanager
def replacing(path):
    """Yields a file to write to, which becomes path once it is complete.
    Raises OSError, with the path and the reason, if that fails."""
    file = Path(path).resolve()  # a link stays a link
    try:
        with TemporaryDirectory(suffix=".tmp", dir=file.parent) as folder:
            temporary = Path(folder, file.name)
            with open(temporary, "wb") as opened:
                yield opened
                opened.flush()
                os.fsync(opened.fileno())
            if file.exists():
                shutil.copymode(file, temporary)
            temporary.replace(file)
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
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot write {path}: {reason}") from error


@contextmanager
def reading(path, complaint):
    """Raises FileNotFoundError if there is no readable file at path, and
    ValueError with the complaint, whose {} is the reason, for all that fails
    while it is read, except for MemoryError."""
    if not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise FileNotFoundError(f"there is no readable file {path}")
    try:
        yield
    except Exception as error:  # damage makes torch raise anything
        reason = " ".join(str(error).split())
        if isinstance(error, MemoryError) or "allocate memory" in reason:
            raise MemoryError(f"too little memory to read {path}") from error
        raise ValueError(f"{path} {complaint.format(reason)}") from error


def save(path, content):
    """Writes content as torch.save does; raises OSError if that fails."""
    buffer = io.BytesIO()  # with a file, torch raises errors of its own
    torch.save(content, buffer)
    with replacing(path) as file:
        file.write(buffer.getbuffer())


def load(path):
    """Returns what save wrote, on the CPU. Damage may raise anything."""
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > os.path.getsize(path):  # not what torch.save writes
            raise zipfile.BadZipFile("its parts are larger than the file")
        if archive.testzip():  # torch.load checks no checksum
            raise zipfile.BadZipFile("wrong checksum")
    return torch.load(path, "cpu", weights_only=True)
