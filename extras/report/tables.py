"""The tables of the pages, in Markdown, made from the records.

records: {experiment: [record of each seed]}; labels: (10000,) of the test
images
"""

from collections import Counter

import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras.command_line import RECIPE, decimal
from extras.comparison import accuracies, last
from extras.report.records import (DISTORTED, EXPERIMENTS, EXTENDED, FAST_FINAL, FINAL,
                     PUBLISHED, RELU, STRONG_DECAY, WEAK_DECAY,
                     all_predictions, deviation_text, is_number, mean_text,
                     minutes, place_among, vote_is_right)
from extras.report.significance import last_gain, measure_steps, p_text, published_gains

IDEAS = {  # what each experiment adds to the one before it
    "dense": "one hidden layer, as in chapter 1",
    "shallow": "the same, trained as in chapter 6",
    "basic_conv": "a convolution",
    "dbl_conv": "a second convolution",
    RELU: "rectified linear units (ReLU)",
    EXTENDED: "shifted copies of the images",
    "expanded_data_double_fc": "two dense layers of 1,000 units",
    FAST_FINAL: "dropout",
    FINAL: "a lower learning rate",
    DISTORTED: "distorted images, not shifted ones",
    WEAK_DECAY: f"as {RELU}, with less weight decay",
    STRONG_DECAY: f"as {RELU}, with far more weight decay",
}


def table(headings, rows, left=1):
    """Returns a table in Markdown whose first columns are aligned left."""
    rule = ["---"] * left + ["--:"] * (len(headings) - left)
    lines = [[str(cell).replace("|", r"\|") for cell in row]
             for row in (headings, rule, *rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def results_table(records, labels):
    """Returns the table of the top README: what was published, and ours."""
    rows = []
    for name, runs in records.items():
        ends = last(runs)
        rows.append([name, IDEAS[name], *PUBLISHED[name], mean_text(ends),
                     deviation_text(ends), len(runs)])
    voters = records[FAST_FINAL]
    right = vote_is_right(voters, labels).double().mean().item()
    rows.append([f"vote of {len(voters)} networks of {FAST_FINAL}",
                 "the most frequent answer", "99.67 (5 networks)", "-",
                 f"{100 * right:.2f}", "-", 1])
    return table(("experiment", "what is new", "Nielsen", "article", "ours",
                  "s", "n"), rows, left=2)


def runs_table(records, labels):
    """Returns the table of all that was measured of each row's runs."""
    rows = []
    for name, runs in records.items():
        ends, tens, ten = last(runs), last(runs, 10), accuracies(runs)[:, -10:]
        wrong = (all_predictions(runs) != labels).sum(dim=1)
        rows.append([
            name, command(name), len(runs),
            mean_text(ends), deviation_text(ends),
            mean_text(tens), deviation_text(tens),
            f"{ten.min():.2f} to {ten.max():.2f}",
            f"{accuracies(runs).max():.2f}",
            wrong.min().item(), wrong.max().item(), f"{minutes(runs):.0f}"])
    return table(("experiment", "command", "n", "last epoch", "s", "last ten",
                  "s of last ten", "range of last ten", "best test",
                  "fewest wrong", "most wrong", "minutes"), rows, left=2)


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
    words += [flag(field, getattr(recipe, field)) for field in RECIPE
              if getattr(recipe, field) != getattr(usual, field)]
    return f"`{' '.join(words)}`"


def flag(field, value):
    """Returns the flag that sets a field of a recipe."""
    if isinstance(value, bool):
        return f"--{field}" if value else f"--no-{field}"
    return f"--{field} {decimal(value)}"


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
                mean_text(values), deviation_text(values), len(values)])
    return table(("experiment", "Nielsen", "Nielsen's among ours", "article",
                  "article's among ours", "ours", "s", "n"), rows)


def steps_table(records):
    """Returns the table of what each step of the ladder gains."""
    rows = [[step.what, f"{step.before} -> {step.after}",
             *published_gains(step), last_gain(records, step), gain,
             p_text(gain), verdict]
            for step, gain, verdict in measure_steps(records)]
    return table(("step", "from -> to", "Nielsen", "article", "last epoch",
                  "last ten", "p", "verdict"), rows, left=2)


def shifts_table(shifts):
    """Returns the table of what saved nets have learned of shifts.

    shifts {name: accuracies (4,) in per cent} of saved_nets.shift_accuracies
    """
    rows = [[name, *(f"{accuracy:.2f}" for accuracy in accuracies)]
            for name, accuracies in shifts.items()]
    return table(("network", "test images", "shifted by 1 pixel",
                  "shifted by 2 pixels", "training images"), rows)


def vote_table(records, labels):
    """Returns the table of what the vote makes of the images that no, one,
    two, ... of the final nets get wrong."""
    answers = all_predictions(records[FINAL])
    wrong = (answers != labels).sum(dim=0)
    right = vote_is_right(records[FINAL], labels)
    rows = []
    for count in range(len(answers) + 1):
        images = wrong == count
        rows.append([count, images.sum().item(),
                     (images & right).sum().item(),
                     (images & ~right).sum().item()])
    rows.append(["together", len(labels), right.sum().item(),
                 (~right).sum().item()])
    return table(("networks that are wrong", "images", "vote right",
                  "vote wrong"), rows)


def machines_table(records):
    """Returns the table of what the runs were made on."""
    names = "device", "threads", "processor", "python", "torch"
    kinds = Counter(tuple(run[name] for name in names)
                    for runs in records.values() for run in runs)
    return table((*names, "runs"), [[*kind, count] for kind, count
                                    in sorted(kinds.items())], left=5)
