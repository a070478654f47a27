"""What holds on a processor holds on an NVIDIA GPU, too."""

import signal
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import cross_entropy
from torchvision.transforms.functional import to_pil_image

import common
import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras import runs
from extras.distortions import distort

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(),
                                reason="needs an NVIDIA GPU")
NETS = [(script, net) for script in (convnet, dense) for net in script.NETS]
KILLED_IN_FSYNC = """
import os, signal, sys
import pytorch_mnist_convnet
files = []
def fsync(file):
    files.append(file)
    if len(files) == 2:  # the first checkpoint is whole, the second is not
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
pytorch_mnist_convnet.main(sys.argv[1:])
"""


def trained(tmp_path, script, *flags):
    """Returns the weights and the record of a short training on the GPU."""
    script.main([*flags, "--save", tmp_path / "net.pt",
                 "--record", tmp_path / "run.json"])
    record = runs.read_record(tmp_path / "run.json")
    del record["seconds"]
    return torch.load(tmp_path / "net.pt"), record


@pytest.mark.parametrize("script, net", NETS)
def test_a_resumed_training_ends_like_an_uninterrupted_one(tmp_path, script,
                                                           net):
    flags = ["--net", net, "--no-extend_data", "--device", "cuda", "--epochs",
             "2", "--train-size", "2000", "--test-size", "500"]
    weights, record = trained(tmp_path, script, *flags)
    flags += ["--checkpoint", str(tmp_path / "run.pt")]
    if net == "relu":
        killed = subprocess.run([sys.executable, "-c", KILLED_IN_FSYNC,
                                 *flags], cwd=runs.RESULTS.parent)
        assert killed.returncode == -signal.SIGKILL
    else:
        script.main([*flags, "--epochs", 1])
    parts, resumed = trained(tmp_path, script, *flags)
    assert all(torch.equal(weights[name], parts[name]) for name in weights)
    assert resumed == record and record["device"] == "cuda"
    assert record["processor"] == torch.cuda.get_device_name()
    assert net != "relu" or record["test_accuracy"][-1] > 0.7  # it learns


def test_testing_leaves_the_training_as_it_is(tiny_train_loader,
                                              tiny_test_loader):
    def weights(tests):
        torch.manual_seed(0)
        net = convnet.ConvNetTwoConvTwoDenseLayersWithDropout().to("cuda")
        sgd, loss = common.PlainSGD(net.parameters(), 0.1), cross_entropy
        for _ in range(3):
            common.train_epoch(net, tiny_train_loader, loss, sgd)
            for _ in range(tests):
                common.test_network(net, tiny_test_loader)
        return net.out.weight

    assert torch.equal(weights(tests=0), weights(tests=2))


@pytest.mark.parametrize("script, net", NETS)
def test_a_published_net_answers_as_on_a_processor(script, net, test_data):
    experiment = script.NETS[net]
    weights = runs.find_weights(experiment)
    if weights is None:
        pytest.skip(f"no weights of {experiment} are published")
    model = script.EXPERIMENTS[experiment].net_class()
    runs.load_weights(model, weights)
    (images, _), = common.get_loader(test_data, 10_000, shuffle=False)
    here = common.predict(model, images)
    there = common.predict(model.to("cuda"), images)
    assert (here != there).sum() <= 2


def test_distorted_images_stay_on_the_gpu(test_data):
    images = torch.stack([test_data[i][0] for i in range(10)])
    torch.manual_seed(1)
    here = distort(images)
    torch.manual_seed(1)
    there = distort(images.to("cuda"))
    assert there.is_cuda
    assert (here - there.cpu()).abs().max() < 1e-4


def test_pictures_are_read_on_a_gpu(tmp_path, test_data, capsys):
    picture = tmp_path / "seven.png"
    to_pil_image(1 - test_data[0][0]).resize((280, 280)).save(picture)
    convnet.main(["--read", picture, "--device", "cuda"])
    assert "seven.png: 7 (probability" in capsys.readouterr().out
