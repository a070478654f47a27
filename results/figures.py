"""The figures of the results, each drawn from what it is given.

results/report.py and tests/draw_digits.py call them and write the files.
"""

from io import BytesIO
from math import ceil

import numpy as np
import torch
from matplotlib.figure import Figure

from extras.distortions import distort
from records import FAST_FINAL, FINAL

# Okabe and Ito chose these (but for the grey) so that colour-blind people can
# tell them apart as well.
FINAL_COLOURS = {FAST_FINAL: "#E69F00", FINAL: "#0072B2"}
COLOURS = {
    "dense": "#000000", "shallow": "#999999", "basic_conv": "#56B4E9",
    "dbl_conv": "#009E73", "dbl_conv_relu": "#D55E00",
    "expanded_data": "#CC79A7", "expanded_data_double_fc": "#E69F00",
    FINAL: "#0072B2"}


def draw_axes(xlabel, *ylabels):
    """Returns a figure, and axes above each other with quiet grid lines."""
    height = 3 + 1.5 * len(ylabels)
    figure = Figure(figsize=(8, height), layout="constrained")
    grid = figure.subplots(len(ylabels), sharex=True, squeeze=False)[:, 0]
    for axes, ylabel in zip(grid, ylabels):
        axes.set_ylabel(ylabel)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    axes.set_xlabel(xlabel)
    return figure, *grid


def draw_pictures(rows, columns, height, pictures, **options):
    """Returns a figure of small pictures, their axes, and the last of them."""
    figure = Figure(figsize=(8, height), layout="constrained")
    grid = figure.subplots(rows, columns).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, picture in zip(grid, pictures.numpy()):
        shown = axes.imshow(picture, **options)
    return figure, grid, shown


def draw_final(records):
    """Returns the final net's accuracy by epoch, a line for each run."""
    figure, axes = draw_axes("epoch", "test accuracy (%)")
    for name, colour in FINAL_COLOURS.items():
        for run in records[name]:
            line, = axes.plot(range(1, run["epochs"] + 1),
                              100 * np.array(run["test_accuracy"]), colour,
                              linewidth=1)
        if records[name]:
            line.set_label(f"learning rate {run['lr']} "
                           f"(n = {len(records[name])})")
    axes.legend(loc="lower right")
    return figure


def draw_all(records):
    """Returns all nets' accuracy by epoch: the mean of the runs of each, in a
    band from the lowest to the highest; a single run is dashed.

    The scale is log(accuracy / (1 - accuracy)), on which nearly the same
    distance halves the errors everywhere: 98 to 99 %, 99 to 99.5 %.
    """
    figure, axes = draw_axes("epoch", "test accuracy (%)")
    tests = {name: np.array([run["test_accuracy"] for run in records[name]])
             for name in COLOURS if records[name]}
    for name in sorted(tests, key=lambda name: -tests[name][:, -1].mean()):
        runs, mean = len(tests[name]), tests[name].mean(axis=0)
        epochs = range(1, len(mean) + 1)
        axes.plot(epochs, mean, COLOURS[name], linestyle="-" if runs > 1
                  else "--", label=f"{name}: {100 * mean[-1]:.2f} "
                                   f"(n = {runs})")
        axes.fill_between(epochs, tests[name].min(axis=0),
                          tests[name].max(axis=0), color=COLOURS[name],
                          alpha=0.2, linewidth=0)
    ticks = 0.97, 0.98, 0.985, 0.99, 0.993, 0.995, 0.997
    axes.set_yscale("logit")
    axes.set_yticks(ticks, [f"{100 * tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylim(0.97, 0.9975)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2,
                fontsize="small", frameon=False)
    figure.set_figheight(5.5)
    return figure


def draw_loss(records):
    """Returns the training loss and the test accuracy of the final net by
    epoch, a line for each run that has kept its loss."""
    figure, above, below = draw_axes("epoch", "training loss (log scale)",
                                     "test accuracy (%)")
    for run in records[FINAL]:
        if "loss" in run:
            epochs = range(1, run["epochs"] + 1)
            above.plot(epochs, np.array(run["loss"], dtype=float))
            below.plot(epochs, 100 * np.array(run["test_accuracy"]),
                       label=f"seed {run['seed']}")
    ticks = 0.01, 0.02, 0.05, 0.1, 0.2, 0.4
    above.set_yscale("log")
    above.set_yticks(ticks, map(str, ticks))
    above.set_yticks([], minor=True)
    if below.lines:
        below.legend(loc="lower right")
    return figure


def draw_costs():
    """Returns the two costs of an output that should be 1."""
    figure, axes = draw_axes("output x, which should be 1", "cost")
    x = np.linspace(0.001, 1, 1000)
    axes.plot(x, -np.log(x), "#0072B2", label=r"$-\ln x$")
    axes.plot(x, (x - 1) ** 2, "#D55E00", label="$(x - 1)^2$")
    axes.legend()
    return figure


def draw_filters(net):
    """Returns the 20 kernels of a net's first convolution."""
    filters = net.conv1.weight.detach()[:, 0]
    limit = filters.abs().max()
    figure, grid, shown = draw_pictures(4, 5, 6, filters, cmap="PuOr",
                                        vmin=-limit, vmax=limit)
    figure.colorbar(shown, ax=grid, label="weight")
    return figure


def draw_mistakes(test_data, answers):
    """Returns the test digits that a net's answers (10000,) get wrong."""
    wrong = (answers != test_data.targets).nonzero().flatten()
    rows = ceil(len(wrong) / 10)
    figure, grid, _ = draw_pictures(rows, 10, 1.2 * rows + 0.3,
                                    test_data.data[wrong], cmap="Greys")
    for axes, i in zip(grid, wrong):
        axes.set_title(f"{test_data.targets[i]} → {answers[i]}", pad=1)
    figure.suptitle("true digit → predicted digit")
    return figure


def draw_distortions(image):
    """Returns an image (1, 28, 28), and thirteen distortions of it; framed, so
    that a shift shows."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        distorted = distort(image.expand(13, 1, 28, 28))
    figure, grid, _ = draw_pictures(2, 7, 2.5, torch.cat([image, *distorted]),
                                    cmap="Greys", vmin=0, vmax=1)
    for axes in grid:
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
    grid[0].set_title("original", pad=3)
    return figure


def draw_digits(pictures, ways):
    """Returns picture files (PIL) above what each way of reading makes of
    them, with a net's answers below; wrong ones are red.

    pictures: of the digits 0, 1, 2, ...
    ways: {name: (images (n, 1, 28, 28), answers (n,))}
    """
    figure = Figure(figsize=(8, 3.1), layout="constrained")
    grid = figure.subplots(1 + len(ways), len(pictures))
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, picture in zip(grid[0], pictures):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
    grid[0, 0].set_ylabel("picture")
    for row, (name, (images, answers)) in zip(grid[1:], ways.items()):
        row[0].set_ylabel(name)
        for axes, image, digit, answer in zip(
                row, images[:, 0].numpy(), range(10), answers.tolist()):
            axes.imshow(image, cmap="Greys", vmin=0, vmax=1)
            axes.set_xlabel(answer, fontsize="large", color="black" if answer
                            == digit else "#D00000", weight="bold")
    return figure


def draw_way(stages, probabilities):
    """Returns an image's way through a net, from left to right: the four maps
    of each stage that vary most, and the ten probabilities.

    stages [(name, maps (n, height, width))], probabilities (10,)
    """
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    grid = figure.subplots(4, len(stages) + 1)
    grid_spec = grid[0, 0].get_gridspec()
    for axes in grid[:, [0, -1]].flat:
        axes.remove()
    image, bars = (figure.add_subplot(grid_spec[rows, column]) for
                   rows, column in ((slice(1, 3), 0), (slice(0, 4), -1)))
    for column, (name, maps) in zip([[image], *grid.T[1:]], stages):
        if name != "pooling":  # it shows the maps chosen before it
            most = maps.flatten(1).std(dim=1).argsort(descending=True)[:4]
        for axes, k in zip(column, most):
            axes.imshow(maps[k].numpy(), cmap="Greys", vmin=0,
                        vmax=maps.max().item())
            axes.set(xticks=[], yticks=[])
        count, height, width = maps.shape
        column[0].set_title(name)
        column[-1].set_xlabel(f"{count} maps of\n{height}x{width}"
                              if count > 1 else f"{height}x{width}")
    bars.barh(range(10), probabilities.numpy(), color="#0072B2")
    bars.set(yticks=range(10), xticks=(0, 1), xlim=(0, 1), title="softmax",
             xlabel="10 probabilities")
    bars.invert_yaxis()
    bars.spines[["top", "right"]].set_visible(False)
    return figure


def png(figure):
    """Returns a figure as the bytes of a PNG, the same in all versions."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
