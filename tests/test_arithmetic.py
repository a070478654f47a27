"""The small examples whose answers are known."""

import numpy as np
import torch
from torch import nn

SCORES = torch.tensor([0.2, 0.4, 0.9])


def rounded(tensor):
    return [round(value, 4) for value in tensor.flatten().tolist()]


def test_convolution_is_cross_correlation():
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    kernel = torch.tensor([[[[10.0, 20.0], [30.0, 40.0]]]])
    out = nn.functional.conv2d(image, kernel)
    assert out.tolist() == [[[[370, 470], [670, 770]]]]


def test_softmax_and_division_by_the_sum():
    assert rounded(SCORES.softmax(0)) == [0.2361, 0.2884, 0.4755]
    assert rounded(SCORES / SCORES.sum()) == [0.1333, 0.2667, 0.6]


def test_four_ways_to_the_cross_entropy():
    target = torch.tensor(2)
    log_softmax = SCORES.log_softmax(0)
    for loss in (-SCORES.softmax(0)[2].log(), -log_softmax[2],
                 nn.NLLLoss()(log_softmax, target),
                 nn.CrossEntropyLoss()(SCORES, target)):
        assert round(loss.item(), 4) == 0.7434


def test_gradient_of_the_cross_entropy_is_softmax_minus_one_hot():
    scores = torch.randn(7, 10, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(10, (7,))
    nn.CrossEntropyLoss(reduction="sum")(scores, labels).backward()
    exponentials = np.exp(scores.detach().numpy())
    softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores.grad, softmax - np.eye(10)[labels],
                               atol=1e-12)
    assert (scores.grad != 0).all()
