"""MilvusStore: a gallery in a Milvus cluster, for more embeddings than a machine holds.

``milvus://host:port/database?collection=name``; ``milvuss://`` with TLS; user and password,
or ``&token=``. Each gallery has a collection of its own; one more hands out ids for all.
"""

import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from operator import itemgetter
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from onelook.errors import GalleryError
from onelook.extras import import_extra
from onelook.gallery.exact import nearest_hits
from onelook.gallery.milvus_rows import (
    NEAR,
    WHOLE,
    hit_of,
    joined_parts,
    parts_of,
    row_of,
    schema_of,
    schema_of_ids,
    schema_of_settings,
    stored_of,
)
from onelook.gallery.store import (
    FORMAT,
    Entry,
    Floats,
    Header,
    Hit,
    Metric,
    Stats,
    Stored,
    already_exists,
    blocks_of,
    digest_of,
    no_gallery,
    redact_url,
    wrong_format,
)

IDS = "onelook_ids"
# Limits of Milvus: rows in an answer, numbers in an embedding.
MOST_ROWS, MOST_DIMENSIONS = 16_384, 32_768
# A request is kept whole or not at all; the server takes up to 64 MB.
REQUEST_BYTES = 48 * 2**20
# Milvus has no Manhattan distance: the shortlist by Euclidean distance, as a multiple of k.
SHORTLIST, SHORTEST_SHORTLIST = 10, 1000
AT_ONCE = 150  # whole entries in one request of a rename
SECONDS, CONNECT_SECONDS = 60, 10  # until a request, and a connection, fails
CLOCKS_DIFFER = 10  # seconds between the clocks of two writers, at most

logger = logging.getLogger("onelook")


class MilvusStore:
    """Entries in one collection of a Milvus server or cluster; see ``GalleryStore``.

    Milvus has no transactions and no unique columns, but keeps a request whole, and so a
    batch. Two writers that enroll the same image of an identity at the same time both look
    again afterwards and leave the entry with the smaller id. Those of one process insert in
    the order of their ids; of two processes, both may be told that theirs is new.
    """

    def __init__(self, client: Any, collection: str, header: Header, url: str) -> None:
        self.header = header
        self._client = client
        self._collection = collection
        self._kept = f"{collection}_settings"
        self._url = url
        self._lock = threading.Lock()
        self._insert_lock = threading.Lock()
        self._forget_names()

    @classmethod
    def open(cls, url: str) -> "MilvusStore":
        with _told(url):
            client, collection = _connect(url), _collection_name(url)
            header = _read_header(client, collection, url)
            if header is None:
                raise no_gallery(url)
            _make_ready(client, collection, header.metric)
        return cls(client, collection, header, url)

    @classmethod
    def create(cls, url: str, header: Header) -> "MilvusStore":
        header.check_size(MOST_DIMENSIONS, "Milvus")
        with _told(url):
            client, collection = _connect(url), _collection_name(url)
            if _read_header(client, collection, url) is not None:
                raise already_exists(url)
            if not client.has_collection(IDS):
                client.create_collection(IDS, schema=schema_of_ids(client))
            client.create_collection(
                collection, schema=schema_of(client, header), consistency_level="Strong"
            )
            _make_ready(client, collection, header.metric)
        return cls(client, collection, header, url)

    @classmethod
    def exists(cls, url: str) -> bool:
        with _told(url), closing(_connect(url)) as client:
            return _read_header(client, _collection_name(url), url) is not None

    def enroll(self, entries: Sequence[Entry]) -> list[bool]:
        if not entries:
            return []
        rows = list(map(row_of, entries, self.header.vectors_of(entries)))
        with _told(self._url):
            known = self._ids_of([row["key"] for row in rows])
            first = {row["key"]: i for i, row in reversed(list(enumerate(rows)))}
            new = [first[key] for key in dict.fromkeys(row["key"] for row in rows)]
            new = [i for i in new if rows[i]["key"] not in known]
            if not new:
                return [False] * len(entries)
            self._insert([rows[i] for i in new])
            kept = self._settle([rows[i]["key"] for i in new])
        return [
            i in new and kept.get(row["key"]) == row["id"] for i, row in enumerate(rows)
        ]

    def search(self, queries: Floats, k: int) -> list[list[Hit]]:
        """The nearest; by Manhattan distance those of a shortlist by Euclidean distance."""
        queries = self.header.queries(queries, k)
        by_euclid = self.header.metric == "manhattan"
        n_asked = max(SHORTLIST * k, SHORTEST_SHORTLIST) if by_euclid else k
        n_asked = max(k, min(n_asked, MOST_ROWS))
        if n_asked > MOST_ROWS:
            return self._search_all(queries, k)
        hits: list[list[Hit]] = []
        for block in blocks_of(queries, n_asked):
            near = self._ask(block, n_asked)
            if by_euclid:
                near = [
                    nearest_hits(some, "manhattan", query, k)
                    for some, query in zip(near, block, strict=True)
                ]
            hits += near
        return hits

    def read(
        self, identity: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Stored]:
        return [stored_of(row) for row in self._page(WHOLE, _of(identity), after, limit)]

    def images_of(self, identities: Sequence[str], most: int) -> list[Hit]:
        hits = []
        for identity in identities:
            ids = [row["id"] for row in self._pages(["id"], _of(identity))][-most:]
            with _told(self._url):
                rows = self._query(["id", "identity", "vector"], filter=f"id in {ids}")
            hits += [hit_of(row["id"], row) for row in rows]
        return hits

    def identities(self) -> dict[str, int]:
        with self._lock:
            self._forget_names()
            self._read_names()
            return dict(sorted(self._counts.items()))

    def forget(self, identity: str) -> int:
        """Remove an identity from every answer.

        Its bytes leave the disk when the cluster has compacted its segments, collected its
        garbage and dropped its message log, each after a time that its operator sets.
        """
        n_forgotten = 0
        while rows := self._page(["id"], _of(identity), 0, MOST_ROWS):
            with _told(self._url):
                self._client.delete(self._collection, ids=[row["id"] for row in rows])
            n_forgotten += len(rows)
        if n_forgotten:
            self._compact()
        return n_forgotten

    def rename(self, identity: str, new: str) -> int:
        """If interrupted, more than ``AT_ONCE`` images have both names until run again."""
        if identity == new:
            return sum(1 for _ in self._pages(["id"], _of(identity)))
        n_renamed = 0
        while entries := self.read(identity, limit=AT_ONCE):
            rows = [row_of(replace(entry, identity=new), entry.vector) for entry in entries]
            for row, entry in zip(rows, entries, strict=True):
                row |= {"id": entry.id, "written": _now()}
            with _told(self._url):
                there = self._ids_of([row["key"] for row in rows])
                moved = [row for row in rows if row["key"] not in there]
                joined = [row["id"] for row in rows if row["key"] in there]
                if moved:
                    self._client.upsert(self._collection, moved)
                    self._settle([row["key"] for row in moved])
                if joined:
                    self._client.delete(self._collection, ids=joined)
            n_renamed += len(rows)
        return n_renamed

    def stats(self) -> Stats:
        """Counts, and how it searches; Milvus does not tell the bytes of a collection."""
        with self._lock:
            for _ in range(2):  # others may write in between
                self._read_names()
                with _told(self._url):
                    (counted,) = self._query(["count(*)"])
                if counted["count(*)"] == len(self._names):
                    break
            else:  # some are gone: read all names again
                self._forget_names()
                self._read_names()
            return Stats(len(self._counts), len(self._names), None, "Milvus HNSW")

    def settings(self) -> dict[str, bytes]:
        with _told(self._url):
            if not self._client.has_collection(self._kept):
                return {}
            return joined_parts(self._settings(["id", "text"], "id >= ''"))

    def keep(self, name: str, value: bytes) -> None:
        """If interrupted, the value is refused as damaged until it is kept again."""
        rows = parts_of(name, value)
        with _told(self._url):
            if not self._client.has_collection(self._kept):
                self._client.create_collection(
                    self._kept,
                    schema=schema_of_settings(self._client),
                    consistency_level="Strong",
                )
                _make_ready(self._client, self._kept, "euclidean")
            self._client.upsert(self._kept, rows)
            older = self._settings(["id"], f"id like '{name} %'")
            kept = {row["id"] for row in rows}
            if gone := [row["id"] for row in older if row["id"] not in kept]:
                self._client.delete(self._kept, ids=gone)

    def _settings(self, fields: list[str], condition: str) -> list[dict[str, Any]]:
        return self._query(fields, self._kept, filter=condition, limit=MOST_ROWS)

    def maintain(self) -> None:
        """Let the server join its segments and drop what was deleted."""
        self._compact()

    def close(self) -> None:
        self._client.close()

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        """Give the rows ids that no row ever had, and keep them in one request."""
        sizes = (len(row["thumbnail"]) + len(row["metadata"]) for row in rows)
        n_bytes = sum(row["vector"].nbytes for row in rows) + sum(sizes)
        if n_bytes > REQUEST_BYTES:
            raise GalleryError(
                f"{len(rows)} images take {n_bytes / 2**20:.0f} MB, Milvus keeps up to "
                f"{REQUEST_BYTES // 2**20} MB all or none; enroll fewer at once"
            )
        nothing = [{"nothing": [0.0, 0.0]} for _ in rows]
        # Else a smaller id could be inserted after a larger one was found alone.
        with self._insert_lock:
            ids = self._client.insert(IDS, nothing)["ids"]
            for row, entry_id in zip(rows, ids, strict=True):
                row |= {"id": entry_id, "written": _now()}
            self._client.insert(self._collection, rows)

    def _forget_names(self) -> None:
        self._names: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._known_until = 0

    def _read_names(self) -> None:
        """Read the names of the entries that were written since the last time."""
        since = self._known_until - CLOCKS_DIFFER * 10**6
        for row in self._pages(["id", "identity", "written"], f" and written > {since}"):
            before = self._names.get(row["id"])
            if before != row["identity"]:
                self._names[row["id"]] = row["identity"]
                self._counts[row["identity"]] += 1
                if before is not None:
                    self._counts[before] -= 1
                    self._counts += Counter()  # drops names without entries
            self._known_until = max(self._known_until, row["written"])

    def _ids_of(self, keys: Sequence[str]) -> dict[str, list[int]]:
        """The ids of the entries that have these keys, the smallest first."""
        found: dict[str, list[int]] = {}
        for start in range(0, len(keys), AT_ONCE):
            some = json.dumps(keys[start : start + AT_ONCE])
            for row in self._query(["id", "key"], filter=f"key in {some}", limit=MOST_ROWS):
                found.setdefault(row["key"], []).append(row["id"])
        return {key: sorted(ids) for key, ids in found.items()}

    def _settle(self, keys: Sequence[str]) -> dict[str, int]:
        """Leave one entry of each key, as every writer does: that of the smallest id."""
        ids = self._ids_of(keys)
        if second := [entry_id for same in ids.values() for entry_id in same[1:]]:
            self._client.delete(self._collection, ids=second)
        return {key: same[0] for key, same in ids.items()}

    def _query(
        self, fields: list[str], collection: str = "", **conditions: Any
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._client.query(
            collection or self._collection,
            output_fields=fields,
            consistency_level="Strong",
            timeout=SECONDS,
            **conditions,
        )
        return rows

    def _page(
        self, fields: list[str], condition: str, after: int, limit: int
    ) -> list[dict[str, Any]]:
        """Up to ``limit`` rows whose ids are above ``after``, in the order of ids."""
        condition, limit = f"id > {after}{condition}", min(limit, MOST_ROWS)
        with _told(self._url):
            rows = self._query(fields, filter=condition, limit=limit)
        return sorted(rows, key=itemgetter("id"))

    def _pages(self, fields: list[str], condition: str = "") -> Iterator[dict[str, Any]]:
        after = 0
        while rows := self._page(fields, condition, after, MOST_ROWS):
            yield from rows
            after = rows[-1]["id"]

    def _ask(self, queries: Floats, n: int) -> list[list[Hit]]:
        """The ``n`` nearest of each query (N, D), by the index."""
        params = {"ef": max(2 * n, 256)}
        with _told(self._url):
            answers = self._client.search(
                self._collection,
                data=list(queries),
                limit=n,
                output_fields=["identity", "vector"],
                search_params={"metric_type": NEAR[self.header.metric], "params": params},
                consistency_level="Strong",
                timeout=SECONDS,
            )
        return [[hit_of(one["id"], one["entity"]) for one in answer] for answer in answers]

    def _search_all(self, queries: Floats, k: int) -> list[list[Hit]]:
        """Search all entries here, for more neighbours than Milvus answers with."""
        rows = self._pages(["id", "identity", "vector"])
        entries = [hit_of(row["id"], row) for row in rows]
        return [nearest_hits(entries, self.header.metric, query, k) for query in queries]

    def _compact(self) -> None:
        """Ask the server to rewrite its segments without what was deleted."""
        try:
            with _told(self._url):
                self._client.flush(self._collection, timeout=SECONDS)
                self._client.compact(self._collection, timeout=SECONDS)
        except GalleryError as error:  # asked too often; the server compacts by itself too
            logger.info("not compacted now: %s", error)


def _of(identity: str | None) -> str:
    """The condition that a row is of this identity, or of any."""
    return "" if identity is None else f' and who == "{digest_of(identity.encode())}"'


def _now() -> int:
    return time.time_ns() // 1000


def _connect(url: str) -> Any:
    client = import_extra("pymilvus", "milvus").MilvusClient
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    scheme = "https" if parts.scheme == "milvuss" else "http"
    return client(
        uri=f"{scheme}://{parts.hostname or 'localhost'}:{parts.port or 19530}",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        token=options.get("token", [""])[0],
        db_name=parts.path.strip("/"),
        timeout=CONNECT_SECONDS,
    )


def _collection_name(url: str) -> str:
    options = parse_qs(urlsplit(url).query, keep_blank_values=True)
    name = options.get("collection", ["onelook"])[0]
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,200}", name) or name == IDS:
        raise GalleryError(
            f"collection={name!r} in the URL: a name has letters, digits and _, and begins "
            "with a letter"
        )
    return name


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Errors of the server, with its place and the next step."""
    error_of_milvus = import_extra("pymilvus", "milvus").MilvusException
    try:
        yield
    except error_of_milvus as error:
        is_lost = error.code == 2 or "connect" in str(error)
        hint = "; does the server run, and does the database exist?" if is_lost else ""
        place = f"the gallery at {redact_url(url)}"
        raise GalleryError(f"{place}: {error.message}{hint}") from error


def _read_header(client: Any, collection: str, url: str) -> Header | None:
    """The header in a collection's description; None if there is no collection."""
    if not client.has_collection(collection):
        return None
    try:
        said = json.loads(client.describe_collection(collection)["description"])
        written = said.pop("onelook")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GalleryError(
            f"the collection {collection!r} at {redact_url(url)} is not a gallery; name "
            "another: ?collection=NAME"
        ) from error
    if written != FORMAT:
        raise wrong_format(url, written)
    return Header(**said)


def _make_ready(client: Any, collection: str, metric: Metric) -> None:
    """Build the index where there is none, and load the collection."""
    if not client.list_indexes(collection):
        index = client.prepare_index_params()
        index.add_index(
            "vector",
            index_type="HNSW",
            metric_type=NEAR[metric],
            params={"M": 16, "efConstruction": 200},
        )
        client.create_index(collection, index)
    client.load_collection(collection, timeout=SECONDS)
