"""A window in which to draw a digit, and to watch what a net makes of it.

    from extras.drawing import draw
    draw(net)

Draw with the mouse; the button, or the key c, clears the paper. Beside it are
the image that the net sees, its ten outputs, and the maps of its first
convolution, if it has one.
"""

from textwrap import fill

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.widgets import Button
from PIL import Image
from torch import nn
from torchvision.utils import make_grid

from common import IMAGE_WIDTH, compute_outputs, device_of
from extras.digits import find_digit, grey_of

PEN = 0.06  # its width, as a part of the sheet's
LIFTED = float("nan"), float("nan")
SEVEN = (0.36, 0.78), (0.66, 0.8), (0.44, 0.2)
BLANK = torch.zeros(1, IMAGE_WIDTH, IMAGE_WIDTH)


def draw(net, scores=True):
    """Opens a window in which to draw for a net, and returns its Paper, which
    must be kept in interactive mode. scores: whether the net's outputs are
    scores, to be shown as probabilities (not so for the dense Net). Raises
    ScreenError if no window can be opened."""
    from matplotlib import pyplot  # which looks for a screen
    with pyplot.rc_context({"toolbar": "None"}):
        figure = pyplot.figure(figsize=(8, 3.7))
    if figure.canvas.required_interactive_framework is None:
        pyplot.close(figure)
        raise ScreenError(
            "no window can be opened: it needs a screen, and a toolkit such "
            "as tkinter (on Debian or Ubuntu, apt install python3-tk)")
    paper = Paper(figure, net, scores)
    pyplot.show()
    return paper


class ScreenError(Exception):
    """There is no screen, or nothing that opens windows on it."""


def draw_seven(net):
    """Returns a figure of the window with a seven in it."""
    paper = Paper(Figure(figsize=(8, 3.7)), net)
    paper.strokes += SEVEN
    FigureCanvasAgg(paper.figure).draw()
    return paper.figure


class Paper:
    """A figure in which the mouse draws, and what follows its strokes.

    strokes  the points (x, y) that the pen draws through, from 0 to 1, with
             the point LIFTED between strokes
    """
    def __init__(self, figure, net, scores=True):
        self.figure, self.net, self.scores = figure, net, scores
        self.convolution = next((
            layer for layer in net.modules()
            if isinstance(layer, nn.Conv2d) and layer.in_channels == 1), None)
        figure.set_facecolor("0.9")
        figure.set_layout_engine("constrained", rect=(0, 0.1, 1, 0.9))
        maps = ["maps"] if self.convolution else []
        self.axes = figure.subplot_mosaic(
            [["sheet", "image", *maps], ["sheet", "bars", *maps]],
            width_ratios=(2, 1, 1.6)[:2 + len(maps)])
        self.add_contents()
        figure.draw_without_rendering()  # arranges the axes, once for all
        figure.set_layout_engine("none")
        self.button = Button(figure.add_axes((0.01, 0.02, 0.1, 0.07)),
                             "clear (c)")
        self.button.on_clicked(self.clear)
        for event, follow in (("button_press_event", self.put_down),
                              ("motion_notify_event", self.move),
                              ("button_release_event", self.lift),
                              ("key_press_event", self.press_key),
                              ("draw_event", self.keep_background)):
            figure.canvas.mpl_connect(event, follow)
        self.strokes = [LIFTED]

    def add_contents(self):
        """Adds the line, the pictures and the bars that update changes."""
        sheet, bars = self.axes["sheet"], self.axes["bars"]
        self.line, = sheet.plot([], "k", solid_capstyle="round",
                                solid_joinstyle="round", animated=True)
        sheet.set(xlim=(0, 1), ylim=(0, 1), aspect="equal",
                  title="draw a digit")
        pictures = {"image": ("what the net sees", BLANK[0].numpy())}
        if self.convolution:
            pictures["maps"] = ("what its kernels find",
                                self.compute_maps(BLANK))
        self.shown = {}
        for name, (title, pixels) in pictures.items():
            self.shown[name] = self.axes[name].imshow(
                pixels, "Greys", vmin=0, vmax=1, interpolation="nearest",
                animated=True)
            self.axes[name].set_title(title)
        for axes in sheet, *(picture.axes for picture in self.shown.values()):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        self.bars = bars.bar(range(10), [0] * 10, animated=True)
        bars.set(xticks=range(10), ylim=(0, 1),
                 title="probabilities" if self.scores else "outputs")
        self.reason = self.axes["image"].text(
            1, 14, "", va="center", fontsize=8, animated=True)

    def put_down(self, event):
        """Puts the pen down where the mouse is, if that is on the sheet."""
        if event.inaxes is self.axes["sheet"]:
            self.strokes.append((event.xdata, event.ydata))

    def move(self, event):
        """Draws to where the mouse is, if the pen is down."""
        if self.strokes[-1] is not LIFTED:
            self.put_down(event)
            self.update()

    def lift(self, event):
        """Lifts the pen."""
        self.strokes.append(LIFTED)

    def press_key(self, event):
        """Takes a new sheet if the key is c."""
        if event.key == "c":
            self.clear(event)

    def clear(self, event):
        """Takes a new sheet."""
        self.strokes = [LIFTED]
        self.update()

    def keep_background(self, event):
        """Keeps what does not change, each time the window is redrawn."""
        if event.canvas.is_saving():  # to a file, with all that does change
            return
        self.background = event.canvas.copy_from_bbox(self.figure.bbox)
        width = PEN * self.axes["sheet"].bbox.width  # in pixels
        self.line.set_linewidth(72 * width / self.figure.dpi)
        self.update()

    def update(self):
        """Shows the strokes, and what the net makes of them. Only what changes
        is drawn, which is ten times as fast."""
        canvas = self.figure.canvas
        canvas.restore_region(self.background)
        self.line.set_data(*zip(*self.strokes))
        self.line.axes.draw_artist(self.line)
        sheet = canvas.copy_from_bbox(self.line.axes.bbox)
        try:
            picture = Image.fromarray(np.asarray(sheet)).convert("L")
            image, reason = find_digit(grey_of(picture)), ""
        except ValueError as error:
            image, reason = BLANK, fill(str(error), 24)
        outputs = compute_outputs(self.net, image[None])[0]
        if self.scores:
            outputs = outputs.softmax(dim=0)
        for bar, height in zip(self.bars, outputs.tolist()):
            bar.set_height(0 if reason else height)
        self.reason.set_text(reason)
        self.shown["image"].set_data(image[0].numpy())
        if "maps" in self.shown:
            self.shown["maps"].set_data(self.compute_maps(image))
        for artist in *self.shown.values(), *self.bars, self.reason:
            artist.axes.draw_artist(artist)
        canvas.blit(self.figure.bbox)

    @torch.no_grad()
    def compute_maps(self, image):
        """Returns the maps of the net's first convolution, side by side."""
        maps = self.convolution(image[None].to(device_of(self.net)))
        return make_grid(maps.clamp(min=0).cpu().movedim(1, 0), 4)[0].numpy()
