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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
sys.path.insert(0, str(ROOT))

from extras.report import figures
from extras.report import pictures
from extras.report import sentences
from extras.report import significance
from extras.report import tables
from common import get_dataset  # noqa: E402
from extras.runs import check_writable, replacing  # noqa: E402
from extras.report.records import (FAST_FINAL, FINAL, RESULTS,  # noqa: E402
                     predictions, read_records)
from extras.report.saved_nets import (all_shift_accuracies, first_map,  # noqa: E402
                        load_net, way_through)


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
    ours = sentences.experiment_texts(records)
    return {
        "results": tables.results_table(records, labels),
        **{f"ours {name}": text for name, text in ours.items()},
        f"ours {FINAL}": ours[FAST_FINAL] + ours[FINAL],
        "speed": (RESULTS / "speed.md").read_text("utf-8"),
        "speed ratios": sentences.speed_text(),
        "speed gpu": (RESULTS / "speed_gpu.md").read_text("utf-8"),
        "gpu": sentences.gpu_text(),
        "runs": tables.runs_table(records, labels),
        "published": tables.published_table(records),
        "steps": tables.steps_table(records),
        "other epochs": significance.other_epochs_text(records),
        "relu": sentences.relu_text(records),
        "other digits": significance.other_digits_text(records, labels),
        "sides": significance.sides_text(records),
        "extended": sentences.extended_text(records),
        "dropout": sentences.dropout_text(records),
        "shifts": tables.shifts_table(shifts),
        "moved": sentences.moved_text(shifts),
        "vote": tables.vote_table(records, labels),
        "votes": sentences.votes_text(records, labels),
        "plateau": sentences.plateau_text(records),
        "rates": sentences.rates_text(records),
        "decay": (sentences.decay_text(records) + "\n"
                  + sentences.small_weights_text()),
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
    return {"examples": pictures.draw_examples(test_data),
            "mistakes": pictures.draw_mistakes(test_data, answers),
            "filters": pictures.draw_filters(net),
            "way": pictures.draw_way(*way_through(net, seven)),
            "convolution": pictures.draw_convolution(*first_map(net, seven)),
            "distortions": pictures.draw_distortions(get_dataset()[0][0]),
            "backprop": pictures.draw_step(), "costs": figures.draw_costs(),
            "final": figures.draw_final(records),
            "loss": figures.draw_loss(records),
            "all": figures.draw_all(records)}


def write_all(contents):
    """Writes {path: bytes}, once it is clear that each can be written."""
    for path in contents:
        check_writable(path)
    for path, content in contents.items():
        with replacing(path) as file:
            file.write(content)


if __name__ == "__main__":
    main()
