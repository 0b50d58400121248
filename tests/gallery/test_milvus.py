"""MilvusStore against a real standalone Milvus, beyond the common contract."""

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from contract import SIZE, start_child
from servers import files_with, milvus_server, milvus_url
from test_kills import KILLS, check_whole

from onelook.errors import GalleryError
from onelook.gallery import milvus
from onelook.gallery.exact import nearest_hits
from onelook.gallery.milvus import MilvusStore, _collection_name
from onelook.gallery.milvus_rows import row_of, schema_of_ids
from onelook.gallery.store import Entry, Header, Hit
from onelook.gallery.stores import open_store, store_exists

SLOW = pytest.mark.slow
# Under load the test server takes its time to rewrite a segment.
PURGE_SECONDS = 90


def _header(size: int = 8, metric: str = "cosine") -> Header:
    return Header("fingerprint", "model", size, metric)


def _entries(n: int, size: int = 8, seed: int = 0) -> list[Entry]:
    vectors = np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)
    return [Entry(f"p{i % 10}", vector, f"{seed}-{i}") for i, vector in enumerate(vectors)]


def _recall(store: MilvusStore, entries: list[Entry], k: int) -> float:
    """Share of the true ``k`` nearest among those found, over 20 queries."""
    everybody = [Hit(i, e.identity, e.vector) for i, e in enumerate(entries)]
    queries = np.stack([e.vector for e in _entries(20, store.header.embedding_size, 99)])
    shares = []
    for query, hits in zip(queries, store.search(queries, k), strict=True):
        true = {
            h.vector.tobytes()
            for h in nearest_hits(everybody, store.header.metric, query, k)
        }
        shares.append(len(true & {hit.vector.tobytes() for hit in hits}) / k)
    return float(np.mean(shares))


@pytest.fixture
def url() -> Iterator[str]:
    with milvus_url() as fresh:
        yield fresh


@pytest.mark.parametrize("name", ["", "1a", "a-b", "onelook_ids"])
def test_a_name_that_milvus_refuses_is_refused_before(name: str) -> None:
    with pytest.raises(GalleryError, match="begins with a letter"):
        _collection_name(f"milvus://h/?collection={name}")


def test_a_collection_has_a_name_without_one() -> None:
    assert _collection_name("milvus://h:1/db") == "onelook"
    assert _collection_name("milvus://h:1/db?collection=Faces_1") == "Faces_1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"original": b"x"}, "no original images"),
        ({"thumbnail": b"x" * 49_152}, "thumbnail of 'p0' takes 65537 bytes"),
        ({"metadata": {"a": "x" * 65_535}}, "metadata of 'p0' takes 65544 bytes"),
        ({"identity": "ü" * 513}, "identity of 'ü+' takes 1026 bytes"),
    ],
)
def test_what_milvus_cannot_keep_is_refused(change: dict, message: str) -> None:
    (entry,) = _entries(1)
    with pytest.raises(GalleryError, match=message):
        row_of(replace(entry, **change), entry.vector)


def test_a_server_that_is_not_there_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(milvus, "CONNECT_SECONDS", 1)
    with pytest.raises(GalleryError, match="does the server run") as caught:
        store_exists("milvus://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(caught.value)


@SLOW
def test_a_collection_of_somebody_else_is_left_alone(url: str) -> None:
    store = MilvusStore.create(url, _header())
    other = f"{url}_theirs"
    schema = schema_of_ids(store._client)
    store._client.create_collection(_collection_name(other), schema=schema)
    for act in (store_exists, open_store, lambda u: MilvusStore.create(u, _header())):
        with pytest.raises(GalleryError, match="is not a gallery"):
            act(other)
    store._client.drop_collection(_collection_name(other))
    with pytest.raises(GalleryError, match="up to 32768 numbers"):
        MilvusStore.create(other, _header(32_769))


@SLOW
def test_writers_of_the_same_images_leave_one_of_each(url: str) -> None:
    store, entries = MilvusStore.create(url, _header()), _entries(20)
    with ThreadPoolExecutor(4) as pool:
        news = list(pool.map(store.enroll, [entries, entries[::-1]] * 2))
    assert sum(map(sum, news)) == 20
    stored = store.read()
    assert sorted(e.digest for e in stored) == sorted(e.digest for e in entries)
    assert store.stats().n_images == 20


@SLOW
def test_of_two_that_came_in_at_once_the_smaller_id_stays(url: str) -> None:
    store, entries = MilvusStore.create(url, _header()), _entries(3)
    for _ in range(2):  # what two writers do after both found nothing there
        store._insert([row_of(entry, entry.vector) for entry in entries])
    ids = [entry.id for entry in store.read()]
    assert len(ids) == 6
    kept = store._settle([row_of(entry, entry.vector)["key"] for entry in entries])
    assert sorted(kept.values()) == ids[:3] == [entry.id for entry in store.read()]


@SLOW
def test_a_batch_of_more_than_one_request_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus, "REQUEST_BYTES", 2**20)
    store = MilvusStore.create(url, _header())
    entries = [replace(e, thumbnail=b"x" * 49_000) for e in _entries(20)]
    with pytest.raises(GalleryError, match="20 images take 1 MB, Milvus keeps up to 1 MB"):
        store.enroll(entries)
    assert store.read() == []
    assert all(store.enroll(entries[:10]))


@SLOW
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
def test_the_index_finds_what_is_near(url: str, metric: str) -> None:
    """In sealed segments, which have an index, and in one that still grows."""
    store, entries = MilvusStore.create(url, _header(32, metric)), _entries(3000, 32)
    store.enroll(entries[:2500])
    store.maintain()
    store.enroll(entries[2500:])
    assert _recall(store, entries, 10) >= 0.99


@SLOW
def test_answers_of_more_rows_than_one_request_gives_are_whole(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages over several segments, and a search for more neighbours than Milvus answers."""
    monkeypatch.setattr(milvus, "MOST_ROWS", 50)
    store, entries = MilvusStore.create(url, _header()), _entries(180)
    for start in range(0, 180, 60):
        store.enroll(entries[start : start + 60])
        if start < 120:
            store.maintain()
    assert store.identities() == {f"p{i}": 18 for i in range(10)}
    first = store.read(limit=1000)
    ids = [entry.id for entry in first + store.read(after=first[-1].id)]
    assert len(first) == 50 and len(ids) == 100 and ids == sorted(set(ids))
    (hits,) = store.search(entries[7].vector[None], 180)
    assert len({hit.id for hit in hits}) == 180
    assert hits[0].vector.tobytes() == entries[7].vector.tobytes()
    assert store.forget("p3") == 18
    assert store.stats().n_images == 162


@SLOW
def test_counts_follow_what_others_write(url: str) -> None:
    """``stats`` reads only what is newer, or all again when something is gone."""
    writer = MilvusStore.create(url, _header())
    reader = MilvusStore.open(url)

    def counted() -> tuple[int, int]:
        stats = reader.stats()
        assert (len(reader._names), len(reader._counts)) == (
            stats.n_images,
            stats.n_identities,
        )
        return stats.n_images, stats.n_identities

    assert counted() == (0, 0)
    writer.enroll(_entries(20))
    assert counted() == (20, 10)
    writer.enroll(_entries(1, seed=1))
    assert counted() == (21, 10)
    writer.rename("p3", "new")
    assert counted() == (21, 10) and reader._counts["new"] == 2
    writer.rename("p4", "new")
    assert counted() == (21, 9)
    writer.forget("new")
    assert counted() == (17, 8)
    writer.forget("p5")
    writer.enroll([replace(entry, identity="other") for entry in _entries(2)])
    assert counted() == (17, 8)
    assert dict(reader._counts) == reader.identities() == writer.identities()


@SLOW
def test_a_long_identity_is_renamed_page_by_page(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus, "AT_ONCE", 7)
    store = MilvusStore.create(url, _header())
    store.enroll([replace(entry, identity="old") for entry in _entries(20)])
    before = [entry.id for entry in store.read()]
    assert store.rename("old", "new") == 20
    assert [entry.id for entry in store.read("new")] == before
    assert store.identities() == {"new": 20}


@SLOW
def test_forgotten_bytes_leave_the_segments_once_they_are_compacted(url: str) -> None:
    """Not at once, and not from the message log: see docs/galleries.md."""
    server, store = milvus_server(), MilvusStore.create(url, _header(64))
    noise = np.random.default_rng(1)
    vector = noise.standard_normal(64).astype(np.float32)
    thumbnail = noise.bytes(3000)
    store.enroll(_entries(40, 64))
    store.enroll([Entry("Canary Bird", vector, "c", {"ring": "tweet-4711"}, thumbnail)])
    store.maintain()
    canaries = {
        "name": b"Canary Bird",
        "vector": vector[10:20].tobytes(),
        "thumbnail": base64.b64encode(thumbnail)[1000:1040],
        "metadata": b"tweet-4711",
    }
    for what, canary in canaries.items():
        assert any("insert_log/" in f for f in files_with(server.data, canary)), what
    assert store.forget("Canary Bird") == 1
    end = time.monotonic() + PURGE_SECONDS
    while time.monotonic() < end:
        left = {f for c in canaries.values() for f in files_with(server.data, c)}
        if not any("rocksmq" not in name for name in left):
            break
        time.sleep(5)
        store.maintain()
    assert all(name.startswith("rocksmq/") for name in left), left
    assert store.stats().n_images == 40


@SLOW
def test_kills_lose_nothing_and_leave_nothing_half_there(url: str) -> None:
    """ONELOOK_KILLS=100 kills 50 clients while they enroll, rename and forget."""
    MilvusStore.create(url, _header(SIZE)).close()
    rng, n_acts, n_kills = np.random.default_rng(0), 0, KILLS // 2
    for kill in range(n_kills):
        child = start_child("churn", url, f"k{kill}", 100_000)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        first = child.stdout.readline()
        time.sleep(rng.uniform(0, 2))
        child.kill()
        lines = (first + child.communicate()[0]).split("\n")[:-1]
        time.sleep(0.5)  # what the server was asked for it still does
        store = MilvusStore.open(url)
        check_whole(store, f"k{kill}", lines)
        store.close()
        n_acts += len(lines)
    print(f"{n_kills} kills, {n_acts} acts acknowledged")
    assert n_acts >= n_kills


@SLOW
def test_acknowledged_entries_outlive_the_server(url: str) -> None:
    store = MilvusStore.create(url, _header())
    store.enroll(_entries(50))
    ids = [entry.id for entry in store.read()]
    store.close()
    server = milvus_server()
    server.stop()
    server.start()
    again = MilvusStore.open(url)
    assert [entry.id for entry in again.read()] == ids
    assert again.enroll(_entries(60)) == [False] * 50 + [True] * 10
    assert min(entry.id for entry in again.read(after=ids[-1])) > ids[-1]
