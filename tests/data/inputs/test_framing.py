import numpy as np
import pytest
from PIL import Image, ImageDraw

from onelook.data.inputs.framing import frame_ink, measure
from onelook.recipe import InkSettings


def line(length: float, width: int, side: int = 200) -> np.ndarray:
    """A horizontal bar (side, side) uint8 in the middle."""
    ink = np.zeros((side, side), np.uint8)
    left, top = round((side - length) / 2), (side - width) // 2
    ink[top : top + width, left : left + round(length)] = 255
    return ink


@pytest.mark.parametrize("width", [1, 3, 8, 20])
def test_the_width_of_a_long_bar_is_measured(width):
    # The ends of a bar count as outline: (L + w) / L of the width is missing.
    extent = measure(line(160, width))
    assert extent.pen == pytest.approx(width * 160 / (160 + width), rel=0.1)
    assert (extent.left, extent.right, extent.bottom - extent.top) == (20, 180, width)


@pytest.mark.parametrize("angle", [0, 20, 45, 70])
def test_the_width_of_a_slanted_line_is_measured(angle):
    image = Image.new("L", (400, 400))
    x, y = 150 * np.cos(np.radians(angle)), 150 * np.sin(np.radians(angle))
    ImageDraw.Draw(image).line((200 - x, 200 - y, 200 + x, 200 + y), fill=255, width=8)
    assert measure(np.asarray(image)).pen == pytest.approx(8, rel=0.12)


@pytest.mark.parametrize("width", [1, 2, 4, 6, 9, 14])
def test_a_line_gets_the_wanted_length_and_width_whatever_its_pen(width):
    settings = InkSettings(fill=0.75, pen=0.1)
    picture = frame_ink(line(150, width), (40, 40), settings)
    assert (picture[:, 20] > 127).sum() == 4
    assert (picture[20] > 127).sum() == pytest.approx(30, abs=2)
    assert picture.max() == 255 and picture[0, 0] == 0


def test_a_dot_stays_a_dot():
    dot = line(5, 5, side=100)
    picture = frame_ink(dot, (40, 40), InkSettings())
    assert 1 <= (picture > 127).sum() <= 0.15 * 40 * 40


def test_zoom_keeps_small_drawings_smaller():
    bar = line(50, 4)
    kept = frame_ink(bar, (40, 40), InkSettings(zoom=(0.8, 1.5)))
    assert (kept > 127).any(0).sum() == pytest.approx(1.5 * 10, abs=1)
    assert (frame_ink(bar, (40, 40), InkSettings()) > 127).any(0).sum() == 32
