"""What all networks share, in four chapters.

    1. Data                    3. Keeping runs
    2. Training and testing    4. Command line

These words mean the same in every file of this project.

    images    (B, 1, 28, 28) float32, from 0 (background) to 1 (ink)
    labels    (B,) int64, the digits that the images show
    scores    (B, 10), a network's raw output; the highest is its answer
    accuracy  the fraction of the test images that a network gets right
    epoch     one pass over the training images, in batches of ten
    lr, wd    the learning rate and the weight decay
"""

import argparse
import gzip
import io
import json
import os
import platform
import re
import sys
import time
import warnings
import zipfile
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn.functional import (avg_pool2d, interpolate, max_pool2d, one_hot,
                                 pad)
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import MNIST
from torchvision.datasets.utils import check_integrity
from torchvision.transforms import ToTensor
from tqdm import tqdm

IMAGE_WIDTH = 28
BATCH_SIZE = 10
TEST_BATCH_SIZE = 1000  # affects speed only
DATA = Path(__file__).resolve().parent / "data"
RESULTS = DATA.parent / "results"
UNPACKED_MD5 = (  # in the order of MNIST.resources, which has the archives'
    "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637")
PICTURES = "PNG/JPEG/GIF/BMP/TIFF/WEBP/PPM"
TO_FLOAT = ToTensor()  # PIL image -> (1, 28, 28) float32 in [0, 1]


# 1. Data
#
# MNIST, its images shifted by a pixel, and digits of your own. For your code:
# get_dataset, get_extended_dataset, get_loader, the three ready-made loaders,
# and read_digit.

def get_dataset(root=DATA, train=True, transform=TO_FLOAT, download=True):
    """Returns MNIST, whose items are (image (1, 28, 28), label int).

    A transform of your own gets a PIL image. Raises RuntimeError if a file is
    damaged and can be neither repaired nor downloaded.
    """
    raw = Path(root, "MNIST", "raw")
    try:
        repair_files(raw)
        return MNIST(root, train, transform, download=download)
    except RuntimeError as error:
        raise RuntimeError(
            f"{' '.join(str(error).split())}; restore {raw} (git checkout -- "
            "data), or empty it and go online with download=True") from error


def repair_files(raw):
    """Unpacks missing and damaged files from their archives; torchvision
    checks only that the files exist."""
    for (archive, md5), unpacked_md5 in zip(MNIST.resources, UNPACKED_MD5):
        file = raw / Path(archive).stem
        if check_integrity(file, unpacked_md5):
            continue
        if check_integrity(raw / archive, md5):
            with replacing(file) as unpacked:
                unpacked.write(gzip.decompress((raw / archive).read_bytes()))
        elif file.exists():
            raise RuntimeError(f"{file} is damaged, and so is its archive")


def identity(images):
    """Returns the images (..., 28, 28) as they are."""
    return images


def shift_right(images):
    """Returns the images (..., 28, 28) moved right by a pixel."""
    return pad(images, (1, -1, 0, 0))


def shift_left(images):
    """Returns the images (..., 28, 28) moved left by a pixel."""
    return pad(images, (-1, 1, 0, 0))


def shift_up(images):
    """Returns the images (..., 28, 28) moved up by a pixel."""
    return pad(images, (0, 0, -1, 1))


def shift_down(images):
    """Returns the images (..., 28, 28) moved down by a pixel."""
    return pad(images, (0, 0, 1, -1))


SHIFTS = identity, shift_right, shift_left, shift_up, shift_down


def get_extended_dataset(root=DATA, train=True, transform=TO_FLOAT,
                         download=True):
    """Returns MNIST with five copies of each image, one for each of SHIFTS.

    Image i becomes items 5i to 5i + 4. Items and errors are those of
    get_dataset. The 300,000 training images take 235 MB.
    """
    dataset = get_dataset(root, train, transform, download)
    images = dataset.data.repeat_interleave(len(SHIFTS), dim=0)
    for k, shift in enumerate(SHIFTS):
        images[k::len(SHIFTS)] = shift(dataset.data)
    dataset.data = images
    dataset.targets = dataset.targets.repeat_interleave(len(SHIFTS))
    return dataset


def get_loader(dataset, batch_size=BATCH_SIZE, shuffle=True):
    """Returns a loader of (images, labels) batches; the last may be smaller.

    Takes any map-style dataset. With shuffle, each epoch draws a new order
    from torch's global random generator.
    """
    return Loader(dataset, batch_size, shuffle)


class Loader(DataLoader):
    """A DataLoader that is fast for MNIST or a Subset of it: it prepares a
    whole number of batches, about 1,000 images, at once."""
    def __iter__(self):
        mnist, order, size = self.dataset, self.sampler, self.batch_size
        while type(mnist) is Subset:
            mnist, order = mnist.dataset, map(mnist.indices.__getitem__, order)
        if (type(mnist) is not MNIST or mnist.target_transform is not None
                or type(mnist.transform) is not ToTensor):
            yield from super().__iter__()
            return
        order = torch.tensor([int(i) for i in order], dtype=torch.int64)
        order = torch.arange(len(mnist))[order]  # -1 becomes the last
        for part in order.split(max(1000 // size, 1) * size):
            images = mnist.data.index_select(0, part).unsqueeze(1).float()
            yield from zip(images.div_(255).split(size),
                           mnist.targets[part].split(size))


def get_train_loader():
    """Returns a loader of the 60,000 training images, shuffled."""
    return get_loader(get_dataset())


def get_extended_train_loader():
    """Returns a loader of the 300,000 shifted training images, shuffled."""
    return get_loader(get_extended_dataset())


def get_test_loader():
    """Returns a loader of the 10,000 test images, in their order."""
    return get_loader(get_dataset(train=False), TEST_BATCH_SIZE, shuffle=False)


def read_digit(path):
    """Returns the digit in a picture file as MNIST would show it.

    The result is an image (1, 28, 28) float32 from 0 to 1, ready for
    predict(net, image[None]). The picture shows one digit, dark on light or
    light on dark. Raises FileNotFoundError if there is no such file, and
    ValueError, which says what is wrong, if it holds no readable digit.
    """
    with reading(path, f"is not a {PICTURES} picture of a digit: {{}}"):
        return place_digit(keep_digit(remove_paper(open_picture(path))))


def open_picture(path):
    """Returns a picture (height, width) in grey, from 0 (black) to 1, turned
    upright by its EXIF tag; the longer side has 200 pixels."""
    with warnings.catch_warnings(action="ignore"), Image.open(
            path, formats=PICTURES.split("/")) as picture:
        width, height = picture.size
        if min(width, height) < max(8, max(width, height) / 50):
            raise ValueError(f"{width}x{height} pixels are too few")
        if width * height > 50e6:
            raise ValueError(f"{width}x{height} pixels are too many")
        picture.draft(None, (400, 400))  # decodes less of a large JPEG
        picture = ImageOps.exif_transpose(picture)
    if picture.mode[0] in "IF":  # more than 8 bits a pixel
        grey = np.asarray(picture, dtype=np.float32)
        grey = 255 * grey / max(grey.max(), 1)
        picture = Image.fromarray(grey.clip(0).astype(np.uint8))
    picture = ImageOps.contain(picture.convert("RGBA"), (200, 200))
    grey, alpha = TO_FLOAT(picture.convert("LA"))
    on_black = grey * alpha
    return max(on_black, on_black + (1 - alpha), key=torch.std)  # or on white


def remove_paper(grey):
    """Returns the ink (height, width) of a picture, from 0 (paper) to 1.

    A dark board's shade is what remains when the dark has grown over all that
    is narrower than half the picture, and then shrunk back (a morphological
    opening). It follows the light. White paper is a board in negative.
    """
    reach, border = min(grey.shape) // 4, min(grey.shape) // 3
    inner, sides = slice(reach, -reach), [reach + 1] * 4
    middle = slice(reach + border, -reach - border)
    wider = (2 * pad(grey[None], sides, "replicate")
             - pad(grey[None], sides, "reflect"))  # a gradient goes on
    grey = avg_pool2d(wider.clamp(grey.min(), grey.max()), 3, 1)[0]
    lightest, darkest = grow(grey, reach), -grow(-grey, reach)  # nearby
    light = grey - (lightest + darkest) / 2
    light[middle, middle] = 0  # the border tells ink from paper
    if light[inner, inner].sum() > 0:  # dark on light
        grey, darkest = -grey, -lightest
    ink = (grey - grow(darkest, reach))[inner, inner]
    low, usual = ink.quantile(torch.tensor([0.1, 0.4]))  # without ink
    ink -= usual
    level = ink[ink > ink.max() / 2].median()
    if not level > max(0.05, 3 * (usual - low)):
        raise ValueError("it is blank, or has too little contrast")
    return (ink / level).clamp(0, 1)


def keep_digit(ink):
    """Returns the ink (height, width) without specks and the table's edge: the
    largest connected shape stays, and so do others of at least 15 % of its
    area; shapes at the border go unless they are all that there is."""
    mask = grow(ink)[::2, ::2] > 0.3  # half the size, in a sixth of the time
    labels = mask * torch.arange(1.0, mask.numel() + 1).view_as(mask)
    while (grown := mask * grow(labels)).ne(labels).any():
        labels = grown  # until each shape has its largest number everywhere
    labels = interpolate(labels[None, None], ink.shape)[0, 0].long()
    areas = labels.flatten().bincount((ink > 0.5).flatten())
    areas[0] = 0  # the paper
    border = torch.cat([labels[[0, -1]].T, labels[:, [0, -1]]]).flatten()
    inner = areas.index_fill(0, border, 0)
    if inner.max() > 0.05 * areas.max():
        areas = inner
    return ink * (areas > 0.15 * areas.max())[labels]


def place_digit(ink):
    """Returns the ink (height, width) of a digit as an image (1, 28, 28):
    scaled to fit 20x20 pixels, with its centre of mass in the middle."""
    ink = crop(ink)
    while ink.sum() > 0.3 * max(ink.shape) ** 2:  # a pen thicker than MNIST's
        ink = crop(1 - grow(1 - pad(ink, (1, 1, 1, 1))))  # the paper grows
    size = [max(1, round(20 * side / max(ink.shape))) for side in ink.shape]
    ink = interpolate(ink[None, None], size, mode="bilinear",
                      antialias=True)[0, 0].clamp(min=0)
    ink = pad(ink / ink.max(), (14, 14, 14, 14))
    top, left = (
        round((mass @ torch.arange(0.0, len(mass)) / mass.sum()).item()) - 14
        for mass in (ink.sum(dim=1), ink.sum(dim=0)))
    return ink[None, top:top + IMAGE_WIDTH, left:left + IMAGE_WIDTH]


def crop(ink):
    """Returns the part of the ink (height, width) that is darker than half."""
    rows, columns = ((ink > 0.5).any(dim=axis).nonzero() for axis in (1, 0))
    if len(rows) == 0:
        raise ValueError("it shows no digit")
    return ink[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]


def grow(ink, reach=1):
    """Returns the ink (height, width) grown by reach pixels each way."""
    done = 0
    while done < reach:  # each pass goes three times as far
        step = min(2 * done + 1, reach - done)
        ink = pad(ink[None], [step] * 4, "replicate")
        ink = max_pool2d(ink, 3, 1, dilation=step)[0]
        done += step
    return ink


# 2. Training and testing
#
# Gradient descent, and the answers of a trained network. For your code:
# train_and_test_network, or train_network with an optimizer of your own; then
# test_network, predict and vote.

class PlainSGD(torch.optim.SGD):
    """torch.optim.SGD without momentum: the same weights up to rounding,
    without its bookkeeping, which costs more than a small net's update."""
    def __init__(self, parameters, lr, weight_decay=0):
        super().__init__(parameters, lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self):
        """Applies weight decay, then moves the weights downhill."""
        for group in self.param_groups:
            lr, wd = group["lr"], group["weight_decay"]
            for weights in group["params"]:
                if weights.grad is not None:
                    if wd:
                        weights.mul_(1 - lr * wd)
                    weights.add_(weights.grad, alpha=-lr)

    step.hooked = True  # stops torch from wrapping it for its profiler

    def zero_grad(self, set_to_none=True):
        """Forgets the gradients."""
        for group in self.param_groups:
            for weights in group["params"]:
                weights.grad = None


def train_and_test_network(net, num_epochs=60, lr=0.1, wd=0,
                           loss_function=torch.nn.CrossEntropyLoss(),
                           train_loader=None, test_loader=None,
                           checkpoint=None, history=None):
    """Trains net by gradient descent, on MNIST by default, and tests it after
    every epoch and at the end. Returns the accuracies; see train_network."""
    if train_loader is None:
        train_loader = get_train_loader()
    if test_loader is None:
        test_loader = get_test_loader()
    sgd = PlainSGD(net.parameters(), lr=lr, weight_decay=wd)
    accuracies = train_network(net, train_loader, num_epochs, loss_function,
                               sgd, test_loader, checkpoint, history)
    print()
    test_network(net, test_loader)
    return accuracies


def train_network(model, data_loader, num_epochs, loss_function, optimizer,
                  test_loader=None, checkpoint=None, history=None):
    """Trains model and tests it after every epoch; returns the accuracies.

    data_loader, test_loader: iterables of (images, labels) batches
    checkpoint: a file to save the run to after every epoch; if it exists,
        training resumes from it and ends as if it had never stopped
    history: a dict that gets three lists with a value for each epoch: loss
        (mean over the training batches; None if an old checkpoint lacks it),
        test_accuracy, and seconds (for training and testing)

    Raises FloatingPointError after an epoch that ends with a loss or weights
    that are nan or infinite, and ValueError for a checkpoint of another run.
    """
    if test_loader is None:
        test_loader = get_test_loader()
    history = {} if history is None else history
    history.update(loss=[], test_accuracy=[], seconds=[])
    if checkpoint is not None:
        settings = describe_run(model, loss_function, optimizer, data_loader,
                                test_loader)
        resume(checkpoint, settings, num_epochs, model, optimizer, history)
    for epoch in range(len(history["seconds"]) + 1, num_epochs + 1):
        start = time.perf_counter()
        info = f"Epoch {epoch}/{num_epochs}"
        history["loss"].append(train_epoch(model, data_loader, loss_function,
                                           optimizer, info))
        history["test_accuracy"].append(test_network(model, test_loader, info))
        history["seconds"].append(time.perf_counter() - start)
        if checkpoint is not None:
            save_checkpoint(checkpoint, settings, model, optimizer, history)
    return history["test_accuracy"]


def train_epoch(model, data_loader, loss_function, optimizer, info="Epoch"):
    """Trains model for one epoch, and returns the mean loss of its batches;
    the errors are those of train_network."""
    device = device_of(model)
    model.train()
    batches, total = 0, 0
    with tqdm(data_loader, info, leave=False, disable=None) as bar:
        for batches, (images, labels) in enumerate(bar, start=1):
            loss = loss_function(model(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
            if batches % 100 == 0:
                bar.set_postfix(loss=total.item() / batches, refresh=False)
    if batches == 0:
        raise ValueError(f"{info}: the training loader is empty")
    weights = sum(tensor.detach().sum() for tensor in model.parameters())
    if not (total + weights).isfinite():
        raise FloatingPointError(
            f"{info}: training diverged (mean loss {total.item() / batches}, "
            f"sum of weights {weights}); try a lower learning rate")
    return total.item() / batches


@contextmanager
def testing(model):
    """Puts model in evaluation mode, without gradients; restores its modes and
    the random generators afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    gpus = range(torch.cuda.device_count())
    with torch.random.fork_rng(gpus), torch.no_grad():
        try:
            yield model.eval()
        finally:
            for module, mode in modes:
                module.training = mode


def test_network(model, data_loader, epoch_info=""):
    """Prints and returns the accuracy of model on a loader's images."""
    correct = total = 0
    with testing(model):
        for images, labels in data_loader:
            correct += (predict(model, images) == labels.cpu()).sum().item()
            total += len(labels)
    if total == 0:
        raise ValueError("the test loader is empty")
    info = f", {epoch_info}" if epoch_info else ""
    print(f"Test data results: {correct / total}{info}", flush=True)
    return correct / total


def predict(model, images):
    """Returns model's answers (B,) int64 to images, on the CPU."""
    device = device_of(model)
    with testing(model):  # 250 at a time take half as long as 1,000
        return torch.cat([model(part.to(device)).argmax(1).cpu()
                          for part in images.split(250)])


def vote(predictions):
    """Returns the answers (images,) int64 that most nets give.

    predictions (nets, images) int64: the nets' answers. The smallest digit
    wins a tie. Raises ValueError for other shapes, types and digits.
    """
    shape, dtype = tuple(predictions.shape), predictions.dtype
    if (len(shape) != 2 or shape[0] == 0 or dtype != torch.int64
            or not ((predictions >= 0) & (predictions < 10)).all()):
        raise ValueError("predictions must be int64 digits from 0 to 9 of "
                         f"shape (nets, images), not {dtype} of {shape}")
    # argmax takes the first of equals; torch.mode may not, on a GPU
    return one_hot(predictions, 10).sum(0).argmax(1)


def device_of(model):
    """Returns the device of a model's weights; the CPU if it has none."""
    return next(model.parameters(), torch.empty(0)).device


# 3. Keeping runs
#
# Checkpoints, weights and records. A file is written whole or not at all. For
# your code: load_weights and read_record, which read what the command line
# writes with --save and --record.

@contextmanager
def replacing(path):
    """Yields a file to write to, which becomes path once it is complete."""
    path = Path(path).resolve()  # a link stays a link
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path):
    """Raises ValueError if no file can be written at path."""
    try:
        file = Path(path).resolve()
        if not file.parent.is_dir():
            raise OSError(f"there is no folder {file.parent}")
        if file.exists() and not file.is_file():
            raise OSError("it is not a file")
        temporary = Path(f"{file}.{os.getpid()}.tmp")
        temporary.touch()
        temporary.unlink()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot write {path}: {reason}") from error


@contextmanager
def reading(path, complaint):
    """Raises FileNotFoundError if there is no readable file at path, and
    ValueError with the complaint, whose {} is the reason, for all that fails
    while it is read."""
    if not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise FileNotFoundError(f"there is no readable file {path}")
    try:
        yield
    except Exception as error:  # damage makes torch and Pillow raise anything
        raise ValueError(f"{path} {complaint.format(error)}") from error


def save(path, content):
    """Writes content as torch.save does; raises OSError if that fails."""
    buffer = io.BytesIO()  # with a file, torch raises errors of its own
    torch.save(content, buffer)
    with replacing(path) as file:
        file.write(buffer.getbuffer())


def load(path):
    """Returns what save wrote, on the CPU. Damage may raise anything."""
    with zipfile.ZipFile(path) as archive:
        if archive.testzip():  # torch.load checks no checksum
            raise zipfile.BadZipFile("wrong checksum")
    return torch.load(path, "cpu", weights_only=True)


def load_weights(net, path):
    """Loads the weights that --save wrote to path into net.

    Raises FileNotFoundError if there is no such file, and ValueError if it is
    damaged or its weights do not fit. Nets of equal shapes, such as those with
    and without dropout, fit each other.
    """
    with reading(path, "does not hold the weights of a "
                 f"{type(net).__name__}; check the file and the net"):
        weights = load(path)
        deepcopy(net).load_state_dict(weights)  # a misfit leaves net as it is
    net.load_state_dict(weights)


def describe_run(model, loss_function, optimizer, data_loader, test_loader):
    """Returns the settings that must not change when a run resumes."""
    loss = getattr(loss_function, "__name__", type(loss_function).__name__)
    settings = {"net": type(model).__name__, "seed": torch.initial_seed(),
                "layers": " ".join(str(model).split()), "loss": loss,
                "device": device_of(model).type, **optimizer.defaults}
    for name, data in ("training", data_loader), ("test", test_loader):
        text = f"batches of {getattr(data, 'batch_size', '?')}"
        while hasattr(data, "dataset"):  # of a loader, and of a Subset
            data = data.dataset
            text += f" from {len(data)}"
        settings[f"{name} data"] = text
    return settings


def save_checkpoint(path, settings, model, optimizer, history):
    """Writes all that a run needs to resume as if it had never stopped."""
    save(path, {
        "settings": settings, "history": history,
        "model": model.state_dict(), "optimizer": optimizer.state_dict(),
        "random": [torch.get_rng_state(), *torch.cuda.get_rng_state_all()],
        "threads": torch.get_num_threads()})


def resume(path, settings, num_epochs, model, optimizer, history):
    """Restores a run from its checkpoint, if there is one."""
    check_writable(path)
    if not Path(path).exists():
        return
    with reading(path, "is damaged or not a checkpoint; move it away or name "
                 "another file"):
        saved = load(path)
        there, kept = saved["settings"], saved["history"]
    for name, here in settings.items():
        if there.get(name) != here:
            raise ValueError(f"{path} belongs to another run: {name} was "
                             f"{there.get(name)}, not {here}; change it back "
                             "or name another file")
    done, threads = len(kept["seconds"]), torch.get_num_threads()
    if done > num_epochs:
        raise ValueError(f"{path} already has {done} epochs, more than the "
                         f"{num_epochs} asked for")
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    history.update({"loss": [None] * done, **kept})
    torch.set_rng_state(saved["random"][0])
    torch.cuda.set_rng_state_all(saved["random"][1:])
    print(f"Resuming {path} after epoch {done}/{num_epochs}", flush=True)
    if saved.get("threads", threads) != threads:  # old ones lack it
        print(f"Threads: {saved['threads']} before, {threads} now; the "
              "results may differ by rounding", flush=True)


def write_record(path, net, settings, history):
    """Writes a run as JSON: its settings, its results and its machine.

    net (class), epochs, lr, wd, extend_data, seed, train_size, test_size,
    batch_size, device, threads, processor, python, torch: the settings
    loss, test_accuracy, seconds: the lists of train_network's history
    predictions: the trained net's answers to all 10,000 test images, as a
        string of digits, computed on the CPU
    """
    net = net.cpu()
    digits = torch.cat([predict(net, images)
                        for images, _ in get_test_loader()])
    record = {
        "net": type(net).__name__, **settings, "batch_size": BATCH_SIZE,
        **history, "predictions": "".join(map(str, digits.tolist())),
        "threads": torch.get_num_threads(), "processor": processor(),
        "python": platform.python_version(), "torch": torch.__version__}
    with replacing(path) as file:
        file.write(json.dumps(record, indent=1).encode() + b"\n")


def read_record(path):
    """Returns the dict that write_record wrote to path. Raises
    FileNotFoundError if there is none, and ValueError if it is damaged."""
    with reading(path, "is damaged or not a record: {}"):
        return json.loads(Path(path).read_text())


def processor():
    """Returns the processor's name, or at least its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    return name[1] if name else platform.processor() or platform.machine()


# 4. Command line
#
# The flags of the two MNIST scripts, which train a net, test saved weights, or
# read pictures. From Python, call main(["--epochs", "3"]) of a script.

OPTIONS = (  # flag, type, least, most, default (None: the recipe's), help
    ("--epochs", int, 1, 10**9, None, "passes over the training images"),
    ("--lr", float, 0, 1e30, None, "learning rate"),
    ("--wd", float, 0, 1e30, None, "weight decay"),
    ("--seed", int, 0, 2**63 - 1, 0, "random seed of weights, order and "
     "dropout; default 0"),
    ("--train-size", int, 1, 60000, 60000, "use only the first N training "
     "images"),
    ("--test-size", int, 1, 10000, 10000, "use only the first N test images"))
RECIPE = "epochs", "lr", "wd", "extend_data"
FILES = {"checkpoint": "save the run after every epoch; resume it if FILE "
         "exists", "save": "write the trained net's state_dict",
         "record": "write the settings and results as JSON"}


def recipe_text(recipe):
    """Returns an experiment's recipe in words."""
    wd = np.format_float_positional(recipe.wd, trim="-")  # not 5e-05
    extended = ", extended" if recipe.extend_data else ""
    return f"{recipe.epochs} epochs, lr {recipe.lr}, wd {wd}{extended}"


def make_parser(description, nets, experiments):
    """Returns a parser of the flags that all networks share; --net is among
    them if there are several nets."""
    epilog = "\n".join(f"  {net:8}{recipe_text(experiments[name])}"
                       for net, (_, name) in nets.items())
    parser = argparse.ArgumentParser(
        description=description, epilog=f"recipes, the default values of "
        f"--epochs, --lr, --wd and --extend_data:\n{epilog}",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: parser.exit(  # leaves out the long usage
        2, f"{parser.prog}: error: {message} (--help lists the flags)\n")
    parser.set_defaults(net=None)
    if len(nets) > 1:
        parser.add_argument("--net", choices=nets,
                            help="default: simple; with --read alone, final")
    for flag, kind, _, _, default, text in OPTIONS:
        parser.add_argument(flag, type=kind, default=default, help=text,
                            metavar="N" if kind is int else "RATE")
    parser.add_argument("--extend_data", action=argparse.BooleanOptionalAction,
                        help="add four copies of each training image, each "
                        "shifted by a pixel")
    parser.add_argument("--device", default="auto",
                        choices=("auto", "cpu", "cuda", "mps"),
                        help="default: auto, a GPU if there is one")
    for name, text in FILES.items():
        parser.add_argument(f"--{name}", metavar="FILE", help=text)
    parser.add_argument("--load", metavar="FILE", help="instead of training, "
                        "test the weights that --save wrote")
    parser.add_argument("--read", metavar="FILE", nargs="+", action="extend",
                        help="instead of training, read the digit in each "
                        "picture, with weights of --load or published ones")
    return parser


def run_command_line(argv, description, nets, experiments, loss_function):
    """Runs a script's command line argv (None: that of the program).

    nets {value of --net: (class, experiment whose recipe is the default)}; the
    first net is the default, but the last for --read without --load. Exits
    with status 2 for bad input, 1 for a failed run, 130 for Ctrl-C.
    """
    parser = make_parser(description, nets, experiments)
    args = parser.parse_args(argv)
    published = args.read and args.load is None
    net_class, experiment = nets[args.net or [*nets][-1 if published else 0]]
    if published:
        args.load = RESULTS / f"{experiment}-seed0.pt"
        if not args.load.exists():
            parser.error(f"no weights of --net {args.net} are published; name "
                         "a file of yours with --load")
    given = [name for name in (*RECIPE, *FILES)
             if getattr(args, name) is not None]
    for name in set(RECIPE).difference(given):
        setattr(args, name, getattr(experiments[experiment], name))
    try:
        if args.load is not None and given:
            raise ValueError("--load and --read do not train; leave out --"
                             + ", --".join(given))
        check_arguments(args)
        args.device = find_device(args.device)
        if args.load is not None:
            parser.exit(use_weights(parser, args, net_class(), loss_function))
        train_and_keep(args, net_class, loss_function)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    except BrokenPipeError:
        os._exit(141)  # as if by SIGPIPE; a normal exit would fail to flush
    except (FloatingPointError, OSError, RuntimeError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\n{parser.prog}: interrupted\n")


def check_arguments(args):
    """Raises ValueError if a number is out of range or a file unusable."""
    for flag, _, least, most, _, _ in OPTIONS:
        value = getattr(args, flag[2:].replace("-", "_"))
        if not least <= value <= most:
            raise ValueError(f"{flag} {value} is not from {least} to {most}")
    paths = [path for name, path in vars(args).items()
             if name in FILES and path is not None]
    for path in paths:
        check_writable(path)
    if len(set(map(os.path.realpath, paths))) < len(paths):
        raise ValueError(f"--{', --'.join(FILES)} must name different files")


def find_device(name):
    """Returns the device that --device asks for; raises ValueError if this
    machine has none."""
    here = [kind for kind in ("cuda", "mps")
            if getattr(torch, kind).is_available()] + ["cpu"]
    if name not in ("auto", *here):
        raise ValueError(f"--device {name}: torch finds no {name} device on "
                         f"this machine, only {', '.join(here)}")
    return here[0] if name == "auto" else name


def use_weights(parser, args, net, loss_function):
    """Loads weights into net, then reads pictures or tests the net; returns
    the exit status."""
    load_weights(net, args.load)
    net.to(args.device)
    if not args.read:
        test_data = Subset(get_dataset(train=False), range(args.test_size))
        test_network(net, get_loader(test_data, TEST_BATCH_SIZE, False))
        return 0
    status = 0
    for path in args.read:
        try:
            image = read_digit(path).to(args.device)
        except (FileNotFoundError, ValueError) as error:
            print(f"{parser.prog}: error: {error}", file=sys.stderr)
            status = 2
            continue
        with testing(net):
            outputs = net(image[None])[0]
        if isinstance(loss_function, torch.nn.CrossEntropyLoss):
            outputs = outputs.softmax(dim=0)  # the dense net needs none
        print(f"{path}: {outputs.argmax()} ({outputs.max():.3f})", flush=True)
    return status


def train_and_keep(args, net_class, loss_function):
    """Trains a net as args say, and writes the files that they name."""
    settings = {name: value for name, value in vars(args).items()
                if name not in ("net", "load", "read", *FILES)}
    threads = torch.get_num_threads()
    print(f"{net_class.__name__}, {threads} thread{'s' * (threads > 1)},",
          ", ".join(f"{name} {value}" for name, value in settings.items()),
          flush=True)
    train_data = get_extended_dataset() if args.extend_data else get_dataset()
    train_data = Subset(train_data, range(
        args.train_size * len(train_data) // 60000))
    test_data = Subset(get_dataset(train=False), range(args.test_size))
    torch.manual_seed(args.seed)
    net, history = net_class().to(args.device), {}
    train_and_test_network(
        net, args.epochs, args.lr, args.wd, loss_function,
        get_loader(train_data), get_loader(test_data, TEST_BATCH_SIZE, False),
        args.checkpoint, history)
    if args.save:
        save(args.save, {name: weights.cpu().contiguous()
                         for name, weights in net.state_dict().items()})
    if args.record:
        write_record(args.record, net, settings, history)
