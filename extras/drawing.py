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
from matplotlib.figure import Figure
from matplotlib.widgets import Button
from PIL import Image, ImageDraw
from torch import nn
from torchvision.utils import make_grid

from common import IMAGE_WIDTH, compute_outputs, device_of
from extras.digits import SIDE, find_digit

PEN = 12  # pixels wide, on a sheet of SIDE
SEVEN = (60, 45), (140, 42), (95, 160)
BLANK = torch.zeros(1, IMAGE_WIDTH, IMAGE_WIDTH)


def draw(net, scores=True):
    """Opens a window in which to draw for a net, and returns its Paper, which
    must be kept in interactive mode. Its outputs become probabilities if they
    are scores. Raises ScreenError if no window can be opened."""
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
    paper.pen = SEVEN[0]
    for point in SEVEN:
        paper.draw_line(point)
    paper.update()
    return paper.figure


class Paper:
    """A figure in which the mouse draws, and what follows its strokes.

    sheet  (PIL) black on white, SIDE pixels wide and high
    pen    where the pen is on the sheet; None while it is up
    """
    def __init__(self, figure, net, scores=True):
        self.figure, self.net, self.scores = figure, net, scores
        self.convolution = next((layer for layer in net.modules()
                                 if isinstance(layer, nn.Conv2d)), None)
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
        self.background = None  # all that does not change
        self.clear()

    def add_contents(self):
        """Adds the pictures and bars that update changes."""
        self.shown = {}
        for name, title, blank in (
                ("sheet", "draw a digit", np.zeros((SIDE, SIDE))),
                ("image", "what the net sees", BLANK[0].numpy()),
                ("maps", "its first convolution, above 0", None)):
            if name in self.axes:
                self.shown[name] = self.axes[name].imshow(
                    self.compute_maps(BLANK) if blank is None else blank,
                    "Greys", vmin=0, vmax=1, interpolation="nearest",
                    animated=True)
                self.axes[name].set(xticks=[], yticks=[], title=title)
                self.axes[name].spines[:].set_visible(False)
        self.bars = self.axes["bars"].bar(range(10), [0] * 10, animated=True)
        self.reason = self.axes["image"].text(
            1, 14, "", va="center", animated=True)
        self.axes["bars"].set(
            xticks=range(10), ylim=(0, 1),
            title="probabilities" if self.scores else "outputs")

    def clear(self, event=None):
        """Takes a new sheet."""
        self.sheet, self.pen = Image.new("L", (SIDE, SIDE), 255), None
        self.update()

    def press_key(self, event):
        """Takes a new sheet if the key is c."""
        if event.key == "c":
            self.clear()

    def put_down(self, event):
        """Puts the pen down where the mouse is, if that is on the sheet."""
        if event.inaxes is self.axes["sheet"]:
            self.pen = event.xdata, event.ydata
            self.move(event)

    def move(self, event):
        """Draws to where the mouse is, if the pen is down."""
        if self.pen and event.inaxes is self.axes["sheet"]:
            self.draw_line((event.xdata, event.ydata))
            self.update()

    def lift(self, event):
        """Lifts the pen."""
        self.pen = None

    def draw_line(self, end):
        """Draws from the pen to a point (x, y), where the pen then is."""
        sheet, (x, y), radius = ImageDraw.Draw(self.sheet), end, PEN / 2
        sheet.line((self.pen, end), 0, PEN)
        sheet.ellipse((x - radius, y - radius, x + radius, y + radius), 0)
        self.pen = end

    def update(self):
        """Shows the sheet, and what the net makes of it."""
        grey = np.asarray(self.sheet) / 255
        try:
            image, reason = find_digit(grey), ""
        except ValueError as error:
            image, reason = BLANK, fill(str(error), 24)
        outputs = compute_outputs(self.net, image[None])[0]
        if self.scores:
            outputs = outputs.softmax(dim=0)
        for bar, height in zip(self.bars, outputs.tolist()):
            bar.set_height(0 if reason else height)
        self.reason.set_text(reason)
        self.shown["sheet"].set_data(1 - grey)
        self.shown["image"].set_data(image[0].numpy())
        if "maps" in self.shown:
            self.shown["maps"].set_data(self.compute_maps(image))
        if self.background:  # drawing only what changes is ten times as fast
            self.figure.canvas.restore_region(self.background)
            self.draw_changes()
            self.figure.canvas.blit(self.figure.bbox)

    @torch.no_grad()
    def compute_maps(self, image):
        """Returns the maps of the net's first convolution, side by side."""
        maps = self.convolution(image[None].to(device_of(self.net)))
        return make_grid(maps.clamp(min=0).cpu().movedim(1, 0), 4)[0].numpy()

    def keep_background(self, event):
        """Keeps what does not change, each time the window is redrawn."""
        self.background = event.canvas.copy_from_bbox(self.figure.bbox)
        self.draw_changes()

    def draw_changes(self):
        """Draws all that update changes."""
        for artist in *self.shown.values(), *self.bars, self.reason:
            artist.axes.draw_artist(artist)
