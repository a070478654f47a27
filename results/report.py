"""Makes the README's table of results and the figures from the records.

    python results/report.py

A record is EXPERIMENT-seedN.json, as --record wrote it; to add a run, put its
record beside the others. The filters come from double_fc_dropout-seed0.pt.
Nothing is trained or tested here.
"""

import argparse
import re
import statistics
import sys
from math import ceil
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
README = ROOT / "README.md"
sys.path.insert(0, str(ROOT))

from common import get_dataset, read_record, recipe_text  # noqa: E402
from common import replacing, vote  # noqa: E402
from pytorch_mnist_convnet import EXPERIMENTS, NETS  # noqa: E402
from pytorch_mnist_dense import Net  # noqa: E402

MARKERS = "<!-- table made by results/report.py -->", "<!-- end of table -->"
HEADINGS = ("experiment", "recipe", "Nielsen", "article", "ours", "n", "best",
            "wrong", "minutes")
FINAL = "double_fc_dropout"
VOTE_NIELSEN = "99.67 (5 nets)"
FINAL_COLOURS = {"double_fc_dropout_lr0.03": "#E69F00", FINAL: "#0072B2"}
COLOURS = {  # of the lines, by experiment; told apart by the colour-blind
    "dense": "#000000", "basic_conv": "#56B4E9", "dbl_conv": "#009E73",
    "dbl_conv_relu": "#D55E00", "expanded_data": "#CC79A7",
    "expanded_data_double_fc": "#E69F00", FINAL: "#0072B2"}


def read_records(labels):
    """Returns {experiment: [record of each seed]}; ValueError if a file in
    results/ is not the record that its name says.

    labels (10000,) of the test images
    """
    records = {name: [] for name in EXPERIMENTS}
    for path in sorted(RESULTS.glob("*.json")):
        name, _, seed = path.stem.rpartition("-seed")
        if name not in records or not re.fullmatch("0|[1-9][0-9]*", seed):
            raise ValueError(f"{path} is not named EXPERIMENT-seedN.json, by "
                             f"one of {', '.join(EXPERIMENTS)}")
        record = read_record(path)
        check_record(path, record, EXPERIMENTS[name], int(seed))
        check_results(path, record, labels)
        records[name].append(record)
    return records


def check_record(path, record, recipe, seed):
    """Raises ValueError if a record is not of the recipe and seed."""
    net = Net if recipe.net == "dense" else NETS[recipe.net][0]
    wanted = {"net": net.__name__, "seed": seed, "epochs": recipe.epochs,
              "lr": recipe.lr, "wd": recipe.wd,
              "extend_data": recipe.extend_data,
              "train_size": 60_000, "test_size": 10_000}
    needed = {*wanted, "test_accuracy", "seconds", "predictions", "device",
              "threads", "processor", "python", "torch"}
    if not isinstance(record, dict) or needed - record.keys():
        raise ValueError(f"{path} is damaged or no record: it does not have "
                         f"all of {', '.join(sorted(needed))}")
    for name, value in wanted.items():
        if record[name] != value:
            raise ValueError(f"{path} has {name} {record[name]}, but a record "
                             f"of this name needs {value}")


def check_results(path, record, labels):
    """Raises ValueError if a record's results are not whole, or disagree."""
    epochs, digits = record["epochs"], record["predictions"]
    try:
        accuracies = np.array(record["test_accuracy"])
        seconds = np.array(record["seconds"])
        whole = (re.fullmatch("[0-9]{10000}", digits)
                 and accuracies.shape == seconds.shape == (epochs,)
                 and ((accuracies >= 0) & (accuracies <= 1)).all()
                 and (seconds > 0).all())
    except (TypeError, ValueError):  # of null or words, say
        whole = False
    if not whole:
        raise ValueError(f"{path} needs a test_accuracy from 0 to 1 and the "
                         f"seconds of each of {epochs} epochs, and "
                         "predictions of 10,000 digits")
    right = (predictions(record) == labels).double().mean().item()
    # the predictions are a CPU's, which may differ from a GPU's in a few
    if abs(accuracies[-1] - right) > 0.001:
        raise ValueError(f"{path} ends with a test_accuracy of "
                         f"{accuracies[-1]}, but {right} of its predictions "
                         "are right")


def predictions(record):
    """Returns the digits (10000,) that a trained net saw in the test data."""
    return torch.tensor([int(digit) for digit in record["predictions"]])


# The table

def make_table(records, labels):
    """Returns the table in Markdown, and what the runs were made on.

    records as read_records gives them, labels (10000,) of the test images
    """
    rows = [HEADINGS, ["---"] * 2 + ["--:"] * (len(HEADINGS) - 2)]
    for name, recipe in EXPERIMENTS.items():
        rows.append([name, f"`{recipe.net}`: {recipe_text(recipe)}",
                     recipe.nielsen, recipe.article,
                     *measured(records[name], labels)])
    rows.append(vote_row(records[FINAL], labels))
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", circumstances(records), ""])


def measured(runs, labels):
    """Returns the cells of a row that tell of our runs."""
    if not runs:
        return ["not run yet", "0", "-", "-", "-"]
    last = [100 * run["test_accuracy"][-1] for run in runs]
    wrong = [(predictions(run) != labels).sum().item() for run in runs]
    minutes = [sum(run["seconds"]) / 60 for run in runs]
    spread = f" ± {statistics.stdev(last):.2f}" if len(runs) > 1 else ""
    return [f"{statistics.mean(last):.2f}{spread}", str(len(runs)),
            f"{max(last):.2f}", str(min(wrong)),
            f"{statistics.mean(minutes):.0f}"]


def vote_row(runs, labels):
    """Returns the row of the vote of the final nets, at least three."""
    if len(runs) < 3:
        count, cells = "n", measured([], labels)
    else:
        answers = vote(torch.stack([predictions(run) for run in runs]))
        wrong = (answers != labels).sum().item()
        percent = f"{100 - wrong / 100:.2f}"
        count, cells = len(runs), [percent, "1", percent, str(wrong), "-"]
    return [f"vote of {count} {FINAL} nets", "-", VOTE_NIELSEN, "-", *cells]


def circumstances(records):
    """Returns a line of Markdown for each kind of machine that was used."""
    kinds = {f"{run['device']}, threads {run['threads']}, {run['processor']}, "
             f"Python {run['python']}, torch {run['torch']}"
             for runs in records.values() for run in runs}
    return "\n".join(f"Made on: {kind}." for kind in sorted(kinds))


def write_table(table):
    """Puts the table between the README's markers; ValueError without them."""
    start, end = MARKERS
    before, _, rest = README.read_text("utf-8").partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{README} needs the lines {start} and {end}")
    with replacing(README) as file:
        file.write(f"{before}{start}\n{table}{end}{after}".encode())


# The figures

def draw_axes(xlabel, ylabel):
    """Returns a figure and its axes, with quiet grid lines."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    return figure, axes


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
                              100 * np.array(run["test_accuracy"]), colour)
        if records[name]:
            line.set_label(f"learning rate {run['lr']}")
    axes.legend(loc="lower right")
    return figure


def draw_all(records):
    """Returns all nets' accuracy by epoch, the mean of the runs of each.

    The scale is log(accuracy / (1 - accuracy)), on which nearly the same
    distance halves the errors everywhere: 98 to 99 %, 99 to 99.5 %.
    """
    figure, axes = draw_axes("epoch", "test accuracy (%)")
    means = {name: np.mean([run["test_accuracy"] for run in records[name]], 0)
             for name in COLOURS if records[name]}
    for name in sorted(means, key=lambda name: -means[name][-1]):
        axes.plot(range(1, len(means[name]) + 1), means[name], COLOURS[name],
                  label=f"{name}: {100 * means[name][-1]:.2f}")
    ticks = 0.97, 0.98, 0.985, 0.99, 0.993, 0.995, 0.997
    axes.set_yscale("logit")
    axes.set_yticks(ticks, [f"{100 * tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylim(0.97, 0.9975)
    axes.legend(loc="lower right")
    return figure


def draw_costs():
    """Returns the two costs of an output that should be 1."""
    figure, axes = draw_axes("output x, which should be 1", "cost")
    x = np.linspace(0.001, 1, 1000)
    axes.plot(x, -np.log(x), "#0072B2", label=r"$-\ln x$")
    axes.plot(x, (x - 1) ** 2, "#D55E00", label="$(x - 1)^2$")
    axes.legend()
    return figure


def draw_filters():
    """Returns the 20 filters of the final net's first convolution."""
    path = RESULTS / f"{FINAL}-seed0.pt"
    try:
        filters = torch.load(path, weights_only=True)["conv1.weight"][:, 0]
    except Exception as error:  # damage can make it raise nearly anything
        raise ValueError(f"cannot load {path}: {error!r}") from error
    limit = filters.abs().max()
    figure, grid, shown = draw_pictures(4, 5, 6, filters, cmap="PuOr",
                                        vmin=-limit, vmax=limit)
    figure.colorbar(shown, ax=grid, label="weight")
    return figure


def draw_mistakes():
    """Returns the test digits that the final net of seed 0 gets wrong."""
    test_data = get_dataset(train=False)
    answers = predictions(read_record(RESULTS / f"{FINAL}-seed0.json"))
    wrong = (answers != test_data.targets).nonzero().flatten()
    rows = ceil(len(wrong) / 10)
    figure, grid, _ = draw_pictures(rows, 10, 1.2 * rows + 0.3,
                                    test_data.data[wrong], cmap="Greys")
    for axes, i in zip(grid, wrong):
        axes.set_title(f"{test_data.targets[i]} → {answers[i]}", pad=1)
    figure.suptitle("true digit → predicted digit")
    return figure


def draw_figures(records):
    """Returns {name: figure}."""
    return {"mistakes": draw_mistakes(), "filters": draw_filters(),
            "final": draw_final(records), "all": draw_all(records),
            "costs": draw_costs()}


def main(argv=None):
    """Writes the table and the figures, or exits with status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.parse_args(argv)
    try:
        labels = get_dataset(train=False).targets
        records = read_records(labels)
        figures = draw_figures(records)
        write_table(make_table(records, labels))
        for name, figure in figures.items():
            with replacing(RESULTS / f"{name}.png") as file:
                figure.savefig(file, dpi=150)
    except (OSError, ValueError) as error:
        parser.error(f"{error}; move a file of yours away, or restore a "
                     "published one: git checkout -- FILE")


if __name__ == "__main__":
    main()
