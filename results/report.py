"""Fills in README.md and results/README.md, and draws the figures.

    python results/report.py

A record is EXPERIMENT-seedN.json, as --record wrote it. To add a run, put its
record beside the others. A page has the words <!-- NAME --> and <!-- end -->
on lines of their own, around each table or sentence that is made here.
Nothing is trained here. Some saved nets are looked at: the final net for its
filters, those of two weight decays for the size of their weights.
"""

import argparse
import re
import sys
from collections import Counter
from contextlib import ExitStack
from math import log
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import max_pool2d

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
README = ROOT / "README.md"
sys.path[:0] = str(ROOT), str(RESULTS)

import figures  # noqa: E402
from common import check_writable, get_dataset, get_loader  # noqa: E402
from common import load_weights, read_record, recipe_text  # noqa: E402
from common import replacing, testing, vote  # noqa: E402
from figures import FAST_FINAL, FINAL  # noqa: E402
from pytorch_mnist_convnet import EXPERIMENTS, NETS  # noqa: E402
from pytorch_mnist_dense import Net  # noqa: E402

RELU, STRONG_DECAY = "dbl_conv_relu", "dbl_conv_relu_wd0.1"
VOTE_NIELSEN = "99.67 (5 nets)"
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
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
# T95[k - 1]: Student's t with k degrees of freedom is within it 19 times in 20


# Records

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
    machine = {"device": str, "threads": int, "processor": str,
               "python": str, "torch": str}
    needed = {*wanted, *machine, "test_accuracy", "seconds", "predictions"}
    if not isinstance(record, dict) or needed - record.keys():
        raise ValueError(f"{path} is damaged or not a record: it lacks one of "
                         f"{', '.join(sorted(needed))}")
    for name, value in wanted.items():
        if record[name] != value:
            raise ValueError(f"{path} has {name} {record[name]}, but a record "
                             f"of this name needs {value}")
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
    except (TypeError, ValueError):  # of null or words, say
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


# Statistics, all in per cent or points of per cent

def last(runs):
    """Returns the accuracies (n,) after the last epoch of n runs."""
    return np.array([100 * run["test_accuracy"][-1] for run in runs])


def last_ten(runs):
    """Returns the accuracies (n, 10) after the last ten epochs of n runs."""
    tests = [run["test_accuracy"][-10:] for run in runs]
    return 100 * np.array(tests).reshape(len(runs), -1)


def fluctuation(runs):
    """Returns the standard deviation (n,) of each run's last ten tests."""
    return last_ten(runs).std(axis=1, ddof=1)


def mean_and_deviation(values):
    """Returns "99.05 ± 0.02", or the mean alone of a single run."""
    spread = f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}"


def compare(before, after):
    """Returns the difference of two means, its standard error, and which
    difference chance alone would exceed once in twenty times.

    before, after: one value a run. By Welch's t-test, as the two kinds of
    runs fluctuate differently. A single run tells no error: nan.
    """
    difference = after.mean() - before.mean()
    n = np.array([len(before), len(after)])
    if n.min() < 2:
        return difference, np.nan, np.nan
    squares = np.array([before.var(ddof=1), after.var(ddof=1)]) / n
    error = np.sqrt(squares.sum())
    freedom = squares.sum() ** 2 / max((squares ** 2 / (n - 1)).sum(), 1e-30)
    return difference, error, error * T95[int(np.clip(freedom, 1, 10)) - 1]


def compare_runs(before, after):
    """Returns what compare says of two lists of runs: by the last epoch, and
    by the mean of the last ten."""
    return (compare(last(before), last(after)),
            compare(last_ten(before).mean(axis=1),
                    last_ten(after).mean(axis=1)))


def judge(difference, limit, claimed=True):
    """Returns what a difference, as compare gives it, says of a claim that
    it is above zero."""
    if not abs(difference) > limit:
        return "undecided" if claimed else "no difference seen"
    better = difference > 0
    if claimed:
        return "borne out" if better else "not borne out"
    return "better" if better else "worse"


def place(published, values):
    """Returns where a published accuracy lies among our runs' values: whether
    one more run of ours would be expected there, 19 times in 20."""
    if not is_number(published):
        return "-"
    n = len(values)
    if n < 2 or values.std() == 0:
        return "cannot be told yet"
    spread = values.std(ddof=1) * np.sqrt(1 + 1 / n)
    distance = (float(published) - values.mean()) / spread
    if abs(distance) <= T95[min(n - 1, 10) - 1]:
        return f"expected ({distance:+.1f})"
    return f"{'higher' if distance > 0 else 'lower'} ({distance:+.1f})"


def is_number(text):
    """Returns whether a published accuracy is a plain number."""
    return re.fullmatch(r"\d+\.\d+", text) is not None


# Tables

def table(headings, rows, left=1):
    """Returns a table in Markdown whose first columns are aligned left."""
    rule = ["---"] * left + ["--:"] * (len(headings) - left)
    lines = [[str(cell).replace("|", r"\|") for cell in row]
             for row in (headings, rule, *rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def command(name):
    """Returns the script and flags that run an experiment."""
    recipe = EXPERIMENTS[name]
    if name == "dense":
        return "`pytorch_mnist_dense.py`"
    usual = EXPERIMENTS[NETS[recipe.net][1]]
    flags = [f"--net {recipe.net}"]
    flags += [f"--{field} {np.format_float_positional(value, trim='-')}"
              for field in ("lr", "wd")
              if (value := getattr(recipe, field)) != getattr(usual, field)]
    if recipe.extend_data and not usual.extend_data:
        flags.append("--extend_data")
    return f"`{' '.join(flags)}`"


def results_table(records, labels):
    """Returns the table of the top README: what was published, and ours."""
    rows = [[name, command(name), recipe.nielsen, recipe.article,
             mean_and_deviation(last(records[name])) if records[name]
             else "not run yet", len(records[name])]
            for name, recipe in EXPERIMENTS.items()]
    wrong = vote_wrong(records[FINAL], labels)
    ours = "not run yet" if wrong is None else f"{100 - wrong / 100:.2f}"
    count = len(records[FINAL])
    rows.append([f"vote of {count} nets of {FINAL}", "-", VOTE_NIELSEN, "-",
                 ours, "1"])
    return table(("experiment", "command", "Nielsen", "article", "ours", "n"),
                 rows, left=2)


def runs_table(records, labels):
    """Returns the table of all that was measured of each row's runs."""
    rows = []
    for name, runs in records.items():
        recipe = recipe_text(EXPERIMENTS[name])
        if not runs:
            rows.append([name, recipe, 0, *["-"] * 8])
            continue
        ten = last_ten(runs)
        best = max(max(run["test_accuracy"]) for run in runs)
        wrong = [(predictions(run) != labels).sum().item() for run in runs]
        minutes = np.mean([sum(run["seconds"]) / 60 for run in runs])
        rows.append([
            name, recipe, len(runs), mean_and_deviation(last(runs)),
            mean_and_deviation(ten.mean(axis=1)), f"{ten.std(ddof=1):.2f}",
            f"{ten.min():.2f} to {ten.max():.2f}", f"{100 * best:.2f}",
            min(wrong), max(wrong), f"{minutes:.0f}"])
    return table(("experiment", "recipe", "n", "last epoch", "last ten",
                  "s of last ten", "range of last ten", "best test",
                  "fewest wrong", "most wrong", "minutes"), rows, left=2)


def published_table(records):
    """Returns the table of where the published numbers lie among our runs."""
    rows = [[name, recipe.nielsen, place(recipe.nielsen, last(records[name])),
             recipe.article, place(recipe.article, last(records[name])),
             mean_and_deviation(last(records[name])), len(records[name])]
            for name, recipe in EXPERIMENTS.items() if records[name]
            and {is_number(recipe.nielsen), is_number(recipe.article)} != {
                False}]
    return table(("experiment", "Nielsen", "among ours", "article",
                  "among ours", "ours", "n"), rows)


def steps_table(records):
    """Returns the table of what each step of the ladder brings."""
    rows = []
    for what, before, after, claimed in STEPS:
        old, new = records[before], records[after]
        if not (old and new):
            continue
        end, ten = compare_runs(old, new)
        rows.append([
            what, f"{before} -> {after}",
            *[published_step(before, after, source)
              for source in ("nielsen", "article")],
            step_text(end), judge(end[0], end[2], claimed),
            step_text(ten), judge(ten[0], ten[2], claimed)])
    return table(("step", "from -> to", "Nielsen", "article", "last epoch", "",
                  "last ten", ""), rows, left=2)


def published_step(before, after, source):
    """Returns the difference of two published accuracies, or "-"."""
    old, new = (getattr(EXPERIMENTS[name], source) for name in (before, after))
    if not (is_number(old) and is_number(new)):
        return "-"
    return f"{float(new) - float(old):+.2f}"


def step_text(comparison):
    """Returns "+0.15 ± 0.03", of what compare returns."""
    difference, error, _ = comparison
    return f"{difference:+.2f}" + (
        "" if np.isnan(error) else f" ± {error:.2f}")


def vote_wrong(runs, labels):
    """Returns how many images the nets' vote gets wrong; None of two nets."""
    if len(runs) < 3:
        return None
    answers = torch.stack([predictions(run) for run in runs])
    return (vote(answers) != labels).sum().item()


def vote_table(records, labels):
    """Returns the table of what the vote makes of the images that no, one,
    two, ... of the final nets get wrong."""
    runs = records[FINAL]
    if len(runs) < 3:
        return "Three nets are needed for a vote.\n"
    answers = torch.stack([predictions(run) for run in runs])
    wrong, right = (answers != labels).sum(dim=0), vote(answers) == labels
    rows = []
    for count in range(len(runs) + 1):
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


# Sentences

def brought(records, name):
    """Returns what an experiment reached, and what its step of the ladder
    brought."""
    runs = records[name]
    if not runs:
        return f"{name} has not been run yet.\n"
    text = (f"Our runs of {name}: {mean_and_deviation(last(runs))} % (n = "
            f"{len(runs)}).")
    for _, before, after, claimed in STEPS:
        if after == name and claimed and records[before]:
            end, ten = compare_runs(records[before], runs)
            text += (f" Against {before}: {step_text(end)} points after the "
                     f"last epoch ({judge(end[0], end[2])}), {step_text(ten)} "
                     f"over the last ten epochs ({judge(ten[0], ten[2])}).")
    return f"{text}\n"


def ratios_text():
    """Returns how much faster a step and a test are than the article's."""
    rows = re.findall(r"\| .*: a (step|test) .*\| ([\d.]+) \|",
                      (RESULTS / "speed.md").read_text("utf-8"))
    if {kind for kind, _ in rows} != {"step", "test"}:
        raise ValueError(f"{RESULTS / 'speed.md'} has no table of the speeds "
                         "of a step and a test; tests/benchmark.py prints one")
    step, test = ([float(ratio) for kind, ratio in rows if kind == wanted]
                  for wanted in ("step", "test"))
    return (f"A step of training is {min(step):.1f} to {max(step):.1f} times "
            "as fast as with the loaders and the optimizer of the article, a "
            f"test {min(test):.0f} to {max(test):.0f} times.\n")


def extended_text(records):
    """Returns how many mistakes the extended data avoid."""
    if not (records[RELU] and records["expanded_data"]):
        return "Not run yet.\n"
    few, many = (100 - last_ten(records[name]).mean()
                 for name in ("expanded_data", RELU))
    return (f"With the extended data there are {100 * (1 - few / many):.0f} % "
            f"fewer mistakes than in {RELU} (last ten epochs), after five "
            "times as many steps.\n")


def plateau_text(records):
    """Returns how the two sigmoid convolutions start."""
    if not records["dbl_conv"]:
        return "Not run yet.\n"
    first, second = (listed(f"{100 * run['test_accuracy'][epoch]:.2f}"
                            for run in records["dbl_conv"])
                     for epoch in (0, 1))
    return (f"After the first epoch, our runs of dbl_conv reached {first} %; "
            f"after the second, {second} %.\n")


def rates_text(records):
    """Returns how the final net's two learning rates fluctuate and rise."""
    if not (records[FAST_FINAL] and records[FINAL]):
        return "Not run yet.\n"
    text = ""
    for name in (FAST_FINAL, FINAL):
        deviations = listed(f"{value:.2f}" for value
                            in fluctuation(records[name]))
        epochs = listed(first_above(run, 0.995) for run in records[name])
        text += (f"- With rate {EXPERIMENTS[name].lr}, the accuracy of a run "
                 f"has a standard deviation of {deviations} points over the "
                 f"last ten epochs. It first exceeds 99.5 % in epoch "
                 f"{epochs}.\n")
    steadier = compare(fluctuation(records[FINAL]),
                       fluctuation(records[FAST_FINAL]))
    return (f"{text}- The article says that 0.005 is the steadier rate: "
            f"{judge(steadier[0], steadier[2])}. With 0.03 the standard "
            f"deviation differs by {step_text(steadier)} points.\n")


def listed(texts):
    """Returns "a, b and c"."""
    *most, final = texts
    return f"{', '.join(most)} and {final}" if most else final


def first_above(run, accuracy):
    """Returns the number of the first epoch above an accuracy, in words."""
    above = np.array(run["test_accuracy"]) > accuracy
    return str(above.argmax() + 1) if above.any() else "never"


def decay_text(records, labels):
    """Returns what the strong weight decay does to accuracy and weights."""
    runs, recipe = records[STRONG_DECAY], EXPERIMENTS[STRONG_DECAY]
    if not runs:
        return "Not run yet.\n"
    lost = recipe.lr * recipe.wd
    minutes = [f"{sum(run['seconds']) / 60:.0f}" for run in runs]
    chance = labels.bincount().max().item() / len(labels)  # always that digit
    learned = [run for run in runs if max(run["test_accuracy"]) > chance]
    text = (f"Each step shrinks every weight by lr * wd = {100 * lost:.1f} %, "
            f"so after {log(0.5) / log(1 - lost):.0f} steps half of what was "
            "learned is gone, and the weights follow the last few thousand "
            f"images. Our runs took {listed(minutes)} minutes and ended with "
            f"{listed(f'{accuracy:.2f}' for accuracy in last(runs))} %; "
            f"{len(runs) - len(learned)} of {len(runs)} learned nothing.")
    if learned:
        ten = last_ten(learned)
        text += (" The accuracy of those that learned varied between "
                 f"{ten.min():.2f} and {ten.max():.2f} % over the last ten "
                 "epochs.")
    return f"{text}\n{small_weights_text()}"


def small_weights_text():
    """Returns how large the strong weight decay leaves the weights, and how
    sure the nets are."""
    paths = sorted(RESULTS.glob(f"{STRONG_DECAY}-seed*.pt"))
    if not paths:
        return "The weights of these runs were not kept.\n"
    strong = [(load_net(RELU, path), path.stem.rpartition("-seed")[2])
              for path in paths]
    start, usual = (load_net(RELU, path)
                    for path in (None, RESULTS / f"{RELU}-seed0.pt"))
    wd, strong_wd = (
        np.format_float_positional(EXPERIMENTS[name].wd, trim="-")
        for name in (RELU, STRONG_DECAY))
    norms = listed(f"{norm(net):.1f} (seed {seed})" for net, seed in strong)
    sure = listed(f"{certainty(net):.3f} (seed {seed})"
                  for net, seed in strong)
    return (f"The norm of all weights and biases is {norm(start):.1f} at the "
            f"start. At the end it is {norm(usual):.1f} with decay {wd}, but "
            f"{norms} with decay {strong_wd}. On average, a network gives the "
            f"right digit a probability of {certainty(usual):.3f} with decay "
            f"{wd}, but {sure} with decay {strong_wd}.\n")


def load_net(experiment, path=None):
    """Returns the net of an experiment with the saved weights of a path, or
    else as seed 0 starts it; ValueError for a damaged file."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        net = NETS[EXPERIMENTS[experiment].net][0]()
    if path is not None:
        load_weights(net, path)
    for weights in net.parameters():  # denormal numbers are slow
        weights.data[weights.abs() < 1e-30] = 0
    return net


def norm(net):
    """Returns the Euclidean norm of all weights and biases of a net."""
    return torch.cat([weights.flatten() for weights
                      in net.parameters()]).norm().item()


def way_through(net, image):
    """Returns [(name, arrays (n, height, width))] of an image's way through
    the final net, and the probabilities (10,).

    Computed in float64, so that all processors draw the same pixels.
    """
    net, x, stages = net.double(), image.double()[None], []
    with testing(net):
        stages.append(("image", x[0]))
        for name in "conv1", "conv2":
            x = getattr(net, name)(x).relu()
            stages.append((f"{name}, ReLU", x[0]))
            x = max_pool2d(x, 2)
            stages.append(("pooling", x[0]))
        x = net.fc2(net.fc1(x.flatten(1)).relu()).relu()
        return stages, net.out(x)[0].softmax(dim=0)


def certainty(net):
    """Returns the mean probability that a net gives the right test digits."""
    loader = get_loader(get_dataset(train=False), 250, shuffle=False)
    with testing(net):
        return torch.cat([
            net(images).softmax(dim=1)[range(len(labels)), labels]
            for images, labels in loader]).mean().item()


# The pages

def make_blocks(records, labels):
    """Returns {name: Markdown} of all that stands between the pages' markers.

    records as read_records gives them, labels (10000,) of the test images
    """
    return {
        "results": results_table(records, labels),
        **{f"ours {name}": brought(records, name) for name in EXPERIMENTS},
        "ours double_fc_dropout": (brought(records, FAST_FINAL)
                                   + brought(records, FINAL)),
        "speed": (RESULTS / "speed.md").read_text("utf-8"),
        "speed ratios": ratios_text(),
        "runs": runs_table(records, labels),
        "published": published_table(records),
        "steps": steps_table(records),
        "vote": vote_table(records, labels),
        "extended": extended_text(records),
        "plateau": plateau_text(records),
        "rates": rates_text(records),
        "decay": decay_text(records, labels),
        "machines": machines_table(records)}


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


def write_all(contents):
    """Writes {path: bytes}: all of them, or none if one cannot be written."""
    for path in contents:
        check_writable(path)
    with ExitStack() as stack:
        for path, content in contents.items():
            stack.enter_context(replacing(path)).write(content)


def draw_figures(records, test_data):
    """Returns {name: figure}; ValueError without a run of the final net."""
    if not records[FINAL]:
        raise ValueError(f"{RESULTS} has no record of {FINAL}")
    net = load_net(FINAL, RESULTS / f"{FINAL}-seed0.pt")
    answers = predictions(records[FINAL][0])
    return {"mistakes": figures.draw_mistakes(test_data, answers),
            "filters": figures.draw_filters(net),
            "way": figures.draw_way(*way_through(net, test_data[0][0])),
            "final": figures.draw_final(records),
            "loss": figures.draw_loss(records),
            "all": figures.draw_all(records), "costs": figures.draw_costs()}


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
    except (OSError, ValueError) as error:
        parser.exit(2, f"report.py: error: {error}; move a file of yours away,"
                    " or restore a published one: git checkout -- FILE\n")
    except KeyboardInterrupt:
        parser.exit(130, "\nreport.py: interrupted\n")


if __name__ == "__main__":
    main()
