"""A window in which to draw a digit, and to watch what a net makes of it.

    from extras.drawing import draw
    draw(net)

Draw with the mouse; the button, or the key c, clears the paper. Beside it are
the image that the net sees, its ten outputs, and, if it begins with a
convolution, the maps of that.
"""

from textwrap import fill

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.widgets import Button
from PIL import Image, ImageDraw

from common import IMAGE_WIDTH, compute_outputs
from extras.digits import SIDE, find_digit

PEN = 12  # pixels wide, on a sheet of SIDE
SEVEN = (60, 45), (140, 42), (95, 160)


def draw(net, scores=True):
    """Opens a window in which to draw for a net, until it is closed. Its
    outputs become probabilities if they are scores. Raises ValueError if no
    window can be opened."""
    from matplotlib import pyplot  # which looks for a screen
    with pyplot.rc_context({"toolbar": "None"}):
        figure = pyplot.figure(figsize=(10, 4.6))
    if figure.canvas.required_interactive_framework is None:
        pyplot.close(figure)
        raise ValueError(
            "no window can be opened: it needs a screen, and a toolkit such "
            "as tkinter (on Debian or Ubuntu, apt install python3-tk)")
    paper = Paper(figure, net, scores)
    pyplot.show()
    return paper


def draw_seven(net):
    """Returns a figure of the window with a seven in it."""
    paper = Paper(Figure(figsize=(10, 4.6)), net)
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
        self.convolution = getattr(net, "conv1", None)  # None: a dense net
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
        blank = {"sheet": np.zeros((SIDE, SIDE)),
                 "image": np.zeros((IMAGE_WIDTH, IMAGE_WIDTH)),
                 "maps": np.zeros((5 * 24, 4 * 24))}
        self.shown = {name: self.axes[name].imshow(
            grey, "Greys", vmin=0, vmax=1, interpolation="nearest",
            animated=True)
            for name, grey in blank.items() if name in self.axes}
        for name, title in (("sheet", "draw a digit"),
                            ("image", "what the net sees"),
                            ("maps", "its first convolution, above 0")):
            if name in self.axes:
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
        if event.key == "c":
            self.clear()

    def put_down(self, event):
        if event.inaxes is self.axes["sheet"]:
            self.pen = event.xdata, event.ydata
            self.move(event)

    def move(self, event):
        if self.pen and event.inaxes is self.axes["sheet"]:
            self.draw_line((event.xdata, event.ydata))
            self.update()

    def lift(self, event):
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
            image = torch.zeros(1, IMAGE_WIDTH, IMAGE_WIDTH)
            reason = fill(str(error), 24)
        outputs = compute_outputs(self.net, image[None])[0]
        if self.scores:
            outputs = outputs.softmax(dim=0)
        for bar, height in zip(self.bars, outputs.tolist()):
            bar.set_height(0 if reason else height)
        self.reason.set_text(reason)
        self.shown["sheet"].set_data(1 - grey)
        self.shown["image"].set_data(image[0].numpy())
        if self.convolution:
            maps = compute_outputs(self.convolution, image[None])[0]
            tiles = maps.clamp(min=0).view(5, 4, *maps.shape[1:])
            self.shown["maps"].set_data(torch.cat(
                [torch.cat([*row], dim=1) for row in tiles]).numpy())
        if self.background:  # drawing only what changes is ten times as fast
            self.figure.canvas.restore_region(self.background)
            self.draw_changes()
            self.figure.canvas.blit(self.figure.bbox)

    def keep_background(self, event):
        """Keeps what does not change, each time the window was drawn anew."""
        self.background = event.canvas.copy_from_bbox(self.figure.bbox)
        self.draw_changes()

    def draw_changes(self):
        for artist in *self.shown.values(), *self.bars, self.reason:
            artist.axes.draw_artist(artist)
