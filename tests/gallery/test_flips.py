"""One changed bit of a gallery's files is noticed, or changes no answer."""

import json
import re
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from onelook.cli import main
from onelook.errors import GalleryError
from onelook.gallery import sqlite
from onelook.gallery.gallery import Gallery
from onelook.gallery.index import Built, is_whole, overwrite_rows
from onelook.gallery.stores import opened
from onelook.loading import load

SIZE = 256


@pytest.fixture(scope="module")
def centres():
    return np.random.default_rng(0).normal(size=(60, SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory, centres):
    """A gallery with an index, with identities that were forgotten and renamed."""
    path = tmp_path_factory.mktemp("made") / "g.db"
    rng = np.random.default_rng(1)
    with pytest.MonkeyPatch.context() as patch, Gallery(load("omniglot"), path) as gallery:
        patch.setattr(sqlite, "INDEX_FROM", 200)
        for i, centre in enumerate(centres):
            images = centre + 0.6 * rng.normal(size=(4, SIZE)).astype(np.float32)
            gallery.enroll_vectors([f"who {i}"] * 4, images)
        gallery.forget("who 7")
        gallery.rename("who 8", "who 9")
        gallery.maintain()
        gallery.enroll_vectors(["late"], centres[7:8])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture()
def copied(made, tmp_path):
    for end in ("", ".usearch"):
        shutil.copy(f"{made}{end}", tmp_path / f"g.db{end}")
    return tmp_path / "g.db"


def flip(path, bit):
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def answers(path, centres):
    with Gallery(load("omniglot"), path) as gallery:
        return [
            (
                found.identity,
                found.gallery_size,
                found.threshold,
                [
                    (one.identity, one.n_images, round(one.score, 4))
                    for one in found.matches
                ],
            )
            for found in gallery.identify_many(list(centres), 3)
        ]


def built(path):
    with closing(sqlite3.connect(path)) as connection:
        return Built(
            *connection.execute("SELECT token, last_id FROM near_index").fetchone()
        )


def test_an_index_with_a_changed_bit_is_not_used(copied):
    index, state = copied.with_name("g.db.usearch"), built(copied)
    assert is_whole(index, state)
    assert not is_whole(index, Built(state.token, state.last_id + 1))
    for bit in np.random.default_rng(2).integers(8 * index.stat().st_size, size=200):
        flip(index, int(bit))
        assert not is_whole(index, state)
        flip(index, int(bit))
    assert overwrite_rows(index, state.token, [3, 200], SIZE) and is_whole(index, state)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE state SET n_identities = n_identities + 2",
        "UPDATE state SET n_images = n_images - 1",
        "UPDATE owned SET id = id + 4 WHERE id = 240",
        "UPDATE owner SET person = person + 1 WHERE id = 1",
        "UPDATE named SET person = person + 64 WHERE person = 3",
        "DELETE FROM owned WHERE id = 9",
        "DELETE FROM owner WHERE id = 9",
    ],
)
def test_tables_that_do_not_agree_are_refused(copied, change):
    with closing(sqlite3.connect(copied)) as connection, connection:
        connection.execute(change)
    with pytest.raises(GalleryError, match=r"g.db is damaged \(names or entries are mis"):
        with opened(copied) as store:
            store.search(np.zeros((1, SIZE), np.float32), 1)


def test_a_name_that_its_hash_does_not_find_is_noticed(copied, centres):
    with closing(sqlite3.connect(copied)) as connection, connection:
        connection.execute("UPDATE named SET hash = hash + 1 WHERE person = 3")
    with pytest.raises(GalleryError, match="'who 2' is not found by its name"):
        answers(copied, centres[2:3])


def test_check_names_each_damaged_entry(copied, capsys):
    with closing(sqlite3.connect(copied)) as connection, connection:
        damage = "UPDATE content SET metadata = ? WHERE id = ?"
        connection.executemany(damage, [(b'{"a": 1}', 3), ("{}", 50), (b"", 240)])
    with pytest.raises(SystemExit, match="1"):
        main(["gallery", "check", str(copied), "--json"])
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["images"], found["identities"]) == (237, 59)
    damaged = [re.findall(r"entry (\d+)", text) for text in found["damaged"]]
    assert damaged == [["3"], ["50"], ["240"]]
    assert "entry 50 holds text" in err and "enroll them again, or restore" in err


def test_check_says_that_all_is_whole(copied, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["gallery", "check", str(copied)])
    said = "237 images of 59 identities, all as they were written"
    assert capsys.readouterr().out == f"{copied}: {said}\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["g.db", "g.db.usearch"])
def test_a_changed_bit_is_noticed_or_changes_no_answer(copied, centres, name, caplog):
    expected = answers(copied, centres)
    whole = {end: copied.with_name(f"g.db{end}").read_bytes() for end in ("", ".usearch")}
    path, noticed = copied.with_name(name), 0
    for bit in np.random.default_rng(3).integers(8 * path.stat().st_size, size=120):
        flip(path, int(bit))
        try:
            assert answers(copied, centres) == expected, f"bit {bit}"
        except GalleryError as error:
            noticed += 1
            assert "\n" not in str(error)
        for end, content in whole.items():
            copied.with_name(f"g.db{end}").write_bytes(content)
        for left in ("-wal", "-shm"):
            copied.with_name(f"g.db{left}").unlink(missing_ok=True)
    assert (noticed > 40) == (name == "g.db")
