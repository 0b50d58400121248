"""Class folders, AT&T, SICK, digits, and finding what lies where."""

import io
import logging
import zipfile

import numpy as np
import pytest
from PIL import Image

from onelook.data.sources.class_folders import (
    att,
    class_folder,
    digits,
    digits_upscaled,
    find_data,
    sick,
)
from onelook.errors import DataError


def pixels_of(address):
    archive, _, member = address.partition("!/")
    with (
        zipfile.ZipFile(archive) as file,
        Image.open(io.BytesIO(file.read(member))) as image,
    ):
        return np.asarray(image)


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_folders_are_classes(tmp_path, caplog):
    touch(tmp_path, "dog/1.png", "cat/2.JPG", "cat/1.jpeg", "cat/.hidden.png")
    data = class_folder(tmp_path)
    assert data.class_names == ("cat", "dog") and data.labels.tolist() == [0, 0, 1]
    assert data.paths == tuple(
        f"{tmp_path}/{n}" for n in ("cat/1.jpeg", "cat/2.JPG", "dog/1.png")
    )
    assert data.groups is None and data.name == tmp_path.name
    assert caplog.text == ""


def test_folders_above_the_class_are_groups(tmp_path):
    touch(tmp_path, "Greek/alpha/1.png", "Greek/beta/1.png", "Latin/alpha/1.png")
    data = class_folder(tmp_path, depth=1, name="letters")
    assert data.class_names == ("Greek/alpha", "Greek/beta", "Latin/alpha")
    assert data.group_names == ("Greek", "Latin") and data.groups.tolist() == [0, 0, 1]
    assert data.name == "letters"


def test_a_zip_is_read_like_a_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name in ("pets/cat/1.png", "pets/dog/1.png", "__MACOSX/pets/cat/._1.png"):
            archive.writestr(name, "")
    data = class_folder(f"{tmp_path}/pets.zip!/pets")
    assert data.class_names == ("cat", "dog") and data.name == "pets"
    assert data.paths[0] == f"{tmp_path}/pets.zip!/pets/cat/1.png"
    assert class_folder(tmp_path / "pets.zip", depth=1).group_names == ("pets",)


@pytest.mark.parametrize(
    ("names", "depth", "message"),
    [
        (
            ["Greek/alpha/1.png", "Greek/beta/1.png"],
            0,
            "no images in .* at depth 0, which looks for CLASS/IMAGE; 2 lie as "
            "'Greek/alpha/1.png': if 'alpha' is a class there, pass --depth 1",
        ),
        (["cat/1.png"], 1, "looks for GROUP/CLASS/IMAGE; 1 lie .* pass --depth 0"),
        (["1.png", "2.png"], 0, "'1.png': put the images into one folder per class"),
        (
            ["cat/notes.txt"],
            0,
            r"no images in .* \(1 other files\); put them into one folder",
        ),
        ([], 0, "no images in"),
    ],
)
def test_the_wrong_depth_is_refused_and_the_right_one_named(
    tmp_path, names, depth, message
):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=message):
        class_folder(tmp_path, depth)


def test_what_is_left_out_is_counted(tmp_path, caplog):
    touch(
        tmp_path, "cat/1.png", "cat/Thumbs.db", "readme", "0.png", "a/b/1.png", "a/c/1.png"
    )
    with caplog.at_level(logging.WARNING):
        assert len(class_folder(tmp_path)) == 1
    assert "2 images lie deeper than --depth 0 and are left out" in caplog.text
    assert "pass --depth 1" in caplog.text
    assert "1 images lie in no class folder" in caplog.text
    assert (
        "2 files that are no images are left out" in caplog.text and ".db: 1" in caplog.text
    )


def test_a_negative_depth_and_a_missing_folder_are_refused(tmp_path):
    with pytest.raises(ValueError, match="depth must be 0 or more, got -1"):
        class_folder(tmp_path, -1)
    with pytest.raises(DataError, match="gone does not exist"):
        class_folder(tmp_path / "gone")


PORTRAITS = [f"s{person}/{i}.pgm" for person in range(1, 41) for i in range(1, 11)]


@pytest.mark.parametrize("kind", ["plain tree", "seed tree", "zip in folder", "zip itself"])
def test_att_is_the_same_in_every_packing(tmp_path, kind):
    seed = [
        ("testing/" if n.split("/")[0] in ("s5", "s6", "s7") else "training/") + n
        for n in PORTRAITS
    ]
    root = tmp_path
    if kind == "plain tree":
        touch(tmp_path / "orl_faces", *PORTRAITS, "README")
    elif kind == "seed tree":
        root = touch(tmp_path / "any", *seed, "training/README")
    else:
        with zipfile.ZipFile(tmp_path / "att_faces.zip", "w") as archive:
            for name in seed:
                archive.writestr(name, "")
        root = tmp_path / "att_faces.zip" if kind == "zip itself" else tmp_path
    data = att(root)
    assert data.class_names == tuple(f"s{i}" for i in range(1, 41))
    assert [p.rpartition("/")[2] for p in data.paths[:10]] == [
        f"{i}.pgm" for i in range(1, 11)
    ]
    assert data.of_split("test").class_names == ("s5", "s6", "s7")
    assert len(data.of_split("train")) == 370
    for fold in range(1, 9):
        people = data.subset(data.folds == fold).class_names
        assert people == tuple(f"s{i}" for i in range(5 * fold - 4, 5 * fold + 1))


def test_att_that_is_missing_or_cut_is_said_so(tmp_path, caplog):
    with pytest.raises(DataError, match="no portraits .* put att_faces.zip there"):
        att(tmp_path)
    att(touch(tmp_path, *PORTRAITS[:30]))
    assert "has 30 portraits, AT&T has 400: is it whole?" in caplog.text


SICK = (
    "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\r\n"
    '6\tHe says "no\tA dog, a cat\t3.3\tNEUTRAL\r\n'
    "7\tA\tB\t5\tNEUTRAL\r\n"
)


@pytest.mark.parametrize("place", ["", "sick"])
@pytest.mark.parametrize("zipped", [False, True])
def test_sick_reads_text_and_official_zips(tmp_path, place, zipped):
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    if zipped:
        with zipfile.ZipFile(folder / "sick_trial.zip", "w") as archive:
            archive.writestr("SICK_trial.txt", SICK)
    else:
        (folder / "SICK_trial.txt").write_bytes(SICK.encode())
    pairs = sick(tmp_path, "trial")
    assert pairs.left == ('He says "no', "A") and pairs.right == ("A dog, a cat", "B")
    np.testing.assert_allclose(pairs.targets, [3.3, 5], rtol=1e-6)
    assert pairs.line_numbers.tolist() == [2, 3] and pairs.is_same is None


def test_a_wrong_sick_is_named_with_its_line(tmp_path):
    with pytest.raises(DataError, match="no SICK_train.txt and no sick_train.zip"):
        sick(tmp_path)
    (tmp_path / "SICK_train.txt").write_text(SICK.replace("\t5\t", "\t5.5\t"))
    with pytest.raises(DataError, match="SICK_train.txt:3: relatedness must be .* got 5.5"):
        sick(tmp_path)
    with pytest.raises(ValueError, match="unknown split 'val' of SICK; known: train"):
        sick(tmp_path, "val")


def test_digits_are_scikit_learn_s_dark_on_white(tmp_path):
    from sklearn.datasets import load_digits

    data = digits(tmp_path)
    truth = load_digits()
    assert len(data) == 1797 and data.class_names == tuple("0123456789")
    np.testing.assert_array_equal(np.bincount(data.labels), np.bincount(truth.target))
    with zipfile.ZipFile(tmp_path / "digits.zip") as archive:
        for path, label in list(zip(data.paths, data.labels, strict=True))[::37]:
            member = path.partition("!/")[2]
            i = int(member[2:6])
            assert truth.target[i] == label
            with Image.open(io.BytesIO(archive.read(member))) as image:
                assert image.size == (8, 8) and image.mode == "L"
                ink = (255 - np.asarray(image, dtype=float)) * 16 / 255
            np.testing.assert_allclose(ink, truth.images[i], atol=0.05)
    assert [p.name for p in tmp_path.iterdir()] == ["digits.zip"]


def test_upscaled_digits_are_framed_as_mnist_s(tmp_path):
    small, large = digits(tmp_path), digits_upscaled(tmp_path)
    assert np.array_equal(small.labels, large.labels)
    before, after = (pixels_of(data.paths[100]) for data in (small, large))
    assert before.shape == (8, 8) and after.shape == (105, 105)
    margin = np.ones((105, 105), bool)
    margin[15:90, 15:90] = False
    assert (after[margin] == 255).all()
    again = Image.fromarray(after[15:90, 15:90]).resize((8, 8), Image.Resampling.BOX)
    assert np.abs(np.asarray(again).astype(float) - before).mean() < 16


def test_digits_are_written_once_and_the_same_everywhere(tmp_path):
    first = digits(tmp_path / "a")
    written = (tmp_path / "a" / "digits.zip").stat().st_mtime_ns
    assert digits(tmp_path / "a").paths == first.paths
    assert (tmp_path / "a" / "digits.zip").stat().st_mtime_ns == written
    digits(tmp_path / "b")
    one, two = ((tmp_path / x / "digits.zip").read_bytes() for x in "ab")
    assert one == two


def test_data_is_found_where_it_lies_in_order(tmp_path, monkeypatch):
    home, cache = tmp_path / "home", tmp_path / "cache"
    monkeypatch.setenv("ONELOOK_DATA", str(home))
    monkeypatch.setenv("ONELOOK_CACHE", str(cache))
    with pytest.raises(DataError) as caught:
        find_data("omniglot")
    message = str(caught.value)
    assert (
        f"no omniglot data in {home / 'omniglot'}, {home}, {cache / 'omniglot'}" in message
    )
    assert "onelook data omniglot --download" in message
    assert (
        "put images_background.zip, " in message and f"into {cache / 'omniglot'}" in message
    )
    touch(cache, "omniglot/images_background.zip")
    assert find_data("omniglot") == cache / "omniglot"
    touch(home, "images_evaluation/A/character01/1_01.png")
    assert find_data("omniglot") == home
    touch(home, "omniglot/images_background.zip")
    assert find_data("omniglot") == home / "omniglot"
    assert find_data("omniglot", cache) == cache
    for name, file in (("att", "s1/1.pgm"), ("lfw", "lfw-funneled.tgz")):
        touch(home, file)
        assert find_data(name) == home
    touch(home, "sick/SICK_train.txt")
    assert find_data("sick") == home / "sick"


def test_a_path_that_the_user_gave_is_not_replaced_by_another(tmp_path, monkeypatch):
    monkeypatch.setenv("ONELOOK_DATA", str(touch(tmp_path, "sick/SICK_train.txt")))
    with pytest.raises(DataError, match="--data .*gone does not exist; onelook data sick"):
        find_data("sick", tmp_path / "gone")
    with pytest.raises(ValueError, match="unknown source 'mnist'; known: att_faces, lfw"):
        find_data("mnist")


@pytest.mark.data
def test_the_real_small_sets_have_the_published_counts(data_root, caplog):
    data = att(data_root)
    assert len(data) == 400 and data.n_classes == 40 and len(data.of_split("test")) == 30
    for split, n_pairs in (("train", 4_500), ("trial", 500), ("test", 4_927)):
        pairs = sick(data_root, split)
        assert len(pairs) == n_pairs
        assert pairs.targets.min() >= 1 and pairs.targets.max() <= 5
    assert caplog.text == ""


@pytest.mark.data
def test_alphabets_taken_for_classes_are_noticed_on_real_data(data_root):
    archive = f"{data_root}/omniglot/images_background.zip!/images_background"
    with pytest.raises(
        DataError, match="if 'character01' is a class there, pass --depth 1"
    ):
        class_folder(archive)
    data = class_folder(archive, depth=1)
    assert data.n_classes == 964 and len(data.group_names) == 30
