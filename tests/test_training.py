"""Training and testing: that it computes what the plainest loop computes, is
repeatable, and refuses what would train or test something else."""

import io
import sys
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

import common
import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense

CROSS_ENTROPY, MSE = nn.CrossEntropyLoss(), dense.mean_squared_error
RECIPES = {  # net: (lr, weight decay, loss): every recipe's kind of step
    convnet.ConvNetSimple: (0.1, 0, CROSS_ENTROPY),
    convnet.ConvNetTwoConvLayers: (0.1, 0, CROSS_ENTROPY),
    convnet.ConvNetTwoConvLayersReLU: (0.03, 0.1, CROSS_ENTROPY),
    convnet.ConvNetTwoConvTwoDenseLayersWithDropout: (
        0.03, 5e-5, CROSS_ENTROPY),
    dense.Net: (3.0, 0, MSE),
    dense.ShallowNet: (0.1, 0, CROSS_ENTROPY),
}


def weights_of(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def small_net():
    return nn.Sequential(nn.Flatten(), convnet.Dropout(), nn.Linear(784, 10))


def random_batches(count, size=10):
    return [(torch.rand(size, 1, 28, 28), torch.randint(10, (size,)))
            for _ in range(count)]


def train(net, batches, num_epochs=1, *args, **options):
    """Trains net, and tests it with the same batches by default."""
    return common.train_and_test_network(net, num_epochs, *args, **{
        "train_loader": batches, "test_loader": batches, **options})


# What is computed

def take_plain_steps(net, batches, lr, wd, loss_function):
    """The plainest loop."""
    for images, labels in batches:
        net.zero_grad()
        loss_function(net(images), labels).backward()
        with torch.no_grad():
            for weights in net.parameters():
                weights -= lr * (weights.grad + wd * weights)


@pytest.mark.parametrize("net_class", RECIPES)
def test_50_steps_of_the_plainest_loop(net_class, train_data):
    recipe = RECIPES[net_class]
    batches = [(images.double(), labels) for images, labels
               in common.get_loader(Subset(train_data, range(99)), 2)]
    ours, plain = net_class().double().eval(), net_class().double()
    plain.load_state_dict(ours.state_dict())
    torch.manual_seed(1)  # of the masks of dropout
    train(ours, batches, 1, *recipe, test_loader=batches[:1])
    torch.manual_seed(1)
    take_plain_steps(plain, batches, *recipe)
    torch.testing.assert_close(weights_of(ours), weights_of(plain),
                               rtol=0, atol=1e-9)


@pytest.mark.parametrize("train, net_class, epochs, lr, cost", [
    (common.train_and_test_network, dense.ShallowNet, 60, 0.1,
     lambda scores, labels: (scores.logsumexp(1)
                             - scores[range(10), labels]).mean()),
    (dense.run_network, dense.Net, 30, 3.0, lambda outputs, labels: (
        outputs - torch.eye(10)[labels]).square().mean())])
def test_the_defaults(train, net_class, epochs, lr, cost, monkeypatch):
    """Epochs, rate, no decay, loss, and the loaders of MNIST."""
    batches, test, ours = random_batches(1), random_batches(2), net_class()
    plain = deepcopy(ours)
    monkeypatch.setattr(common, "get_train_loader", lambda: batches)
    monkeypatch.setattr(common, "get_test_loader", lambda: test)
    accuracies = train(ours)
    take_plain_steps(plain, batches * epochs, lr, 0, cost)
    torch.testing.assert_close(weights_of(ours), weights_of(plain))
    assert len(accuracies) == epochs
    assert accuracies[-1] == common.test_network(ours, test)
    sgd = common.PlainSGD(ours.parameters(), 0)  # with train_network's default
    assert accuracies[-1:] == common.train_network(ours, batches, 1, cost, sgd)


def test_plain_sgd_is_sgd():
    def weights(optimizer_class):
        torch.manual_seed(0)
        net, unused = dense.Net().double(), nn.Linear(2, 2).double()
        sgd = optimizer_class([*net.parameters(), *unused.parameters()],
                              lr=0.5, weight_decay=0.01)
        for _ in range(20):
            sgd.zero_grad()
            net(torch.rand(5, 784).double()).square().sum().backward()
            sgd.step()
        return torch.cat([weights_of(net), weights_of(unused)])

    torch.testing.assert_close(weights(common.PlainSGD),
                               weights(torch.optim.SGD), rtol=0, atol=1e-12)


@pytest.mark.parametrize("net_class, num_epochs, lr, loss_function", [
    (convnet.ConvNetTwoConvLayersReLU, 2, 0.1, CROSS_ENTROPY),
    (dense.Net, 4, 3, MSE), (dense.ShallowNet, 4, 0.1, CROSS_ENTROPY)])
def test_it_learns(net_class, num_epochs, lr, loss_function, train_data,
                   tiny_test_loader):
    loader = common.get_loader(Subset(train_data, range(1000)))
    accuracies = train(net_class(), loader, num_epochs, lr, 0, loss_function,
                       test_loader=tiny_test_loader)
    assert accuracies[-1] > 0.5  # 0.1 is chance


def test_an_accuracy_and_its_line(test_data, capsys):
    net, data = convnet.ConvNetSimple().eval(), Subset(test_data, range(100))
    loader = common.get_loader(data, 30, shuffle=False)
    with torch.no_grad():
        right = sum(net(image[None]).argmax().item() == label
                    for image, label in data)
    assert common.test_network(net, loader) == right / 100
    common.test_network(net, loader, "Epoch 3/60")
    assert capsys.readouterr().out == (
        f"Test data results: {right / 100}\n"
        f"Test data results: {right / 100}, Epoch 3/60\n")


def test_outputs_are_those_of_one_pass_in_evaluation_mode():
    net, images = small_net(), torch.rand(510, 1, 28, 28)
    outputs = common.compute_outputs(net, images)
    assert not outputs.requires_grad
    torch.testing.assert_close(outputs, net.eval()(images).detach())
    assert torch.equal(common.predict(net, images), outputs.argmax(dim=1))


def test_testing_disturbs_neither_modes_nor_generator():
    class Fails(nn.Module):
        def forward(self, x):
            torch.rand(1)
            raise RuntimeError

    net = nn.Sequential(small_net(), nn.Dropout().eval())
    (images, labels), = batches = random_batches(1)
    state = torch.get_rng_state()
    common.test_network(net, DataLoader([(images[0], 3)] * 9, shuffle=True))
    common.predict(net, images)
    fails = Fails()
    with pytest.raises(RuntimeError):
        common.test_network(fails, batches)
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training and net[0][1].training and fails.training
    assert not net[1].training


def test_a_seed_repeats_a_training_whatever_tests_it(train_data):
    """Bit by bit; what is drawn in the tests changes nothing."""
    def trained(seed, test_loader):
        torch.manual_seed(seed)
        net = convnet.ConvNetTwoConvTwoDenseLayersWithDropout()
        train(net, common.get_loader(Subset(train_data, range(40))), 2,
              test_loader=test_loader)
        return weights_of(net)

    test = Subset(train_data, range(5))
    first = trained(1, common.get_loader(test, 2, shuffle=False))
    for loader in common.get_loader(test), DataLoader(test, 4, shuffle=True):
        assert torch.equal(trained(1, loader), first)
    assert not torch.equal(trained(2, loader), first)


# What is kept and shown

def test_what_training_prints(capsys):
    first, second = train(dense.ShallowNet(), random_batches(3), 2)
    output = capsys.readouterr()
    assert output.out == (f"Test data results: {first}, Epoch 1/2\n"
                          f"Test data results: {second}, Epoch 2/2\n"
                          "\n"
                          f"Test data results: {second}\n")
    assert output.err == ""  # no bar where there is no terminal


def test_the_history_of_a_training(monkeypatch, capsys):
    """The mean loss of an epoch's batches, its accuracy, its seconds; a second
    training goes on after the epochs that a history holds."""
    def loss_function(outputs, labels):
        losses.append(CROSS_ENTROPY(outputs, labels))
        clock.append(clock[-1] + 5)
        return losses[-1]

    def after_epoch():
        assert len(history["seconds"]) == len(losses) / 3
        clock.append(clock[-1] + 100)

    losses, history, clock, batches = [], {}, [7], random_batches(3)
    net = dense.ShallowNet()
    net.register_forward_hook(lambda *_: clock.append(clock[-1] + 1))
    monkeypatch.setattr("time.perf_counter", lambda: clock[-1])
    for num_epochs in 2, 4:
        accuracies = train(net, batches, num_epochs, history=history,
                           loss_function=loss_function,
                           after_epoch=after_epoch)
    means = torch.stack(losses).view(4, 3).mean(dim=1)
    assert history["loss"] == pytest.approx(means.tolist())
    assert history["test_accuracy"] == accuracies
    assert history["seconds"] == [3 * (5 + 1) + 3] * 4  # training and testing
    assert "Epoch 3/4" in capsys.readouterr().out


def test_an_early_record_without_losses_goes_on():
    history = {"test_accuracy": [0.5], "seconds": [1]}
    accuracies = train(dense.ShallowNet(), random_batches(1), 2,
                       history=history)
    assert accuracies[0] == 0.5 and len(accuracies) == 2


def test_an_epoch_is_kept_before_its_line_is_printed(monkeypatch):
    class FullDisk(io.StringIO):
        def write(self, text):
            raise OSError(28, "No space left on device")

    history, calls = {}, []
    monkeypatch.setattr(sys, "stdout", FullDisk())
    with pytest.raises(OSError):
        train(dense.ShallowNet(), random_batches(1), 2, history=history,
              after_epoch=lambda: calls.append(len(history["seconds"])))
    assert [len(values) for values in history.values()] == [1, 1, 1]
    assert calls == [1]


def test_the_bar_shows_loss_and_run_and_goes_away(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(common, "tqdm", partial(common.tqdm, mininterval=0))
    train(dense.ShallowNet(), random_batches(1) * 101, 2)
    bar = terminal.getvalue()
    first, second = bar.split("Epoch 2/2", 1)
    assert "Epoch 1/2" in first and "loss=" in first
    assert " 0/202 " in first and " 202/202 " in second  # of the whole run
    assert bar.split("\r")[-2].strip() == ""


def test_one_thread_unless_another_number_is_asked_for():
    seen, net, batches = [], dense.ShallowNet(), random_batches(1)
    net.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    torch.set_num_threads(2)
    for options in {}, {"threads": 3}, {"threads": None}:
        train(net, batches, **options)  # trained once and tested twice
        assert torch.get_num_threads() == 2
    assert seen == [1] * 3 + [3] * 3 + [2] * 3
    with pytest.raises(ValueError):
        train(net, [])
    assert torch.get_num_threads() == 2


# What is refused, and what is not touched

@pytest.mark.parametrize("use", [
    common.predict, common.compute_outputs,
    lambda net, images: common.test_network(net, [(images, torch.arange(3))]),
    lambda net, images: train(net, [(images, torch.arange(3))])])
@pytest.mark.parametrize("error", [
    RuntimeError("shapes"), IndexError("dim"), ValueError("view")])
def test_errors_of_a_net_are_its_own(use, error):
    """As they were raised, with the learner's line in the traceback."""
    class Mine(dense.ShallowNet):
        def forward(self, images):
            raise error

    with pytest.raises(type(error)) as caught:
        use(Mine(), torch.rand(3, 28, 28))
    assert caught.value is error and error.__cause__ is None
    assert caught.traceback[-1].name == "forward"
    assert str(caught.traceback[-1].path) == __file__


@pytest.mark.parametrize("lr, wd", [
    (-0.1, 0), (float("nan"), 0), (0.1, -0.1), (0.1, float("nan"))])
def test_rates_are_not_below_zero(lr, wd):
    with pytest.raises(ValueError, match="must be at least 0"):
        train(dense.ShallowNet(), random_batches(1), 1, lr, wd)


def test_there_must_be_something_to_train():
    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(784, 10)]

        def forward(self, images):
            return self.layers[0](images.flatten(1))

    with pytest.raises(ValueError, match="nn.ModuleList"):
        train(Listed(), random_batches(1))
    for parameters in nn.Linear(2, 2).weight, nn.Sequential(nn.Linear(2, 2)):
        with pytest.raises(ValueError, match="a list of tensors"):
            common.PlainSGD(parameters, 0.1)
    common.test_network(Listed(), random_batches(1))


@pytest.mark.parametrize("labels", [
    torch.zeros(10, 1).long(), torch.eye(10), torch.eye(10).long(),
    torch.zeros(10), torch.zeros(9).long(), [0] * 10, np.zeros(10, int)],
    ids=["column", "one-hot", "one-hot int", "float", "too few", "list",
         "numpy"])
def test_labels_are_one_integer_for_each_image(labels):
    images, net = torch.rand(10, 1, 28, 28), dense.Net()
    for use in (lambda: common.test_network(net, [(images, labels)]),
                lambda: train(net, [(images, labels)]),
                lambda: MSE(net(images), labels)):
        with pytest.raises(ValueError, match=r"integers of shape \(10,\)"):
            use()


@pytest.mark.parametrize("label", [-1, 10])
def test_labels_in_a_test_are_numbers_of_outputs(label):
    labels = torch.tensor([label, 3])
    with pytest.raises(ValueError, match="do not fit 10 outputs"):
        common.test_network(dense.Net(), [(torch.rand(2, 784), labels)])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
@pytest.mark.parametrize("loss_function", [CROSS_ENTROPY, MSE])
def test_labels_may_be_integers_of_any_size(dtype, loss_function):
    def results(batches):
        torch.manual_seed(0)
        net = dense.Net()
        accuracies = train(net, batches, 2, loss_function=loss_function)
        return [*weights_of(net).tolist(), *accuracies]

    batches = random_batches(3)
    assert MSE(torch.rand(10, 10), batches[0][1].to(dtype)) > 0
    assert results(batches) == results(
        [(images, labels.to(dtype)) for images, labels in batches])


@pytest.mark.parametrize("which", ["train_loader", "test_loader"])
def test_what_is_not_a_loader(which, test_data):
    net, batches = dense.ShallowNet(), random_batches(2)
    with pytest.raises(ValueError, match="empty .*can be read only once"):
        train(net, batches, 2, **{which: iter(batches)})
    for data in test_data, Subset(test_data, range(9)):
        with pytest.raises(ValueError, match=r"get_loader\(dataset\)"):
            train(net, batches, **{which: data})


@pytest.mark.parametrize("net", [
    nn.Sequential(nn.Flatten(), nn.Unflatten(1, (784, 1))), nn.Flatten(0),
    nn.Flatten(0, 2)], ids=["column", "vector", "rows"])
def test_outputs_are_a_row_of_numbers_for_each_image(net):
    with pytest.raises(ValueError, match="10 images gave outputs of shape"):
        common.test_network(net, random_batches(1))
    images = torch.rand(300, 1, 28, 28)
    images[299, 0, 5, 5] = float("nan")
    with pytest.raises(ValueError, match="outputs contain nan"):
        common.predict(dense.Net(), images)


@pytest.mark.parametrize("change", [
    {"loss_function": lambda scores, labels: scores.mean() + float("nan")},
    {"loss_function": lambda scores, labels: scores.mean() - float("inf")},
    {"lr": float("inf")}], ids=["nan", "inf", "weights alone"])
def test_divergence_stops_before_the_test(change, capsys):
    with pytest.raises(FloatingPointError, match="Epoch 1/2.*(nan|inf|2.*).*"
                       "lower learning rate.*loss suits the net's outputs"):
        train(dense.ShallowNet(), random_batches(1), 2, **change)
    assert capsys.readouterr().out == ""
