"""Five convolutional networks of chapter 6 of Nielsen's book.

With seed 0, training the first of them ends with

    Test data results: 0.9908

A 5x5 convolution removes four rows and columns; 2x2 pooling halves the rest.
Pooling comes before the activation, as in Nielsen's code. For activations that
never decrease (so not for GELU or SiLU) the result is the same, and there are
fewer to compute.

The layout channels_last only makes the nets faster. If you edit a net, flatten
maps with x.flatten(1), as x.view fails.
"""

import torch
from torch import max_pool2d, nn, relu, sigmoid

from common import Recipe, train_and_test_network  # noqa: F401, for the REPL


class ConvNetSimple(nn.Module):
    """One convolution and one hidden layer; 289,630 parameters."""
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.fc1 = nn.Linear(12*12*20, 100)
        self.out = nn.Linear(100, 10)
        self.to(memory_format=torch.channels_last)

    def forward(self, images):                          # (N, 1, 28, 28)
        x = sigmoid(max_pool2d(self.conv1(images), 2))  # (N, 20, 12, 12)
        x = sigmoid(self.fc1(x.flatten(1)))             # (N, 100)
        return self.out(x)                              # (N, 10)


class ConvNetTwoConvLayers(nn.Module):
    """Two convolutions and one hidden layer; 85,670 parameters."""
    act = staticmethod(sigmoid)  # or a Python function would get self

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 40, 5)
        self.fc1 = nn.Linear(4*4*40, 100)
        self.out = nn.Linear(100, 10)
        self.to(memory_format=torch.channels_last)

    def forward(self, images):                           # (N, 1, 28, 28)
        x = self.act(max_pool2d(self.conv1(images), 2))  # (N, 20, 12, 12)
        x = self.act(max_pool2d(self.conv2(x), 2))       # (N, 40, 4, 4)
        x = self.act(self.fc1(x.flatten(1)))             # (N, 100)
        return self.out(x)                               # (N, 10)


class ConvNetTwoConvLayersReLU(ConvNetTwoConvLayers):
    """The same with rectified linear units; 85,670 parameters."""
    act = staticmethod(relu)


class ConvNetTwoConvTwoDenseLayers(nn.Module):
    """Two convolutions, two hidden layers, ReLU; 1,672,570 parameters."""
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 40, 5)
        self.fc1 = nn.Linear(4*4*40, 1000)
        self.fc2 = nn.Linear(1000, 1000)
        self.out = nn.Linear(1000, 10)
        self.to(memory_format=torch.channels_last)

    def forward(self, images):                       # (N, 1, 28, 28)
        x = relu(max_pool2d(self.conv1(images), 2))  # (N, 20, 12, 12)
        x = relu(max_pool2d(self.conv2(x), 2))       # (N, 40, 4, 4)
        x = relu(self.fc1(x.flatten(1)))             # (N, 1000)
        x = relu(self.fc2(x))                        # (N, 1000)
        return self.out(x)                           # (N, 10)


class Dropout(nn.Dropout):
    """nn.Dropout, for p below 1, with its mask drawn by rand, which on a CPU
    is four times as fast as the library's bernoulli_."""
    def forward(self, x):
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        return x * torch.rand_like(x).ge_(self.p).mul_(1 / (1 - self.p))


class ConvNetTwoConvTwoDenseLayersWithDropout(ConvNetTwoConvTwoDenseLayers):
    """The same with dropout before dense layers; 1,672,570 parameters."""
    def __init__(self):
        super().__init__()
        self.dropout1 = Dropout(p=0.5)
        self.dropout2 = Dropout(p=0.5)
        self.dropout3 = Dropout(p=0.5)

    def forward(self, images):                           # (N, 1, 28, 28)
        x = relu(max_pool2d(self.conv1(images), 2))      # (N, 20, 12, 12)
        x = relu(max_pool2d(self.conv2(x), 2))           # (N, 40, 4, 4)
        x = relu(self.fc1(self.dropout1(x.flatten(1))))  # (N, 1000)
        x = relu(self.fc2(self.dropout2(x)))             # (N, 1000)
        return self.out(self.dropout3(x))                # (N, 10)


# What the command line trains: epochs, learning rate, weight decay, extended
# data. train_and_test_network has defaults of its own
EXPERIMENTS = {
    "basic_conv": Recipe(
        ConvNetSimple, 60, 0.1, 0, False, nielsen=98.78, article=98.97),
    "dbl_conv": Recipe(
        ConvNetTwoConvLayers, 60, 0.1, 0, False, nielsen=99.06, article=99.05),
    "dbl_conv_relu": Recipe(
        ConvNetTwoConvLayersReLU, 60, 0.03, 0.00005, False,
        nielsen=99.23, article=99.43),
    "expanded_data": Recipe(
        ConvNetTwoConvLayersReLU, 60, 0.03, 0.00005, True,
        nielsen=99.37, article=99.51),
    "expanded_data_double_fc": Recipe(
        ConvNetTwoConvTwoDenseLayers, 60, 0.03, 0.00005, True, nielsen=99.47),
    "double_fc_dropout_lr0.03": Recipe(
        ConvNetTwoConvTwoDenseLayersWithDropout, 40, 0.03, 0, True,
        nielsen=99.60, article=99.64),
    "double_fc_dropout": Recipe(
        ConvNetTwoConvTwoDenseLayersWithDropout, 40, 0.005, 0, True,
        article=99.63),
    "distorted_data": Recipe(
        ConvNetTwoConvTwoDenseLayersWithDropout, 60, 0.01, 0, False,
        distort=True),
    "dbl_conv_relu_wd0": Recipe(
        ConvNetTwoConvLayersReLU, 60, 0.03, 0, False),
    "dbl_conv_relu_wd0.00002": Recipe(
        ConvNetTwoConvLayersReLU, 60, 0.03, 0.00002, False, nielsen=99.23),
    "dbl_conv_relu_wd0.1": Recipe(
        ConvNetTwoConvLayersReLU, 60, 0.03, 0.1, False, article=85.31),
}

NETS = {  # values of --net, and the experiments that they stand for
    "simple": "basic_conv",
    "2conv": "dbl_conv",
    "relu": "dbl_conv_relu",
    "2dense": "expanded_data_double_fc",
    "final": "double_fc_dropout",
}


def main(argv=None):
    """Runs the command line argv (default: sys.argv[1:])."""
    from extras.command_line import run_command_line
    run_command_line("Trains and tests a convolutional network. (Dense ones "
                     "are in pytorch_mnist_dense.py.)", NETS, EXPERIMENTS,
                     read_with="double_fc_dropout", argv=argv)


if __name__ == "__main__":
    main()
