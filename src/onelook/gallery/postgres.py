"""PostgresStore: a gallery in PostgreSQL with pgvector, for many machines and writers.

``postgresql://user@host/database?gallery=name``: whatever else libpq understands may stand
in the URL. One table per gallery, and one that says which galleries there are.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import astuple
from functools import partial
from operator import methodcaller
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import numpy as np
from numpy.typing import NDArray

from onelook.errors import GalleryError
from onelook.gallery.postgres_connections import Connections, lock_alone
from onelook.gallery.store import (
    FORMAT,
    Entry,
    Header,
    Hit,
    Stats,
    Stored,
    already_exists,
    check_vectors,
    no_gallery,
    wrong_format,
)

GALLERIES = "onelook_galleries"
# Up to so many images every search looks at all of them, and no index slows enrolment.
EXACT_UP_TO = 20_000
# More neighbours than this are looked for in the whole table too.
MOST_FROM_INDEX = 1000
# Limits of pgvector: of its index, of its index over half-precision copies, of the type.
INDEX_DIMENSIONS, HALF_DIMENSIONS, MOST_DIMENSIONS = 2000, 4000, 16_000
# A row of the table has to fit into a page of 8 kB, or the vectors go out of line.
INLINE_DIMENSIONS = 1500
# Rows that share the counts of a gallery.
SHARDS = 16
OPERATORS = {"cosine": "<=>", "euclidean": "<->", "manhattan": "<+>"}
OPERATOR_CLASSES = {"cosine": "cosine", "euclidean": "l2", "manhattan": "l1"}

logger = logging.getLogger("onelook")


class PostgresStore:
    """Entries in one table of a PostgreSQL database; see ``GalleryStore``.

    The server has to carry the extension ``vector`` (pgvector 0.8 or newer). A read
    replica's URL opens it for reading.
    """

    def __init__(self, connections: Connections, name: str, header: Header) -> None:
        self.header = header
        self._connections = connections
        self._table = _table_name(name)
        self._names, self._counts = f"{self._table}_names", f"{self._table}_counts"
        self._index = f"{self._table}_near"
        self._has_index = self._index_is_there()

    @classmethod
    def open(cls, url: str) -> "PostgresStore":
        """The gallery at ``url``.

        Raises:
            GalleryError: If there is none, it has another format, or the server is silent.
        """
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
        """A new, empty gallery at ``url``, in a database that is there already.

        Raises:
            GalleryError: If one lies there already.
        """
        if header.embedding_size > MOST_DIMENSIONS:
            raise GalleryError(
                f"pgvector keeps embeddings of up to {MOST_DIMENSIONS} numbers, "
                f"{header.model!r} makes {header.embedding_size}; use a file as the gallery"
            )
        dsn, name = _parse(url)

        def work(connection: Any) -> None:
            # Two processes that make the first gallery at once would collide otherwise.
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
        """Whether the database holds a gallery of that name."""
        dsn, name = _parse(url)
        with closing(Connections(dsn, url)) as connections:
            return connections.call(partial(_read_header, name)) is not None

    def enroll(self, entries: Sequence[Entry]) -> list[bool]:
        """Keep entries in one transaction; which of them are new."""
        if not entries:
            return []
        vectors = check_vectors(self.header, np.stack([entry.vector for entry in entries]))
        rows = [
            (
                entry.identity,
                entry.digest,
                json.dumps(entry.metadata),
                entry.thumbnail,
                entry.original,
                vector,
            )
            for entry, vector in zip(entries, vectors, strict=True)
        ]

        def work(connection: Any) -> list[int]:
            cursor = connection.cursor()
            cursor.executemany(
                f"INSERT INTO {self._table} "
                "(identity, digest, metadata, thumbnail, original, embedding) "
                "VALUES (%s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (identity, digest) DO NOTHING RETURNING id",
                rows,
                returning=True,
            )
            ids = []
            for _ in rows:
                found = cursor.fetchone()
                ids.append(found[0] if found else 0)
                cursor.nextset()
            new = Counter(
                row[0] for row, entry_id in zip(rows, ids, strict=True) if entry_id
            )
            self._count(connection, self._add_names(connection, new), new.total())
            return ids

        ids = self._connections.call(work, in_transaction=True)
        if max(ids) > EXACT_UP_TO and not self._has_index:
            self._build_index()
        return [entry_id > 0 for entry_id in ids]

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """For each query (N, D) the nearest ``k`` entries, the nearest first."""
        if k < 1:
            raise ValueError(f"k must be positive, got {k}")
        queries = check_vectors(self.header, queries)
        # So many at a time that the vectors of their hits take at most 64 MB.
        n_together = max(1, 2**24 // (k * self.header.embedding_size))
        hits: list[list[Hit]] = []
        for start in range(0, len(queries), n_together):
            hits.extend(self._search_some(queries[start : start + n_together], k))
        return hits

    def read(
        self, identity: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Stored]:
        """Up to ``limit`` entries whose ids are above ``after``, in the order of ids."""
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

    def identities(self) -> dict[str, int]:
        """Number of entries of every identity, sorted by name."""
        return dict(sorted(self._rows(f"SELECT identity, n FROM {self._names}")))

    def forget(self, identity: str) -> int:
        """Remove all of an identity, from the table's files too; how many entries.

        A deleted row stays in its page until something overwrites it, and VACUUM FULL
        copies deleted rows that an open transaction could still see. So the table is
        written anew with nothing but the living rows, in the transaction that deletes.
        """

        def work(connection: Any) -> int:
            lock_alone(connection, self._table)
            n_forgotten: int = connection.execute(
                f"DELETE FROM {self._table} WHERE identity = %s", (identity,)
            ).rowcount
            if n_forgotten:
                self._count(
                    connection, *self._drop_names(connection, identity, n_forgotten)
                )
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
        """Give all entries of ``identity`` the name ``new``; how many."""

        def work(connection: Any) -> int:
            names = {"old": identity, "new": new}
            n_joined: int = connection.execute(
                f"DELETE FROM {self._table} gone USING {self._table} kept "
                "WHERE gone.identity = %(old)s AND kept.identity = %(new)s "
                "AND gone.digest = kept.digest",
                names,
            ).rowcount
            n_renamed: int = connection.execute(
                f"UPDATE {self._table} SET identity = %(new)s WHERE identity = %(old)s",
                names,
            ).rowcount
            n_gone, _ = self._drop_names(connection, identity, n_joined + n_renamed)
            n_new = self._add_names(connection, Counter({new: n_renamed}))
            self._count(connection, n_gone + n_new, -n_joined)
            return n_joined + n_renamed

        if identity == new:
            return self.identities().get(identity, 0)
        return self._connections.call(work, in_transaction=True)

    def stats(self) -> Stats:
        """Counts, bytes of the table with its indexes, and how it searches."""
        ((n_identities, n_images, n_bytes, self._has_index),) = self._rows(
            "SELECT sum(n_identities)::bigint, sum(n_images)::bigint, "
            f"pg_total_relation_size('{self._table}') "
            f"+ pg_total_relation_size('{self._names}'), "
            f"to_regclass('{self._index}') IS NOT NULL FROM {self._counts}"
        )
        return Stats(n_identities, n_images, n_bytes, self._search_name())

    def maintain(self) -> None:
        """Give back the space of old rows; build the index where one is due."""
        self._connections.call(
            lambda connection: connection.execute(f"VACUUM ANALYZE {self._table}")
        )
        self._build_index()

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()

    def _add_names(self, connection: Any, new: Counter[str]) -> int:
        """Count so many new entries of these identities; how many names are new."""
        added = {name: n for name, n in sorted(new.items()) if n}
        rows = connection.execute(
            f"INSERT INTO {self._names} AS names "
            "SELECT * FROM unnest(%s::text[], %s::bigint[]) "
            "ON CONFLICT (identity) DO UPDATE SET n = names.n + EXCLUDED.n "
            "RETURNING identity, n",
            (list(added), list(added.values())),
        )
        return sum(added[name] == n for name, n in rows)

    def _drop_names(self, connection: Any, identity: str, n: int) -> tuple[int, int]:
        """Count ``n`` entries less of an identity: the changes of names and of entries."""
        values = {"identity": identity, "n": n}
        connection.execute(
            f"UPDATE {self._names} SET n = n - %(n)s WHERE identity = %(identity)s", values
        )
        n_gone = connection.execute(
            f"DELETE FROM {self._names} WHERE identity = %(identity)s AND n = 0", values
        ).rowcount
        return -n_gone, -n

    def _count(self, connection: Any, n_identities: int, n_images: int) -> None:
        """Keep the sums, in one of several rows: writers seldom wait for each other."""
        connection.execute(
            f"UPDATE {self._counts} SET n_identities = n_identities + %s, "
            "n_images = n_images + %s WHERE shard = pg_backend_pid() %% %s",
            (n_identities, n_images, SHARDS),
        )

    def _search_name(self) -> str:
        if not self._has_index:
            return "exact"
        half = self.header.embedding_size > INDEX_DIMENSIONS
        return "pgvector HNSW" + (" (half precision), re-ranked" if half else "")

    def _search_some(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        whole = k > MOST_FROM_INDEX or not self._has_index
        statement = _search_statement(self._table, self.header, k, whole)

        def work(connection: Any) -> list[Any]:
            if whole and self._has_index:
                connection.execute("SET LOCAL enable_indexscan = off")
            cursor = connection.cursor(binary=True)
            rows: list[Any] = cursor.execute(statement, (list(queries),)).fetchall()
            return rows

        hits: list[list[Hit]] = [[] for _ in queries]
        for number, entry_id, identity, vector in self._connections.call(
            work, in_transaction=whole and self._has_index
        ):
            hits[number - 1].append(Hit(entry_id, identity, vector.to_numpy()))
        return hits

    def _rows(self, statement: str, parameters: dict[str, Any] | None = None) -> list[Any]:
        def work(connection: Any) -> list[Any]:
            cursor = connection.cursor(binary=True)
            rows: list[Any] = cursor.execute(statement, parameters).fetchall()
            return rows

        return self._connections.call(work)

    def _index_is_there(self) -> bool:
        ((found,),) = self._rows(
            f"SELECT to_regclass('{self._index}') IS NOT NULL AS found"
        )
        return bool(found)

    def _build_index(self) -> None:
        """Build the index, if there are enough entries for one and there is none.

        What was to be kept or removed is so already: a failure here is only a slower
        search.
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
            self._has_index = self._index_is_there()
        except GalleryError as error:
            logger.warning("the gallery searches without an index: %s", error)

    def _begin_new_log(self) -> None:
        """Let the server drop the write-ahead log that tells of what was forgotten.

        Needs the rights to do so; without them the server does it in its own time.
        """
        for statement in ("SELECT pg_switch_wal()", "CHECKPOINT"):
            try:
                self._connections.call(methodcaller("execute", statement))
            except GalleryError as error:
                logger.info("the log keeps what was forgotten for a while: %s", error)


def _parse(url: str) -> tuple[str, str]:
    """What libpq shall read, and the name of the gallery."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    name = query.pop("gallery", "default")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise GalleryError(
            f"gallery={name!r} in the URL: a name has up to 40 of a-z, 0-9 and _, and "
            "begins with a letter"
        )
    return parts._replace(query=urlencode(query, quote_via=quote)).geturl(), name


def _table_name(name: str) -> str:
    return f"onelook_gallery_{name}"


def _read_header(name: str, connection: Any) -> Any:
    """The gallery's row, from the format on; None if there is no such gallery."""
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
        # How many entries an identity has, and sums of both: counting takes too long
        # where an answer depends on the size of the gallery.
        f"CREATE TABLE {table}_names (identity text PRIMARY KEY, n bigint NOT NULL)",
        f"CREATE TABLE {table}_counts (shard int PRIMARY KEY, "
        "n_identities bigint NOT NULL, n_images bigint NOT NULL) WITH (fillfactor = 50)",
        f"INSERT INTO {table}_counts SELECT shard, 0, 0 "
        f"FROM generate_series(0, {SHARDS - 1}) AS shard",
        f"ALTER TABLE {table}_names ALTER COLUMN identity SET STATISTICS 0",
        # ANALYZE would keep samples of names and small vectors in a catalog, where
        # forgetting does not reach.
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
