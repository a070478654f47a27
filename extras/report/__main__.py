"""Fills in the tables of the pages, and draws the figures.

    python -m extras.report

A page has <!-- NAME --> and <!-- end --> on lines of their own around each
table. To add a run, put its record into results/runs. Nothing is trained, but
published networks are tested, which takes a few minutes.
"""

import re

from common import get_dataset
from extras.drawing import draw_seven
from extras.report import diagrams, figures, pictures, tables
from extras.report.records import (DOUBLE, FINAL, RECIPES, predictions,
                                   read_records)
from extras.report.saved_nets import (compute_activations, load_net,
                                      measure_shifts, most_varied_map)
from extras.runs import RESULTS, find_weights, write_whole

ROOT = RESULTS.parent
PAGES = "README.md", "docs/ladder.md", "docs/results.md"


def main():
    """Writes the pages and figures."""
    test_data = get_dataset(train=False)
    records = read_records(RESULTS / "runs", test_data.targets)
    blocks = {
        **tables.make_tables(records, test_data.targets),
        "shifts": tables.shifts_table(measure_shifts()),
        "steps timed": tables.speed_table(RESULTS / "speed", "a step"),
        "tests timed": tables.speed_table(RESULTS / "speed", "a test")}
    contents = {page: fill_in(ROOT / page, blocks) for page in PAGES}
    for name, figure in draw_figures(records, test_data).items():
        contents[f"docs/figures/{name}.png"] = figures.png(figure)
    for path, content in contents.items():
        write_whole(ROOT / path, content)


def fill_in(page, blocks):
    """Returns a page's text, in bytes, with its tables brought up to date."""
    text = page.read_text("utf-8")
    filled, count = re.subn(
        "<!-- (.*) -->\n((?!<!-- ).*\n)*<!-- end -->\n",
        lambda match: f"<!-- {match[1]} -->\n{blocks[match[1]]}"
                      "<!-- end -->\n", text)
    if 2 * count != text.count("<!-- "):
        raise ValueError(f"{page} needs a line <!-- NAME --> before each table"
                         ", and a line <!-- end --> after it")
    return filled.encode()


def draw_figures(records, test_data):
    """Returns {name: figure} of all figures."""
    net = load_net(FINAL, find_weights(FINAL))
    answers, seven = predictions(records[FINAL])[0], test_data[0][0]
    five = get_dataset()[0][0]
    paths = [ROOT / "tests" / "digits" / f"{n}.jpg" for n in range(10)]
    return {"dots": figures.draw_dots(records),
            "all": figures.draw_all(records),
            "final": figures.draw_final(records),
            "loss": figures.draw_loss(records),
            "costs": diagrams.draw_costs(),
            "sigmoid_relu": diagrams.draw_activation_functions(),
            "backprop": diagrams.draw_step(),
            **{f"structure_{name}": diagrams.draw_structure(
                RECIPES[name].net_class())
               for name in ("dense", "basic_conv", "dbl_conv", DOUBLE)},
            "dropout": diagrams.draw_dropout(net, *test_data[947]),
            "examples": pictures.draw_examples(test_data),
            "mistakes": pictures.draw_mistakes(test_data, answers),
            "filters": pictures.draw_filters(net),
            "activations": pictures.draw_activations(
                *compute_activations(net, seven)),
            "convolution": pictures.draw_convolution(
                *most_varied_map(net, seven)),
            "shifts": pictures.draw_shifts(five),
            "distortions": pictures.draw_distortions(five),
            "digits": pictures.draw_digits(paths, net),
            "draw": draw_seven(net)}


if __name__ == "__main__":
    main()
