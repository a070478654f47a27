"""The curves of the results, each drawn from the records that it is given.

records: {experiment: [record of each seed]}
"""

from io import BytesIO

import numpy as np
from matplotlib.figure import Figure

from extras.command_line import decimal
from extras.comparison import last, plot_runs
from extras.report.records import (DISTORTED, EXPERIMENTS, EXTENDED, FAST_FINAL, FINAL,
                     RELU)

# Okabe and Ito chose these (but for the grey, and Tol's wine red and olive)
# so that colour-blind people can tell them apart as well.
COLOURS = {
    DISTORTED: "#882255", FAST_FINAL: "#0072B2",
    "expanded_data_double_fc": "#E69F00", EXTENDED: "#CC79A7",
    RELU: "#D55E00", "dbl_conv": "#009E73",
    "basic_conv": "#56B4E9", "shallow": "#999999", "dense": "#000000",
    FINAL: "#999933"}


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
             if name != FINAL}
    best = sorted(means, key=means.get, reverse=True)
    draw_kinds(axes, {f"{name}: {means[name]:.2f}": name for name in best},
               records)
    axes.set_yscale("function", functions=(
        lambda accuracy: -np.log(np.maximum(100 - accuracy, 0.01)),
        lambda logarithm: 100 - np.exp(-logarithm)))
    axes.set_ylim(97, 99.75)
    ticks = 97, 98, 98.5, 99, 99.3, 99.5, 99.7
    axes.set_yticks(ticks, map(str, ticks))
    figure.set_figheight(6.5)
    put_legend_beside(axes)
    return figure


def put_legend_beside(axes):
    """Puts the legend beside the axes, where it hides nothing."""
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small",
                frameon=False, labelspacing=1)
    axes.figure.set_figwidth(10)


def draw_loss(records):
    """Returns the training loss and the test accuracy by epoch, each the mean
    of the runs that have kept their loss."""
    figure, above, below = draw_axes("", "training loss (log scale)", "")
    kept = {name: [run for run in records[name] if "loss" in run]
            for name in (RELU, EXTENDED, "expanded_data_double_fc", FINAL,
                         DISTORTED)}
    draw_kinds(below, {name: name for name in kept}, kept)
    for name, runs in kept.items():
        losses = np.array([run["loss"] for run in runs], dtype=float)
        above.plot(range(1, losses.shape[1] + 1), losses.mean(axis=0),
                   COLOURS[name])
    ticks = 1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003
    above.set_yscale("log")
    above.set_yticks(ticks, map(decimal, ticks))
    above.set_yticks([], minor=True)
    put_legend_beside(below)
    return figure


def draw_costs():
    """Returns the two costs of an output that should be 1."""
    figure, axes = draw_axes("output a, which should be 1", "cost")
    a = np.linspace(0.001, 1, 1000)
    axes.plot(a, -np.log(a), "#0072B2", label=r"cross-entropy, $-\ln a$")
    axes.plot(a, (a - 1) ** 2, "#D55E00", label="squared error, $(a - 1)^2$")
    axes.legend()
    return figure


def png(figure):
    """Returns a figure as the bytes of a PNG, the same in all versions."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
