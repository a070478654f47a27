"""Draws ten digits with a trembling pen, and how two ways read them.

    python tests/draw_digits.py

Each digit has its own paper or board, uneven light and noise. The same seed
draws the same pictures. Four of them are kept in tests/digits/, and a figure
of all ten in results/digits.png: what a net gets if a picture is only shrunk
and inverted, and what it gets from read_digit.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torchvision.transforms import ToTensor

ROOT = Path(__file__).resolve().parents[1]
RESULTS, FOLDER = ROOT / "results", ROOT / "tests" / "digits"
sys.path[:0] = str(ROOT), str(RESULTS)

from extras.report import figures
from extras.report import pictures
from common import predict  # noqa: E402
from extras.digits import read_digit  # noqa: E402
from extras.runs import load_weights  # noqa: E402
from pytorch_mnist_convnet import (  # noqa: E402
    ConvNetTwoConvTwoDenseLayersWithDropout)

KEPT = 3, 5, 6, 7
STROKES = {  # corners of each digit's strokes, in a square from 0 to 1
    0: [[(.5, 0), (.2, .1), (.1, .5), (.2, .9), (.5, 1), (.8, .9), (.9, .5),
         (.8, .1), (.5, 0)]],
    1: [[(.35, .2), (.6, 0), (.55, .5), (.5, 1)]],
    2: [[(.15, .2), (.4, 0), (.75, .1), (.8, .3), (.5, .65), (.1, 1),
         (.5, .95), (.9, 1)]],
    3: [[(.15, .1), (.5, 0), (.8, .15), (.7, .4), (.4, .5), (.75, .55),
         (.85, .8), (.5, 1), (.1, .9)]],
    4: [[(.6, 0), (.3, .35), (.1, .65), (.5, .65), (.9, .6)],
        [(.7, .35), (.65, .7), (.6, 1)]],
    5: [[(.8, 0), (.25, .05), (.2, .45), (.6, .4), (.85, .65), (.6, .95),
         (.15, .95)]],
    6: [[(.7, 0), (.35, .25), (.15, .65), (.3, .95), (.65, .95), (.8, .7),
         (.55, .5), (.2, .65)]],
    7: [[(.1, .05), (.5, .02), (.9, 0), (.65, .45), (.45, 1)]],
    8: [[(.75, .15), (.5, 0), (.25, .15), (.4, .4), (.7, .6), (.8, .85),
         (.5, 1), (.2, .85), (.3, .6), (.6, .4), (.75, .15)]],
    9: [[(.8, .25), (.5, .45), (.2, .3), (.35, .05), (.7, .05), (.8, .25),
         (.75, .6), (.6, 1)]],
}
PAPERS = (  # shade of the paper and the ink, width of the pen, side
    (225, 40, .05, 240), (205, 70, .09, 320), (45, 215, .07, 280),
    (240, 110, .03, 400), (70, 200, .1, 200))


def curve(corners, rng):
    """Returns the points (n, 2) of a trembling curve near the corners."""
    corners = np.array(corners) + rng.normal(0, .015, (len(corners), 2))
    time = np.linspace(0, len(corners) - 1, 400)
    points = np.stack([np.interp(time, range(len(corners)), column)
                       for column in corners.T], axis=1)
    window = np.hanning(61) / np.hanning(61).sum()  # rounds the corners
    padded = np.pad(points, ((30, 30), (0, 0)), "edge")
    points = np.stack([np.convolve(column, window, "valid")
                       for column in padded.T], axis=1)
    tremble = np.cumsum(rng.normal(0, .0015, points.shape), axis=0)
    return points + tremble


def draw_digit(digit, rng):
    """Returns a picture of the digit, in grey."""
    paper, ink, width, side = PAPERS[digit % len(PAPERS)]
    sheet = Image.new("L", (side, side))
    pen, size = ImageDraw.Draw(sheet), side * rng.uniform(.45, .65)
    corner = rng.uniform(.1, .3, 2) * side
    radius = width * size / 2
    for corners in STROKES[digit]:
        for x, y in curve(corners, rng) * (.7 * size, size) + corner:
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)
    mask = np.array(sheet) / 255
    y, x = np.mgrid[0:side, 0:side] / side - .5
    light = 1 + rng.uniform(-.15, .15) * x + rng.uniform(-.15, .15) * y
    picture = (paper + (ink - paper) * mask) * light
    picture += rng.normal(0, 4, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def draw_digits(folder, seed=0):
    """Draws the ten digits into a folder; returns their ten paths."""
    rng, paths = np.random.default_rng(seed), []
    for digit in range(10):
        paths.append(Path(folder, f"{digit}.jpg"))
        draw_digit(digit, rng).save(paths[-1], quality=85)
    return paths


def shrink_picture(path):
    """Returns a picture as an image (1, 28, 28) the usual way: grey, 28x28
    pixels, and inverted if it is light. What fails here is not the net."""
    image = ToTensor()(Image.open(path).convert("L").resize((28, 28)))
    return 1 - image if image.mean() > 0.5 else image


WAYS = {"only shrunk": shrink_picture, "read_digit": read_digit}


def main():
    """Draws the pictures and the figure again."""
    net = ConvNetTwoConvTwoDenseLayersWithDropout()
    load_weights(net, RESULTS / "double_fc_dropout-seed0.pt")
    with tempfile.TemporaryDirectory() as folder:
        paths, ways = draw_digits(folder), {}
        for name, read in WAYS.items():
            images = torch.stack([read(path) for path in paths])
            ways[name] = images, predict(net, images)
            right = ways[name][1] == torch.arange(10)
            print(f"{name}: {right.sum()} of 10 read right")
        figure = pictures.draw_digits([Image.open(path) for path in paths],
                                      ways)
        (RESULTS / "digits.png").write_bytes(figures.png(figure))
        FOLDER.mkdir(exist_ok=True)
        for digit in KEPT:
            shutil.copy(paths[digit], FOLDER)


if __name__ == "__main__":
    main()
