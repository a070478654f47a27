"""One step of backpropagation by hand, for one hidden and one output neuron.

Prints the weights and the output before and after it; the last line is

    updated_a_l2 = 0.8515

Layer l computes z_l = w_l a_(l-1) + b_l and a_l = sigmoid(z_l), where a_l0 is
the input. The cost is (a_l2 - target)^2; dz_l is its derivative with respect
to z_l.
"""

import numpy as np

INPUT, TARGET, STEP_SIZE = 0.8, 1.0, 0.1
WEIGHTS = {"w_l1": 1.58, "b_l1": -0.14, "w_l2": 2.45, "b_l2": -0.11}


def sigmoid(z):
    """Returns 1 / (1 + e^-z)."""
    return 1 / (1 + np.exp(-z))


def feed_forward(weights, a_l0=INPUT):
    """Returns the activations (a_l1, a_l2) of both layers."""
    a_l1 = sigmoid(weights["w_l1"] * a_l0 + weights["b_l1"])
    a_l2 = sigmoid(weights["w_l2"] * a_l1 + weights["b_l2"])
    return a_l1, a_l2


def gradient(weights, a_l0=INPUT, target=TARGET):
    """Returns the derivative of the cost with respect to each weight, by name;
    that of a = sigmoid(z) is a (1 - a)."""
    a_l1, a_l2 = feed_forward(weights, a_l0)
    dz_l2 = 2 * (a_l2 - target) * a_l2 * (1 - a_l2)
    dz_l1 = dz_l2 * weights["w_l2"] * a_l1 * (1 - a_l1)
    return {"w_l1": dz_l1 * a_l0, "b_l1": dz_l1,
            "w_l2": dz_l2 * a_l1, "b_l2": dz_l2}


def train_step(weights, a_l0=INPUT, target=TARGET, step_size=STEP_SIZE):
    """Returns the weights after one step of gradient descent."""
    slopes = gradient(weights, a_l0, target)
    return {name: weights[name] - step_size * slopes[name] for name in weights}


def print_values(prefix, *values):
    """Prints the four weights and the output, rounded to four decimals."""
    for name, value in zip([*WEIGHTS, "a_l2"], values):
        print(f"{prefix}{name} = {round(float(value), 4)}")


def main():
    """Prints the example before and after its step."""
    updated = train_step(WEIGHTS)
    print_values("", *WEIGHTS.values(), feed_forward(WEIGHTS)[1])
    print_values("updated_", *updated.values(), feed_forward(updated)[1])


if __name__ == "__main__":
    main()
