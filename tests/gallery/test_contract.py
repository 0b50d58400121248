"""What every gallery store promises, on every kind of store."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from contract import (
    HEADER,
    KEEPS_NO_ORIGINALS,
    KINDS,
    PURGES_LATER,
    SIZE,
    entries_of,
    place_of,
    start_child,
    vectors_of,
    with_digests,
)

from onelook.errors import GalleryError
from onelook.gallery.store import Entry, read_all
from onelook.gallery.stores import create_store, open_store, store_exists


@pytest.fixture(
    params=[
        kind if kind == "file" else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
    ]
)
def place(request, tmp_path):
    with place_of(request.param, tmp_path) as place:
        yield place


@pytest.fixture
def store(place):
    store = create_store(place.url, HEADER)
    yield store
    store.close()


def digests(store):
    return [entry.digest for entry in read_all(store)]


def test_a_gallery_is_there_once_it_is_made(place):
    assert not store_exists(place.url)
    with pytest.raises(GalleryError, match="no gallery"):
        open_store(place.url)
    create_store(place.url, HEADER).close()
    assert store_exists(place.url)
    with pytest.raises(GalleryError, match=r"already|exists"):
        create_store(place.url, HEADER)
    again = open_store(place.url)
    assert again.header == HEADER
    again.close()


def test_settings_are_kept_whole_and_replaced(place, store):
    assert store.settings() == {}
    large = np.random.default_rng(0).bytes(200_000)
    store.keep("cohort", large)
    store.keep("decision", b"{}")
    other = open_store(place.url)
    assert other.settings() == {"cohort": large, "decision": b"{}"}
    store.keep("cohort", b"")
    assert other.settings() == {"cohort": b"", "decision": b"{}"}
    other.close()


def test_what_is_enrolled_is_found_at_once_by_all(place, store):
    other = open_store(place.url)
    vectors = vectors_of(3)
    assert store.enroll(entries_of("Ada", vectors)) == [True, True, True]
    for one in (store, other):
        hit = one.search(vectors[1:2], 1)[0][0]
        assert hit.identity == "Ada"
        np.testing.assert_array_equal(hit.vector, vectors[1])
    other.enroll(entries_of("Bo", -vectors))
    assert store.search(-vectors[:1], 1)[0][0].identity == "Bo"
    assert store.identities() == {"Ada": 3, "Bo": 3}
    other.close()


def test_the_latest_images_of_identities_are_given_whole(place, store):
    vectors = vectors_of(7)
    store.enroll(entries_of("Ada", vectors[:4]))
    store.enroll(entries_of("Bo", vectors[4:6]))
    store.enroll(entries_of("Cy", vectors[6:]))
    hits = store.images_of(["Bo", "Ada", "nobody"], 3)
    assert sorted((hit.identity, hit.vector.tolist()) for hit in hits) == sorted(
        [("Ada", vector.tolist()) for vector in vectors[1:4]]
        + [("Bo", vector.tolist()) for vector in vectors[4:6]]
    )
    assert len({hit.id for hit in hits}) == 5
    assert store.images_of([], 3) == []


def test_an_entry_comes_back_whole(place, store):
    entry = Entry(
        "Ada",
        vectors_of(1)[0],
        "ab" * 32,
        {"camera": "ü", "n": 1.5, "tags": ["x", None], "deep": {"a": True}},
        thumbnail=bytes(range(256)),
        original=bytes(range(256)) * 900,
    )
    if place.kind in KEEPS_NO_ORIGINALS:
        with pytest.raises(GalleryError, match="no original images"):
            store.enroll([entry])
        entry = replace(entry, original=None)
    store.enroll([entry, Entry("Bo", vectors_of(1, seed=1)[0], "cd" * 32)])
    first, second = store.read()
    np.testing.assert_array_equal(first.vector, entry.vector)
    assert first.vector.dtype == np.float32
    assert (first.identity, first.digest, first.metadata) == (
        "Ada",
        "ab" * 32,
        entry.metadata,
    )
    assert (first.thumbnail, first.original) == (entry.thumbnail, entry.original)
    assert (second.metadata, second.thumbnail, second.original) == ({}, None, None)
    assert first.id < second.id


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
def test_the_nearest_come_first_in_the_metric_of_the_gallery(place, metric):
    store = create_store(place.url, replace(HEADER, metric=metric))
    vectors, queries = vectors_of(200), vectors_of(5, seed=1)
    store.enroll(entries_of("Ada", vectors))
    for query, hits in zip(queries, store.search(queries, 7), strict=True):
        difference = vectors.astype(float) - query
        measured = {
            "cosine": -(vectors @ query) / np.linalg.norm(vectors, axis=1),
            "euclidean": np.sqrt((difference**2).sum(1)),
            "manhattan": np.abs(difference).sum(1),
        }[metric]
        expected = vectors[np.argsort(measured, kind="stable")[:7]]
        np.testing.assert_array_equal([hit.vector for hit in hits], expected)
    store.close()


def test_an_empty_gallery_finds_nothing(store):
    assert store.search(vectors_of(2), 3) == [[], []]
    assert store.read() == [] and store.identities() == {}
    assert (store.stats().n_images, store.stats().n_identities) == (0, 0)
    assert store.enroll([]) == []


def test_more_neighbours_than_there_are_gives_all(store):
    store.enroll(entries_of("Ada", vectors_of(5)))
    hits = store.search(vectors_of(2, seed=1), 50)
    assert [len({hit.id for hit in found}) for found in hits] == [5, 5]


@pytest.mark.parametrize("k", [0, -1])
def test_k_has_to_be_positive(store, k):
    with pytest.raises(ValueError, match=f"got {k}"):
        store.search(vectors_of(1), k)


def test_the_same_image_of_an_identity_is_one_entry(store):
    entries = entries_of("Ada", vectors_of(3))
    assert store.enroll(entries[:2]) == [True, True]
    assert store.enroll(entries) == [False, False, True]
    twice = with_digests(entries[:2], ["new", "new"])
    assert store.enroll(twice) == [True, False]
    assert store.enroll([replace(entries[0], identity="Bo")]) == [True]
    assert store.identities() == {"Ada": 4, "Bo": 1}


def test_a_batch_is_kept_whole_or_not_at_all(store):
    good = entries_of("Ada", vectors_of(4))
    bad = vectors_of(4)
    bad[2, 3] = np.nan
    with pytest.raises(GalleryError, match="not finite"):
        store.enroll(entries_of("Ada", bad))
    with pytest.raises(TypeError):
        store.enroll([*good[:3], replace(good[3], metadata={"no": object()})])
    assert store.read() == [] and store.search(vectors_of(1), 3) == [[]]
    assert store.enroll(good) == [True] * 4


def test_vectors_of_another_size_are_refused(store):
    wrong = vectors_of(2, size=SIZE + 1)
    with pytest.raises(GalleryError, match=rf"\(N, {SIZE}\).*{SIZE + 1}"):
        store.enroll(entries_of("Ada", wrong))
    with pytest.raises(GalleryError, match=rf"\(N, {SIZE}\).*{SIZE + 1}"):
        store.search(wrong, 1)


def test_names_of_any_language(store):
    names = ["Ærøskøbing", "山田 太郎", "👩‍🚀", "O'Brien; DROP TABLE entry --", 'a\\b%_"c']
    vectors = vectors_of(len(names))
    for name, vector in zip(names, vectors, strict=True):
        store.enroll(entries_of(name, vector[None]))
    assert list(store.identities()) == sorted(names)
    for name, vector in zip(names, vectors, strict=True):
        assert store.search(vector[None], 1)[0][0].identity == name
        assert len(store.read(name)) == 1
    for name in names:
        assert store.forget(name) == 1


def test_what_is_forgotten_is_gone_at_once_for_all(place, store):
    other = open_store(place.url)
    vectors = vectors_of(4)
    store.enroll(entries_of("Ada", vectors[:2]) + entries_of("Bo", vectors[2:]))
    assert len(other.search(vectors[:1], 9)[0]) == 4
    assert store.forget("Ada") == 2
    for one in (store, other):
        assert {hit.identity for hit in one.search(vectors[:1], 9)[0]} == {"Bo"}
        assert one.identities() == {"Bo": 2} and one.read("Ada") == []
    assert store.forget("Ada") == 0 and store.forget("unknown") == 0
    other.close()


def test_an_id_is_never_used_again(place, store):
    store.enroll(entries_of("Ada", vectors_of(3)))
    used = {entry.id for entry in store.read()}
    store.forget("Ada")
    store.close()
    again = open_store(place.url)
    again.enroll(entries_of("Ada", vectors_of(3)))
    assert not used & {entry.id for entry in again.read()}
    assert min(entry.id for entry in again.read()) > max(used)
    again.close()


def test_forgotten_bytes_are_gone_from_disk_even_with_readers(place, store):
    """The control: the same search of the files finds them before."""
    rng = np.random.default_rng(7)
    vectors = vectors_of(40)
    secret = replace(
        entries_of("canary of name", vectors[:1])[0],
        digest=rng.bytes(32).hex(),
        metadata={"note": "canary of metadata"},
        thumbnail=rng.bytes(3000),
        original=rng.bytes(100_000),
    )
    if place.kind in KEEPS_NO_ORIGINALS:
        secret = replace(secret, original=None)
    before, after = entries_of("Ada", vectors[1:20]), entries_of("Bo", vectors[20:])
    store.enroll([*before, secret, *after])
    traces = {
        "name": b"canary of name",
        "metadata": b"canary of metadata",
        "vector": secret.vector.tobytes(),
        "thumbnail": secret.thumbnail[100:160],
    }
    if secret.original is not None:
        traces["original"] = secret.original[50_000:50_060]
    other = open_store(place.url)
    other.search(vectors[:1], 3)
    store.maintain()
    there = {what for what, trace in traces.items() if place.holds(trace)}
    # A server may keep columns packed; whatever lies open must be found first.
    assert there if place.kind == "milvus" else there == set(traces)
    assert store.forget("canary of name") == 1
    if place.kind not in PURGES_LATER:
        assert {what for what, trace in traces.items() if place.holds(trace)} == set()
    assert len(other.search(vectors[:1], 99)[0]) == 39
    other.close()


def test_rename_keeps_ids_and_joins_identities(store):
    vectors = vectors_of(5)
    store.enroll(entries_of("Ada", vectors[:2], "x") + entries_of("Bo", vectors[2:], "x"))
    ada = [entry.id for entry in store.read("Ada")]
    assert store.rename("Ada", "Ada L.") == 2
    assert [entry.id for entry in store.read("Ada L.")] == ada
    assert store.search(vectors[:1], 1)[0][0].identity == "Ada L."
    # x-0 and x-1 are Bo's already, so only x-2 is new to Ada L.
    store.rename("Bo", "Ada L.")
    assert store.identities() == {"Ada L.": 3}
    assert sorted(digests(store)) == ["x-0", "x-1", "x-2"]
    assert len(store.search(vectors[:1], 9)[0]) == 3
    assert store.rename("Ada L.", "Ada L.") == 3
    assert store.rename("unknown", "Cy") == 0


def test_entries_are_read_page_by_page(store):
    store.enroll(
        entries_of("Ada", vectors_of(10)) + entries_of("Bo", vectors_of(3, seed=1))
    )
    first = store.read(limit=4)
    second = store.read(after=first[-1].id, limit=4)
    ids = [entry.id for entry in first + second]
    assert len(ids) == 8 and ids == sorted(set(ids))
    assert [entry.digest for entry in store.read("Bo")] == ["Bo-0", "Bo-1", "Bo-2"]
    assert len(list(read_all(store))) == 13 and len(list(read_all(store, "Bo"))) == 3


def test_stats_count(store):
    store.enroll(
        entries_of("Ada", vectors_of(10)) + entries_of("Bo", vectors_of(3, seed=1))
    )
    stats = store.stats()
    assert (stats.n_identities, stats.n_images) == (2, 13)
    assert stats.n_bytes is None or stats.n_bytes > 13 * SIZE * 4
    assert stats.search


def test_maintain_changes_no_answer(store):
    vectors = vectors_of(50)
    store.enroll(entries_of("Ada", vectors))
    before = [hit.id for hit in store.search(vectors[:1], 50)[0]]
    store.maintain()
    assert [hit.id for hit in store.search(vectors[:1], 50)[0]] == before


def test_many_threads_read_and_write(store):
    errors = []

    def work(number):
        try:
            for batch in range(5):
                name = f"{number}-{batch}"
                vectors = vectors_of(2, seed=100 * number + batch)
                store.enroll(entries_of(name, vectors))
                assert store.search(vectors[:1], 1)[0][0].identity == name
                if batch % 2:
                    assert store.forget(name) == 2
                    assert name not in {h.identity for h in store.search(vectors, 99)[0]}
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(store.identities()) == 4 * 3


def test_processes_write_while_others_read(place, store):
    n = 10
    reader = start_child("search", place.url, 2 * 3 * n)
    assert reader.stdout.readline() == "ready\n"
    writers = [start_child("enroll", place.url, name, n) for name in ("a", "b")]
    seen = [int(line) for line in reader.communicate(timeout=120)[0].split()]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert reader.returncode == 0
    # Whole batches only, never fewer than before.
    assert seen == sorted(seen) and not any(count % 3 for count in seen)
    assert len(store.identities()) == 2 * n
    for writer in writers:
        writer.stdout.close()


@pytest.mark.parametrize("after_seconds", [0.0, 0.02, 0.05])
def test_what_was_acknowledged_survives_a_kill(place, store, after_seconds):
    child = start_child("enroll", place.url, "a", 100_000)
    assert child.stdout.readline() == "ready\n"
    child.stdout.readline()
    time.sleep(after_seconds)
    child.kill()
    acknowledged = 1 + len(child.communicate()[0].splitlines())
    counts, entries = store.identities(), list(read_all(store))
    if len(entries) != 3 * len(counts):  # a server kept meanwhile what it had been sent
        counts = store.identities()
    assert set(counts.values()) == {3}
    assert acknowledged <= len(counts) <= acknowledged + 1
    assert [entry.identity for entry in entries[::3]] == [
        f"a {i}" for i in range(len(counts))
    ]
    expected = np.concatenate([vectors_of(3, seed=i) for i in range(len(counts))])
    np.testing.assert_array_equal([entry.vector for entry in entries], expected)
    assert store.enroll(entries_of("after", vectors_of(1))) == [True]
