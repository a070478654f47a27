"""The sessions, programs and commands of the pages do what they say."""

import doctest
import re
import shlex

import matplotlib
import pytest

import pytorch_mnist_convnet as convnet
from extras.report.records import RECIPES
from extras.runs import RESULTS

ROOT = RESULTS.parent
README = (ROOT / "README.md").read_text("utf-8")
ACCURACY = r"(?<=results: )\d\.\d+"


def assert_alike(printed, shown):
    """Asserts that two texts are the same but for accuracies, which may
    differ a little from machine to machine."""
    assert re.sub(ACCURACY, "x", printed) == re.sub(ACCURACY, "x", shown)
    for text, other in zip(re.findall(ACCURACY, printed),
                           re.findall(ACCURACY, shown)):
        assert float(text) == pytest.approx(float(other), abs=0.03)


class Checker(doctest.OutputChecker):
    """Compares what a session prints as assert_alike does."""
    def check_output(self, want, got, optionflags):
        try:
            assert_alike(got, want.replace("<BLANKLINE>\n", "\n"))
        except AssertionError:
            return False
        return True


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The project's folder, made of links, with an empty folder runs."""
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name != "runs":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)


def test_the_sessions(folder):
    """All pycon blocks of the front page, as one session."""
    blocks = re.findall(r"```pycon\n(.*?)```", README, re.S)
    assert len(blocks) == 4
    session = re.sub(r"\n\n(?=Test data)", "\n<BLANKLINE>\n",
                     "\n".join(blocks))
    test = doctest.DocTestParser().get_doctest(
        session, {}, "README", "README.md", 0)
    with matplotlib.rc_context({"backend": "agg"}):
        result = doctest.DocTestRunner(Checker()).run(test)
    assert result.attempted >= 16 and result.failed == 0


def test_the_articles_sessions_are_the_experiments(monkeypatch):
    """The block is run with a training that only notes its arguments."""
    sessions, _ = re.findall(r"```python\n(.*?)```", README, re.S)
    calls = []
    monkeypatch.setattr(
        convnet, "train_and_test_network",
        lambda net, num_epochs=60, lr=0.1, wd=0, train_loader=None: (
            calls.append((type(net), num_epochs, lr, wd,
                          train_loader is not None))))
    exec(sessions, {})
    assert calls == [
        RECIPES[name][:5] for name in (
            "basic_conv", "dbl_conv", "dbl_conv_relu_wd0.1", "dbl_conv_relu",
            "expanded_data", "double_fc_dropout_lr0.03")]


def test_the_program(folder, capsys):
    (program, shown), = re.findall(
        r"```python\n([^`]*)```\n\n```\n(.*?)```", README, re.S)
    exec(program, {"__name__": "my_net"})
    assert_alike(capsys.readouterr().out, shown)


COMMANDS = re.findall(
    r"^\$ .venv/bin/python (.*)\n((?:.+\n|\n(?!```))*?)```", README, re.M)


@pytest.mark.parametrize("command, shown", COMMANDS,
                         ids=[command for command, _ in COMMANDS])
def test_a_command(folder, capsys, command, shown):
    script, *arguments = shlex.split(command)
    assert script == "pytorch_mnist_convnet.py"
    convnet.main(arguments)
    assert_alike(capsys.readouterr().out, shown)


def test_all_commands_are_tested():
    assert len(COMMANDS) == README.count("\n$ .venv/bin/python ") == 2
