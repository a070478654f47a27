"""The pictures of digits and of what networks make of them."""

from math import ceil

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torchvision.transforms import ToTensor

from common import SHIFTS, predict
from extras.digits import read_digit
from extras.distortions import distort
from extras.report.figures import BLUE, GREEN


def draw_pictures(rows, columns, height, pictures, **options):
    """Returns a figure of small pictures, their axes, and the last of them."""
    figure = Figure(figsize=(8, height), layout="constrained")
    grid = figure.subplots(rows, columns).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, picture in zip(grid, pictures.numpy()):
        shown = axes.imshow(picture, **options)
    return figure, grid, shown


def draw_examples(data):
    """Returns the first 36 images of MNIST data."""
    return draw_pictures(2, 18, 1.1, data.data[:36], cmap="Greys")[0]


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


def draw_filters(net):
    """Returns the 20 kernels of a net's first convolution."""
    filters = net.conv1.weight.detach()[:, 0]
    limit = filters.abs().max()
    figure, grid, shown = draw_pictures(4, 5, 6, filters, cmap="PuOr",
                                        vmin=-limit, vmax=limit)
    for k, axes in enumerate(grid):
        axes.set_title(k, fontsize="small", pad=3)
    figure.colorbar(shown, ax=grid, label="weight")
    return figure


def draw_framed(rows, columns, height, images):
    """Returns a figure of images, framed so that a shift shows, and axes."""
    figure, grid, _ = draw_pictures(rows, columns, height, images,
                                    cmap="Greys", vmin=0, vmax=1)
    for axes in grid:
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
    return figure, grid


def draw_shifts(image):
    """Returns an image (1, 28, 28) and its four shifted copies."""
    figure, grid = draw_framed(
        1, 5, 1.85, torch.cat([shift(image) for shift in SHIFTS]))
    for axes, title in zip(grid, ("original", "right", "left", "up", "down")):
        axes.set_title(title)
        axes.axhline(13.5, color="0.7", linewidth=0.8)  # through the middle
        axes.axvline(13.5, color="0.7", linewidth=0.8)
    return figure


def draw_distortions(image):
    """Returns an image (1, 28, 28), and thirteen distortions of it."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        distorted = distort(image.expand(13, 1, 28, 28))
    figure, grid = draw_framed(2, 7, 2.5, torch.cat([image, *distorted]))
    grid[0].set_title("original", pad=3)
    return figure


def shrink_picture(path):
    """Returns a picture as an image (1, 28, 28) the usual way."""
    image = ToTensor()(Image.open(path).convert("L").resize((28, 28)))
    return 1 - image if image.mean() > 0.5 else image


def draw_digits(paths, net):
    """Returns the pictures of the digits 0, 1, 2, ... above what two ways of
    reading make of them, with a net's answers; wrong ones are crossed."""
    figure = Figure(figsize=(8, 3.1), layout="constrained")
    grid = figure.subplots(3, len(paths))
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, path in zip(grid[0], paths):
        axes.imshow(Image.open(path), cmap="gray", vmin=0, vmax=255)
    grid[0, 0].set_ylabel("picture")
    for row, name, read in zip(grid[1:], ("only shrunk", "read_digit"),
                               (shrink_picture, read_digit)):
        row[0].set_ylabel(name)
        images = torch.stack([read(path) for path in paths])
        answers = predict(net, images).tolist()
        for digit, axes in enumerate(row):
            axes.imshow(images[digit, 0].numpy(), cmap="Greys", vmin=0, vmax=1)
            right = answers[digit] == digit
            axes.set_xlabel(f"{answers[digit]}{'' if right else ' ✗'}",
                            color="black" if right else "#D00000",
                            fontsize="large", weight="bold")
    return figure


def draw_convolution(image, kernel, feature_map, pooled):
    """Returns a window of an image, the kernel, the pixel of the map that they
    give, and the pixel of the pooled map that it gives."""
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    grid, limit = figure.subplots(1, 4), kernel.abs().max().item()
    grid[0].imshow(image.numpy(), "Greys")
    grid[1].imshow(kernel.numpy(), "PuOr", vmin=-limit, vmax=limit)
    grid[2].imshow(feature_map.numpy(), "Greys")
    grid[3].imshow(pooled.numpy(), "Greys")
    for axes, title, text in zip(
            grid, ("image, 28x28", "kernel, 5x5", "map, 24x24",
                   "pooled, 12x12"),
            ("a window of 5x5 pixels", "25 weights: purple adds,\norange "
             "subtracts", "products summed, plus bias;\nbelow 0 is white",
             "the largest of each\n2x2 numbers")):
        axes.set(xticks=[], yticks=[], title=title, xlabel=text)
    y, x = divmod(feature_map.argmax().item(), 24)
    draw_square(grid[0], GREEN, x, y, 5)
    draw_square(grid[2], BLUE, x // 2 * 2, y // 2 * 2, 2)
    draw_square(grid[2], GREEN, x, y, 1)
    draw_square(grid[3], BLUE, x // 2, y // 2, 1)
    return figure


def draw_square(axes, colour, left, top, side):
    """Draws a square around pixels of a picture."""
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), side, side, fill=False,
                             edgecolor=colour, linewidth=2))


def draw_activations(stages, probabilities):
    """Returns what each layer of a net makes of an image: of stages [(name,
    maps (n, height, width))] the four maps that vary most, and probabilities
    (10,)."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    grid = figure.add_gridspec(8, len(stages) + 1)
    for column, (name, maps) in enumerate(stages):
        if name != "pooling":  # it shows the maps chosen before it
            most = maps.flatten(1).std(dim=1).argsort(descending=True)[:4]
        draw_stage(figure, grid, column, name, maps, most)
    bars = figure.add_subplot(grid[:, -1])
    bars.barh(range(10), probabilities.numpy(), color=BLUE)
    bars.set(yticks=range(10), xticks=(0, 1), xlim=(0, 1), title="softmax",
             xlabel="10 probabilities")
    bars.invert_yaxis()
    bars.spines[["top", "right"]].set_visible(False)
    return figure


def draw_stage(figure, grid, column, name, maps, most):
    """Draws those of maps (n, height, width) whose numbers are in most, one
    below the other, in a column of the grid."""
    count, height, width = maps.shape
    rows = [slice(2, 6)] if count == 1 else [
        slice(row, row + 2) for row in (0, 2, 4, 6)]
    stage = [figure.add_subplot(grid[row, column]) for row in rows]
    for axes, k in zip(stage, most):
        axes.imshow(maps[k].numpy(), cmap="Greys", vmin=0,
                    vmax=maps.max().item())
        axes.set(xticks=[], yticks=[])
    text = f"{height}x{width}"
    if count > 1:
        text = f"{count} maps of\n{text}"
    elif name.startswith("fc"):
        text = f"{height * width:,} units"
    stage[0].set_title(name)
    stage[-1].set_xlabel(text)
