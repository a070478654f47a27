"""The tables of the pages, in Markdown, made from the records.

records: {experiment: [record of each seed]}; labels: (10000,) of the test
images
"""

from collections import Counter

import numpy as np
import torch

import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from common import vote
from extras.command_line import decimal, recipe_text
from records import (EXPERIMENTS, FAST_FINAL, FINAL, PUBLISHED,
                     PUBLISHED_VOTE, RELU, compare_runs, is_number, last,
                     last_ten, mean_and_deviation, place_among, predictions,
                     verdict)

STEPS = (  # what is new, before, after, whether book or article claim a gain
    ("a convolution", "dense", "basic_conv", True),
    ("a second convolution", "basic_conv", "dbl_conv", True),
    ("ReLU", "dbl_conv", RELU, True),
    ("extended data", RELU, "expanded_data", True),
    ("two dense layers of 1,000", "expanded_data",
     "expanded_data_double_fc", True),
    ("dropout", "expanded_data_double_fc", FAST_FINAL, True),
    ("learning rate 0.005 instead of 0.03", FAST_FINAL, FINAL, False),
    ("weight decay 0.00005 instead of 0.00002", "dbl_conv_relu_wd0.00002",
     RELU, False))


def table(headings, rows, left=1):
    """Returns a table in Markdown whose first columns are aligned left."""
    rule = ["---"] * left + ["--:"] * (len(headings) - left)
    lines = [[str(cell).replace("|", r"\|") for cell in row]
             for row in (headings, rule, *rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def results_table(records, labels):
    """Returns the table of the top README: what was published, and ours."""
    rows = [[name, command(name), *PUBLISHED[name],
             mean_and_deviation(last(runs)), len(runs)]
            for name, runs in records.items()]
    wrong = (vote(all_predictions(records[FINAL])) != labels).sum().item()
    rows.append([f"vote of {len(records[FINAL])} nets of {FINAL}", "-",
                 *PUBLISHED_VOTE, f"{100 - wrong / 100:.2f}", 1])
    return table(("experiment", "command", "Nielsen", "article", "ours", "n"),
                 rows, left=2)


def command(name):
    """Returns the script or the flags that run an experiment."""
    if name == "dense":
        return "`pytorch_mnist_dense.py`"
    script = dense if name in dense.EXPERIMENTS else convnet
    recipe = EXPERIMENTS[name]
    net, usual = next(
        (net, script.EXPERIMENTS[usual]) for net, usual in script.NETS.items()
        if script.EXPERIMENTS[usual].net_class is recipe.net_class)
    words = ["pytorch_mnist_dense.py"] if script is dense else []
    words.append(f"--net {net}")
    for field in "epochs", "lr", "wd":
        if getattr(recipe, field) != getattr(usual, field):
            words.append(f"--{field} {decimal(getattr(recipe, field))}")
    if recipe.extend_data and not usual.extend_data:
        words.append("--extend_data")
    return f"`{' '.join(words)}`"


def all_predictions(runs):
    """Returns the answers (n, 10000) of n trained nets to the test data."""
    return torch.stack([predictions(run) for run in runs])


def runs_table(records, labels):
    """Returns the table of all that was measured of each row's runs."""
    rows = []
    for name, runs in records.items():
        ten = last_ten(runs)
        best = max(max(run["test_accuracy"]) for run in runs)
        wrong = (all_predictions(runs) != labels).sum(dim=1)
        minutes = np.mean([sum(run["seconds"]) / 60 for run in runs])
        rows.append([
            name, recipe_text(EXPERIMENTS[name]), len(runs),
            mean_and_deviation(last(runs)),
            mean_and_deviation(ten.mean(axis=1)), f"{ten.std(ddof=1):.2f}",
            f"{ten.min():.2f} to {ten.max():.2f}", f"{100 * best:.2f}",
            wrong.min().item(), wrong.max().item(), f"{minutes:.0f}"])
    return table(("experiment", "recipe", "n", "last epoch", "last ten",
                  "s of last ten", "range of last ten", "best test",
                  "fewest wrong", "most wrong", "minutes"), rows, left=2)


def published_table(records):
    """Returns the table of where the published numbers lie among our runs."""
    rows = []
    for name, published in PUBLISHED.items():
        values = last(records[name])
        if any(map(is_number, published)):
            rows.append([
                name,
                published.nielsen, place_among(values, published.nielsen),
                published.article, place_among(values, published.article),
                mean_and_deviation(values), len(values)])
    return table(("experiment", "Nielsen", "among ours", "article",
                  "among ours", "ours", "n"), rows)


def steps_table(records):
    """Returns the table of what each step of the ladder gains."""
    rows = []
    for what, before, after, claimed in STEPS:
        end, ten = compare_runs(records[before], records[after])
        rows.append([what, f"{before} -> {after}",
                     *map(published_step, PUBLISHED[before], PUBLISHED[after]),
                     end, verdict(end, claimed), ten, verdict(ten, claimed)])
    return table(("step", "from -> to", "Nielsen", "article", "last epoch", "",
                  "last ten", ""), rows, left=2)


def published_step(before, after):
    """Returns the difference of two published accuracies, or "-"."""
    if not (is_number(before) and is_number(after)):
        return "-"
    return f"{float(after) - float(before):+.2f}"


def vote_table(records, labels):
    """Returns the table of what the vote makes of the images that no, one,
    two, ... of the final nets get wrong."""
    answers = all_predictions(records[FINAL])
    wrong, right = (answers != labels).sum(dim=0), vote(answers) == labels
    rows = []
    for count in range(len(answers) + 1):
        images = wrong == count
        rows.append([count, images.sum().item(),
                     (images & right).sum().item(),
                     (images & ~right).sum().item()])
    rows.append(["together", len(labels), right.sum().item(),
                 (~right).sum().item()])
    return table(("nets that are wrong", "images", "vote right",
                  "vote wrong"), rows)


def machines_table(records):
    """Returns the table of what the runs were made on."""
    names = "device", "threads", "processor", "python", "torch"
    kinds = Counter(tuple(run[name] for name in names)
                    for runs in records.values() for run in runs)
    return table((*names, "runs"), [[*kind, count] for kind, count
                                    in sorted(kinds.items())], left=5)
