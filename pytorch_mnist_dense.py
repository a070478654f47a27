"""The two dense networks that precede the convolutional ones.

Net is that of chapter 1 of Nielsen's book. With seed 0, its training ends with

    Test data results: 0.9783

ShallowNet (--net shallow) is the one from which chapter 6 starts.
"""

from torch import nn, sigmoid
from torch.nn.functional import mse_loss, one_hot

from common import Recipe, check_labels, train_and_test_network


class Net(nn.Module):
    """One hidden layer of 100 sigmoid units; 79,510 parameters."""
    def __init__(self):
        super().__init__()
        self.hidden_layer = nn.Linear(28*28, 100)
        self.output_layer = nn.Linear(100, 10)

    def forward(self, images):                             # (N, 1, 28, 28)
        x = sigmoid(self.hidden_layer(images.flatten(1)))  # (N, 100)
        return sigmoid(self.output_layer(x))               # (N, 10)


class ShallowNet(nn.Module):
    """One hidden layer of 100 sigmoid units, and scores; 79,510 parameters."""
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(28*28, 100)
        self.out = nn.Linear(100, 10)

    def forward(self, images):                    # (N, 1, 28, 28)
        x = sigmoid(self.fc1(images.flatten(1)))  # (N, 100)
        return self.out(x)                        # (N, 10)


def mean_squared_error(outputs, labels):
    """Returns the mean of (output - target)^2 over images and outputs, where
    the target is 1 for the label's output and 0 for the others."""
    labels = check_labels(labels, len(outputs))
    return mse_loss(outputs, one_hot(labels, 10).to(outputs.dtype))


# What the command line trains: epochs, learning rate, weight decay, extended
# data. train_and_test_network has defaults of its own
EXPERIMENTS = {
    "dense": Recipe(Net, 30, 3.0, 0, False, loss_function=mean_squared_error,
                    scores=False, nielsen=96.59, article=97.85),
    "shallow": Recipe(ShallowNet, 60, 0.1, 0, False, nielsen=97.80),
}

NETS = {name: name for name in EXPERIMENTS}  # values of --net


def run_network(net, num_epochs=30, lr=3.0, **options):
    """Trains and tests a Net. The options are those of train_and_test_network,
    which itself is the function for a ShallowNet."""
    return train_and_test_network(net, num_epochs, lr,
                                  loss_function=mean_squared_error, **options)


def main(argv=None):
    """Runs the command line argv (default: sys.argv[1:])."""
    from extras.command_line import run_command_line
    run_command_line("Trains and tests a dense network. (Convolutional ones "
                     "are in pytorch_mnist_convnet.py.)", NETS, EXPERIMENTS,
                     read_with="dense", argv=argv)


if __name__ == "__main__":
    main()
