"""Which steps of the ladder gain more than luck would: Welch's t-test, Holm's
correction, and what they say of the claims of the book and the article. All in
points of per cent.

records: {experiment: [record of each seed]}; labels: (10000,) of the test
images
"""

from collections import namedtuple

import numpy as np
from scipy import stats

from records import (FAST_FINAL, FINAL, PUBLISHED, RELU, all_predictions,
                     first_number, last, last_ten)

Step = namedtuple("Step", "what before after claimed", defaults=(True,))

STEPS = (  # claimed: the book or the article says that it helps
    Step("a convolution", "shallow", "basic_conv"),
    Step("a second convolution", "basic_conv", "dbl_conv"),
    Step("ReLU", "dbl_conv", RELU),
    Step("extended data", RELU, "expanded_data"),
    Step("two dense layers of 1,000", "expanded_data",
         "expanded_data_double_fc", claimed=False),
    Step("dropout", "expanded_data_double_fc", FAST_FINAL),
    Step("two dense layers and dropout", "expanded_data", FAST_FINAL),
    Step("learning rate 0.005 instead of 0.03", FAST_FINAL, FINAL,
         claimed=False),
    Step("weight decay 0.00005 instead of 0.00002", "dbl_conv_relu_wd0.00002",
         RELU, claimed=False))


def measure_steps(records, labels=None):
    """Returns [(step, Difference over the last ten epochs, verdict)].

    With labels, the test images count as luck too: see image_error.
    """
    gains = []
    for step in STEPS:
        before, after = records[step.before], records[step.after]
        error = 0 if labels is None else image_error(before, after, labels)
        gains.append(compare(last_ten(before).mean(axis=1),
                             last_ten(after).mean(axis=1), error))
    claims = [(step, gain) for step, gain in zip(STEPS, gains) if step.claimed]
    found = dict(zip([step for step, _ in claims],
                     verdicts([gain for _, gain in claims])))
    return [(step, gain, found.get(step, "not claimed"))
            for step, gain in zip(STEPS, gains)]


class Difference(namedtuple("Difference", "points error p")):
    """The difference of two means, its standard error, and p, how often luck
    alone would give so large a difference, up or down."""
    def __str__(self):  # "+0.15 ± 0.03"
        error = "" if np.isnan(self.error) else f" ± {self.error:.2f}"
        return f"{self.points:+.2f}{error}"


def compare(before, after, extra_error=0):
    """Returns the Difference between the values of two kinds of runs.

    By Welch's t-test, as the two kinds fluctuate differently; extra_error is
    what does not come from the runs. A single run tells no error: nan.
    """
    points = after.mean() - before.mean()
    if min(len(before), len(after)) < 2:
        return Difference(points, np.nan, np.nan)
    squares = np.array([stats.sem(before), stats.sem(after)]) ** 2
    square = squares.sum() + extra_error ** 2
    runs = np.array([len(before), len(after)])
    freedom = square ** 2 / (squares ** 2 / (runs - 1)).sum()
    error = np.sqrt(square)
    return Difference(points, error,
                      2 * stats.t.sf(abs(points) / error, freedom))


def image_error(before, after, labels):
    """Returns the standard error that the luck of the images adds to the
    difference of two kinds of runs, by their answers to the same images."""
    old, new = ((all_predictions(runs) == labels).double().mean(dim=0)
                for runs in (before, after))
    return 100 * stats.sem((new - old).numpy())


def verdicts(differences):
    """Returns what each difference says of the claim that it is above zero.

    Luck decides any of them wrongly at most once in 20 times.
    """
    corrected = holm([difference.p for difference in differences])
    return ["undecided" if not p < 0.05 else
            "borne out" if difference.points > 0 else "not borne out"
            for difference, p in zip(differences, corrected)]


def holm(p):
    """Returns the p (n,) of n tests made at once: Holm's correction takes the
    smallest n times, the next n - 1 times, and keeps their order."""
    p = np.array(p)
    order = p.argsort()
    times = np.arange(len(p), 0, -1)
    corrected = np.maximum.accumulate(times * p[order]).clip(max=1)
    return corrected[order.argsort()]


def published_gains(step):
    """Returns the gain by Nielsen's numbers, and by the article's, or "-"."""
    gains = []
    for texts in zip(PUBLISHED[step.before], PUBLISHED[step.after]):
        before, after = map(first_number, texts)
        gains.append(f"{after - before:+.2f}" if before and after else "-")
    return gains


def last_gain(records, step):
    """Returns the Difference of a step after the last epoch."""
    return compare(last(records[step.before]), last(records[step.after]))


def p_text(difference):
    """Returns a Difference's p as people write it."""
    return "< 0.001" if difference.p < 0.001 else f"{difference.p:.3f}"


# Sentences

def steps_text(records, name):
    """Returns what the steps that lead to an experiment gain."""
    return "".join(
        f" Against {step.before}: {gain} points over the last ten epochs "
        f"({verdict}), {last_gain(records, step)} after the last one."
        for step, gain, verdict in measure_steps(records)
        if step.after == name)


def other_digits_text(records, labels):
    """Returns how the verdicts would fare if other digits were tested."""
    pairs = [*zip(measure_steps(records), measure_steps(records, labels))]
    wide = [gain.error for _, (step, gain, _) in pairs if step.claimed]
    changed = [f"{step.what} ({new})" for (step, _, old), (_, _, new) in pairs
               if new != old]
    return (f"With the luck of the images, the standard errors of the claimed "
            f"steps are {min(wide):.2f} to {max(wide):.2f} points. Verdicts "
            f"that change: {', '.join(changed) or 'none'}.\n")
