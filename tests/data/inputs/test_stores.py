import json
import logging
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from broken import draw_broken, encoded
from PIL import Image

from onelook.data.inputs import ImageInput, stores
from onelook.data.inputs.stores import PixelStore
from onelook.errors import DataError
from onelook.recipe import ImageSettings

PREPROCESS = ImageInput(ImageSettings(height=8, width=10))


@pytest.fixture
def addresses(tmp_path: Path) -> list[str]:
    """Seven files of one grey each, 0, 10, ... 60."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(7):
        Image.new("L", (20, 16), 10 * i).save(folder / f"{i}.png")
    return [f"{folder}/{i}.png" for i in range(7)]


def prepare(addresses, cache, **options):
    return PixelStore.prepare(addresses, PREPROCESS, cache=cache, progress=False, **options)


def entries(cache: Path) -> list[str]:
    return sorted(os.listdir(cache / "pixels"))


def test_rows_equal_what_preprocess_loads(addresses, tmp_path):
    wanted = [addresses[i] for i in (3, 0, 3, 6)]
    store = prepare(addresses, tmp_path / "cache")
    batch = store.gather(store.rows(wanted))
    assert batch.dtype == np.uint8
    np.testing.assert_array_equal(batch, PREPROCESS.load_many(wanted))
    assert batch[:, 0, 4, 4].tolist() == [30, 0, 30, 60]


def test_distinct_addresses_are_kept_once(addresses, tmp_path):
    store = prepare([*addresses, *addresses[::-1]], tmp_path)
    assert len(store) == 7
    assert store.addresses == tuple(sorted(addresses))


@pytest.mark.parametrize("resident_bytes", [0, 1 << 30])
def test_gather_is_the_same_from_memory_and_from_disk(addresses, tmp_path, resident_bytes):
    store = prepare(addresses, tmp_path)
    store.resident_bytes = resident_bytes
    rows = np.array([5, 1, 5, 0, 2])
    for given in (rows, rows.tolist()):
        np.testing.assert_array_equal(store.gather(given), store.pixels[rows])
    assert store.gather([]).shape == (0, 1, 8, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize("resident_bytes", [0, 1 << 30])
def test_gather_in_a_thread_starts_no_threads_of_its_own(resident_bytes):
    pixels = np.zeros((512, 1, 64, 64), np.uint8)
    store = PixelStore(pixels, [str(i) for i in range(512)], resident_bytes=resident_bytes)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(store.gather, [0]).result()
            threads = len(os.listdir("/proc/self/task"))
            pool.submit(store.gather, np.arange(512)).result()
            assert len(os.listdir("/proc/self/task")) == threads
    finally:
        torch.set_num_threads(before)


def test_an_unknown_address_has_no_row(addresses, tmp_path):
    store = prepare(addresses, tmp_path)
    with pytest.raises(DataError, match=r"other\.png: not among the prepared items"):
        store.rows([addresses[0], "other.png"])


def test_the_second_time_nothing_is_decoded(addresses, tmp_path, monkeypatch):
    first = prepare(addresses, tmp_path)

    def forbidden(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(ImageInput, "load_chunks", forbidden)
    second = prepare(addresses[::-1], tmp_path)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert second.addresses == first.addresses


def test_a_changed_file_is_decoded_again(addresses, tmp_path):
    prepare(addresses, tmp_path)
    Image.new("L", (20, 16), 222).save(addresses[2])
    store = prepare(addresses, tmp_path)
    assert store.gather(store.rows([addresses[2]]))[0, 0, 0, 0] == 222


def test_a_changed_member_of_an_archive_is_decoded_again(tmp_path):
    archive = tmp_path / "x.zip"
    for grey in (50, 60):
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("a.png", encoded(Image.new("L", (9, 9), grey), "PNG"))
        store = prepare([f"{archive}!/a.png"], tmp_path)
        assert store.gather([0])[0, 0, 0, 0] == grey


def test_another_preprocessing_has_another_store(addresses, tmp_path):
    prepare(addresses, tmp_path)
    other = ImageInput(ImageSettings(height=8, width=10, invert=True))
    store = PixelStore.prepare(addresses, other, cache=tmp_path, progress=False)
    assert store.gather([0])[0, 0, 0, 0] == 255
    assert len(entries(tmp_path)) == 2


def test_a_relative_address_does_not_reopen_the_store_of_another_folder(
    tmp_path, monkeypatch
):
    for name, grey in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Path("a.bmp").write_bytes(encoded(Image.new("L", (9, 9), grey), "BMP"))
        os.utime("a.bmp", (1000, 1000))
        assert prepare(["a.bmp"], tmp_path).gather([0])[0, 0, 0, 0] == grey


def test_bad_images_are_refused_with_the_first_ten_and_the_count(tmp_path):
    cases = draw_broken(tmp_path / "broken")
    n_bad = sum(not case.readable for case in cases)
    with pytest.raises(DataError) as caught:
        prepare([case.address for case in cases], tmp_path / "cache")
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{n_bad} of {len(cases)} images cannot be used:"
    assert lines[11] == f"  ... and {n_bad - 10} more"
    assert "--skip-bad" in lines[12]


def test_skip_bad_keeps_the_others_and_says_which_are_missing(tmp_path):
    cases = draw_broken(tmp_path / "broken")
    addresses = [case.address for case in cases]
    store = prepare(addresses, tmp_path / "cache", skip_bad=True)
    good = sorted(case.address for case in cases if case.readable)
    assert list(store.addresses) == good
    assert sorted(address for address, _ in store.bad) == sorted(
        case.address for case in cases if not case.readable
    )
    np.testing.assert_array_equal(
        store.gather(store.rows(good)), PREPROCESS.load_many(good)
    )
    empty = next(address for address, _ in store.bad if address.endswith("/empty.jpg"))
    with pytest.raises(DataError, match=r"empty\.jpg: empty file"):
        store.rows([empty])


def test_a_repaired_image_is_seen(addresses, tmp_path):
    content = Path(addresses[3]).read_bytes()
    Path(addresses[3]).write_bytes(b"")
    with pytest.raises(DataError, match="1 of 7 images"):
        prepare(addresses, tmp_path)
    Path(addresses[3]).write_bytes(content)
    assert len(prepare(addresses, tmp_path)) == 7


def test_no_readable_image_is_an_error_even_when_bad_ones_are_skipped(tmp_path):
    for _ in range(2):
        with pytest.raises(DataError, match="nowhere.png: no such file"):
            prepare(["nowhere.png"], tmp_path, skip_bad=True)


def test_no_addresses_give_an_empty_store(tmp_path):
    store = prepare([], tmp_path)
    assert len(store) == 0
    assert store.rows([]).shape == (0,)


def test_a_damaged_store_is_made_again(addresses, tmp_path):
    prepare(addresses, tmp_path)
    (name,) = entries(tmp_path)
    path = tmp_path / "pixels" / name / "pixels.npy"
    for content in (path.read_bytes()[:300], b"", None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        store = prepare(addresses, tmp_path)
        assert store.gather([6])[0, 0, 0, 0] == 60
    assert entries(tmp_path) == [name]


def test_the_store_is_a_plain_npy_file_with_a_json_index(addresses, tmp_path):
    store = prepare(addresses, tmp_path)
    (name,) = entries(tmp_path)
    folder = tmp_path / "pixels" / name
    np.testing.assert_array_equal(np.load(folder / "pixels.npy"), store.pixels)
    index = json.loads((folder / "index.json").read_text())
    assert index["addresses"] == sorted(addresses)
    assert ImageInput.from_dict(index["preprocess"]) == PREPROCESS


def test_preparing_holds_few_images_in_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for i in range(600):
            file.writestr(f"{i}.png", encoded(Image.new("L", (8, 8), i % 256), "PNG"))
    addresses = [f"{tmp_path}/x.zip!/{i}.png" for i in range(600)]
    large = ImageInput(ImageSettings(height=150, width=150, channels=3))
    for workers in (1, 2):
        cache = tmp_path / str(workers)
        tracemalloc.start()
        store = PixelStore.prepare(addresses, large, cache, workers, progress=False)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert store.pixels.nbytes > 40e6
        # A chunk has 2.2 MB; up to 4 a thread wait to be written.
        assert peak < 25e6


def test_a_cache_that_cannot_be_written_is_named(addresses, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(DataError, match="set ONELOOK_CACHE"):
        prepare(addresses, tmp_path / "cache")


def test_the_default_cache_is_the_users(addresses, tmp_path, monkeypatch):
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "own"))
    PixelStore.prepare(addresses, PREPROCESS)
    assert len(entries(tmp_path / "own")) == 1


SLOW = """
import sys, time
from pathlib import Path
from onelook.data.inputs import ImageInput
from onelook.data.inputs.stores import PixelStore
from onelook.recipe import ImageSettings
part = ImageInput._load_part
def slow(self, addresses):
    print("decoding", flush=True)
    time.sleep(float(sys.argv[2]))
    return part(self, addresses)
ImageInput._load_part = slow
addresses = sys.argv[3:]
preprocess = ImageInput(ImageSettings(height=8, width=10))
store = PixelStore.prepare(addresses, preprocess, cache=Path(sys.argv[1]), workers=1)
print(len(store), int(store.gather([6])[0, 0, 0, 0]))
"""


def start_slow(cache: Path, addresses: list[str], seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SLOW, str(cache), str(seconds), *addresses]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_preparation_leaves_no_store_and_is_tidied_up(addresses, tmp_path):
    with start_slow(tmp_path, addresses, 60) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "decoding\n"
        process.send_signal(signal.SIGKILL)
    (left,) = entries(tmp_path)
    assert left.startswith(".unfinished")
    for path in [tmp_path / "pixels" / left, *(tmp_path / "pixels" / left).iterdir()]:
        os.utime(path, (0, 0))  # long ago
    store = prepare(addresses, tmp_path)
    assert len(store) == 7
    assert not entries(tmp_path)[0].startswith(".unfinished")


def test_the_folder_of_a_running_preparation_is_left_alone(addresses, tmp_path):
    running, old = (tmp_path / "pixels" / f".unfinished-{name}" for name in "ab")
    for folder in (running, old):
        folder.mkdir(parents=True)
        (folder / "pixels.npy").touch()
        os.utime(folder, (0, 0))
    os.utime(old / "pixels.npy", (0, 0))
    prepare(addresses, tmp_path)
    assert running.exists() and not old.exists()


def test_two_preparations_at_once_do_no_harm(addresses, tmp_path):
    processes = [start_slow(tmp_path, addresses, 0.3) for _ in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert output.splitlines()[-1] == "7 60"
    (name,) = entries(tmp_path)
    assert not name.startswith(".")


def test_the_loser_of_a_race_opens_the_winners_store(addresses, tmp_path, monkeypatch):
    write_pixels = stores._write_pixels

    def overtaken(*arguments: object) -> list[tuple[str, str]]:
        monkeypatch.setattr(stores, "_write_pixels", write_pixels)
        prepare(addresses, tmp_path)
        return write_pixels(*arguments)

    monkeypatch.setattr(stores, "_write_pixels", overtaken)
    assert len(prepare(addresses, tmp_path)) == 7
    assert len(entries(tmp_path)) == 1


def test_an_interrupted_preparation_leaves_nothing(addresses, tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageInput, "_load_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(addresses, tmp_path)
    assert entries(tmp_path) == []


def test_a_full_disk_is_a_plain_error(addresses, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device; make room"):
        prepare(addresses, tmp_path)
    assert entries(tmp_path) == []


def test_preparing_prints_nothing_where_there_is_no_terminal(addresses, tmp_path, capfd):
    PixelStore.prepare(addresses, PREPROCESS, tmp_path)
    assert capfd.readouterr() == ("", "")


def test_the_log_says_how_many_and_where(addresses, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "onelook"):
        prepare(addresses, tmp_path)
    assert "prepared 7 images in" in caplog.text


def members(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as file:
        names = [info.filename for info in file.infolist() if not info.is_dir()]
    return [f"{archive}!/{name}" for name in names]


@pytest.mark.data
def test_the_evaluation_half_of_omniglot_is_prepared_in_seconds(data_root, tmp_path):
    addresses = members(data_root / "omniglot" / "images_evaluation.zip")
    assert len(addresses) == 13_180
    preprocess = ImageInput(ImageSettings(height=28, width=28, invert=True))
    started = time.process_time()
    store = PixelStore.prepare(addresses, preprocess, tmp_path, progress=False)
    assert time.process_time() - started < 20
    assert store.pixels.shape == (13_180, 1, 28, 28)
    rows = store.rows(addresses[:5])
    np.testing.assert_array_equal(store.gather(rows), preprocess.load_many(addresses[:5]))
    # Ink covers some hundredths of every drawing.
    ink = store.pixels.mean(axis=(1, 2, 3)) / 255
    assert 0 < ink.min() < 0.05 < np.median(ink) < 0.1


def test_an_item_that_is_not_there_is_named_with_its_reason():
    store = PixelStore(np.zeros((1, 1, 1, 1), np.uint8), ["a"], [("c", "empty file")])
    with pytest.raises(DataError, match="^c: empty file$"):
        store.rows(["a", "c"])
    with pytest.raises(DataError, match="^d: not among the prepared items$"):
        store.rows(["d"])
