"""Distorted training images: each component of the distortion, and the
loader."""

from copy import copy

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch.utils.data import Subset

from extras import distortions

COMPONENTS = "ROTATION", "SCALE", "SHEAR", "SHIFT", "ELASTIC_RMS"


@pytest.fixture
def only(monkeypatch):
    """Turns off all components of the distortion but those it is given."""
    def turn_off_others(*components):
        for name in set(COMPONENTS).difference(components):
            monkeypatch.setattr(distortions, name, 0)
    return turn_off_others


@pytest.fixture
def digits(train_data):
    return train_data.data[:30, None] / 255


def moments(width, height):
    """Returns the middle x, y and the variances xx, xy, yy of 500 distortions
    of a Gaussian blob."""
    line = torch.arange(28.0) - 13.5
    blob = torch.exp(-((line / width) ** 2 + (line[:, None] / height) ** 2)/2)
    mass = distortions.distort(blob.expand(500, 1, 28, 28)).squeeze(1)
    mass = mass / mass.sum(dim=(1, 2), keepdim=True)
    x, y = mass.sum(dim=1) @ line, mass.sum(dim=2) @ line
    right, down = line - x[:, None], line - y[:, None]
    return (x, y, (mass.sum(dim=1) * right ** 2).sum(dim=1),
            torch.einsum("byx,by,bx->b", mass, down, right),
            (mass.sum(dim=2) * down ** 2).sum(dim=1))


def assert_fills(values, most, slack):
    """Asserts that values spread evenly from -most to most."""
    assert values.abs().max() < most * (1 + slack)
    assert values.max() > 0.9 * most and values.min() < -0.9 * most
    assert values.mean().abs() < 0.1 * most
    assert abs(values.std() / most - 3 ** -0.5) < 0.05


def correlation(x, y):
    return torch.stack([x.flatten(), y.flatten()]).corrcoef()[0, 1].abs()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_input_stays_and_the_result_is_alike(digits, dtype, only):
    digits = digits.to(dtype)
    before = digits.clone()
    distorted = distortions.distort(digits)
    assert torch.equal(digits, before)
    assert distorted.shape == digits.shape and distorted.dtype == dtype
    assert distorted.min() >= 0 and distorted.max() < 1 + 1e-6
    assert abs(distorted.mean() / digits.mean() - 1) < 0.05
    only()  # nothing changes nothing
    torch.testing.assert_close(distortions.distort(digits), digits,
                               rtol=0, atol=1e-5)


def test_background_is_0(only):
    assert not distortions.distort(torch.zeros(50, 1, 28, 28)).any()
    only("SHIFT")
    distorted = distortions.distort(torch.ones(50, 1, 28, 28))
    assert distorted[:, :, 2:-2, 2:-2].min() > 1 - 1e-6
    assert (distorted.amin(dim=(1, 2, 3)) < 1).all()  # it enters at a side


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 784), (3, 1, 32, 32)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(B, 1, 28, 28\), not \(3, "):
        distortions.distort(torch.rand(shape))


def test_shift(only):
    only("SHIFT")
    x, y, *_ = moments(3, 3)
    assert_fills(x, 1.5, slack=0.001)
    assert_fills(y, 1.5, slack=0.001)
    assert correlation(x, y) < 0.1


def test_rotation(only):
    only("ROTATION")
    x, y, xx, xy, yy = moments(4, 2)
    assert_fills(torch.rad2deg(torch.atan2(2 * xy, xx - yy) / 2), 10, 0.02)
    assert x.abs().max() < 0.01 and y.abs().max() < 0.01
    assert (xx + yy - 20).abs().max() < 0.6  # only interpolation blurs


def test_scale(only):
    only("SCALE")
    x, y, xx, xy, yy = moments(3, 3)
    width, height = xx.sqrt() / 3 - 1, yy.sqrt() / 3 - 1
    for growth in width, height:
        assert_fills(growth - growth.mean(), 0.1, slack=0.1)
        assert growth.mean().abs() < 0.02  # interpolation blurs a little
    assert correlation(width, height) < 0.1
    assert max(x.abs().max(), y.abs().max(), xy.abs().max()) < 0.01


def test_shear(only):
    only("SHEAR")
    x, y, _, xy, yy = moments(3, 3)
    assert_fills(xy / yy, 0.1, slack=0.01)
    assert x.abs().max() < 0.01 and y.abs().max() < 0.01
    assert (yy - 9).abs().max() < 0.01  # no pixel moves up or down


def test_displacements_are_those_of_a_gaussian_filter():
    """Their size, everywhere alike, and their correlation by distance."""
    ours = distortions.draw_displacements(1500)
    assert correlation(ours[:, 0], ours[:, 1]) < 0.05
    noise = np.random.default_rng(0).standard_normal((1500, 60, 60))
    filtered = gaussian_filter(noise, (0, 4, 4))[:, 16:-16, 16:-16]
    filtered *= 0.7 * 4 * (4 * np.pi) ** 0.5  # the filter shrinks the noise
    for fields in ours.flatten(0, 1).numpy(), filtered:
        rms = (fields ** 2).mean(axis=0) ** 0.5
        np.testing.assert_allclose(rms.mean(), 0.7, rtol=0.015)
        np.testing.assert_allclose(rms, 0.7, rtol=0.09)  # at the edges too
        for lag in 1, 4, 12, 20:
            for first, second in (
                    (fields[:, 0], fields[:, lag]),  # from the edge inward
                    (fields[:, 0, :-lag], fields[:, 0, lag:]),  # along it
                    (fields[:, 14, :-lag], fields[:, 14, lag:]),
                    (fields[:, :-lag, 14], fields[:, lag:, 14])):
                np.testing.assert_allclose(
                    (first * second).mean() / 0.7 ** 2,
                    np.exp(-lag ** 2 / (4 * 4 ** 2)), atol=0.06)


def test_pixels_are_looked_up_as_scipy_does(digits):
    """In its words: order 1, with zeros all around."""
    torch.manual_seed(3)
    maps = distortions.draw_affine_maps(30).numpy()
    moves = distortions.draw_displacements(30).numpy()
    torch.manual_seed(3)
    distorted = distortions.distort(digits)
    row, column = np.indices((28, 28))
    pixels = column - 13.5, row - 13.5, np.ones((28, 28))
    for image, result, affine, move in zip(digits, distorted, maps, moves):
        x, y = np.tensordot(affine, pixels, axes=1) + move + 13.5
        expected = map_coordinates(image[0].numpy(), [y, x], order=1,
                                   mode="grid-constant")
        np.testing.assert_allclose(result[0], expected, atol=1e-4)


@pytest.mark.parametrize("size", [1, 10, 64, 1500])
def test_an_epoch_has_every_image_once_with_its_label(train_data, size):
    """Grey images, which keep their shade however they are distorted."""
    grey = torch.arange(1605)
    data = copy(train_data)
    data.data = (grey % 256).byte()[:, None, None].expand(-1, 28, 28)
    data.targets = grey
    for dataset in (Subset(data, range(1605)),
                    [(data[i][0].double(), i) for i in range(105)]):
        count = len(dataset)
        loader = distortions.get_distorted_loader(dataset, size)
        images, labels = zip(*loader)
        full, rest = divmod(count, size)
        assert [*map(len, labels)] == [size] * full + [rest] * (rest > 0)
        assert len(loader) == len(labels)
        images, labels = torch.cat(images), torch.cat(labels)
        assert images.shape == (count, 1, 28, 28)
        assert labels.tolist() != list(range(count))  # shuffled
        assert labels.sort().values.tolist() == list(range(count))
        assert images.dtype == dataset[0][0].dtype
        assert (images[:, 0, 14, 14] * 255 - labels % 256).abs().max() < 1e-3


def test_every_use_differs_and_a_seed_repeats_it(train_data):
    def epoch():
        return torch.cat([images for images, _ in loader])

    loader = distortions.get_distorted_loader(Subset(train_data, [0] * 40))
    torch.manual_seed(1)
    first, state, second = epoch(), torch.get_rng_state(), epoch()
    assert torch.pdist(torch.cat([first, second]).flatten(1)).min() > 0.5
    torch.manual_seed(1)
    assert torch.equal(epoch(), first)
    torch.set_rng_state(state)  # as a checkpoint does
    assert torch.equal(epoch(), second)
