"""The file store: its index, its promises about the disk, and files that are none."""

import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from contract import HEADER, entries_of, start_child, vectors_of

from onelook.errors import GalleryError
from onelook.gallery import sqlite, sqlite_file, sqlite_rows
from onelook.gallery.exact import Rows, distances, nearest
from onelook.gallery.sqlite import SqliteStore
from onelook.gallery.store import Entry, create_store, open_store, store_exists


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gallery.db"


@pytest.fixture
def store(path):
    store = create_store(path, HEADER)
    yield store
    store.close()


@pytest.fixture
def small_limits(monkeypatch):
    """An index from 100 images on, made again after 50 more."""
    monkeypatch.setattr(sqlite, "INDEX_FROM", 100)
    monkeypatch.setattr(sqlite, "NEWER_AT_MOST", 50)


def people(n, first=0, images=2):
    """``n`` identities with their vectors, and all their entries."""
    vectors = {f"p{i}": vectors_of(images, seed=i) for i in range(first, first + n)}
    return vectors, [e for name, rows in vectors.items() for e in entries_of(name, rows)]


def assert_finds(store, vectors):
    """Each identity's first image finds itself."""
    queries = np.stack([rows[0] for rows in vectors.values()])
    best = [hits[0] for hits in store.search(queries, 3)]
    assert [hit.identity for hit in best] == list(vectors)
    np.testing.assert_array_equal([hit.vector for hit in best], queries)


# Exact search


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
@pytest.mark.parametrize("n", [1, 7, 300, 3000])
def test_exact_search_equals_a_sort_of_all_distances(metric, n):
    vectors, queries = vectors_of(n, size=8), vectors_of(9, seed=1, size=8)
    vectors[n // 2] = 0  # has no direction
    rows = Rows(8)
    rows.rows_per_block = 256
    rows.append(np.arange(n) * 3, vectors)
    for query, (ids, measured) in zip(
        queries, nearest(rows.parts(), metric, queries, 5), strict=True
    ):
        difference = vectors.astype(float) - query
        lengths = np.linalg.norm(vectors.astype(float), axis=1)
        cosines = vectors.astype(float) @ query / np.linalg.norm(query.astype(float))
        expected = {
            "cosine": 1 - cosines / np.where(lengths == 0, 1, lengths),
            "euclidean": (difference**2).sum(1),
            "manhattan": np.abs(difference).sum(1),
        }[metric]
        order = np.argsort(expected, kind="stable")[:5]
        assert ids.tolist() == (order * 3).tolist()
        np.testing.assert_allclose(measured, expected[order], atol=1e-7)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
def test_equal_vectors_stand_in_the_order_of_their_ids(metric):
    same = np.repeat(vectors_of(1, size=256), 1000, axis=0)
    rows = Rows(256)
    rows.rows_per_block = 333
    rows.append(np.arange(1000), same)
    ids, measured = nearest(rows.parts(), metric, vectors_of(1, seed=1, size=256), 20)[0]
    assert ids.tolist() == list(range(20)) and len(set(measured)) == 1


def test_far_from_the_origin_the_nearest_are_still_exact():
    """|a|^2 + |b|^2 - 2ab in float32 alone would order these by its rounding."""
    vectors = vectors_of(2000, size=64) * 0.01 + 100
    rows = Rows(64)
    rows.append(np.arange(2000), vectors)
    query = vectors[:1] + np.float32(0.001)
    ids, _ = nearest(rows.parts(), "euclidean", query, 10)[0]
    expected = np.argsort(distances("euclidean", vectors, query[0]), kind="stable")[:10]
    assert ids.tolist() == expected.tolist()


def test_rows_removed_and_added_leave_what_was_given_out_alone():
    rows = Rows(4)
    rows.rows_per_block = 5
    vectors = vectors_of(12, size=4)
    rows.append(np.arange(12), vectors)
    before = rows.parts()
    rows.remove([3, 7, 99])
    rows.append(np.array([12]), vectors[:1])
    assert [i for part in before for i in part.ids] == list(range(12))
    kept = [i for i in range(12) if i not in (3, 7)]
    assert [i for part in rows.parts() for i in part.ids] == [*kept, 12]
    np.testing.assert_array_equal(
        np.concatenate([part.vectors for part in rows.parts()]), vectors[[*kept, 0]]
    )
    assert len(rows) == 11


# The index


def test_a_large_gallery_gets_an_index_that_others_use_too(path, store, small_limits):
    vectors, entries = people(100)
    store.enroll(entries)
    store.maintain()
    assert store.index_path == path.with_name("gallery.db.usearch")
    assert store.index_path.is_file()
    assert_finds(store, vectors)
    assert store.stats().search == "usearch, exact for the newest 0"
    other = open_store(path)
    assert_finds(other, vectors)
    more, entries = people(10, first=100)
    other.enroll(entries)
    assert_finds(store, vectors | more)
    assert store.stats().search == "usearch, exact for the newest 20"
    other.close()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_index_agrees_with_exact_search(path, small_limits, metric):
    header = sqlite.Header("0", "m", 32, metric)
    store = create_store(path, header)
    vectors = vectors_of(2000, size=32)
    store.enroll(entries_of("Ada", vectors[:1500]))
    store.maintain()
    store.enroll(entries_of("Ada", vectors[1500:], "more"))
    assert store._near is not None
    queries = vectors_of(50, seed=1, size=32)
    agreed = 0
    for query, hits in zip(queries, store.search(queries, 5), strict=True):
        order = np.argsort(distances(metric, vectors, query), kind="stable")[:5]
        found = [hit.vector.tobytes() for hit in hits]
        agreed += sum(vectors[i].tobytes() in found for i in order)
        measured = distances(metric, np.stack([hit.vector for hit in hits]), query)
        assert (np.diff(measured) >= 0).all()
    assert agreed >= 0.98 * 250
    store.close()


def test_the_index_is_made_in_the_background_when_it_is_time(store, small_limits):
    vectors, entries = people(60)
    store.enroll(entries)
    assert_finds(store, vectors)
    store._builder.join()
    assert_finds(store, vectors)
    assert store.stats().search == "usearch, exact for the newest 0"
    more, entries = people(30, first=60)
    store.enroll(entries)
    assert_finds(store, vectors | more)
    store._builder.join()
    assert_finds(store, vectors | more)
    assert store.stats().search == "usearch, exact for the newest 0"


@pytest.mark.slow
def test_a_program_may_end_while_the_index_is_made(path):
    """Without ``close``, as a program that fails ends."""
    create_store(path, replace(HEADER, embedding_size=64)).close()
    program = """if True:
        import sys, time, numpy
        from onelook.gallery import sqlite
        from onelook.gallery.store import Entry, open_store

        sqlite.INDEX_FROM = 8000
        store = open_store(sys.argv[1])
        vectors = numpy.random.default_rng(0).standard_normal((30000, 64), numpy.float32)
        store.enroll([Entry("Ada", vectors[i], str(i)) for i in range(30000)])
        store.search(vectors[:1], 1)
        time.sleep(float(sys.argv[2]))
        print(store._builder.is_alive())
    """
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), "1.5"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_small_galleries_and_manhattan_have_no_index(path, store, small_limits, tmp_path):
    store.enroll(people(10)[1])
    store.maintain()
    assert not store.index_path.exists()
    other = create_store(tmp_path / "m.db", sqlite.Header("0", "m", 16, "manhattan"))
    other.enroll(people(100)[1])
    other.maintain()
    assert not other.index_path.exists()
    assert_finds(other, people(100)[0])
    other.close()


def test_forgotten_vectors_leave_the_index_file_at_once(path, store, small_limits):
    vectors, entries = people(100)
    store.enroll(entries)
    store.maintain()
    other = open_store(path)
    assert_finds(other, vectors)
    unit = vectors["p7"][0] / np.linalg.norm(vectors["p7"][0])
    trace = half(unit)
    assert trace in store.index_path.read_bytes()  # the control
    assert other.forget("p7") == 2
    assert trace not in store.index_path.read_bytes()
    left = {name: rows for name, rows in vectors.items() if name != "p7"}
    for one in (store, other):
        assert_finds(one, left)
        assert "p7" not in {hit.identity for hit in one.search(vectors["p7"], 50)[0]}
    assert half(vectors["p8"][0] / np.linalg.norm(vectors["p8"][0])) in (
        store.index_path.read_bytes()
    )
    other.close()


def half(vector):
    """bfloat16 as usearch rounds it: to the nearest, ties to even."""
    bits = vector.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes()


def test_what_is_forgotten_while_an_index_is_made_is_not_in_it(
    path, store, small_limits, monkeypatch
):
    vectors, entries = people(100)
    store.enroll(entries)
    trace = half(vectors["p7"][0] / np.linalg.norm(vectors["p7"][0]))
    written = []

    def write_and_forget(file, index, token):
        write_index(file, index, token)
        if not written:
            written.append(trace in file.read_bytes())
            other = open_store(path)
            other.forget("p7")
            other.close()

    write_index = sqlite.write_index
    monkeypatch.setattr(sqlite, "write_index", write_and_forget)
    store.maintain()  # the forget takes the file away, so it is written again
    assert written == [True]
    assert trace not in store.index_path.read_bytes()
    assert "p7" not in {hit.identity for hit in store.search(vectors["p7"], 50)[0]}
    assert_finds(store, {name: rows for name, rows in vectors.items() if name != "p7"})


def test_after_many_forgets_the_index_is_made_from_nothing(store, small_limits):
    vectors, entries = people(100)
    store.enroll(entries)
    store.maintain()
    for i in range(30):
        store.forget(f"p{i}")
    left = {f"p{i}": vectors[f"p{i}"] for i in range(30, 100)}
    assert_finds(store, left)
    assert len(store._near) == 200
    store.maintain()
    assert_finds(store, left)
    assert len(store._near) == 140


@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "other"])
def test_a_damaged_index_is_made_again(path, store, small_limits, damage):
    vectors, entries = people(100)
    store.enroll(entries)
    store.maintain()
    content = store.index_path.read_bytes()
    store.close()
    if damage == "gone":
        store.index_path.unlink()
    else:
        damaged = {"cut": content[: len(content) // 2], "empty": b"", "other": b"x" * 9999}
        store.index_path.write_bytes(damaged[damage])
    again = open_store(path)
    assert_finds(again, vectors)
    again.maintain()
    assert_finds(again, vectors)
    assert again._near is not None
    again.close()


def test_an_index_of_another_state_is_not_used_and_goes_with_a_forget(
    path, store, small_limits
):
    """A gallery restored from a backup beside a newer index."""
    vectors, entries = people(100)
    store.enroll(entries)
    with sqlite3.connect(path) as source, sqlite3.connect(f"{path}.backup") as backup:
        source.backup(backup)
    source.close()
    backup.close()
    store.maintain()
    index = store.index_path.read_bytes()
    store.close()
    path.with_name("gallery.db.backup").rename(path)
    restored = open_store(path)
    assert restored.stats().search == "exact"
    assert restored.index_path.read_bytes() == index
    restored._closing.set()  # no new index in the background
    restored.forget("p7")
    assert not restored.index_path.exists()
    del vectors["p7"]
    assert_finds(restored, vectors)
    restored.close()


def test_more_neighbours_than_the_index_is_good_for(store, small_limits, monkeypatch):
    monkeypatch.setattr(sqlite, "MOST_FROM_INDEX", 20)
    vectors, entries = people(100)
    store.enroll(entries)
    store.maintain()
    query = vectors["p5"][:1]
    for k in (19, 20, 21, 150, 5000):
        hits = store.search(query, k)[0]
        assert len(hits) == min(k, 200) and hits[0].identity == "p5"


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


def test_a_compaction_that_was_cut_off_is_finished(path, store, monkeypatch):
    store.enroll(
        entries_of("Ada", vectors_of(30)) + entries_of("Bo", vectors_of(30, seed=1))
    )
    store.forget("Ada")

    class Cut(Exception):
        pass

    class Connection:
        """Ends before the file is written anew."""

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
    with pytest.raises(
        GalleryError, match="gallery.db is no onelook gallery; name another"
    ):
        open_store(path)
    with pytest.raises(GalleryError, match="exists already"):
        create_store(path, HEADER)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entry (id)")
    connection.close()
    with pytest.raises(GalleryError, match="no onelook gallery"):
        open_store(path)


def test_a_newer_format_is_refused_before_anything_is_read(path, store):
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.execute("DROP TABLE header")
    connection.close()
    with pytest.raises(GalleryError, match="format 2, this onelook .* upgrade"):
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
    with pytest.raises(GalleryError, match="no gallery at .*gallery.db; make one"):
        open_store(path)
    (tmp_path / "file").write_text("")
    with pytest.raises(GalleryError, match="no gallery can be made"):
        create_store(tmp_path / "file" / "g.db", HEADER)
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


def test_an_index_is_made_while_processes_write_and_forget(path, store, small_limits):
    vectors, entries = people(100)
    store.enroll(entries)
    child = start_child("churn", path, "c", 12)
    for _ in range(4):
        store.maintain()
        assert_finds(store, vectors)
    lines = child.communicate(timeout=60)[0].splitlines()
    assert child.returncode == 0 and lines[-1] == "forgot 11"
    store.maintain()
    assert_finds(store, vectors)
    assert store.stats().n_identities == 108
