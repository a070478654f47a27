"""What is computed from published networks, EXPERIMENT-seedN.pt."""

from copy import deepcopy

import torch
from torch.nn.functional import max_pool2d

from common import (SHIFTS, compute_outputs, get_test_loader, identity,
                    measure_accuracy)
from extras.report.records import RECIPES
from extras.runs import find_weights, load_weights


def load_net(experiment, path):
    """Returns the net of an experiment with the weights of a path."""
    net = RECIPES[experiment].net_class()
    load_weights(net, path)
    return net


def measure_shifts():
    """Returns {experiment: the shift_accuracies of a published net}."""
    loader = get_test_loader()
    return {name: shift_accuracies(load_net(name, path), loader)
            for name in RECIPES if name != "dbl_conv_relu_wd0.1"
            if (path := find_weights(name))}


def shift_accuracies(net, loader):
    """Returns a net's accuracies (3,) in per cent on a loader's images: as
    they are, and moved by one and by two pixels (the mean of four ways)."""
    def percent_right(move):
        return 100 * measure_accuracy(net, (
            (move(images), labels) for images, labels in loader))

    once = sum(percent_right(shift) for shift in SHIFTS[1:])
    twice = sum(percent_right(lambda images: shift(shift(images)))
                for shift in SHIFTS[1:])
    return [percent_right(identity), once / 4, twice / 4]


@torch.no_grad()
def compute_activations(net, image):
    """Returns [(name, arrays (n, height, width))] of an image and what the
    layers of the final net make of it, and the probabilities (10,)."""
    net, x = deepcopy(net).double(), image.double()[None]  # the same anywhere
    probabilities = compute_outputs(net, x)[0].softmax(dim=0)
    stages = [("image", x[0])]
    for name in "conv1", "conv2":
        x = getattr(net, name)(x).relu()
        stages.append((f"{name}, ReLU", x[0]))
        x = max_pool2d(x, 2)
        stages.append(("pooling", x[0]))
    x = x.flatten(1)
    for name in "fc1", "fc2":
        x = getattr(net, name)(x).relu()
        stages.append((f"{name}, ReLU", x.view(1, 40, 25)))
    return stages, probabilities


def most_varied_map(net, image):
    """Returns an image (28, 28), the kernel of the first convolution whose map
    of it varies most, that map (24, 24), and the pooled map (12, 12)."""
    (_, image), (_, maps), (_, pooled), *_ = compute_activations(net, image)[0]
    k = maps.flatten(1).std(dim=1).argmax()
    return image[0], net.conv1.weight.detach()[k, 0], maps[k], pooled[k]
