"""Many pairs of files, against comparing each pair on its own."""

import csv
import itertools
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from onelook.batch import compare_files, compare_folders, write_comparisons
from onelook.decision import Decision
from onelook.errors import DataError
from onelook.verifier import from_function

DECISION = Decision(
    threshold=-15.0,
    reject_below=-25.0,
    far=0.1,
    prior=0.5,
    slope=0.2,
    intercept=4.0,
    n_same=100,
    n_different=100,
    n_classes=20,
)


def corner(images):
    return np.array([[image.convert("L").getpixel((0, 0)), 1.0] for image in images])


@pytest.fixture
def verifier():
    found = from_function(corner, "euclidean", "corner")
    found.decision = DECISION
    return found


@pytest.fixture
def folders(tmp_path):
    """``left/`` and ``right/`` of grey images, ten levels apart; right ones a step on."""
    for side, step in (("left", 0), ("right", 1)):
        for i in range(6):
            grey = Image.new("L", (4, 4), 10 * i + 10 * step)
            path = tmp_path / side / f"{i // 2}" / f"{i}.{'png' if step else 'bmp'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey.save(path)
    Image.new("L", (4, 4)).save(tmp_path / "left" / "alone.png")
    return tmp_path / "left", tmp_path / "right"


def test_namesakes_are_compared_whatever_their_endings(verifier, folders):
    left, right = folders
    batch = compare_folders(verifier, left, right, progress=False)
    pairs = [(f"{left}/{i // 2}/{i}.bmp", f"{right}/{i // 2}/{i}.png") for i in range(6)]
    assert len(batch) == 6 and list(batch) == verifier.compare_many(pairs)
    assert batch.alone == (f"{left}/alone.png",)


def test_every_image_is_compared_with_every_other(verifier, folders):
    left, right = folders
    batch = compare_folders(verifier, left, right, every=True, progress=False)
    lefts, rights = (
        sorted(map(str, side.rglob("*.*")), key=lambda one: one.removesuffix(".png"))
        for side in folders
    )
    expected = verifier.compare_many(list(itertools.product(lefts, rights)))
    assert len(batch) == 42 and list(batch) == expected


def test_within_one_folder_each_pair_is_compared_once(verifier, folders):
    batch = compare_folders(verifier, folders[1], folders[1], every=True, progress=False)
    pairs = [(answer.left, answer.right) for answer in batch]
    files = sorted(map(str, folders[1].rglob("*.png")))
    assert len(batch) == 15 and pairs == list(itertools.combinations(files, 2))
    with pytest.raises(DataError, match="are the same folder; --all"):
        compare_folders(verifier, folders[1], folders[1])


def test_each_file_is_encoded_once(folders):
    seen = []

    def counting(images):
        seen.extend(images)
        return corner(images)

    verifier = from_function(counting, "euclidean")
    list(compare_folders(verifier, *folders, every=True, progress=False))
    assert len(seen) == 7 + 6
    seen.clear()
    files = [str(path) for path in sorted(folders[1].rglob("*.png"))]
    lefts, rights = zip(*itertools.product(files, files * 20), strict=True)
    assert len(list(compare_files(verifier, lefts, rights, progress=False))) == 720
    assert len(seen) == 6


def test_folders_without_a_common_name_are_refused(verifier, folders):
    left, right = folders
    with pytest.raises(DataError, match=r"no image of .*0 has the name of one in .*--all"):
        compare_folders(verifier, left / "0", right / "1")


def test_files_that_cannot_be_read_are_named_or_left_out(verifier, folders, tmp_path):
    left, right = folders
    bad = right / "1" / "2.png"
    bad.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2\.png: not an image.*\n.*--skip-bad"):
        list(compare_folders(verifier, left, right, progress=False))
    batch = compare_folders(verifier, left, right, skip_bad=True, progress=False)
    assert [answer.right[-5:] for answer in batch] == [f"{i}.png" for i in (0, 1, 3, 4, 5)]
    assert [path for path, _ in batch.bad] == [str(bad)]


def test_a_table_holds_a_row_for_each_pair(verifier, folders, tmp_path):
    batch = compare_folders(verifier, *folders, every=True, progress=False)
    file = write_comparisons(tmp_path / "new" / "results.csv", batch)
    with open(file, newline="") as content:
        rows = list(csv.DictReader(content))
    for row, answer in zip(rows, batch, strict=True):
        assert (row["left"], row["right"]) == (answer.left, answer.right)
        assert (row["verdict"], row["familiar"]) == (answer.verdict, "")
        assert float(row["score"]) == pytest.approx(answer.score, abs=1e-6)
        assert float(row["probability"]) == pytest.approx(answer.probability, abs=1e-6)
    assert {row["verdict"] for row in rows} == {"same", "unsure", "different"}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to send")
def test_what_is_stopped_leaves_whole_rows(tmp_path):
    for i in range(300):
        path = tmp_path / "images" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        image = Image.new("L", (32, 32), 255)
        ImageDraw.Draw(image).line([i % 20, 3, 25, i % 27], fill=0, width=2)
        image.save(path)
    # Nobody reads the pipe for a while, so that the work cannot end before it is stopped.
    os.mkfifo(out := tmp_path / "results.csv")
    command = [sys.executable, "-m", "onelook", "compare", *["images"] * 2, "--all"]
    work = subprocess.Popen(
        [*command, "--out", out, "--model", "omniglot"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job, as CI may be, ignores SIGINT, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with open(out, newline="") as pipe:
        content = pipe.readline() + pipe.readline()
        work.send_signal(signal.SIGINT)
        content += pipe.read()
    said = work.communicate()[1]
    rows = list(csv.reader(content.splitlines()))
    assert content.endswith("\n") and {len(row) for row in rows} == {7}
    assert work.returncode == 130 and 0 < len(rows) - 1 < 44_850
    assert "stopped after" in said and "of 44,850 pairs" in said
