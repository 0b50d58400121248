"""The index beside a file gallery: found, shared, cleaned, damaged, rebuilt."""

import sqlite3
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from contract import HEADER, entries_of, start_child, vectors_of
from many import assert_finds, people

from onelook.gallery import sqlite
from onelook.gallery.exact import distances
from onelook.gallery.stores import create_store, open_store


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
    """An index from 100 images on, extended after 50 more."""
    monkeypatch.setattr(sqlite, "INDEX_FROM", 100)
    monkeypatch.setattr(sqlite, "NEWER_AT_MOST", 50)


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
    queries = vectors_of(50, seed=1, size=32)
    agreed = 0
    for query, hits in zip(queries, store.search(queries, 5), strict=True):
        order = np.argsort(distances(metric, vectors, query), kind="stable")[:5]
        found = [hit.vector.tobytes() for hit in hits]
        agreed += sum(vectors[i].tobytes() in found for i in order)
        measured = distances(metric, np.stack([hit.vector for hit in hits]), query)
        assert (np.diff(measured) >= 0).all()
    assert agreed >= 0.98 * 250 and store._near is not None
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
        from onelook.gallery.store import Entry
        from onelook.gallery.stores import open_store

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

    def write_and_forget(file, index, built):
        write_index(file, index, built)
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
