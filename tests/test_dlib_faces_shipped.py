"""dlib-faces as a user meets it: a model by name, with a decision and a clear no."""

import json
import sys

import pytest
from PIL import Image

import onelook
from onelook.cli import main
from onelook.data.sources.lfw import lfw_view1


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "face_recognition_models", None)
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "empty"))
    photo = tmp_path / "a.jpg"
    Image.new("RGB", (64, 64)).save(photo)
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(photo), str(photo), "--model", "dlib-faces"])
    assert stop.value.code == 1
    assert "pip install 'onelook[faces]'" in capsys.readouterr().err


def test_a_photograph_without_a_face_is_an_error_that_names_it(tmp_path, capsys):
    pytest.importorskip("dlib")
    blank = tmp_path / "wall.png"
    Image.new("RGB", (120, 120), "white").save(blank)
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(blank), str(blank), "--model", "dlib-faces"])
    assert stop.value.code == 1
    assert "wall.png: no face was found" in capsys.readouterr().err


@pytest.mark.data
def test_two_photographs_of_one_person_are_the_same_and_two_of_others_are_not(
    data_root, capsys
):
    pytest.importorskip("dlib")
    pairs = lfw_view1(data_root, "test")
    for row, is_same in ((0, True), (501, False)):
        with pytest.raises(SystemExit) as stop:
            files = [pairs.left[row], pairs.right[row]]
            main(["compare", *files, "--model", "dlib-faces", "--json"])
        assert stop.value.code == 0
        assert json.loads(capsys.readouterr().out)["is_same"] is is_same


@pytest.mark.data
def test_the_mirrored_model_has_another_embedding_and_the_same_verdict(data_root):
    pytest.importorskip("dlib")
    pairs = lfw_view1(data_root, "test")
    files = [pairs.left[0], pairs.right[0]]
    plain, mirrored = (onelook.load(name) for name in ("dlib-faces", "dlib-faces-mirrored"))
    assert plain.fingerprint != mirrored.fingerprint
    scores = [model.compare(*files).score for model in (plain, mirrored)]
    assert scores[0] != scores[1] and abs(scores[0] - scores[1]) < 0.1
    assert mirrored.compare(*files).is_same
