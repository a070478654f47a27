"""The course does what it says: its sessions, its arithmetic, its figures."""

import doctest
import inspect
import re
from pathlib import Path

import matplotlib
import pytest
import torch
from torch import nn

import backprop_manual_calculation as manual
import common
import pytorch_mnist_convnet
import pytorch_mnist_dense
from extras.report import diagrams
from test_pages import Checker

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "ladder.md"
TEXT = PAGE.read_text("utf-8")
PROSE = " ".join(TEXT.split())
NETS = {"dense": pytorch_mnist_dense.Net,
        "basic_conv": pytorch_mnist_convnet.ConvNetSimple,
        "dbl_conv": pytorch_mnist_convnet.ConvNetTwoConvLayers,
        "double_fc": pytorch_mnist_convnet.ConvNetTwoConvTwoDenseLayers}


def texts(figure):
    """All that is written in a figure, a line each."""
    return [" ".join(text.get_text().split())
            for text in figure.findobj(matplotlib.text.Text)]


def test_the_session(monkeypatch):
    """All pycon blocks, as one session in the project's folder."""
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```pycon\n(.*?)```", TEXT, re.S)
    test = doctest.DocTestParser().get_doctest(
        "\n".join(blocks), {}, "ladder", str(PAGE), 0)
    result = doctest.DocTestRunner(Checker()).run(test)
    assert result.attempted > 50 and result.failed == 0


def test_the_four_lines_of_a_step_are_those_of_train_epoch():
    source = inspect.getsource(common.train_epoch).replace(".to(device)", "")
    lines = re.search(r"\.\.\.     loss = .*?(?=>>>)", TEXT, re.S)[0].replace(
        "mean_squared_error", "loss_function")
    places = [source.index(line.strip(". ").partition("#")[0].rstrip())
              for line in lines.splitlines()]
    assert places == sorted(places) and len(places) == 4


def test_the_programs_of_the_exercises(monkeypatch, capsys):
    """As on the page, but with few images, and for one epoch."""
    monkeypatch.chdir(ROOT)
    exercises = TEXT.partition("## Exercises")[2]
    programs = "\n".join(re.findall(r"```python\n(.*?)```", exercises, re.S))
    calls = len(re.findall(r"^try_out\(", programs, re.M))
    for many, few in (("5000", "20"), ("10000", "20"),
                      ("num_epochs=5", "num_epochs=1")):
        assert many in programs
        programs = programs.replace(many, few)
    exec(compile(programs, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert printed.count("Epoch 1/1") == calls > 5
    assert printed.startswith("108550\n")


def test_each_command_names_an_experiment_of_its_script():
    commands = re.findall(r"python (\w+)\.py --experiment (\S+)$", TEXT, re.M)
    assert len(commands) == 10
    for script, name in commands:
        assert name in {"pytorch_mnist_dense": pytorch_mnist_dense,
                        "pytorch_mnist_convnet": pytorch_mnist_convnet,
                        }[script].EXPERIMENTS
    rungs = re.findall(r"^<!-- rung (\S+) -->$", TEXT, re.M)
    assert rungs == [name for _, name in commands]


def test_headings_carry_no_flags_and_links_lead_somewhere():
    assert not re.findall("^#.*--", TEXT, re.M)
    prose = re.sub(r"```.*?```", "", TEXT, flags=re.S)
    assert not re.findall(r"^[-+*] |\d\*\d", prose, re.M)  # lists, italics
    figures = re.findall(r"!\[[^]]+\]\((.*?)\)", TEXT)
    assert len(figures) == len({*figures}) == 16
    for path in re.findall(r"\]\((?!http|#)([^)#]+)", TEXT):
        assert (PAGE.parent / path).exists(), path


def test_parameters_are_counted_as_the_networks_have_them():
    for net_class in NETS.values():
        count = sum(weights.numel() for weights in net_class().parameters())
        assert f"{count:,}" in PROSE
    sums = re.findall(r"((?:\(*\d+\)* (?:[-*+]|//) )+\(*\d+\)*) = (\d+)\b",
                      PROSE.replace(",", ""))
    assert len(sums) > 10
    for terms, result in sums:
        assert eval(terms) == int(result), terms


@pytest.fixture
def step():
    """What goes forward in the step by hand, and what comes back."""
    a_l1, a_l2 = manual.feed_forward(manual.WEIGHTS)
    slopes = manual.gradient(manual.WEIGHTS)
    return {
        "z_l1": 1.58 * 0.8 - 0.14, "a_l1": a_l1, "z_l2": 2.45 * a_l1 - 0.11,
        "a_l2": a_l2, "da_l2": 2 * (a_l2 - 1), "dz_l2": slopes["b_l2"],
        "da_l1": 2.45 * slopes["b_l2"], "dz_l1": slopes["b_l1"]}


def test_the_arithmetic_of_backpropagation_is_the_scripts(step):
    a_l2 = step["a_l2"]
    assert (f"a_l2 grows {a_l2 * (1 - a_l2):.4f} times as much, and the cost "
            f"changes by {step['da_l2']:.4f} times that") in PROSE
    slopes = manual.gradient(manual.WEIGHTS)
    updated = manual.train_step(manual.WEIGHTS)
    shown = {**step, **{f"updated_{name}": updated[name] for name in updated},
             **{f"slope for {w}": slopes[w] for w in ("w_l1", "w_l2")}}
    for name, value in shown.items():
        line, = re.findall(rf"^{name} = (.*) = {value:.4f}$", TEXT, re.M)
        assert eval(line, {"sigmoid": manual.sigmoid, **step}
                    ) == pytest.approx(value, abs=1e-4)


def test_the_figure_of_the_step_shows_the_same(step):
    shown = " ".join(texts(diagrams.draw_step()))
    for name, value in {**step, "cost": (step["a_l2"] - 1) ** 2}.items():
        assert f"{name} {value:.4f}" in shown
    for name, slope in manual.gradient(manual.WEIGHTS).items():
        assert f"slope for {name}: {slope:.4f}" in shown
        assert f"{name} = {manual.WEIGHTS[name]}" in shown


@pytest.mark.parametrize("name", NETS)
def test_a_structure_has_the_sizes_and_parameters_of_its_layers(name):
    net = NETS[name]()
    shown = texts(diagrams.draw_structure(net))
    assert "image 28x28" in shown and "10 units" in shown
    for layer_name, layer in net.named_children():
        count = sum(weights.numel() for weights in layer.parameters())
        assert f"{layer_name} {count:,}" in shown
        if isinstance(layer, nn.Linear):
            assert f"{layer.out_features:,} units" in shown
    maps = [text for text in shown if "maps" in text]
    assert maps == {
        "dense": [], "basic_conv": ["20 maps 24x24", "20 maps 12x12"]}.get(
            name, ["20 maps 24x24", "20 maps 12x12", "40 maps 8x8",
                   "40 maps 4x4"])


def test_dropout_is_drawn_as_the_session_has_it(final_net, test_data):
    state = torch.random.get_rng_state()
    shown = texts(diagrams.draw_dropout(final_net, *test_data[947]))
    assert torch.equal(torch.random.get_rng_state(), state)
    answers = [text for text in shown if re.fullmatch(r"\d \(0\.\d\d\)", text)]
    digits, = re.findall(r"asked.argmax\(dim=1\)\ntensor\((.*)\)", TEXT)
    percents, = re.findall(r"asked.amax.*\n\[(.*)\]", TEXT)
    assert sorted(answers) == sorted(
        f"{digit} ({float(probability):.2f})" for digit, probability in zip(
            [*digits[1:-1].split(", "), "9"],
            [*percents.split(", "), "0.57"], strict=True))
