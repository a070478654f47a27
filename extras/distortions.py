"""Training images that are distorted anew each time they are used.

After Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural
Networks Applied to Visual Document Analysis" (2003): a digit that is turned,
stretched, slanted and moved a little, and whose strokes waver as if drawn by
another hand, is still the same digit. The sigma of 4 pixels is theirs; the
strength of each distortion is our choice.

    >>> loader = DistortedLoader(get_dataset())
    >>> accuracies = train_and_test_network(net, train_loader=loader)

Each pixel of a distorted image is looked up at a place of the original. A
place is a pair (x, y), in pixels from the middle of the image, rightward and
downward; the places of the pixels run from -13.5 to 13.5.
"""

from math import ceil, radians

import torch
from torch.nn.functional import grid_sample

from common import BATCH_SIZE, IMAGE_WIDTH, get_loader

ROTATION = 10      # degrees, at most, to either side
SCALE = 0.1        # of the width and of the height, at most, each on its own
SHEAR = 0.1        # pixels sideways for each pixel downward, at most
SHIFT = 1.5        # pixels, at most, along each axis
ELASTIC_RMS = 0.7  # pixels, root mean square, along each axis
ELASTIC_SIGMA = 4  # pixels, of the Gaussian that smooths the displacements
MIDDLE = (IMAGE_WIDTH - 1) / 2  # of an image, in pixels from its first


class DistortedLoader:
    """A loader of (images, labels) batches, shuffled, whose images are
    distorted, in batches of ten; the last may be smaller.

    Takes any map-style dataset of images (1, 28, 28). Each epoch draws a new
    order and new distortions from torch's global random generator.
    """
    def __init__(self, dataset):
        # distorting 1,000 images at once takes less time
        self.blocks = get_loader(dataset, 100 * BATCH_SIZE)
        self.count = len(dataset)

    def __len__(self):
        return ceil(self.count / BATCH_SIZE)

    def __iter__(self):
        for images, labels in self.blocks:
            yield from zip(distort(images).split(BATCH_SIZE),
                           labels.split(BATCH_SIZE))


def distort(images):
    """Returns the images (B, 1, 28, 28), each distorted differently.

    The result has their type and device; background, 0, enters from outside.
    The random numbers are those of torch's global generator for the CPU.
    Raises ValueError for images of another size.
    """
    if images.shape[1:] != (1, IMAGE_WIDTH, IMAGE_WIDTH):
        raise ValueError("images must be (B, 1, 28, 28), not "
                         f"{tuple(images.shape)}")
    count = len(images)
    places = (draw_affine_maps(count) @ pixels()).unflatten(
        2, (IMAGE_WIDTH, IMAGE_WIDTH))           # (B, 2, 28, 28)
    places += draw_displacements(count)
    grid = places.movedim(1, -1).div(MIDDLE)     # (B, 28, 28, 2), -1 to 1
    return grid_sample(images, grid.to(images), "bilinear", "zeros",
                       align_corners=True)


def pixels():
    """Returns the places of all pixels, row by row, above a row of ones: the
    columns of (3, 784) are (x, y, 1)."""
    line = torch.arange(IMAGE_WIDTH) - MIDDLE
    y, x = torch.cartesian_prod(line, line).T
    return torch.stack([x, y, torch.ones_like(x)])


def draw_affine_maps(count):
    """Returns random maps (count, 2, 3), which take the place (x, y, 1) of a
    pixel to where it is looked up: scaled, sheared, rotated, then shifted."""
    most = torch.tensor([radians(ROTATION), SCALE, SCALE, SHEAR, SHIFT, SHIFT])
    turn, wider, taller, shear, right, down = (
        most[:, None] * (2 * torch.rand(6, count) - 1))
    cos, sin = turn.cos(), turn.sin()
    width, height = 1 + wider, 1 + taller
    return torch.stack([
        cos / width, (shear * cos - sin) / height, right,
        sin / width, (shear * sin + cos) / height, down,
    ], dim=1).view(count, 2, 3)


def draw_displacements(count):
    """Returns smooth random displacements (count, 2, 28, 28) in pixels, of x
    and of y: white noise, smoothed by a Gaussian.

    After so much smoothing, noise at one point every ELASTIC_SIGMA pixels is
    as good as at every pixel (no correlation differs by more than 0.0002), and
    takes a tenth of the time.
    """
    reach = MIDDLE + 2 * ELASTIC_SIGMA  # noise beyond the edges counts too
    points = torch.arange(-reach, reach + ELASTIC_SIGMA, ELASTIC_SIGMA)
    away = torch.arange(IMAGE_WIDTH)[:, None] - MIDDLE - points
    smooth = torch.exp(-(away / ELASTIC_SIGMA) ** 2 / 2)  # (28, 12)
    smooth /= smooth.norm(dim=1, keepdim=True)  # variance 1 at every pixel
    noise = torch.randn(count, 2, len(points), len(points))
    return ELASTIC_RMS * (smooth @ noise @ smooth.T)
