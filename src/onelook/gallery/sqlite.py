"""SqliteStore: a gallery in one file, exact, for one machine and many processes."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.errors import GalleryError
from onelook.gallery.exact import Rows, nearest
from onelook.gallery.sqlite_file import (
    WAIT_SECONDS,
    create_file,
    errors_of,
    open_file,
    read_header,
    reading,
    writing,
)
from onelook.gallery.store import Entry, Header, Hit, Stats, Stored, check_vectors

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
READ_AT_ONCE = 4096
ATTEMPTS = 5


class SqliteStore:
    """A gallery in an SQLite file; ``open`` or ``create`` gives one.

    Vectors are kept in memory too, and every call first takes over what other processes
    wrote. One connection reads and one writes, each used by one thread at a time, so that
    a search never waits for the disk that an enroll waits for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = open_file(path)
        self._writer = open_file(path)
        self._read_lock = threading.RLock()
        self._write_lock = threading.RLock()
        self.header = read_header(self._reader, path)
        self._rows = Rows(self.header.embedding_size)
        self._version = -1  # of the file, as SQLite counts changes
        self._last_entry = self._last_removed = 0
        self._purge_if_interrupted()

    @classmethod
    def open(cls, url: str) -> "SqliteStore":
        """The gallery at the path ``url``."""
        return cls(Path(url).expanduser())

    @classmethod
    def create(cls, url: str, header: Header) -> "SqliteStore":
        """A new gallery at the path ``url``."""
        path = Path(url).expanduser()
        create_file(path, header)
        return cls(path)

    @classmethod
    def exists(cls, url: str) -> bool:
        """Whether a file lies at the path ``url``."""
        return Path(url).expanduser().is_file()

    def enroll(self, entries: Sequence[Entry]) -> list[bool]:
        """Keep entries, all or none; which of them are new. Durable when it returns."""
        if not entries:
            return []
        vectors = check_vectors(self.header, np.stack([entry.vector for entry in entries]))
        with self._writing():
            return [
                self._insert(entry, vector)
                for entry, vector in zip(entries, vectors, strict=True)
            ]

    def _insert(self, entry: Entry, vector: Floats) -> bool:
        row = self._writer.execute(
            "INSERT INTO entry (identity, digest, metadata) VALUES (?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            [entry.identity, entry.digest, json.dumps(entry.metadata)],
        )
        if row.rowcount == 0:
            return False
        self._writer.execute(
            "INSERT INTO vector VALUES (?, ?)", [row.lastrowid, vector.tobytes()]
        )
        if entry.thumbnail is not None or entry.original is not None:
            self._writer.execute(
                "INSERT INTO picture VALUES (?, ?, ?)",
                [row.lastrowid, entry.thumbnail, entry.original],
            )
        return True

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        """For each query (N, D) the nearest ``k`` entries, the nearest first."""
        queries = check_vectors(self.header, queries)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        for _ in range(ATTEMPTS):
            with self._reading():
                parts = self._rows.parts()
            found = nearest(parts, self.header.metric, queries, k)
            hits = self._hits([ids for ids, _ in found])
            if all(len(h) == len(ids) for h, (ids, _) in zip(hits, found, strict=True)):
                break  # else another process forgot one of them meanwhile
        return hits

    def _hits(self, found: Sequence[Ids]) -> list[list[Hit]]:
        """The entries of ids (k,) of each query, without those that are gone."""
        wanted = sorted({int(one) for ids in found for one in ids})
        with self._read_lock, errors_of(self.path):
            rows = self._reader.execute(
                "SELECT entry.id, identity, vector.value FROM json_each(?) AS wanted "
                "JOIN entry ON entry.id = wanted.value JOIN vector ON vector.id = entry.id",
                [json.dumps(wanted)],
            ).fetchall()
        known = {
            entry: Hit(entry, identity, np.frombuffer(value, np.float32))
            for entry, identity, value in rows
        }
        return [[known[int(one)] for one in ids if int(one) in known] for ids in found]

    def read(
        self, identity: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Stored]:
        """Up to ``limit`` whole entries above the id ``after``, in the order of ids."""
        which = "" if identity is None else "AND identity = ?"
        rows = self._select(
            "SELECT id, identity, value, digest, metadata, thumbnail, original "
            "FROM entry JOIN vector USING (id) LEFT JOIN picture USING (id) "
            f"WHERE id > ? {which} ORDER BY id LIMIT ?",
            [after, *([] if identity is None else [identity]), limit],
        )
        return [
            Stored(
                identity=name,
                vector=np.frombuffer(value, np.float32),
                digest=digest,
                metadata=json.loads(content),
                thumbnail=thumbnail,
                original=original,
                id=entry,
            )
            for entry, name, value, digest, content, thumbnail, original in rows
        ]

    def identities(self) -> dict[str, int]:
        """Number of entries of every identity, sorted by name."""
        rows = self._select(
            "SELECT identity, count(*) FROM entry GROUP BY identity ORDER BY identity", []
        )
        return dict(rows)

    def forget(self, identity: str) -> int:
        """Remove all of an identity, from disk too; how many entries that were.

        Raises:
            GalleryError: If another process keeps an old state of the file open for so long
                that it cannot be cleaned; the entries are removed all the same.
        """
        with self._writing():
            gone = self._ids_of(identity)
            self._remove(gone)
        if gone:
            self._purge()
        return len(gone)

    def rename(self, identity: str, new: str) -> int:
        """Give all entries of ``identity`` the name ``new``; how many."""
        with self._writing():
            found = self._ids_of(identity)
            twice = self._writer.execute(
                "SELECT id FROM entry WHERE identity = ? AND digest IN "
                "(SELECT digest FROM entry WHERE identity = ?)",
                [identity, new],
            ).fetchall()
            gone = [one for (one,) in twice] if new != identity else []
            self._remove(gone)
            self._writer.execute(
                "UPDATE entry SET identity = ? WHERE identity = ?", [new, identity]
            )
        if found:
            self._purge()  # the old name is gone from disk too
        return len(found)

    def _ids_of(self, identity: str) -> list[int]:
        rows = self._writer.execute("SELECT id FROM entry WHERE identity = ?", [identity])
        return [one for (one,) in rows]

    def _remove(self, ids: Sequence[int]) -> None:
        """Delete entries and say so to others; SQLite overwrites what it deletes."""
        for one in ids:
            for table in ("entry", "vector", "picture"):
                self._writer.execute(f"DELETE FROM {table} WHERE id = ?", [one])
            self._writer.execute("INSERT INTO removed (entry) VALUES (?)", [one])

    def _purge(self) -> None:
        """Overwrite on disk what was removed: empty the log that still holds it."""
        with self._write_lock, self._read_lock, errors_of(self.path):
            number = self._writer.execute(
                "SELECT coalesce(max(number), 0) FROM removed"
            ).fetchone()[0]
            busy = self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy:
                raise GalleryError(
                    f"{self.path}: what was removed is gone from every answer, but another "
                    f"process has kept an old state open for more than {WAIT_SECONDS:g} s, "
                    "so its bytes are still on the disk; end that process (or its long "
                    "read), then run maintain"
                )
            with writing(self._writer):
                self._writer.execute(
                    "UPDATE purged SET last_removed = max(last_removed, ?)", [number]
                )

    def _purge_if_interrupted(self) -> None:
        """Finish what a process that ended in the middle of a forget left."""
        waiting = self._select(
            "SELECT 1 FROM removed, purged WHERE number > last_removed LIMIT 1",
            [],
        )
        if waiting:
            self._purge()

    def stats(self) -> Stats:
        n_identities, n_images = self._select(
            "SELECT count(DISTINCT identity), count(*) FROM entry", []
        )[0]
        beside = ("", "-wal", "-shm")
        files = [self.path.with_name(self.path.name + end) for end in beside]
        n_bytes = sum(file.stat().st_size for file in files if file.exists())
        return Stats(n_identities, n_images, n_bytes, "exact")

    def maintain(self) -> None:
        """Give space back, and finish a forget that could not clean the disk."""
        with self._write_lock, self._read_lock, errors_of(self.path):
            self._writer.execute("PRAGMA incremental_vacuum").fetchall()
        self._purge()

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            self._writer.close()
            self._reader.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._write_lock, errors_of(self.path), writing(self._writer):
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Vectors in memory as they are on disk now."""
        with self._read_lock, errors_of(self.path):
            version = self._reader.execute("PRAGMA data_version").fetchone()[0]
            if version != self._version:
                with reading(self._reader):
                    self._take_over()
                self._version = version
            yield

    def _take_over(self) -> None:
        """Bring in what this and other processes wrote since the last time."""
        removed = self._reader.execute(
            "SELECT number, entry FROM removed WHERE number > ? ORDER BY number",
            [self._last_removed],
        ).fetchall()
        if removed:
            self._rows.remove([entry for _, entry in removed])
            self._last_removed = removed[-1][0]
        added = self._reader.execute(
            "SELECT id, value FROM vector WHERE id > ? ORDER BY id", [self._last_entry]
        )
        while rows := added.fetchmany(READ_AT_ONCE):
            ids = np.array([one for one, _ in rows], np.int64)
            values = np.frombuffer(b"".join([value for _, value in rows]), np.float32)
            self._rows.append(ids, values.reshape(len(ids), -1))
            self._last_entry = int(ids[-1])

    def _select(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._read_lock, errors_of(self.path):
            return self._reader.execute(statement, values).fetchall()
