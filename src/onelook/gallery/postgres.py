"""PostgresStore: a gallery in PostgreSQL with pgvector, for many machines and writers.

``postgresql://user@host/database?gallery=name``, with all else that libpq understands in
a URL. Each gallery has a table of its own; one more table lists the galleries.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import astuple
from functools import partial
from operator import methodcaller
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from onelook.errors import GalleryError
from onelook.gallery.postgres_connections import Connections, lock_alone
from onelook.gallery.store import (
    FORMAT,
    Entry,
    Floats,
    Header,
    Hit,
    Stats,
    Stored,
    already_exists,
    blocks_of,
    no_gallery,
    wrong_format,
)

GALLERIES = "onelook_galleries"
# Up to this number of images a search reads all of them, and no index slows enrolment.
EXACT_UP_TO = 20_000
# For more neighbours than this the whole table is read too.
MOST_FROM_INDEX = 1000
# Longest embeddings of pgvector's index, of its index in half precision, and of its type.
INDEX_DIMENSIONS, HALF_DIMENSIONS, MOST_DIMENSIONS = 2000, 4000, 16_000
# Longer ones do not fit into a page of 8 kB, so they are kept out of line.
INLINE_DIMENSIONS = 1500
# Rows that share the counts of a gallery.
SHARDS = 16
OPERATORS = {"cosine": "<=>", "euclidean": "<->", "manhattan": "<+>"}
OPERATOR_CLASSES = {"cosine": "cosine", "euclidean": "l2", "manhattan": "l1"}

logger = logging.getLogger("onelook")


class PostgresStore:
    """Entries in one table of a PostgreSQL database; see ``GalleryStore``.

    The server needs the extension ``vector`` (pgvector 0.8 or newer). The URL of a read
    replica opens the gallery for reading.
    """

    def __init__(self, connections: Connections, name: str, header: Header) -> None:
        self.header = header
        self._connections = connections
        self._table = _table_name(name)
        self._names, self._counts = f"{self._table}_names", f"{self._table}_counts"
        self._settings = f"{self._table}_settings"
        self._index = f"{self._table}_near"
        self._index_exists = f"to_regclass('{self._index}') IS NOT NULL"
        self._look_for_index()

    @classmethod
    def open(cls, url: str) -> "PostgresStore":
        dsn, name = _parse(url)
        connections = Connections(dsn, url)
        try:
            row = connections.call(partial(_read_header, name))
            if row is None:
                raise no_gallery(url)
            if row[0] != FORMAT:
                raise wrong_format(url, row[0])
            return cls(connections, name, Header(*row[1:]))
        except BaseException:
            connections.close()
            raise

    @classmethod
    def create(cls, url: str, header: Header) -> "PostgresStore":
        header.check_size(MOST_DIMENSIONS, "pgvector")
        dsn, name = _parse(url)

        def work(connection: Any) -> None:
            # Otherwise two processes that create the first gallery at once would collide.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('onelook create'))")
            if _read_header(name, connection) is not None:
                raise already_exists(url)
            for statement in _schema(name, header):
                connection.execute(statement)
            connection.execute(
                f"INSERT INTO {GALLERIES} VALUES (%s, %s, %s, %s, %s, %s)",
                (name, FORMAT, *astuple(header)),
            )

        with closing(Connections(dsn, url)) as connections:
            connections.call(work, in_transaction=True)
        return cls.open(url)

    @classmethod
    def exists(cls, url: str) -> bool:
        dsn, name = _parse(url)
        with closing(Connections(dsn, url)) as connections:
            return connections.call(partial(_read_header, name)) is not None

    def enroll(self, entries: Sequence[Entry]) -> list[bool]:
        if not entries:
            return []
        rows = [
            (e.identity, e.digest, json.dumps(e.metadata), e.thumbnail, e.original, vector)
            for e, vector in zip(entries, self.header.vectors_of(entries), strict=True)
        ]
        # Writers that lock the same names in one order never wait for each other.
        order = sorted(range(len(rows)), key=lambda i: rows[i][:2])

        def work(connection: Any) -> list[int]:
            cursor = connection.cursor()
            cursor.executemany(
                f"INSERT INTO {self._table} "
                "(identity, digest, metadata, thumbnail, original, embedding) "
                "VALUES (%s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (identity, digest) DO NOTHING RETURNING id",
                [rows[i] for i in order],
                returning=True,
            )
            ids = [0] * len(rows)
            for i in order:
                found = cursor.fetchone()
                ids[i] = found[0] if found else 0
                cursor.nextset()
            kept = (row[0] for row, entry_id in zip(rows, ids, strict=True) if entry_id)
            self._count(connection, Counter(kept))
            return ids

        ids = self._connections.call(work, in_transaction=True)
        if max(ids) > EXACT_UP_TO and not self._has_index:
            self._build_index()
        return [entry_id > 0 for entry_id in ids]

    def search(self, queries: Floats, k: int) -> list[list[Hit]]:
        queries = self.header.queries(queries, k)
        whole = k > MOST_FROM_INDEX or not self._has_index
        statement = _search_statement(self._table, self.header, k, whole)
        hits: list[list[Hit]] = []
        for block in blocks_of(queries, k):
            n_before = len(hits)
            hits += [[] for _ in block]
            rows = self._rows(statement, (list(block),), whole and self._has_index)
            for number, entry_id, identity, vector in rows:
                hit = Hit(entry_id, identity, vector.to_numpy())
                hits[n_before + number - 1].append(hit)
        return hits

    def read(
        self, identity: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Stored]:
        where = "" if identity is None else "AND identity = %(identity)s"
        rows = self._rows(
            "SELECT identity, embedding, digest, metadata, thumbnail, original, id "
            f"FROM {self._table} WHERE id > %(after)s {where} ORDER BY id LIMIT %(limit)s",
            {"identity": identity, "after": after, "limit": limit},
        )
        return [
            Stored(who, vector.to_numpy(), digest, metadata, thumbnail, original, entry_id)
            for who, vector, digest, metadata, thumbnail, original, entry_id in rows
        ]

    def images_of(self, identities: Sequence[str], most: int) -> list[Hit]:
        rows = self._rows(
            "SELECT id, identity, embedding FROM unnest(%s::text[]) AS wanted (name), "
            f"LATERAL (SELECT * FROM {self._table} WHERE identity = name "
            "ORDER BY id DESC LIMIT %s) latest",
            (list(identities), most),
        )
        return [Hit(one, identity, vector.to_numpy()) for one, identity, vector in rows]

    def identities(self) -> dict[str, int]:
        return dict(sorted(self._rows(f"SELECT identity, n FROM {self._names}")))

    def forget(self, identity: str) -> int:
        """Remove an identity, also from the table's files.

        A deleted row stays in its page until something overwrites it, and VACUUM FULL
        copies deleted rows that an open transaction could still see. So the transaction
        that deletes also rewrites the table with the living rows alone.
        """

        def work(connection: Any) -> int:
            lock_alone(connection, self._table)
            n_forgotten: int = connection.execute(
                f"DELETE FROM {self._table} WHERE identity = %s", (identity,)
            ).rowcount
            if n_forgotten:
                self._count(connection, {identity: -n_forgotten})
                connection.execute(f"DROP INDEX IF EXISTS {self._index}")
                for table, column in ((self._table, "digest"), (self._names, "identity")):
                    connection.execute(
                        f"ALTER TABLE {table} "
                        f"ALTER COLUMN {column} TYPE text USING {column} || ''"
                    )
            return n_forgotten

        n_forgotten = self._connections.call(work, in_transaction=True)
        if n_forgotten:
            self._begin_new_log()
            self._build_index()
        return n_forgotten

    def rename(self, identity: str, new: str) -> int:
        def work(connection: Any) -> int:
            n_joined: int = connection.execute(
                f"DELETE FROM {self._table} gone USING {self._table} kept WHERE "
                "gone.identity = %s AND kept.identity = %s AND gone.digest = kept.digest",
                (identity, new),
            ).rowcount
            n_renamed: int = connection.execute(
                f"UPDATE {self._table} SET identity = %s WHERE identity = %s",
                (new, identity),
            ).rowcount
            self._count(connection, {identity: -n_joined - n_renamed, new: n_renamed})
            return n_joined + n_renamed

        if identity == new:
            return self.identities().get(identity, 0)
        return self._connections.call(work, in_transaction=True)

    def stats(self) -> Stats:
        """Counts, bytes of the table with its indexes, and how it searches."""
        ((n_identities, n_images, n_bytes, self._has_index),) = self._rows(
            "SELECT sum(n_identities)::bigint, sum(n_images)::bigint, "
            f"pg_total_relation_size('{self._table}') + "
            f"pg_total_relation_size('{self._names}'), {self._index_exists} "
            f"FROM {self._counts}"
        )
        search = "pgvector HNSW" if self._has_index else "exact"
        if self._has_index and self.header.embedding_size > INDEX_DIMENSIONS:
            search += " (half precision), re-ranked"
        return Stats(n_identities, n_images, n_bytes, search)

    def settings(self) -> dict[str, bytes]:
        ((is_there,),) = self._rows(f"SELECT to_regclass('{self._settings}') IS NOT NULL")
        return dict(self._rows(f"SELECT * FROM {self._settings}")) if is_there else {}

    def keep(self, name: str, value: bytes) -> None:
        def work(connection: Any) -> None:
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext(%s))", (self._settings,)
            )
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._settings} "
                "(name text PRIMARY KEY, value bytea NOT NULL)"
            )
            connection.execute(
                f"INSERT INTO {self._settings} VALUES (%s, %s) "
                "ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value",
                (name, value),
            )

        self._connections.call(work, in_transaction=True)

    def maintain(self) -> None:
        """Give the space of old rows back, and build the index where that is due."""
        self._connections.call(
            lambda connection: connection.execute(f"VACUUM ANALYZE {self._table}")
        )
        self._build_index()

    def close(self) -> None:
        self._connections.close()

    def _count(self, connection: Any, changes: Mapping[str, int]) -> None:
        """Change the numbers of entries of identities, and the gallery's sums.

        The sums are spread over several rows, so that writers seldom wait for each other.
        """
        names = sorted(name for name, n in changes.items() if n)
        rows = connection.execute(
            f"INSERT INTO {self._names} AS names "
            "SELECT * FROM unnest(%s::text[], %s::bigint[]) "
            "ON CONFLICT (identity) DO UPDATE SET n = names.n + EXCLUDED.n "
            "RETURNING identity, n",
            (names, [changes[name] for name in names]),
        )
        n_new = sum(changes[name] == n for name, n in rows)
        n_gone = connection.execute(
            f"DELETE FROM {self._names} WHERE identity = ANY(%s) AND n = 0", (names,)
        ).rowcount
        connection.execute(
            f"UPDATE {self._counts} SET n_identities = n_identities + %s, "
            "n_images = n_images + %s WHERE shard = pg_backend_pid() %% %s",
            (n_new - n_gone, sum(changes.values()), SHARDS),
        )

    def _rows(
        self, statement: str, parameters: Any = None, past_index: bool = False
    ) -> list[Any]:
        """Rows of an answer; ``past_index`` reads the whole table, whatever its indexes."""

        def work(connection: Any) -> list[Any]:
            if past_index:
                connection.execute("SET LOCAL enable_indexscan = off")
            cursor = connection.cursor(binary=True)
            rows: list[Any] = cursor.execute(statement, parameters).fetchall()
            return rows

        return self._connections.call(work, in_transaction=past_index)

    def _look_for_index(self) -> None:
        ((self._has_index,),) = self._rows(f"SELECT {self._index_exists}")

    def _build_index(self) -> None:
        """Build the index where there are enough entries for one.

        The entries themselves are safe: a failure here only makes searches slower.
        """
        if self.header.embedding_size > HALF_DIMENSIONS:
            return

        def work(connection: Any) -> None:
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext(%s))", (f"{self._index} build",)
            )
            ((n_images,),) = connection.execute(f"SELECT count(*) FROM {self._table}")
            if n_images > EXACT_UP_TO:
                connection.execute(_index_statement(self._table, self._index, self.header))

        try:
            self._connections.call(work, in_transaction=True)
            self._look_for_index()
        except GalleryError as error:
            logger.warning("the gallery searches without an index: %s", error)

    def _begin_new_log(self) -> None:
        """Let the server drop the part of its write-ahead log that holds the forgotten.

        Without the rights to do so, the server drops it in its own time.
        """
        for statement in ("SELECT pg_switch_wal()", "CHECKPOINT"):
            try:
                self._connections.call(methodcaller("execute", statement))
            except GalleryError as error:
                logger.info("the log keeps what was forgotten for a while: %s", error)


def _parse(url: str) -> tuple[str, str]:
    """The URL that libpq reads, and the name of the gallery."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    name = query.pop("gallery", "default")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise GalleryError(
            f"gallery={name!r} in the URL: a name has up to 40 letters a-z, digits and _, "
            "and begins with a letter"
        )
    return parts._replace(query=urlencode(query, quote_via=quote)).geturl(), name


def _table_name(name: str) -> str:
    return f"onelook_gallery_{name}"


def _read_header(name: str, connection: Any) -> Any:
    """The gallery's row, from the format on; None if there is no gallery."""
    (found,) = connection.execute(f"SELECT to_regclass('{GALLERIES}')").fetchone()
    if found is None:
        return None
    return connection.execute(
        "SELECT format, fingerprint, model, embedding_size, metric "
        f"FROM {GALLERIES} WHERE name = %s",
        (name,),
    ).fetchone()


def _schema(name: str, header: Header) -> list[str]:
    table, size = _table_name(name), header.embedding_size
    storage = "PLAIN" if size <= INLINE_DIMENSIONS else "EXTERNAL"
    columns = ("identity", "digest", "metadata", "thumbnail", "original", "embedding")
    return [
        "CREATE EXTENSION IF NOT EXISTS vector",
        f"CREATE TABLE IF NOT EXISTS {GALLERIES} (name text PRIMARY KEY, "
        "format int NOT NULL, fingerprint text NOT NULL, model text NOT NULL, "
        "embedding_size int NOT NULL, metric text NOT NULL)",
        f"CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
        "identity text STORAGE MAIN NOT NULL, digest text STORAGE MAIN NOT NULL, "
        "metadata json STORAGE MAIN NOT NULL, thumbnail bytea STORAGE EXTERNAL, "
        f"original bytea STORAGE EXTERNAL, embedding vector({size}) STORAGE {storage} "
        "NOT NULL, UNIQUE (identity, digest)) "
        # Pictures out of line, or every exact search reads them too.
        "WITH (toast_tuple_target = 128)",
        f"CREATE INDEX ON {table} (identity, id)",
        # Numbers of entries by identity, and sums of both: each answer needs the size of
        # the gallery, and counting would take too long.
        f"CREATE TABLE {table}_names (identity text PRIMARY KEY, n bigint NOT NULL)",
        f"CREATE TABLE {table}_counts (shard int PRIMARY KEY, "
        "n_identities bigint NOT NULL, n_images bigint NOT NULL) WITH (fillfactor = 50)",
        f"INSERT INTO {table}_counts SELECT shard, 0, 0 "
        f"FROM generate_series(0, {SHARDS - 1}) AS shard",
        f"ALTER TABLE {table}_names ALTER COLUMN identity SET STATISTICS 0",
        # ANALYZE would keep samples of names and small vectors in a catalogue, which a
        # forget does not reach.
        f"ALTER TABLE {table} "
        + ", ".join(f"ALTER COLUMN {column} SET STATISTICS 0" for column in columns),
    ]


def _index_statement(table: str, index: str, header: Header) -> str:
    size, kind = header.embedding_size, OPERATOR_CLASSES[header.metric]
    column = f"embedding vector_{kind}_ops"
    if size > INDEX_DIMENSIONS:
        column = f"(embedding::halfvec({size})) halfvec_{kind}_ops"
    return f"CREATE INDEX IF NOT EXISTS {index} ON {table} USING hnsw ({column})"


def _search_statement(table: str, header: Header, k: int, whole: bool) -> str:
    """SQL of a search: the queries' number from 1, then id, identity and embedding."""
    near, size = OPERATORS[header.metric], header.embedding_size
    nearest = f"SELECT * FROM {table} ORDER BY embedding {near} query LIMIT {k}"
    if size > INDEX_DIMENSIONS and not whole:
        half = f"halfvec({size})"
        nearest = (
            f"SELECT * FROM (SELECT * FROM {table} "
            f"ORDER BY embedding::{half} {near} query::{half} LIMIT {max(4 * k, 100)}) "
            f"shortlist ORDER BY embedding {near} query LIMIT {k}"
        )
    return (
        "SELECT number, id, identity, embedding "
        f"FROM unnest(%s::vector[]) WITH ORDINALITY AS queries (query, number), "
        f"LATERAL ({nearest}) nearest ORDER BY number, embedding {near} query, id"
    )
