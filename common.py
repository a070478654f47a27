"""What all networks share: training and testing, then the data.

These words mean the same in every file of this project.

    images    (B, 1, 28, 28) float32, from 0 (background) to 1 (ink)
    labels    (B,) int64, the digits that the images show
    loader    any iterable of batches (images, labels)
    outputs   (B, 10), a value for each digit; the highest wins. They are
              scores (logits) if a net leaves the softmax to its loss
    accuracy  the fraction of the test images that a network gets right
    epoch     one pass over the training images, in batches of ten
    lr, wd    the learning rate and the weight decay
"""

import time
from collections import namedtuple
from contextlib import contextmanager
from math import ceil
from operator import length_hint
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.nn.functional import pad
from torch.utils.data import DataLoader, RandomSampler, Subset
from torchvision.datasets import KMNIST, MNIST, FashionMNIST
from torchvision.datasets.utils import check_integrity, extract_archive
from torchvision.transforms import ToTensor
from tqdm.auto import tqdm

IMAGE_WIDTH = 28
BATCH_SIZE = 10
TEST_BATCH_SIZE = 1000  # affects speed only
DATA = Path(__file__).resolve().parent / "data"


# Training and testing

def train_and_test_network(net, num_epochs=60, lr=0.1, wd=0,
                           loss_function=torch.nn.CrossEntropyLoss(),
                           train_loader=None, test_loader=None,
                           history=None, after_epoch=None, threads=1):
    """Trains net by gradient descent, on MNIST by default, and tests it after
    every epoch and at the end. Returns the accuracies; see train_network.
    threads: of the processor; None keeps torch's setting."""
    train_loader = get_train_loader() if train_loader is None else train_loader
    test_loader = get_test_loader() if test_loader is None else test_loader
    sgd = PlainSGD(net.parameters(), lr, wd)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        accuracies = train_network(net, train_loader, num_epochs,
                                   loss_function, sgd, test_loader, history,
                                   after_epoch)
        print()
        test_network(net, test_loader)
    finally:
        torch.set_num_threads(before)
    return accuracies


def train_network(model, data_loader, num_epochs, loss_function, optimizer,
                  test_loader=None, history=None, after_epoch=None):
    """Trains model and tests it after every epoch; returns the accuracies.

    test_loader: None stands for MNIST's test images
    history: a dict that gets lists with a value for each epoch: loss (mean of
        its batches), test_accuracy and seconds (for training and testing).
        Epochs already in it are not trained again; a larger num_epochs goes on
    after_epoch: called, without arguments, after every epoch

    Raises ValueError for an empty loader, FloatingPointError for divergence.
    """
    test_loader = get_test_loader() if test_loader is None else test_loader
    history = {} if history is None else history
    for name in "loss", "test_accuracy", "seconds":
        history.setdefault(name, [])
    for epoch in range(len(history["test_accuracy"]) + 1, num_epochs + 1):
        start = time.perf_counter()
        loss = train_epoch(model, data_loader, loss_function, optimizer,
                           epoch, num_epochs)
        accuracy = measure_accuracy(model, test_loader)
        history["loss"].append(loss)
        history["test_accuracy"].append(accuracy)
        history["seconds"].append(time.perf_counter() - start)
        if after_epoch is not None:
            after_epoch()
        print_accuracy(accuracy, f"Epoch {epoch}/{num_epochs}")
    return list(history["test_accuracy"])


def train_epoch(model, data_loader, loss_function, optimizer, epoch=1,
                num_epochs=1):
    """Trains model for an epoch; returns the mean loss of its batches. In a
    terminal or a notebook, a bar shows the time left for the whole run."""
    info, device = f"Epoch {epoch}/{num_epochs}", device_of(model)
    batches = total = 0
    size = length_hint(data_loader)
    model.train()
    with tqdm(data_loader, info, num_epochs * size or None, leave=False,
              initial=(epoch - 1) * size, disable=None) as bar:
        for batches, (images, labels) in enumerate(bar, start=1):
            labels = check_labels(labels, len(images)).to(device)
            loss = loss_function(model(images.to(device)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
            if batches % 100 == 0:
                bar.set_postfix(loss=total.item() / batches, refresh=False)
    if batches == 0:
        raise ValueError(f"{info}: the training loader is empty (an iterator "
                         "can be read only once)")
    mean = total.item() / batches
    if not (total.isfinite() and all(weights.isfinite().all()
                                     for weights in model.parameters())):
        raise FloatingPointError(
            f"{info}: training diverged (mean loss {mean}); try a lower "
            "learning rate or weight decay, check that the loss suits the "
            "net's outputs, and look for nan in the images")
    return mean


class PlainSGD:
    """Gradient descent: what torch.optim.SGD computes, up to rounding, without
    its bookkeeping, which costs more than a small net's update."""
    def __init__(self, parameters, lr, weight_decay=0):
        self.parameters = list(parameters)
        self.lr, self.weight_decay = lr, weight_decay
        if isinstance(parameters, torch.Tensor) or not self.parameters or (
                not all(map(torch.is_tensor, self.parameters))):
            raise ValueError("parameters must be a list of tensors; a net's "
                             "layers belong in an nn.ModuleList, not a list")
        if not (lr >= 0 and weight_decay >= 0):
            raise ValueError(f"the learning rate {lr} and the weight decay "
                             f"{weight_decay} must be at least 0")

    def zero_grad(self):
        """Clears the previous batch's gradients."""
        for weights in self.parameters:
            weights.grad = None

    @torch.no_grad()
    def step(self):
        """Applies weight decay, then moves the weights downhill."""
        for weights in self.parameters:
            if weights.grad is not None:
                if self.weight_decay:
                    weights.mul_(1 - self.lr * self.weight_decay)
                weights.add_(weights.grad, alpha=-self.lr)


def test_network(model, data_loader, epoch_info=""):
    """Prints and returns the accuracy of model on a loader's images."""
    accuracy = measure_accuracy(model, data_loader)
    print_accuracy(accuracy, epoch_info)
    return accuracy


def measure_accuracy(model, data_loader):
    """Returns the accuracy of model on a loader's images. Raises ValueError
    if the loader is empty, or if a label is not the number of an output."""
    correct = total = 0
    with testing(model):
        for images, labels in data_loader:
            labels = check_labels(labels, len(images)).cpu()
            outputs = compute_outputs(model, images)
            if not ((labels >= 0) & (labels < outputs.shape[1])).all():
                raise ValueError(f"labels {labels.min()} to {labels.max()} do "
                                 f"not fit {outputs.shape[1]} outputs")
            correct += (outputs.argmax(dim=1) == labels).sum().item()
            total += len(labels)
    if total == 0:
        raise ValueError("the test loader is empty (an iterator can be read "
                         "only once)")
    return correct / total


def print_accuracy(accuracy, epoch_info):
    """Prints a test's result, unrounded."""
    info = f", {epoch_info}" if epoch_info else ""
    print(f"Test data results: {accuracy}{info}", flush=True)


def predict(model, images):
    """Returns the digits (B,) int64 that model reads in images, on the CPU."""
    return compute_outputs(model, images).argmax(dim=1)


def compute_outputs(model, images):
    """Returns model's outputs (B, 10) for images, on the CPU, in evaluation
    mode and without gradients. Softmax turns scores into probabilities. Raises
    ValueError if they are not a row for each image, or contain nan."""
    with testing(model):  # 250 at a time take half as long as 1,000
        outputs = torch.cat([model(part.to(device_of(model))).cpu()
                             for part in images.split(250)])
    if outputs.dim() != 2 or len(outputs) != len(images):
        raise ValueError(f"{len(images)} images gave outputs of shape "
                         f"{tuple(outputs.shape)}, not a row for each")
    if outputs.isnan().any():
        raise ValueError("outputs contain nan: check the weights and images")
    return outputs


@contextmanager
def testing(model):
    """Puts model in evaluation mode, without gradients; afterwards restores
    its modes and the random generators."""
    modes = [(module, module.training) for module in model.modules()]
    gpus = [device_of(model)] if device_of(model).type == "cuda" else []
    with torch.random.fork_rng(gpus), torch.no_grad():
        try:
            yield model.eval()
        finally:
            for module, mode in modes:
                module.training = mode


def check_labels(labels, count):
    """Returns labels (count,) as int64. Raises ValueError if they have another
    shape, or are not a tensor of integers."""
    if (not isinstance(labels, torch.Tensor) or labels.is_floating_point()
            or labels.shape != (count,)):
        raise ValueError(f"labels must be integers of shape ({count},), as "
                         f"get_loader(dataset) gives them, not {labels}")
    return labels.long()


def device_of(model):
    """Returns the device of a model's weights; the CPU if it has none."""
    return next(model.parameters(), torch.empty(0)).device


# Data

def get_dataset(root=DATA, train=True, transform=ToTensor(), download=True):
    """Returns MNIST, whose items are (image (1, 28, 28), label int).

    A transform of your own gets a PIL image. Raises RuntimeError if a file and
    its archive are damaged, or if it is missing and cannot be downloaded.
    """
    root = Path(root).expanduser()
    raw = root / "MNIST" / "raw"
    try:
        repair_files(raw)
        return MNIST(root, train, transform, download=download)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"cannot get MNIST: {' '.join(str(error).split())}; {raw} must be "
            "writable and hold the archives (git checkout -- data), or be "
            "empty and downloadable") from error


def repair_files(raw):
    """Unpacks missing and damaged files, each whole or not at all; torchvision
    checks only that they exist."""
    for (archive, md5), unpacked_md5 in zip(MNIST.resources, UNPACKED_MD5):
        file = raw / Path(archive).stem
        if check_integrity(file, unpacked_md5):
            continue
        if check_integrity(raw / archive, md5):
            with TemporaryDirectory(suffix=".tmp", dir=raw) as folder:
                extract_archive(raw / archive, folder)
                Path(folder, file.name).replace(file)
        elif file.exists():
            raise RuntimeError(f"{file} is damaged, its archive not whole")


UNPACKED_MD5 = (  # in the order of MNIST.resources, which has the archives'
    "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637")


def identity(images):
    """Returns the images (..., 28, 28) as they are."""
    return images


def shift_right(images):
    """Returns the images moved right by a pixel; what enters is 0."""
    return shift(images, (1, -1, 0, 0))


def shift_left(images):
    """Returns the images moved left by a pixel; what enters is 0."""
    return shift(images, (-1, 1, 0, 0))


def shift_up(images):
    """Returns the images moved up by a pixel; what enters is 0."""
    return shift(images, (0, 0, -1, 1))


def shift_down(images):
    """Returns the images moved down by a pixel; what enters is 0."""
    return shift(images, (0, 0, 1, -1))


def shift(images, padding):
    """Returns images (..., 28, 28) with columns and rows of background (0)
    added or, where negative, removed: on the left, right, top and bottom."""
    if images.shape[-2:] != (IMAGE_WIDTH, IMAGE_WIDTH):
        raise ValueError("images must be (..., 28, 28), not "
                         f"{tuple(images.shape)}")
    return pad(images, padding)


SHIFTS = identity, shift_right, shift_left, shift_up, shift_down


def get_extended_dataset(root=DATA, train=True, transform=ToTensor(),
                         download=True):
    """Returns MNIST with five copies of each image, one for each of SHIFTS.

    Image i becomes items 5i to 5i + 4. Items and errors are those of
    get_dataset. All of the training images take 235 MB.
    """
    dataset = get_dataset(root, train, transform, download)
    dataset.data = torch.stack([move(dataset.data) for move in SHIFTS],
                               dim=1).flatten(0, 1)
    dataset.targets = dataset.targets.repeat_interleave(len(SHIFTS))
    return dataset


def get_train_loader():
    """Returns a loader of the 60,000 training images, shuffled."""
    return get_loader(get_dataset())


def get_extended_train_loader():
    """Returns a loader of the training images and their shifted copies."""
    return get_loader(get_extended_dataset())


def get_test_loader():
    """Returns a loader of the 10,000 test images, in their order."""
    return get_loader(get_dataset(train=False), TEST_BATCH_SIZE, shuffle=False)


def get_loader(dataset, batch_size=BATCH_SIZE, shuffle=True):
    """Returns a loader of (images, labels) batches; the last may be smaller.

    Takes any map-style dataset. MNIST, FashionMNIST and KMNIST with ToTensor,
    and Subsets of them get a fast loader, which does not notice later changes;
    all others get torch's DataLoader. With shuffle, each epoch draws a new
    order from torch's global random generator; the two kinds draw different
    ones from a seed.
    """
    found = find_images(dataset)
    if found is None:
        return DataLoader(dataset, batch_size, shuffle)
    return MemoryLoader(*found, batch_size, shuffle)


class MemoryLoader:
    """The fast loader of get_loader: it prepares some 1,000 images at once."""
    def __init__(self, data, targets, batch_size, shuffle):
        self.data, self.targets = data, targets
        self.batch_size, self.shuffle = batch_size, shuffle

    def __len__(self):
        return ceil(len(self.data) / self.batch_size)

    def __iter__(self):
        size, dtype = self.batch_size, torch.get_default_dtype()
        items = range(len(self.data))
        order = torch.tensor([*RandomSampler(items)] if self.shuffle
                             else items)
        for part in order.split(max(1000 // size, 1) * size):
            images = self.data[part].unsqueeze(1).to(dtype).div_(255)
            yield from zip(images.split(size), self.targets[part].split(size))


def find_images(dataset):
    """Returns the images (n, 28, 28) uint8 and labels (n,) of MNIST or its
    kin, or of a Subset of it; None for anything else."""
    if type(dataset) is Subset:
        found = find_images(dataset.dataset)
        items = torch.as_tensor(dataset.indices)
        if found and items.dtype == torch.int64:
            return found[0][items], found[1][items]
    elif (type(dataset) in (MNIST, FashionMNIST, KMNIST)
          and type(dataset.transform) is ToTensor
          and dataset.target_transform is None
          and dataset.data.dtype == torch.uint8):
        return dataset.data, torch.as_tensor(dataset.targets).long()


# How an experiment trains; whether its net's outputs are scores; and the
# accuracies, in per cent, that the book and the article give for it
Recipe = namedtuple(
    "Recipe", "net_class epochs lr wd extend_data distort loss_function "
    "scores nielsen article",
    defaults=(False, torch.nn.CrossEntropyLoss(), True, None, None))
