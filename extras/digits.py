"""Reads a picture of a digit as MNIST would show it.

    image = read_digit("seven.jpg")  # (1, 28, 28) float32, from 0 to 1
    answers = predict(net, image[None])

A picture becomes, in turn,

    grey    (height, width) from 0 (black) to 1; the longer side has 200 pixels
    ink     (height, width) from 0 (paper or board) to 1 (pen or chalk)
    shapes  (height, width) for each pixel, the number of the piece of
            connected ink that it belongs to, or 0
"""

from itertools import combinations

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from common import IMAGE_WIDTH

SIDE = 200  # pixels, to which every picture is scaled
PENS = 1.5, 4  # how wide most of MNIST's pens are, in its pixels


def read_digit(path):
    """Returns the digit in a picture file as an image (1, 28, 28).

    The picture shows one digit, dark on light or light on dark. Raises OSError
    if the file cannot be read, and ValueError, which says why, if it holds no
    readable digit.
    """
    try:
        return find_digit(read_grey(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def find_digit(grey):
    """Returns the digit in a picture's grey as an image (1, 28, 28); raises
    ValueError, which says what is wrong, if there is none."""
    return place_digit(keep_digit(remove_paper(grey)))


# The picture

def read_grey(path):
    """Returns the grey of a picture file, turned upright by its EXIF tag."""
    with open(path, "rb") as file:
        try:
            picture = Image.open(file)
            picture.draft(None, (2 * SIDE, 2 * SIDE))  # a JPEG: decode less
            upright = ImageOps.exif_transpose(picture)  # which loads it
        except UnidentifiedImageError as error:
            raise ValueError("it is not a picture, or one of an unknown format"
                             " such as HEIC; save it as JPEG or PNG"
                             ) from error
        except Image.DecompressionBombError as error:
            raise ValueError(f"make it smaller ({error})") from error
        except (OSError, RuntimeError, SyntaxError, ValueError) as error:
            raise ValueError(f"it is damaged ({error})") from error
    deep = upright.mode[0] in "IF"  # more than 8 bits a pixel
    return grey_of_deep(upright) if deep else grey_of(upright)


def grey_of(picture):
    """Returns the grey of a picture (PIL) of 8 bits, on black or on white if
    it is transparent: whichever shows more."""
    mode = "RGBA" if picture.has_transparency_data else "L"
    picture = ImageOps.contain(picture.convert(mode), (SIDE, SIDE))
    grey, alpha = np.moveaxis(np.asarray(picture.convert("LA")) / 255, 2, 0)
    on_black = grey * alpha
    return max(on_black, on_black + (1 - alpha), key=np.std)


def grey_of_deep(picture):
    """Returns the grey of a picture (PIL) of numbers of any range."""
    grey = np.asarray(picture, dtype=np.float32)
    grey = (grey - grey.min()) / (np.ptp(grey) or 1)
    picture = ImageOps.contain(Image.fromarray(grey), (SIDE, SIDE))
    return np.asarray(picture, dtype=float)


# The digit

def remove_paper(grey):
    """Returns the ink of a picture.

    A top-hat takes away what is wider than half the picture: the paper, its
    light and shadow. It is white for chalk on a board, black for a dark pen.
    """
    reach = max(min(grey.shape) // 4, SIDE // 8)  # a pen may be as wide as a 1
    inner, size = (slice(reach, -reach),) * 2, 2 * reach + 1
    wide = np.pad(grey, reach, "reflect", reflect_type="odd")  # light goes on
    wide = ndimage.uniform_filter(wide.clip(grey.min(), grey.max()), 3)
    dark = ndimage.morphological_laplace(wide, size)[inner]
    is_board = dark[margin(grey.shape, 1 / 3)].sum() >= 0
    top_hat = ndimage.white_tophat if is_board else ndimage.black_tophat
    ink = top_hat(wide, size)[inner]
    paper = ink[ink <= (ink.min() + ink.max()) / 2]
    lowest, usual = np.quantile(paper, [0.1, 0.5])
    ink = ink - usual
    level = measure_strokes(ink)
    if not level > max(0.02, 3 * (usual - lowest)):  # the paper's noise
        raise ValueError("it is blank, or too faint; write with more contrast")
    return (ink / level).clip(0, 1)


def measure_strokes(ink):
    """Returns the median ink of the strokes. Faint ink, down to a quarter of
    the darkest, counts only where it is connected to ink of at least half the
    darkest: the strokes of a 4 are, through its bar; a shadow seldom is."""
    shapes = find_shapes(ink >= ink.max() / 4)
    darkest = ndimage.maximum(ink, shapes, range(shapes.max() + 1))
    return np.median(ink[(shapes > 0) & (darkest >= ink.max() / 2)[shapes]])


def margin(shape, part):
    """Returns the pixels (height, width) bool that are near the border: nearer
    than a part of the shorter side, and at least those on it."""
    near, width = np.ones(shape, dtype=bool), max(1, int(part * min(shape)))
    near[width:-width, width:-width] = False
    return near


def keep_digit(ink):
    """Returns the ink of the digit alone; raises ValueError if there are lines
    or several digits."""
    dark = ink > 0.5
    shapes = find_shapes(ndimage.maximum_filter(dark, 3))  # across small gaps
    shapes = look_inside(shapes)
    check_lines(drop_specks(shapes, dark))
    shapes = drop_specks(drop_edges(shapes, dark), dark)
    check_single(shapes)
    return ink * (shapes > 0)


def find_shapes(dark):
    """Returns the shapes that pixels (height, width) bool form."""
    return ndimage.label(dark, np.ones((3, 3)))[0]


def find_boxes(shapes):
    """Returns the box of each shape: its slices of rows and of columns."""
    return [box for box in ndimage.find_objects(shapes) if box]


def extent(box):
    """Returns the height and the width of a box."""
    return tuple(side.stop - side.start for side in box)


def look_inside(shapes):
    """Returns the shapes inside the longest one, if that surrounds any but
    specks, as a box, a circle or a desk does; and otherwise all."""
    lengths = [max(extent(box)) for box in find_boxes(shapes)]
    ring = shapes == 1 + np.argmax(lengths)
    inside = np.where(ndimage.binary_fill_holes(ring) & ~ring, shapes, 0)
    tall = [box for box in find_boxes(inside)
            if max(extent(box)) > 0.15 * max(lengths)]
    return inside if tall else shapes


def check_lines(shapes):
    """Raises ValueError if shapes touch opposite borders three times each, as
    ruled lines do but no digit does."""
    for sides in shapes[:, [0, -1]], shapes[[0, -1]].T:
        touches = np.diff(1 * (sides > 0), axis=0, prepend=0) > 0
        if touches.sum(axis=0).min() > 2:
            raise ValueError("lines go through it from border to border; "
                             "write on plain paper")


def drop_edges(shapes, dark):
    """Returns the shapes without the table's edges: those that touch the
    border, and have nearly all their pixels near it; but all shapes if only
    specks remain."""
    areas = count_pixels(shapes, dark)
    near = count_pixels(shapes, dark & margin(dark.shape, 1 / 8))
    edge = near > 0.85 * areas
    edge &= np.isin(range(len(areas)), shapes[margin(dark.shape, 0)])
    if areas[~edge].max() <= 0.1 * areas.max():
        return shapes
    return shapes * ~edge[shapes]


def drop_specks(shapes, dark):
    """Returns the shapes of at least a tenth of the largest shape's area."""
    areas = count_pixels(shapes, dark)
    return shapes * (areas > 0.1 * areas.max())[shapes]


def count_pixels(shapes, dark):
    """Returns the number of each shape's dark pixels, and 0 for number 0."""
    return np.bincount(shapes[dark & (shapes > 0)], minlength=shapes.max() + 1)


def check_single(shapes):
    """Raises ValueError if shapes are several digits: if they lie far apart,
    or if two of them are twins. A digit's pieces are neither."""
    boxes = find_boxes(shapes)
    tallest = max(height for height, _ in map(extent, boxes))
    wider = ndimage.maximum_filter(shapes, 2 * (tallest // 8) + 1)
    groups = [box for box in find_boxes(find_shapes(wider))
              if max(extent(box)) > 0.4 * tallest]
    if len(groups) > 1 or any(are_twins(*pair, tallest)
                              for pair in combinations(boxes, 2)):
        raise ValueError("it shows several digits; crop it to one, or, if it "
                         "is one, join its strokes")


def are_twins(one, other, tallest):
    """Tells whether two boxes are nearly as tall as the tallest, and side by
    side or one above the other, with a gap."""
    heights, widths = zip(extent(one), extent(other))
    down, across = (max(a.start, b.start) - min(a.stop, b.stop)
                    for a, b in zip(one, other))  # gaps, or minus overlaps
    gap = 0.08 * tallest
    return min(heights) >= 0.7 * tallest and (
        across > gap and -down >= 0.65 * min(heights)
        or down > gap and -across >= 0.5 * min(widths))


def place_digit(ink):
    """Returns the ink of a digit as an image (1, 28, 28): scaled to fit 20x20
    pixels, with its centre of mass in the middle."""
    ink = crop(ink)
    if ink.sum() > 0.55 * max(ink.shape)**2:  # hardly any pen leaves as much
        raise ValueError("it shows a patch, not strokes; crop it to the paper "
                         "around the digit")
    ink = crop(set_pen(ink))
    side = max(ink.shape)
    height, width = (max(1, round(20 * length / side)) for length in ink.shape)
    ink = Image.fromarray(ink.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR)
    ink = np.pad(np.asarray(ink) / np.max(ink), IMAGE_WIDTH // 2)
    top, left = (round(centre) - IMAGE_WIDTH // 2
                 for centre in ndimage.center_of_mass(ink))
    image = ink[None, top:top + IMAGE_WIDTH, left:left + IMAGE_WIDTH]
    return torch.from_numpy(image.copy())


def set_pen(ink):
    """Returns the ink of a digit, whose pen is made thinner or thicker if
    MNIST has hardly any such pen."""
    ink = np.pad(ink, SIDE // 10)  # room to grow
    inside, outside = (ndimage.distance_transform_edt(part)
                       for part in (ink > 0.5, ink <= 0.5))
    pen = 4 * inside[inside > 0].mean() - 2  # the mean is pen / 4 + 1/2
    pixel = (max(ink.shape) - 2 * (SIDE // 10)) / 20
    excess = pen - np.clip(pen, PENS[0] * pixel, PENS[1] * pixel)
    return 1.0 * (inside - outside > excess / 2) if excess else ink


def crop(ink):
    """Returns the part of the ink that is darker than half."""
    return ink[ndimage.find_objects((ink > 0.5).astype(int))[0]]
