"""The pages and the figures of the results tell what the records hold."""

import re
import shutil
import statistics
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import expit

import records
import report
import sentences
import significance
import tables
from extras import comparison
from extras.runs import read_record

PAGES = report.README, report.RESULTS / "README.md"
TEXTS = [page.read_text("utf-8") for page in PAGES]
BLOCK = "<!-- ([^\n]*) -->\n.*?<!-- end -->\n"
STUDENT = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}  # t of 0.975, for n runs


@pytest.fixture(scope="module")
def labels(test_data):
    return test_data.targets


@pytest.fixture(scope="module")
def runs(labels):
    return records.read_records(labels)


@pytest.fixture(scope="module")
def blocks(runs, labels):
    """All blocks, with the slow table of shifts as the page has it."""
    text, = re.findall("<!-- shifts -->\n(.*?)<!-- end -->", TEXTS[1], re.S)
    shifts = {name: [*map(float, cells)] for name, *cells in rows(text)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "all_shift_accuracies", lambda: shifts)
        return report.make_blocks(runs, labels)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of records, saved nets and pages for the report to work on."""
    folder = tmp_path / "results"
    shutil.copytree(report.RESULTS, folder, ignore=shutil.ignore_patterns(
        "*.png", "*.py", "__pycache__"))
    shutil.copy(report.README, tmp_path)
    for module in records, report, sentences:
        monkeypatch.setattr(module, "RESULTS", folder)
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    return folder


def rows(text):
    """Returns the cells of a table's rows, without its headings."""
    return [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]


def accuracies(runs):
    """Returns the accuracies in per cent, a list of each run's epochs."""
    return [[100 * accuracy for accuracy in run["test_accuracy"]]
            for run in runs]


def numbers(cell):
    """Returns the numbers of a cell like 99.05 ± 0.02."""
    return [float(number) for number in cell.split(" ± ")]


def near(*values):
    """Returns what equals values that were rounded to two places."""
    return pytest.approx(values, abs=0.0051)


# The published pages

def test_the_pages_are_what_the_report_makes(blocks):
    """Every number and sentence on both pages, from emptied blocks."""
    found = []
    for page, text in zip(PAGES, TEXTS):
        assert report.fill_in(page, blocks) == text
        found += re.findall("<!-- (?!end)(.*) -->", text)
    assert {*found} <= {*blocks} and len(found) == len({*found})


def test_the_report_writes_the_pages_and_the_figures(
        folder, monkeypatch, blocks):
    """Into pages whose blocks are empty."""
    pages = report.README, folder / "README.md"
    for page, text in zip(pages, TEXTS):
        page.write_text(re.sub(f"(?s){BLOCK}", r"<!-- \1 -->\n<!-- end -->\n",
                               text), "utf-8")
    monkeypatch.setattr(report, "make_blocks", lambda *args: blocks)
    monkeypatch.setattr(report, "draw_figures", lambda *args: {
        "costs": report.figures.draw_costs()})
    report.main([])
    assert [page.read_text("utf-8") for page in pages] == TEXTS
    assert (folder / "costs.png").read_bytes().startswith(b"\x89PNG")


def test_no_accuracy_is_typed_by_hand():
    """What stands outside the blocks are published ones, or a session's."""
    published = {"85.31", "96.59", "97.80", "98.78", "99.23", "99.37", "99.43",
                 "99.47", "99.48", "99.51", "99.60", "99.67",
                 # and of the later repository:
                 "97.58", "98.91", "99.13", "99.30", "99.64"}
    for text in TEXTS:
        text = re.sub(f"(?s){BLOCK}|```.*?```", "", text)
        assert {*re.findall(r"\b\d\d\.\d\d\b", text)} <= published


def test_the_table_of_runs(runs, labels, blocks):
    results = rows(blocks["results"])
    for row, result, name in zip(rows(blocks["runs"]), results, runs):
        tests = accuracies(runs[name])
        ends, tens = zip(*((test[-1], test[-10:]) for test in tests))
        flat, means = sum(tens, start=[]), [sum(ten) / 10 for ten in tens]
        wrong = [sum(int(digit) != label for digit, label
                     in zip(run["predictions"], labels.tolist()))
                 for run in runs[name]]
        assert (row[0], int(row[2])) == (name, len(ends))
        if name == "dbl_conv_relu_wd0.1":  # of which one learned nothing
            assert row[3] == ", ".join(f"{end:.2f}" for end in ends)
            assert (row[4], row[6]) == ("-", "-")
        else:
            for cells, values in (row[3:5], ends), (row[5:7], means):
                assert [*map(float, cells)] == near(statistics.mean(values),
                                                    statistics.stdev(values))
        assert row[7:9] == [f"{min(flat):.2f} to {max(flat):.2f}",
                            f"{max(map(max, tests)):.2f}"]
        assert row[9:11] == [str(min(wrong)), str(max(wrong))]
        assert (result[0], *result[4:]) == (name, *row[3:5], row[2])


def test_the_published_numbers_among_ours(runs, blocks):
    """By the limits of Student's t."""
    for name, *found in rows(blocks["published"]):
        ends = [test[-1] for test in accuracies(runs[name])]
        for published, place in (found[:2], found[2:4]):
            if "(" not in place:
                assert (name == "dbl_conv_relu_wd0.1" or published == "-"
                        or " " in published)
                continue
            spread = statistics.stdev(ends) * (1 + 1 / len(ends)) ** 0.5
            distance = (float(published) - statistics.mean(ends)) / spread
            word = ("expected" if abs(distance) < STUDENT[
                len(ends)] else "higher" if distance > 0 else "lower")
            assert place == f"{word} ({distance:+.1f})"


def test_the_table_of_steps(runs, blocks):
    """By the differences of the means, scipy's p, and Holm's rule: up to the
    k-th smallest p of m claims, each is below 0.05 / m, 0.05 / (m - 1), ...
    """
    found, claims = rows(blocks["steps"]), []
    assert [(row[0], row[1]) for row in found] == [
        (step.what, f"{step.before} -> {step.after}")
        for step in significance.STEPS]
    for row, step in zip(found, significance.STEPS):
        for cell, count in (row[4], 1), (row[5], 10):
            old, new = ([statistics.mean(test[-count:])
                         for test in accuracies(runs[name])]
                        for name in (step.before, step.after))
            error = (statistics.variance(old) / len(old)
                     + statistics.variance(new) / len(new)) ** 0.5
            assert numbers(cell) == near(
                statistics.mean(new) - statistics.mean(old), error)
        p = stats.ttest_ind(old, new, equal_var=False).pvalue
        assert row[6] in (f"{p:.3f}", "< 0.001")
        assert (row[7] == "not claimed") == (not step.claimed)
        if step.claimed:
            claims.append((p, row[7] == "borne out"))
    claims.sort()
    small = [p < 0.05 / (len(claims) - k) for k, (p, _) in enumerate(claims)]
    assert [borne_out for _, borne_out in claims] == [
        all(small[:k + 1]) for k in range(len(small))]


def test_a_rung_tells_its_recipe_its_runs_and_what_they_mean(runs, blocks):
    line, step = blocks["ours dbl_conv"].splitlines()
    seconds = [sum(run["seconds"]) for run in runs["dbl_conv"]]
    ends = sorted(test[-1] for test in accuracies(runs["dbl_conv"]))
    assert line == (
        "- `dbl_conv`: 60 epochs, lr 0.1, wd 0; about "
        f"{statistics.mean(seconds) / 60:.0f} min. Our {len(ends)} runs ended "
        f"between {ends[0]:.2f} and {ends[-1]:.2f} %.")
    row, = (row for row in rows(blocks["steps"]) if "-> dbl_conv" == row[1][
        -11:])
    assert step == ("- Over the last ten epochs, against `basic_conv`: "
                    f"{row[5]} points. A network with a second convolution "
                    "does better.")


def test_a_rung_tells_by_which_epochs_its_verdict_would_change(blocks):
    changes = 0
    for step in significance.STEPS:
        line, = [line for line in blocks.get(
            f"ours {step.after}", "").splitlines()
            if f", against `{step.before}`:" in line] or [""]
        here = re.findall(r"Had we averaged over (.*), we ", line)
        assert not step.claim or here == re.findall(
            rf"Averaged over ([^.]*), {step.what} would be ",
            blocks["other epochs"])
        changes += len(here)
    assert changes == blocks["other epochs"].count(" would be ")


def test_spans_in_words():
    for numbers, words in (
            ([1], "the last epoch"), ([5], "the last 5 epochs"),
            ([1, 2, 3, 7, 9, 10],
             "the last 1 to 3 epochs, or the last 7, or the last 9 to 10")):
        assert significance.spans_text(numbers) == words


@pytest.mark.parametrize("verdict, points, p, words", [
    ("borne out", 1, 0.01, "{}."),
    ("contradicted", -1, 0.01, "It is not true here that {}."),
    ("undecided", 1, 0.03, "Luck alone would give a difference at "
     "least this large in 3 of 100 comparisons, so we cannot tell whether "
     "{}."),
    ("undecided", 1, float("nan"), "Single runs do not tell whether {}."),
    ("undecided", -1, 0.3, "Luck alone would give a difference at "
     "least this large in 30 of 100 comparisons, so we cannot tell whether "
     "{}, or worse."),
    ("not claimed", 1, 0.01, "{}."),
    ("not claimed", -1, 0.01, "It is not true here that {}.")])
def test_what_a_verdict_means(verdict, points, p, words):
    step = significance.STEPS[0]
    gain = comparison.Difference(points, 0.1, p)
    told = words.format(step.claim)
    assert significance.meaning(step, gain, verdict) == (
        told[0].upper() + told[1:])


def test_the_gains_that_the_sources_stress(blocks):
    assert [row[2:4] for row in rows(blocks["steps"])] == [
        ["+0.98", "-"], ["+0.28", "+0.08"], ["+0.17", "+0.38"],
        ["+0.14", "+0.08"], ["+0.10", "-"], ["+0.13", "-"],
        ["+0.23", "+0.13"], ["-", "-"], ["-", "-"], ["-", "-"]]


def test_on_which_side_the_published_numbers_lie(monkeypatch):
    """One is a tie. Nielsen's for ReLU counts with his own weight decay."""
    monkeypatch.setattr(significance, "PUBLISHED", {
        "dbl_conv_relu_wd0.00002": records.Published("98.50"), **{
            name: records.Published(number, number) for name, number in (
                ("dense", "1.00"), ("shallow", "97.00"),
                ("basic_conv", "99.99"), ("dbl_conv", "98.00"),
                ("dbl_conv_relu", "98.50"), ("expanded_data", "about 98"),
                ("dbl_conv_relu_wd0.1", "1.00"))}})
    tests = [0.5] * 90 + [0.9797] * 9 + [0.9803]
    runs = dict.fromkeys(records.PUBLISHED, [
        {"test_accuracy": tests}, {"test_accuracy": tests[:-1] + [0.9797]}])
    runs["dbl_conv_relu_wd0.00002"] = [{"test_accuracy": [0.99] * 100}] * 2
    last, ten = significance.sides_text(runs).splitlines()
    assert last == ("- 2 of Nielsen's 3 numbers and 1 of the article's 3 "
                    "numbers lie below our means after the last epoch. Luck "
                    "alone would give a split at least as uneven in 100 of "
                    "100 cases for Nielsen's and in 100 of 100 cases for the "
                    "article's.")
    assert ten.startswith("- 2 of Nielsen's 4 numbers and ")


def test_the_table_of_shifts(runs, blocks, train_data, test_data):
    """The dense network's, with images that numpy moves."""
    (name, *found), *others = rows(blocks["shifts"])
    saved = {path.stem.split("-seed")[0]
             for path in report.RESULTS.glob("*.pt")} - {"dbl_conv_relu_wd0.1"}
    assert [name, *(row[0] for row in others)] == [
        name for name in records.EXPERIMENTS if name in saved]
    for name, still, *_ in [("dense", *found), *others]:
        first = min(report.RESULTS.glob(f"{name}-seed*.pt"))
        run = read_record(first.with_suffix(".json"))
        assert still == f"{100 * run['test_accuracy'][-1]:.2f}"
    saved = torch.load(report.RESULTS / "dense-seed0.pt", weights_only=True)
    w1, b1, w2, b2 = (weights.numpy() for weights in saved.values())

    def right(images, labels):
        pixels = images.reshape(-1, 784).astype("float32") / 255
        hidden = expit(pixels @ w1.T + b1)
        answers = (hidden @ w2.T + b2).argmax(axis=1)
        return 100 * (answers == labels.numpy()).mean()

    framed = np.pad(test_data.data.numpy(), [(0, 0), (2, 2), (2, 2)])
    for cell, k in (found[1], 1), (found[2], 2):
        moved = [right(framed[:, y:y + 28, x:x + 28], test_data.targets)
                 for y, x in ((2, 2 + k), (2, 2 - k), (2 + k, 2), (2 - k, 2))]
        assert float(cell) == pytest.approx(statistics.mean(moved), abs=0.02)
    assert float(found[3]) == pytest.approx(
        right(train_data.data.numpy(), train_data.targets), abs=0.02)


def test_the_vote(runs, labels, blocks):
    voters = runs["double_fc_dropout"]
    counts = Counter()
    for label, *digits in zip(labels.tolist(), *(
            map(int, run["predictions"]) for run in voters)):
        winner = max(sorted(set(digits)), key=digits.count)
        counts[sum(digit != label for digit in digits), winner == label] += 1
    *lines, together = rows(blocks["vote"])
    assert len(lines) == len(voters) + 1
    for wrong, line in enumerate(lines):
        right, left = counts[wrong, True], counts[wrong, False]
        assert [*map(int, line)] == [wrong, right + left, right, left]
    assert int(together[-1]) == sum(int(line[-1]) for line in lines)
    assert (f"of double_fc_dropout gets {together[-1]} images wrong; the "
            "networks alone," in blocks["votes"])
    wrong, = re.findall(r"of double_fc_dropout_lr0.03 gets (\d+) images",
                        blocks["votes"])
    assert rows(blocks["results"])[-1] == [
        "vote of 5 networks of double_fc_dropout_lr0.03",
        "the most frequent answer", "99.67 (5 networks)", "-",
        f"{100 - int(wrong) / 100:.2f}", "-", "1"]


def test_how_much_faster(blocks):
    step, test = (sorted(float(row[3]) for row in rows(blocks["speed"])
                         if f": a {kind}" in row[0])
                  for kind in ("step", "test"))
    assert len(step) == len(test) == 7
    assert f" {step[0]:.1f} to {step[-1]:.1f} times" in blocks["speed ratios"]
    assert f" {test[0]:.0f} to {test[-1]:.0f} times" in blocks["speed ratios"]


def test_how_much_faster_a_gpu_is(blocks):
    gains = sorted((float(row[2]) / float(row[5]), row[0].split(":")[0])
                   for row in rows(blocks["speed gpu"])
                   if ": a step" in row[0])
    assert len(gains) == 7
    (least, slow), (most, fast) = gains[0], gains[-1]
    assert f" `{fast}` is {most:.1f} times as fast " in blocks["gpu"]
    assert f" `{slow}` takes {1 / least:.1f} times as long" in blocks["gpu"]


def test_the_machines(runs, blocks):
    found = rows(blocks["machines"])
    assert sum(int(row[-1]) for row in found) == sum(map(len, runs.values()))


@pytest.mark.parametrize("name, flags", [
    ("dense", "pytorch_mnist_dense.py"), ("basic_conv", "--net simple"),
    ("dbl_conv_relu_wd0.00002", "--net relu --wd 0.00002"),
    ("expanded_data", "--net relu --extend_data"),
    ("double_fc_dropout_lr0.03", "--net final --lr 0.03"),
    ("distorted_data", "--net final --epochs 60 --lr 0.01 --no-extend_data "
     "--distort")])
def test_commands(name, flags):
    assert tables.command(name) == f"`{flags}`"


def test_what_weight_decay_does_to_the_weights(folder):
    """By the saved nets, of which one forgets: all weights are 0."""
    saved = torch.load(folder / "dbl_conv_relu-seed0.pt", weights_only=True)
    end = sum(w.double().square().sum() for w in saved.values()).sqrt()
    (folder / "dbl_conv_relu_wd0.1-seed1.pt").unlink()
    torch.save({name: 0 * w for name, w in saved.items()},
               folder / "dbl_conv_relu_wd0.1-seed2.pt")
    text = sentences.small_weights_text()
    assert (f"{end:.1f} with decay 0.00005, but 0.0 (seed 2) with decay 0.1"
            in text)
    usual, forgetful = re.findall(r" (0\.\d\d\d) ", text)
    assert float(usual) > 0.98 and forgetful == "0.100"


def test_a_saved_net_that_is_missing():
    with pytest.raises(ValueError, match="no weights of dense-seed0"):
        sentences.moved_text({})


# Bad input

@pytest.mark.parametrize("name, text, complaint", [
    ("dbl_conv-seed0.json", "{", "is damaged, or not a record"),
    ("best-seed0.json", "{}", "is not named EXPERIMENT-seedN.json"),
    ("speed.md", "", "has no table of the speeds"),
    ("speed_gpu.md", "", "has no table of the speeds"),
    ("README.md", "My own", "needs a line <!-- NAME -->"),
    ("README.md", "<!-- runs -->\n", "needs a line <!-- NAME -->"),
    ("README.md", "<!-- x -->\n<!-- end -->\n", "has <!-- x -->, but"),
    ("../README.md", "My own", "needs a line <!-- NAME -->")])
def test_bad_input(folder, capsys, monkeypatch, blocks, name, text, complaint):
    """The report says what is wrong, and writes nothing."""
    if name.startswith("speed"):
        monkeypatch.setattr(report, "all_shift_accuracies", dict)
    elif name.endswith(".md"):
        monkeypatch.setattr(report, "make_blocks", lambda *args: blocks)
    (folder / name).write_text(text)
    files = {path: path.read_bytes() for path in folder.parent.rglob("*.*")}
    with pytest.raises(SystemExit) as stop:
        report.main([])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert complaint in error and (folder / name).name in error
    assert files == {path: path.read_bytes()
                     for path in folder.parent.rglob("*.*")}


def test_all_is_written_or_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    paths = tmp_path / "new", tmp_path / "folder", tmp_path / "other"
    with pytest.raises(ValueError, match="folder"):
        report.write_all(dict.fromkeys(paths, b"text"))
    assert [*tmp_path.iterdir()] == [tmp_path / "folder"]
    report.write_all({tmp_path / "new": b"text"})
    assert (tmp_path / "new").read_bytes() == b"text"
