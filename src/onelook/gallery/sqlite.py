"""SqliteStore: a gallery in one file, for one machine and many processes."""

import logging
import os
import sqlite3
import threading
import uuid
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.errors import GalleryError
from onelook.files import expanded
from onelook.gallery import sqlite_rows
from onelook.gallery.exact import Rows, Vectors, nearest, nearest_hits
from onelook.gallery.index import (
    METRICS,
    Built,
    NearIndex,
    new_index,
    overwrite_rows,
    prepared,
    write_index,
)
from onelook.gallery.sqlite_file import (
    WAIT_SECONDS,
    create_file,
    errors_of,
    first_of,
    identity_of,
    open_file,
    read_header,
    sync_folder,
    transaction,
)
from onelook.gallery.store import Entry, Floats, Header, Hit, Stats, Stored
from onelook.machine import give_way

READ_AT_ONCE = 4096
ADD_AT_ONCE = 2048
ALONE_UP_TO = 10_000  # rows: several threads that build a small index can lose some
ATTEMPTS = 5
INDEX_FROM = 50_000  # images; a pass over fewer takes less than 5 ms of one core
NEWER_AT_MOST = 20_000  # images that the index lacks before it is extended
GONE_AT_MOST = 0.2  # fraction of forgotten rows before the index is built from scratch
ZEROS_AT_MOST = 0.2  # fraction of forgotten rows before the file is compacted
MORE_FROM_INDEX = 16  # than asked for, because the index has half the precision
MOST_FROM_INDEX = 1000

log = logging.getLogger("onelook")


class SqliteStore:
    """A gallery in an SQLite file; see ``GalleryStore``.

    Vectors are kept in memory too; every call first reads what other processes wrote. One
    connection reads and one writes, each used by one thread at a time, so that a search
    never waits for the disk as an enroll does.

    From ``INDEX_FROM`` images on a thread builds an index in a file beside the gallery;
    then only what is newer than the index is kept in memory and searched exactly.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index_path = path.with_name(f"{path.name}.usearch")
        self._reader = open_file(path)
        self._writer = open_file(path)
        self._file = identity_of(path)
        self._read_lock = threading.RLock()
        self._write_lock = threading.RLock()
        self.header = read_header(self._reader, path)
        self._rows = Rows(self.header.embedding_size)
        self._version = -1  # of the file, as SQLite counts changes
        self._last_entry = self._last_removed = 0
        self._near: NearIndex | None = None
        self._token = ""  # the state that the index was built from
        self._build_lock = threading.Lock()
        self._builder: threading.Thread | None = None
        self._closing = threading.Event()
        with errors_of(path), transaction(self._reader):
            sqlite_rows.check_tables(self._reader)
        self._purge_if_interrupted()

    @classmethod
    def open(cls, url: str) -> "SqliteStore":
        return cls(_path_of(url))

    @classmethod
    def create(cls, url: str, header: Header) -> "SqliteStore":
        create_file(_path_of(url), header)
        return cls(_path_of(url))

    @classmethod
    def exists(cls, url: str) -> bool:
        return _path_of(url).is_file()

    def enroll(self, entries: Sequence[Entry]) -> list[bool]:
        if not entries:
            return []
        vectors = self.header.vectors_of(entries)
        with self._writing():
            return [
                sqlite_rows.insert(self._writer, entry, vector)
                for entry, vector in zip(entries, vectors, strict=True)
            ]

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[Hit]]:
        queries = self.header.queries(queries, k)
        for _ in range(ATTEMPTS):
            with self._reading():
                rows, near = self._rows.now(), self._near
            if near is not None and k <= MOST_FROM_INDEX:
                return self._search_index(near, rows, queries, k)
            if near is not None:
                rows = self._all_rows()
            found = [ids.tolist() for ids in nearest(rows, self.header.metric, queries, k)]
            wanted = {one for ids in found for one in ids}
            known = self._hits(wanted)
            hits = [[known[one] for one in ids if one in known] for ids in found]
            if len(known) == len(wanted):
                break  # else another process forgot one of them meanwhile
        return hits

    def _search_index(
        self, near: NearIndex, rows: Vectors, queries: Floats, k: int
    ) -> list[list[Hit]]:
        """The nearest of the index's candidates and the newer entries, measured exactly."""
        metric = self.header.metric
        newer = nearest(rows, metric, queries, k)
        want = 2 * k + MORE_FROM_INDEX
        while True:
            found = near.search(queries, min(want, len(near)))
            wanted = [
                {*older.tolist(), *new.tolist()}
                for older, new in zip(found, newer, strict=True)
            ]
            # The index still returns what was forgotten since; the file does not.
            known = self._hits({one for ids in wanted for one in ids})
            hits = [
                nearest_hits([known[one] for one in ids if one in known], metric, query, k)
                for ids, query in zip(wanted, queries, strict=True)
            ]
            if want >= len(near) or all(len(some) == k for some in hits):
                return hits
            want *= 4

    def _hits(self, wanted: Iterable[int]) -> dict[int, Hit]:
        with self._read_lock, errors_of(self.path):
            return sqlite_rows.hits(self._reader, wanted)

    def read(
        self, identity: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Stored]:
        with self._one_state():
            return sqlite_rows.read(self._reader, identity, after, limit)

    def images_of(self, identities: Sequence[str], most: int) -> list[Hit]:
        with self._one_state():
            ids = sqlite_rows.latest(self._reader, identities, most)
            return list(sqlite_rows.hits(self._reader, ids).values())

    def identities(self) -> dict[str, int]:
        with self._one_state():
            return sqlite_rows.identities(self._reader)

    def forget(self, identity: str) -> int:
        with self._writing():
            n = sqlite_rows.forget(self._writer, identity)
        if n:
            self._purge()
        return n

    def rename(self, identity: str, new: str) -> int:
        with self._writing():
            n = sqlite_rows.rename(self._writer, identity, new)
        if n:
            self._purge()  # the old name goes from disk too
        return n

    def _purge(self) -> None:
        """Overwrite on disk what was removed, in the index and SQLite's log."""
        with self._write_lock, errors_of(self.path):
            # No other process may replace the index while this one overwrites it.
            with transaction(self._writer, "IMMEDIATE"):
                gone = sqlite_rows.removed_after(self._writer, self._state("purged"))
                self._overwrite_in_index([one for _, one in gone])
            if self._state("compacting"):
                sqlite_rows.compact(self._writer)
            if first_of(self._writer, "PRAGMA wal_checkpoint(TRUNCATE)"):  # busy
                raise GalleryError(
                    f"{self.path}: what was removed is gone from every answer, but its "
                    "bytes are still on the disk: another process has kept an old state "
                    f"open for more than {WAIT_SECONDS:g} s; end that process or its long "
                    "read, then run maintain"
                )
            if gone:
                last = [gone[-1][0]]
                self._writer.execute("UPDATE state SET purged = max(purged, ?)", last)

    def _overwrite_in_index(self, gone: Sequence[int]) -> None:
        for unfinished in self.path.parent.glob(f"{self.index_path.name}.*"):
            unfinished.unlink(missing_ok=True)
        token = first_of(self._writer, "SELECT token FROM near_index") or ""
        size = self.header.embedding_size
        if not overwrite_rows(self.index_path, token, gone, size):
            self.index_path.unlink(missing_ok=True)  # of another state, so useless

    def _purge_if_interrupted(self) -> None:
        """Finish the forget of a process that ended in the middle of it."""
        with errors_of(self.path):
            removed = sqlite_rows.removed_after(self._writer, self._state("purged"))
            unfinished = removed or self._state("compacting")
        if unfinished:
            try:
                self._purge()
            except GalleryError as error:  # the gallery can be used all the same
                log.warning("%s", error)

    def _state(self, what: str) -> int:
        return sqlite_rows.state(self._writer, what)[0]

    def stats(self) -> Stats:
        """Counts, bytes of all files of the gallery, and how it searches now."""
        with self._one_state():
            n_identities, n_images = sqlite_rows.counts(self._reader)
        n_bytes = 0
        for beside in ("", "-wal", "-shm", ".usearch"):
            with suppress(FileNotFoundError):
                n_bytes += os.stat(f"{self.path}{beside}").st_size
        with self._reading():
            near, newer = self._near, len(self._rows)
        how = f"usearch, exact for the newest {newer}" if near is not None else "exact"
        return Stats(n_identities, n_images, n_bytes, how)

    def settings(self) -> dict[str, bytes]:
        with self._one_state():
            return sqlite_rows.settings(self._reader)

    def keep(self, name: str, value: bytes) -> None:
        with self._writing():
            sqlite_rows.keep(self._writer, name, value)

    def maintain(self) -> None:
        """Give space back, finish an interrupted forget, bring the index up to date."""
        with self._write_lock, errors_of(self.path):
            if sqlite_rows.share_of_zeros(self._writer) > ZEROS_AT_MOST:
                sqlite_rows.compact(self._writer)
        self._purge()
        try:
            self._build_index()
        except (OSError, RuntimeError) as error:
            raise GalleryError(
                f"{self.index_path} cannot be built ({error}); the gallery works without "
                "it, more slowly; check the disk's space and the folder's permissions"
            ) from error

    def close(self) -> None:
        """Close the file; a thread that builds an index ends first."""
        if self._builder is not None:
            _end(self._builder, self._closing)
        with self._write_lock, self._read_lock:
            self._writer.close()
            self._reader.close()

    def _build_in_background(self) -> None:
        """Start a thread that builds the index, where that is due and none does."""
        limit = INDEX_FROM if self._near is None else NEWER_AT_MOST
        if len(self._rows) < limit or self.header.metric not in METRICS:
            return
        if self._builder is None or not self._builder.is_alive():
            self._builder = threading.Thread(target=self._build_quietly, daemon=True)
            # usearch aborts the process if its caller disappears when Python ends.
            weakref.finalize(self, _end, self._builder, self._closing)
            self._builder.start()

    def _build_quietly(self) -> None:
        give_way()  # to searches
        try:
            self._build_index()
        except (GalleryError, OSError, RuntimeError) as error:
            log.warning("%s: no new index, so searches are slower: %s", self.path, error)

    def _build_index(self) -> None:
        """Bring the index up to date: extend it, or build it from scratch."""
        with (
            self._build_lock,
            errors_of(self.path),
            closing(open_file(self.path)) as connection,
        ):
            if self.header.metric not in METRICS:
                return
            made = connection.execute("SELECT * FROM near_index").fetchone()
            token, after, removed = made or ("", 0, 0)
            old = NearIndex.open(self.index_path, Built(token, after), self.header)
            n_images, newer, last_removed = sqlite_rows.changes(connection, after)
            if n_images < INDEX_FROM:
                return
            index = new_index(self.header)
            gone = 0 if old is None else len(old) - (n_images - newer)
            if old is None or gone > GONE_AT_MOST * len(old):
                after, removed = 0, last_removed
            elif newer == 0:
                return
            else:
                index.load(os.fspath(self.index_path))
            last = after
            for ids, vectors in sqlite_rows.vectors_after(connection, after, ADD_AT_ONCE):
                if self._closing.is_set():
                    return
                rows = prepared(vectors, self.header.metric)
                threads = 1 if len(index) < ALONE_UP_TO else 0  # 0: all cores
                index.add(ids.astype(np.uint64), rows, threads=threads)
                last = int(ids[-1])
            self._publish(index, last, removed)

    def _publish(self, index: Any, last_entry: int, last_removed: int) -> None:
        """Replace the index by a new one, without what was removed meanwhile."""
        token = uuid.uuid4().hex
        built = Built(token, last_entry)
        fresh = self.index_path.with_name(f"{self.index_path.name}.{token}")
        try:
            # A forget removes an unfinished file, which may hold the forgotten.
            with suppress(FileNotFoundError):
                write_index(fresh, index, built)
            with self._writing():
                if not fresh.exists():
                    write_index(fresh, index, built)
                gone = sqlite_rows.removed_after(self._writer, last_removed)
                size = self.header.embedding_size
                overwrite_rows(fresh, token, [one for _, one in gone], size)
                os.replace(fresh, self.index_path)
                sync_folder(self.path.parent)
                newest = max([last_removed, *(number for number, _ in gone)])
                self._writer.execute("DELETE FROM near_index")
                self._writer.execute(
                    "INSERT INTO near_index VALUES (?, ?, ?)", [token, last_entry, newest]
                )
        finally:
            fresh.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._write_lock, errors_of(self.path), transaction(self._writer, "IMMEDIATE"):
            self._check_in_place()
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Inside, the vectors in memory are those on disk."""
        with self._read_lock, errors_of(self.path):
            self._check_in_place()
            version = first_of(self._reader, "PRAGMA data_version")
            if version != self._version:
                with transaction(self._reader):
                    self._take_over()
                self._version = version
                self._build_in_background()
            yield

    def _check_in_place(self) -> None:
        """Refuse to go on in a file that was removed or replaced: writes would be lost."""
        if identity_of(self.path) != self._file:
            raise GalleryError(
                f"{self.path} was removed or replaced while it was open; put it back, "
                "or open the gallery (start the service) again"
            )

    def _take_over(self) -> None:
        """Read what this and other processes wrote since the last time."""
        self._take_over_index()
        if removed := sqlite_rows.removed_after(self._reader, self._last_removed):
            self._rows.remove([one for _, one in removed])
            self._last_removed = removed[-1][0]
        for ids, vectors in sqlite_rows.vectors_after(
            self._reader, self._last_entry, READ_AT_ONCE
        ):
            self._rows.append(ids, vectors)
            self._last_entry = int(ids[-1])
        n_images = sqlite_rows.counts(self._reader)[1]
        if self._near is None and len(self._rows) != n_images:
            raise sqlite3.DatabaseError(f"{len(self._rows)} of {n_images} entries are left")

    def _take_over_index(self) -> None:
        """Use the latest index; what is newer than it is read again."""
        row = self._reader.execute("SELECT token, last_id FROM near_index").fetchone()
        token, last_entry = row or ("", 0)
        if token == self._token:
            return
        built = Built(token, last_entry)
        self._near = NearIndex.open(self.index_path, built, self.header)
        self._token = token
        self._rows = Rows(self.header.embedding_size)
        self._last_entry = last_entry if self._near is not None else 0

    def _all_rows(self) -> Vectors:
        """All vectors, for a search that asks an index for too many neighbours."""
        rows = Rows(self.header.embedding_size)
        with self._one_state():
            for ids, some in sqlite_rows.vectors_after(self._reader, 0, READ_AT_ONCE):
                rows.append(ids, some)
        return rows.now()

    @contextmanager
    def _one_state(self) -> Iterator[None]:
        """Inside, the reading connection sees one state of the file."""
        with self._read_lock, errors_of(self.path), transaction(self._reader):
            self._check_in_place()
            yield


def _path_of(url: str) -> Path:
    return expanded(url.removeprefix("file://"))


def _end(thread: threading.Thread, closing: threading.Event) -> None:
    """Let a thread that builds an index end."""
    closing.set()
    if thread is not threading.current_thread() and thread.is_alive():
        thread.join()
