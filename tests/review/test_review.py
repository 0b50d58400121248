"""Review: what is planted in a folder is found, on the page and in JSON too."""

import io
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from onelook.bulk import embed_shards
from onelook.cli import main
from onelook.data.inputs import TextInput
from onelook.data.sources.omniglot import omniglot
from onelook.decision import Decision, IdentifyRow
from onelook.errors import DataError
from onelook.loading import load
from onelook.review import review
from onelook.review.groups import check_new, group, write_groups
from onelook.review.neighbours import EXACT_UP_TO, Neighbours, edges, neighbours
from onelook.review.page import check_page, write_page
from onelook.review.pixels import Pictures
from onelook.vectors import embed_files, write_vectors
from onelook.verifier import from_function

DECISION = Decision(
    threshold=-0.1, reject_below=-0.2, far=0.01, prior=0.5, slope=20.0, intercept=5.0,
    n_same=100, n_different=4000, n_classes=20,
    identify=(IdentifyRow(1, -0.1, 0.05), IdentifyRow(1000, -0.05, 0.05)),
)  # fmt: skip


def mean_colour(images):
    return np.stack([np.asarray(i.convert("RGB")).mean((0, 1)) / 255 for i in images])


@pytest.fixture
def verifier():
    verifier = from_function(mean_colour, "euclidean", "mean colour")
    verifier.decision = DECISION
    return verifier


def paint(path, colour, seed=0, size=64):
    """A blotched picture of a colour: another seed is another picture of one thing."""
    blotches = np.random.default_rng(seed).integers(-25, 26, (8, 8, 1))
    colours = np.clip(np.array(colour) + blotches, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours).resize((size, size), Image.Resampling.BILINEAR).save(path)
    return path


COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}


@pytest.fixture
def folder(tmp_path):
    """Eight pictures each of three colours, and one of each thing that is wrong."""
    root = tmp_path / "pictures"
    for name, colour in COLOURS.items():
        for seed in range(8):
            paint(root / name / f"{seed}.png", colour, seed)
    paint(root / "red" / "wrong.png", COLOURS["green"], 50)
    paint(root / "red" / "stranger.png", (128, 128, 128), 51)
    shutil.copy(root / "blue" / "0.png", root / "green" / "copy.png")
    image = Image.open(root / "green" / "0.png")
    image.resize((40, 40)).save(root / "green" / "small.jpg", quality=60)
    return root


def by_name(found, rows):
    return sorted("/".join(found.paths[row].split("/")[-2:]) for row in rows)


def test_each_planted_fault_is_found_and_nothing_else(verifier, folder):
    found = review(verifier, folder, progress=False)
    assert [(by_name(found, one.rows), one.exact, one.contradicts) for one in
            found.duplicates] == [
        (["blue/0.png", "green/copy.png"], True, True),
        (["green/0.png", "green/small.jpg"], False, False),
    ]  # fmt: skip
    wrong = {by_name(found, [one.row])[0]: one.looks_like for one in found.wrong_labels}
    assert wrong == {"red/wrong.png": "green", "green/copy.png": "blue"}
    assert by_name(found, [one.row for one in found.strangers]) == ["red/stranger.png"]
    assert found.groups == () and len(found) == 28
    assert "1 as the same file; 1 in several classes" in str(found)


def test_without_labels_the_groups_are_found_and_written(verifier, folder, tmp_path):
    found = review(verifier, folder, labelled=False, progress=False)
    assert found.wrong_labels == () and not found.strangers
    colours = [{name.split("/")[0] for name in by_name(found, one)} for one in found.groups]
    assert len(found.groups) >= 3 and sum(map(len, found.groups)) >= 24
    assert all(len(one - {"red", "green"}) <= 1 for one in colours)
    out = write_groups(found.paths, found.groups, tmp_path / "groups")
    copied = [len(list(one.iterdir())) for one in sorted(out.iterdir())]
    assert copied == list(map(len, found.groups))
    with pytest.raises(DataError, match="is there already; name a new folder"):
        write_groups(found.paths, found.groups, out)


def test_images_in_no_folder_are_grouped_beside_labelled_ones(verifier, folder):
    for seed in (60, 61, 62):
        paint(folder / f"{seed}.png", (220, 220, 30), seed)
    found = review(verifier, folder, progress=False)
    names = [{found.paths[row][-6:] for row in one} for one in found.groups]
    assert names == [{"60.png", "61.png", "62.png"}]
    assert "3: 3 show one of 1 things" in str(found)


def test_copies_are_in_one_group_and_keep_nothing_out_of_it(verifier, tmp_path):
    for seed in range(4):
        paint(tmp_path / f"{seed}.png", COLOURS["red"], seed)
        paint(tmp_path / f"blue{seed}.png", COLOURS["blue"], seed)
    for copy in range(10):
        shutil.copy(tmp_path / "0.png", tmp_path / f"copy{copy}.png")
    found = review(verifier, tmp_path, progress=False)
    assert [len(one.rows) for one in found.duplicates] == [11]
    (largest, *_) = found.groups
    assert len(largest) >= 12 and not any("blue" in found.paths[row] for row in largest)


def test_folders_of_parts_hold_the_same_classes(verifier, tmp_path):
    for part, seeds in (("train", range(5)), ("val", range(5, 8))):
        for name, colour in COLOURS.items():
            for seed in seeds:
                paint(tmp_path / part / name / f"{seed}.png", colour, seed)
    found = review(verifier, tmp_path, progress=False)
    assert set(found.labels) == set(COLOURS) and not found.wrong_labels


def test_an_archive_is_reviewed_as_its_folder_is(verifier, folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, path.relative_to(folder))
    of_archive = review(verifier, tmp_path / "pictures.zip", progress=False)
    of_folder = review(verifier, folder, progress=False)
    assert of_archive.labels == of_folder.labels
    assert [one.row for one in of_archive.wrong_labels] == [
        one.row for one in of_folder.wrong_labels
    ]
    assert "data:image/webp" in write_page(of_archive, tmp_path / "r.html").read_text()


def test_what_cannot_be_read_is_named_or_skipped(verifier, folder):
    (folder / "red" / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"(?s)broken.png.*skip_bad"):
        review(verifier, folder, progress=False)
    found = review(verifier, folder, skip_bad=True, progress=False)
    assert [name.split("/")[-1] for name, _ in found.bad] == ["broken.png"]
    assert len(found) == 28 and "cannot be read" in str(found)


def test_models_and_folders_that_cannot_be_reviewed_are_refused(verifier, folder, tmp_path):
    paint(tmp_path / "one" / "1.png", COLOURS["red"])
    with pytest.raises(DataError, match="needs two images or more, found 1"):
        review(verifier, tmp_path / "one", progress=False)
    verifier.right_input = TextInput.__new__(TextInput)
    with pytest.raises(DataError, match="an encoder for each side"):
        review(verifier, folder, progress=False)
    bare = from_function(mean_colour, "euclidean", "bare")
    with pytest.raises(DataError, match="bare has no threshold"):
        review(bare, folder, progress=False)
    with pytest.raises(ValueError, match=r"a page is a file ending in \.html, got 'r.txt'"):
        check_page("r.txt")
    file = paint(tmp_path / "file.png", COLOURS["red"])
    for check, name in ((check_page, "r.html"), (check_new, "groups")):
        with pytest.raises(DataError, match=r"file\.png is no folder to write into"):
            check(file / name)


def test_the_page_escapes_names_and_asks_for_nothing(verifier, folder, tmp_path):
    hostile = folder / "<b>bold"
    for seed in range(3):
        paint(hostile / f"{seed}.png", (220, 220, 30), seed)
    paint(hostile / "3.png", COLOURS["blue"], 70)
    page = write_page(review(verifier, folder, progress=False), tmp_path / "r.html")
    assert os.name == "nt" or page.stat().st_mode & 0o77 == 0  # there may be faces on it
    text = page.read_text()
    assert "<b>" not in text and "&lt;b&gt;bold" in text
    assert "http:" not in text and "https" not in text and text.count("<circle") == 32
    for title in ("Duplicates: 2", "Labels that look wrong", "Strangers"):
        assert title in text


def test_the_command_prints_json_and_writes_the_page(folder, tmp_path, capsys, data_root):
    drawings = tmp_path / "drawings"
    items = omniglot(data_root / "omniglot", "background")
    for label in range(3):
        for row in np.flatnonzero(items.labels == label)[:4]:
            place = drawings / str(label)
            place.mkdir(parents=True, exist_ok=True)
            archive, member = items.paths[row].split("!/")
            (place / f"{row}.png").write_bytes(zipfile.ZipFile(archive).read(member))
    shutil.copy(next((drawings / "0").iterdir()), drawings / "1" / "copy.png")
    page = tmp_path / "r.html"
    options = ["--model", "omniglot", "--out", str(page), "--json"]
    with pytest.raises(SystemExit) as status:
        main(["review", str(drawings), *options])
    assert status.value.code == 0 and page.is_file()
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 13 and len(found["duplicates"]) == 1
    assert found["duplicates"][0]["contradicts"] and found["duplicates"][0]["exact"]


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda image: image, True),
        (lambda image: image.resize((80, 60)), True),
        (lambda image: image.point(lambda value: min(255, value + 12)), True),
        (lambda image: image.point(lambda value: value // 2), False),
        (lambda image: image.resize((60, 80)), False),
        (lambda image: image.rotate(180), False),
    ],
)
def test_one_picture_in_two_files(tmp_path, change, expected):
    generator = np.random.default_rng(0)
    blocks = generator.integers(40, 220, (6, 8, 3)).astype(np.uint8)
    image = Image.fromarray(blocks).resize((160, 120), Image.Resampling.BILINEAR)
    image.save(tmp_path / "a.png")
    change(image).save(tmp_path / "b.jpg", quality=70)
    pictures = Pictures([str(tmp_path / "a.png"), str(tmp_path / "b.jpg")])
    assert pictures.are_one(0, 1) is expected
    assert not pictures.same_bytes(0, 1)


def test_blank_pictures_are_one_another_and_nothing_else(tmp_path):
    for name, colour in (("a", 255), ("b", 254), ("c", 0)):
        Image.new("L", (30, 30), colour).save(tmp_path / f"{name}.png")
    paint(tmp_path / "d.png", (240, 240, 240))
    pictures = Pictures([str(tmp_path / f"{name}.png") for name in "abcd"])
    assert pictures.are_one(0, 1)
    assert not pictures.are_one(0, 2) and not pictures.are_one(0, 3)


def test_neighbours_are_those_of_a_plain_loop(verifier):
    embeddings = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    found = neighbours(verifier, embeddings, progress=False)
    scores = verifier.score_matrix(embeddings, embeddings)
    np.fill_diagonal(scores, -np.inf)
    expected = np.argsort(-scores, axis=1)[:, :20]
    np.testing.assert_array_equal(found.rows, expected)
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_an_index_finds_nearly_all_neighbours(verifier, monkeypatch):
    embeddings = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
    exact = neighbours(verifier, embeddings, progress=False)
    monkeypatch.setattr("onelook.review.neighbours.EXACT_UP_TO", 1000)
    found = neighbours(verifier, embeddings, progress=False)
    assert EXACT_UP_TO > 3000
    shared = [len({*a} & {*b}) for a, b in zip(exact.rows, found.rows, strict=True)]
    assert np.mean(shared) > 19.5


def test_edges_are_given_once_and_mutual_where_asked():
    near = Neighbours(
        np.array([[1, 2], [0, 2], [1, 0]]), -np.array([[1, 3], [1, 2], [2, 3]], np.float32)
    )
    assert edges(near, -3) == [(0, 1), (1, 2), (0, 2)]
    assert edges(near, -3, mutual=1) == [(0, 1)]
    assert edges(near, -2) == [(0, 1), (1, 2)]


def test_a_chain_of_images_is_not_one_group(verifier):
    line = np.linspace(0, 2, 41, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    pairs = [(i, i + 1) for i in range(40)]
    groups = group(verifier, line, pairs, -0.4)
    assert len(groups) > 3 and sum(map(len, groups)) > 30
    assert all(max(one) - min(one) <= 10 for one in groups)


@pytest.mark.data
@pytest.mark.slow
def test_faults_planted_among_drawings_are_found(data_root, tmp_path):
    items = omniglot(data_root / "omniglot", "evaluation")
    rng, wrong = np.random.default_rng(1), set()
    for label in range(0, 600, 15):
        for row in np.flatnonzero(items.labels == label)[:12]:
            there = tmp_path / str(label)
            if rng.random() < 0.03:
                there = tmp_path / str((label + 300) % 600)
                wrong.add(str(there / f"{row}.png"))
            there.mkdir(exist_ok=True)
            archive, member = items.paths[row].split("!/")
            (there / f"{row}.png").write_bytes(zipfile.ZipFile(archive).read(member))
    copied = sorted(tmp_path.rglob("*.png"))[::40]
    for path in copied:
        buffer = io.BytesIO()
        Image.open(path).convert("L").resize((75, 75)).save(buffer, "JPEG", quality=70)
        path.with_name(f"copy-{path.stem}.jpg").write_bytes(buffer.getvalue())
    found = review(load("omniglot"), tmp_path, progress=False)
    named = {found.paths[one.row] for one in found.wrong_labels}
    assert len(wrong) >= 10 and len(named & wrong) >= 0.8 * len(wrong)
    assert len(named - wrong) <= 0.02 * len(found)
    assert len(found.duplicates) == len(copied)


def test_vectors_that_were_embedded_before_are_not_embedded_again(
    verifier, folder, tmp_path
):
    pytest.importorskip("pyarrow")
    expected, shards = review(verifier, folder, progress=False), tmp_path / "vectors"
    embed_shards(verifier, [str(folder)], shards, progress=False)
    file = write_vectors(tmp_path / "v.npz", embed_files(verifier, [folder / "red"]))
    verifier.look = None  # nothing is embedded
    found = review(verifier, folder, vectors=shards, progress=False)
    assert found.to_dict() == expected.to_dict()
    with pytest.raises(DataError, match=r"0\.png: has no vector in .*v\.npz"):
        review(verifier, folder, vectors=file, progress=False)
    verifier._fingerprint = "beef"
    with pytest.raises(DataError, match=r"not of mean colour \(beef\)"):
        review(verifier, folder, vectors=shards, progress=False)
