import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from onelook.recipe import AugmentSettings
from onelook.training.augment import (
    Augment,
    Draws,
    _largest_around,
    _smooth_weights,
    rotate_quarter,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawing(height=32, width=32, channels=1, n=1):
    """Smooth blobs well inside the image: libraries differ little in resampling them."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.exp(-(((x - 0.4 * width) / 4) ** 2 + ((y - 0.55 * height) / 3) ** 2))
    image += 0.7 * np.exp(-(((x - 0.6 * width) / 2) ** 2 + ((y - 0.4 * height) / 4) ** 2))
    image = torch.from_numpy(np.clip(image, 0, 1)).float()
    return image.expand(n, channels, height, width).clone()


def centroid(image):
    """(x, y) centre of the brightness of one image (H, W), in pixels from the middle."""
    height, width = image.shape
    y, x = np.mgrid[0:height, 0:width]
    total = image.sum()
    centre = (image * (x - (width - 1) / 2)).sum(), (image * (y - (height - 1) / 2)).sum()
    return centre[0] / total, centre[1] / total


def scipy_affine(image, linear, shift):
    """image (H, W) moved by the input-to-output map of centred (x, y) points, in pixels."""
    inverse = np.linalg.inv(linear)[::-1, ::-1]  # scipy works in (row, column)
    middle = (np.array(image.shape) - 1) / 2
    offset = middle - inverse @ (middle + np.array(shift)[::-1])
    return ndimage.affine_transform(image, inverse, offset, order=1)


EVERYTHING = AugmentSettings(
    rotation_degrees=15.0,
    shear=0.2,
    scale=(0.8, 1.2),
    shift=0.1,
    flip=True,
    invert=True,
    elastic=0.02,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    erasing=0.5,
    stroke_width=0.5,
)


def test_default_settings_and_probability_zero_return_the_very_images():
    images = torch.rand(4, 3, 20, 24)
    assert torch.equal(Augment(AugmentSettings())(images, generator()), images)
    moving = EVERYTHING.model_dump() | {"flip": False, "invert": False, "erasing": 0.0}
    moving |= {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "stroke_width": 0.0}
    still = AugmentSettings.model_validate(moving | {"probability": 0.0})
    assert torch.equal(Augment(still)(images, generator()), images)


@pytest.mark.parametrize("channels", [1, 3])
def test_everything_at_once_keeps_shape_range_and_input(channels):
    images = torch.rand(5, channels, 20, 31)
    before = images.clone()
    changed = Augment(EVERYTHING)(images, generator())
    assert changed.shape == images.shape and changed.dtype == images.dtype
    assert 0 <= changed.min() and changed.max() <= 1
    assert torch.equal(images, before)


def test_a_seed_repeats_and_another_seed_differs():
    images, augment = drawing(n=4), Augment(EVERYTHING)
    assert torch.equal(augment(images, generator(3)), augment(images, generator(3)))
    assert not torch.equal(augment(images, generator(3)), augment(images, generator(4)))


def test_the_global_random_state_is_left_alone():
    state = torch.get_rng_state()
    Augment(EVERYTHING)(drawing(n=4), generator())
    assert torch.equal(torch.get_rng_state(), state)


def test_equal_twins_in_one_batch_are_changed_independently():
    twins = drawing(n=64)
    settings = AugmentSettings(shift=0.2)
    moved = Augment(settings)(twins, generator())
    x = np.array([centroid(image[0].numpy()) for image in moved])[:, 0]
    assert (
        x.std() > 1.0
    )  # uniform in +- 6.4 pixels would give 3.7, less what leaves the image
    assert abs(np.corrcoef(x[:32], x[32:])[0, 1]) < 0.5


@pytest.mark.parametrize(("height", "width"), [(32, 32), (30, 44)])
def test_the_affine_part_matches_scipy(height, width):
    settings = AugmentSettings(
        rotation_degrees=20.0, shear=0.2, scale=(0.8, 1.1), shift=0.1
    )
    image = drawing(height, width)
    draws = torch.rand(7, 1, generator=generator(5)).double().numpy()[:, 0] * 2 - 1
    angle, kx, ky = math.radians(20) * draws[0], 0.2 * draws[1], 0.2 * draws[2]
    rotation = [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    linear = np.array(rotation) @ [[1, kx], [0, 1]] @ [[1, 0], [ky, 1]]
    linear = linear @ np.diag(0.95 + 0.15 * draws[3:5])
    shift = draws[5:] * 0.1 * np.array([width, height])
    expected = scipy_affine(image[0, 0].double().numpy(), linear, shift)
    moved = Augment(settings)(image, generator(5))[0, 0].double().numpy()
    np.testing.assert_allclose(moved, expected, atol=2e-4)


def test_rotation_is_counter_clockwise_within_its_range():
    settings = AugmentSettings(rotation_degrees=30.0)
    dot = torch.zeros(200, 1, 33, 33)
    dot[:, :, 15:18, 25:28] = 1  # ten pixels to the right of the middle
    moved = Augment(settings)(dot, generator())
    angles = [
        math.degrees(math.atan2(-y, x)) for x, y in (centroid(m[0].numpy()) for m in moved)
    ]
    first = (torch.rand(7, 200, generator=generator())[0] * 2 - 1) * 30
    np.testing.assert_allclose(angles, first.numpy(), atol=1.5)
    assert max(np.abs(angles)) < 31


def test_each_part_is_applied_with_its_probability():
    settings = AugmentSettings(shift=0.2, probability=0.5)
    moved = Augment(settings)(drawing(n=2000), generator())
    still = (moved - drawing(n=2000)).abs().amax((1, 2, 3)) < 1e-4
    assert abs(still.float().mean() - 0.25) < 0.04  # neither x nor y


def test_flip_mirrors_about_half_of_the_images_exactly():
    images = torch.rand(400, 1, 16, 18)
    moved = Augment(AugmentSettings(flip=True))(images, generator())
    same = (moved - images).abs().amax((1, 2, 3)) < 1e-4
    mirrored = (moved - images.flip(3)).abs().amax((1, 2, 3)) < 1e-4
    assert (same ^ mirrored).all() and 150 < mirrored.sum() < 250


def test_fill_is_what_comes_in_from_outside():
    white = torch.ones(50, 1, 16, 16)
    for fill, expected in ((0.0, False), (1.0, True), ("border", True)):
        moved = Augment(AugmentSettings(shift=0.3, fill=fill))(white, generator())
        assert bool(torch.allclose(moved, white, atol=1e-5)) is expected


def test_a_part_of_a_batch_changes_as_it_does_in_the_whole():
    images, slots = torch.rand(9, 3, 32, 32, generator=generator()), torch.tensor([1, 2, 7])
    whole = Augment(EVERYTHING)(images, generator(3))
    part = Augment(EVERYTHING)(images[slots], generator(3), slots, len(images))
    torch.testing.assert_close(part, whole[slots])


def test_the_elastic_field_has_the_stated_deviation_and_is_smooth():
    augment = Augment(AugmentSettings(elastic=0.03, elastic_smoothing=0.2))
    images = torch.zeros(3000, 1, 24, 40)
    field = augment._displacement(images, Draws(generator(), 3000, None)) / 2
    np.testing.assert_allclose(
        field.std(0), 0.03, rtol=0.1
    )  # everywhere, in shares of the side
    step = (field[:, :, 1:] - field[:, :, :-1]).std()
    assert step < 0.01  # neighbouring pixels move together
    near, far = field[:, 12, 10, 0], field[:, 12, 38, 0]
    assert abs(np.corrcoef(near, far)[0, 1]) < 0.1


def test_stroke_width_is_a_mix_with_grey_dilation_or_erosion():
    images = torch.rand(60, 1, 20, 20)
    changed = Augment(AugmentSettings(stroke_width=0.7))(images, generator(2)).numpy()
    draws = torch.rand(2, 60, generator=generator(2)).numpy()
    share = (draws[0] * 2 - 1) * (draws[1] < 0.7)
    for image, result, part in zip(images[:, 0].numpy(), changed[:, 0], share, strict=True):
        grown = ndimage.grey_dilation(image, size=(3, 3))
        shrunk = ndimage.grey_erosion(image, size=(3, 3))
        target = grown if part > 0 else shrunk
        np.testing.assert_allclose(result, image + abs(part) * (target - image), atol=1e-6)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_the_largest_value_around_is_that_of_max_pooling(radius):
    images = torch.randn(2, 3, 9, 14)  # negative values too: the edge must not count as 0
    pooled = F.max_pool2d(images, 2 * radius + 1, 1, radius)
    assert torch.equal(_largest_around(images, radius), pooled)


def test_no_weight_of_the_elastic_field_is_a_slow_denormal_number():
    weights = _smooth_weights(64, 0.05)
    smallest = torch.finfo(torch.float32).tiny
    assert ((weights == 0) | (weights > smallest)).all()


def test_brightness_contrast_and_saturation_match_plain_arithmetic():
    images = torch.rand(6, 3, 8, 8)
    factor = 1 + 0.4 * (2 * torch.rand(6, generator=generator(1)) - 1)
    for part in ("brightness", "contrast", "saturation"):
        settings = AugmentSettings.model_validate({part: 0.4})
        changed = Augment(settings)(images, generator(1))
        for image, result, f in zip(images.numpy(), changed.numpy(), factor, strict=True):
            grey = 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]
            base = {"brightness": 0.0, "contrast": image.mean(), "saturation": grey}[part]
            expected = np.clip(base + float(f) * (image - base), 0, 1)
            np.testing.assert_allclose(result, expected, atol=1e-5)


def test_grey_images_have_no_saturation_to_change():
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(
        Augment(AugmentSettings(saturation=0.5))(images, generator()), images
    )


def test_erasing_removes_one_rectangle_of_the_stated_area():
    images = torch.ones(500, 1, 40, 40)
    changed = Augment(AugmentSettings(erasing=0.6))(images, generator())[:, 0]
    erased = [(image == 0).numpy() for image in changed if (image == 0).any()]
    assert 260 < len(erased) < 340
    for mask in erased:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert 0.01 < mask.mean() < 0.24


def test_erasing_uses_the_mean_where_the_fill_is_the_border():
    images = torch.rand(20, 3, 16, 16)
    changed = Augment(AugmentSettings(erasing=1.0, fill="border"))(images, generator())
    for image, result in zip(images, changed, strict=True):
        assert torch.allclose(result[result != image], image.mean())


def test_inversion_turns_about_half_of_the_images():
    images = torch.rand(400, 1, 8, 8)
    changed = Augment(AugmentSettings(invert=True))(images, generator())
    inverted = (changed == 1 - images).flatten(1).all(1)
    assert ((changed == images).flatten(1).all(1) ^ inverted).all()
    assert 150 < inverted.sum() < 250


def test_a_scale_that_is_not_a_range_is_refused():
    with pytest.raises(ValueError, match=r"got \(1.2, 0.8\)"):
        Augment(AugmentSettings(scale=(1.2, 0.8)))
    with pytest.raises(ValueError, match="0 < smallest"):
        Augment(AugmentSettings(scale=(0.0, 1.0)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_quarter_turns_match_numpy(dtype):
    images = (torch.rand(8, 2, 7, 7) * 255).to(dtype)
    turns = torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])
    turned = rotate_quarter(images, turns)
    assert turned.dtype == dtype
    for image, result, k in zip(images, turned, turns, strict=True):
        np.testing.assert_array_equal(result, np.rot90(image, int(k), (1, 2)))


def test_quarter_turns_of_images_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="square"):
        rotate_quarter(torch.zeros(1, 1, 4, 6), torch.tensor([1]))
