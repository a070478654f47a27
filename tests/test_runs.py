"""The files of a run: weights and records, and how files are written."""

import os
import platform
from pathlib import Path

import pytest
import torch
from torch import nn

import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras import runs

NET = dense.Net()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def state(net):
    return {name: value.tolist() for name, value in net.state_dict().items()}


def test_weights_come_back(path):
    for write in (lambda: runs.save_weights(NET, path),
                  lambda: torch.save(NET.state_dict(), path),
                  lambda: runs.save_checkpoint(NET, path, {"device": "cpu"},
                                               {"loss": [0.5]})):
        net = dense.Net()
        write()
        runs.load_weights(net, path)
        assert state(net) == state(NET)
        torch.load(path, weights_only=True)  # no code is in it


@pytest.mark.parametrize("content, words", [
    (convnet.ConvNetTwoConvLayers().state_dict(),
     "file do not fit a Net: hidden_layer.weight is missing in the file but "
     "(100, 784) in the net; load them into the net that they were saved"),
    ({**NET.state_dict(), "output_layer.weight": torch.ones(9, 100)},
     "fit a Net: output_layer.weight is (9, 100) in the file but (10, 100)"),
    ({**NET.state_dict(), "new": torch.ones(2, 3)},
     "fit a Net: new is (2, 3) in the file but missing in the net"),
    ({"net": NET.state_dict(), "epoch": 3}, "does not hold just weights; write"
     " them with --save, or torch.save(net.state_dict(), FILE)"),
    (torch.ones(3), "does not hold just weights; write"),
    (NET, "file is damaged, or not written by --save or --checkpoint")])
def test_what_does_not_fit_changes_nothing(path, content, words):
    net = dense.Net()
    before = state(net)
    torch.save(content, path)
    with pytest.raises(ValueError) as error:
        runs.load_weights(net, path)
    assert words in str(error.value) and state(net) == before


def test_damaged_weights_are_refused(path):
    """A flipped bit is refused, or does no harm, as in a file's date."""
    net = nn.Linear(3, 2)
    runs.save_weights(net, path)
    content, before = path.read_bytes(), state(net)
    damaged = [content[:size] for size in range(0, len(content), 100)]
    for k in range(2, len(content), 9):
        damaged.append(content[:k] + bytes([content[k] ^ 8]) + content[k + 1:])
    for bad in damaged:
        path.write_bytes(bad)
        try:
            runs.load_weights(net, path)
            assert len(bad) == len(content)
        except ValueError as error:
            assert f"{path} " in str(error)
        assert state(net) == before


def test_no_file(path):
    for missing in path, path.parent:
        with pytest.raises(OSError, match=str(missing)):
            runs.read_record(missing)
        with pytest.raises(OSError, match=str(missing)):
            runs.load_weights(NET, missing)


@pytest.mark.parametrize("content, words", [
    (b"{", "file is damaged or not a record"), (b"\xff", "is damaged or not"),
    (b"[3]", "is not a record; --record writes one"),
    (b'{"net": "Net", "seed": 1}', "is not a record; --record writes one")])
def test_what_is_not_a_record(path, content, words):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        runs.read_record(path)


def test_a_record_with_a_byte_order_mark(path):
    """As some editors add it."""
    record = '{"net": "Ü", "seed": 1, "test_accuracy": 3}'
    path.write_text(record, "utf-8-sig")
    assert runs.read_record(path)["net"] == "Ü"


@pytest.mark.parametrize("cpuinfo, known, name", [
    ("cpu\t: 0\nmodel name\t: Fast 3000\nflags\t: x\n", "x86", "Fast 3000"),
    ("Hardware\t: none\n", "", platform.machine()), (None, "arm", "arm")])
def test_the_processor(monkeypatch, path, cpuinfo, known, name):
    """Without /proc/cpuinfo, as on a Mac, it is what Python knows."""
    if cpuinfo:
        path.write_text(cpuinfo)
    monkeypatch.setattr(runs, "Path", {"/proc/cpuinfo": path}.get)
    monkeypatch.setattr(platform, "processor", lambda: known)
    assert runs.processor() == name


# Files

def test_several_processes_may_write_one_file(path):
    children = []
    for k in range(4):
        children.append(os.fork())
        if children[-1] == 0:
            try:
                for _ in range(25):
                    runs.write_whole(path, bytes([k]) * 100_000)
                os._exit(0)
            finally:
                os._exit(1)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
        content = path.read_bytes()
        assert len(content) == 100_000 and len({*content}) == 1
    assert os.listdir(path.parent) == ["file"]


def test_a_link_stays_a_link(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    for content in b"first", b"second":
        runs.write_whole(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert path.read_bytes() == content


@pytest.mark.parametrize("owner, name, fails, complaint", [
    (os, "fsync", lambda file: True, "No space left on device$"),
    (Path, "replace", lambda source, target: Path(target).name == "file",
     r"No space left on device; it is kept as .*/file-\w+$")])
def test_the_old_file_stays_whole(path, monkeypatch, owner, name, fails,
                                  complaint):
    """On a full disk; and if it cannot be replaced, as somebody else's in
    /tmp, what should replace it is kept."""
    def fail(*args):
        if fails(*args):
            raise OSError(28, "No space left on device")
        return work(*args)

    path.write_text("before")
    work = getattr(owner, name)
    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(OSError, match=f"cannot write {path}: {complaint}"
                       ) as error:
        runs.write_whole(path, b"after")
    kept = [Path(file) for file in str(error.value).split(" kept as ")[1:]]
    assert {*path.parent.iterdir()} == {path, *kept}
    assert [file.read_text() for file in (path, *kept)] == [
        "before", "after"][:1 + len(kept)]
