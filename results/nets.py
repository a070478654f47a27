"""What is computed from saved nets, EXPERIMENT-seedN.pt in this folder."""

from copy import deepcopy

import torch
from torch.nn.functional import max_pool2d

from common import compute_outputs, get_test_loader
from extras.runs import load_weights
from records import EXPERIMENTS


def load_net(experiment, path=None):
    """Returns the net of an experiment with the saved weights of a path, or
    else as seed 0 starts it; ValueError for a damaged file."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        net = EXPERIMENTS[experiment].net_class()
    if path is not None:
        load_weights(net, path)
    for weights in net.parameters():  # denormal numbers are slow
        weights.data[weights.abs() < 1e-30] = 0
    return net


def norm(net):
    """Returns the Euclidean norm of all weights and biases of a net."""
    return torch.cat([weights.flatten() for weights
                      in net.parameters()]).norm().item()


def certainty(net):
    """Returns the mean probability that a net gives the right test digits."""
    return torch.cat([
        compute_outputs(net, images).softmax(dim=1)[range(len(labels)), labels]
        for images, labels in get_test_loader()]).mean().item()


@torch.no_grad()
def way_through(net, image):
    """Returns [(name, arrays (n, height, width))] of an image's way through
    the final net, and the probabilities (10,).

    Computed in float64, so that all processors draw the same pixels.
    """
    net, x = deepcopy(net).double(), image.double()[None]
    probabilities = compute_outputs(net, x)[0].softmax(dim=0)
    stages = [("image", x[0])]
    for name in "conv1", "conv2":
        x = getattr(net, name)(x).relu()
        stages.append((f"{name}, ReLU", x[0]))
        x = max_pool2d(x, 2)
        stages.append(("pooling", x[0]))
    return stages, probabilities
