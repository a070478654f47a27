"""The sentences of the pages, made from the records and the saved nets.

records: {experiment: [record of each seed]}; labels: (10000,) of the test
images
"""

import re
from math import log

import numpy as np

from extras.command_line import decimal, recipe_text
from extras.comparison import accuracies, compare, compare_runs, last
from extras.report.records import (CHANCE, EXPERIMENTS, EXTENDED, FAST_FINAL, FINAL, RELU,
                     RESULTS, STRONG_DECAY, VOTERS, WEAK_DECAY,
                     all_predictions, deviation_text, joined, minutes,
                     vote_is_right)
from extras.report.saved_nets import certainty, load_net, norm
from extras.report.significance import p_text, steps_texts


def experiment_texts(records):
    """Returns {experiment: its recipe, what our runs of it reached, and what
    its steps gained, as a list}."""
    texts = {}
    for name, steps in steps_texts(records).items():
        runs, ends = records[name], last(records[name])
        texts[name] = (
            f"- `{name}`: {recipe_text(EXPERIMENTS[name])}; about "
            f"{minutes(runs):.0f} min. Our {len(runs)} runs ended between "
            f"{ends.min():.2f} and {ends.max():.2f} %.\n{steps}")
    return texts


def speed_text():
    """Returns how much faster a step and a test are than the article's."""
    step, test = ([row[3] for row in read_speeds("speed.md", kind)]
                  for kind in ("step", "test"))
    return ("With one thread, a step of training is "
            f"{min(step):.1f} to {max(step):.1f} times as fast as with the "
            "article's loaders, optimizer, memory layout and dropout; a test, "
            "which the article runs in batches of ten, is "
            f"{min(test):.0f} to {max(test):.0f} times as fast.\n")


def gpu_text():
    """Returns how much faster a GPU trains than the processor beside it."""
    gains = sorted((row[2] / row[5], row[0])
                   for row in read_speeds("speed_gpu.md", "step"))
    (least, slow), (most, fast) = gains[0], gains[-1]
    return (f"On the GPU, a step of `{fast}` is {most:.1f} times as fast as "
            "with one thread of the processor beside it, but a step of "
            f"`{slow}` takes {1 / least:.1f} times as long.\n")


def read_speeds(name, kind):
    """Returns the rows of a table of speeds that are of a step or of a test:
    (value of --net, article's ms, our ms, ratio, ...). Raises ValueError if
    there are none."""
    rows = re.findall(rf"\| (\w+): a {kind}[^|]*\| (.*) \|",
                      (RESULTS / name).read_text("utf-8"))
    if not rows:
        raise ValueError(f"{RESULTS / name} has no table of the speeds of a "
                         f"{kind}; tests/benchmark.py prints one")
    return [(net, *map(float, numbers.split(" | "))) for net, numbers in rows]


def relu_text(records):
    """Returns what ReLU gains with Nielsen's own weight decay."""
    gain = compare_runs(records["dbl_conv"], records[WEAK_DECAY])
    return (f"With Nielsen's own weight decay ({WEAK_DECAY}), ReLU gains "
            f"{gain} points over the last ten epochs (a test by itself, p: "
            f"{p_text(gain)}).\n")


def extended_text(records):
    """Returns what the extended data gain, and what in as many steps."""
    plain, extended = records[RELU], records[EXTENDED]
    few, many = (100 - last(runs, 10).mean() for runs in (extended, plain))
    epochs = plain[0]["epochs"]
    gain = compare(last(plain), in_epochs(extended, epochs // 5))
    return (f"With the extended data there are {100 * (1 - few / many):.0f} % "
            f"fewer mistakes than in {RELU} (last ten epochs). An epoch has "
            f"five times as many steps, so epoch {epochs // 5} of {EXTENDED} "
            f"ends after as many steps as epoch {epochs} of {RELU}; at that "
            f"point the difference is {gain} points (p: {p_text(gain)}).\n")


def dropout_text(records):
    """Returns what dropout gains in as many epochs."""
    dropped = records[FAST_FINAL]
    epochs = dropped[0]["epochs"]
    parts = []
    for name in "expanded_data_double_fc", EXTENDED:
        plain = in_epochs(records[name], epochs - 9, epochs)
        gain = compare(plain, last(dropped, 10))
        parts.append(f"by {gain} points from {name} (p: {p_text(gain)})")
    return (f"Over epochs {epochs - 9} to {epochs} of each, {FAST_FINAL} "
            f"differs {joined(parts)}.\n")


def in_epochs(runs, first, final=None):
    """Returns the mean accuracies (n,) of n runs, in per cent, from the first
    to the final epoch (None: of the first alone)."""
    return accuracies(runs)[:, first - 1:final or first].mean(axis=1)


def moved_text(shifts):
    """Returns how many mistakes saved nets make on shifted images."""
    errors = []
    for name in "dense", "basic_conv", FINAL:
        if name not in shifts:
            raise ValueError(f"{RESULTS} has no weights of {name}-seed0")
        errors += [f"{100 - accuracy:.2f} %" for accuracy in shifts[name][:2]]
    dense, dense_moved, conv, conv_moved, final, final_moved = errors
    return ("A shift by a pixel, averaged over the four directions, takes the "
            f"errors of the included dense network from {dense} to "
            f"{dense_moved}, and those of basic_conv from {conv} to "
            f"{conv_moved}. {FINAL}, which saw shifted images in training, "
            f"gets {final} wrong without the shift, and {final_moved} with "
            "it.\n")


def votes_text(records, labels):
    """Returns how the votes of nets compare with single nets."""
    text = ""
    for name in VOTERS:
        runs = records[name]
        wrong = (all_predictions(runs) != labels).sum(dim=1).tolist()
        together = (~vote_is_right(runs, labels)).sum().item()
        text += (f"- The vote of {len(wrong)} networks of {name} gets "
                 f"{together} images wrong; the networks alone, "
                 f"{joined(map(str, wrong))}.\n")
    return text


def plateau_text(records):
    """Returns how the two sigmoid convolutions start."""
    first, second = (joined(f"{100 * run['test_accuracy'][epoch]:.2f}"
                            for run in records["dbl_conv"])
                     for epoch in (0, 1))
    return (f"After the first epoch, our runs of dbl_conv reached {first} %; "
            f"after the second, {second} %.\n")


def rates_text(records):
    """Returns how the final net's two learning rates end, rise and vary."""
    text = ""
    for name in FAST_FINAL, FINAL:
        ends = last(records[name])
        epochs = joined(first_above(run, 0.995) for run in records[name])
        text += (f"- With rate {EXPERIMENTS[name].lr}, our runs ended at "
                 f"{ends.min():.2f} to {ends.max():.2f} % (standard deviation "
                 f"{deviation_text(ends)}). They first passed 99.5 % in "
                 f"epochs {epochs}.\n")
    parts = []
    for span, words in (10, "ten"), (20, "twenty"):
        low, high = (accuracies(records[name])[:, -span:].std(axis=1, ddof=1)
                     for name in (FINAL, FAST_FINAL))
        more = compare(low, high)
        parts.append(f"over the last {words} epochs, {high.mean():.3f} at the "
                     f"higher rate and {low.mean():.3f} at the lower (p: "
                     f"{p_text(more)})")
    return (f"{text}- The mean standard deviation of the accuracies within a "
            f"run is, {'; '.join(parts)}.\n")


def first_above(run, accuracy):
    """Returns the number of the first epoch above an accuracy, in words."""
    above = np.array(run["test_accuracy"]) > accuracy
    return str(above.argmax() + 1) if above.any() else "never"


def decay_text(records):
    """Returns what the strong weight decay does to the accuracy."""
    runs, recipe = records[STRONG_DECAY], EXPERIMENTS[STRONG_DECAY]
    lost = recipe.lr * recipe.wd
    lengths = [f"{minutes([run]):.0f}" for run in runs]
    learned = [run for run in runs if last([run]) > CHANCE]
    text = (f"Each step shrinks every weight by lr * wd = {100 * lost:.1f} %, "
            f"so after {log(0.5) / log(1 - lost):.0f} steps half of what was "
            "learned is gone, and the weights follow the last few thousand "
            f"images. Our runs took {joined(lengths)} minutes and ended with "
            f"{joined(f'{accuracy:.2f}' for accuracy in last(runs))} %; "
            f"{len(runs) - len(learned)} of {len(runs)} learned nothing.")
    if learned:
        ten = accuracies(learned)[:, -10:]
        text += (" The accuracy of those that learned varied between "
                 f"{ten.min():.2f} and {ten.max():.2f} % over the last ten "
                 "epochs.")
    return f"{text}\n"


def small_weights_text():
    """Returns how large the strong weight decay leaves the weights, and how
    sure the nets are; ValueError if their weights were not kept."""
    paths = sorted(RESULTS.glob(f"{STRONG_DECAY}-seed*.pt"))
    if not paths:
        raise ValueError(f"{RESULTS} has no weights of {STRONG_DECAY}")
    start, usual = (load_net(RELU, path)
                    for path in (None, RESULTS / f"{RELU}-seed0.pt"))
    wd, strong_wd = (decimal(EXPERIMENTS[name].wd)
                     for name in (RELU, STRONG_DECAY))
    norms, sure = [], []
    for path in paths:
        net, seed = load_net(STRONG_DECAY, path), path.stem.split("-seed")[1]
        norms.append(f"{norm(net):.1f} (seed {seed})")
        sure.append(f"{certainty(net):.3f} (seed {seed})")
    return ("The norm of all weights and biases (the root of the sum of "
            f"their squares) is {norm(start):.1f} at the start. At the end it "
            f"is {norm(usual):.1f} with decay {wd}, but {joined(norms)} with "
            f"decay {strong_wd}. On average, a network "
            f"gives the right digit a probability of {certainty(usual):.3f} "
            f"with decay {wd}, but {joined(sure)} with decay {strong_wd}.\n")
