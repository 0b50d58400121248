"""Inputs: every kind saved, opened again, and taken in every form."""

import numpy as np
import pytest
from PIL import Image

from onelook.data.inputs import (
    INPUTS,
    ImageInput,
    RawInput,
    StrokeInput,
    TextInput,
    input_from_dict,
)
from onelook.recipe import ImageSettings, SequenceSettings


def test_every_input_survives_the_way_through_a_dict():
    for taken in (
        ImageInput(ImageSettings(height=5, width=6)),
        TextInput.fit(["a b"], SequenceSettings(kind="text")),
        StrokeInput(SequenceSettings(kind="strokes", max_length=9)),
        RawInput(),
    ):
        assert input_from_dict(taken.to_dict()) == taken
        assert taken.to_dict()["kind"] in INPUTS


@pytest.mark.parametrize(
    "content", [{"kind": "smell"}, {}, {"kind": "strokes", "depth": 3}, {"kind": "image"}]
)
def test_a_wrong_dict_is_a_value_error(content):
    with pytest.raises(ValueError, match="smell|None|depth|height"):
        input_from_dict(content)


def test_raw_images_keep_their_size_and_come_out_as_pillow_images():
    grey, colour = Image.new("L", (5, 4), 7), Image.new("RGB", (3, 2), "red")
    loaded = RawInput().load_many([grey, colour])
    assert [pixels.shape for pixels in loaded] == [(1, 4, 5), (3, 2, 3)]
    pictures = RawInput().to_inputs(loaded)["pictures"]
    assert [picture.mode for picture in pictures] == ["L", "RGB"]
    np.testing.assert_array_equal(np.asarray(pictures[1]), np.asarray(colour))
