"""Descriptions of sources against counts by hand, and against the published sizes."""

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onelook.data.describe import describe, describe_images, pairs_to_draw
from onelook.data.items import Dataset
from onelook.data.sources import open_source
from onelook.errors import DataError


@pytest.fixture
def folder(tmp_path):
    for name in ("a/1.png", "a/2.png", "a/3.png", "b/1.png", "c/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    return tmp_path


def test_a_folder_is_counted(folder):
    description = describe(open_source(str(folder)))
    assert description.facts["images"] == 5
    assert description.facts["images per class"] == {
        "smallest": 1,
        "median": 1,
        "largest": 3,
    }
    assert description.facts["classes of one image"] == 2
    assert "groups" not in description.facts
    assert description.images.heights == (20, 20, 20)
    assert description.bad == []
    assert "smallest 1, median 1, largest 3" in str(description)


def test_damage_behind_a_sound_header_is_found(folder):
    whole = (folder / "a/1.png").read_bytes()
    (folder / "a/2.png").write_bytes(whole[:-25])
    description = describe(open_source(str(folder)))
    assert [address for address, _ in description.bad] == [str(folder / "a/2.png")]
    assert f"cannot be read: {folder / 'a/2.png'}" in str(description)
    drawn = pairs_to_draw(open_source(str(folder)), description.bad)
    assert str(folder / "a/2.png") not in {side for pair in drawn for side in pair[:2]}


def test_every_broken_image_is_listed_with_its_reason(tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    for i in range(15):
        (folder / f"{i:02d}.png").write_bytes(b"broken")
    lines = str(describe(open_source(str(tmp_path)))).splitlines()
    listed = [line for line in lines if line.startswith("  cannot be read: ")]
    assert len(listed) == 15 and listed[14].startswith(
        f"  cannot be read: {folder / '14.png'}"
    )


def test_columns_that_a_source_has_are_counted():
    data = Dataset(
        "x",
        ("1", "2", "3"),
        np.array([0, 0, 1]),
        ("a", "b"),
        groups=np.array([0, 0, 0]),
        group_names=("g",),
        drawers=np.array([4, 5, 5]),
        folds=np.array([1, 2, 2]),
        splits=np.array(["train", "train", "test"]),
    )
    facts = describe(data).facts
    assert (facts["groups"], facts["drawers"]) == (1, 2)
    assert facts["splits"] == {"test": 1, "train": 2}
    assert facts["folds"] == {"1": 1, "2": 2}


def test_pairs_that_are_drawn_are_half_same_and_tell_the_truth(shapes_folder):
    data = open_source(str(shapes_folder))
    drawn = pairs_to_draw(data, [], count=20)
    class_of = dict(zip(data.paths, data.labels.tolist(), strict=True))
    assert sum(is_same for _, _, is_same in drawn) == 10
    for left, right, is_same in drawn:
        assert left != right and (class_of[left] == class_of[right]) == is_same


def test_a_pair_file_is_counted_and_drawn(folder):
    file = folder / "pairs.csv"
    file.write_text("# same=0\na/1.png,a/2.png,0\na/1.png,b/1.png,1\na/3.png,c/1.png,1\n")
    pairs = open_source(str(file), root=folder)
    description = describe(pairs)
    assert (description.facts["same"], description.facts["different"]) == (1, 2)
    assert description.facts["distinct sides"] == 5
    drawn = pairs_to_draw(pairs, [(str(folder / "c/1.png"), "why")])
    assert [is_same for _, _, is_same in drawn] == [True, False]


def test_a_second_place_for_a_folder_is_refused(folder):
    with pytest.raises(DataError, match="leave out 'elsewhere'"):
        open_source(str(folder), root="elsewhere")


@pytest.mark.data
@pytest.mark.parametrize(
    ("source", "facts"),
    [
        pytest.param(
            "omniglot",
            {"images": 32460, "classes": 1623, "groups": 50, "drawers": 20},
            marks=pytest.mark.slow,
        ),
        ("att", {"images": 400, "classes": 40, "splits": {"test": 30, "train": 370}}),
        (
            "sick",
            {"pairs": 9927, "targets": {"smallest": 1, "median": 3.615, "largest": 5}},
        ),
    ],
)
def test_published_sizes(source, facts, data_root):
    place = data_root / {"att": "att_faces"}.get(source, source)
    found = describe(open_source(source, root=place)).facts
    assert {key: found[key] for key in facts} == facts


def test_describe_images_counts_sizes_and_modes(tmp_path):
    sizes = [(30, 10), (40, 20), (50, 60)]  # width, height
    for i, size in enumerate(sizes):
        Image.new("L" if i else "RGB", size).save(tmp_path / f"{i}.png")
    (tmp_path / "x.png").write_bytes(b"no")
    addresses = [f"{tmp_path}/{name}.png" for name in "012x0"]
    summary = describe_images(addresses, progress=False)
    assert summary.n_images == 4
    assert summary.heights == (10, 20, 60)
    assert summary.widths == (30, 40, 50)
    assert summary.modes == {"L": 2, "RGB": 1}
    assert summary.bad == [(f"{tmp_path}/x.png", "not an image; it begins with b'no'")]
    assert str(summary) == (
        "4 images, height x width smallest 10 x 30, median 20 x 40, largest 60 x 50 "
        "(2 L, 1 RGB)"
    )
    assert json.loads(json.dumps(asdict(summary)))["heights"] == [10, 20, 60]


def test_describe_images_of_one_size_or_none(folder):
    addresses = [str(path) for path in folder.glob("*/*.png")]
    assert str(describe_images(addresses)) == "5 images, height x width 20 x 30 (5 RGB)"
    assert str(describe_images(["no.png"])).startswith("1 images, none readable")


def members(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as file:
        names = [info.filename for info in file.infolist() if not info.is_dir()]
    return [f"{archive}!/{name}" for name in names]


@pytest.mark.data
def test_faces_are_described_from_their_headers(data_root):
    lfw = members(data_root / "lfw" / "lfw-deepfunneled.zip")
    assert (
        str(describe_images(lfw)) == "13,233 images, height x width 250 x 250 (13,233 RGB)"
    )
    att = [a for a in members(data_root / "att_faces" / "att_faces.zip") if "pgm" in a]
    assert str(describe_images(att)) == "400 images, height x width 112 x 92 (400 L)"
