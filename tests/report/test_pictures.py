"""Pictures for the command line."""

import numpy as np
import pytest
from PIL import Image

from onelook.report.pictures import draw_comparison, draw_pairs


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


def test_captions_of_pairs_are_words_under_each_pair(tmp_path):
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        pairs = [(picture(), picture(1), i < 2) for i in range(5)]
        text = draw_pairs(pairs, tmp_path / "p.svg").read_text("utf-8")
        other = draw_comparison(
            picture(),
            [picture(1)],
            ["Dissimilarity: 1.2345"],
            tmp_path / "c.svg",
            "query.png",
        )
    assert text.count(">same</text>") == 2 and text.count(">different</text>") == 3
    assert ">Dissimilarity: 1.2345</text>" in other.read_text("utf-8")
    assert ">query.png</text>" in other.read_text("utf-8")


def test_pictures_say_what_they_cannot_draw(tmp_path):
    with pytest.raises(ValueError, match="at least one pair, got 0"):
        draw_pairs([], tmp_path / "p.png")
    with pytest.raises(ValueError, match="got 1 pictures and 0 captions"):
        draw_comparison(picture(), [picture()], [], tmp_path / "p.png")
    with pytest.raises(ValueError, match=r"must end in .png, .*, got 'p.bmp'"):
        draw_pairs([(picture(), picture(), True)], tmp_path / "p.bmp")
    assert not list(tmp_path.iterdir())
