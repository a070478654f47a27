"""The tables of the pages, in Markdown, made from the records."""

from collections import Counter

from extras.comparison import compare_runs, mean_of_last, vote
from extras.report.records import (DISTORTED, DOUBLE, EXTENDED, FAST_FINAL,
                                   FINAL, RECIPES, RELU, predictions)
from extras.runs import CHANCE

IDEAS = {  # what each experiment adds to the one before it
    "dense": "one hidden layer, as in chapter 1",
    "shallow": "the same, trained as in chapter 6",
    "basic_conv": "a convolution",
    "dbl_conv": "a second convolution",
    RELU: "rectified linear units (ReLU)",
    EXTENDED: "shifted copies of the images",
    DOUBLE: "two dense layers of 1,000 units",
    FAST_FINAL: "dropout",
    FINAL: "a lower learning rate",
    DISTORTED: "distorted images, not shifted ones",
}
STEPS = (  # an idea that leads from one experiment to another
    ("softmax and cross-entropy", "dense", "shallow"),
    ("a convolution", "shallow", "basic_conv"),
    ("a second convolution", "basic_conv", "dbl_conv"),
    ("ReLU", "dbl_conv", RELU),
    ("extended data", RELU, EXTENDED),
    ("two dense layers of 1,000", EXTENDED, DOUBLE),
    ("dropout", DOUBLE, FAST_FINAL),
    ("two dense layers and dropout", EXTENDED, FAST_FINAL),
    ("learning rate 0.005, not 0.03", FAST_FINAL, FINAL),
    ("distorted images, not shifted ones", FINAL, DISTORTED),
    ("weight decay 0.00005, not 0.00002", "dbl_conv_relu_wd0.00002", RELU),
    ("weight decay 0.00005, not 0", "dbl_conv_relu_wd0", RELU),
)


def make_tables(records, labels):
    """Returns {name: table} of all that need only the records, {experiment:
    [record of each seed]}, and the labels (10000,) of the test images."""
    return {"results": results_table(records),
            "runs": runs_table(records, labels),
            "steps": steps_table(records),
            **{f"rung {name}": rung_table(records, name)
               for name in IDEAS if name in records},
            "votes": votes_table(records, labels),
            "machines": machines_table(records)}


def table(headings, rows, left=1):
    """Returns a table in Markdown whose first columns are aligned left."""
    rule = ["---"] * left + ["--:"] * (len(headings) - left)
    return "".join(f"| {' | '.join(map(str, row))} |\n"
                   for row in (headings, rule, *rows))


def results_table(records):
    """Returns the table of the front page."""
    rows = [[idea, f"`{name}`",
             *published(RECIPES[name]), mean_text(mean_of_last(records[name])),
             len(records[name]), minutes(records[name]),
             f"`{RECIPES[name].net_class.__name__}`"]
            for name, idea in IDEAS.items() if name in records]
    return table(("what is new", "`--experiment`", "Nielsen", "article",
                  "ours", "n", "minutes", "class"), rows, left=2)


def published(recipe):
    """Returns the accuracies of the book and of the article, or "-"."""
    return ["-" if number is None else f"{number:.2f}"
            for number in (recipe.nielsen, recipe.article)]


def minutes(runs):
    """Returns how many minutes the fastest run took."""
    return f"{min(sum(run['seconds']) for run in runs) / 60:.0f}"


def mean_text(values):
    """Returns the mean of runs, or the lowest and the highest if one is no
    better than chance."""
    if values.min() <= 100 * CHANCE:
        return f"{values.min():.2f} to {values.max():.2f}"
    return f"{values.mean():.2f}"


def deviation_text(values):
    """Returns the standard deviation of runs that are better than chance."""
    if len(values) == 1 or values.min() <= 100 * CHANCE:
        return "-"
    return f"{values.std(ddof=1):.2f}"


def runs_table(records, labels):
    """Returns the table of what the runs of each experiment measured."""
    rows = []
    for name, runs in records.items():
        ends, tens = mean_of_last(runs), mean_of_last(runs, 10)
        wrong = (predictions(runs) != labels).sum(dim=1)
        rows.append([name, *published(RECIPES[name]), mean_text(ends),
                     deviation_text(ends), mean_text(tens),
                     deviation_text(tens), f"{wrong.min()} to {wrong.max()}",
                     len(runs)])
    return table(("experiment", "Nielsen", "article", "last epoch", "s",
                  "last ten", "s", "wrong", "n"), rows)


def steps_table(records):
    """Returns the table of what each idea gives."""
    rows = []
    for what, start, end in STEPS:
        if {start, end} <= records.keys():
            rows.append([what, f"{start} → {end}",
                         *gain_cells(records, start, end)])
    return table(("idea", "from → to", "Nielsen", "article", "ours", "p"),
                 rows, left=2)


def rung_table(records, name):
    """Returns the table of one rung of the ladder: its accuracy, and what it
    gains over rungs below."""
    rows = [["accuracy", *published(RECIPES[name]),
             mean_text(mean_of_last(records[name]))],
            ["over the last ten epochs", "-", "-",
             mean_text(mean_of_last(records[name], 10))]]
    for _, start, end in STEPS:
        if end == name and start in IDEAS and start in records:
            *gains, _ = gain_cells(records, start, end)
            rows.append([f"gain over `{start}`", *gains])
    return table(("", "Nielsen", "article", "ours"), rows)


def gain_cells(records, start, end):
    """Returns a gain by Nielsen's, by the article's and by our numbers, and
    its p."""
    old, new = RECIPES[start], RECIPES[end]
    gain = compare_runs(records[start], records[end])
    return [*(f"{after - before:+.2f}"
              if before and after and before != after else "-"
              for before, after in ((old.nielsen, new.nielsen),
                                    (old.article, new.article))),
            gain, p_text(gain.p)]


def p_text(p):
    """Returns a p-value as people write it."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def votes_table(records, labels):
    """Returns the table of the mistakes of nets alone and of their vote."""
    rows = []
    for name in FAST_FINAL, FINAL, DISTORTED:
        answers = predictions(records[name])
        alone = (answers != labels).sum(dim=1).tolist()
        rows.append([name, ", ".join(map(str, alone)),
                     (vote(answers) != labels).sum().item()])
    return table(("networks", "wrong alone", "wrong together"), rows, left=2)


def shifts_table(shifts):
    """Returns the table of what saved_nets.measure_shifts has measured."""
    rows = [[name, *(f"{number:.2f}" for number in measured)]
            for name, measured in shifts.items()]
    return table(("network", "not shifted", "shifted by 1 pixel",
                  "shifted by 2 pixels"), rows)


def speed_table(folder, kind):
    """Returns the rows of gpu.md that are of "a step" or of "a test"."""
    heading, rule, *rows = (folder / "gpu.md").read_text("utf-8").splitlines()
    rows = [row for row in rows if f": {kind}" in row and "shallow" not in row]
    return "\n".join([heading, rule, *rows]) + "\n"


def machines_table(records):
    """Returns the table of what the runs were made on."""
    names = "device", "threads", "processor", "python", "torch"
    kinds = Counter(tuple(run[name] for name in names)
                    for runs in records.values() for run in runs)
    return table((*names, "runs"), [[*kind, count] for kind, count
                                    in sorted(kinds.items())], left=5)
