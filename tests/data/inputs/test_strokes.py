"""Pen strokes as points: even distances, whatever the size, the place and the speed."""

from pathlib import Path

import numpy as np
import pytest

from onelook.data.inputs import StrokeInput
from onelook.data.inputs.strokes import read_strokes
from onelook.errors import DataError
from onelook.recipe import SequenceSettings

# An L of two strokes: 30 down, then, a step to the right, 15 to the right.
STROKES = "START\n10,-10,0\n10,-20,5\n10,-40,9\nBREAK\n15,-40,20\n30,-40,40\nBREAK\n"


def strokes(max_length: int = 64) -> StrokeInput:
    return StrokeInput(SequenceSettings(kind="strokes", max_length=max_length))


@pytest.fixture
def drawn(tmp_path: Path) -> str:
    (tmp_path / "drawn.txt").write_text(STROKES)
    return str(tmp_path / "drawn.txt")


def test_strokes_are_read_in_the_order_drawn(drawn):
    first, second = read_strokes(drawn)
    assert first.tolist() == [[10, -10], [10, -20], [10, -40]]
    assert second.tolist() == [[15, -40], [30, -40]]


def test_points_follow_the_ink_at_even_distances(drawn):
    # 45 units of ink, 11 points: each stroke opens with one, the other 9 lie 5 units apart.
    points = strokes(11).load(drawn)
    assert points.shape == (11, 3)
    assert points.dtype == np.float32
    path = np.cumsum(points[:, :2], axis=0) * 30 + [20, -25]  # size and centre undone
    expected = [(10, y) for y in range(-10, -41, -5)] + [(x, -40) for x in (15, 20, 25, 30)]
    np.testing.assert_allclose(path, expected, atol=1e-4)
    assert points[:, 2].tolist() == [0] * 6 + [1] + [0] * 3 + [1]


@pytest.mark.parametrize("max_length", [1, 2, 3, 7, 100])
def test_there_are_never_more_points_than_asked_for(drawn, max_length):
    assert 1 <= len(strokes(max_length).load(drawn)) <= max_length


def test_size_place_and_speed_of_the_drawing_do_not_matter(drawn, tmp_path):
    # Twice as large, elsewhere, and with another point on a straight line.
    moved = tmp_path / "moved.txt"
    moved.write_text(
        "START\n120,20,0\n120,0,1\n120,-1,2\n120,-40,3\nBREAK\n130,-40,4\n160,-40,5\nBREAK\n"
    )
    np.testing.assert_allclose(strokes().load(str(moved)), strokes().load(drawn), atol=1e-6)


def test_a_dot_is_one_point(tmp_path):
    (tmp_path / "dot.txt").write_text("START\n5,5,0\n5,5,9\nBREAK\n")
    assert strokes().load(str(tmp_path / "dot.txt")).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"START\n1,2,3\n1;2;3\n", r"line 3: expected x,y,t, START or BREAK, got '1;2;3'"),
        (b"START\n1,nan,3\n", "line 2: expected"),
        (b"START\nBREAK\n", "no points"),
        (b"", "no points"),
        (b"\xff\xfe\x00", "not a stroke file"),
    ],
)
def test_a_wrong_stroke_file_is_refused_with_its_line(tmp_path, content, message):
    path = tmp_path / "wrong.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        strokes().load_many([str(path)])
    assert str(caught.value).startswith(f"{path}: ")


def test_stroke_sequences_are_padded(drawn, tmp_path):
    (tmp_path / "dot.txt").write_text("START\n5,5,0\nBREAK\n")
    loaded = strokes(11).load_many([str(tmp_path / "dot.txt"), drawn])
    assert loaded.values.shape == (2, 11, 3)
    assert loaded.values.dtype == np.float32
    assert loaded.lengths.tolist() == [1, 11]
    assert not loaded.values[0, 1:].any()


def test_a_store_refuses_bad_strokes_or_skips_them(drawn, tmp_path):
    addresses = [drawn, str(tmp_path / "gone.txt")]
    with pytest.raises(DataError, match="gone.txt: no such file"):
        strokes().store(addresses)
    store = strokes().store(addresses, skip_bad=True)
    assert store.bad == [(addresses[1], "no such file")]
    np.testing.assert_array_equal(
        store.gather(store.rows([drawn])).values, strokes().load_many([drawn]).values
    )
    for address, message in ((addresses[1], "no such file"), ("x", "not among")):
        with pytest.raises(DataError, match=message):
            store.rows([address])
    with pytest.raises(DataError, match="no such file"):
        strokes().store(addresses[1:], skip_bad=True)


@pytest.mark.data
def test_every_stroke_file_of_omniglot_is_read(data_root):
    from onelook.data.archives import open_tree

    tree = open_tree(data_root / "omniglot" / "strokes_background_small1.zip")
    addresses = [tree.address(name) for name in tree.names if name.endswith(".txt")]
    assert len(addresses) == 2720  # 136 characters, 20 drawers
    store = strokes(96).store(addresses)
    assert len(store) == 2720
    loaded = store.gather(np.arange(len(store)))
    assert loaded.values.shape[1] <= 96
    assert loaded.lengths.min() >= 1
    # The summed steps stay in the drawing: half its longer side from its centre.
    paths = loaded.values[:, :, :2].cumsum(1)
    assert np.abs(paths).max() <= 0.5 + 1e-4


@pytest.mark.data
def test_strokes_lie_on_the_ink_of_the_image(data_root):
    """The image and the pen of one drawing agree: most points fall on dark pixels."""
    from onelook.data.inputs.decoding import decode
    from onelook.data.reading import read_bytes

    name = "Greek/character01/0394_01"
    folder = data_root / "omniglot"
    image = f"{folder}/images_background.zip!/images_background/{name}.png"
    ink = np.asarray(decode(read_bytes(image), image)) < 128
    pen = f"{folder}/strokes_background_small1.zip!/strokes_background_small1/{name}.txt"
    points = np.concatenate(read_strokes(pen))
    columns, lines = np.rint(points[:, 0]).astype(int), np.rint(-points[:, 1]).astype(int)
    thick = np.zeros_like(ink)
    thick[1:-1, 1:-1] = [
        [ink[y - 1 : y + 2, x - 1 : x + 2].any() for x in range(1, 104)]
        for y in range(1, 104)
    ]
    assert thick[lines, columns].mean() > 0.9


def test_strokes_come_as_bytes_too(drawn):
    data = Path(drawn).read_bytes()
    np.testing.assert_array_equal(strokes().load(data), strokes().load(drawn))
