"""The window in which one draws, moved by simulated events."""

from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.backend_bases import KeyEvent, MouseEvent
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import pytorch_mnist_convnet as convnet
import pytorch_mnist_dense as dense
from extras.drawing import SEVEN, Paper, ScreenError, draw, draw_seven
from extras.runs import find_weights, load_weights

ONE = (0.55, 0.8), (0.52, 0.5), (0.5, 0.2)


def open_paper(net, **options):
    paper = Paper(FigureCanvasAgg(Figure(figsize=(8, 3.7))).figure, net,
                  **options)
    paper.figure.canvas.draw()
    return paper


def send(paper, name, point):
    canvas = paper.figure.canvas
    place = paper.axes["sheet"].transData.transform(point)
    canvas.callbacks.process(name, MouseEvent(name, canvas, *place, 1))


def stroke(paper, points):
    send(paper, "button_press_event", points[0])
    for point in points[1:]:
        send(paper, "motion_notify_event", point)
    send(paper, "button_release_event", points[-1])


def heights(paper):
    return torch.tensor([bar.get_height() for bar in paper.bars])


@pytest.mark.parametrize("digit, points", [(1, ONE), (7, SEVEN)])
def test_the_bars_follow_the_strokes(final_net, digit, points):
    paper = open_paper(final_net)
    before = paper.figure.canvas.buffer_rgba().tobytes()
    stroke(paper, points)
    assert heights(paper).argmax() == digit and heights(paper).max() > 0.9
    assert heights(paper).sum() == pytest.approx(1)
    assert paper.shown["image"].get_array().sum() > 20
    assert paper.figure.canvas.buffer_rgba().tobytes() != before


def test_the_maps_are_of_the_first_convolution(final_net):
    paper = open_paper(final_net)
    stroke(paper, SEVEN)
    image = torch.tensor(paper.shown["image"].get_array())[None, None]
    with torch.no_grad():
        maps = final_net.conv1(image)[0].clamp(min=0)
    shown = torch.tensor(paper.shown["maps"].get_array())
    assert torch.allclose(shown[28:52, 54:78], maps[6], atol=1e-6)


@pytest.mark.parametrize("colours", [1, 3])
def test_a_net_of_your_own(colours):
    """With a convolution of another size, of grey images or coloured ones."""
    class Own(torch.nn.Sequential):
        def forward(self, images):
            return super().forward(images.expand(-1, colours, -1, -1))

    paper = open_paper(Own(torch.nn.Conv2d(colours, 6, 3), torch.nn.Flatten(),
                           torch.nn.Linear(6*26*26, 10)))
    stroke(paper, SEVEN)
    assert heights(paper).sum() == pytest.approx(1)
    assert ("maps" in paper.shown) == (colours == 1)


def test_a_dense_net_has_no_maps_and_shows_its_outputs():
    net = dense.Net()
    load_weights(net, find_weights("dense"))
    paper = open_paper(net, scores=False)
    stroke(paper, SEVEN)
    assert "maps" not in paper.shown
    assert heights(paper).argmax() == 7
    assert heights(paper).sum() != pytest.approx(1, abs=1e-4)


def test_what_cannot_be_read_says_why(final_net):
    paper = open_paper(final_net)
    assert "blank" in paper.reason.get_text() and not heights(paper).any()
    for left in 0.1, 0.6:
        stroke(paper, [(left, 0.7), (left + 0.25, 0.7), (left + 0.12, 0.3)])
    assert "several" in paper.reason.get_text() and not heights(paper).any()
    assert not paper.shown["image"].get_array().any()


@pytest.mark.parametrize("clear", [
    lambda paper: paper.figure.canvas.callbacks.process(
        "key_press_event",
        KeyEvent("key_press_event", paper.figure.canvas, "c")),
    lambda paper: paper.button._observers.process("clicked", None)],
    ids=["key", "button"])
def test_clearing(final_net, clear):
    paper = open_paper(final_net)
    stroke(paper, SEVEN)
    clear(paper)
    assert "blank" in paper.reason.get_text() and not heights(paper).any()
    stroke(paper, ONE)
    assert heights(paper).argmax() == 1


def test_the_pen_draws_only_while_it_is_down_and_on_the_sheet(final_net):
    paper = open_paper(final_net)
    blank = paper.figure.canvas.buffer_rgba().tobytes()
    send(paper, "motion_notify_event", (0.2, 0.2))
    stroke(paper, [(-0.2, 0.3), (-0.1, 0.3)])
    send(paper, "motion_notify_event", (0.5, 0.2))
    paper.update()
    assert paper.figure.canvas.buffer_rgba().tobytes() == blank


def test_saving_the_window_shows_what_is_drawn_and_leaves_it_alone(final_net):
    paper = open_paper(final_net)
    stroke(paper, SEVEN)
    before = np.array(paper.figure.canvas.buffer_rgba())
    paper.figure.savefig(file := BytesIO(), dpi=paper.figure.dpi)
    saved = np.asarray(Image.open(file)).astype(int)
    assert abs(saved - before).mean() < 0.1  # but for what hides an edge
    paper.update()
    assert (before == paper.figure.canvas.buffer_rgba()).all()


@pytest.mark.parametrize("dpi, size", [(50, (8, 3.7)), (220, (8, 3.7)),
                                       (100, (6.5, 3))])
def test_windows_and_screens_of_other_sizes(final_net, dpi, size):
    paper = open_paper(final_net)
    paper.figure.set_dpi(dpi)
    paper.figure.set_size_inches(size)
    paper.figure.canvas.draw()
    assert "blank" in paper.reason.get_text()
    stroke(paper, SEVEN)
    assert heights(paper)[7] > 0.9
    sheet = paper.axes["sheet"].bbox.width
    assert paper.line.get_linewidth() / 72 * dpi == pytest.approx(0.06 * sheet)


def test_the_example_shows_a_seven(final_net):
    canvas = FigureCanvasAgg(draw_seven(final_net))
    canvas.draw()
    bars, = (axes.patches for axes in canvas.figure.axes
             if axes.get_title() == "probabilities")
    assert bars[7].get_height() > 0.9


def test_without_a_screen(final_net):
    pyplot.switch_backend("agg")
    with pytest.raises(ScreenError, match="needs a screen.*python3-tk"):
        draw(final_net)


def test_the_command_line_without_a_screen(capsys):
    pyplot.switch_backend("agg")
    with pytest.raises(SystemExit) as stop:
        convnet.main(["--draw"])
    assert stop.value.code == 2
    assert "needs a screen" in capsys.readouterr().err.splitlines()[-1]
