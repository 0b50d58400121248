import io
import os
import struct
import sys
import threading
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from broken import (
    Case,
    animation,
    draw_broken,
    drawing,
    encoded,
    gigantic_png,
    turned_jpeg,
    with_alpha,
)
from PIL import Image, ImageFilter, ImageOps, features

from onelook.data.inputs import ImageInput, decoding
from onelook.data.inputs.decoding import SENT_FORMATS, decode, header_in, read_header
from onelook.data.reading import read_bytes, refuse_bad
from onelook.errors import DataError, TooLargeError
from onelook.recipe import ImageSettings


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    return draw_broken(tmp_path_factory.mktemp("broken"))


def small(**changes: object) -> ImageInput:
    return ImageInput(ImageSettings(**{"height": 12, "width": 16, **changes}))


def test_there_are_at_least_twenty_sorts_of_broken_or_unusual_images(cases):
    assert len({case.address for case in cases}) == len(cases) >= 20


def test_every_readable_sort_decodes_to_grey_or_rgb(cases):
    for case in cases:
        if case.readable:
            image = decode(read_bytes(case.address), case.address)
            assert image.mode in ("L", "RGB"), case


def test_every_unreadable_sort_is_refused_with_its_address_and_reason(cases):
    for case in cases:
        if not case.readable:
            with pytest.raises(DataError, match=case.reason) as caught:
                decode(read_bytes(case.address), case.address)
            # A file that is no archive is named itself.
            named = case.address.removesuffix("!/a.png")
            assert str(caught.value).startswith(f"{named}: ")


def test_no_warning_of_pillow_escapes(cases):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        preprocess = small()
        list(preprocess.load_chunks([case.address for case in cases]))
        for case in cases:
            try:
                read_header(case.address)
            except DataError:
                pass
    assert [str(warning.message) for warning in caught] == []


def test_the_pixel_limit_is_checked_before_decoding():
    data = gigantic_png(3000, 3000)  # its body is far too short to decode
    with pytest.raises(DataError, match=r"x\.png: 3000 x 3000 pixels.*limit of 8,999,999"):
        decode(data, "x.png", max_pixels=8_999_999)
    with pytest.raises(DataError, match="damaged"):
        decode(data, "x.png", max_pixels=9_000_000)


def test_a_file_above_the_limit_of_bytes_is_not_read(tmp_path):
    path = tmp_path / "sparse.png"
    with open(path, "wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(DataError, match="1,073,741,825 bytes"):
        read_bytes(str(path))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_matches_pillows_own_transposition(orientation):
    square = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (24, 40)).astype(np.uint8)
    ).filter(ImageFilter.BoxBlur(2))
    data = turned_jpeg(orientation, square)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    actual = decode(data, "a.jpg")
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected))
    # A second pass, as for an image handed to a verifier, must not turn it again.
    shape = {"height": actual.height, "width": actual.width}
    again = small(**shape).load(actual)
    np.testing.assert_array_equal(again[0], np.asarray(expected))


def test_transparent_parts_are_white():
    expected = np.asarray(drawing()).copy()
    expected[:, :20] = 255
    actual = decode(encoded(with_alpha(), "PNG"), "a.png")
    np.testing.assert_array_equal(np.asarray(actual), expected)
    grey = decode(encoded(with_alpha().convert("LA"), "PNG"), "a.png")
    assert grey.mode == "L"
    assert (np.asarray(grey)[:, :20] == 255).all()


def test_half_transparent_is_half_white():
    image = Image.new("RGBA", (3, 3), (10, 110, 210, 51))
    expected = [round(0.2 * value + 0.8 * 255) for value in (10, 110, 210)]
    assert (
        np.abs(np.asarray(decode(encoded(image, "PNG"), "a"))[1, 1] - expected).max() <= 1
    )


def test_a_transparent_colour_of_a_palette_or_of_plain_modes_is_white():
    palette = drawing().quantize(16)
    index = palette.getpixel((0, 0))
    expected = np.asarray(palette.convert("RGB")).copy()
    expected[np.asarray(palette) == index] = 255
    data = encoded(palette, "PNG", transparency=index)
    np.testing.assert_array_equal(np.asarray(decode(data, "a")), expected)

    grey = drawing("L")
    data = encoded(grey, "PNG", transparency=grey.getpixel((0, 0)))
    expected = np.asarray(grey).copy()
    expected[expected == grey.getpixel((0, 0))] = 255
    np.testing.assert_array_equal(np.asarray(decode(data, "a")), expected)


def test_sixteen_bits_are_divided_by_257(tmp_path):
    values = np.array([[0, 257, 256 * 100], [65535, 40000, 128]], np.uint16)
    expected = [[0, 1, 100], [255, 156, 0]]
    for kind in ("PNG", "TIFF"):
        actual = decode(encoded(Image.fromarray(values), kind), "a")
        assert np.asarray(actual).tolist() == expected
    pgm = b"P5\n3 2\n65535\n" + values.astype(">u2").tobytes()
    assert np.asarray(decode(pgm, "a.pgm")).tolist() == expected


@pytest.mark.parametrize("top, factor", [(1.0, 255), (200.0, 1), (65535.0, 1 / 257)])
def test_floats_are_scaled_by_the_smallest_range_that_holds_them(top, factor):
    values = np.linspace(0, top, 12, dtype=np.float32).reshape(3, 4)
    actual = decode(encoded(Image.fromarray(values), "TIFF"), "a")
    np.testing.assert_allclose(np.asarray(actual), values * factor, atol=0.51)


def test_integers_without_a_known_scale_are_refused():
    values = np.array([[-5, 9]], np.int32)
    with pytest.raises(DataError, match="values from -5 to 9 have no known scale"):
        decode(encoded(Image.fromarray(values), "TIFF"), "a")


def test_cmyk_and_animations_look_like_the_drawing():
    expected = np.asarray(drawing()).astype(int)
    cmyk = decode(encoded(drawing("CMYK"), "JPEG", quality=100, subsampling=0), "a")
    assert np.abs(np.asarray(cmyk) - expected).max() <= 20
    frame = decode(animation(), "a.gif")
    palette = np.asarray(drawing("P").convert("RGB"))
    np.testing.assert_array_equal(np.asarray(frame.convert("RGB")), palette)


def test_read_bytes_tells_archives_from_folders_whose_name_ends_so(tmp_path):
    folder = tmp_path / "Wow!"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"plain")
    assert read_bytes(f"{folder}/a.bin") == b"plain"
    with zipfile.ZipFile(tmp_path / "x.ZIP", "w") as file:
        file.writestr("deep/a.bin", b"packed")
    assert read_bytes(f"{tmp_path}/x.ZIP!/deep/a.bin") == b"packed"


def test_a_replaced_archive_is_opened_again(tmp_path):
    path = tmp_path / "x.zip"
    for content in (b"old", b"newer"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a", content)
        assert read_bytes(f"{path}!/a") == content


def test_an_archive_is_read_from_many_threads(tmp_path):
    path = tmp_path / "x.zip"
    contents = {f"{i}.bin": os.urandom(3000 + i) for i in range(200)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    wrong = []

    def read_all() -> None:
        for name, content in contents.items():
            if read_bytes(f"{path}!/{name}") != content:
                wrong.append(name)

    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_load_gives_the_pixels_of_a_plain_resize(tmp_path):
    path = tmp_path / "a.png"
    drawing().save(path)
    expected = np.asarray(
        drawing().convert("L").resize((16, 12), Image.Resampling.BILINEAR)
    )
    np.testing.assert_array_equal(small().load(path)[0], expected)
    np.testing.assert_array_equal(small().load(str(path)), small().load(drawing()))
    colour = small(channels=3, resample="lanczos").load(path)
    expected = np.asarray(drawing().resize((16, 12), Image.Resampling.LANCZOS))
    assert colour.shape == small(channels=3).input_shape == (3, 12, 16)
    np.testing.assert_array_equal(colour, expected.transpose(2, 0, 1))


def test_box_filter_averages_blocks():
    values = np.random.default_rng(0).integers(0, 256, (24, 32)).astype(np.uint8)
    expected = values.reshape(12, 2, 16, 2).mean(axis=(1, 3))
    actual = small(resample="box").load(Image.fromarray(values))
    np.testing.assert_allclose(actual[0], expected, atol=1)


def test_crop_keeps_the_centred_square():
    values = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30).astype(np.uint8)
    actual = small(height=10, width=10, crop=0.5).load(Image.fromarray(values))
    np.testing.assert_array_equal(actual[0], values[5:15, 10:20])


def test_pad_keeps_the_ratio_and_fills_with_the_median_of_the_border():
    image = Image.new("RGB", (40, 20), (10, 200, 30))
    image.paste((255, 0, 0), (10, 5, 30, 15))
    actual = small(channels=3, height=20, width=20, fit="pad").load(image)
    assert (actual[:, :5] == np.reshape([10, 200, 30], (3, 1, 1))).all()
    assert (actual[:, 15:] == np.reshape([10, 200, 30], (3, 1, 1))).all()
    expected = np.asarray(image.resize((20, 10), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(actual[:, 5:15], expected.transpose(2, 0, 1))


def test_pad_survives_extreme_ratios():
    assert small(fit="pad").load(Image.new("L", (3000, 1))).shape == (1, 12, 16)


def test_invert_turns_pixels_round():
    np.testing.assert_array_equal(
        small(invert=True).load(drawing()), 255 - small().load(drawing())
    )


def test_a_large_jpeg_is_decoded_smaller_without_a_visible_difference(tmp_path):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8))
    photo = coarse.resize((1600, 1200), Image.Resampling.BICUBIC)
    data = encoded(photo, "JPEG", quality=90)
    preprocess = small(height=128, width=128, channels=3, crop=0.9)
    full = preprocess.load(decode(data, "a.jpg")).astype(int)
    quick = preprocess.load(data, "a.jpg").astype(int)
    assert np.abs(full - quick).mean() < 0.5
    assert np.abs(full - quick).max() <= 8


def test_a_small_jpeg_is_decoded_in_full():
    data = encoded(drawing(size=(250, 250)), "JPEG")
    preprocess = small(height=128, width=128, channels=3)
    full = preprocess.load(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(preprocess.load(data, "a"), full)


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_load_many_keeps_the_order_whatever_the_workers(tmp_path, workers):
    for i in range(150):
        Image.new("L", (20, 20), i).save(tmp_path / f"{i}.png")
    addresses = [f"{tmp_path}/{i}.png" for i in range(149, -1, -1)]
    pixels = small().load_many(addresses, workers)
    assert pixels.shape == (150, 1, 12, 16)
    assert pixels[:, 0, 3, 3].tolist() == list(range(149, -1, -1))


def test_load_many_of_nothing_is_empty():
    assert small().load_many([]).shape == (0, 1, 12, 16)


def test_load_many_lists_ten_bad_images_and_the_count(tmp_path):
    addresses = [f"{tmp_path}/{i:02}.png" for i in range(12)]
    with pytest.raises(DataError) as caught:
        small().load_many(addresses)
    lines = str(caught.value).splitlines()
    assert lines[0] == "12 of 12 images cannot be used:"
    assert lines[1] == f"  {tmp_path}/00.png: no such file"
    assert lines[11:] == [
        "  ... and 2 more",
        "repair or remove them",  # it has no skip_bad
    ]


def test_refuse_bad_is_silent_without_any():
    refuse_bad([], 5)


def test_read_header_gives_height_width_and_mode(tmp_path):
    drawing("1").save(tmp_path / "a.png")
    assert read_header(str(tmp_path / "a.png")) == (30, 40, "1")


def test_inputs_are_normalised_pixels():
    images = small(channels=3, mean=(0.1, 0.2, 0.3), std=(0.5, 2.0, 1.0))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 12, 16)).astype(np.uint8)
    mean, std = (np.reshape(v, (3, 1, 1)) for v in ([0.1, 0.2, 0.3], [0.5, 2.0, 1.0]))
    inputs = images.to_inputs(pixels)["images"]
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, (pixels / 255 - mean) / std, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(images.to_inputs(list(pixels))["images"], inputs)


def test_inputs_equal_those_of_training_bit_by_bit():
    images = small(mean=(0.1307,), std=(0.3081,))
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    mean, std = torch.tensor([0.1307]), torch.tensor([0.3081])
    expected = (torch.from_numpy(pixels).float() / 255 - mean) / std
    np.testing.assert_array_equal(images.to_inputs(pixels)["images"], expected)


def test_one_mean_is_that_of_every_channel():
    pixels = np.zeros((2, 3, 12, 16), np.uint8)
    inputs = small(channels=3, mean=(0.5,), std=(0.25,)).to_inputs(pixels)["images"]
    np.testing.assert_array_equal(inputs, np.full((2, 3, 12, 16), -2, np.float32))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mean": (0.1, 0.2)}, r"mean must have 1 value or 1, got \(0.1, 0.2\)"),
        ({"channels": 3, "std": (1.0, 1.0)}, "std must have 1 value or 3"),
        ({"std": (0.0,)}, r"std must be positive, got \(0.0,\)"),
    ],
)
def test_preprocess_refuses_a_mean_or_std_that_does_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_preprocess_survives_the_way_through_a_dict():
    preprocess = small(channels=3, mean=(0.1, 0.2, 0.3), crop=0.5, fit="pad", invert=True)
    assert ImageInput.from_dict(preprocess.to_dict()) == preprocess
    assert preprocess.to_dict()["kind"] == "image"


@pytest.mark.data
def test_real_images_of_every_source_decode(data_root: Path):
    samples = {
        "omniglot/all_runs.zip!/run01/training/class01.png": "L",
        "lfw/lfw-deepfunneled.zip!/lfw-deepfunneled/AJ_Cook/AJ_Cook_0001.jpg": "RGB",
        "att_faces/att_faces.zip!/testing/s7/9.pgm": "L",
    }
    for name, mode in samples.items():
        address = f"{data_root}/{name}"
        image = decode(read_bytes(address), address)
        assert image.mode == mode
        assert 5 < np.asarray(image).std() < 120


def test_a_heif_image_of_a_telephone_is_read(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    colours = Image.new("RGB", (40, 24), (200, 30, 30))
    path = tmp_path / "photo.HEIC"
    heif.from_pillow(colours).save(path, quality=95)
    image = decode(str(path))
    assert (image.size, image.mode) == ((40, 24), "RGB")
    assert np.abs(np.asarray(image, int) - (200, 30, 30)).max() <= 6


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_large_image_is_reduced_first_and_looks_the_same(mode, monkeypatch):
    disc = drawing(mode).resize((1600, 1200))
    images = ImageInput(ImageSettings(height=30, width=40, channels=3))
    whole = images.load(disc).astype(int)
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 1_000_000)
    difference = np.abs(images.load(disc) - whole)
    assert difference.max() <= 4 and difference.mean() < 0.2


def test_sixteen_bits_become_the_nearest_of_eight():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(values / 257)
    for image in (Image.fromarray(values), Image.fromarray(values.astype(np.int32))):
        np.testing.assert_array_equal(np.asarray(decode(image)), expected)


def tiled_tiff(size, tile):
    """A few bytes that claim to be a TIFF of this side whose tiles have that side."""
    data = zlib.compress(bytes(1000))
    tags = [(256, size), (257, size), (258, 8), (259, 8), (262, 1), (277, 1)]
    tags += [(322, tile), (323, tile), (324, 8), (325, len(data))]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + body + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def test_the_limit_of_pixels_holds_for_what_is_decoded_and_not_only_for_what_is_said():
    with pytest.raises(TooLargeError, match="30000 x 30000 pixels, more than the limit"):
        decode(tiled_tiff(16, 30_000))
    icon = io.BytesIO()
    Image.new("L", (16, 16)).save(icon, "ICO")
    with pytest.raises(DataError, match="not an image"):
        decode(icon.getvalue())
    if features.check("avif"):
        avif = io.BytesIO()
        Image.new("RGB", (16, 16)).save(avif, "AVIF")
        assert decode(avif.getvalue()).size == (16, 16)
        with pytest.raises(DataError, match="not an image"):
            header_in(io.BytesIO(avif.getvalue()), "image", formats=SENT_FORMATS)


def test_a_damaged_heif_image_is_said_to_be_one(tmp_path):
    pytest.importorskip("pillow_heif")
    path = tmp_path / "photo.HEIC"
    path.write_bytes(b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(200))
    for read in (decode, read_header):
        with pytest.raises(DataError, match="photo.HEIC: damaged HEIF image; copy it"):
            read(str(path))


def test_a_heif_image_names_the_extra_where_its_package_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(DataError, match=r"photo.heic: a HEIF image, and .*onelook\[heif\]"):
        decode(str(path))


@pytest.mark.parametrize("size", [(1, 39_000_000), (70_000, 2)])
def test_no_side_is_longer_than_that_of_a_jpeg(size, tmp_path):
    path = tmp_path / "line.png"
    Image.new("1", size).save(path)
    limit = f"{size[0]} x {size[1]} pixels, and no side may have more than 65,535"
    with pytest.raises(TooLargeError, match=limit):
        decode(str(path))
