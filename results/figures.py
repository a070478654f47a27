"""The figures of the results, each drawn from what it is given.

results/report.py and tests/draw_digits.py call them and write the files.
"""

from io import BytesIO
from itertools import product
from math import ceil

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from backprop_manual_calculation import (INPUT, TARGET, WEIGHTS,
                                         feed_forward, gradient)
from extras.command_line import decimal
from extras.comparison import last, plot_runs
from extras.distortions import distort
from records import (DISTORTED, EXPERIMENTS, EXTENDED, FAST_FINAL, FINAL,
                     RELU)

# Okabe and Ito chose these (but for the grey, and Tol's wine red) so that
# colour-blind people can tell them apart as well.
COLOURS = {
    DISTORTED: "#882255", FINAL: "#0072B2",
    "expanded_data_double_fc": "#E69F00", EXTENDED: "#CC79A7",
    RELU: "#D55E00", "dbl_conv": "#009E73",
    "basic_conv": "#56B4E9", "shallow": "#999999", "dense": "#000000",
    FAST_FINAL: "#E69F00"}
BACK = "#D55E00"  # of the slopes in backpropagation


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
    """Returns the final net's accuracy by epoch, with both learning rates."""
    figure, axes = draw_axes("epoch", "test accuracy (%)")
    draw_kinds(axes, {f"learning rate {EXPERIMENTS[name].lr}": name
                      for name in (FAST_FINAL, FINAL)}, records)
    return figure


def draw_kinds(axes, names, records):
    """Draws the runs of some experiments, {label: name}, each in its colour.
    """
    axes.set_prop_cycle(color=[COLOURS[name] for name in names.values()])
    plot_runs(axes, {label: records[name] for label, name in names.items()})


def draw_all(records):
    """Returns the accuracy by epoch of an experiment a rung, best first.

    The scale is the logarithm of the mistakes, on which the same distance
    halves them everywhere: 98 to 99 %, 99 to 99.5 %.
    """
    figure, axes = draw_axes("epoch", "test accuracy (%)")
    means = {name: last(records[name]).mean() for name in COLOURS
             if name != FAST_FINAL}
    best = sorted(means, key=means.get, reverse=True)
    draw_kinds(axes, {f"{name}: {means[name]:.2f}": name for name in best},
               records)
    axes.set_yscale("function", functions=(
        lambda accuracy: -np.log(np.maximum(100 - accuracy, 0.01)),
        lambda logarithm: 100 - np.exp(-logarithm)))
    axes.set_ylim(97, 99.75)
    ticks = 97, 98, 98.5, 99, 99.3, 99.5, 99.7
    axes.set_yticks(ticks, map(str, ticks))
    put_legend_below(axes)
    figure.set_figheight(5.5)
    return figure


def put_legend_below(axes):
    """Puts the legend in two columns below the axes, where it hides nothing.
    """
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2,
                fontsize="small", frameon=False)


def draw_loss(records):
    """Returns the training loss and the test accuracy by epoch, each the mean
    of the runs that have kept their loss."""
    figure, above, below = draw_axes("", "training loss (log scale)", "")
    kept = {name: [run for run in records[name] if "loss" in run]
            for name in (RELU, EXTENDED, FINAL, DISTORTED)}
    draw_kinds(below, {name: name for name in kept}, kept)
    for name, runs in kept.items():
        losses = np.array([run["loss"] for run in runs], dtype=float)
        above.plot(range(1, losses.shape[1] + 1), losses.mean(axis=0),
                   COLOURS[name])
    ticks = 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003
    above.set_yscale("log")
    above.set_yticks(ticks, map(decimal, ticks))
    above.set_yticks([], minor=True)
    put_legend_below(below)
    return figure


def draw_step():
    """Returns the two neurons of backprop_manual_calculation.py, with the
    values that go forward, and in colour the slopes that come back."""
    a_l1, a_l2 = feed_forward(WEIGHTS)
    cost, slopes = (a_l2 - TARGET) ** 2, gradient(WEIGHTS)
    figure = Figure(figsize=(8, 1.7), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.6, 7.8), ylim=(-1, 1))
    axes.set_axis_off()
    middle = {"ha": "center", "va": "center"}
    for x, text in ((0, f"a_l0\n{INPUT:.4f}"), (3, f"a_l1\n{a_l1:.4f}"),
                    (6, f"a_l2\n{a_l2:.4f}")):
        axes.text(x, 0, text, middle, bbox={"boxstyle": "circle",
                                            "facecolor": "white"})
    axes.text(7.4, 0, f"cost\n(a_l2 - 1)$^2$\n{cost:.4f}", middle)
    for left, right in (0.5, 2.5), (3.5, 5.5), (6.5, 7):
        for y, colour, style in (0.1, "black", "->"), (-0.1, BACK, "<-"):
            axes.annotate("", (right, y), (left, y), arrowprops={
                "arrowstyle": style, "color": colour})
    for x, names in (1.5, ("w_l1", "b_l1")), (4.5, ("w_l2", "b_l2")):
        axes.text(x, 0.55, "\n".join(f"{name} = {WEIGHTS[name]}"
                                     for name in names), middle)
        axes.text(x, -0.55, "\n".join(f"slope for {name}: {slopes[name]:.4f}"
                                      for name in names), middle, color=BACK)
    return figure


def draw_costs():
    """Returns the two costs of an output that should be 1."""
    figure, axes = draw_axes("output x, which should be 1", "cost")
    x = np.linspace(0.001, 1, 1000)
    axes.plot(x, -np.log(x), "#0072B2", label=r"cross-entropy, $-\ln x$")
    axes.plot(x, (x - 1) ** 2, "#D55E00", label="squared error, $(x - 1)^2$")
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
    """Returns an image's way through a net, from left to right: of each stage
    the four maps that vary most, and the ten probabilities. Lines tell from
    which maps a map is computed.

    stages [(name, maps (n, height, width))], probabilities (10,)
    """
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    grid = figure.add_gridspec(8, len(stages) + 1)
    before = []
    for column, (name, maps) in enumerate(stages):
        if name != "pooling":  # it shows the maps chosen before it
            most = maps.flatten(1).std(dim=1).argsort(descending=True)[:4]
        count, height, width = maps.shape
        rows = [slice(2, 6)] if count == 1 else [
            slice(row, row + 2) for row in (0, 2, 4, 6)]
        here = [figure.add_subplot(grid[row, column]) for row in rows]
        for axes, k in zip(here, most):
            axes.imshow(maps[k].numpy(), cmap="Greys", vmin=0,
                        vmax=maps.max().item())
            axes.set(xticks=[], yticks=[])
        here[0].set_title(name)
        here[-1].set_xlabel(f"{height * width:,} units"
                            if name.startswith("fc") else f"{height}x{width}"
                            if count == 1 else
                            f"{count} maps of\n{height}x{width}")
        connect(figure, zip(before, here) if name == "pooling"
                else product(before, here))
        before = here
    bars = figure.add_subplot(grid[:, -1])
    bars.barh(range(10), probabilities.numpy(), color="#0072B2")
    bars.set(yticks=range(10), xticks=(0, 1), xlim=(0, 1), title="softmax",
             xlabel="10 probabilities")
    bars.invert_yaxis()
    bars.spines[["top", "right"]].set_visible(False)
    return figure


def draw_convolution(image, kernel, feature_map, pooled):
    """Returns how a window of an image (28, 28), times a kernel (5, 5), gives
    a pixel of a feature map (24, 24), and that a pixel of a pooled one."""
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    grid = figure.subplots(1, 4)
    y, x = divmod(feature_map.argmax().item(), 24)
    limit = kernel.abs().max().item()
    for axes, picture, title, colours in zip(
            grid, (image, kernel, feature_map, pooled),
            ("image, 28x28", "kernel, 5x5", "feature map, 24x24",
             "pooled, 12x12"),
            ({"cmap": "Greys"}, {"cmap": "PuOr", "vmin": -limit,
                                 "vmax": limit},
             {"cmap": "Greys"}, {"cmap": "Greys"})):
        axes.imshow(picture.numpy(), **colours)
        axes.set(xticks=[], yticks=[], title=title)
    corners = (x, y, 5), (0, 0, 5), (x, y, 1), (x // 2, y // 2, 1)
    for axes, (left, top, side) in zip(grid, corners):
        frame(axes, left, top, side)
    frame(grid[2], x // 2 * 2, y // 2 * 2, 2)
    for axes, text in zip(grid, (
            "a window of 5x5 pixels", "25 weights: purple adds,\nbrown "
            "subtracts", "products summed, plus bias;\nbelow 0 is white "
            "(ReLU)", "the largest of each\n2x2 pixels")):
        axes.set_xlabel(text)
    return figure


def frame(axes, left, top, side):
    """Draws a square around pixels of a picture."""
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False,
                             edgecolor="#0072B2", linewidth=2))


def connect(figure, pairs):
    """Draws a line from the first to the second axes of each pair."""
    for left, right in pairs:
        figure.add_artist(ConnectionPatch(
            (1, 0.5), (0, 0.5), left.transAxes, right.transAxes,
            color="#999999", linewidth=0.6))


def png(figure):
    """Returns a figure as the bytes of a PNG, the same in all versions."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
