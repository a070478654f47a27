"""The step of backpropagation by hand and by PyTorch."""

import pytest
import torch

import backprop_manual_calculation as manual
import backprop_pytorch

LINES = """\
w_l1 = 1.58
b_l1 = -0.14
w_l2 = 2.45
b_l2 = -0.11
a_l2 = 0.8506
updated_w_l1 = 1.5814
updated_b_l1 = -0.1383
updated_w_l2 = 2.4529
updated_b_l2 = -0.1062
updated_a_l2 = 0.8515
"""
TOPOLOGY = """\
network topology: Net(
  (hidden_layer): Linear(in_features=1, out_features=1, bias=True)
  (output_layer): Linear(in_features=1, out_features=1, bias=True)
)
"""


def test_what_the_scripts_print(capsys):
    manual.main()
    assert capsys.readouterr().out == LINES
    backprop_pytorch.main()
    assert capsys.readouterr().out == TOPOLOGY + LINES


@pytest.mark.parametrize("x, target", [(0.8, 1.0), (-2.0, 0.3)])
def test_both_scripts_take_the_same_step(x, target):
    net = backprop_pytorch.Net().double()
    with torch.no_grad():  # the same values, in float64
        for weights, value in zip(net.parameters(), manual.WEIGHTS.values()):
            weights.fill_(value)
    backprop_pytorch.train_step(net, torch.tensor([x], dtype=torch.float64),
                                torch.tensor([target], dtype=torch.float64))
    by_hand = manual.train_step(manual.WEIGHTS, x, target)
    assert [weights.item() for weights in net.parameters()] == pytest.approx(
        list(by_hand.values()), rel=1e-12)
