"""Reads a picture of a digit as MNIST would show it.

    image = read_digit("seven.jpg")  # (1, 28, 28) float32, from 0 to 1
    answers = predict(net, image[None])

On its way a picture is

    grey  (height, width) from 0 (black) to 1; the longer side has 200 pixels
    ink   (height, width) from 0 (paper or board) to 1 (pen or chalk)
"""

import warnings
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from common import IMAGE_WIDTH

SIDE = 200  # pixels, to which every picture is scaled
PENS = 1.5, 4  # how wide most of MNIST's pens are, in its pixels
FORMATS = "PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"
MEGABYTES, MEGAPIXELS, SCANS = 30, 20, 30  # what is read within a second
JPEG_MEGAPIXELS = 50  # most of which are never decoded


def read_digit(path):
    """Returns the digit in a picture file as an image (1, 28, 28).

    The picture shows one digit, dark on light or light on dark. Raises OSError
    if the file cannot be read, FileNotFoundError if there is none; and
    ValueError, which says what is wrong, if it holds no readable digit.
    """
    with open(path, "rb") as file:
        content = file.read(MEGABYTES * 10**6 + 1)
    try:
        return place_digit(keep_digit(remove_paper(read_grey(content))))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


# The picture

def read_grey(content):
    """Returns the grey of the picture in a file's content (bytes), turned
    upright by its EXIF tag."""
    check_file(content)
    with blaming_damage():
        picture = Image.open(BytesIO(content), formats=FORMATS)
    check_size(picture)
    with blaming_damage():
        picture.draft(None, (2 * SIDE, 2 * SIDE))  # for a JPEG: decode less
        picture.load()
        picture = turn_upright(picture)
        deep = picture.mode[0] in "IF"  # more than 8 bits a pixel
        return stretch(picture) if deep else flatten(picture)


@contextmanager
def blaming_damage():
    """Silences Pillow's warnings, and raises ValueError for its errors: damage
    makes it raise nearly anything."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise ValueError(f"it is not a {'/'.join(FORMATS)} picture, or "
                         "it is damaged; save it as JPEG or PNG") from error
    except Image.DecompressionBombError as error:
        raise ValueError("it has far too many pixels; make it smaller, to "
                         f"{MEGAPIXELS} megapixels") from error
    except Exception as error:
        raise ValueError(f"it is damaged ({error}); save it again") from error


def check_file(content):
    """Raises ValueError if the content of a file cannot be read, or not in
    good time."""
    if len(content) > MEGABYTES * 10**6:
        raise ValueError(f"it has more than {MEGABYTES} megabytes; make it "
                         "smaller")
    if content[4:8] == b"ftyp":
        raise ValueError("it is a HEIC, AVIF or video file; save the picture "
                         "as JPEG or PNG")
    scans = content.count(b"\xff\xda")
    if content[:2] == b"\xff\xd8" and scans > SCANS:
        raise ValueError(f"it is a JPEG of {scans} scans, more than {SCANS}; "
                         "save it again")


def check_size(picture):
    """Raises ValueError if a picture has too few or too many pixels."""
    width, height = picture.size
    if min(width, height) < max(8, max(width, height) / 25):
        raise ValueError(f"{width}x{height} pixels are too few; each side "
                         "needs at least 8, and a 25th of the other side")
    limit = MEGAPIXELS
    if picture.format in ("JPEG", "MPO") and "progressive" not in picture.info:
        limit = JPEG_MEGAPIXELS
    if width * height > limit * 10**6:
        raise ValueError(f"{width}x{height} pixels are too many; make it "
                         f"smaller, to {limit} megapixels")


def turn_upright(picture):
    """Returns the picture (PIL) as its EXIF tag says, if that is readable."""
    try:
        return ImageOps.exif_transpose(picture)
    except MemoryError:
        raise
    except Exception:  # the tag is damaged; the pixels need not be
        return picture


def flatten(picture):
    """Returns the grey of a picture (PIL) of 8 bits, on black or on white if
    it is transparent: whichever shows more."""
    mode = "RGBA" if picture.has_transparency_data else "L"
    picture = ImageOps.contain(picture.convert(mode), (SIDE, SIDE))
    grey, alpha = np.moveaxis(np.asarray(picture.convert("LA")) / 255, 2, 0)
    on_black = grey * alpha
    return max(on_black, on_black + (1 - alpha), key=np.std)


def stretch(picture):
    """Returns the grey of a picture (PIL) of numbers of any range. Infinite
    ones and nan become the median; one above or below all eight around it is
    clipped to the nearest of them."""
    scale = max(1, max(picture.size) // SIDE)
    grey = np.array(picture.convert("F").reduce(scale), dtype=float)
    finite = np.isfinite(grey)
    grey[~finite] = np.median(grey[finite]) if finite.any() else 0
    grey = grey.clip(ndimage.rank_filter(grey, 1, 3, mode="mirror"),
                     ndimage.rank_filter(grey, -2, 3, mode="mirror"))
    grey = (grey - grey.min()) / (np.ptp(grey) or 1)
    picture = Image.fromarray(grey.astype(np.float32))
    return np.array(ImageOps.contain(picture, (SIDE, SIDE)), dtype=float)


# The digit

def remove_paper(grey):
    """Returns the ink of a picture.

    A top-hat takes away what is wider than half the picture: the paper, its
    light and shadow. It is white for chalk on a board, black for a dark pen.
    """
    reach = min(grey.shape) // 4
    inner, size = (slice(reach, -reach),) * 2, 2 * reach + 1
    wide = np.pad(grey, reach, "reflect", reflect_type="odd")  # light goes on
    wide = ndimage.uniform_filter(wide.clip(grey.min(), grey.max()), 3)
    dark = ndimage.morphological_laplace(wide, size)[inner]
    is_board = dark[frame(grey.shape, min(grey.shape) // 3)].sum() >= 0
    top_hat = ndimage.white_tophat if is_board else ndimage.black_tophat
    ink = top_hat(wide, size)[inner]
    paper = ink[ink <= (ink.min() + ink.max()) / 2]
    lowest, usual = np.quantile(paper, [0.1, 0.5])
    ink = ink - usual
    level = np.median(ink[ink >= ink.max() / 4])  # of faint strokes, too
    if not level > max(0.02, 3 * (usual - lowest)):  # the paper's noise
        raise ValueError("it is blank, or too faint; write with more contrast")
    return (ink / level).clip(0, 1)


def frame(shape, width):
    """Returns the pixels (height, width) bool that are near the border."""
    near = np.ones(shape, dtype=bool)
    near[width:-width, width:-width] = False
    return near


def keep_digit(ink):
    """Returns the ink without specks and the table's edge.

    A speck has less than a tenth of the largest shape's area. A shape that
    touches the border is an edge if nearly all of it lies near the border,
    unless only specks remain without it.
    """
    dark = ink > 0.5
    labels, count = ndimage.label(ndimage.maximum_filter(dark, 3),
                                  np.ones((3, 3)))  # across small gaps
    numbers = range(1, count + 1)
    areas = ndimage.sum_labels(dark, labels, numbers)
    near = frame(ink.shape, min(ink.shape) // 8)
    edge = ndimage.sum_labels(dark & near, labels, numbers) > 0.85 * areas
    edge &= np.isin(numbers, labels[frame(ink.shape, 1)])
    inner = np.where(edge, 0, areas)
    if inner.max() > 0.1 * areas.max():
        areas = inner
    kept = areas > 0.1 * areas.max()
    shapes = ndimage.find_objects(labels)
    check_single([shape for shape, keep in zip(shapes, kept) if keep])
    return ink * np.append(False, kept)[labels]


def check_single(shapes):
    """Raises ValueError if shapes, pairs of slices, are several digits: nearly
    as tall as the tallest, and side by side. A digit's pieces are not."""
    tallest = max(rows.stop - rows.start for rows, _ in shapes)
    digits, end = 0, 0
    for rows, columns in sorted(shapes, key=lambda shape: shape[1].stop):
        if rows.stop - rows.start >= 0.7 * tallest and columns.start >= end:
            digits, end = digits + 1, columns.stop
    if digits > 1:
        raise ValueError(f"it shows {digits} digits side by side; crop it to "
                         "one, or, if it is one, join its strokes")


def place_digit(ink):
    """Returns the ink of a digit as an image (1, 28, 28): scaled to fit 20x20
    pixels, with its centre of mass in the middle."""
    ink = crop(set_pen(crop(ink)))
    side = max(ink.shape)
    if ink.sum() > 0.6 * side**2:  # no MNIST image has more
        raise ValueError("it shows a blot; write with a thinner pen, and let "
                         "the paper fill the picture")
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
    pen = 4 * inside[inside > 0].mean() - 2  # the mean is a quarter, and 1/2
    pixel = (max(ink.shape) - 2 * (SIDE // 10)) / 20
    excess = pen - np.clip(pen, PENS[0] * pixel, PENS[1] * pixel)
    return 1.0 * (inside - outside > excess / 2) if excess else ink


def crop(ink):
    """Returns the part of the ink that is darker than half."""
    if not (ink > 0.5).any():
        raise ValueError("it shows no digit; write a larger one")
    return ink[ndimage.find_objects((ink > 0.5).astype(int))[0]]
