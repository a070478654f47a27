"""Shifts, datasets and loaders; and what happens to damaged files."""

import gzip
import hashlib
import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

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
@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (3, 2, 28, 28)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_shifts_are_those_of_numpy(shift, shape, dtype):
    images = torch.randint(1, 256, shape).to(dtype)
    before = images.clone()
    shifted = shift(images)
    assert shifted.dtype == dtype
    np.testing.assert_array_equal(shifted, SHIFTS_BY_NUMPY[shift](
        before.numpy()))
    assert torch.equal(images, before)


def test_dataset_items(train_data, test_data):
    assert (len(train_data), len(test_data)) == (60_000, 10_000)
    image, label = train_data[0]
    assert image.shape == (1, 28, 28) and image.dtype == torch.float32
    assert image.min() == 0 and image.max() == 1
    assert (label, type(label)) == (5, int)
    assert [test_data[i][1] for i in range(5)] == [7, 2, 1, 0, 4]


def test_another_transform_is_given_a_pil_image():
    data = common.get_dataset(transform=lambda image: image.size)
    assert data[0] == ((28, 28), 5)
    images, labels = next(iter(common.get_loader(
        common.get_dataset(transform=transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(0.1305, 0.3081)])))))
    assert images.shape == (10, 1, 28, 28) and images.min() < 0


def test_extended_dataset(train_data):
    extended = common.get_extended_dataset()
    assert len(extended) == 300_000
    for i in (0, 1, 59_999):
        image, label = train_data[i]
        for k, by_numpy in enumerate(SHIFTS_BY_NUMPY.values()):
            shifted, same_label = extended[5 * i + k]
            np.testing.assert_array_equal(shifted, by_numpy(image.numpy()))
            assert same_label == label


def test_train_loader_gives_every_image_once_in_new_order(train_data):
    loader = common.get_loader(Subset(train_data, range(995)))
    epochs = []
    for _ in range(2):
        images, labels = zip(*loader)
        assert [len(batch) for batch in labels] == [10] * 99 + [5]
        assert len(loader) == 100
        images, labels = torch.cat(images), torch.cat(labels)
        assert images.shape == (995, 1, 28, 28)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        epochs.append(labels)
        pixels = (images * 255).round().byte().flatten(1)
        assert (sorted(map(bytes, pixels.numpy()))
                == sorted(map(bytes, train_data.data[:995].numpy())))
    assert not torch.equal(*epochs)


def changed(mnist, **attributes):
    """Returns MNIST with other attributes."""
    vars(mnist).update(attributes)
    return mnist


CASES = {  # name: MNIST -> a dataset, or (dataset, more options of the loader)
    "all": lambda data: data,
    "range": lambda data: Subset(data, range(3)),
    "list": lambda data: Subset(data, [5, 3, 99]),
    "negative": lambda data: Subset(data, [-1, -2]),
    "numpy": lambda data: Subset(data, np.arange(20)[::-1]),
    "list of numpy": lambda data: Subset(data, list(np.arange(20))),
    "int32": lambda data: Subset(data, np.arange(20, dtype=np.int32)),
    "uint8": lambda data: Subset(data, np.arange(20, dtype=np.uint8)),
    "tensor": lambda data: Subset(data, torch.tensor([3, 1])),
    "dict": lambda data: Subset(data, {0: 5, 1: 7}),
    "nested": lambda data: Subset(Subset(data, range(50, 80)), [-1, 5]),
    "mask": lambda data: Subset(data, data.targets == 7),
    "list of bools": lambda data: Subset(data, [True, False, True]),
    "floats": lambda data: Subset(data, [0.0, 1.0]),
    "column": lambda data: Subset(data, np.arange(6).reshape(3, 2)),
    "beyond": lambda data: Subset(data, [*range(30), 60_000]),
    "none": lambda data: Subset(data, []),
    "no integers": lambda data: Subset(data, np.arange(0)),
    "targets in a list": lambda data: changed(
        data, targets=data.targets.tolist()),
    "targets of numpy": lambda data: changed(
        data, targets=data.targets.numpy()),
    "targets of int32": lambda data: changed(
        data, targets=data.targets.int()),
    "targets in a column": lambda data: changed(
        data, targets=data.targets[:, None]),
    "too few targets": lambda data: changed(
        data, targets=data.targets[:25]),
    "drop_last": lambda data: (Subset(data, range(25)), {"drop_last": True}),
    "collate_fn": lambda data: (data, {"collate_fn": len}),
    "batch_sampler": lambda data: (
        data, {"batch_sampler": [[3, 1], [4]], "batch_size": 1}),
    "sampler": lambda data: (data, {"sampler": [3, 1, 60_000]}),
    "no batches": lambda data: (data, {"batch_size": None}),
    "generator": lambda data: (data, {"generator": torch.Generator()}),
    "target_transform": lambda data: changed(data, target_transform=float),
    "transform": lambda data: changed(data, transform=transforms.ToTensor),
    "pixels are numbers": lambda data: changed(data, data=data.data.float()),
    "colour": lambda data: changed(data, data=data.data[..., None]),
    "empty": lambda data: changed(data, data=data.data[:0],
                                  targets=data.targets[:0]),
}


def all_batches(loader):
    """Returns up to five of a loader's batches, and the type of its error."""
    batches = []
    try:
        for batch in itertools.islice(loader, 5):
            batches.append(batch)
    except Exception as error:
        return batches, type(error)
    return batches, None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_the_fast_loader_is_the_slow_one_only_faster(case, dtype):
    found = CASES[case](common.get_dataset(train=False))
    dataset, options = found if type(found) is tuple else (found, {})
    options = {"batch_size": 10, **options}
    torch.set_default_dtype(dtype)
    try:
        (fast, error), (slow, expected) = (
            all_batches(loader(dataset, **options))
            for loader in (common.Loader, DataLoader))
    finally:
        torch.set_default_dtype(torch.float32)
    assert error is expected and len(fast) == len(slow)
    for ours, theirs in zip(fast, slow):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_code_of_others_is_not_skipped(train_data):
    class Inverted(Subset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return 1 - image, label

        def __getitems__(self, indices):
            return [self[i] for i in indices]

    (images, _), = common.get_loader(Inverted(train_data, [0]))
    assert torch.equal(images[0], 1 - train_data[0][0])


def test_extended_loader_keeps_label_and_image_together():
    loader = common.get_loader(
        Subset(common.get_extended_dataset(), range(50)), 50, shuffle=False)
    (images, labels), = loader
    assert torch.equal(images[2], common.shift_left(images[0]))
    assert torch.equal(labels, labels[::5].repeat_interleave(5))


def test_loader_of_a_list_of_pairs():
    pairs = [(torch.full((1, 28, 28), float(i)), i % 10) for i in range(25)]
    batches = list(common.get_loader(pairs, shuffle=False))
    assert [len(labels) for _, labels in batches] == [10, 10, 5]
    images, labels = batches[1]
    assert images.shape == (10, 1, 28, 28) and labels.dtype == torch.int64
    assert images[:, 0, 0, 0].tolist() == list(range(10, 20))


def test_test_loader_keeps_its_order(test_data):
    labels = torch.cat([labels for _, labels in common.get_test_loader()])
    assert torch.equal(labels, test_data.targets)


def test_ready_made_train_loaders():
    assert type(common.get_train_loader().sampler) is RandomSampler
    assert len(common.get_train_loader()) == 6_000
    assert len(common.get_extended_train_loader()) == 30_000


# Damaged files

@pytest.fixture
def root(tmp_path):
    """A folder like data/, with the archives alone."""
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    for archive in RAW.glob("*.gz"):
        (tmp_path / "MNIST" / "raw" / archive.name).symlink_to(archive)
    return tmp_path


def is_whole(file):
    content = gzip.decompress((RAW / f"{file.name}.gz").read_bytes())
    return file.exists() and file.read_bytes() == content


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1000])


def alter(file):
    content = bytearray(file.read_bytes())
    content[5000] ^= 1
    file.write_bytes(content)


def remove(file):
    file.unlink()


def test_archives_are_unpacked(root):
    assert len(common.get_dataset(root, train=False)) == 10_000
    unpacked = sorted((root / "MNIST" / "raw").glob("*-ubyte"))
    assert len(unpacked) == 4 and all(map(is_whole, unpacked))
    assert not list(root.rglob("*.tmp"))


def test_whole_files_are_not_unpacked_again(root, monkeypatch):
    common.get_dataset(root)
    monkeypatch.setattr(common, "unpack", None)
    common.get_dataset(root)


@pytest.mark.parametrize("damage", [truncate, alter, remove])
def test_an_unpacked_file_is_repaired(root, damage):
    common.get_dataset(root)
    file = root / "MNIST" / "raw" / LABELS
    damage(file)
    assert not is_whole(file)
    common.get_dataset(root)
    assert is_whole(file)


@pytest.fixture
def mirror(monkeypatch):
    """A server of the published archives, where torchvision looks for them."""
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = partial(Quiet, directory=RAW)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(MNIST, "mirrors", [address])
        yield
        server.shutdown()


@pytest.fixture(params=[truncate, alter, remove])
def damaged(root, request):
    """An archive that is damaged, next to no unpacked file."""
    archive = root / "MNIST" / "raw" / f"{LABELS}.gz"
    content = archive.read_bytes()
    archive.unlink()
    archive.write_bytes(content + bytes(5000))  # room for the damage
    request.param(archive)
    return archive


def test_a_damaged_archive_is_downloaded(root, damaged, mirror):
    assert len(common.get_dataset(root, train=False)) == 10_000
    assert is_whole(damaged.with_suffix(""))
    assert damaged.read_bytes() == (RAW / damaged.name).read_bytes()


def test_a_new_root_is_filled_by_download(tmp_path, mirror):
    assert len(common.get_dataset(tmp_path / "new", train=False)) == 10_000


def test_a_failed_download_says_what_to_restore(root, damaged, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", ["file:///nowhere/"])
    with pytest.raises(RuntimeError, match=f"{LABELS}.*git checkout"):
        common.get_dataset(root, train=False)


def test_a_damaged_file_without_archive_stays_and_is_named(root):
    common.get_dataset(root)
    file = root / "MNIST" / "raw" / LABELS
    Path(f"{file}.gz").unlink()
    alter(file)
    altered = file.read_bytes()
    with pytest.raises(RuntimeError, match=f"{LABELS} is damaged"):
        common.get_dataset(root)
    assert file.read_bytes() == altered


def test_two_runs_can_start_at_once(root):
    code = (f"import common; common.get_dataset({str(root)!r}, train=False); "
            "print('loaded')")
    runs = [subprocess.Popen([sys.executable, "-c", code], text=True,
                             cwd=common.DATA.parent, stdout=subprocess.PIPE)
            for _ in range(2)]
    assert [run.communicate()[0] for run in runs] == ["loaded\n"] * 2
    assert all(map(is_whole, (root / "MNIST" / "raw").glob("*-ubyte")))


def test_an_unpacked_file_appears_whole(root, monkeypatch):
    def replace(unpacked, file):
        assert not file.exists() and is_whole(unpacked)
        move(unpacked, file)

    move = Path.replace
    monkeypatch.setattr(Path, "replace", replace)
    common.get_dataset(root)


def test_two_threads_can_start_at_once(root):
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda _: common.get_dataset(root), range(4)))
    assert [len(dataset) for dataset in loaded] == [60_000] * 4
    assert all(map(is_whole, (root / "MNIST" / "raw").glob("*-ubyte")))
    assert not list(root.rglob("*.tmp"))


def test_a_folder_that_cannot_be_written(root, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied", str(root))

    monkeypatch.setattr(common, "TemporaryDirectory", refuse)
    with pytest.raises(RuntimeError, match="cannot get MNIST: .*Permission "
                       "denied.*; .*raw must be writable"):
        common.get_dataset(root)


def test_the_archives_are_the_published_ones():
    for archive, md5 in MNIST.resources:
        content = (RAW / archive).read_bytes()
        assert hashlib.md5(content).hexdigest() == md5
