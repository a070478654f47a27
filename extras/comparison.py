"""Compares runs by their records: in a plot, and by a t-test.

    >>> before = read_runs("results/dbl_conv-seed*.json")
    >>> after = read_runs("results/dbl_conv_relu-seed*.json")
    >>> plot_runs(plt.gca(), {"sigmoid": before, "ReLU": after})
    >>> print(compare_runs(before, after))

runs are a list of records, or of the histories that train_network fills, that
differ in nothing but their seeds. Accuracies are in per cent, their
differences in percentage points.
"""

from collections import namedtuple
from glob import glob

import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy import stats

from extras.command_line import RECIPE
from extras.runs import read_record

SETTINGS = "net", *RECIPE, "train_size", "test_size"


def read_runs(pattern):
    """Returns the records whose paths fit a pattern such as "runs/my-*.json".

    Raises FileNotFoundError if none does, and ValueError if one is damaged, or
    if they are not runs of the same settings from different seeds.
    """
    paths = sorted(glob(str(pattern)))
    if not paths:
        raise FileNotFoundError(f"no record fits {pattern}")
    runs = [read_record(path) for path in paths]
    for path, run in zip(paths, runs):
        check_setting(path, run, paths[0], runs[0])
    seeds = [run["seed"] for run in runs]
    if len({*seeds}) < len(seeds):
        raise ValueError(f"of the records {pattern} some have the same seed, "
                         f"and so are the same run: seeds {seeds}")
    return runs


def check_setting(path, run, first_path, first):
    """Raises ValueError if a run is not a record of the first one's kind."""
    if not (isinstance(run, dict)
            and {"net", "seed", "test_accuracy"} <= run.keys()):
        raise ValueError(f"{path} is not a record; --record writes one")
    for name in SETTINGS:  # early records have no distort
        if run.get(name, False) != first.get(name, False):
            raise ValueError(
                f"{path} has {name} {run.get(name)}, but {first_path} has "
                f"{first.get(name)}; read the runs of one kind at a time")


def accuracies(runs):
    """Returns the accuracies (n, epochs) of n runs; ValueError if they are no
    runs, or do not have the same number of epochs."""
    try:
        tests = np.array([run["test_accuracy"] for run in runs], dtype=float)
        if tests.ndim != 2:
            raise ValueError(f"accuracies of shape {tests.shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError("runs must be a list of records, as read_runs gives "
                         "it, or of histories of train_network, all of the "
                         "same number of epochs") from error
    return 100 * tests


def last(runs, epochs=1):
    """Returns the mean accuracies (n,) over the last epochs of n runs."""
    return accuracies(runs)[:, -epochs:].mean(axis=1)


def plot_runs(axes, kinds):
    """Draws the test accuracy by epoch into Matplotlib's axes: for each kind
    of runs, {name: runs}, their mean, in a band from the lowest to the highest
    of them. The steep rise of the first fifth may begin below the frame."""
    shown = []
    for name, runs in kinds.items():
        tests = accuracies(runs)
        epochs = range(1, tests.shape[1] + 1)
        line, = axes.plot(epochs, tests.mean(axis=0),
                          label=f"{name} (n = {len(runs)})")
        axes.fill_between(epochs, tests.min(axis=0), tests.max(axis=0),
                          color=line.get_color(), alpha=0.15, linewidth=0)
        shown += [tests[:, len(epochs) // 5:].min(), tests.max()]
    margin = 0.05 * np.ptp(shown) + 0.01
    axes.set(xlabel="epoch", ylabel="test accuracy (%)",
             ylim=(min(shown) - margin, max(shown) + margin))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True,
                                             steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.3)
    axes.legend()


class Difference(namedtuple("Difference", "points error p")):
    """The difference of two means, its standard error, and p, how often luck
    alone would give so large a difference, up or down."""
    def __str__(self):  # "+0.15 ± 0.03"
        error = "" if np.isnan(self.error) else f" ± {self.error:.2f}"
        return f"{self.points:+.2f}{error}"


def compare_runs(before, after, epochs=10, extra_error=0):
    """Returns the Difference that two kinds of runs make, by the mean accuracy
    of each run's last epochs: it depends less on luck than the last test.
    Raises ValueError if a run has fewer epochs."""
    fewest = min(accuracies(runs).shape[1] for runs in (before, after))
    if not 1 <= epochs <= fewest:
        raise ValueError(f"a run has {fewest} epochs, so their last {epochs} "
                         f"cannot be compared; give epochs={fewest}, or fewer")
    return compare(last(before, epochs), last(after, epochs), extra_error)


def compare(before, after, extra_error=0):
    """Returns the Difference between the values (n,) of two kinds of runs.

    By Welch's t-test, which lets the two kinds vary by different amounts.
    extra_error is a further standard error of their difference, such as that
    of other images. A single run, or runs that all agree, tell no error: nan.
    """
    points = after.mean() - before.mean()
    runs = np.array([len(before), len(after)])
    if runs.min() < 2 or np.ptp(before) == np.ptp(after) == 0:
        return Difference(points, np.nan, np.nan)
    squares = np.array([stats.sem(before), stats.sem(after)]) ** 2
    square = squares.sum() + extra_error ** 2
    freedom = square ** 2 / (squares ** 2 / (runs - 1)).sum()
    error = np.sqrt(square)
    return Difference(points, error,
                      2 * stats.t.sf(abs(points) / error, freedom))
