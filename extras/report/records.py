"""The records of the runs, the published numbers, and how the two compare.

A record is EXPERIMENT-seedN.json, as --record wrote it, in this folder.
"""

import re
from collections import namedtuple
from pathlib import Path

import numpy as np
import torch
from scipy import stats

import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from common import vote
from extras.command_line import RECIPE
from extras.runs import read_record

RESULTS = Path(__file__).resolve().parent

Published = namedtuple("Published", "nielsen article", defaults=("-", "-"))

PUBLISHED = {  # test accuracies in per cent; the rows of all tables
    "dense": Published("96.59", "close to 98"),
    "shallow": Published("97.80"),
    "basic_conv": Published("98.78", "98.97"),
    "dbl_conv": Published("99.06", "99.05"),
    "dbl_conv_relu": Published("99.23", "99.43"),  # with the article's decay
    "expanded_data": Published("99.37", "99.51"),
    "expanded_data_double_fc": Published("99.47"),
    "double_fc_dropout_lr0.03": Published("99.60",
                                          "99.64 at best, mostly about 99.5"),
    "double_fc_dropout": Published(article="99.63"),
    "distorted_data": Published(),
    "dbl_conv_relu_wd0.00002": Published("99.23"),
    "dbl_conv_relu_wd0.1": Published(article="85.31"),
}
EXPERIMENTS = {name: {**dense.EXPERIMENTS, **convnet.EXPERIMENTS}[name]
               for name in PUBLISHED}

CHANCE = 11.35  # per cent of the test images are ones, the most of a digit

# Experiments that some tables, sentences and figures are about
RELU, STRONG_DECAY = "dbl_conv_relu", "dbl_conv_relu_wd0.1"
WEAK_DECAY = "dbl_conv_relu_wd0.00002"
FINAL, FAST_FINAL = "double_fc_dropout", "double_fc_dropout_lr0.03"
EXTENDED, DISTORTED = "expanded_data", "distorted_data"

VOTERS = (FAST_FINAL, FINAL, DISTORTED)  # experiments whose nets vote


# Records

def read_records(labels):
    """Returns {experiment: [record of each seed]}; ValueError if an experiment
    has no record, or if a file is not the record that its name says.

    labels (10000,) of the test images
    """
    records = {name: [] for name in EXPERIMENTS}
    for path in sorted(RESULTS.glob("*.json")):
        record = read_record(path)
        check_record(path, record, labels)
        records[path.stem.split("-seed")[0]].append(record)
    for name, runs in records.items():
        if not runs:
            raise ValueError(f"{RESULTS} has no record of {name}")
    return records


def check_record(path, record, labels):
    """Raises ValueError if a record is not what the name of its path says."""
    name, _, seed = path.stem.partition("-seed")
    if name not in EXPERIMENTS or not re.fullmatch("0|[1-9][0-9]*", seed):
        raise ValueError(f"{path} is not named EXPERIMENT-seedN.json, by one "
                         f"of {', '.join(EXPERIMENTS)}")
    check_settings(path, record, EXPERIMENTS[name], int(seed))
    check_results(path, record, labels)


def check_settings(path, record, recipe, seed):
    """Raises ValueError if a record is not of the recipe and seed."""
    wanted = {"net": recipe.net_class.__name__, "seed": seed,
              **{name: getattr(recipe, name) for name in RECIPE},
              "train_size": 60_000, "test_size": 10_000}
    machine = {"device": str, "threads": int, "processor": str,
               "python": str, "torch": str}
    needed = {*wanted, *machine, "test_accuracy", "seconds", "predictions"}
    needed.remove("distort")  # which the first records lack
    if not isinstance(record, dict) or needed - record.keys():
        raise ValueError(f"{path} is damaged or not a record: it lacks one of "
                         f"{', '.join(sorted(needed))}")
    for name, value in wanted.items():
        if record.get(name, False) != value:
            raise ValueError(f"{path} has {name} {record.get(name)}, but a "
                             f"record of this name needs {value}")
    for name, kind in machine.items():
        if type(record[name]) is not kind:
            raise ValueError(f"{path} has {name} {record[name]!r}, but a "
                             f"record needs {kind.__name__}")


def check_results(path, record, labels):
    """Raises ValueError if a record's results are not whole, or disagree."""
    epochs, digits = record["epochs"], record["predictions"]
    try:
        accuracies = np.array(record["test_accuracy"])
        seconds = np.array(record["seconds"])
        losses = np.array(record.get("loss", seconds), dtype=float)
        whole = (re.fullmatch("[0-9]{10000}", digits)
                 and accuracies.shape == seconds.shape == (epochs,)
                 and ((accuracies >= 0) & (accuracies <= 1)).all()
                 and ((seconds > 0) & (seconds < np.inf)).all()
                 and len(losses) == epochs)
    except (OverflowError, TypeError, ValueError):  # of null or words, say
        whole = False
    if not whole:
        raise ValueError(f"{path} needs a test_accuracy from 0 to 1 and the "
                         f"seconds of each of {epochs} epochs, predictions of "
                         "10,000 digits, and loss, if there, of each epoch")
    right = (predictions(record) == labels).double().mean().item()
    # the predictions are a CPU's, which may differ from a GPU's in a few
    if abs(accuracies[-1] - right) > 0.001:
        raise ValueError(f"{path} ends with a test_accuracy of "
                         f"{accuracies[-1]}, but {right} of its predictions "
                         "are right")


def predictions(record):
    """Returns the digits (10000,) that a trained net saw in the test data."""
    return torch.tensor([int(digit) for digit in record["predictions"]])


def all_predictions(runs):
    """Returns the digits (n, 10000) that n trained nets saw."""
    return torch.stack([predictions(run) for run in runs])


def vote_is_right(runs, labels):
    """Returns which images (10000,) bool the vote of n nets gets right."""
    return vote(all_predictions(runs)) == labels


def minutes(runs):
    """Returns how many minutes a run took, on average."""
    return np.mean([sum(run["seconds"]) / 60 for run in runs])


# In words

def joined(texts, word="and"):
    """Returns "a, b and c", or with another word."""
    *most, final = texts
    return f"{', '.join(most)} {word} {final}" if most else final


def mean_text(values):
    """Returns the mean of runs, "99.05"; the values themselves if some know no
    more than chance: "91.17, 92.00, 10.09"."""
    if values.min() <= CHANCE:
        return ", ".join(f"{value:.2f}" for value in values)
    return f"{values.mean():.2f}"


def deviation_text(values):
    """Returns the standard deviation of runs; "-" of a single run, and of runs
    some of which know no more than chance."""
    if len(values) == 1 or values.min() <= CHANCE:
        return "-"
    return f"{values.std(ddof=1):.2f}"


def place_among(values, published):
    """Returns whether a published accuracy lies where one more run of ours
    would be expected, 19 times in 20, beside our runs' values."""
    if not is_number(published):
        return "-"
    n = len(values)
    if n < 2 or values.std() == 0 or values.min() <= CHANCE:
        return "cannot be told"
    spread = values.std(ddof=1) * np.sqrt(1 + 1 / n)
    distance = (float(published) - values.mean()) / spread
    word = "higher" if distance > 0 else "lower"
    if abs(distance) <= stats.t.ppf(0.975, n - 1):
        word = "expected"
    return f"{word} ({distance:+.1f})"


def is_number(text):
    """Returns whether a published accuracy is a plain number."""
    return re.fullmatch(r"\d+\.\d+", text) is not None


def first_number(text):
    """Returns the number with which a published accuracy begins, or None."""
    found = re.match(r"\d+\.\d+", text)
    return found and float(found[0])
