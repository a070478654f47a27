"""Distorted training images: each component of the distortion, and the
loader."""

from copy import copy

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates
from torch.utils.data import Subset

from extras import distortions


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_input_stays_and_the_result_is_alike(train_data, dtype):
    digits = train_data.data[:30, None].to(dtype) / 255
    before = digits.clone()
    distorted = distortions.distort(digits)
    assert torch.equal(digits, before)
    assert distorted.shape == digits.shape and distorted.dtype == dtype
    assert distorted.min() >= 0 and distorted.max() < 1 + 1e-6
    assert abs(distorted.mean() / digits.mean() - 1) < 0.05


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 2, 28, 28),
                                   (3, 1, 32, 32)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(B, 1, 28, 28\), not \(3, "):
        distortions.distort(torch.rand(shape))


def test_maps_scale_then_shear_then_rotate_then_shift():
    """Each by an amount of its own, spread evenly over its range."""
    linear, shift = distortions.draw_affine_maps(2000).split([2, 1], dim=2)
    turn = torch.atan2(linear[:, 1, 0], linear[:, 0, 0])
    back = torch.stack([turn.cos(), turn.sin(), -turn.sin(), turn.cos()], 1)
    rest = back.view(-1, 2, 2) @ linear  # (1, shear; 0, 1) (1/w, 0; 0, 1/h)
    width, height = 1 / rest[:, 0, 0], 1 / rest[:, 1, 1]
    amounts = torch.stack([
        turn.rad2deg() / 10, (width - 1) / 0.1, (height - 1) / 0.1,
        rest[:, 0, 1] * height / 0.1, *shift.squeeze(2).T / 1.5])
    assert rest[:, 1, 0].abs().max() < 1e-6
    assert amounts.abs().max() < 1.001
    shares = torch.stack([amounts[k].histc(4, -1, 1) for k in range(6)]) / 2000
    assert (shares - 0.25).abs().max() < 0.04
    assert (amounts.corrcoef() - torch.eye(6)).abs().max() < 0.08


def test_displacements_are_those_of_a_gaussian_filter():
    """Their size, everywhere alike, and their correlation by distance."""
    ours = distortions.draw_displacements(1500)
    x, y = ours.transpose(0, 1).flatten(1)
    assert torch.stack([x, y]).corrcoef()[0, 1].abs() < 0.05
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


def test_pixels_are_looked_up_as_scipy_does():
    """In its words: order 1, with zeros all around."""
    images = torch.rand(30, 1, 28, 28)  # with ink at the edges, too
    torch.manual_seed(3)
    maps = distortions.draw_affine_maps(30).numpy()
    moves = distortions.draw_displacements(30).numpy()
    torch.manual_seed(3)
    distorted = distortions.distort(images)
    row, column = np.indices((28, 28))
    pixels = column - 13.5, row - 13.5, np.ones((28, 28))
    for image, result, affine, move in zip(images, distorted, maps, moves):
        x, y = np.tensordot(affine, pixels, axes=1) + move + 13.5
        expected = map_coordinates(image[0].numpy(), [y, x], order=1,
                                   mode="grid-constant")
        np.testing.assert_allclose(result[0], expected, atol=1e-4)


def test_an_epoch_has_every_image_once_with_its_label(train_data):
    """Grey images, which keep their shade however they are distorted."""
    grey = torch.arange(1605)
    data = copy(train_data)
    data.data = (grey % 256).byte()[:, None, None].expand(-1, 28, 28)
    data.targets = grey
    for dataset in (Subset(data, range(1605)),
                    [(data[i][0].double(), i) for i in range(105)]):
        count = len(dataset)
        loader = distortions.DistortedLoader(dataset)
        images, labels = zip(*loader)
        assert [*map(len, labels)] == [10] * (count // 10) + [5]
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

    loader = distortions.DistortedLoader(Subset(train_data, [0] * 40))
    torch.manual_seed(1)
    first, state, second = epoch(), torch.get_rng_state(), epoch()
    assert torch.pdist(torch.cat([first, second]).flatten(1)).min() > 0.5
    torch.manual_seed(1)
    assert torch.equal(epoch(), first)
    torch.set_rng_state(state)  # as a checkpoint does
    assert torch.equal(epoch(), second)
