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
LAGS = 1, 2, 4, 8, 12, 20


@pytest.fixture
def only(monkeypatch):
    """Turns off all components of the distortion but those it is given."""
    def turn_off_others(*components):
        for name in set(COMPONENTS).difference(components):
            monkeypatch.setattr(distortions, name, 0)
    return turn_off_others


@pytest.fixture
def digits(train_data):
    return train_data.data[:100, None] / 255


@pytest.fixture
def numbered(train_data):
    """MNIST, with the number of each image for its label."""
    data = copy(train_data)
    data.targets = torch.arange(len(data))
    return data


def moments(stretched):
    """Returns the middle (B, 2) and the covariance (B, 2, 2), of x and y, of
    500 distortions of a Gaussian blob, as wide as high or stretched."""
    line = torch.arange(28.0) - 13.5
    width, height = (4, 2) if stretched else (3, 3)
    blob = torch.exp(-((line / width) ** 2 + (line[:, None] / height) ** 2)/2)
    mass = distortions.distort(blob.expand(500, 1, 28, 28)).flatten(1)
    mass = mass / mass.sum(dim=1, keepdim=True)
    y, x = torch.cartesian_prod(line, line).T
    places = torch.stack([x, y], dim=1)
    middle = mass @ places
    away = places - middle[:, None]
    return middle, away.mT @ (mass[:, :, None] * away)


def assert_fills(values, most, slack):
    """Asserts that values spread evenly from -most to most."""
    assert values.abs().max() < most * (1 + slack)
    assert values.max() > 0.9 * most and values.min() < -0.9 * most
    assert values.mean().abs() < 0.1 * most
    assert abs(values.std() / most - 3 ** -0.5) < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_input_stays_and_the_result_is_alike(digits, dtype):
    digits = digits.to(dtype)
    before = digits.clone()
    distorted = distortions.distort(digits)
    assert torch.equal(digits, before)
    assert distorted.shape == digits.shape and distorted.dtype == dtype
    assert distorted.min() >= 0 and distorted.max() < 1 + 1e-6
    assert abs(distorted.mean() / digits.mean() - 1) < 0.05


def test_background_is_0(only):
    assert not distortions.distort(torch.zeros(50, 1, 28, 28)).any()
    only("SHIFT")
    distorted = distortions.distort(torch.ones(50, 1, 28, 28))
    assert distorted[:, :, 2:-2, 2:-2].min() > 1 - 1e-6
    assert (distorted.amin(dim=(1, 2, 3)) < 1).all()  # it enters at a side


def test_nothing_changes_nothing(digits, only):
    only()
    torch.testing.assert_close(distortions.distort(digits), digits,
                               rtol=0, atol=1e-5)


def test_every_image_is_distorted_differently(digits):
    distorted = distortions.distort(digits[:1].expand(20, -1, -1, -1))
    apart = torch.pdist(distorted.flatten(1))
    assert apart.min() > 0.5


def test_shift(only):
    only("SHIFT")
    middle, _ = moments(stretched=False)
    for axis in 0, 1:
        assert_fills(middle[:, axis], 1.5, slack=0.001)
    assert middle.T.corrcoef()[0, 1].abs() < 0.1


def test_rotation(only):
    only("ROTATION")
    middle, covariance = moments(stretched=True)
    (xx, xy), (_, yy) = covariance.permute(1, 2, 0)
    assert_fills(torch.rad2deg(torch.atan2(2 * xy, xx - yy) / 2), 10, 0.02)
    assert middle.abs().max() < 0.01
    assert (xx + yy - 20).abs().max() < 0.6  # only interpolation blurs


def test_scale(only):
    only("SCALE")
    middle, covariance = moments(stretched=False)
    (xx, xy), (_, yy) = covariance.permute(1, 2, 0)
    width, height = xx.sqrt() / 3 - 1, yy.sqrt() / 3 - 1
    for growth in width, height:
        assert_fills(growth - growth.mean(), 0.1, slack=0.1)
        assert growth.mean().abs() < 0.02  # interpolation blurs a little
    assert torch.stack([width, height]).corrcoef()[0, 1].abs() < 0.1
    assert middle.abs().max() < 0.01 and xy.abs().max() < 0.01


def test_shear(only):
    only("SHEAR")
    middle, covariance = moments(stretched=False)
    (_, xy), (_, yy) = covariance.permute(1, 2, 0)
    assert_fills(xy / yy, 0.1, slack=0.01)
    assert middle.abs().max() < 0.01
    assert (yy - 9).abs().max() < 0.01  # no pixel moves up or down


def test_displacements_are_those_of_a_gaussian_filter():
    """Their size, everywhere alike, and their correlation by distance."""
    ours = distortions.draw_displacements(2000).flatten(0, 1).numpy()
    noise = np.random.default_rng(0).standard_normal((2000, 60, 60))
    filtered = gaussian_filter(noise, (0, 4, 4))[:, 16:-16, 16:-16]
    filtered *= 0.7 * 4 * (4 * np.pi) ** 0.5  # the filter shrinks the noise
    for fields in ours, filtered:
        rms = (fields ** 2).mean(axis=0) ** 0.5
        np.testing.assert_allclose(rms.mean(), 0.7, rtol=0.01)
        np.testing.assert_allclose(rms, 0.7, rtol=0.08)  # at the edges too
        for lag in LAGS:
            for first, second in (
                    (fields[:, 0], fields[:, lag]),  # from the edge inward
                    (fields[:, 0, :-lag], fields[:, 0, lag:]),  # along it
                    (fields[:, 14, :-lag], fields[:, 14, lag:]),
                    (fields[:, :-lag, 14], fields[:, lag:, 14])):
                np.testing.assert_allclose(
                    (first * second).mean() / 0.7 ** 2,
                    np.exp(-lag ** 2 / (4 * 4 ** 2)), atol=0.05)


def test_displacements_of_x_and_y_are_independent():
    x, y = distortions.draw_displacements(1000).transpose(0, 1)
    both = torch.stack([x.flatten(), y.flatten()])
    assert both.corrcoef()[0, 1].abs() < 0.05


def test_pixels_are_looked_up_as_scipy_does(digits):
    """In its words: order 1, with zeros all around."""
    torch.manual_seed(3)
    maps = distortions.draw_affine_maps(100).numpy()
    moves = distortions.draw_displacements(100).numpy()
    torch.manual_seed(3)
    distorted = distortions.distort(digits)
    row, column = np.indices((28, 28))
    pixels = column - 13.5, row - 13.5, np.ones((28, 28))
    for image, result, affine, move in zip(digits, distorted, maps, moves):
        x, y = np.tensordot(affine, pixels, axes=1) + move + 13.5
        expected = map_coordinates(image[0].numpy(), [y, x], order=1,
                                   mode="grid-constant")
        np.testing.assert_allclose(result[0], expected, atol=1e-4)


def test_an_epoch_has_every_image_once_with_its_label(numbered, only):
    only()
    data = Subset(numbered, range(2035))
    batches = list(distortions.get_distorted_loader(data))
    assert [len(labels) for _, labels in batches] == [10] * 203 + [5]
    images, labels = map(torch.cat, zip(*batches))
    assert labels.tolist() != list(range(2035))  # shuffled
    assert labels.sort().values.tolist() == list(range(2035))
    torch.testing.assert_close(images, numbered.data[labels, None] / 255,
                               rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_dataset_is_distorted_with_its_labels(dtype):
    """Grey images, which keep their shade however they are distorted."""
    data = [(torch.full((1, 28, 28), i / 1500, dtype=dtype), i)
            for i in range(1500)]
    images, labels = map(torch.cat, zip(
        *distortions.get_distorted_loader(data)))
    assert images.dtype == dtype and images.shape == (1500, 1, 28, 28)
    assert labels.sort().values.tolist() == list(range(1500))
    torch.testing.assert_close(images.amax(dim=(1, 2, 3)),
                               (labels / 1500).to(dtype), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 10, 64, 1500])
def test_length_and_sizes_of_batches(numbered, size):
    loader = distortions.get_distorted_loader(
        Subset(numbered, range(1605)), size)
    sizes = [len(labels) for _, labels in loader]
    full, rest = divmod(1605, size)
    assert sizes == [size] * full + [rest] * (rest > 0)
    assert len(loader) == len(sizes)


def test_each_epoch_differs_and_a_seed_repeats_it(numbered):
    def epoch():
        images, labels = map(torch.cat, zip(*loader))
        return images[labels.argsort()]

    loader = distortions.get_distorted_loader(Subset(numbered, range(1010)))
    torch.manual_seed(1)
    first = epoch()
    state = torch.get_rng_state()
    second = epoch()
    apart = (first - second).flatten(1).norm(dim=1)
    assert apart.min() > 0.1
    torch.manual_seed(1)
    assert torch.equal(epoch(), first)
    torch.set_rng_state(state)  # as a checkpoint does
    assert torch.equal(epoch(), second)
