"""PostgresStore against a real PostgreSQL 18 with pgvector, beyond the common contract."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import psycopg
import pytest
from contract import SIZE, start_child
from servers import PostgresServer, files_with, postgres_server, postgres_url
from test_kills import KILLS, check_whole

from onelook.errors import GalleryError
from onelook.gallery import postgres
from onelook.gallery.postgres import PostgresStore, _parse
from onelook.gallery.store import Entry, Header
from onelook.gallery.stores import create_store, open_store, store_exists

SLOW = pytest.mark.slow
DISTANCES = {
    "cosine": lambda a, b: 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b),
    "euclidean": lambda a, b: np.sqrt(((a - b) ** 2).sum()),
    "manhattan": lambda a, b: np.abs(a - b).sum(),
}


def _header(size: int = 8, metric: str = "cosine") -> Header:
    return Header("fingerprint", "model", size, metric)


def _entries(n: int, size: int = 8, seed: int = 0) -> list[Entry]:
    vectors = np.random.default_rng(seed).standard_normal((n, size)).astype(np.float32)
    return [Entry(f"p{i % 10}", vector, f"{seed}-{i}") for i, vector in enumerate(vectors)]


def _recall(store: PostgresStore, entries: list[Entry], k: int) -> float:
    """Share of the true ``k`` nearest among those found, over 20 queries."""
    queries = np.stack([entry.vector for entry in _entries(20, len(entries[0].vector), 99)])
    near = DISTANCES[store.header.metric]
    found = store.search(queries, k)
    shares = []
    for query, hits in zip(queries, found, strict=True):
        true = sorted(near(query, entry.vector) for entry in entries)[:k]
        mine = [near(query, hit.vector) for hit in hits]
        assert mine == sorted(mine)
        shares.append(sum(d <= true[-1] * (1 + 1e-6) for d in mine) / k)
    return float(np.mean(shares))


@pytest.fixture
def url() -> Iterator[str]:
    with postgres_url() as fresh:
        yield fresh


@pytest.fixture
def small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Galleries get an index from 300 images on."""
    monkeypatch.setattr(postgres, "EXACT_UP_TO", 300)


@pytest.mark.parametrize(
    ("url", "dsn", "name"),
    [
        ("postgresql://me@h:1/db", "postgresql://me@h:1/db", "default"),
        ("postgresql://h/db?gallery=faces", "postgresql://h/db", "faces"),
        (
            "postgresql://a,b/db?gallery=x&options=-c%20a%3Db",
            "postgresql://a,b/db?options=-c%20a%3Db",
            "x",
        ),
    ],
)
def test_the_url_is_libpqs_but_for_the_name(url: str, dsn: str, name: str) -> None:
    assert _parse(url) == (dsn, name)


@pytest.mark.parametrize("name", ["", "a b", "x;drop", "1a", "A"])
def test_a_name_that_could_be_sql_is_refused(name: str) -> None:
    with pytest.raises(GalleryError, match="begins with a letter"):
        _parse(f"postgresql://h/db?gallery={name}")


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(GalleryError, match="does the server run") as caught:
        store_exists("postgresql://me:secret@127.0.0.1:1/db?connect_timeout=2")
    assert "secret" not in str(caught.value)


@SLOW
def test_galleries_in_one_database_do_not_see_each_other(url: str) -> None:
    first = create_store(url, _header())
    second = create_store(f"{url}?gallery=other", _header(4))
    first.enroll(_entries(3))
    assert second.stats().n_images == 0
    assert open_store(f"{url}?gallery=other").header.embedding_size == 4
    with pytest.raises(GalleryError, match="already"):
        create_store(url, _header())
    with pytest.raises(GalleryError, match="no gallery"):
        open_store(f"{url}?gallery=third")


@SLOW
@pytest.mark.parametrize("metric", DISTANCES)
def test_the_index_finds_what_is_near(url: str, small_index: None, metric: str) -> None:
    store, entries = PostgresStore.create(url, _header(32, metric)), _entries(1000, 32)
    store.enroll(entries[:300])
    assert store.stats().search == "exact"
    assert _recall(store, entries[:300], 10) == 1
    store.enroll(entries[300:])
    assert store.stats().search == "pgvector HNSW"
    assert _recall(store, entries, 10) >= 0.99
    with psycopg.connect(url) as connection:
        connection.execute("SET enable_seqscan = off")
        statement = postgres._search_statement(store._table, store.header, 10, False)
        literal = "ARRAY['[" + ",".join("1" * 32) + "]'::vector]"
        plan = connection.execute("EXPLAIN " + statement.replace("%s", literal))
        assert store._index in str(plan.fetchall())


@SLOW
def test_long_embeddings_are_indexed_in_half_precision_and_re_ranked(
    url: str, small_index: None
) -> None:
    store, entries = PostgresStore.create(url, _header(2100)), _entries(400, 2100)
    store.enroll(entries)
    assert store.stats().search == "pgvector HNSW (half precision), re-ranked"
    assert _recall(store, entries, 5) >= 0.99


@SLOW
def test_embeddings_too_long_for_an_index_are_searched_exactly(
    url: str, small_index: None
) -> None:
    store, entries = (
        PostgresStore.create(url, _header(4096, "manhattan")),
        _entries(400, 4096),
    )
    store.enroll(entries)
    assert store.stats().search == "exact"
    assert _recall(store, entries, 5) == 1
    with pytest.raises(GalleryError, match="up to 16000 numbers"):
        PostgresStore.create(f"{url}?gallery=huge", _header(16_001))


@SLOW
def test_more_neighbours_than_an_index_gives_are_all_found(
    url: str, small_index: None
) -> None:
    store, entries = PostgresStore.create(url, _header()), _entries(1500)
    store.enroll(entries)
    assert store.stats().search == "pgvector HNSW"
    (hits,) = store.search(entries[0].vector[None], 1500)
    assert len({hit.id for hit in hits}) == 1500


@SLOW
def test_the_index_is_there_again_after_a_forget(url: str, small_index: None) -> None:
    store, entries = PostgresStore.create(url, _header()), _entries(500)
    store.enroll(entries)
    assert store.forget("p3") == 50
    assert store.stats().search == "pgvector HNSW"
    assert _recall(store, [e for e in entries if e.identity != "p3"], 10) >= 0.99


@SLOW
def test_forgotten_bytes_are_in_no_file_of_the_server(url: str, small_index: None) -> None:
    """Tables, TOAST, indexes, statistics and the log; with an old reader in the way."""
    server, store = postgres_server(), PostgresStore.create(url, _header(64))
    noise = np.random.default_rng(1)
    vector = noise.standard_normal(64).astype(np.float32)
    original, thumbnail = noise.bytes(100_000), noise.bytes(900)
    # First of many names, it would be among the samples that ANALYZE keeps.
    store.enroll([replace(e, identity=f"p{e.digest}") for e in _entries(400, 64)])
    store.enroll(
        [Entry("Canary Bird", vector, "c", {"ring": "tweet-4711"}, thumbnail, original)]
    )
    store.maintain()  # the statistics of ANALYZE, too
    # Two parts of each that is long: a page of the log may end within one of them.
    canaries = {
        "name": [b"Canary Bird"],
        "vector": [vector[10:20].tobytes(), vector[40:50].tobytes()],
        "thumbnail": [thumbnail[100:130], thumbnail[600:630]],
        "original": [original[500:530], original[70_000:70_030]],
        "metadata": [b"tweet-4711"],
    }
    server.execute("CHECKPOINT")
    for what, parts in canaries.items():
        found = [name for part in parts for name in files_with(server.data, part)]
        assert any("base/" in name for name in found), what
        assert any("pg_wal/" in name for name in found), what
    with psycopg.connect(url) as old_reader:
        old_reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old_reader.execute("SELECT 1 FROM pg_class").fetchone()
        assert store.forget("Canary Bird") == 1
        for what, parts in canaries.items():
            assert [files_with(server.data, part) for part in parts] == [[]] * len(parts), (
                what
            )
    assert store.stats().n_images == 400


@SLOW
def test_what_keeps_the_table_busy_is_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelook.gallery.postgres_connections.LOCK_SECONDS", 1)
    store = PostgresStore.create(url, _header())
    store.enroll(_entries(10))
    with psycopg.connect(url) as reader:
        reader.execute(f"SELECT count(*) FROM {store._table}")
        with pytest.raises(GalleryError, match="nothing was forgotten"):
            store.forget("p3")
    assert store.identities()["p3"] == 1
    assert store.forget("p3") == 1


@SLOW
def test_a_role_without_rights_to_the_log_still_forgets(url: str) -> None:
    PostgresStore.create(url, _header()).close()
    server, database = postgres_server(), url.rpartition("/")[2]
    role = f"clerk_{database}"
    server.execute(f"CREATE ROLE {role} LOGIN")
    gallery = "onelook_gallery_default"
    for table in ("onelook_galleries", gallery, f"{gallery}_names", f"{gallery}_counts"):
        server.execute(f"ALTER TABLE {table} OWNER TO {role}", database)
    store = PostgresStore.open(url.replace("onelook@", f"{role}@"))
    store.enroll(_entries(10))
    assert store.forget("p3") == 1
    assert "p3" not in store.identities()
    store.close()


@SLOW
def test_writers_that_cross_keep_everything_once(url: str) -> None:
    """The same entries from eight threads, half of them in the other order."""
    store, entries = PostgresStore.create(url, _header()), _entries(100)
    with ThreadPoolExecutor(8) as pool:
        orders = [entries, entries[::-1]] * 4
        n_new = sum(pool.map(lambda batch: sum(store.enroll(batch)), orders))
    assert n_new == 100
    _assert_counts_are_true(store)


@SLOW
def test_counts_stay_true_while_everybody_writes(url: str) -> None:
    store, entries = PostgresStore.create(url, _header()), _entries(80)

    def churn(i: int) -> None:
        store.enroll(entries[i : i + 8])
        store.rename(f"p{i % 10}", f"p{(i + 1) % 10}")
        if i % 16 == 0:
            store.forget(f"p{(i + 2) % 10}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(churn, range(0, 80, 2)))
    _assert_counts_are_true(store)
    assert store.stats().n_images > 0


def _assert_counts_are_true(store: PostgresStore) -> None:
    names = [entry.identity for entry in store.read()]
    assert store.identities() == {name: names.count(name) for name in sorted(set(names))}
    stats = store.stats()
    assert (stats.n_images, stats.n_identities) == (len(names), len(set(names)))


@SLOW
def test_names_and_metadata_come_back_as_they_went(url: str) -> None:
    store = PostgresStore.create(url, _header())
    metadata = {"é": ["\x00", None, 1.0, {"b": 2, "a": 1}], "big": 2**70}
    entry = Entry("Zoë 'x'; %s", np.ones(8, np.float32), "d", metadata, b"", b"\x00\xff")
    store.enroll([entry])
    (stored,) = store.read(entry.identity)
    assert (stored.metadata, stored.thumbnail, stored.original) == (
        metadata,
        b"",
        b"\x00\xff",
    )
    assert list(stored.metadata["é"][3]) == ["b", "a"]
    with pytest.raises(GalleryError, match="NUL"):
        store.enroll([Entry("a\x00b", np.ones(8, np.float32), "d")])


@SLOW
def test_a_store_outlives_a_crash_of_its_server() -> None:
    """Acknowledged entries survive it, and the store connects again by itself."""
    server = PostgresServer.empty({})
    server.start()
    store = PostgresStore.create(server.url(), _header())
    store.enroll(_entries(50))
    server.stop(signal.SIGQUIT)
    with pytest.raises(GalleryError, match="does the server run"):
        store.enroll(_entries(1, seed=1))
    server.start()
    assert store.stats().n_images == 50
    assert store.enroll(_entries(60)) == [False] * 50 + [True] * 10
    ids = [entry.id for entry in store.read()]
    assert len(set(ids)) == 60 and ids == sorted(ids)
    store.close()
    server.remove()


@SLOW
def test_kills_lose_nothing_and_leave_nothing_half_there(url: str) -> None:
    """ONELOOK_KILLS=100 kills 100 clients while they enroll, rename and forget."""
    create_store(url, _header(SIZE)).close()
    rng, n_acts = np.random.default_rng(0), 0
    for kill in range(KILLS):
        child = start_child("churn", url, f"k{kill}", 100_000)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        first = child.stdout.readline()
        time.sleep(rng.uniform(0, 0.3))
        child.kill()
        lines = (first + child.communicate()[0]).split("\n")[:-1]
        _wait_until_alone(url)
        store = PostgresStore.open(url)
        check_whole(store, f"k{kill}", lines)
        _assert_counts_are_true(store)
        store.close()
        n_acts += len(lines)
    print(f"{KILLS} kills, {n_acts} acts acknowledged")
    assert n_acts >= KILLS


@SLOW
def test_a_replica_reads_and_refuses_to_write() -> None:
    primary = PostgresServer.empty({})
    primary.start()
    writer = PostgresStore.create(primary.url(), _header())
    entries = _entries(30)
    writer.enroll(entries[:20])
    replica = PostgresServer.replica_of(primary)
    replica.start()
    reader = PostgresStore.open(replica.url())
    assert reader.stats().n_images == 20
    writer.enroll(entries[20:])
    _wait_for_replay(primary, replica)
    assert reader.search(entries[25].vector[None], 1)[0][0].identity == "p5"
    for write in (
        lambda: reader.enroll(entries[:1]),
        lambda: reader.forget("p1"),
        lambda: reader.rename("p1", "p2"),
        lambda: create_store(f"{replica.url()}?gallery=new", _header()),
    ):
        with pytest.raises(GalleryError, match="is read-only"):
            write()
    assert writer.forget("p5") == 3
    _wait_for_replay(primary, replica)
    assert "p5" not in reader.identities()
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.execute("SELECT pg_reload_conf()")
    _wait_until_synchronous(primary)
    strict = PostgresStore.open(
        f"{primary.url()}?options=-c%20synchronous_commit%3Dremote_apply"
    )
    for i in range(20):  # each acknowledged write is seen by the replica's next answer
        strict.enroll(_entries(1, seed=1000 + i))
        assert reader.stats().n_images == 28 + i
    for store in (writer, reader, strict):
        store.close()
    primary.execute("ALTER SYSTEM RESET synchronous_standby_names")
    primary.execute("SELECT pg_reload_conf()")
    replica.remove()
    primary.remove()


def _wait_for_replay(primary: PostgresServer, replica: PostgresServer) -> None:
    ((written,),) = primary.execute("SELECT pg_current_wal_insert_lsn()::text")
    for _ in range(100):
        if replica.execute(f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == [(True,)]:
            return
        time.sleep(0.1)
    pytest.fail("the replica does not follow")


def _wait_until_alone(url: str) -> None:
    """The server may still finish what a killed client had asked for."""
    others = (
        "SELECT count(*) FROM pg_stat_activity "
        f"WHERE application_name = 'onelook' AND datname = '{url.rpartition('/')[2]}'"
    )
    for _ in range(300):
        if postgres_server().execute(others) == [(0,)]:
            return
        time.sleep(0.1)
    pytest.fail("a killed client's work does not end")


def _wait_until_synchronous(primary: PostgresServer) -> None:
    for _ in range(100):
        if primary.execute("SELECT sync_state FROM pg_stat_replication") == [("sync",)]:
            return
        time.sleep(0.1)
    pytest.fail("the replica is not synchronous")
