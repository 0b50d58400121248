"""Faces: found and turned upright in real photographs, and refused where there are none."""

import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from onelook.data.inputs import FaceInput, input_from_dict
from onelook.data.inputs.decoding import decode
from onelook.data.inputs.faces import align, detect, main_face
from onelook.data.reading import read_bytes
from onelook.data.sources.lfw import lfw_people, lfw_view1
from onelook.errors import DataError, OnelookError
from onelook.recipe import ImageSettings

SETTINGS = ImageSettings(height=150, width=150, channels=3)

pytest.importorskip("dlib")


@pytest.fixture(scope="module")
def portraits(data_root):
    """Four photographs of LFW (250, 250, 3); the face is in the middle of each."""
    addresses = sorted(set(lfw_view1(data_root, "train").left))[::200][:4]
    return [np.asarray(decode(read_bytes(a), a).convert("RGB")) for a in addresses]


def centre(face):
    return np.array([face.left + face.right, face.top + face.bottom]) / 2


@pytest.mark.data
def test_the_face_in_the_middle_of_a_portrait_is_found(portraits):
    for portrait in portraits:
        face = main_face(portrait)
        assert np.abs(centre(face) - 125).max() < 25
        assert 60 < face.right - face.left < 150
        assert face.score > 0


@pytest.mark.data
def test_a_turned_face_is_found_by_the_second_look(data_root):
    people = lfw_people(data_root, "DevTrain")
    (address,) = [a for a in people.paths if a.endswith("Thomas_Birmingham_0002.jpg")]
    profile = np.asarray(decode(read_bytes(address), address))
    assert detect(profile, smallest=40) == []
    (turned,) = detect(profile, smallest=60, turned=True)
    assert main_face(profile)[:4] == pytest.approx(turned[:4], abs=8)
    assert np.abs(centre(turned) - 125).max() < 30


@pytest.mark.data
def test_boxes_are_in_pixels_of_the_given_photograph(portraits):
    for portrait in portraits:
        double = np.asarray(Image.fromarray(portrait).resize((500, 500)))
        (face,) = detect(portrait, smallest=80)[:1]
        (large,) = detect(double, smallest=160)[:1]
        np.testing.assert_allclose(large[:4], np.multiply(face[:4], 2), atol=16)


@pytest.mark.data
def test_the_larger_and_more_central_of_two_faces_is_the_main_one(portraits):
    left, right = portraits[:2]
    small = np.asarray(Image.fromarray(left).resize((125, 125)))
    canvas = np.full((375, 500, 3), 128, np.uint8)
    canvas[60:310, 180:430] = right
    canvas[:125, :125] = small
    assert len(detect(canvas, smallest=40)) >= 2
    np.testing.assert_allclose(centre(main_face(canvas)), (305, 185), atol=30)


@pytest.mark.data
def test_a_turned_photograph_gives_the_same_aligned_face(portraits):
    for portrait in portraits:
        turned = np.asarray(Image.fromarray(portrait).rotate(12, Image.Resampling.BICUBIC))
        upright, again = (align(p, main_face(p), 96) for p in (portrait, turned))
        assert upright.shape == (96, 96, 3)
        middle = slice(24, 72)  # the corners of the turned photograph are black
        straight, back = (a[middle, middle].astype(float) for a in (upright, again))
        other = align(portraits[0], main_face(portraits[0]), 96)[middle, middle]
        apart = np.abs(straight - back).mean()
        assert apart < 12
        if portrait is not portraits[0]:
            assert apart < 0.5 * np.abs(straight - other).mean()


@pytest.mark.data
def test_preprocessing_gives_the_aligned_face_of_a_file(portraits, tmp_path):
    Image.fromarray(portraits[0]).save(tmp_path / "ada.png")
    preprocess = FaceInput(SETTINGS)
    aligned = align(portraits[0], main_face(portraits[0]))
    for source in (tmp_path / "ada.png", Image.fromarray(portraits[0])):
        np.testing.assert_array_equal(preprocess.load(source), aligned.transpose(2, 0, 1))
    np.testing.assert_array_equal(
        preprocess.load_many([str(tmp_path / "ada.png")])[0], preprocess.load(source)
    )


def test_a_part_of_the_aligned_face_goes_on_beyond_its_rim(monkeypatch):
    ramp = np.repeat(np.arange(100, dtype=np.uint8)[:, None, None], 100, 1).repeat(3, 2)
    monkeypatch.setattr("onelook.data.inputs.faces.main_face", lambda photograph: None)
    monkeypatch.setattr("onelook.data.inputs.faces.align", lambda photograph, face: ramp)
    small = SETTINGS.model_copy(update={"height": 9, "width": 9})
    preprocess = FaceInput(small, "middle", share=0.9, above=0.1)
    column = preprocess.load(Image.new("RGB", (40, 40)))[0, :, 4]
    # The square begins 5 pixels above the face: 90 pixels from -5 on, ten to a pixel.
    expected = [1.0, 9.5, 19.5, 29.5, 39.5, 49.5, 59.5, 69.5, 79.5]
    np.testing.assert_allclose(column, expected, atol=3)


@pytest.mark.data
def test_the_whole_aligned_face_is_its_own_part(portraits):
    whole = FaceInput(SETTINGS).load(Image.fromarray(portraits[0]))
    nearly = FaceInput(SETTINGS, share=1.0, above=1e-9)
    np.testing.assert_array_equal(nearly.load(Image.fromarray(portraits[0])), whole)


def test_a_photograph_without_a_face_is_refused_by_name(tmp_path):
    palace = load_sample_image("china.jpg")
    assert main_face(palace) is None
    Image.fromarray(palace).save(tmp_path / "palace.png")
    with pytest.raises(DataError, match="palace.png: no face was found; take a photo"):
        FaceInput(SETTINGS).load(tmp_path / "palace.png")


def test_the_middle_stands_in_for_a_face_that_must_be_there(tmp_path):
    image = Image.fromarray(load_sample_image("china.jpg"))
    image.save(tmp_path / "palace.png")
    preprocess = FaceInput(SETTINGS, "middle")
    assert preprocess.load(tmp_path / "palace.png").shape == (3, 150, 150)
    assert preprocess.replaced == [str(tmp_path / "palace.png")]


def test_settings_come_back_from_a_model_file():
    part = FaceInput(SETTINGS, "middle", share=0.9, above=0.1)
    for preprocess in (FaceInput(SETTINGS), FaceInput(SETTINGS, "middle"), part):
        again = input_from_dict(preprocess.to_dict())
        assert type(again) is FaceInput
        assert again == preprocess


def test_settings_that_no_aligned_face_has_are_refused():
    for change in ({"width": 100}, {"channels": 1}, {"crop": 0.5}):
        with pytest.raises(ValueError, match="square, RGB and not cropped"):
            FaceInput(SETTINGS.model_copy(update=change))


def test_a_missing_dlib_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(OnelookError, match=r"pip install 'onelook\[faces\]'"):
        FaceInput(SETTINGS)
