"""LFW in every packing and alignment, its two views and its people."""

import io
import tarfile
import zipfile

import numpy as np
import pytest

from onelook.data.archives import address_exists
from onelook.data.sources.lfw import (
    folds_of_part,
    lfw,
    lfw_pair_file,
    lfw_people,
    lfw_view1,
    lfw_view2,
    read_lfw_pairs,
)
from onelook.data.sources.pair_files import read_pairs
from onelook.errors import DataError

PEOPLE = {"Ada_B": 3, "Bob": 1, "Cy": 2, "Dee-Dee": 1}
PAIRS = "2\t1\nAda_B\t1\t3\nAda_B\t2\tBob\t1\nCy\t1\t2\nCy\t1\tDee-Dee\t1\n"


def write(target, top):
    members = [
        f"{top}/{person}/{person}_{i:04d}.jpg"
        for person, n in PEOPLE.items()
        for i in range(1, n + 1)
    ]
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as archive:
            for name in members:
                archive.writestr(name, "x")
    elif target.suffix == ".tgz":
        with tarfile.open(target, "w:gz") as archive:
            for name in members:
                archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    else:
        for name in members:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


@pytest.mark.parametrize("place", ["", "lfw"])
@pytest.mark.parametrize(
    ("file", "top", "variant"),
    [
        ("lfw-deepfunneled.zip", "lfw-deepfunneled", "deep-funneled"),
        ("lfw-deepfunneled.tgz", "lfw-deepfunneled", "deep-funneled"),
        ("", "lfw-deepfunneled", "deep-funneled"),
        ("", "lfw-deepfunneled/lfw-deepfunneled", "deep-funneled"),
        ("lfw-funneled.tgz", "lfw_funneled", "funneled"),
        ("", "lfw_funneled", "funneled"),
        ("lfw.tgz", "lfw", "plain"),
        ("lfw.zip", "lfw", "plain"),
        ("", "lfw", "plain"),
    ],
)
def test_every_packing_gives_the_same_people(tmp_path, place, file, top, variant):
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    write(folder / file, top)
    (folder / "pairs.txt").write_text(PAIRS)
    for root in {tmp_path, folder}:
        data = lfw(root)
        assert data.name == f"LFW {variant}" and data.class_names == tuple(PEOPLE)
        assert np.bincount(data.labels).tolist() == list(PEOPLE.values())
        assert all(map(address_exists, data.paths))
        assert lfw(root, variant).paths == data.paths
        pairs = lfw_view2(root)
        assert pairs.left[1].endswith("Ada_B/Ada_B_0002.jpg")
        assert pairs.folds.tolist() == [1, 1, 2, 2]
        assert set(pairs.left + pairs.right) <= set(data.paths)
    for other in {"deep-funneled", "funneled", "plain"} - {variant}:
        with pytest.raises(DataError, match=f"no photographs of {other} LFW"):
            lfw(tmp_path, other)


def test_an_archive_or_a_tree_may_be_named_itself(tmp_path):
    write(tmp_path / "lfw-funneled.zip", "lfw_funneled")
    write(tmp_path, "lfw_deepfunneled")
    (tmp_path / "pairs.txt").write_text(PAIRS)
    assert lfw(tmp_path / "lfw-funneled.zip").name == "LFW funneled"
    assert lfw(tmp_path / "lfw_deepfunneled").name == "LFW deep-funneled"
    assert lfw(tmp_path).name == "LFW deep-funneled"
    for name in ("lfw-funneled.zip", "lfw_deepfunneled"):
        assert len(lfw_view2(tmp_path / name)) == 4


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "lfw.zip", "lfw")
    return tmp_path


def test_people_lists_keep_their_folds(folder):
    (folder / "people.txt").write_text("2\n1\nBob\t1\n2\nAda_B\t3\nCy\t2\n")
    data = lfw_people(folder, "folds")
    assert data.class_names == ("Ada_B", "Bob", "Cy")
    assert data.folds.tolist() == [2, 2, 2, 1, 2, 2]
    (folder / "peopleDevTest.txt").write_text("1\nCy\t2\n")
    test = lfw_people(folder, "DevTest")
    assert test.class_names == ("Cy",) and len(test) == 2 and test.folds is None


def test_people_outside_folds_are_all_the_others(folder):
    (folder / "people.txt").write_text("3\n1\nBob\t1\n1\nAda_B\t3\n1\nCy\t2\n")
    assert lfw_people(folder, "not-fold2").class_names == ("Bob", "Cy")
    outside = lfw_people(folder, "not-fold3,1")
    assert outside.class_names == ("Ada_B",) and outside.folds.tolist() == [2, 2, 2]
    assert "not-fold3,1" in outside.name


@pytest.mark.parametrize("folds", ["", "0", "11", "1,", "3,3", "x", "1,2,3,4,5,6,7,8,9,10"])
def test_folds_that_make_no_part_are_refused(folds):
    with pytest.raises(DataError, match=f"part 'not-fold{folds}' of LFW: expected"):
        folds_of_part(f"not-fold{folds}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x\n", "people.txt:1: expected a count, got 'x'"),
        ("1\n2\nBob\t1\n", "people.txt:4: expected PERSON and a count, got ''"),
        ("1\n1\nBob 1\n", "people.txt:3: expected PERSON and a count, got 'Bob 1'"),
        ("1\n1\nBob\t2\n", "people.txt:3: .* has no image 2 of Bob; is the archive whole"),
        ("1\n2\nBob\t1\nBob\t1\n", "people.txt:4: Bob is listed twice"),
        ("1\n1\nBob\t1\nCy\t2\n", "people.txt:4: more lines than"),
    ],
)
def test_a_malformed_people_list_is_named_with_its_line(folder, content, message):
    (folder / "people.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        lfw_people(folder, "folds")


def test_a_missing_image_is_named_with_its_line(folder):
    (folder / "pairs.txt").write_text(PAIRS.replace("Ada_B\t1\t3", "Ada_B\t1\t4"))
    with pytest.raises(DataError, match=r"pairs.txt:2: .*lfw.zip has no image 4 of Ada_B"):
        lfw_view2(folder)
    (folder / "mine.txt").write_text("Bob/Bob_0001.jpg Bob/Bob_0002.jpg 1\n")
    with pytest.raises(DataError, match=r"mine.txt:1: .* has no image 2 of Bob"):
        lfw_pair_file(folder, "mine.txt")
    (folder / "mine.txt").write_text("Bob/Bob_0001.jpg Bob.jpg 1\n")
    with pytest.raises(DataError, match=r"mine.txt:1: expected PERSON/PERSON_0001.jpg"):
        lfw_pair_file(folder, "mine.txt")


def test_unknown_names_and_missing_lists_are_refused(folder):
    with pytest.raises(ValueError, match="unknown variant 'x'; known: deep-funneled"):
        lfw(folder, "x")
    with pytest.raises(ValueError, match="unknown split 'val'"):
        lfw_view1(folder, "val")
    with pytest.raises(ValueError, match="unknown part 'x' of lfw; known: DevTrain"):
        lfw_people(folder, "x")
    with pytest.raises(DataError, match="no pairs.txt in .*--download fetches"):
        lfw_view2(folder)


def text(folder, content, name="pairs.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def address(person, number):
    return f"{person}/{number}"


FOLDS = "2\t1\nAda\t1\t2\nAda\t1\tBob\t3\nCy\t2\t4\nCy\t1\tDee\t1\n"


def test_lfw_folds_and_lines_are_kept(tmp_path):
    pairs = read_lfw_pairs(text(tmp_path, FOLDS), address)
    assert pairs.left == ("Ada/1", "Ada/1", "Cy/2", "Cy/1")
    assert pairs.right == ("Ada/2", "Bob/3", "Cy/4", "Dee/1")
    assert pairs.is_same.tolist() == [True, False, True, False]
    assert pairs.folds.tolist() == [1, 1, 2, 2]
    assert pairs.line_numbers.tolist() == [2, 3, 4, 5]
    development = read_lfw_pairs(
        text(tmp_path, "1\n" + "\n".join(FOLDS.split("\n")[1:3])), address
    )
    assert development.folds is None and len(development) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            FOLDS.replace("Ada\t1\tBob\t3", "Ada\t1"),
            r"pairs.txt:3: expected 3 or 4 tab-sep.*got 2",
        ),
        (
            FOLDS.replace("Cy\t2\t4", "Cy\tx\t4"),
            "pairs.txt:4: an image's number .* got 'x'",
        ),
        (
            FOLDS.replace("Cy\t2\t4", "Cy\t0\t4"),
            "pairs.txt:4: an image's number .* got '0'",
        ),
        (
            FOLDS.replace("Ada\t1\t2\n", ""),
            r"pairs.txt:2: expected 3 fields \(same\) for pair 1",
        ),
        (FOLDS + "Cy\t1\t2\n", "pairs.txt:6: line 1 says 4 pairs, here is one more"),
        (FOLDS.rpartition("Cy")[0], "pairs.txt: line 1 says 4 pairs, the file has 3"),
        ("Ada\t1\t2\n", "pairs.txt:1: expected the number of pairs of each kind"),
        ("0\n", "pairs.txt:1: expected the number"),
        ("", "pairs.txt:1: expected the number"),
    ],
)
def test_a_malformed_lfw_file_is_named_with_its_line(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_lfw_pairs(text(tmp_path, content), address)


def test_a_missing_lfw_image_is_named_with_its_line(tmp_path):
    def missing(person, number):
        if person == "Cy":
            raise DataError(f"no image {number} of {person}")
        return address(person, number)

    with pytest.raises(DataError, match="pairs.txt:4: no image 2 of Cy"):
        read_lfw_pairs(text(tmp_path, FOLDS), missing)


@pytest.mark.data
def test_the_real_lfw_has_the_published_counts(data_root):
    data = lfw(data_root)
    assert (len(data), data.n_classes) == (13_233, 5_749)
    for name, n_people in (("DevTrain", 4_038), ("DevTest", 1_711), ("folds", 5_749)):
        assert lfw_people(data_root, name).n_classes == n_people
    development = [
        set(lfw_people(data_root, n).class_names) for n in ("DevTrain", "DevTest")
    ]
    assert not set.intersection(*development)


@pytest.mark.data
def test_the_real_views_have_the_published_counts_and_disjoint_folds(data_root):
    people = lfw_people(data_root, "folds")
    fold_of = dict(zip(people.paths, people.folds, strict=True))
    pairs = lfw_view2(data_root)
    for fold in range(1, 11):
        part = pairs.subset(pairs.folds == fold)
        assert len(part) == 600 and part.is_same.sum() == 300
        assert {fold_of[path] for path in part.left + part.right} == {fold}
    for split, n_pairs in (("train", 2_200), ("test", 1_000)):
        view1 = lfw_view1(data_root, split)
        assert len(view1) == n_pairs and view1.is_same.sum() == n_pairs // 2
        # The split of the 19-layer system is the same pairs in another order and format.
        other = lfw_pair_file(data_root, f"pairs_{split}.txt")

        def keyed(pairs):
            rows = zip(pairs.left, pairs.right, pairs.is_same, strict=True)
            return sorted((left, right, bool(same)) for left, right, same in rows)

        assert keyed(other) == keyed(view1)


@pytest.mark.data
def test_a_pair_file_reads_the_same_through_its_archive(data_root):
    path = data_root / "lfw" / "pairs_test.txt"
    archive = data_root / "lfw" / "lfw-deepfunneled.zip"
    pairs = read_pairs(path, f"{archive}!/lfw-deepfunneled", same=1)
    ours = lfw_pair_file(data_root, "pairs_test.txt")
    assert pairs.left == ours.left and pairs.right == ours.right
