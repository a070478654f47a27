"""Training and testing: that it learns, is repeatable, and computes what the
plainest loop computes."""

import io
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

import common
import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from pytorch_mnist_convnet import (
    ConvNetTwoConvTwoDenseLayersWithDropout as Final)
from pytorch_mnist_convnet import train_and_test_network

CONVNETS = {  # class: (epochs, lr, wd, factor of the initial weights)
    # The sigmoid nets start on a plateau that takes them thousands of steps
    # to leave; from larger weights, like Nielsen's, a few hundred will do.
    convnet.ConvNetSimple: (6, 0.1, 0, 4),
    convnet.ConvNetTwoConvLayers: (6, 0.1, 0, 4),
    convnet.ConvNetTwoConvLayersReLU: (3, 0.03, 0.00005, 1),
    convnet.ConvNetTwoConvTwoDenseLayers: (3, 0.03, 0.00005, 1),
    convnet.ConvNetTwoConvTwoDenseLayersWithDropout: (3, 0.1, 0, 1),
}


def weights_of(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def accuracy_by_hand(net, data):
    net.eval()
    with torch.no_grad():
        answers = [net(image[None]).argmax().item() for image, _ in data]
    return sum(a == label for a, (_, label) in zip(answers, data)) / len(data)


@pytest.mark.parametrize("net_class", CONVNETS)
def test_every_convnet_learns(net_class, train_data, test_data):
    epochs, lr, wd, factor = CONVNETS[net_class]
    net = net_class()
    with torch.no_grad():
        for weights in net.parameters():
            weights *= factor
    accuracies = train_and_test_network(
        net, epochs, lr, wd,
        train_loader=common.get_loader(Subset(train_data, range(1000))),
        test_loader=common.get_loader(Subset(test_data, range(500)), 500))
    assert len(accuracies) == epochs
    assert accuracies[-1] > 0.5  # 0.1 is chance


def test_the_dense_network_learns(train_data, test_data):
    accuracies = dense.run_network(
        dense.Net(), num_epochs=4,
        train_loader=common.get_loader(Subset(train_data, range(1000))),
        test_loader=common.get_loader(Subset(test_data, range(500)), 500))
    assert accuracies[-1] > 0.5


def test_the_shallow_network_learns(train_data, test_data):
    accuracies = train_and_test_network(
        dense.ShallowNet(), 4,
        train_loader=common.get_loader(Subset(train_data, range(1000))),
        test_loader=common.get_loader(Subset(test_data, range(500)), 500))
    assert accuracies[-1] > 0.5


def test_accuracy_and_its_line(tiny_test_loader, test_data, capsys):
    net = convnet.ConvNetSimple()
    accuracy = common.test_network(net, tiny_test_loader)
    assert accuracy == accuracy_by_hand(net, Subset(test_data, range(100)))
    common.test_network(net, tiny_test_loader, "Epoch 3/60")
    assert capsys.readouterr().out == (
        f"Test data results: {accuracy}\n"
        f"Test data results: {accuracy}, Epoch 3/60\n")


def test_what_training_prints(tiny_train_loader, tiny_test_loader, capsys):
    net = dense.Net()
    first, second = dense.run_network(
        net, 2, train_loader=tiny_train_loader, test_loader=tiny_test_loader)
    output = capsys.readouterr()
    assert output.out == (f"Test data results: {first}, Epoch 1/2\n"
                          f"Test data results: {second}, Epoch 2/2\n"
                          "\n"
                          f"Test data results: {second}\n")
    assert output.err == ""  # no bar where there is no terminal


def test_history_keeps_the_mean_loss_of_each_epoch(train_data,
                                                   tiny_test_loader):
    def loss_function(outputs, labels):
        losses.append(dense.mean_squared_error(outputs, labels))
        return losses[-1]

    losses, history = [], {}
    loader = common.get_loader(Subset(train_data, range(25)))
    accuracies = train_and_test_network(
        dense.Net(), 2, 3.0, loss_function=loss_function, train_loader=loader,
        test_loader=tiny_test_loader, history=history)
    by_hand = [loss.item() for loss in losses]
    assert history["loss"] == pytest.approx(
        [sum(by_hand[:3]) / 3, sum(by_hand[3:]) / 3])
    assert history["test_accuracy"] == accuracies
    assert len(history["seconds"]) == 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_loss_and_run_and_goes_away(monkeypatch,
                                                  tiny_test_loader):
    monkeypatch.setattr(sys, "stderr", Terminal())
    batches = [(torch.rand(10, 1, 28, 28), torch.arange(10))] * 2000
    dense.run_network(dense.Net(), 2, train_loader=batches,
                      test_loader=tiny_test_loader)
    bar = sys.stderr.getvalue()
    first, second = bar.split("Epoch 2/2", 1)
    assert "Epoch 1/2" in first and "loss=0." in first
    assert " 0/4000 " in first and " 2000/4000 " in second  # of the whole run
    assert bar.split("\r")[-2].strip() == ""


def test_a_bar_for_batches_without_length(monkeypatch, tiny_test_loader):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([(torch.rand(1, 28, 28), 3)] * 20)

    monkeypatch.setattr(sys, "stderr", Terminal())
    dense.run_network(dense.Net(), 1, train_loader=DataLoader(Stream(), 10),
                      test_loader=tiny_test_loader)
    assert "Epoch 1/1: 0it" in sys.stderr.getvalue()


def test_training_needs_no_stderr(monkeypatch, tiny_train_loader,
                                  tiny_test_loader):
    monkeypatch.setattr(sys, "stderr", None)  # as after 2>&-
    assert len(dense.run_network(
        dense.Net(), 1, train_loader=tiny_train_loader,
        test_loader=tiny_test_loader)) == 1


def train(net, seed, train_loader, test_loader, **options):
    torch.manual_seed(seed)
    net = net()
    common.train_and_test_network(net, 2, 0.05, train_loader=train_loader,
                                  test_loader=test_loader, **options)
    return weights_of(net)


def test_same_seed_same_weights(tiny_train_loader, tiny_test_loader):
    first = train(Final, 1, tiny_train_loader, tiny_test_loader)
    assert torch.equal(first, train(Final, 1, tiny_train_loader,
                                    tiny_test_loader))
    assert not torch.equal(first, train(Final, 2, tiny_train_loader,
                                        tiny_test_loader))


def test_testing_does_not_disturb_training(tiny_train_loader, test_data):
    some = Subset(test_data, range(30))
    loaders = [common.get_loader(some, 7, shuffle=False),
               common.get_loader(some), DataLoader(some, 4, shuffle=True),
               list(DataLoader(some, 30))]
    weights = [train(Final, 0, tiny_train_loader, loader)
               for loader in loaders]
    for other in weights[1:]:
        assert torch.equal(weights[0], other)


@pytest.mark.parametrize("training", [True, False])
def test_testing_leaves_mode_and_generator(training, tiny_test_loader):
    net = Final().train(training)
    before = torch.get_rng_state()
    common.test_network(net, tiny_test_loader)
    assert net.training is training
    assert torch.equal(torch.get_rng_state(), before)


def test_testing_leaves_the_mode_of_each_module(tiny_test_loader):
    net = convnet.ConvNetTwoConvTwoDenseLayersWithDropout()
    net.dropout1.eval()
    common.test_network(net, tiny_test_loader)
    assert net.training and net.dropout2.training
    assert not net.dropout1.training


def test_any_iterable_of_batches_will_do(tiny_test_loader):
    batches = [(torch.rand(3, 1, 28, 28).double(), torch.arange(3))] * 2
    net = dense.Net().double()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    accuracies = common.train_network(
        net, batches, 2, dense.mean_squared_error, sgd, test_loader=batches)
    assert len(accuracies) == 2
    assert weights_of(net).dtype == torch.float64


def test_the_models_of_others_are_left_as_they_are(tiny_test_loader):
    class View(nn.Module):  # as the article has it
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 20, 5)
            self.conv2 = nn.Conv2d(20, 40, 5)
            self.out = nn.Linear(4*4*40, 10)

        def forward(self, x):
            x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
            x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
            return self.out(x.view(-1, 4*4*40))

    net = View()
    train_and_test_network(net, 1, train_loader=tiny_test_loader,
                           test_loader=tiny_test_loader)
    assert net.conv2.weight.is_contiguous()


def test_a_model_without_weights_can_be_tested(tiny_test_loader):
    ink = nn.Sequential(nn.Flatten(), nn.ZeroPad1d(0))
    assert 0 <= common.test_network(ink, tiny_test_loader) <= 1


def test_the_training_images_are_the_default(tiny_train_loader,
                                             tiny_test_loader, monkeypatch):
    history, again = {}, {}
    monkeypatch.setattr(common, "get_train_loader", lambda: tiny_train_loader)
    for kept, options in ((history, {}),
                          (again, {"train_loader": tiny_train_loader})):
        torch.manual_seed(0)
        train_and_test_network(dense.ShallowNet(), 1, history=kept,
                               test_loader=tiny_test_loader, **options)
    assert history["loss"] == again["loss"]


def test_the_mnist_test_images_are_the_default(tiny_train_loader):
    net = dense.Net()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    accuracy, = common.train_network(net, tiny_train_loader, 1,
                                     dense.mean_squared_error, sgd)
    assert accuracy == common.test_network(net, common.get_test_loader())


def test_a_loader_without_batches(tiny_train_loader, tiny_test_loader):
    once = iter(list(tiny_train_loader))
    with pytest.raises(ValueError, match="Epoch 2/2.*loader is empty"):
        dense.run_network(dense.Net(), 2, train_loader=once,
                          test_loader=tiny_test_loader)
    with pytest.raises(ValueError, match="test loader is empty"):
        common.test_network(dense.Net(), [])


@pytest.mark.parametrize("labels", [
    torch.zeros(10, 1, dtype=torch.int64), torch.eye(10),
    torch.eye(10).long(), torch.zeros(10), torch.zeros(9).long(),
    torch.zeros(10).bool(), torch.zeros(10).cfloat(), [0] * 10, np.zeros(10)],
    ids=["column", "one-hot", "one-hot int", "float", "too few", "bool",
         "complex", "list", "numpy"])
def test_labels_are_one_integer_for_each_image(labels):
    images, net = torch.rand(10, 1, 28, 28), dense.Net()
    with pytest.raises(ValueError, match="labels must be a tensor of integers "
                       r"of shape \(10,\)"):
        common.test_network(net, [(images, labels)])
    with pytest.raises(ValueError, match="labels must be a tensor"):
        dense.mean_squared_error(net(images), labels)


def test_labels_may_be_integers_of_any_size(capsys):
    images, net = torch.rand(10, 1, 28, 28), dense.Net()
    answers = common.predict(net, images)
    for dtype in torch.int32, torch.uint8:
        assert common.test_network(net, [(images, answers.to(dtype))]) == 1
        assert dense.mean_squared_error(net(images), answers.to(dtype)) == (
            dense.mean_squared_error(net(images), answers))


def test_outputs_are_those_of_a_test(tiny_test_loader):
    net, state = Final(), torch.get_rng_state()
    images = torch.cat([images for images, _ in tiny_test_loader] * 3)
    outputs = common.compute_outputs(net, images)
    assert net.training and not outputs.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(outputs, common.compute_outputs(net, images))
    torch.testing.assert_close(outputs, net.eval()(images).detach())
    assert torch.equal(common.predict(net, images), outputs.argmax(dim=1))


@pytest.mark.parametrize("net", [
    nn.Sequential(nn.Flatten(), nn.Unflatten(1, (784, 1))),
    nn.Flatten(0), nn.Flatten(0, 2)], ids=["column", "vector", "rows"])
def test_outputs_are_a_row_for_each_image(net):
    images = torch.rand(10, 1, 28, 28)
    with pytest.raises(ValueError, match="10 images gave outputs of shape"):
        common.test_network(net, [(images, torch.arange(10))])


@pytest.mark.parametrize("shape", [
    (28, 28), (1, 28, 28), (784,), (3, 1, 32, 32), (3, 28, 28), (3, 784)])
def test_images_of_another_shape(shape):
    with pytest.raises(ValueError, match="the net fails on .* is image.view"):
        common.predict(convnet.ConvNetSimple(), torch.rand(shape))


@pytest.mark.parametrize("images", ["seven.png", np.zeros((1, 1, 28, 28))])
def test_images_are_a_tensor(images):
    with pytest.raises(TypeError, match="tensor .*, not a (str|ndarray)"):
        common.predict(convnet.ConvNetSimple(), images)


@pytest.mark.parametrize("shape", [(28, 28), (10, 28, 28), (3, 1, 28, 28)])
def test_bytes_are_no_images(shape):
    with pytest.raises(TypeError, match="uint8; .* float32 .* by 255"):
        common.predict(convnet.ConvNetSimple(),
                       torch.zeros(shape, dtype=torch.uint8))


def test_nan_is_no_answer():
    images = torch.rand(3, 1, 28, 28)
    images[1, 0, 5, 5] = float("nan")
    with pytest.raises(ValueError, match="outputs are nan"):
        common.predict(dense.Net(), images)


def test_the_mean_loss_of_half_precision(tiny_test_loader):
    """A sum of thousands of losses is more than bfloat16 can count."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).bfloat16()
    batches = [(torch.rand(10, 1, 28, 28).bfloat16(), torch.arange(10))]
    sgd = common.PlainSGD(net.parameters(), lr=0)
    few, many = (common.train_epoch(net, batches * n, nn.CrossEntropyLoss(),
                                    sgd) for n in (1, 3000))
    assert many == pytest.approx(few, rel=1e-3)


def test_large_finite_weights_of_half_precision_have_not_diverged():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).half()
    with torch.no_grad():
        net[1].weight[:] = 60_000
    batches = [(torch.zeros(1, 1, 28, 28).half(), torch.tensor([3]))]
    loss = common.train_epoch(net, batches, nn.CrossEntropyLoss(),
                              common.PlainSGD(net.parameters(), lr=0))
    assert loss == pytest.approx(np.log(10), abs=0.1)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_divergence_stops_before_the_test(bad, tiny_test_loader, capsys):
    batches = [(torch.rand(3, 1, 28, 28), torch.arange(3))] * 3
    with pytest.raises(FloatingPointError,
                       match="Epoch 1/2.*(nan|inf).*lower learning rate"):
        train_and_test_network(
            convnet.ConvNetSimple(), 2, train_loader=batches,
            test_loader=tiny_test_loader,
            loss_function=lambda scores, labels: scores.sum() * bad)
    assert capsys.readouterr().out == ""


RECIPES = [  # net, lr, weight decay, loss: every recipe's kind of step
    (convnet.ConvNetSimple, 0.1, 0, nn.CrossEntropyLoss()),
    (convnet.ConvNetTwoConvLayers, 0.1, 0, nn.CrossEntropyLoss()),
    (convnet.ConvNetTwoConvLayersReLU, 0.03, 0.1, nn.CrossEntropyLoss()),
    (convnet.ConvNetTwoConvTwoDenseLayers, 0.03, 5e-5, nn.CrossEntropyLoss()),
    (dense.Net, 3.0, 0, dense.mean_squared_error),
    (dense.ShallowNet, 0.1, 0, nn.CrossEntropyLoss()),
]


@pytest.mark.parametrize("net_class, lr, wd, loss_function", RECIPES)
def test_50_steps_of_the_plainest_loop(net_class, lr, wd, loss_function,
                                       train_data, tiny_test_loader):
    batches = [(images.double(), labels) for images, labels
               in common.get_loader(Subset(train_data, range(500)))]
    test = [(images.double(), labels) for images, labels in tiny_test_loader]
    ours, plain = net_class().double(), net_class().double()
    plain.load_state_dict(ours.state_dict())
    train_and_test_network(ours, 1, lr, wd, loss_function, batches, test)

    for images, labels in batches:
        plain.zero_grad()
        loss_function(plain(images), labels).backward()
        with torch.no_grad():
            for weights in plain.parameters():
                weights -= lr * (weights.grad + wd * weights)
    torch.testing.assert_close(weights_of(ours), weights_of(plain),
                               rtol=0, atol=1e-9)


def test_plain_sgd_is_sgd():
    def train(optimizer_class):
        torch.manual_seed(0)
        net = dense.Net().double()
        sgd = optimizer_class(net.parameters(), lr=0.5, weight_decay=0.01)
        for _ in range(20):
            sgd.zero_grad()
            net(torch.rand(5, 784).double()).square().sum().backward()
            sgd.step()
        return weights_of(net)

    torch.testing.assert_close(train(common.PlainSGD), train(torch.optim.SGD),
                               rtol=0, atol=1e-12)


def test_infinite_weights_are_divergence(tiny_test_loader):
    """Even if the loss of the epoch was finite."""
    batches = [(torch.rand(3, 1, 28, 28), torch.arange(3))]
    with pytest.raises(FloatingPointError, match="weights not finite"):
        train_and_test_network(dense.ShallowNet(), 1, lr=float("inf"),
                               train_loader=batches,
                               test_loader=tiny_test_loader)


def test_vote_of_three_nets():
    answers = torch.tensor([[7, 1, 3, 9],
                            [7, 2, 5, 0],
                            [7, 2, 4, 9]])
    digits = common.vote(answers)
    assert digits.tolist() == [7, 2, 3, 9]  # of 3, 5 and 4 the smallest
    assert digits.dtype == torch.int64


def test_vote_counts_as_numpy_does():
    answers = torch.randint(10, (5, 1000))
    counts = [np.bincount(column).argmax() for column in answers.numpy().T]
    assert common.vote(answers).tolist() == counts


@pytest.mark.parametrize("predictions", [
    torch.zeros(10, dtype=torch.int64), torch.zeros(0, 10, dtype=torch.int64),
    torch.zeros(2, 10, 10, dtype=torch.int64), torch.zeros(2, 10),
    torch.tensor([[3, 10]]), torch.tensor([[3, -1]]),
    [torch.tensor([7, 1]), torch.tensor([7, 2])], [[7, 1], [7, 2]]])
def test_vote_needs_a_row_of_digits_for_each_net(predictions):
    with pytest.raises(ValueError, match=r"int64 digits .*torch.stack\("):
        common.vote(predictions)
