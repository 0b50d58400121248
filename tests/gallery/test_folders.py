"""Whole folders: enrolled, begun again, and checked against their own names."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from onelook.data.archives import open_tree
from onelook.data.reading import read_bytes
from onelook.errors import DataError
from onelook.gallery.folders import (
    check_folder,
    enroll_files,
    images_of_identities,
)
from onelook.gallery.gallery import Gallery
from onelook.loading import load
from onelook.verifier import from_function


def grey(images):
    return np.stack([[np.asarray(i.convert("L")).mean() / 255, 1.0] for i in images])


@pytest.fixture
def gallery(tmp_path):
    with Gallery(from_function(grey, "euclidean", "grey"), tmp_path / "g.db") as gallery:
        yield gallery


@pytest.fixture
def people(tmp_path):
    """Three greys with three shades each, and a picture in no folder."""
    for i, name in enumerate(["Ada", "Bob", "Cy"]):
        folder = tmp_path / "people" / name
        folder.mkdir(parents=True)
        for j in range(3):
            Image.new("L", (8, 8), 80 * i + 2 * j).save(folder / f"{j}.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "people" / "Dora.png")
    return tmp_path / "people"


def test_the_folder_or_the_file_is_the_identity(people):
    found = images_of_identities(people)
    assert [who for who, _ in found] == [*["Ada"] * 3, *["Bob"] * 3, *["Cy"] * 3, "Dora"]
    assert images_of_identities(people / "Dora.png") == [found[-1]]
    with pytest.raises(DataError, match="holds no images"):
        (people.parent / "empty").mkdir()
        images_of_identities(people.parent / "empty")


def test_an_identity_in_several_parts_is_one(people, caplog):
    for part in ("train", "val"):
        (people / part / "Eve").mkdir(parents=True)
        shutil.copy(people / "Dora.png", people / part / "Eve" / f"{part}.png")
    found = images_of_identities(people)
    assert [who for who, _ in found].count("Eve") == 2
    assert "1 class name lies under train and val (Eve)" in caplog.text


def test_a_folder_whose_name_is_not_utf8_is_named_and_the_others_are_enrolled(
    gallery, people, caplog
):
    (people / "Ada").rename(people / os.fsdecode(b"Ad\xe9"))
    (people / "Bob").rename(people / "Bob ")
    with pytest.raises(
        DataError, match=r"the identity 'Ad\\udce9' is not UTF-8; rename it"
    ):
        enroll_files(gallery, [people], progress=False)
    assert set(gallery.identities()) == {"Bob", "Cy", "Dora"}
    assert len(enroll_files(gallery, [people], skip_bad=True, progress=False).bad) == 3
    assert r"no image of Ad\udce9 could be enrolled" in caplog.messages


def test_poor_examples_are_refused_where_that_is_asked(gallery, people):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    for name in ("Ada", "Eve"):
        (people / name).mkdir(exist_ok=True)
        Image.fromarray(noise).save(people / name / "sharp.png")
    done = enroll_files(gallery, [people], strict=True, skip_bad=True, progress=False)
    assert (done.n_new, done.n_identities, len(done.bad)) == (2, 2, 10)
    assert done.bad[0][0].endswith("0.png") and done.bad[0][1].startswith("blank: ")
    assert done.warnings == ()
    with pytest.raises(DataError, match="10 of 12 images cannot be used"):
        enroll_files(gallery, [people], strict=True, progress=False)
    done = enroll_files(gallery, [people], progress=False)
    assert (done.n_new, done.n_known, len(done.warnings)) == (10, 2, 10)


def test_an_identity_of_which_no_image_could_be_read_is_named(gallery, people, caplog):
    (people / "Bad").mkdir()
    (people / "Bad" / "0.png").write_bytes(b"no image")
    done = enroll_files(gallery, [people], skip_bad=True, progress=False)
    assert done.n_identities == 4 and "no image of Bad could be enrolled" in caplog.text


def test_an_enrolment_goes_on_where_it_stood(gallery, people):
    first = enroll_files(gallery, [people], at_most=1, progress=False)
    assert (first.n_new, first.n_identities) == (4, 4)
    second = enroll_files(gallery, [people], progress=False)
    assert (second.n_new, second.n_known) == (6, 4)
    assert str(second) == "6 images of 4 identities enrolled, 4 were enrolled before"


def test_a_broken_image_is_named_at_the_end_and_the_others_are_enrolled(gallery, people):
    (people / "Bob" / "0.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"1 of 10 images cannot be used:\n.*Bob/0.png"):
        enroll_files(gallery, [people], progress=False)
    assert gallery.identities() == {"Ada": 3, "Bob": 2, "Cy": 3, "Dora": 1}
    again = enroll_files(gallery, [people], skip_bad=True, progress=False)
    assert [address.endswith("Bob/0.png") for address, _ in again.bad] == [True]


def test_files_and_folders_can_be_one_identity(gallery, people):
    paths = [people / "Ada", people / "Dora.png"]
    done = enroll_files(gallery, paths, identity="all", progress=False)
    assert done.n_new == 4 and gallery.identities() == {"all": 4}


def test_files_are_identities_named_like_the_files(gallery, people):
    done = enroll_files(gallery, [people / "Dora.png", people / "Cy" / "0.png"])
    assert (done.n_new, done.n_identities) == (2, 2)
    assert gallery.identities() == {"0": 1, "Dora": 1}


def test_files_of_one_name_in_two_folders_are_not_one_identity(gallery, people, tmp_path):
    for folder in ("cats", "dogs"):
        (tmp_path / folder).mkdir()
        shutil.copy(next(people.glob("*/*.png")), tmp_path / folder / "1.png")
    with pytest.raises(DataError, match="would both be the identity '1'"):
        enroll_files(gallery, [tmp_path / "cats", tmp_path / "dogs"])
    assert len(gallery) == 0


def test_a_name_that_cannot_be_kept_is_named_at_the_end_too(gallery, people):
    (people / "Ada").rename(people / "A\tda")
    with pytest.raises(DataError, match=r"3 of 10 .*\n.*A\\tda.* 1 to 200 char"):
        enroll_files(gallery, [people], progress=False)
    assert gallery.identities() == {"Bob": 3, "Cy": 3, "Dora": 1}


def test_a_check_counts_what_is_right_and_leaves_out_what_is_enrolled(gallery, people):
    enroll_files(gallery, [people], at_most=1, progress=False)
    gallery.forget("Cy")
    result, answers = check_folder(gallery, people, progress=False)
    # Dora's only image is enrolled; Cy is unknown, with three.
    assert (result.n_known, result.n_best, result.n_unknown) == (4, 4, 3)
    assert {who for who, _, _ in answers} == {"Ada", "Bob", "Cy"}
    assert (result.n_right, result.n_rejected, result.fpir) == (0, 4, None)  # no decision


@pytest.mark.data
@pytest.mark.slow
def test_characters_of_an_unseen_alphabet_are_told_from_unknown_ones(data_root, tmp_path):
    archive = data_root / "omniglot" / "images_evaluation.zip"
    tree = open_tree(f"{archive}!/images_evaluation/Atlantean")
    for name in tree.names:
        character, file = name.split("/")
        place = "people" if int(file[5:7]) == 1 and character <= "character20" else "asked"
        if int(file[5:7]) <= 6:
            target = tmp_path / place / character / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read_bytes(tree.address(name)))
    with Gallery(load("omniglot"), tmp_path / "g.db") as gallery:
        enroll_files(gallery, [tmp_path / "people"], progress=False)
        result, _ = check_folder(gallery, tmp_path / "asked", progress=False)
    assert (result.n_known, result.n_unknown) == (100, 36)
    assert result.n_best >= 85
    # The unknown are of the same alphabet: few probes get a name, and hardly any of them.
    assert result.n_right >= 25
    assert result.n_falsely_accepted <= 2 * result.fpir * result.n_unknown
