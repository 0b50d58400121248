"""The digits that scikit-learn ships, as drawings in a zip."""

import io
import zipfile

import numpy as np
from PIL import Image

from onelook.data.sources.digits import digits, digits_upscaled


def pixels_of(address):
    archive, _, member = address.partition("!/")
    with (
        zipfile.ZipFile(archive) as file,
        Image.open(io.BytesIO(file.read(member))) as image,
    ):
        return np.asarray(image)


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
