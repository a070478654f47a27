"""The networks: their layers, and their outputs computed another way."""

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


NETWORKS = {  # class: (parameters, activation, layers in their order)
    convnet.ConvNetSimple: (289_630, sigmoid, "conv1 fc1 out"),
    convnet.ConvNetTwoConvLayers: (85_670, sigmoid, "conv1 conv2 fc1 out"),
    convnet.ConvNetTwoConvLayersReLU: (85_670, relu, "conv1 conv2 fc1 out"),
    convnet.ConvNetTwoConvTwoDenseLayers: (
        1_672_570, relu, "conv1 conv2 fc1 fc2 out"),
    convnet.ConvNetTwoConvTwoDenseLayersWithDropout: (
        1_672_570, relu,
        "conv1 conv2 dropout1 fc1 dropout2 fc2 dropout3 out"),
    dense.Net: (79_510, sigmoid, "hidden_layer output_layer"),
    dense.ShallowNet: (79_510, sigmoid, "fc1 out"),
}


@pytest.mark.parametrize("net_class", NETWORKS)
def test_layers_and_parameters(net_class):
    net, called = net_class(), []
    for name, layer in net.named_children():
        layer.register_forward_hook(lambda *_, name=name: called.append(name))
    assert net(torch.rand(3, 1, 28, 28)).shape == (3, 10)
    count, _, layers = NETWORKS[net_class]
    assert called == layers.split()
    assert sum(p.numel() for p in net.parameters()) == count
    if "conv2" in called:  # the published bits are those of this layout
        assert net.conv2.weight.is_contiguous(
            memory_format=torch.channels_last)


def outputs_by_numpy(state, images, activation):
    """The forward pass from a state_dict, as sums over windows: activation
    first and then pooling, which is the order in the article."""
    x = images.numpy().astype(np.float64)
    w = {name: tensor.numpy().astype(np.float64)
         for name, tensor in state.items()}
    for conv in ("conv1", "conv2"):
        if f"{conv}.weight" in w:
            windows = sliding_window_view(x, (5, 5), axis=(2, 3))
            x = np.einsum("ncyxij,ocij->noyx", windows, w[f"{conv}.weight"])
            x = activation(x + w[f"{conv}.bias"][:, None, None])
            n, c, height, width = x.shape
            x = x.reshape(n, c, height // 2, 2, width // 2, 2).max((3, 5))
    x = x.reshape(len(x), -1)
    for layer in ("fc1", "fc2", "hidden_layer", "output_layer"):
        if f"{layer}.weight" in w:
            x = activation(x @ w[f"{layer}.weight"].T + w[f"{layer}.bias"])
    return x @ w["out.weight"].T + w["out.bias"] if "out.weight" in w else x


@pytest.mark.parametrize("net_class", NETWORKS)
def test_outputs_are_those_of_numpy(net_class):
    net, images = net_class().eval(), torch.rand(4, 1, 28, 28)
    expected = outputs_by_numpy(net.state_dict(), images,
                                NETWORKS[net_class][1])
    with torch.no_grad():
        np.testing.assert_allclose(net(images), expected, atol=1e-5)


def test_dropout_drops_a_share_and_scales_the_rest():
    net = convnet.ConvNetTwoConvTwoDenseLayersWithDropout()
    assert [layer.p for layer in net.children()
            if isinstance(layer, nn.Dropout)] == [0.5] * 3
    net.dropout1.p = 0.2
    out = net.dropout1(torch.ones(400, 500))
    assert set(out.unique().tolist()) == {0, 1.25}
    assert abs((out == 0).float().mean() - 0.2) < 0.005
    images = torch.rand(2, 1, 28, 28)
    assert not torch.equal(net(images), net(images))
    net.eval()
    assert torch.equal(net(images), net(images))


def test_receptive_field_is_16_pixels_4_apart():
    net = convnet.ConvNetTwoConvLayersReLU()
    images = torch.rand(1, 1, 28, 28, requires_grad=True)
    # averages instead of maxima, so that every pixel counts
    pooled = nn.functional.avg_pool2d(net.conv2(
        nn.functional.avg_pool2d(net.conv1(images), 2)), 2)
    assert pooled.shape == (1, 40, 4, 4)
    for k in range(4):
        gradient, = torch.autograd.grad(pooled[..., k, k].sum(), images,
                                        retain_graph=True)
        rows = gradient[0, 0].any(dim=1).nonzero().flatten()
        assert rows.tolist() == list(range(4 * k, 4 * k + 16))
