"""Measures the original pipeline and ours, side by side and taking turns.

    python -m extras.benchmark > results/speed/cpu.md
    python -m extras.report

On a machine with a GPU, call the file gpu.md. The second line puts that file,
and only that, into docs/results.md.

The original pipeline is the article's: torchvision's MNIST with ToTensor, a
shuffled DataLoader of ten, the default memory layout, nn.Dropout, and
torch.optim.SGD. Ours is what the scripts run. The nets are the same.
"""

import argparse
import contextlib
import io
import itertools
import statistics
import time

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

import common
import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras.drawing import SEVEN, Paper
from extras.runs import processor


def places():
    """Returns (name, device, threads) of all that is measured: one thread,
    and the GPU or all threads."""
    if torch.cuda.is_available():
        return [("1 thread", "cpu", 1), ("GPU", "cuda", 1)]
    return [(f"{n} thread{'s' * (n > 1)}", "cpu", n)
            for n in sorted({1, torch.get_num_threads()})]


def networks():
    """Returns [(value of --net, recipe)] of all networks."""
    return [(net, script.EXPERIMENTS[name]) for script in (convnet, dense)
            for net, name in script.NETS.items()]


def original_loader(train, size):
    """Returns a per-image loader of batches of ten, as in the article."""
    data = MNIST(common.DATA, train=train, transform=ToTensor())
    if size < len(data):
        data = Subset(data, range(size))
    return DataLoader(data, batch_size=10, shuffle=train)


def original_net(net_class):
    """Returns a net in the default layout with the library's own dropout."""
    net = net_class().to(memory_format=torch.contiguous_format)
    for name, layer in net.named_children():
        if isinstance(layer, nn.Dropout):
            setattr(net, name, nn.Dropout(layer.p))
    return net


def original_training(net, batches, loss_function, optimizer):
    """The training loop of the article."""
    device = common.device_of(net)
    net.train()
    for images, labels in batches:
        loss = loss_function(net(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def original_test(net, loader):
    """The test of the article."""
    device = common.device_of(net)
    net.eval()
    with torch.no_grad():
        for images, labels in loader:
            (net(images.to(device)).argmax(dim=1) == labels.to(device)).sum()


def seconds(function, *args):
    """Returns how long a call takes, with its output suppressed."""
    with (contextlib.redirect_stdout(io.StringIO()),
          contextlib.redirect_stderr(io.StringIO())):
        wait_for_gpu()
        start = time.perf_counter()
        function(*args)
        wait_for_gpu()
        return time.perf_counter() - start


def wait_for_gpu():
    """Waits until the GPU, if there is one, has done all it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def some_batches(loader, steps):
    """Returns an iterator of some batches; the first, which the loader takes
    longer to prepare, is left out."""
    batches = iter(loader)
    next(batches)
    return itertools.islice(batches, steps)


def print_row(what, options, old, new, *nets):
    """Prints a line of the table: at each place, the median times in ms of the
    article's function and of ours, which take turns, and their ratio."""
    cells = []
    for _, device, threads in options.places:
        torch.set_num_threads(threads)
        for net in nets:
            net.to(device)
        times = [(old(), new()) for _ in range(options.rounds)]
        before, after = (1000 * statistics.median(side)
                         for side in zip(*times))
        cells += [milliseconds(before), milliseconds(after),
                  f"{before / after:.2f}"]
    print(f"| {what} | {' | '.join(cells)} |", flush=True)


def milliseconds(time):
    """Returns a time in ms, without decimals if it is long."""
    return f"{time:.{0 if time >= 10 else 3}f}"


def compare_steps(name, recipe, loaders, options):
    """Prints the time of a training step, original and ours."""
    old, new = original_net(recipe.net_class), recipe.net_class()
    old_sgd = torch.optim.SGD(old.parameters(), recipe.lr,
                              weight_decay=recipe.wd)
    new_sgd = common.PlainSGD(new.parameters(), recipe.lr, recipe.wd)
    print_row(
        f"{name}: a step", options,
        lambda: seconds(original_training, old,
                        some_batches(loaders[0], options.steps),
                        recipe.loss_function, old_sgd) / options.steps,
        lambda: seconds(common.train_epoch, new,
                        some_batches(loaders[1], options.steps),
                        recipe.loss_function, new_sgd) / options.steps,
        old, new)


def compare_tests(name, recipe, loaders, options):
    """Prints the time of a test, original and ours."""
    old, new = original_net(recipe.net_class), recipe.net_class()
    print_row(f"{name}: a test of {options.images:,} images", options,
              lambda: seconds(original_test, old, loaders[0]),
              lambda: seconds(common.test_network, new, loaders[1]), old, new)


def follow_strokes(rounds):
    """Prints how long the drawing window takes to follow the mouse."""
    torch.set_num_threads(1)
    net = convnet.ConvNetTwoConvTwoDenseLayersWithDropout()
    canvas = FigureCanvasAgg(Figure(figsize=(8, 3.7)))
    paper = Paper(canvas.figure, net)
    canvas.draw()
    paper.strokes += SEVEN
    time = statistics.median(seconds(paper.update) for _ in range(10 * rounds))
    print(f"\nThe drawing window follows the mouse in {1000 * time:.0f} ms.")


def measured(places):
    """Returns the names of all that was measured."""
    return " and ".join(dict.fromkeys(
        processor(device) for _, device, _ in places))


def print_table(options):
    """Prints the rows of all that is compared."""
    train_loaders = original_loader(True, 60_000), common.get_train_loader()
    test_loaders = original_loader(False, options.images), common.get_loader(
        Subset(common.get_dataset(train=False), range(options.images)),
        common.TEST_BATCH_SIZE, shuffle=False)
    heads = [f"article, {where} | ours, {where} | ratio"
             for where, _, _ in options.places]
    print(f"| time in ms | {' | '.join(heads)} |")
    print("| --- |" + " --: |" * 3 * len(options.places))
    for name, recipe in networks():
        compare_steps(name, recipe, train_loaders, options)
    for name, recipe in networks():
        compare_tests(name, recipe, test_loaders, options)
    print_row("a batch of ten from the loader", options, *[
        lambda loader=loader: seconds(
            list, some_batches(loader, options.steps)) / options.steps
        for loader in train_loaders])


def main(argv=None):
    """Measures and prints it all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args(argv)
    options.places = places()
    torch.manual_seed(0)
    common.get_dataset()  # unpacks it, which the original does not
    print_table(options)
    follow_strokes(options.rounds)
    print(f"\nMeasured on {measured(options.places)}, torch "
          f"{torch.__version__}: medians of {options.rounds} rounds, of "
          f"{options.steps} steps each in training.")


if __name__ == "__main__":
    main()
