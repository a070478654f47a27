"""The networks: sizes, and their outputs computed another way."""

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


NETWORKS = {  # class: (parameters, activation)
    convnet.ConvNetSimple: (289_630, sigmoid),
    convnet.ConvNetTwoConvLayers: (85_670, sigmoid),
    convnet.ConvNetTwoConvLayersReLU: (85_670, relu),
    convnet.ConvNetTwoConvTwoDenseLayers: (1_672_570, relu),
    convnet.ConvNetTwoConvTwoDenseLayersWithDropout: (1_672_570, relu),
    dense.Net: (79_510, sigmoid),
    dense.ShallowNet: (79_510, sigmoid),
}
SHAPES = {
    "conv1": (20, 1, 5, 5), "conv2": (40, 20, 5, 5), "fc2": (1000, 1000),
    "hidden_layer": (100, 784), "output_layer": (10, 100),
}


@pytest.mark.parametrize("net_class", NETWORKS)
def test_parameters_and_shapes(net_class):
    net = net_class()
    assert sum(p.numel() for p in net.parameters()) == NETWORKS[net_class][0]
    assert net(torch.rand(3, 1, 28, 28)).shape == (3, 10)
    for name, layer in net.named_children():
        if name in SHAPES:
            assert layer.weight.shape == SHAPES[name]


def test_attribute_names():
    layers = {net: list(dict(net().named_children())) for net in NETWORKS}
    assert list(layers.values()) == [
        ["conv1", "fc1", "out"],
        ["conv1", "conv2", "fc1", "out"],
        ["conv1", "conv2", "fc1", "out"],
        ["conv1", "conv2", "fc1", "fc2", "out"],
        ["conv1", "conv2", "fc1", "fc2", "out",
         "dropout1", "dropout2", "dropout3"],
        ["hidden_layer", "output_layer"],
        ["fc1", "out"],
    ]


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
@pytest.mark.parametrize("layout", [torch.contiguous_format,
                                    torch.channels_last])
def test_outputs_are_those_of_numpy(net_class, layout):
    net = net_class().eval().to(memory_format=layout)
    images = torch.rand(4, 1, 28, 28)
    expected = outputs_by_numpy(net.state_dict(), images,
                                NETWORKS[net_class][1])
    with torch.no_grad():
        np.testing.assert_allclose(net(images), expected, atol=1e-5)


def test_dropout_drops_half_and_doubles_the_rest():
    net = convnet.ConvNetTwoConvTwoDenseLayersWithDropout()
    for dropout in (net.dropout1, net.dropout2, net.dropout3):
        assert isinstance(dropout, nn.Dropout) and dropout.p == 0.5
    out = net.dropout1(torch.ones(400, 500))
    assert set(out.unique().tolist()) == {0, 2}
    assert abs((out == 0).float().mean() - 0.5) < 0.005
    assert torch.equal(net.dropout1.eval()(torch.ones(3)), torch.ones(3))


def test_dropout_acts_in_training_alone():
    net = convnet.ConvNetTwoConvTwoDenseLayersWithDropout()
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


def test_the_recipes_are_the_published_ones():
    final = convnet.ConvNetTwoConvTwoDenseLayersWithDropout
    relu = convnet.ConvNetTwoConvLayersReLU
    rows = {name: recipe[:6] for script in (dense, convnet)
            for name, recipe in script.EXPERIMENTS.items()}
    assert rows == {
        "dense": (dense.Net, 30, 3.0, 0, False, False),
        "shallow": (dense.ShallowNet, 60, 0.1, 0, False, False),
        "basic_conv": (convnet.ConvNetSimple, 60, 0.1, 0, False, False),
        "dbl_conv": (convnet.ConvNetTwoConvLayers, 60, 0.1, 0, False, False),
        "dbl_conv_relu_wd0.1": (relu, 60, 0.03, 0.1, False, False),
        "dbl_conv_relu_wd0.00002": (relu, 60, 0.03, 0.1/5000, False, False),
        "dbl_conv_relu": (relu, 60, 0.03, 0.00005, False, False),
        "expanded_data": (relu, 60, 0.03, 0.00005, True, False),
        "expanded_data_double_fc": (
            convnet.ConvNetTwoConvTwoDenseLayers, 60, 0.03, 0.00005, True,
            False),
        "double_fc_dropout_lr0.03": (final, 40, 0.03, 0, True, False),
        "double_fc_dropout": (final, 40, 0.005, 0, True, False),
        "distorted_data": (final, 60, 0.01, 0, False, True),
    }


def test_only_the_dense_network_of_chapter_1_has_another_loss():
    for script in dense, convnet:
        for name, recipe in script.EXPERIMENTS.items():
            first = name == "dense"
            assert recipe.scores is not first
            assert isinstance(recipe.loss_function,
                              nn.CrossEntropyLoss) is not first
