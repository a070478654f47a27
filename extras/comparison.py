"""Compares runs by their records: in a plot, by a t-test, and in a vote.

    >>> before = read_runs("results/runs/dbl_conv-seed*.json")
    >>> after = read_runs("results/runs/dbl_conv_relu-seed*.json")
    >>> plot_runs(plt.gca(), {"sigmoid": before, "ReLU": after})
    >>> print(compare_runs(before, after))

runs are a list of records, or of the histories that train_network fills, that
differ in nothing but their seeds. Accuracies are in per cent, their
differences in percentage points.
"""

from collections import namedtuple
from glob import glob

import numpy as np
import torch
from matplotlib.ticker import MaxNLocator
from scipy import stats
from torch.nn.functional import one_hot

from extras.runs import RECIPE, read_record

SETTINGS = ("net", "layers", *RECIPE, "train_size", "test_size", "batch_size")


def read_runs(pattern):
    """Returns the records whose paths match a pattern such as
    "runs/my-*.json".

    Raises FileNotFoundError if there are none, and ValueError if one is
    damaged, or if they are not runs of the same settings from different seeds.
    """
    paths = sorted(glob(str(pattern)))
    if not paths:
        raise FileNotFoundError(f"no record matches {pattern}")
    runs = [read_record(path) for path in paths]
    for path, run in zip(paths, runs):
        for name in SETTINGS:
            if run.get(name) != runs[0].get(name):
                raise ValueError(
                    f"{path} has {name} {run.get(name)}, but {paths[0]} has "
                    f"{runs[0].get(name)}; read one kind of run at a time")
    seeds = [run["seed"] for run in runs]
    if len({*seeds}) < len(seeds):
        raise ValueError(f"some of the records {pattern} have the same seed, "
                         f"and so are the same run: seeds {seeds}")
    return runs


def accuracies(runs):
    """Returns the accuracies (n, epochs) of n runs."""
    return 100 * np.array([run["test_accuracy"] for run in runs])


def mean_of_last(runs, epochs=1):
    """Returns the mean accuracies (n,) over the last epochs of n runs."""
    return accuracies(runs)[:, -epochs:].mean(axis=1)


def plot_runs(axes, kinds):
    """Draws the test accuracy by epoch into Matplotlib's axes: for each kind
    of runs, {name: runs}, their mean, in a band from the lowest to the highest
    of them. The steep rise of the first fifth may begin below the frame."""
    shown = list(axes.get_ylim()) if axes.lines else []
    for name, runs in kinds.items():
        tests = accuracies(runs)
        epochs = range(1, tests.shape[1] + 1)
        line, = axes.plot(epochs, tests.mean(axis=0),
                          label=f"{name} (n = {len(runs)})")
        axes.fill_between(epochs, tests.min(axis=0), tests.max(axis=0),
                          color=line.get_color(), alpha=0.15, linewidth=0)
        settled = tests[:, len(epochs) // 5:]
        margin = 0.05 * np.ptp(settled) + 0.01
        shown += [settled.min() - margin, tests.max() + margin]
    axes.set(xlabel="epoch", ylabel="test accuracy (%)",
             ylim=(min(shown), max(shown)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True,
                                             steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.3)
    axes.legend()


class Difference(namedtuple("Difference", "points error p")):
    """The difference of two means, its standard error, and p: how often luck
    alone would give so large a difference, up or down."""
    def __str__(self):  # "+0.15 ± 0.03"
        error = "" if np.isnan(self.error) else f" ± {self.error:.2f}"
        return f"{self.points:+.2f}{error}"


def compare_runs(before, after, epochs=10):
    """Returns the Difference that two kinds of runs make, by the mean accuracy
    of each run's last epochs, which depends less on luck than the last test.

    By Welch's t-test, which lets the two kinds vary by different amounts. A
    single run, or runs that all agree, show no error: nan. Raises ValueError
    if a run has fewer epochs.
    """
    fewest = min(accuracies(runs).shape[1] for runs in (before, after))
    if not 1 <= epochs <= fewest:
        raise ValueError(f"a run has {fewest} epochs, so their last {epochs} "
                         f"cannot be compared; give epochs={fewest}, or fewer")
    before, after = (mean_of_last(runs, epochs) for runs in (before, after))
    points, n = after.mean() - before.mean(), min(len(before), len(after))
    if n < 2 or np.ptp(before) == np.ptp(after) == 0:
        return Difference(points, np.nan, np.nan)
    error = np.hypot(stats.sem(before), stats.sem(after))
    # stats.ttest_ind would warn of runs that all agree
    welch = stats.ttest_ind_from_stats(
        before.mean(), before.std(ddof=1), len(before),
        after.mean(), after.std(ddof=1), len(after), equal_var=False)
    return Difference(points, error, welch.pvalue)


def vote(predictions):
    """Returns the most frequent answers (images,) int64 of the answers of
    several nets, each (images,) int64; ties go to the smallest digit."""
    # argmax takes the first of equals; torch.mode may not, on a GPU
    answers = torch.stack([torch.as_tensor(row) for row in predictions])
    return one_hot(answers, 10).sum(0).argmax(1)
