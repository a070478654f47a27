"""Which steps of the ladder gain more than luck would: Welch's t-test, Holm's
correction, and what they say of the claims of the book and the article. All in
percentage points.

records: {experiment: [record of each seed]}; labels: (10000,) of the test
images
"""

from collections import namedtuple

import numpy as np
from scipy import stats

from extras.comparison import compare_runs, last
from extras.report.records import (DISTORTED, EXTENDED, FAST_FINAL, FINAL, PUBLISHED, RELU,
                     STRONG_DECAY, WEAK_DECAY, all_predictions, first_number,
                     is_number, joined)

# claim: what the ladder may conclude, if the step is one of its rungs;
# claimed: whether the book or the article says so
Step = namedtuple("Step", "what before after claim claimed",
                  defaults=("", True))

STEPS = (
    Step("a convolution", "shallow", "basic_conv",
         "a network with a convolution does better than a dense one"),
    Step("a second convolution", "basic_conv", "dbl_conv",
         "a network with a second convolution does better"),
    Step("ReLU", "dbl_conv", RELU,
         "ReLU, with its lower learning rate and its weight decay, does "
         "better than the sigmoid"),
    Step("extended data", RELU, EXTENDED,
         "a network that also learns from shifted copies does better"),
    Step("two dense layers of 1,000", EXTENDED,
         "expanded_data_double_fc", "larger dense layers do better",
         claimed=False),
    Step("dropout", "expanded_data_double_fc", FAST_FINAL,
         "larger dense layers do better with dropout and its recipe"),
    Step("two dense layers and dropout", EXTENDED, FAST_FINAL,
         "larger dense layers, with dropout and its recipe, do better than "
         "one small layer"),
    Step("learning rate 0.005 instead of 0.03", FAST_FINAL, FINAL,
         claimed=False),
    Step("distorted images instead of shifted ones", FINAL, DISTORTED,
         "distorted images do better than shifted ones", claimed=False),
    Step("weight decay 0.00005 instead of 0.00002", WEAK_DECAY, RELU,
         claimed=False))

OTHER_EPOCHS = range(1, 31)  # by which we might have judged, not by ten


def measure_steps(records, labels=None, epochs=10):
    """Returns [(step, Difference over a run's last epochs, verdict)].

    With labels, the test images count as luck too: see image_error. What the
    runs leave open stays open then.
    """
    gains = []
    for step in STEPS:
        kinds = records[step.before], records[step.after]
        gain = compare_runs(*kinds, epochs)
        if labels is not None:
            wider = compare_runs(*kinds, epochs, image_error(*kinds, labels))
            gain = wider._replace(p=max(gain.p, wider.p))
        gains.append(gain)
    claims = [(step, gain) for step, gain in zip(STEPS, gains) if step.claimed]
    found = dict(zip([step for step, _ in claims],
                     verdicts([gain for _, gain in claims])))
    return [(step, gain, found.get(step, "not claimed"))
            for step, gain in zip(STEPS, gains)]


def image_error(before, after, labels):
    """Returns the standard error that a new choice of images would add to the
    difference of two kinds of runs, by their answers to the same images;
    without what differs from run to run, which compare counts already."""
    right = [(all_predictions(runs) == labels).double()
             for runs in (before, after)]
    old, new = (kind.mean(dim=0) for kind in right)
    of_runs = sum(kind.var(dim=0).mean() / len(kind) for kind in right)
    of_images = (new - old).var() - of_runs
    return 100 * (of_images.clamp(min=0) / len(labels)).sqrt().item()


def verdicts(differences):
    """Returns what each difference says of the claim that it is above zero.

    The chance that luck decides even one of them is at most 1 in 20.
    """
    corrected = holm([difference.p for difference in differences])
    return ["undecided" if not p < 0.05 else
            "borne out" if difference.points > 0 else "contradicted"
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
    """Returns the gain by Nielsen's numbers, and by the article's, from a
    plain number to another, or to the best of several; or "-"."""
    gains = []
    for before, after in zip(PUBLISHED[step.before], PUBLISHED[step.after]):
        end = first_number(after)
        gains.append(f"{end - float(before):+.2f}"
                     if is_number(before) and end and before != after else "-")
    return gains


def last_gain(records, step):
    """Returns the Difference of a step after the last epoch."""
    return compare_runs(records[step.before], records[step.after], epochs=1)


def p_text(difference):
    """Returns a Difference's p as people write it; "-" of a single run."""
    if np.isnan(difference.p):
        return "-"
    return "< 0.001" if difference.p < 0.001 else f"{difference.p:.3f}"


# Sentences

def steps_texts(records):
    """Returns {experiment: what the rungs that lead to it gain, and what that
    means; each in a line of a list}."""
    texts, changes = dict.fromkeys(records, ""), other_verdicts(records)
    for step, gain, verdict in measure_steps(records):
        if step.claim:
            texts[step.after] += (
                f"- Over the last ten epochs, against `{step.before}`: {gain} "
                f"points. {meaning(step, gain, verdict)}"
                f"{unsteady(step, changes)}\n")
    return texts


def meaning(step, gain, verdict):
    """Returns what a verdict says of a step's claim, in a sentence; of what
    nobody claims, what a test by itself says."""
    if verdict == "not claimed":
        return meaning(step, gain, verdicts([gain])[0])
    if verdict == "borne out":
        return f"{step.claim[0].upper()}{step.claim[1:]}."
    if verdict == "contradicted":
        return f"It is not true here that {step.claim}."
    if np.isnan(gain.p):
        return f"Single runs do not tell whether {step.claim}."
    worse = ", or worse" if gain.points < 0 else ""
    return ("Luck alone would give a difference at least this large in "
            f"{100 * gain.p:.0f} of 100 comparisons, so we cannot tell "
            f"whether {step.claim}{worse}.")


def unsteady(step, changes):
    """Returns what we would say of a step by other epochs than the last ten,
    of the changes that other_verdicts found; in sentences, or ""."""
    return "".join(
        f" Had we averaged over {spans}, we "
        + {"undecided": "could not tell.",
           "borne out": "would say yes.",
           "contradicted": "would say no."}[verdict]
        for changed, verdict, spans in changes if changed == step)


def other_verdicts(records):
    """Returns (step, verdict, which epochs, in words) of each verdict that
    would change if the mean of other epochs than the last ten decided."""
    spans, usual = {}, measure_steps(records)
    for epochs in OTHER_EPOCHS:
        for (step, _, before), (_, _, after) in zip(
                usual, measure_steps(records, epochs=epochs)):
            if after != before:
                spans.setdefault((step, after), []).append(epochs)
    return [(step, verdict, spans_text(epochs))
            for (step, verdict), epochs in spans.items()]


def spans_text(numbers):
    """Returns rising numbers of last epochs in words, neighbours as a range:
    "the last 5 to 7 epochs, or the last 9"."""
    parts = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    first, *others = [f"{part[0]} to {part[-1]}" if len(part) > 1
                      else f"{part[0]}" for part in parts]
    first = "epoch" if first == "1" else f"{first} epochs"
    return ", or ".join(f"the last {span}" for span in (first, *others))


def other_digits_text(records, labels):
    """Returns how the verdicts would fare if other digits were tested."""
    steps = measure_steps(records, labels)
    wide = [gain.error for step, gain, _ in steps if step.claimed]
    lost = [f"the verdict on {step.what} is lost"
            for (step, _, before), (_, _, after)
            in zip(measure_steps(records), steps) if after != before]
    return ("With the luck of the images included, the standard errors of the "
            f"claimed steps are {min(wide):.2f} to {max(wide):.2f} points, "
            f"and {', '.join(lost) or 'no verdict is lost'}.\n")


def other_epochs_text(records):
    """Returns how the verdicts would fare if other epochs decided."""
    changes = [f"Averaged over {spans}, {step.what} would be {verdict}."
               for step, verdict, spans in other_verdicts(records)]
    return ("We also tried all other spans, from the last epoch to the last "
            f"{max(OTHER_EPOCHS)}. "
            f"{' '.join(changes) or 'No verdict would change.'}\n")


def sides_text(records):
    """Returns how many of the published numbers lie below our means of the
    same recipe; ties do not count."""
    text = ""
    for epochs, which in (1, "after the last epoch"), (10, "of the last ten"):
        parts, chances = [], []
        for whose, numbers in zip(("Nielsen's", "the article's"),
                                  zip(*PUBLISHED.values())):
            other = {"dense", STRONG_DECAY}  # recipes than the published ones
            if whose == "Nielsen's":
                other.add(RELU)
            gaps = np.array([last(records[name], epochs).mean() - float(number)
                             for name, number in zip(PUBLISHED, numbers)
                             if is_number(number) and name not in other])
            gaps = gaps[abs(gaps) > 1e-6]
            above = (gaps > 0).sum()
            p = stats.binomtest(above, len(gaps)).pvalue
            parts.append(f"{above} of {whose} {len(gaps)} numbers")
            chances.append(f"in {100 * p:.3g} of 100 cases for {whose}")
        text += (f"- {joined(parts)} lie below our means {which}. Luck alone "
                 "would give a split at least as uneven "
                 f"{joined(chances)}.\n")
    return text
