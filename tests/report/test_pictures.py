"""Pictures for the command line."""

import numpy as np
import pytest
from PIL import Image

from onelook.report.pictures import _Sheet, as_rgb, draw_comparison, draw_pairs, shorten


def picture(seed=0, shape=(20, 30)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def size_of(path):
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize("count", [1, 2, 5, 12, 30])
def test_pictures_of_pairs_and_comparisons_are_drawn(count, tmp_path):
    pairs = [(picture(i), picture(i, (40, 10, 3)), i % 2 == 0) for i in range(count)]
    size = size_of(draw_pairs(pairs, tmp_path / "pairs.png"))
    assert 200 < size[0] < 3000 and 200 < size[1] < 3000
    others = [picture(i) for i in range(count)]
    path = draw_comparison(
        picture(),
        others,
        ["a $file_name\nDissimilarity: 1.2345"] * count,
        tmp_path / "c.png",
    )
    assert 400 < size_of(path)[0] < 3000


@pytest.mark.parametrize("ending", ["jpg", "webp", "pdf", "PNG"])
def test_a_drawing_is_of_the_kind_that_its_name_asks_for(ending, tmp_path):
    path = draw_pairs([(picture(), picture(1), True)], tmp_path / f"pairs.{ending}")
    start = {"jpg": b"\xff\xd8", "webp": b"RIFF", "pdf": b"%PDF", "PNG": b"\x89PNG"}
    assert path.read_bytes().startswith(start[ending])


def test_a_pair_is_drawn_with_its_verdict_in_colour(tmp_path):
    for is_same, stronger, weaker in ((True, 2, 0), (False, 0, 2)):
        path = draw_pairs([(picture(), picture(1), is_same)], tmp_path / "p.png")
        with Image.open(path) as image:
            drawn = np.asarray(image).astype(int)
        assert (drawn[..., stronger] - drawn[..., weaker] > 100).sum() > 20


def test_long_words_are_shortened_to_the_room_that_they_have(tmp_path):
    sheet = _Sheet(100, 30)
    sheet.add_text("a_very_long_file_name_of_a_picture.png", 50, 5, 9, "black", 60)
    ink = np.flatnonzero((np.asarray(sheet.image) < 128).any((0, 2)))
    assert 50 <= ink[-1] - ink[0] <= 2 * 60


def test_names_are_shortened_in_their_middle():
    assert shorten("abcdefghij", 5) == "ab…ij" and shorten("abc", 5) == "abc"


def test_grey_pictures_become_colour():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert as_rgb(grey).shape == as_rgb(grey[:, :, None]).shape == (2, 3, 3)
    np.testing.assert_array_equal(as_rgb(grey)[:, :, 2], grey)


def test_pictures_say_what_they_cannot_draw(tmp_path):
    with pytest.raises(ValueError, match="at least one pair, got 0"):
        draw_pairs([], tmp_path / "p.png")
    with pytest.raises(ValueError, match="got 1 pictures and 0 captions"):
        draw_comparison(picture(), [picture()], [], tmp_path / "p.png")
    with pytest.raises(ValueError, match=r"must end in .png, .*, got 'p.bmp'"):
        draw_pairs([(picture(), picture(), True)], tmp_path / "p.bmp")
    assert not list(tmp_path.iterdir())
