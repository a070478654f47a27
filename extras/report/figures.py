"""The dots and curves of the results, drawn from the records."""

from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from extras.comparison import accuracies, mean_of_last
from extras.report.records import (DISTORTED, DOUBLE, EXTENDED, FAST_FINAL,
                                   FINAL, RECIPES, RELU)
from extras.report.tables import IDEAS

# Okabe and Ito chose these so that colour-blind people can tell them apart
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
YELLOW, SKY = "#E69F00", "#56B4E9"
COLOURS = {"shallow": "0.5", "basic_conv": SKY, "dbl_conv": GREEN,
           RELU: ORANGE, EXTENDED: YELLOW, DOUBLE: "black", FAST_FINAL: BLUE,
           FINAL: BLUE, DISTORTED: PINK}

# The logarithm of the mistakes, and back to the accuracy in per cent: as a
# scale, the same distance halves the mistakes everywhere
MISTAKES = (lambda accuracy: -np.log(np.maximum(100 - accuracy, 0.01)),
            lambda logarithm: 100 - np.exp(-logarithm))


def draw_axes(ylabel, height):
    """Returns a figure, and its axes with quiet grid lines."""
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    return figure, axes


def draw_dots(records):
    """Returns a row for each rung: a dot for each run (the mean of its
    last ten epochs), their mean and standard error, and what was published."""
    names = [name for name in IDEAS if name in records]
    figure, axes = draw_axes("", height=0.45 * len(names) + 1.2)
    for row, name in enumerate(names):
        values, recipe = mean_of_last(records[name], 10), RECIPES[name]
        above = np.random.default_rng(0).uniform(0.1, 0.4, len(values))
        axes.scatter(values, row - above, s=22, color=SKY, alpha=0.6,
                     linewidth=0, label="one of our runs")
        axes.errorbar(values.mean(), row, xerr=stats.sem(values), color=BLUE,
                      marker="|", markersize=16, capsize=3,
                      label="our mean ± standard error")
        for number, marker, colour, label, below in (
                (recipe.nielsen, "D", ORANGE, "Nielsen", 0.22),
                (recipe.article, "s", GREEN, "the article", 0.34)):
            if number:
                axes.scatter(number, row + below, marker=marker, s=26,
                             color=colour, label=label)
    axes.set_xscale("function", functions=MISTAKES)
    axes.set_xticks(ticks := (96.5, 97, 98, 98.5, 99, 99.3, 99.5, 99.6),
                    map(str, ticks))
    axes.set(xlabel="test accuracy (%)", ylim=(len(names) - 0.5, -0.5))
    axes.set_yticks(range(len(names)), [
        f"{IDEAS[name]}\n{name} (n = {len(records[name])})"
        for name in names], size="small")
    handles, labels = axes.get_legend_handles_labels()
    shown = dict(zip(labels, handles))  # each label once
    axes.legend(shown.values(), shown.keys(), loc="lower left")
    return figure


def draw_all(records):
    """Returns the mean accuracy by epoch of six experiments."""
    figure, axes = draw_axes("test accuracy (%)", height=5.5)
    for name in ("shallow", "basic_conv", "dbl_conv", RELU, EXTENDED,
                 FAST_FINAL):
        draw_line(axes, accuracies(records[name]).mean(axis=0), name, name)
    axes.set_yscale("function", functions=MISTAKES)
    axes.set_yticks(ticks := (97, 98, 98.5, 99, 99.3, 99.5, 99.7),
                    map(str, ticks))
    axes.set_ylim(97, 99.7)
    return figure


def draw_line(axes, values, name, label):
    """Draws an experiment's values by epoch, with a label at their end."""
    axes.plot(range(1, len(values) + 1), values, COLOURS[name])
    axes.annotate(label, (len(values), values[-1]), (3, 5), size="small",
                  color=COLOURS[name], textcoords="offset points",
                  annotation_clip=False)
    axes.set_xlabel("epoch")


def draw_final(records):
    """Returns the accuracies by epoch of the final net, at both rates: those
    of each run, and their mean."""
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2, sharey=True),
                          (FAST_FINAL, FINAL)):
        tests, epochs = accuracies(records[name]), RECIPES[name].epochs
        axes.plot(range(1, epochs + 1), tests.T, COLOURS[name], linewidth=0.6,
                  alpha=0.5)
        axes.plot(range(1, epochs + 1), tests.mean(axis=0), COLOURS[name])
        axes.set(title=f"learning rate {RECIPES[name].lr}", xlabel="epoch",
                 ylabel="test accuracy (%)", ylim=(99.2, 99.75))
        axes.label_outer()
        axes.grid(alpha=0.3)
    return figure


def draw_loss(records):
    """Returns the median training loss and mean test accuracy by epoch."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    for name in RELU, DOUBLE, FAST_FINAL, DISTORTED:
        losses = [run["loss"] for run in records[name] if "loss" in run]
        draw_line(above, np.median(losses, axis=0), name,
                  f"{name} ({len(losses)})")
        draw_line(below, accuracies(records[name]).mean(axis=0), name, name)
    ticks = 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003
    above.set(yscale="log", ylabel="training loss (logarithmic)", xlabel="")
    above.set_yticks(ticks, map(str, ticks))
    above.set_yticks([], minor=True)
    below.set(ylabel="test accuracy (%)", ylim=(98.7, 99.7))
    for axes in above, below:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def png(figure):
    """Returns a figure as a PNG, without Matplotlib's version in it."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
