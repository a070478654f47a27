"""The figures of the course: what networks compute, and how they learn."""

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import nn

from backprop_manual_calculation import (INPUT, TARGET, WEIGHTS, feed_forward,
                                         gradient, sigmoid)
from common import IMAGE_WIDTH, compute_outputs
from extras.report.figures import BLUE, GREEN, ORANGE

MIDDLE = {"ha": "center", "va": "center"}


def draw_structure(net):
    """Returns the results of a network's layers as boxes, and on the arrows
    the layers with their numbers of parameters."""
    stages = [("", 1, IMAGE_WIDTH), *list_stages(net)]
    figure = Figure(figsize=(9, 1.35), layout="constrained")
    axes, step = figure.subplots(), min(4, 21 / len(stages))
    middle = step * (len(stages) - 1) / 2
    axes.set(xlim=(middle - 10.5, middle + 10.5), ylim=(-2, 1.1),
             aspect="equal")
    axes.set_axis_off()
    for k, (arrow, count, side) in enumerate(stages):
        draw_box(axes, k * step, count, side)
        name = "image" if k == 0 else f"{count} maps"
        axes.text(k * step, -1.5, f"{name}\n{side}x{side}" if side else
                  f"{count:,}\nunits", MIDDLE, size="small")
        if k:
            axes.annotate("", (k * step - 0.9, 0), ((k - 1) * step + 0.9, 0),
                          arrowprops={"arrowstyle": "->"})
            axes.text((k - 0.5) * step, -0.15, arrow, ha="center", va="top",
                      size="small", color=BLUE)
    return figure


def list_stages(net):
    """Returns (arrow, count, side of a map, or None) of each result in a
    network that pools after each convolution."""
    stages, side = [], IMAGE_WIDTH
    for name, layer in net.named_children():
        arrow = f"{name}\n{sum(w.numel() for w in layer.parameters()):,}"
        if isinstance(layer, nn.Conv2d):
            side -= layer.kernel_size[0] - 1
            stages.append((arrow, layer.out_channels, side))
            side //= 2
            stages.append(("max\npooling", layer.out_channels, side))
        elif isinstance(layer, nn.Linear):
            stages.append((arrow, layer.out_features, None))
    return stages


def draw_box(axes, x, count, side):
    """Draws an image, a stack of maps, or a column of units."""
    width, height, sheets = (
        (0.2, 0.5 * np.log10(count), 1) if side is None
        else (0.2 + side / 22, 0.2 + side / 22, 1 if count == 1 else 3))
    for offset in 0.1 * (sheets // 2 - np.arange(sheets)):
        axes.add_patch(Rectangle(
            (x - width / 2 + offset, -height / 2 + offset), width, height,
            facecolor="white" if side else "#CCCCCC", edgecolor="black"))


def draw_step():
    """Returns the two units of backprop_manual_calculation.py: in black what
    goes forward, in orange the slopes that come back."""
    (a_l1, a_l2), slopes = feed_forward(WEIGHTS), gradient(WEIGHTS)
    figure = Figure(figsize=(10, 2.1), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(-0.5, 12.3), ylim=(-1.3, 1.2))
    axes.set_axis_off()
    axes.text(0, 0, f"input\n{INPUT}", MIDDLE)
    draw_unit(axes, 0, "l1", INPUT, a_l1, slopes["b_l2"] * WEIGHTS["w_l2"])
    draw_unit(axes, 5.1, "l2", a_l1, a_l2, 2 * (a_l2 - TARGET))
    axes.text(6.4, -0.3, "times w_l2", MIDDLE, color=ORANGE)
    axes.text(10.8, 0.8, "(a_l2 - 1)$^2$", MIDDLE)
    axes.text(11.8, 0, f"cost\n{(a_l2 - TARGET) ** 2:.4f}", MIDDLE)
    gaps = (0.4, 2.35), (3.6, 4.2), (5.5, 7.45), (8.7, 9.3), (10.6, 11.3)
    for y, colour, style, arrows in ((0.1, "black", "->", gaps),
                                     (-0.1, ORANGE, "<-", gaps[1:])):
        for left, right in arrows:
            axes.annotate("", (right, y), (left, y), arrowprops={
                "arrowstyle": style, "color": colour})
    return figure


def draw_unit(axes, left, layer, before, a, da):
    """Draws the unit of a layer, from left on, with its input (before), its
    output a, and the cost's slope for a."""
    w, b, slopes = f"w_{layer}", f"b_{layer}", gradient(WEIGHTS)
    z = WEIGHTS[w] * before + WEIGHTS[b]
    for x, y, text, colour in (
            (1.3, 0.8, f"{w} = {WEIGHTS[w]}\n{b} = {WEIGHTS[b]}", "black"),
            (3, 0, f"z_{layer}\n{z:.4f}", "black"),
            (3.9, 0.8, "sigmoid", "black"),
            (4.8, 0, f"a_{layer}\n{a:.4f}", "black"),
            (4.8, -0.85, f"da_{layer}\n{da:.4f}", ORANGE),
            (3.9, -0.85, f"← times\n{a * (1 - a):.4f}", ORANGE),
            (3, -0.85, f"dz_{layer}\n{slopes[b]:.4f}", ORANGE),
            (1.3, -0.85, f"slope for {w}: {slopes[w]:.4f}\n"
             f"slope for {b}: {slopes[b]:.4f}", ORANGE)):
        axes.text(left + x, y, text, MIDDLE, color=colour)
    axes.add_patch(FancyBboxPatch((left + 2.5, -0.35), 2.8, 0.7, fill=False,
                                  boxstyle="round,pad=0.08"))


def draw_curves(*panels):
    """Returns a figure of panels (title, x, its name, {label: y})."""
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    for axes, (title, x, xlabel, curves) in zip(
            figure.subplots(1, len(panels)), panels):
        for (label, y), colour in zip(curves.items(), (BLUE, ORANGE)):
            axes.plot(x, y, colour, label=label)
        axes.set(title=title, xlabel=xlabel)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def draw_activation_functions():
    """Returns the sigmoid and ReLU, each with its slope."""
    z = np.arange(-600, 601) / 100
    a, relu_slope = sigmoid(z), np.where(z == 0, np.nan, z > 0)
    return draw_curves(
        ("sigmoid, 1 / (1 + e$^{-z}$)", z, "z",
         {"output": a, "slope": a * (1 - a)}),
        ("ReLU, max(0, z)", z, "z",
         {"output": z.clip(0), "slope": relu_slope}))


def draw_costs():
    """Returns the two losses of an output that should be 1: over the output
    a, and over z, where a is the sigmoid of z."""
    def losses(a):
        return {r"cross-entropy, $-\ln a$": -np.log(a),
                "squared error, $(a - 1)^2$": (a - 1) ** 2}

    a, z = np.linspace(0.001, 1, 1000), np.linspace(-7, 7, 1000)
    return draw_curves(
        ("loss over a", a, "output a", losses(a)),
        ("loss over z", z, "z, where a = sigmoid(z)", losses(sigmoid(z))))


def draw_dropout(net, image, label):
    """Returns an image (1, 28, 28), and a network's probabilities for it with
    dropout on, eight times, and off."""
    with torch.random.fork_rng([]), torch.no_grad():
        torch.manual_seed(2)
        asked = net.train()(image.expand(8, 1, 28, 28)).softmax(dim=1)
    off, = compute_outputs(net, image[None]).softmax(dim=1)
    figure = Figure(figsize=(9, 3), layout="constrained")
    panels = figure.subplot_mosaic([["image", *"0123", "off"],
                                    ["image", *"4567", "off"]],
                                   width_ratios=[1.6, 1, 1, 1, 1, 1.6])
    panels["image"].imshow(image[0].numpy(), cmap="Greys", vmin=0, vmax=1)
    panels["image"].set(xticks=[], yticks=[], title=f"true digit: {label}")
    ticks = sorted({0, label, off.argmax().item()})
    for name, values in (*zip("01234567", asked), ("off", off)):
        draw_answer(panels[name], values, label, ticks)
    panels["5"].set_xlabel("probabilities, asked eight times with dropout on",
                           x=1.1)
    panels["off"].set_xlabel("probabilities, dropout off")
    return figure


def draw_answer(axes, probabilities, label, ticks):
    """Draws ten probabilities as bars, that of the label in green."""
    values = probabilities.double().round(decimals=2).numpy()  # same anywhere
    axes.bar(range(10), values,
             color=[GREEN if k == label else BLUE for k in range(10)])
    axes.set(ylim=(0, 1), xticks=ticks, yticks=(0, 1),
             title=f"{values.argmax()} ({values.max():.2f})")
    axes.tick_params(labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)
