"""Quality: good pictures pass, and those that are small, blurred or blank do not."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from onelook.data.archives import addresses_of
from onelook.data.inputs import input_from_dict
from onelook.data.inputs.decoding import decode
from onelook.data.inputs.quality import fault_of, sharpness
from onelook.errors import UnfitError
from onelook.zoo import raw_settings

N_IMAGES = 150
# Model, where its pictures lie, and the blur (a share of the shorter side) to be seen: that
# with which one-shot accuracy falls by a tenth or more.
LOST = ("blurred: it", "blurred: its face", "image: no ink", "image: no face")
KINDS = [
    ("omniglot", "omniglot/images_evaluation.zip", 0.05),
    ("faces", "lfw/lfw-deepfunneled.zip", 0.015),
    ("photos", "things", 0.015),
    ("photos", "grocery/photos", 0.015),
]


def fault(taken, image):
    file = io.BytesIO()
    image.save(file, "PNG")
    try:
        loaded = taken.load(image)
    except UnfitError as error:  # no ink or no face is left
        return str(error)
    return fault_of(taken, file.getvalue(), loaded)


def pictures(data_root, place):
    found = addresses_of([data_root / place], frozenset({".png", ".jpg"}))
    return [decode(one) for one in found[:: max(1, len(found) // N_IMAGES)]]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("model", "place", "blur"), KINDS)
def test_good_pictures_pass_and_poor_ones_are_named(data_root, model, place, blur):
    taken = input_from_dict(raw_settings(model)["preprocess"])
    good = pictures(data_root, place)
    assert np.mean([bool(fault(taken, one)) for one in good]) <= 0.01
    blurred = [one.filter(ImageFilter.GaussianBlur(blur * min(one.size))) for one in good]
    assert np.mean([fault(taken, one).startswith(LOST) for one in blurred]) >= 0.95
    least = min(taken.input_shape[1:]) / (taken.settings.crop or 1)
    small = [one.resize((round(0.35 * least),) * 2) for one in good]
    assert all(fault(taken, one).startswith(("too small: ", *LOST)) for one in small)


@pytest.mark.data
@pytest.mark.slow
def test_the_face_of_a_photograph_is_looked_at(data_root):
    pytest.importorskip("dlib")
    taken = input_from_dict(raw_settings("dlib-faces")["preprocess"])
    good = pictures(data_root, "lfw/lfw-deepfunneled.zip")[::2]
    assert np.mean([bool(fault(taken, one)) for one in good]) <= 0.01
    blurred = [one.filter(ImageFilter.GaussianBlur(6)) for one in good]
    assert np.mean([fault(taken, one).startswith(LOST) for one in blurred]) >= 0.95


def test_a_blank_picture_is_named_and_a_picture_of_stripes_is_sharp():
    taken = input_from_dict(raw_settings("faces")["preprocess"])
    assert fault(taken, Image.new("RGB", (250, 250), "grey")).startswith("blank: ")
    stripes = np.tile(np.array([0, 255, 255, 0], float), (40, 10))
    assert sharpness(stripes) > 0.5
    moved = np.apply_along_axis(np.convolve, 1, stripes, np.ones(8) / 8, "valid")
    noisy = moved + np.random.default_rng(0).normal(0, 1, moved.shape)
    assert sharpness(noisy.T) == sharpness(noisy)
