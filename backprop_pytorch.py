"""The step of backprop_manual_calculation.py again, done by PyTorch.

Prints the network, then the same lines; the last one is

    updated_a_l2 = 0.8515
"""

import torch
from torch import nn, sigmoid

from backprop_manual_calculation import (INPUT, STEP_SIZE, TARGET, WEIGHTS,
                                         print_values)


class Net(nn.Module):
    """One hidden and one output neuron, with the weights of the example."""
    def __init__(self):
        super().__init__()
        self.hidden_layer = nn.Linear(1, 1)
        self.output_layer = nn.Linear(1, 1)
        for weights, value in zip(self.parameters(), WEIGHTS.values()):
            nn.init.constant_(weights, value)

    def forward(self, x):                     # (..., 1)
        x = sigmoid(self.hidden_layer(x))     # (..., 1)
        return sigmoid(self.output_layer(x))  # (..., 1)


def train_step(net, x, target, step_size=STEP_SIZE):
    """Moves the net's weights by one step of gradient descent."""
    net.zero_grad()
    nn.functional.mse_loss(net(x), target).backward()
    torch.optim.SGD(net.parameters(), lr=step_size).step()


def values(net, x):
    """Returns the net's weights and biases, and its output for x."""
    return [tensor.item() for tensor in (*net.parameters(), net(x))]


def main():
    """Prints the example before and after its step."""
    net, x = Net(), torch.tensor([INPUT])
    print(f"network topology: {net}")
    print_values("", *values(net, x))
    train_step(net, x, torch.tensor([TARGET]))
    print_values("updated_", *values(net, x))


if __name__ == "__main__":
    main()
