"""The file store: its promises about the disk, and files that are no gallery."""

import sqlite3
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from contract import HEADER, entries_of, vectors_of, with_digests
from many import assert_finds, people

from onelook.errors import GalleryError
from onelook.gallery import sqlite_file, sqlite_rows
from onelook.gallery.sqlite import SqliteStore
from onelook.gallery.store import Entry
from onelook.gallery.stores import create_store, open_store, store_exists


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gallery.db"


@pytest.fixture
def store(path):
    store = create_store(path, HEADER)
    yield store
    store.close()


# What a forget leaves on disk


def test_a_reader_that_stays_is_named_and_the_forget_holds(path, store, monkeypatch):
    store.enroll(entries_of("Ada", vectors_of(3)) + entries_of("Bo", vectors_of(3, seed=1)))
    monkeypatch.setattr(sqlite_file, "WAIT_SECONDS", 0.2)
    impatient = open_store(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN")
    blocker.execute("SELECT count(*) FROM content").fetchone()
    with pytest.raises(GalleryError, match="gone from every answer.*end that process"):
        impatient.forget("Ada")
    assert impatient.identities() == {"Bo": 3} and store.identities() == {"Bo": 3}
    thumbnail = b"picture Ada 0 "
    files = [path, path.with_name("gallery.db-wal")]
    assert any(thumbnail in file.read_bytes() for file in files)
    blocker.close()
    impatient.maintain()
    assert not any(thumbnail in file.read_bytes() for file in files)
    impatient.close()


def test_a_forget_that_was_cut_off_is_finished_when_the_gallery_is_opened(
    path, store, monkeypatch
):
    store.enroll(entries_of("Ada", vectors_of(3)) + entries_of("Bo", vectors_of(3, seed=1)))
    files = [path, path.with_name("gallery.db-wal")]
    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "_purge", lambda self: None)
        store.forget("Ada")
    assert any(b"picture Ada 0 " in file.read_bytes() for file in files)
    open_store(path).close()
    assert not any(b"picture Ada 0 " in file.read_bytes() for file in files)


def test_no_copy_of_any_row_lies_about(path, store):
    """Neither of the forgotten nor of the others, whom a later forget could then miss."""
    rng = np.random.default_rng(0)
    entries = [
        Entry(
            f"NAME{i:05d}X",
            vector,
            rng.bytes(32).hex(),
            {"note": f"NOTE{i:05d}X"},
            thumbnail=rng.bytes(int(rng.choice([100, 900, 3000, 6000]))),
        )
        for i, vector in enumerate(vectors_of(300))
    ]
    rng.shuffle(entries)
    for start in range(0, 300, 50):
        store.enroll(entries[start : start + 50])
    gone, left = entries[50:250:4], entries[:50] + entries[250:]

    def copies(some):
        disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
        return [
            (
                disk.count(e.identity.encode()),
                disk.count(e.metadata["note"].encode()),
                disk.count(e.digest.encode()),
                disk.count(e.vector.tobytes()),
                disk.count(e.thumbnail[30:80]),
            )
            for e in some
        ]

    assert all(min(found) >= 1 for found in copies(gone))  # the control
    for i, entry in enumerate(gone):
        if i % 2:
            store.rename(entry.identity, f"other {i}")
        assert store.forget(f"other {i}" if i % 2 else entry.identity) == 1
    assert set(copies(gone)) == {(0,) * 5}
    assert set(copies(left)) == {(1,) * 5}
    store.maintain()
    assert set(copies(gone)) == {(0,) * 5}
    assert set(copies(left)) == {(1,) * 5}
    assert store.stats().n_images == 250


def test_what_a_rename_joins_leaves_the_disk(path, store):
    kept, joined = (
        entries_of("Ada", vectors_of(30)),
        entries_of("Bo", vectors_of(40, seed=1)),
    )
    joined = with_digests(joined, [e.digest for e in kept] + [f"Bo-{i}" for i in range(10)])
    store.enroll(kept + joined)
    assert store.rename("Bo", "Ada") == 40
    assert store.identities() == {"Ada": 40} and store.stats().n_images == 40
    disk = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert [disk.count(e.vector.tobytes()) for e in kept + joined] == [1] * 30 + [
        0
    ] * 30 + [1] * 10
    assert b"picture Bo 29 " not in disk and b"picture Bo 30 " in disk


def test_a_compaction_that_was_cut_off_is_finished(path, store, monkeypatch):
    store.enroll(
        entries_of("Ada", vectors_of(30)) + entries_of("Bo", vectors_of(30, seed=1))
    )
    store.forget("Ada")

    class Cut(Exception):
        pass

    class Connection:
        """Ends before the file is rewritten."""

        def __init__(self, connection):
            self.connection = connection

        def execute(self, statement, *values):
            if statement == "VACUUM":
                raise Cut
            return self.connection.execute(statement, *values)

    with pytest.raises(Cut):
        sqlite_rows.compact(Connection(store._writer))
    assert store._state("compacting") == 1
    again = open_store(path)
    assert again._state("compacting") == 0
    assert again.identities() == {"Bo": 30}
    again.close()


def test_maintain_gives_space_back(path, store):
    store.enroll(entries_of("Ada", vectors_of(1)))
    large = [
        Entry("Bo", vector, f"{i}", original=bytes(100_000))
        for i, vector in enumerate(vectors_of(20))
    ]
    store.enroll(large)
    store.forget("Bo")
    assert path.stat().st_size > 2_000_000
    store.maintain()
    assert path.stat().st_size < 200_000 and b"Ada" in path.read_bytes()
    assert store.identities() == {"Ada": 1}


# Files that are no gallery


@pytest.mark.parametrize("content", [b"", b"no database", b"x" * 5000])
def test_another_file_is_refused_and_stays(path, content):
    path.write_bytes(content)
    assert store_exists(path)
    with pytest.raises(GalleryError, match="gallery.db is not an onelook gallery; name or"):
        open_store(path)
    with pytest.raises(GalleryError, match="already exists"):
        create_store(path, HEADER)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entry (id)")
    connection.close()
    with pytest.raises(GalleryError, match="not an onelook gallery"):
        open_store(path)


def test_a_newer_format_is_refused_before_anything_is_read(path, store):
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.execute("DROP TABLE header")
    connection.close()
    with pytest.raises(GalleryError, match="format 2, onelook .* upgrade"):
        open_store(path)


def test_a_damaged_file_is_named_with_what_to_do(path, store):
    store.enroll(entries_of("Ada", vectors_of(500)))
    store.maintain()
    store.close()
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\x55" * (len(content) - 8192))
    with pytest.raises(GalleryError, match="gallery.db is damaged.*restore a backup"):
        damaged = open_store(path)
        damaged.search(vectors_of(1), 1)


def test_a_header_that_cannot_be_read_is_damage(path, store):
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE header SET content = '{}'")
    connection.close()
    with pytest.raises(GalleryError, match="damaged.*header"):
        open_store(path)


def test_no_gallery_where_none_can_be(path, tmp_path):
    with pytest.raises(GalleryError, match="no gallery at .*gallery.db; onelook enroll"):
        open_store(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(
        GalleryError, match="there is no folder .*file for the gallery g.db"
    ):
        create_store(tmp_path / "file" / "g.db", HEADER)
    (tmp_path / "new folder").mkdir()
    made = create_store(tmp_path / "new folder" / "a b%20c.db", HEADER)
    made.close()
    assert sorted(p.name for p in (tmp_path / "new folder").iterdir()) == ["a b%20c.db"]


def test_a_closed_gallery_says_so(store):
    store.close()
    store.close()
    with pytest.raises(GalleryError, match="was closed; open it again"):
        store.search(vectors_of(1), 1)


def test_a_writer_that_never_ends_is_named(path, store, monkeypatch):
    monkeypatch.setattr(sqlite_file, "WAIT_SECONDS", 0.2)
    impatient = open_store(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(GalleryError, match="busy for more than 0.2 s; try again"):
        impatient.enroll(entries_of("Ada", vectors_of(1)))
    blocker.execute("ROLLBACK")
    blocker.close()
    assert impatient.enroll(entries_of("Ada", vectors_of(1))) == [True]
    impatient.close()


def test_two_processes_that_make_a_gallery_at_once_make_one(path):
    made, errors = [], []

    def make():
        try:
            made.append(create_store(path, HEADER))
        except GalleryError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(errors) == 7
    made[0].close()
    assert [file.name for file in path.parent.iterdir()] == ["gallery.db"]


def test_searches_do_not_wait_for_a_writer(path, store):
    store.enroll(people(50)[1])
    assert_finds(store, people(50)[0])
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    assert_finds(store, people(50)[0])
    assert time.monotonic() - begun < 5  # a writer would be waited for 30 s
    blocker.execute("ROLLBACK")
    blocker.close()


def test_a_gallery_on_a_read_only_disk_is_read_and_not_written(tmp_path, monkeypatch):
    folder = tmp_path / "vol % #1"  # what a URI would read otherwise
    folder.mkdir()
    path = folder / "g.db"
    vectors = vectors_of(3)
    with closing(create_store(path, HEADER)) as store:
        store.enroll(entries_of("Ada", vectors))
    before = {file: file.read_bytes() for file in folder.iterdir()}
    # Root may write anywhere, so only what the system says is changed here.
    monkeypatch.setattr(sqlite_file.os, "access", lambda *_: False)
    with closing(open_store(path)) as store:
        assert store.search(vectors[:1], 1)[0][0].identity == "Ada"
        assert store.identities() == {"Ada": 3} and store.settings() == {}
        with pytest.raises(GalleryError, match="write access"):
            store.enroll(entries_of("Bo", -vectors))
        assert {file: file.read_bytes() for file in folder.iterdir()} == before


def answers_of(path):
    with closing(open_store(path)) as store:
        found = store.search(vectors_of(5, seed=9), 8)
        hits = [
            [(hit.id, hit.identity, hit.vector.tobytes()) for hit in one] for one in found
        ]
        return hits, store.identities(), [entry.digest for entry in store.read()]


def test_no_changed_bit_changes_an_answer_silently(path):
    with closing(create_store(path, HEADER)) as store:
        for i in range(20):
            store.enroll(entries_of(f"person {i}", vectors_of(2, seed=i)))
    whole, before = path.read_bytes(), answers_of(path)
    n_told = 0
    for place in np.random.default_rng(0).integers(8 * len(whole), size=400).tolist():
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            assert answers_of(path) == before, f"bit {place}"
        except GalleryError:
            n_told += 1
    assert n_told > 20


def test_an_older_gallery_gets_its_checksums(path):
    with closing(create_store(path, HEADER)) as store:
        store.enroll(entries_of("Ada", vectors_of(3)))
        store.rename("Ada", "Bo")
    before = answers_of(path)
    with closing(sqlite3.connect(path)) as connection:
        kept = connection.execute("SELECT * FROM checksum").fetchall()
        connection.execute("DROP TABLE checksum")
        connection.commit()
    assert answers_of(path) == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM checksum").fetchall() == kept


def test_the_log_of_a_lost_gallery_is_not_taken_over(path):
    store = create_store(path, HEADER)
    store.enroll(entries_of("Ada", vectors_of(3)))
    log = path.with_name("gallery.db-wal")
    killed = log.read_bytes()
    store.close()
    path.unlink()
    log.write_bytes(killed)
    with pytest.raises(GalleryError, match="gallery.db-wal of a lost gallery.*remove it"):
        create_store(path, HEADER)
    assert not path.exists() and log.read_bytes() == killed
    log.unlink()
    with closing(create_store(path, HEADER)) as store:
        assert store.identities() == {}


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_gallery_that_is_removed_or_replaced_while_open_is_noticed(
    path, store, comes_back
):
    store.enroll(entries_of("Ada", vectors_of(3)))
    kept = path.rename(path.with_name("kept.db"))
    if comes_back:
        path.write_bytes(kept.read_bytes())
    for use in (
        lambda: store.enroll(entries_of("Bo", vectors_of(1))),
        lambda: store.forget("Ada"),
        lambda: store.search(vectors_of(1), 1),
        store.identities,
    ):
        with pytest.raises(GalleryError, match="removed or replaced.*again"):
            use()
    kept.replace(path)
    assert store.identities() == {"Ada": 3}
