"""Augment: random changes of a batch of images, on the device that holds it.

All geometric parts are composed into one sampling grid, so an image is resampled once
however many parts are on. kornia is left out on purpose: it draws from the global random
state and resamples once for each part. The draws here come from a CPU generator and move to
the device afterwards, so that a seed gives the same changes everywhere.
"""

import math
from functools import reduce

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from onelook.recipe import AugmentSettings

# Rec. 601 weights of red, green and blue in the grey value that saturation fades to.
GREY_WEIGHTS = (0.299, 0.587, 0.114)
# Erased rectangles: share of the image's area, and height / width.
ERASED_AREA = (0.02, 0.2)
ERASED_ASPECT = (0.3, 3.3)
# Ink grows or shrinks by up to one pixel for this many pixels of the shorter side.
PIXELS_PER_STROKE_STEP = 96


class Draws:
    """Random numbers for every image of a batch, of which a part takes its own.

    Args:
        generator: A CPU generator.
        n: Number of images in the batch.
        slots: (B,) int64, the places of the part; None for the whole batch.
    """

    def __init__(self, generator: Generator, n: int, slots: Tensor | None) -> None:
        self._generator, self._n = generator, n
        self._own = slice(None) if slots is None else slots

    def uniform(self, *rows: int) -> Tensor:
        """(*rows, B) in [0, 1)."""
        return torch.rand(*rows, self._n, generator=self._generator)[..., self._own]

    def normal(self, *shape: int) -> Tensor:
        """(B, *shape), standard normal."""
        return torch.randn(self._n, *shape, generator=self._generator)[self._own]


class Augment:
    """Random changes, drawn for each image of a batch on its own.

    Order: geometry, stroke width, brightness, contrast, saturation, erasing, inversion. The
    affine part maps a centred point p, in pixels, to
    ``R @ Kx @ Ky @ diag(sx, sy) @ p + t``: rotation (counter-clockwise as seen), shear
    along x and along y, scale, shift. Each of its seven numbers takes part with the
    settings' ``probability``, and so does the elastic displacement.

    Args:
        settings: What to change and by how much; the defaults change nothing.

    Example:
        >>> augment = Augment(AugmentSettings(rotation_degrees=10.0, shift=0.05))
        >>> augment(torch.rand(8, 1, 48, 48), torch.Generator().manual_seed(0)).shape
        torch.Size([8, 1, 48, 48])
    """

    def __init__(self, settings: AugmentSettings) -> None:
        smallest, largest = settings.scale
        if not 0 < smallest <= largest:
            raise ValueError(
                f"scale must be (smallest, largest) with 0 < smallest <= largest, "
                f"got {settings.scale}"
            )
        self.settings = settings
        self.has_affine = settings.probability > 0 and bool(
            settings.rotation_degrees
            or settings.shear
            or settings.shift
            or settings.scale != (1.0, 1.0)
        )
        self.has_elastic = settings.probability > 0 and settings.elastic > 0

    def __call__(
        self,
        images: Tensor,
        generator: Generator,
        slots: Tensor | None = None,
        of: int = 0,
    ) -> Tensor:
        """Changed copies of images (B, C, H, W) in [0, 1], by draws of a CPU generator.

        ``slots`` (B,) are their places in a batch of ``of`` images, if they are a part of
        one: they change as they do in the whole batch.
        """
        settings, draws = self.settings, Draws(generator, of or len(images), slots)
        if self.has_affine or self.has_elastic or settings.flip:
            images = self._move(images, draws)
        if settings.stroke_width:
            images = self._change_stroke_width(images, draws)
        images = self._change_light(images, draws)
        if settings.erasing:
            images = self._erase(images, draws)
        if settings.invert:
            inverted = draws.uniform() < 0.5
            images = torch.where(_per_image(inverted, images), 1 - images, images)
        return images

    def _move(self, images: Tensor, draws: Draws) -> Tensor:
        """All geometric parts in one resampling."""
        matrices = self._output_to_input(images, draws).to(images)
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        if self.has_elastic:
            grid = grid + self._displacement(images, draws)  # (B, H, W, 2)
        fill = self.settings.fill
        if fill == "border":
            return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        if fill:
            return F.grid_sample(images - fill, grid, align_corners=False) + fill
        return F.grid_sample(images, grid, align_corners=False)

    def _output_to_input(self, images: Tensor, draws: Draws) -> Tensor:
        """(B, 2, 3) maps from output to input, in the units of ``affine_grid``."""
        settings = self.settings
        n, _, height, width = images.shape
        linear = torch.eye(2).repeat(n, 1, 1)  # (B, 2, 2), input to output, in pixels
        shift = torch.zeros(n, 2)
        if self.has_affine:
            changes = draws.uniform(7) * 2 - 1
            changes *= draws.uniform(7) < settings.probability
            linear = self._linear(changes[:5])
            shift = changes[5:].T * settings.shift * torch.tensor([width, height])
        if settings.flip:
            flipped = draws.uniform() < 0.5
            linear[flipped, :, 0] *= -1
        half = torch.tensor([width / 2, height / 2])
        inverse = torch.linalg.inv(linear)
        offset = -(inverse @ shift[:, :, None])  # (B, 2, 1)
        return torch.cat([inverse * half[None, None, :], offset], 2) / half[None, :, None]

    def _linear(self, draws: Tensor) -> Tensor:
        """(B, 2, 2) input-to-output matrices from draws (5, B) in [-1, 1], 0 = nothing."""
        settings = self.settings
        angle = draws[0] * math.radians(settings.rotation_degrees)
        shear_x, shear_y = draws[1] * settings.shear, draws[2] * settings.shear
        smallest, largest = settings.scale
        middle, reach = (smallest + largest) / 2, (largest - smallest) / 2
        # A draw of exactly 0 means that the part is left out.
        scale = torch.where(draws[3:] == 0, 1.0, middle + reach * draws[3:])
        one, zero = torch.ones_like(angle), torch.zeros_like(angle)
        cos, sin = angle.cos(), angle.sin()  # y points down: sin has the other sign
        rotation = torch.stack([cos, sin, -sin, cos], 1).reshape(-1, 2, 2)
        along_x = torch.stack([one, shear_x, zero, one], 1).reshape(-1, 2, 2)
        along_y = torch.stack([one, zero, shear_y, one], 1).reshape(-1, 2, 2)
        return rotation @ along_x @ along_y @ torch.diag_embed(scale.T)

    def _displacement(self, images: Tensor, draws: Draws) -> Tensor:
        """(B, H, W, 2) smooth field of standard deviation ``elastic``, in grid units."""
        settings = self.settings
        height, width = images.shape[-2:]
        rows = _smooth_weights(height, settings.elastic_smoothing)  # (H, M)
        columns = _smooth_weights(width, settings.elastic_smoothing)  # (W, M)
        noise = draws.normal(2, rows.shape[1], columns.shape[1])
        taken = draws.uniform()[:, None, None, None] < settings.probability
        noise = (noise * taken * (2 * settings.elastic)).to(images.device, images.dtype)
        field = rows.to(noise) @ noise @ columns.to(noise).T  # (B, 2, H, W)
        return field.permute(0, 2, 3, 1)

    def _change_stroke_width(self, images: Tensor, draws: Draws) -> Tensor:
        """Grey dilation or erosion, mixed in by a random share."""
        amount, chance = draws.uniform(2)
        share = (amount * 2 - 1) * (chance < self.settings.stroke_width)
        radius = max(1, round(min(images.shape[-2:]) / PIXELS_PER_STROKE_STEP))
        # The smallest is minus the largest of the negative: one pooling does both.
        sign = _per_image(torch.where(share < 0, -1.0, 1.0), images)
        pooled = sign * _largest_around(sign * images, radius)
        return torch.lerp(images, pooled, _per_image(share.abs(), images))

    def _change_light(self, images: Tensor, draws: Draws) -> Tensor:
        settings = self.settings
        if settings.brightness:
            factor = self._factor(settings.brightness, images, draws)
            images = (images * factor).clamp(0, 1)
        if settings.contrast:
            factor = self._factor(settings.contrast, images, draws)
            mean = images.mean((1, 2, 3), keepdim=True)
            images = torch.lerp(mean.expand_as(images), images, factor).clamp(0, 1)
        if settings.saturation and images.shape[1] == 3:
            factor = self._factor(settings.saturation, images, draws)
            weights = torch.tensor(GREY_WEIGHTS).to(images)[None, :, None, None]
            grey = (images * weights).sum(1, keepdim=True)  # (B, 1, H, W)
            images = torch.lerp(grey.expand_as(images), images, factor).clamp(0, 1)
        return images

    def _factor(self, reach: float, images: Tensor, draws: Draws) -> Tensor:
        return _per_image(1 + reach * (2 * draws.uniform() - 1), images)

    def _erase(self, images: Tensor, draws: Draws) -> Tensor:
        """One rectangle an image, wholly inside it, set to the fill or the image's mean."""
        settings = self.settings
        height, width = images.shape[-2:]
        taken, area, aspect, top, left = draws.uniform(5)
        area = ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area
        low, high = math.log(ERASED_ASPECT[0]), math.log(ERASED_ASPECT[1])
        ratio = torch.exp(low + (high - low) * aspect)
        tall = (area * ratio).sqrt().clamp(max=1) * height
        wide = (area / ratio).sqrt().clamp(max=1) * width
        top, left = top * (height - tall), left * (width - wide)
        rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
        in_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])  # (B, H)
        in_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
        in_rows &= (taken < settings.erasing)[:, None]
        inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]
        erased = inside.to(images.device)  # (B, 1, H, W)
        if settings.fill == "border":
            return torch.where(erased, images.mean((1, 2, 3), keepdim=True), images)
        return images.masked_fill(erased, settings.fill)


def rotate_quarter(images: Tensor, turns: Tensor) -> Tensor:
    """Square images (B, C, S, S), each turned counter-clockwise by its quarter turns."""
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"quarter turns need square images, got {tuple(images.shape)}")
    turns = turns.to(images.device)[:, None, None, None]
    images = torch.where(turns >= 2, images.flip(2, 3), images)
    return torch.where(turns % 2 == 1, images.rot90(1, (2, 3)), images)


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """(B,) drawn on the CPU -> (B, 1, 1, 1) beside the images; booleans stay booleans."""
    dtype = values.dtype if values.dtype == torch.bool else images.dtype
    return values.to(images.device, dtype)[:, None, None, None]


def _largest_around(images: Tensor, radius: int) -> Tensor:
    """(B, C, H, W), the largest value of a square of 2 ``radius`` + 1 pixels a side.

    As ``max_pool2d`` gives it, in a fifth of the time on a CPU: rows first, then columns.
    """
    height, width = images.shape[-2:]
    shifts = range(2 * radius + 1)
    padded = F.pad(images, (radius,) * 4, value=-math.inf)
    wide = reduce(torch.maximum, [padded[..., i : i + width] for i in shifts])
    return reduce(torch.maximum, [wide[..., i : i + height, :] for i in shifts])


def _smooth_weights(side: int, wavelength: float) -> Tensor:
    """(side, M) weights of M knots at each pixel: Gaussian bumps, rows of unit length.

    Unit rows turn independent standard normal knots into a field of variance 1 everywhere.
    """
    n_knots = math.ceil(1 / wavelength) + 3
    knots = (torch.arange(n_knots) - (n_knots - 1) / 2) * wavelength
    pixels = (torch.arange(side) + 0.5) / side - 0.5
    weights = torch.exp(-0.5 * ((pixels[:, None] - knots) / (0.5 * wavelength)) ** 2)
    # Numbers below 1e-38 make a processor's products fifty times as slow.
    return F.normalize(F.threshold(weights, 1e-9, 0.0), dim=1)
