"""What the networks share: data, training, files, the command line.

These words mean the same in every file of this project.

    images    (B, 1, 28, 28) float32, from 0 (background) to 1 (ink)
    labels    (B,) int64, the digits that the images show
    scores    (B, 10), a network's output: its answer is the highest one
    accuracy  fraction of the test images that are answered correctly
    epoch     one pass over the training images, in batches of ten
    lr, wd    learning rate and weight decay of gradient descent
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
TEST_BATCH_SIZE = 1000  # changes how fast a test is, not its outcome
DATA = Path(__file__).resolve().parent / "data"
RESULTS = DATA.parent / "results"
UNPACKED_MD5 = (  # in the order of MNIST.resources, which has the archives'
    "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637")
PICTURES = "PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"
TO_FLOAT = ToTensor()  # PIL image -> (1, 28, 28) float32 in [0, 1]


# 1. Data
#
# MNIST, its images shifted by a pixel, and digits of your own. Call
# get_dataset, get_extended_dataset, get_loader, read_digit, or one of the
# three ready-made loaders.

def get_dataset(root=DATA, train=True, transform=TO_FLOAT, download=True):
    """Returns MNIST, whose items are (image (1, 28, 28), label int).

    A transform of your own gets a PIL image. RuntimeError names a damaged
    file that can be neither repaired nor downloaded.
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
    """Unpacks damaged or missing files from their archives. torchvision only
    checks that files exist, and downloads those that do not."""
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
    """Returns MNIST with each image five times, moved by each of SHIFTS.

    Image i becomes the items 5i to 5i + 4. Items and errors are those of
    get_dataset. The 300,000 training images take 235 MB.
    """
    dataset = get_dataset(root, train, transform, download)
    shape = len(dataset), len(SHIFTS), IMAGE_WIDTH, IMAGE_WIDTH
    images = dataset.data.new_empty(shape)
    for k, shift in enumerate(SHIFTS):
        images[:, k] = shift(dataset.data)
    dataset.data = images.flatten(0, 1)
    dataset.targets = dataset.targets.repeat_interleave(len(SHIFTS))
    return dataset


def get_loader(dataset, batch_size=BATCH_SIZE, shuffle=True):
    """Returns a loader of (images, labels) batches; the last may be smaller.

    Takes any map-style dataset. Every epoch has a new order, drawn from
    torch's global random generator.
    """
    whole = dataset
    while type(whole) is Subset:
        whole = whole.dataset
    if (type(whole) is MNIST and whole.target_transform is None
            and type(whole.transform) is ToTensor):
        return MemoryLoader(dataset, batch_size, shuffle)
    return DataLoader(dataset, batch_size, shuffle)


class MemoryLoader(DataLoader):
    """A fast DataLoader of MNIST or a Subset of it: it selects and scales
    about a thousand images at once, then splits them into batches."""
    def __iter__(self):
        dataset, order, size = self.dataset, self.sampler, self.batch_size
        while isinstance(dataset, Subset):
            order = [dataset.indices[i] for i in order]
            dataset = dataset.dataset
        order = torch.tensor([int(i) for i in order], dtype=torch.int64)
        order = torch.arange(len(dataset))[order]  # -1 becomes the last
        for part in order.split(max(1000 // size, 1) * size):
            images = dataset.data.index_select(0, part).unsqueeze(1).float()
            yield from zip(images.div_(255).split(size),
                           dataset.targets[part].split(size))


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
    light on dark. ValueError says what is wrong with the file.
    """
    try:
        return place_digit(find_digit(remove_paper(open_picture(path))))
    except FileNotFoundError:
        raise
    except Exception as error:  # damage makes Pillow raise nearly anything
        raise ValueError(f"cannot read a digit in {path}: {error}") from error


def open_picture(path):
    """Returns a picture (height, width) in grey, from 0 (black) to 1, turned
    upright by its EXIF tag; the longer side has 200 pixels."""
    with warnings.catch_warnings(action="ignore"), Image.open(
            path, formats=PICTURES) as picture:
        width, height = picture.size
        if min(width, height) < 8:
            raise ValueError(f"{width}x{height} pixels are too few")
        if width * height > 50e6:
            raise ValueError(f"{width}x{height} pixels are too many")
        picture = ImageOps.exif_transpose(picture)
        if picture.mode[0] in "IF":  # more than 8 bits a pixel
            grey = np.asarray(picture, dtype=np.float32)
            picture = Image.fromarray(255 * grey / max(grey.max(), 1))
        else:  # what is transparent becomes the paper that shows the digit
            picture = picture.convert("RGBA")
            picture = max((Image.alpha_composite(
                Image.new("RGBA", picture.size, paper), picture).convert("L")
                for paper in ("white", "black")), key=np.std)
        picture = ImageOps.contain(picture, (200, 200))
    return torch.from_numpy(np.array(picture, dtype=np.float32) / 255)


def remove_paper(grey):
    """Returns the ink (height, width) of a picture, from 0 (paper) to 1.

    The paper's shade is a smooth quadratic surface, which follows uneven
    light. It is fitted to the border first, then to every pixel near it.
    """
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, side)
                            for side in grey.shape), indexing="ij")
    terms = torch.stack([x ** 0, x, y, x * x, x * y, y * y], dim=-1)
    paper = torch.maximum(x.abs(), y.abs()) > 0.8
    for _ in range(4):
        fit = torch.linalg.lstsq(terms[paper], grey[paper, None]).solution
        ink = grey - (terms @ fit)[..., 0]
        noise = ink[paper].abs().median()
        paper = ink.abs() < 5 * noise + 0.005
    ink = ink * ink.pow(3).sum().sign()  # the strongest contrast is the ink
    ink = avg_pool2d(pad(ink[None], (1, 1, 1, 1), "replicate"), 3, 1)[0]
    level = ink[ink > ink.max() / 2].median()
    if not level > max(0.05, 3 * noise):
        raise ValueError("it is blank, or has too little contrast")
    return (ink / level).clamp(0, 1)


def find_digit(ink):
    """Returns the part of the ink (height, width) that is the digit: the
    largest connected shape, and others of at least 15 % of its area."""
    mask = grow(ink) > 0.5
    labels = mask * torch.arange(1.0, ink.numel() + 1).view_as(ink)
    while (grown := mask * grow(labels)).ne(labels).any():
        labels = grown  # in the end each shape has one number
    areas = labels.long().flatten().bincount()
    areas[0] = 0
    ink = ink * (areas > 0.15 * areas.max())[labels.long()]
    rows, columns = ((ink > 0.5).any(dim=axis).nonzero() for axis in (1, 0))
    return ink[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]


def place_digit(ink):
    """Returns the ink (height, width) of a digit as an image (1, 28, 28):
    scaled to fit 20x20 pixels, with its centre of mass in the middle."""
    while ink.sum() > 0.3 * max(ink.shape) ** 2:
        ink = 1 - grow(1 - ink)  # a pen thicker than MNIST's
    size = [max(1, round(20 * side / max(ink.shape))) for side in ink.shape]
    ink = interpolate(ink[None, None], size, mode="bilinear",
                      antialias=True)[0, 0].clamp(min=0)
    ink = pad(ink / ink.max(), (14, 14, 14, 14))
    top, left = (
        round((mass @ torch.arange(0.0, len(mass)) / mass.sum()).item()) - 14
        for mass in (ink.sum(dim=1), ink.sum(dim=0)))
    return ink[None, top:top + IMAGE_WIDTH, left:left + IMAGE_WIDTH]


def grow(ink):
    """Returns the ink (height, width) grown by a pixel on all sides."""
    return max_pool2d(ink[None], 3, 1, 1)[0]


# 2. Training and testing
#
# Gradient descent, and what a trained net answers. Call
# train_and_test_network, or train_network with an optimizer of your own; then
# test_network, predict, vote.

class PlainSGD(torch.optim.SGD):
    """torch.optim.SGD for no momentum: the same weights up to rounding,
    without the bookkeeping that takes longer than a small net's update."""
    def __init__(self, parameters, lr, weight_decay=0):
        super().__init__(parameters, lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self):
        """Decays the weights, and moves them downhill."""
        for group in self.param_groups:
            lr, wd = group["lr"], group["weight_decay"]
            for weights in group["params"]:
                if weights.grad is not None:
                    if wd:
                        weights.mul_(1 - lr * wd)
                    weights.add_(weights.grad, alpha=-lr)

    step.hooked = True  # or torch wraps it, for profilers: 0.05 ms a step

    def zero_grad(self, set_to_none=True):
        """Forgets the gradients."""
        for group in self.param_groups:
            for weights in group["params"]:
                weights.grad = None


def train_and_test_network(net, num_epochs=60, lr=0.1, wd=0,
                           loss_function=torch.nn.CrossEntropyLoss(),
                           train_loader=None, test_loader=None,
                           checkpoint=None, history=None):
    """Trains net by gradient descent, on MNIST by default; tests it after
    every epoch and at the end; returns the accuracies. See train_network."""
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
    """Trains model, testing it after every epoch; returns the accuracies.

    A loader is an iterable of (images, labels) batches. The file checkpoint
    is written after every epoch; if it is there already, training goes on
    from it, and ends as if never interrupted. The dict history gets the lists
    loss (the mean of the training batches; None where an old checkpoint did
    not keep it), test_accuracy and seconds (training and testing), a value an
    epoch.

    Raises FloatingPointError at the end of an epoch whose loss or weights
    became nan or infinite, ValueError for a checkpoint of another run.
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
    """Trains model on every batch once, and returns the mean of their losses;
    the errors are train_network's."""
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
            if not bar.disable and batches % 100 == 0:
                bar.set_postfix({"loss": total.item() / batches},
                                refresh=False)
    if batches == 0:
        raise ValueError(f"{info}: the loader gave no batch (any more)")
    weights = sum(tensor.detach().sum() for tensor in model.parameters())
    if not (total + weights).isfinite():
        raise FloatingPointError(
            f"{info}: training diverged (mean loss {total.item() / batches}, "
            f"sum of weights {weights}); try a lower learning rate")
    return total.item() / batches


@contextmanager
def testing(model):
    """Switches learning and dropout off, and leaves no trace afterwards."""
    was_training = model.training
    gpus = range(torch.cuda.device_count())
    with torch.random.fork_rng(gpus), torch.no_grad():
        try:
            yield model.eval()
        finally:
            model.train(was_training)


def test_network(model, data_loader, epoch_info=""):
    """Prints and returns the accuracy of model on the loader's images."""
    correct = total = 0
    with testing(model):
        for images, labels in data_loader:
            correct += (predict(model, images) == labels.cpu()).sum().item()
            total += len(labels)
    if total == 0:
        raise ValueError("the test loader gave no image")
    info = f", {epoch_info}" if epoch_info else ""
    print(f"Test data results: {correct / total}{info}", flush=True)
    return correct / total


def predict(model, images):
    """Returns the digits (B,) int64 that model sees in images, on the CPU."""
    device = device_of(model)
    with testing(model):  # 250 at a time take half as long as 1,000
        return torch.cat([model(part.to(device)).argmax(1).cpu()
                          for part in images.split(250)])


def vote(predictions):
    """Returns the digits (images,) int64 that most of the nets see.

    predictions (nets, images) int64; ties go to the smallest digit, as in
    torch.mode on a CPU. ValueError for other shapes, types and digits.
    """
    shape, dtype = tuple(predictions.shape), predictions.dtype
    if (len(shape) != 2 or shape[0] == 0 or dtype != torch.int64
            or not ((predictions >= 0) & (predictions < 10)).all()):
        raise ValueError("predictions must be (nets, images), int64, digits "
                         f"from 0 to 9; these are {shape}, {dtype}")
    # torch.mode decides ties otherwise on a GPU; argmax takes the first
    return one_hot(predictions, 10).sum(0).argmax(1)


def device_of(model):
    """Returns the device of a model's weights, or the CPU if it has none."""
    return next(model.parameters(), torch.empty(0)).device


# 3. Keeping runs
#
# Checkpoints, weights and records in files, which are written whole or not at
# all. Call load_weights and read_record; --checkpoint, --save and --record of
# the command line write what they read.

@contextmanager
def replacing(path):
    """Yields a file to write, which takes path's place once it is whole."""
    path = Path(path).resolve()  # so that a link stays a link
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
            raise OSError("it exists and is not a file")
        temporary = Path(f"{file}.{os.getpid()}.tmp")
        temporary.touch()
        temporary.unlink()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot write {path}: {reason}") from error


def save(path, content):
    """Writes content as torch.save does; OSError if it cannot be written."""
    buffer = io.BytesIO()  # to a file, torch raises errors of its own
    torch.save(content, buffer)
    with replacing(path) as file:
        file.write(buffer.getbuffer())


def load(path):
    """Returns what save wrote, on the CPU; any exception if it is damaged."""
    with zipfile.ZipFile(path) as archive:
        if archive.testzip():  # torch.load checks no checksum
            raise zipfile.BadZipFile("wrong checksum")
    return torch.load(path, "cpu", weights_only=True)


def load_weights(net, path):
    """Loads the weights that --save wrote into net.

    ValueError if the file is damaged or holds another kind of net,
    FileNotFoundError if there is none.
    """
    try:
        net.load_state_dict(load(path))
    except FileNotFoundError:
        raise
    except Exception as error:  # damage makes torch raise nearly anything
        raise ValueError(f"{path} does not hold the weights of a "
                         f"{type(net).__name__}; check the file and the net"
                         ) from error


def describe_run(model, loss_function, optimizer, data_loader, test_loader):
    """Returns by name the settings that a run must keep when it resumes."""
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
    """Writes all that a run needs to resume as if never interrupted."""
    save(path, {
        "settings": settings, "history": history,
        "model": model.state_dict(), "optimizer": optimizer.state_dict(),
        "random": [torch.get_rng_state(), *torch.cuda.get_rng_state_all()],
        "threads": torch.get_num_threads()})


def resume(path, settings, num_epochs, model, optimizer, history):
    """Restores the run of a checkpoint, if there is one."""
    check_writable(path)
    if not Path(path).exists():
        return
    try:
        saved = load(path)
        there, kept = saved["settings"], saved["history"]
    except Exception as error:  # damage makes torch raise nearly anything
        raise ValueError(f"{path} is damaged or not a checkpoint; move it "
                         "away or name another file") from error
    for name, here in settings.items():
        if there.get(name) != here:
            raise ValueError(f"{path} is of another run: {name} was "
                             f"{there.get(name)}, not {here}; go back or name "
                             "another file")
    done, threads = len(kept["seconds"]), torch.get_num_threads()
    if done > num_epochs:
        raise ValueError(f"{path} has {done} epochs, more than {num_epochs}")
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    history.update({"loss": [None] * done, **kept})
    torch.set_rng_state(saved["random"][0])
    torch.cuda.set_rng_state_all(saved["random"][1:])
    print(f"Going on from {path} after epoch {done}/{num_epochs}", flush=True)
    if saved.get("threads", threads) != threads:  # old ones do not say
        print(f"The number of threads was {saved['threads']} and is {threads} "
              "now; expect other rounding", flush=True)


def write_record(path, net, settings, history):
    """Writes a run as JSON: what was run, how it went, and on what.

    net (class), epochs, lr, wd, extend_data, seed, train_size, test_size,
    batch_size, device, threads, processor, python, torch: as they were
    loss, test_accuracy, seconds: one an epoch, as train_network keeps them
    predictions: the trained net's answers for the 10,000 test images as a
        string of digits, computed on the CPU in float32
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
    """Returns the dict that write_record wrote; ValueError if the file is
    damaged."""
    try:
        return json.loads(Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged or not a record: {error}"
                         ) from error


def processor():
    """Returns the processor's name, or at least its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    return name[1] if name else platform.processor() or platform.machine()


# 4. Command line
#
# What the scripts of the dense and the convolutional nets do with their
# flags: train a net, test saved weights, or read pictures. make_parser and
# run_command_line are for the scripts; a user calls a script's main.

OPTIONS = (  # flag, type, least, most, default (None: the recipe's), help
    ("--epochs", int, 1, 10**9, None, "passes over the training images"),
    ("--lr", float, 0, 1e30, None, "learning rate"),
    ("--wd", float, 0, 1e30, None, "weight decay"),
    ("--seed", int, 0, 2**63 - 1, 0, "fixes weights, order and dropout"),
    ("--train-size", int, 1, 60000, 60000, "images to train on, unshifted"),
    ("--test-size", int, 1, 10000, 10000, "images to test on"))
RECIPE = "epochs", "lr", "wd", "extend_data"
FILES = {"checkpoint": "save the run after every epoch, or resume it",
         "save": "write the trained net's state_dict",
         "record": "write the run as JSON"}


def recipe_text(recipe):
    """Returns a row of the table of experiments in words, without its net."""
    wd = np.format_float_positional(recipe.wd, trim="-")  # not 5e-05
    extended = ", extended" if recipe.extend_data else ""
    return f"{recipe.epochs} epochs, lr {recipe.lr}, wd {wd}{extended}"


def make_parser(description, recipes):
    """Returns a parser of the flags that all networks share.

    recipes {name: row of the table of experiments}, for the help
    """
    epilog = "\n".join(f"  {name:8}{recipe_text(recipe)}"
                       for name, recipe in recipes.items())
    parser = argparse.ArgumentParser(
        description=description, epilog=f"recipes:\n{epilog}",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: parser.exit(  # the usage would bury it
        2, f"{parser.prog}: error: {message} (--help lists the flags)\n")
    if len(recipes) > 1:
        parser.add_argument("--net", choices=recipes,
                            help="default: simple, but final to --read")
    for flag, kind, _, _, default, text in OPTIONS:
        parser.add_argument(flag, type=kind, default=default, help=text,
                            metavar="N" if kind is int else "RATE")
    parser.add_argument("--extend_data", action=argparse.BooleanOptionalAction,
                        help="add four copies of each image, shifted a pixel")
    parser.add_argument("--device", default="auto",
                        choices=("auto", "cpu", "cuda", "mps"),
                        help="auto, the default, prefers an accelerator")
    for name, text in FILES.items():
        parser.add_argument(f"--{name}", metavar="FILE", help=text)
    parser.add_argument("--load", metavar="FILE", help="do not train; test "
                        "the weights in a file that --save wrote")
    parser.add_argument("--read", metavar="FILE", nargs="+",
                        help="do not train; read the digits in pictures, with "
                        "the weights of --load or a published run")
    return parser


def run_command_line(parser, args, net_class, recipe, loss_function):
    """Does what args ask for, with the recipe's value for each flag left out.

    Exits with status 2 for bad input, 1 for a failed run, 130 for Ctrl-C.
    """
    given = [name for name in (*RECIPE, *FILES)
             if getattr(args, name) is not None]
    for name in RECIPE:
        if getattr(args, name) is None:
            setattr(args, name, getattr(recipe, name))
    try:
        if args.load and given:
            raise ValueError("--read and --load do not train; leave out --"
                             + ", --".join(given))
        check_arguments(args)
        args.device = find_device(args.device)
        if args.load:
            parser.exit(use_weights(parser, args, net_class(), loss_function))
        train_and_keep(args, net_class, loss_function)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    except (FloatingPointError, OSError, RuntimeError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\n{parser.prog}: interrupted\n")


def check_arguments(args):
    """Raises ValueError if a value is out of range or a file unusable."""
    for flag, _, least, most, _, _ in OPTIONS:
        value = getattr(args, flag[2:].replace("-", "_"))
        if not least <= value <= most:
            raise ValueError(f"{flag} {value} is not from {least} to {most}")
    paths = [path for name, path in vars(args).items()
             if name in FILES and path is not None]
    for path in paths:
        check_writable(path)
    if len(set(map(os.path.realpath, paths))) < len(paths):
        raise ValueError(f"--{', --'.join(FILES)} need a file each")


def find_device(name):
    """Returns the device that --device names; ValueError if it is not here."""
    here = [kind for kind in ("cuda", "mps")
            if getattr(torch, kind).is_available()] + ["cpu"]
    if name not in ("auto", *here):
        raise ValueError(f"--device {name}: torch finds no such device on "
                         f"this machine, only {', '.join(here)}")
    return here[0] if name == "auto" else name


def use_weights(parser, args, net, loss_function):
    """Loads weights into net, then reads the digits in pictures or tests the
    net; returns the exit status."""
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
