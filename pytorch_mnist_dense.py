"""The dense network that precedes the convolutional ones, of chapter 1.

With seed 0, its training ends with

    Test data results: 0.9783
"""

import signal

if __name__ == "__main__":  # Ctrl-C ends it at once while torch loads
    on_ctrl_c = signal.signal(signal.SIGINT, signal.SIG_DFL)

from torch import nn, sigmoid
from torch.nn.functional import mse_loss, one_hot

from common import run_command_line, train_and_test_network
from pytorch_mnist_convnet import EXPERIMENTS

RECIPE = EXPERIMENTS["dense"]


class Net(nn.Module):
    """One hidden layer of 100 sigmoid units; 79,510 parameters."""
    def __init__(self):
        super().__init__()
        self.hidden_layer = nn.Linear(28*28, 100)
        self.output_layer = nn.Linear(100, 10)

    def forward(self, images):                             # (N, 1, 28, 28)
        x = sigmoid(self.hidden_layer(images.flatten(1)))  # (N, 100)
        return sigmoid(self.output_layer(x))               # (N, 10)


def mean_squared_error(outputs, labels):
    """Returns the mean of (output - target)^2 over images and outputs, where
    the target is 1 for the label's output and 0 for the others."""
    return mse_loss(outputs, one_hot(labels, 10).to(outputs.dtype))


def run_network(net, num_epochs=RECIPE.epochs, lr=RECIPE.lr, **options):
    """Trains and tests net; for options, see train_and_test_network."""
    return train_and_test_network(net, num_epochs, lr,
                                  loss_function=mean_squared_error, **options)


def main(argv=None):
    """Runs the command line argv (None: that of the program)."""
    run_command_line(argv, "Trains and tests the dense network.",
                     {"dense": (Net, "dense")}, EXPERIMENTS,
                     mean_squared_error)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, on_ctrl_c)
    main()
