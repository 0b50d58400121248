"""Finding and opening sources by name and by path."""

import numpy as np
import pytest
from PIL import Image

from onelook.data.sources import (
    DATA_SETS,
    SOURCES,
    find,
    open_source,
    open_training_data,
)
from onelook.errors import DataError
from onelook.evaluation.protocols import PROTOCOLS
from onelook.recipe import DataSettings, read_recipe, recipe_names


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_data_is_found_where_it_lies_in_order(tmp_path, monkeypatch):
    home, cache = tmp_path / "home", tmp_path / "cache"
    monkeypatch.setenv("ONELOOK_DATA", str(home))
    monkeypatch.setenv("ONELOOK_CACHE", str(cache))
    with pytest.raises(DataError) as caught:
        find("omniglot")
    message = str(caught.value)
    assert (
        f"no omniglot data in {home / 'omniglot'}, {home}, {cache / 'omniglot'}" in message
    )
    assert "onelook data omniglot --download" in message
    assert (
        "put images_background.zip, " in message and f"into {cache / 'omniglot'}" in message
    )
    touch(cache, "omniglot/images_background.zip")
    assert find("omniglot") == cache / "omniglot"
    touch(home, "images_evaluation/A/character01/1_01.png")
    assert find("omniglot") == home
    touch(home, "omniglot/images_background.zip")
    assert find("omniglot") == home / "omniglot"
    assert find("omniglot", cache) == cache
    for name, file in (("att", "s1/1.pgm"), ("lfw", "lfw-funneled.tgz")):
        touch(home, file)
        assert find(name) == home
    touch(home, "sick/SICK_train.txt")
    assert find("sick") == home / "sick"


def test_a_path_that_the_user_gave_is_not_replaced_by_another(tmp_path, monkeypatch):
    monkeypatch.setenv("ONELOOK_DATA", str(touch(tmp_path, "sick/SICK_train.txt")))
    with pytest.raises(DataError, match="--data .*gone does not exist; onelook data sick"):
        find("sick", tmp_path / "gone")


def test_every_recipe_and_every_protocol_is_in_the_table():
    for name in recipe_names():
        assert read_recipe(name).data.source in SOURCES
    assert {source.protocol for source in SOURCES.values()} - {""} <= set(PROTOCOLS)


def test_an_unknown_source_of_a_recipe_is_named():
    with pytest.raises(DataError, match="unknown source 'mnist'; known: omniglot, strokes"):
        open_training_data(DataSettings(source="mnist"))
    with pytest.raises(DataError, match="class-folder recipe needs --data, the folder of"):
        open_training_data(DataSettings(source="class-folder"))


def test_a_folder_of_a_data_set_s_name_is_never_ignored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONELOOK_DATA", str(tmp_path))
    for name in ("1.png", "2.png"):
        (tmp_path / "att" / "mine").mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / "att" / "mine" / name)
    with pytest.raises(DataError, match="a folder here: write ./att for your folder, or"):
        open_source("att")
    assert open_source("./att").class_names == ("mine",)
    touch(tmp_path, "faces/s1/1.pgm", "omniglot/images_background.zip")
    assert open_source("att", root=tmp_path / "faces").class_names == ("s1",)
    with pytest.raises(DataError, match="not a readable zip"):  # the data set itself
        open_source("omniglot")


def test_a_part_goes_with_a_data_set(tmp_path):
    with pytest.raises(DataError, match="a part goes with a data set .omniglot, .* not wi"):
        open_source(tmp_path, "test")
    with pytest.raises(DataError, match="no source 'gone': neither a folder nor a file"):
        open_source("gone")


def test_a_catalogue_has_one_picture_of_each_product(tmp_path):
    touch(tmp_path, "photos/milk/1.jpg", "photos/milk/2.jpg", "photos/juice/1.jpg")
    touch(tmp_path, "catalogue/milk.jpg")
    with pytest.raises(DataError, match="catalogue has no juice.jpg; is it whole"):
        open_source("grocery", "photos", tmp_path)
    touch(tmp_path, "catalogue/juice.jpg", "catalogue/tea.jpg")
    catalogue = open_source("grocery", "catalogue", tmp_path)
    assert catalogue.class_names == ("juice", "milk")
    assert [path.rpartition("/")[2] for path in catalogue.paths] == [
        "juice.jpg",
        "milk.jpg",
    ]
    photos = open_source("grocery", "photos", tmp_path)
    assert np.bincount(photos.labels).tolist() == [1, 2]
    assert len(open_source("grocery", root=tmp_path)) == 5


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "part", "items", "classes"),
    [
        ("things", "", 81, 15),
        ("grocery", "photos", 1_597, 40),
        ("grocery", "catalogue", 40, 40),
    ],
)
def test_real_photographs_have_the_stated_counts(data_root, name, part, items, classes):
    assert name in DATA_SETS
    data = open_source(name, part)
    assert (len(data), data.n_classes) == (items, classes)
