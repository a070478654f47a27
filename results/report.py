"""Fills in README.md and results/README.md, and draws the figures.

    python results/report.py

To add a run, put its record beside the others. A page has the words
<!-- NAME --> and <!-- end --> on lines of their own, around each table or
sentence that is made here. Nothing is trained here, but saved nets are looked
at and tested, which takes a few minutes.
"""

import argparse
import re
import sys
from math import log
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
sys.path.insert(0, str(ROOT))

import figures  # noqa: E402
import tables  # noqa: E402
from common import get_dataset  # noqa: E402
from extras.command_line import decimal, recipe_text  # noqa: E402
from extras.comparison import (accuracies, compare,  # noqa: E402
                               compare_runs, last)
from extras.runs import check_writable, replacing  # noqa: E402
from records import (CHANCE, EXPERIMENTS, EXTENDED, FAST_FINAL,  # noqa: E402
                     FINAL, RELU, RESULTS, STRONG_DECAY, VOTES, WEAK_DECAY,
                     all_predictions, mean_text, minutes, predictions,
                     read_records, vote_is_right)
from significance import (other_digits_text, other_epochs_text,  # noqa: E402
                          p_text, sides_text, steps_text, verdicts)
from saved_nets import (all_shift_accuracies, certainty,  # noqa: E402
                        first_map, load_net, norm, way_through)


def main(argv=None):
    """Writes the pages and the figures, or exits with status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.parse_args(argv)
    try:
        test_data = get_dataset(train=False)
        records = read_records(test_data.targets)
        blocks = make_blocks(records, test_data.targets)
        contents = {page: fill_in(page, blocks).encode()
                    for page in (README, RESULTS / "README.md")}
        for name, figure in draw_figures(records, test_data).items():
            contents[RESULTS / f"{name}.png"] = figures.png(figure)
        write_all(contents)
    except (OSError, RuntimeError, ValueError) as error:
        parser.exit(2, f"report.py: error: {error}; move a file of yours away,"
                    " or restore a published one: git checkout -- FILE\n")
    except KeyboardInterrupt:
        parser.exit(130, "\nreport.py: interrupted\n")


def make_blocks(records, labels):
    """Returns {name: Markdown} of all that stands between the pages' markers.

    records as read_records gives them, labels (10000,) of the test images
    """
    shifts = all_shift_accuracies()
    return {
        "results": tables.results_table(records, labels),
        **{f"ours {name}": experiment_text(records, name)
           for name in EXPERIMENTS},
        "ours double_fc_dropout": (experiment_text(records, FAST_FINAL)
                                   + experiment_text(records, FINAL)),
        "speed": (RESULTS / "speed.md").read_text("utf-8"),
        "speed ratios": speed_text(),
        "runs": tables.runs_table(records, labels),
        "published": tables.published_table(records),
        "steps": tables.steps_table(records),
        "other epochs": other_epochs_text(records),
        "relu": relu_text(records),
        "other digits": other_digits_text(records, labels),
        "sides": sides_text(records),
        "extended": extended_text(records),
        "dropout": dropout_text(records),
        "shifts": tables.shifts_table(shifts),
        "moved": moved_text(shifts),
        "vote": tables.vote_table(records, labels),
        "votes": votes_text(records, labels),
        "plateau": plateau_text(records),
        "rates": rates_text(records),
        "decay": decay_text(records) + small_weights_text(),
        "machines": tables.machines_table(records)}


def fill_in(page, blocks):
    """Returns a page's text with each block as it should be; ValueError for
    a marker without a block, or without its end."""
    def block(match):
        """Returns the block that a match of its markers names."""
        if match[1] not in blocks:
            raise ValueError(f"{page} has <!-- {match[1]} -->, but a block is "
                             f"one of {', '.join(blocks)}")
        return f"<!-- {match[1]} -->\n{blocks[match[1]]}<!-- end -->\n"

    text = page.read_text("utf-8")
    filled, count = re.subn("<!-- (.*) -->\n((?!<!-- ).*\n)*<!-- end -->\n",
                            block, text)
    if count == 0 or 2 * count != text.count("<!-- "):
        raise ValueError(f"{page} needs a line <!-- NAME --> and a line "
                         "<!-- end --> around each block")
    return filled


def draw_figures(records, test_data):
    """Returns {name: figure}."""
    net = load_net(FINAL, RESULTS / f"{FINAL}-seed0.pt")
    answers, seven = predictions(records[FINAL][0]), test_data[0][0]
    return {"mistakes": figures.draw_mistakes(test_data, answers),
            "filters": figures.draw_filters(net),
            "way": figures.draw_way(*way_through(net, seven)),
            "convolution": figures.draw_convolution(
                *first_map(net, seven)),
            "final": figures.draw_final(records),
            "loss": figures.draw_loss(records),
            "all": figures.draw_all(records), "costs": figures.draw_costs(),
            "backprop": figures.draw_step(),
            "distortions": figures.draw_distortions(get_dataset()[0][0])}


def write_all(contents):
    """Writes {path: bytes}, once it is clear that each can be written."""
    for path in contents:
        check_writable(path)
    for path, content in contents.items():
        with replacing(path) as file:
            file.write(content)


# The sentences of the pages

def experiment_text(records, name):
    """Returns an experiment's recipe, what our runs of it reached, and what
    its steps gained, as a list."""
    runs, recipe = records[name], EXPERIMENTS[name]
    ends = last(runs)
    return (f"- `{name}`: {recipe_text(recipe)}; about {minutes(runs):.0f} "
            f"min. Our {len(runs)} runs ended at {mean_text(ends)} % on "
            f"average, from {ends.min():.2f} to {ends.max():.2f}.\n"
            + steps_text(records, name))


def speed_text():
    """Returns how much faster a step and a test are than the article's."""
    rows = re.findall(
        r"\| .*: a (step|test)[^|]*\| [\d.]+ \| [\d.]+ \| ([\d.]+) \|",
        (RESULTS / "speed.md").read_text("utf-8"))
    if {kind for kind, _ in rows} != {"step", "test"}:
        raise ValueError(f"{RESULTS / 'speed.md'} has no table of the speeds "
                         "of a step and a test; tests/benchmark.py prints one")
    step, test = ([float(ratio) for kind, ratio in rows if kind == wanted]
                  for wanted in ("step", "test"))
    return ("With one thread, a step of training is "
            f"{min(step):.1f} to {max(step):.1f} times as fast as with the "
            "article's loaders, optimizer, memory layout and dropout; a test, "
            "which the article runs in batches of ten, "
            f"{min(test):.0f} to {max(test):.0f} times.\n")


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
            f"ends after as many as epoch {epochs} of {RELU}: "
            f"then the difference is {gain} points (p: {p_text(gain)}).\n")


def dropout_text(records):
    """Returns what dropout gains in as many epochs."""
    dropped = records[FAST_FINAL]
    epochs = dropped[0]["epochs"]
    parts = []
    for name in "expanded_data_double_fc", EXTENDED:
        plain = in_epochs(records[name], epochs - 9, epochs)
        gain = compare(plain, last(dropped, 10))
        parts.append(f"{gain} points against {name} (p: {p_text(gain)})")
    return (f"In epochs {epochs - 9} to {epochs} of all, the difference of "
            f"{FAST_FINAL} is {joined(parts)}.\n")


def in_epochs(runs, first, final=None):
    """Returns the mean accuracies (n,) of n runs, in per cent, from the first
    to the final epoch (None: of the first alone)."""
    return accuracies(runs)[:, first - 1:final or first].mean(axis=1)


def moved_text(shifts):
    """Returns how many mistakes nets make on moved images."""
    wrong = {}
    for name in "dense", "basic_conv", FINAL:
        if name not in shifts:
            raise ValueError(f"{RESULTS} has no weights of {name}-seed0")
        still, moved = (100 - accuracy for accuracy in shifts[name][:2])
        wrong[name] = f"{still:.2f} and {moved:.2f} %"
    return ("Of the test images, and of the same moved by a pixel, a network "
            f"of dense gets {wrong['dense']} wrong, one of basic_conv "
            f"{wrong['basic_conv']}, and one of {FINAL}, which has seen moved "
            f"images in training, {wrong[FINAL]}.\n")


def votes_text(records, labels):
    """Returns how the votes of nets compare with single nets."""
    text = ""
    for name in VOTES:
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
    """Returns how the final net's two learning rates fluctuate and rise."""
    text, deviations = "", {}
    for name in FAST_FINAL, FINAL:
        tests = accuracies(records[name])
        deviations[name] = tests[:, -10:].std(axis=1, ddof=1)
        listed = joined(f"{value:.2f}" for value in deviations[name])
        epochs = joined(first_above(run, 0.995) for run in records[name])
        text += (f"- With rate {EXPERIMENTS[name].lr}, our runs ended at "
                 f"{tests[:, -1].min():.2f} to {tests[:, -1].max():.2f} %. "
                 f"They first exceeded 99.5 % in epochs {epochs}. Over the "
                 "last ten epochs, the accuracy of a run has a standard "
                 f"deviation of {listed} points.\n")
    steadier = compare(deviations[FINAL], deviations[FAST_FINAL])
    return (f"{text}- That a run with 0.03 varies more from epoch to epoch is "
            f"{verdicts([steadier])[0]}: its standard deviation was higher by "
            f"{steadier} points (a test by itself, p: {p_text(steadier)}).\n")


def joined(texts):
    """Returns "a, b and c"."""
    *most, final = texts
    return f"{', '.join(most)} and {final}" if most else final


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
    return (f"The norm of all weights and biases is {norm(start):.1f} at the "
            f"start. At the end it is {norm(usual):.1f} with decay {wd}, but "
            f"{joined(norms)} with decay {strong_wd}. On average, a network "
            f"gives the right digit a probability of {certainty(usual):.3f} "
            f"with decay {wd}, but {joined(sure)} with decay {strong_wd}.\n")


if __name__ == "__main__":
    main()
