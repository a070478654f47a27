"""Shifts, datasets and loaders; and what happens to damaged files."""

import gzip
import multiprocessing
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, Subset
from torchvision import transforms
from torchvision.datasets import KMNIST, MNIST, FashionMNIST

import common

RAW = common.DATA / "MNIST" / "raw"
IMAGES = "t10k-images-idx3-ubyte"

SHIFTS_BY_NUMPY = {
    common.identity: lambda x: x,
    common.shift_right: lambda x: np.insert(x, 0, 0, -1)[..., :-1],
    common.shift_left: lambda x: np.insert(x, 28, 0, -1)[..., 1:],
    common.shift_up: lambda x: np.insert(x, 28, 0, -2)[..., 1:, :],
    common.shift_down: lambda x: np.insert(x, 0, 0, -2)[..., :-1, :],
}


@pytest.mark.parametrize("shift", SHIFTS_BY_NUMPY)
def test_shifts_are_those_of_numpy(shift):
    for shape in (28, 28), (1, 28, 28), (3, 2, 28, 28):
        for dtype in torch.uint8, torch.float32:
            images = torch.randint(1, 256, shape).to(dtype)
            before = images.clone()
            shifted = shift(images)
            assert shifted.dtype == dtype
            np.testing.assert_array_equal(
                shifted, SHIFTS_BY_NUMPY[shift](before.numpy()))
            assert torch.equal(images, before)


@pytest.mark.parametrize("shift", common.SHIFTS[1:])
@pytest.mark.parametrize("shape", [(784,), (1, 28), (3, 784), (28, 28, 1)])
def test_shifts_need_rows_and_columns(shift, shape):
    with pytest.raises(ValueError, match=r"must be \(\.\.\., 28, 28\), not"):
        shift(torch.rand(shape))


def test_items_and_extended_items(train_data, test_data):
    assert (len(train_data), len(test_data)) == (60_000, 10_000)
    image, label = train_data[0]
    assert image.shape == (1, 28, 28) and image.dtype == torch.float32
    assert image.min() == 0 and image.max() == 1
    assert (label, type(label)) == (5, int)
    assert [test_data[i][1] for i in range(5)] == [7, 2, 1, 0, 4]
    extended = common.get_extended_dataset()
    assert len(extended) == 300_000
    for i in (0, 1, 59_999):
        image, label = train_data[i]
        for k, by_numpy in enumerate(SHIFTS_BY_NUMPY.values()):
            shifted, same_label = extended[5 * i + k]
            np.testing.assert_array_equal(shifted, by_numpy(image.numpy()))
            assert same_label == label


def test_another_transform_is_given_a_pil_image():
    for get in common.get_dataset, common.get_extended_dataset:
        data = get(train=False, transform=lambda image: image.size)
        assert data[0] == ((28, 28), 7)


# Loaders

def test_ready_made_loaders(test_data):
    torch.manual_seed(0)
    loader = common.get_train_loader()
    _, labels = next(iter(loader))  # the published runs need this order
    assert labels.tolist() == [2, 9, 8, 8, 3, 1, 5, 9, 7, 2]
    extended = common.get_extended_train_loader()
    _, labels = next(iter(extended))
    assert len(labels.unique()) > 2  # five copies would be one digit
    assert (len(loader), len(extended)) == (6_000, 30_000)
    labels = torch.cat([labels for _, labels in common.get_test_loader()])
    assert torch.equal(labels, test_data.targets)


def test_an_epoch_has_every_image_once_in_new_order(train_data):
    loader = common.get_loader(Subset(train_data, range(1995)), 64)
    torch.manual_seed(0)
    orders = [[*RandomSampler(range(1995))] for _ in range(2)]
    torch.manual_seed(0)
    for order in orders:
        images, labels = zip(*loader)
        assert [len(batch) for batch in labels] == [64] * 31 + [11]
        images, labels = torch.cat(images), torch.cat(labels)
        assert torch.equal(labels, train_data.targets[order])
        assert torch.equal(images[:, 0], train_data.data[order] / 255)


def tiny(kind, **changes):
    """Returns 30 images as a dataset of torchvision's kind."""
    data = kind.__new__(kind)
    vars(data).update(
        data=torch.arange(30 * 784).view(30, 28, 28).mul(7).byte(),
        targets=torch.arange(30) % 10, transform=transforms.ToTensor(),
        target_transform=None)
    vars(data).update(changes)
    return data


class Mine(MNIST):
    """Somebody's own images, whose code is not to be skipped."""
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return 1 - image, label


class Backwards(Subset):
    def __getitems__(self, indices):
        return super().__getitems__([-i for i in indices])


FAST = {
    "MNIST": tiny(MNIST), "Fashion": tiny(FashionMNIST), "K": tiny(KMNIST),
    "range": Subset(tiny(FashionMNIST), range(25)),
    "list": Subset(tiny(MNIST), [5, 3, -1]),
    "numpy": Subset(tiny(KMNIST), np.arange(20)[::-1].copy()),
    "nested": Subset(Subset(tiny(MNIST), range(5, 29)), [-1, 5, 0]),
    "targets in a list": tiny(MNIST, targets=[*range(30)]),
    "targets of uint8": tiny(MNIST, targets=torch.arange(30).byte()),
}
SLOW = {
    "pairs": [(torch.full((1, 28, 28), i / 25), i % 10) for i in range(25)],
    "transform": tiny(MNIST, transform=transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(0.1305, 0.3081)])),
    "target_transform": tiny(KMNIST, target_transform=lambda label: -label),
    "float data": tiny(MNIST, data=torch.rand(30, 28, 28)),
    "own class": tiny(Mine), "own in subset": Subset(tiny(Mine), [3, 1]),
    "own subset": Backwards(tiny(MNIST), range(9)),
    "int32": Subset(tiny(MNIST), np.arange(20, dtype=np.int32)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_which_data_are_loaded_fast(name, dtype):
    """All items are those of torch's loader, whoever loads them."""
    torch.set_default_dtype(dtype)  # which ToTensor follows
    dataset = {**FAST, **SLOW}[name]
    loader = common.get_loader(dataset, 7, shuffle=False)
    kind = common.MemoryLoader if name in FAST else DataLoader
    assert type(loader) is type(common.get_loader(dataset)) is kind
    batches, expected = [*loader], [*DataLoader(dataset, 7)]
    assert len(loader) == len(batches) == len(expected)
    for ours, theirs in zip(batches, expected):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


# Files

@pytest.fixture
def root(tmp_path, train_data):
    """A folder like data/, where one file is still to be unpacked."""
    raw = tmp_path / "home" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in {*RAW.iterdir()} - {RAW / IMAGES}:
        (raw / file.name).symlink_to(file)
    return tmp_path / "home"


def images_of(root):
    return root / "MNIST" / "raw" / IMAGES


def is_whole(file):
    content = gzip.decompress((RAW / f"{file.name}.gz").read_bytes())
    return file.exists() and file.read_bytes() == content


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1000])


def alter(file):
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)


def test_archives_are_unpacked_once_and_whole(root, monkeypatch):
    def replace(unpacked, file):
        assert not file.exists() and is_whole(unpacked)
        moved.append(move(unpacked, file))

    move, moved = Path.replace, []
    monkeypatch.setattr(Path, "replace", replace)
    for file in (root / "MNIST" / "raw").glob("*-ubyte"):
        file.unlink()
    data = common.get_dataset(root, train=False, download=False)
    assert len(data) == 10_000
    assert len(moved) == 4 and all(map(is_whole, moved))
    assert not list(root.rglob("*.tmp"))
    monkeypatch.setattr(common, "extract_archive", None)
    common.get_dataset(root)


@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
def test_an_unpacked_file_is_repaired(root, damage, monkeypatch):
    """Also where only torchvision would look: in the reader's home."""
    monkeypatch.setenv("HOME", str(root.parent))
    copyfile(RAW / IMAGES, images_of(root))
    damage(images_of(root))
    common.get_dataset("~/home", download=False)
    assert is_whole(images_of(root))


@pytest.fixture
def mirror(monkeypatch):
    """The published archives, where torchvision downloads them from."""
    monkeypatch.setattr(MNIST, "mirrors", [f"{RAW.as_uri()}/"])
    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve",
                        lambda url, file: copyfile(url[len("file://"):], file))


@pytest.mark.parametrize("damage", [alter, Path.unlink])
def test_a_damaged_archive_is_downloaded(root, damage, mirror, monkeypatch):
    archive = Path(f"{images_of(root)}.gz")
    content = archive.read_bytes()
    archive.unlink()
    archive.write_bytes(content)
    damage(archive)
    with monkeypatch.context() as context:
        context.setattr(MNIST, "mirrors", ["file:///nowhere/"])
        with pytest.raises(RuntimeError, match=f"{IMAGES}.*git checkout"):
            common.get_dataset(root)
    assert len(common.get_dataset(root, train=False)) == 10_000
    assert is_whole(images_of(root)) and archive.read_bytes() == content


def test_a_new_root_is_filled_by_download(tmp_path, mirror):
    with pytest.raises(RuntimeError, match="not found"):
        common.get_dataset(tmp_path / "new" / "root", download=False)
    data = common.get_dataset(tmp_path / "new" / "root", train=False)
    assert torch.equal(data.targets, common.get_dataset(train=False).targets)


def test_a_damaged_file_without_archive_stays_and_is_named(root):
    Path(f"{images_of(root)}.gz").unlink()
    images_of(root).write_bytes(b"altered")
    with pytest.raises(RuntimeError, match=f"{IMAGES} is damaged"):
        common.get_dataset(root)
    assert images_of(root).read_bytes() == b"altered"


def test_a_folder_that_cannot_be_written(root, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied", str(root))

    monkeypatch.setattr(common, "TemporaryDirectory", refuse)
    with pytest.raises(RuntimeError, match="cannot get MNIST: .*Permission "
                       "denied.*; .*raw must be writable"):
        common.get_dataset(root)


def test_three_runs_can_start_at_once(root):
    def start():
        barrier.wait()
        assert len(common.get_dataset(root, download=False)) == 60_000

    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(3)
    runs = [fork.Process(target=start) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0] * 3
    assert is_whole(images_of(root))
