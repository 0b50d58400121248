"""Several: an answer for every face of a picture, and every drawing of a sheet."""

import io
import json
import sys

import pytest
from PIL import Image

from onelook.cli import main
from onelook.data.archives import addresses_of
from onelook.data.inputs.decoding import decode
from onelook.errors import DataError, UnfitError
from onelook.gallery.gallery import Gallery
from onelook.loading import load
from onelook.several import compare_all, draw_placed, draw_seen, identify_all

PEOPLE = ["Ana_Guevara", "Ariel_Sharon", "Bill_Simon", "Cameron_Diaz"]
STRANGERS = ["Alexa_Vega", "Jana_Henke"]


@pytest.fixture(scope="module")
def photographs(data_root):
    """The photographs of each person, by name."""
    found = addresses_of([data_root / "lfw/lfw-deepfunneled.zip"], frozenset({".jpg"}))
    wanted = {name: [] for name in [*PEOPLE, *STRANGERS]}
    for address in found:
        if address.split("/")[-2] in wanted:
            wanted[address.split("/")[-2]].append(address)
    return wanted


@pytest.fixture(scope="module")
def group(photographs, tmp_path_factory):
    """A picture of four enrolled people and two strangers, in two rows."""
    pytest.importorskip("dlib")
    page = Image.new("RGB", (750, 500))
    last = [photographs[name][-1] for name in [*PEOPLE, *STRANGERS]]
    for i, address in enumerate(last):
        page.paste(decode(address), (250 * (i % 3), 250 * (i // 3)))
    path = tmp_path_factory.mktemp("group") / "group.png"
    page.save(path)
    return path


def named(seen):
    """The name in each of the six photographs; there are others in the background."""
    names = dict.fromkeys(range(6))
    for one in seen.found:
        x, y = (one.box[0] + one.box[2]) / 500, (one.box[1] + one.box[3]) / 500
        place = int(x) + 3 * int(y)
        names[place] = names[place] or one.answer.identity
    return list(names.values())


@pytest.mark.data
@pytest.mark.slow
def test_every_person_of_a_group_has_its_name(photographs, group, tmp_path):
    with Gallery(load("dlib-faces"), tmp_path / "people.db") as gallery:
        for name in PEOPLE:
            gallery.enroll(name, photographs[name][:3])
        seen = identify_all(gallery, group)
        assert named(seen) == [*PEOPLE, None, None]
        assert (seen.width, seen.height, seen.n_left_out) == (750, 500, 0)
        lefts = [one.box[0] for one in seen.found]
        assert lefts == sorted(lefts)
        largest = identify_all(gallery, group.read_bytes(), k=1, most=2)
        assert len(largest.found) == 2 and largest.n_left_out == len(lefts) - 2
        assert largest.picture == "image" and "more, which are smaller" in str(largest)
        with pytest.raises(UnfitError, match="^image: no face was found"):
            identify_all(gallery, Image.new("RGB", (300, 300)))
        drawn = draw_seen(group, seen, tmp_path / "named.png")
    assert decode(drawn).width > 1000


@pytest.mark.data
@pytest.mark.slow
def test_every_face_of_one_picture_is_compared_with_every_other(
    photographs, group, tmp_path
):
    one = photographs["Ana_Guevara"][0]
    pairs = compare_all(load("dlib-faces"), one, group)
    best = pairs[0]
    assert best.answer.verdict == "same" and best.right_box[2] < 250 > best.right_box[3]
    assert all(pair.answer.verdict != "same" for pair in pairs[1:])
    draw_placed(one, group, pairs, tmp_path / "pairs.png")


@pytest.fixture(scope="module")
def sheet(data_root, tmp_path_factory):
    """Three drawings on a sheet, and another drawing of two of them."""
    found = addresses_of(
        [data_root / "omniglot/images_evaluation.zip"], frozenset({".png"})
    )
    page = Image.new("L", (420, 120), 255)
    for i in range(3):
        page.paste(decode(found[100 * i]), (20 + 130 * i, 5))
    path = tmp_path_factory.mktemp("sheet") / "sheet.png"
    page.save(path)
    return path, [found[100 * i + 1] for i in range(2)]


@pytest.mark.data
def test_every_drawing_of_a_sheet_has_its_name(sheet, tmp_path, monkeypatch, capsys):
    page, (first, second) = sheet
    url = str(tmp_path / "signs.db")
    with Gallery(load("omniglot"), url) as gallery:
        gallery.enroll("first", [first])
        gallery.enroll("second", [second])
        with pytest.raises(DataError, match="omniglot is for drawings, and no faces"):
            compare_all(gallery.verifier, page, page)
        with pytest.raises(ValueError, match="most must be positive, got 0"):
            identify_all(gallery, page, most=0)
    command = ["onelook", "identify", str(page), "-g", url, "--faces", "9", "--json"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        main()
    found = json.loads(capsys.readouterr().out)["found"]
    nearest = {one["answer"]["matches"][0]["identity"]: one["box"][0] for one in found[:2]}
    assert nearest["first"] < 140 <= nearest["second"]


def test_a_model_that_looks_for_no_faces_says_so(tmp_path):
    picture = io.BytesIO()
    Image.new("RGB", (64, 64)).save(picture, "PNG")
    with (
        Gallery(load("photos"), tmp_path / "things.db") as gallery,
        pytest.raises(DataError, match="photos looks for no faces here: give a model of f"),
    ):
        identify_all(gallery, picture.getvalue())
