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
LABELS = "t10k-labels-idx1-ubyte"

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
    loader = common.get_loader(Subset(train_data, range(1995)))
    torch.manual_seed(0)
    orders = [[*RandomSampler(range(1995))] for _ in range(2)]
    torch.manual_seed(0)
    for order in orders:
        images, labels = zip(*loader)
        assert [len(batch) for batch in labels] == [10] * 199 + [5]
        images, labels = torch.cat(images), torch.cat(labels)
        assert torch.equal(labels, train_data.targets[order])
        assert torch.equal(images[:, 0], train_data.data[order] / 255)


def tiny(kind, **changes):
    """Returns 30 random images as a dataset of torchvision's kind."""
    data = kind.__new__(kind)
    vars(data).update(
        data=torch.randint(256, (30, 28, 28), dtype=torch.uint8),
        targets=torch.randint(10, (30,)), transform=transforms.ToTensor(),
        target_transform=None)
    vars(data).update(changes)
    return data


class Mine(MNIST):
    """Somebody's own images, whose code is not to be skipped."""
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return 1 - image, label


class MySubset(Subset):
    def __getitem__(self, index):
        return super().__getitem__(-index)

    def __getitems__(self, indices):
        return [self[i] for i in indices]


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
    "own class": tiny(Mine), "own subset": MySubset(tiny(MNIST), range(9)),
    "own in subset": Subset(tiny(Mine), [3, 1]),
    "int32": Subset(tiny(MNIST), np.arange(20, dtype=np.int32)),
}


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_which_data_are_loaded_fast(name):
    """All items are those of torch's loader, whoever loads them."""
    dataset = {**FAST, **SLOW}[name]
    loader = common.get_loader(dataset, 7, shuffle=False)
    assert type(loader) is (
        common.MemoryLoader if name in FAST else DataLoader)
    batches, expected = [*loader], [*DataLoader(dataset, 7)]
    assert len(loader) == len(batches) == len(expected)
    for ours, theirs in zip(batches, expected):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    shuffled = common.get_loader(dataset)
    assert type(shuffled) is type(loader)
    images, labels = next(iter(shuffled))
    assert len(images) == len(labels) == min(10, len(dataset))


def test_float64_images_for_a_net_in_float64():
    torch.set_default_dtype(torch.float64)
    try:
        (ours, _), = common.get_loader(FAST["MNIST"], 30, shuffle=False)
        (theirs, _), = DataLoader(FAST["MNIST"], 30)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


# Files

@pytest.fixture
def root(tmp_path):
    """A folder like data/, with the archives alone."""
    raw = tmp_path / "home" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for archive in RAW.glob("*.gz"):
        (raw / archive.name).symlink_to(archive)
    return tmp_path / "home"


def labels_of(root):
    return root / "MNIST" / "raw" / LABELS


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
        move(unpacked, file)

    move = Path.replace
    monkeypatch.setattr(Path, "replace", replace)
    data = common.get_dataset(root, train=False, download=False)
    assert len(data) == 10_000
    unpacked = sorted((root / "MNIST" / "raw").glob("*-ubyte"))
    assert len(unpacked) == 4 and all(map(is_whole, unpacked))
    assert not list(root.rglob("*.tmp"))
    monkeypatch.setattr(common, "extract_archive", None)
    common.get_dataset(root)


@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
def test_an_unpacked_file_is_repaired(root, damage, monkeypatch):
    """Also where only torchvision would look: in the reader's home."""
    monkeypatch.setenv("HOME", str(root.parent))
    MNIST(root, download=True)
    damage(labels_of(root))
    common.get_dataset("~/home", download=False)
    assert is_whole(labels_of(root))


@pytest.fixture
def mirror(monkeypatch):
    """The published archives, where torchvision downloads them from."""
    monkeypatch.setattr(MNIST, "mirrors", [f"{RAW.as_uri()}/"])
    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve",
                        lambda url, file: copyfile(url[len("file://"):], file))


@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink])
def test_a_damaged_archive_is_downloaded(root, damage, mirror, monkeypatch):
    archive = Path(f"{labels_of(root)}.gz")
    content = archive.read_bytes()
    archive.unlink()
    archive.write_bytes(content)
    damage(archive)
    with monkeypatch.context() as context:
        context.setattr(MNIST, "mirrors", ["file:///nowhere/"])
        with pytest.raises(RuntimeError, match=f"{LABELS}.*git checkout"):
            common.get_dataset(root)
    assert len(common.get_dataset(root, train=False)) == 10_000
    assert is_whole(labels_of(root)) and archive.read_bytes() == content


def test_a_new_root_is_filled_by_download(tmp_path, mirror):
    with pytest.raises(RuntimeError, match="not found"):
        common.get_dataset(tmp_path / "new" / "root", download=False)
    data = common.get_dataset(tmp_path / "new" / "root", train=False)
    assert torch.equal(data.targets, common.get_dataset(train=False).targets)


def test_a_damaged_file_without_archive_stays_and_is_named(root):
    common.get_dataset(root)
    Path(f"{labels_of(root)}.gz").unlink()
    alter(labels_of(root))
    altered = labels_of(root).read_bytes()
    with pytest.raises(RuntimeError, match=f"{LABELS} is damaged"):
        common.get_dataset(root)
    assert labels_of(root).read_bytes() == altered


def test_a_folder_of_an_old_torchvision_is_refused(root):
    (root / "MNIST" / "processed").mkdir()
    with pytest.raises(RuntimeError, match="processed, .*; move it away"):
        common.get_dataset(root)


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
    assert all(map(is_whole, (root / "MNIST" / "raw").glob("*-ubyte")))
