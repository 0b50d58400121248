"""Drawings and photographs are told apart by their pixels."""

import random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from drawings import as_jpeg, on_paper
from onelook.data.inputs.decoding import open_image
from onelook.data.inputs.kinds import _two_shades, kind_of, picture_kind
from onelook.data.sources import open_source


def letter(size=(120, 120), ink=0, paper=255):
    image = Image.new("L", size, paper)
    ImageDraw.Draw(image).line([(20, 20), (20, 95), (95, 95)], fill=ink, width=9)
    return image


def scene(seed=0):
    """Smooth shades in many levels, as light falls on things."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    "drawing",
    [
        letter(),
        letter(ink=255, paper=0),
        letter(ink=60, paper=220),
        as_jpeg(letter(), 60),
        on_paper(letter(), 250, 20),
    ],
)
def test_ink_on_one_paper_is_a_drawing(drawing):
    assert picture_kind(drawing) == "drawing"


def test_shades_and_colours_are_photographs():
    assert picture_kind(scene()) == "photograph"
    assert picture_kind(scene().convert("L")) == "photograph"
    assert picture_kind(Image.new("L", (50, 50), 90)) == "photograph"


def test_most_of_the_first_pictures_decide_and_broken_ones_do_not_count(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    broken = str(tmp_path / "broken.png")
    assert kind_of([letter(), scene(), scene(1), broken]) == "photograph"
    assert kind_of([letter(), letter(), scene()]) == "drawing"
    assert kind_of([broken]) == kind_of([]) == "drawing"


def test_two_shades_are_those_that_a_plain_search_finds():
    histogram = np.random.default_rng(0).integers(0, 50, 256)
    levels = np.repeat(np.arange(256), histogram)
    best, smaller = 0.0, 0.0
    for cut in range(255):
        low, high = levels[levels <= cut], levels[levels > cut]
        if len(low) and len(high):
            share = len(low) / len(levels)
            between = share * (1 - share) * (low.mean() - high.mean()) ** 2
            if between > best:
                best, smaller = between, min(share, 1 - share)
    explained, found = _two_shades(histogram)
    assert (explained, found) == pytest.approx((best / levels.var(), smaller))


@pytest.mark.data
@pytest.mark.parametrize(
    "source, part, expected",
    [
        ("omniglot", "evaluation", "drawing"),
        ("things", "", "photograph"),
        ("grocery", "photos", "photograph"),
        ("att", "all", "photograph"),
    ],
)
def test_of_real_pictures_nearly_all_are_told_apart(data_root, source, part, expected):
    paths = list(open_source(source, part).paths)
    some = random.Random(0).sample(paths, min(100, len(paths)))
    kinds = [picture_kind(open_image(path, enough=256)) for path in some]
    assert kinds.count(expected) >= 0.95 * len(kinds)
