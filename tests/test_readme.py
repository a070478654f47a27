"""The sessions, programs and commands of the pages do what these say."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from backprop_manual_calculation import WEIGHTS, feed_forward, gradient

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")
RUNS = (ROOT / "results" / "README.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", RUNS, re.S)
COMMANDS = re.findall(r"^\$ .venv/bin/python (.*)\n((?:.+\n|\n(?!```))*?)```",
                      TEXT, re.M)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the project's folder to work in, made of links."""
    for path in ROOT.iterdir():
        if not path.name.startswith("."):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "runs").unlink(missing_ok=True)
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)


def run(*command):
    """Returns what a command of Python prints."""
    return subprocess.run(
        [sys.executable, *command], check=True, capture_output=True,
        env={**os.environ, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"},
        text=True, encoding="utf-8").stdout


def assert_alike(printed, shown):
    """Asserts that two texts are the same but for their numbers, which may
    differ a little from machine to machine."""
    number = r"\b\d+\.\d+\b"
    assert re.sub(number, "x", printed) == re.sub(number, "x", shown)
    found, told = ([float(value) for value in re.findall(number, text)]
                   for text in (printed, shown))
    assert found == pytest.approx(told, abs=0.02)


@pytest.mark.parametrize("page, count", [
    ("README.md", 8), ("results/README.md", 2)])
def test_the_sessions(monkeypatch, page, count):
    """All pycon blocks of a page, as one session in the project's folder."""
    monkeypatch.chdir(ROOT)
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"```pycon\n(.*?)```", text, re.S)
    assert len(blocks) == count
    test = doctest.DocTestParser().get_doctest(
        "\n".join(blocks), {}, page, page, 0)
    with matplotlib.rc_context({"backend": "agg"}):
        result = doctest.DocTestRunner().run(test)
    assert result.attempted >= 4 * count and result.failed == 0


def test_the_program(folder):
    (program, shown), = PROGRAMS
    assert_alike(run("-c", program), shown)


@pytest.mark.parametrize("arguments, shown", COMMANDS,
                         ids=[arguments for arguments, _ in COMMANDS])
def test_a_command(folder, arguments, shown):
    assert_alike(run(*arguments.split()), shown)


def test_all_commands_are_tested():
    assert len(COMMANDS) == TEXT.count("\n$ .venv/bin/python ") == 3
    assert len(PROGRAMS) == (TEXT + RUNS).count("```python\n") == 1


def test_the_lines_of_backpropagation_are_those_of_the_scripts():
    table = re.search(r"\| \| by hand .*\n\n", TEXT, re.S)[0].split("\n\n")[0]
    for row in table.splitlines()[2:]:
        *_, hand, torch, _ = row.split("|")
        for lines, name in (hand, "manual_calculation"), (torch, "pytorch"):
            code, = re.findall("`(.*)`", lines) or [""]
            assert code in (ROOT / f"backprop_{name}.py").read_text("utf-8")
    slopes = gradient(WEIGHTS)
    for name, output in zip(("a_l1", "a_l2"), feed_forward(WEIGHTS)):
        assert re.search(rf"^{name} = sigmoid.* = {output:.4f}$", TEXT, re.M)
    for name, line in (("b_l2", "dz_l2"), ("w_l2", "slope for w_l2"),
                       ("b_l1", "dz_l1"), ("w_l1", "slope for w_l1")):
        assert re.search(rf"^{line} = .* = {slopes[name]:.4f}$", TEXT, re.M)
