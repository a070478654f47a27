"""What all networks share: training and testing, then the data.

These words mean the same in every file of this project.

    images    (B, 1, 28, 28) float32, from 0 (background) to 1 (ink)
    labels    (B,) int64, the digits that the images show
    loader    any iterable of batches (images, labels)
    outputs   (B, 10), a value for each digit, of which the highest wins;
              scores (logits) if a net leaves the softmax to its loss
    accuracy  the fraction of the test images that a network gets right
    epoch     one pass over the training images, in batches of ten
    lr, wd    the learning rate and the weight decay
"""

import gzip
import sys
import time
from collections import namedtuple
from contextlib import contextmanager
from math import isfinite
from operator import length_hint
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.nn.functional import one_hot, pad
from torch.utils.data import (DataLoader, RandomSampler, SequentialSampler,
                              Subset, default_collate)
from torchvision.datasets import MNIST
from torchvision.datasets.utils import check_integrity
from torchvision.transforms import ToTensor
from tqdm.auto import tqdm

IMAGE_WIDTH = 28
BATCH_SIZE = 10
INTEGERS = torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64
TEST_BATCH_SIZE = 1000  # affects speed only
DATA = Path(__file__).resolve().parent / "data"

# How an experiment trains, and whether its net's outputs are scores
Recipe = namedtuple("Recipe", "net_class epochs lr wd extend_data distort "
                    "loss_function scores",
                    defaults=(False, torch.nn.CrossEntropyLoss(), True))


# Training and testing

def train_and_test_network(net, num_epochs=60, lr=0.1, wd=0,
                           loss_function=torch.nn.CrossEntropyLoss(),
                           train_loader=None, test_loader=None,
                           history=None, after_epoch=None):
    """Trains net by gradient descent, on MNIST by default, and tests it after
    every epoch and at the end. Returns the accuracies; see train_network."""
    if train_loader is None:
        train_loader = get_train_loader()
    if test_loader is None:
        test_loader = get_test_loader()
    sgd = PlainSGD(net.parameters(), lr, wd)
    accuracies = train_network(net, train_loader, num_epochs, loss_function,
                               sgd, test_loader, history, after_epoch)
    print()
    test_network(net, test_loader)
    return accuracies


def train_network(model, data_loader, num_epochs, loss_function, optimizer,
                  test_loader=None, history=None, after_epoch=None):
    """Trains model and tests it after every epoch; returns the accuracies.

    test_loader: None takes MNIST's test images
    history: a dict that gets three lists with a value for each epoch: loss
        (mean over the training batches), test_accuracy, and seconds (for
        training and testing). Epochs that it has already count as done
    after_epoch: a function without arguments, called after every epoch

    Raises ValueError if a loader is empty, and FloatingPointError after an
    epoch with a nan or infinite result.
    """
    if test_loader is None:
        test_loader = get_test_loader()
    history = {} if history is None else history
    for name in "loss", "test_accuracy", "seconds":
        history.setdefault(name, [])
    done = len(history["test_accuracy"])
    if done and done >= num_epochs:
        print(f"Nothing to train: the history holds {done} epochs", flush=True)
    for epoch in range(done + 1, num_epochs + 1):
        start = time.perf_counter()
        loss = train_epoch(model, data_loader, loss_function, optimizer,
                           epoch, num_epochs)
        accuracy = test_network(model, test_loader,
                                f"Epoch {epoch}/{num_epochs}")
        history["loss"].append(loss)
        history["test_accuracy"].append(accuracy)
        history["seconds"].append(time.perf_counter() - start)
        if after_epoch is not None:
            after_epoch()
    return list(history["test_accuracy"])


def train_epoch(model, data_loader, loss_function, optimizer, epoch=1,
                num_epochs=1):
    """Trains model for an epoch; returns the mean loss of its batches."""
    info, device = f"Epoch {epoch}/{num_epochs}", device_of(model)
    batches, total = 0, torch.zeros((), dtype=torch.float32)
    model.train()
    with progress_bar(data_loader, info, epoch, num_epochs) as bar:
        for batches, (images, labels) in enumerate(bar, start=1):
            loss = loss_function(model(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total = total + loss.detach()  # not +=: it may be float64
            if batches % 100 == 0:
                bar.set_postfix(loss=total.item() / batches, refresh=False)
    if batches == 0:
        raise ValueError(f"{info}: the training loader is empty")
    mean = total.item() / batches
    finite = all(weights.isfinite().all() for weights in model.parameters())
    if not (isfinite(mean) and finite):
        raise FloatingPointError(
            f"{info}: training diverged (mean loss {mean}, weights "
            f"{'' if finite else 'not '}finite); try a lower learning rate or "
            "weight decay, and look for nan among the images")
    return mean


def progress_bar(data_loader, info, epoch, num_epochs):
    """Returns the loader's batches, with a bar on a terminal or in a notebook
    that tells how long the epochs up to the last will take."""
    batches = length_hint(data_loader)
    return tqdm(data_loader, info, total=num_epochs * batches or None,
                initial=(epoch - 1) * batches, leave=False,
                disable=True if sys.stderr is None else None)


class PlainSGD:
    """Gradient descent: what torch.optim.SGD computes, up to rounding, without
    its bookkeeping, which costs more than a small net's update."""
    def __init__(self, parameters, lr, weight_decay=0):
        self.parameters = list(parameters)
        self.lr, self.weight_decay = lr, weight_decay

    def zero_grad(self):
        """Forgets the gradients of the batch before."""
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
    correct = total = 0
    with testing(model):
        for images, labels in data_loader:
            check_labels(labels, len(images))
            right = predict(model, images) == labels.cpu().long()
            correct += right.sum().item()
            total += len(labels)
    if total == 0:
        raise ValueError("the test loader is empty")
    info = f", {epoch_info}" if epoch_info else ""
    print(f"Test data results: {correct / total}{info}", flush=True)
    return correct / total


def predict(model, images):
    """Returns model's answers (B,) int64 to images, on the CPU."""
    outputs = compute_outputs(model, images)
    if outputs.dim() != 2 or len(outputs) != len(images):
        raise ValueError(f"{len(images)} images gave outputs of shape "
                         f"{tuple(outputs.shape)}, not a row for each")
    if outputs.isnan().any():
        raise ValueError("outputs are nan; so are some weights, or pixels")
    return outputs.argmax(dim=1)


def compute_outputs(model, images):
    """Returns model's outputs (B, 10) for images, on the CPU, in evaluation
    mode and without gradients. Softmax makes probabilities of scores. Raises
    TypeError or ValueError for images of another type or shape, if model fails
    on them."""
    if not isinstance(images, torch.Tensor):
        raise TypeError("images must be a tensor (B, 1, 28, 28), not a "
                        f"{type(images).__name__}")
    device = device_of(model)
    try:
        with testing(model):  # 250 at a time take half as long as 1,000
            return torch.cat([model(part.to(device)).cpu()
                              for part in images.split(250)])
    except (IndexError, RuntimeError) as error:
        if not images.is_floating_point():
            raise TypeError(f"the net fails on {images.dtype}; our nets take "
                            "float32 from 0 to 1, which is MNIST's bytes "
                            f"divided by 255 ({error})") from None
        if images.shape[1:] == (1, IMAGE_WIDTH, IMAGE_WIDTH):
            raise
        raise ValueError(f"the net fails on images {tuple(images.shape)}; our "
                         "nets take (B, 1, 28, 28), and one image is "
                         f"image.view(1, 1, 28, 28) ({error})") from None


@contextmanager
def testing(model):
    """Puts model in evaluation mode, without gradients; restores its modes and
    the random generators afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    device = device_of(model)
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus), torch.no_grad():
        try:
            yield model.eval()
        finally:
            for module, mode in modes:
                module.training = mode


def check_labels(labels, count):
    """Raises ValueError if labels are not a tensor (count,) of integers."""
    dtype, shape = (getattr(labels, name, "") for name in ("dtype", "shape"))
    if dtype not in INTEGERS or shape != (count,):
        raise ValueError(
            f"labels must be a tensor of integers of shape ({count},), as "
            "get_loader(dataset) gives them, not a "
            f"{type(labels).__name__} {dtype} {shape or ''}")


def vote(predictions):
    """Returns the most frequent answers (images,) int64 of nets' answers
    (nets, images) int64; of equally frequent ones, the smallest digit."""
    if not (isinstance(predictions, torch.Tensor) and predictions.dim() == 2
            and len(predictions) and predictions.dtype == torch.int64
            and ((predictions >= 0) & (predictions < 10)).all()):
        raise ValueError(
            "predictions must be int64 digits from 0 to 9 of shape (nets, "
            "images): torch.stack([predict(net, images) for net in nets])")
    # argmax takes the first of equals; torch.mode may not, on a GPU
    return one_hot(predictions, 10).sum(0).argmax(1)


def device_of(model):
    """Returns the device of a model's weights; the CPU if it has none."""
    return next(model.parameters(), torch.empty(0)).device


# Data

def get_dataset(root=DATA, train=True, transform=ToTensor(), download=True):
    """Returns MNIST, whose items are (image (1, 28, 28), label int).

    A transform of your own gets a PIL image. Raises RuntimeError if a file is
    damaged or missing and can be neither unpacked nor downloaded.
    """
    raw = Path(root, "MNIST", "raw")
    try:
        repair_files(raw)
        return MNIST(root, train, transform, download=download)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"cannot get MNIST: {' '.join(str(error).split())}; {raw} must be "
            "writable and hold the archives (git checkout -- data), or be "
            "empty and downloadable") from error


def repair_files(raw):
    """Unpacks missing and damaged files; torchvision looks for no damage."""
    for (archive, md5), unpacked_md5 in zip(MNIST.resources, UNPACKED_MD5):
        file = raw / Path(archive).stem
        if check_integrity(file, unpacked_md5):
            continue
        if check_integrity(raw / archive, md5):
            unpack(raw / archive, file)
        elif file.exists():
            raise RuntimeError(f"{file} is damaged, and so is its archive")


UNPACKED_MD5 = (  # in the order of MNIST.resources, which has the archives'
    "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637")


def unpack(archive, file):
    """Unpacks an archive into file, which appears whole or not at all."""
    with TemporaryDirectory(suffix=".tmp", dir=file.parent) as folder:
        unpacked = Path(folder, file.name)
        unpacked.write_bytes(gzip.decompress(archive.read_bytes()))
        unpacked.replace(file)


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


def get_extended_dataset(root=DATA, train=True, transform=ToTensor(),
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

    Takes any map-style dataset. With shuffle, each epoch draws a new order
    from torch's global random generator.
    """
    return Loader(dataset, batch_size, shuffle)


class Loader(DataLoader):
    """A DataLoader that is fast for MNIST and for a Subset of it: it prepares
    some 1,000 images at once. Where a batch or an error might differ, it
    leaves the work to DataLoader."""
    def __iter__(self):
        found = find_mnist(self.dataset)
        if (found is None or self.batch_size is None or self.drop_last
                or self.num_workers or self.pin_memory
                or self.generator is not None
                or self.collate_fn is not default_collate
                or type(self.sampler) not in (RandomSampler,
                                              SequentialSampler)):
            return super().__iter__()
        return self.cut_batches(*found)

    def cut_batches(self, mnist, items):
        """Yields the batches of some items (n,) of mnist."""
        size, dtype = self.batch_size, torch.get_default_dtype()
        order = items[list(self.sampler)]
        for part in order.split(max(1000 // size, 1) * size):
            images = mnist.data.index_select(0, part).unsqueeze(1).to(dtype)
            yield from zip(images.div_(255).split(size),
                           mnist.targets[part].split(size))


def find_mnist(dataset):
    """Returns the MNIST under any Subsets, and the items (n,) int64 of it that
    they choose; None if the dataset is anything else, empty, or changed."""
    if type(dataset) is Subset:
        found = find_mnist(dataset.dataset)
        try:
            indices = torch.as_tensor(dataset.indices)
            if (found and indices.dim() == 1 and indices.numel()
                    and indices.dtype in (torch.int64, torch.int32)):
                return found[0], found[1][indices]
        except (IndexError, RuntimeError, TypeError, ValueError):
            pass  # DataLoader knows what to say
        return None
    plain = (type(dataset) is MNIST and type(dataset.transform) is ToTensor
             and dataset.target_transform is None
             and isinstance(dataset.targets, torch.Tensor)
             and dataset.targets.dtype == torch.int64
             and dataset.targets.shape == dataset.data.shape[:1] != (0,)
             and dataset.data.dtype == torch.uint8 and dataset.data.dim() == 3)
    return (dataset, torch.arange(len(dataset))) if plain else None
