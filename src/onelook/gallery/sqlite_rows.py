"""The tables of a gallery's SQLite file, and what is written to and read from them.

SQLite can leave copies of a row behind when it moves rows between the pages of a table, and
overwrites only the row itself when that is deleted. So what people may want forgotten is in
tables that only grow: their rows never move, a forget overwrites them with zeros in place,
and ``compact`` gives the space back. Tables whose rows come and go hold numbers only.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from onelook.gallery.store import Entry, Floats, Hit, Ids, Stored

# "removed" tells other processes and the index which entries are gone. "state" has the size
# of the gallery, which every identify needs, the last removal that was cleaned from disk,
# and whether an interrupted compaction may have left copies of rows.
SCHEMA = """
CREATE TABLE header (content TEXT NOT NULL);
CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL);
CREATE TABLE content (
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL, metadata BLOB NOT NULL
);
CREATE TABLE vector (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE picture (id INTEGER PRIMARY KEY, thumbnail BLOB, original BLOB);

CREATE TABLE named (
    hash INTEGER, person INTEGER, PRIMARY KEY (hash, person)
) WITHOUT ROWID;
CREATE TABLE owner (id INTEGER PRIMARY KEY, person INTEGER NOT NULL);
CREATE TABLE owned (
    person INTEGER, hash INTEGER, id INTEGER, PRIMARY KEY (person, hash, id)
) WITHOUT ROWID;
CREATE TABLE removed (number INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER NOT NULL);
CREATE TABLE near_index (
    token TEXT NOT NULL, last_id INTEGER NOT NULL, last_removed INTEGER NOT NULL
);
CREATE TABLE state (
    n_identities INTEGER NOT NULL, n_images INTEGER NOT NULL,
    purged INTEGER NOT NULL, compacting INTEGER NOT NULL
);
INSERT INTO state VALUES (0, 0, 0, 0);
"""
ZEROS = {
    "person": "name = zeroblob(length(name))",
    "content": "digest = zeroblob(length(digest)), metadata = zeroblob(length(metadata))",
    "vector": "value = zeroblob(length(value))",
    "picture": "thumbnail = zeroblob(length(thumbnail)), "
    "original = zeroblob(length(original))",
}


def insert(connection: sqlite3.Connection, entry: Entry, vector: Floats) -> bool:
    """Keep an entry unless its identity already has its digest; whether it is new."""
    digest = entry.digest.encode()
    person = person_of(connection, entry.identity) or _add_person(
        connection, entry.identity
    )
    if _has(connection, person, digest):
        return False
    row = connection.execute(
        "INSERT INTO content (digest, metadata) VALUES (?, ?)",
        [digest, json.dumps(entry.metadata).encode()],
    )
    number = row.lastrowid
    connection.execute("INSERT INTO vector VALUES (?, ?)", [number, vector.tobytes()])
    if entry.thumbnail is not None or entry.original is not None:
        connection.execute(
            "INSERT INTO picture VALUES (?, ?, ?)",
            [number, entry.thumbnail, entry.original],
        )
    connection.execute("INSERT INTO owner VALUES (?, ?)", [number, person])
    connection.execute(
        "INSERT INTO owned VALUES (?, ?, ?)", [person, _digest_hash(digest), number]
    )
    connection.execute("UPDATE state SET n_images = n_images + 1")
    return True


def person_of(connection: sqlite3.Connection, identity: str) -> int | None:
    """The number of an identity, or None."""
    name = identity.encode()
    row = connection.execute(
        "SELECT person.id FROM named JOIN person ON person.id = named.person "
        "WHERE hash = ? AND name = ?",
        [_name_hash(name), name],
    ).fetchone()
    return None if row is None else int(row[0])


def forget(connection: sqlite3.Connection, identity: str) -> int:
    """Remove all entries of an identity, and return their number."""
    person = person_of(connection, identity)
    if person is None:
        return 0
    ids = _ids_of(connection, person)
    for one in ids:
        _remove(connection, person, one)
    _drop_person(connection, person, identity)
    return len(ids)


def rename(connection: sqlite3.Connection, identity: str, new: str) -> int:
    """Give all entries of an identity the name ``new``, and return their number."""
    old = person_of(connection, identity)
    if old is None:
        return 0
    ids = _ids_of(connection, old)
    if new == identity:
        return len(ids)
    person = person_of(connection, new) or _add_person(connection, new)
    for one in ids:
        (digest,) = connection.execute(
            "SELECT digest FROM content WHERE id = ?", [one]
        ).fetchone()
        if _has(connection, person, digest):
            _remove(connection, old, one)
            continue
        key = [person, old, _digest_hash(digest), one]
        connection.execute(
            "UPDATE owned SET person = ? WHERE person = ? AND hash = ? AND id = ?", key
        )
        connection.execute("UPDATE owner SET person = ? WHERE id = ?", [person, one])
    _drop_person(connection, old, identity)
    return len(ids)


def identities(connection: sqlite3.Connection) -> dict[str, int]:
    """Number of entries of every identity, sorted by name."""
    rows = connection.execute(
        "SELECT name, n FROM (SELECT person, count(*) AS n FROM owned GROUP BY person) "
        "JOIN person ON person.id = person ORDER BY name"
    )
    return {name.decode(): n for name, n in rows}


def counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """Numbers of identities and of entries."""
    row = connection.execute("SELECT n_identities, n_images FROM state").fetchone()
    return int(row[0]), int(row[1])


def hits(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, Hit]:
    """The entries with these ids, without those that are gone."""
    rows = connection.execute(
        "SELECT owner.id, name, vector.value FROM json_each(?) AS wanted "
        "JOIN owner ON owner.id = wanted.value JOIN person ON person.id = owner.person "
        "JOIN vector ON vector.id = owner.id",
        [json.dumps(sorted(ids))],
    )
    return {
        one: Hit(one, name.decode(), np.frombuffer(value, np.float32))
        for one, name, value in rows.fetchall()
    }


def read(
    connection: sqlite3.Connection, identity: str | None, after: int, limit: int
) -> list[Stored]:
    """Up to ``limit`` whole entries with ids above ``after``, in the order of ids."""
    which = "owner.id > ? ORDER BY owner.id"
    values: list[object] = [after]
    if identity is not None:
        person = person_of(connection, identity)
        which = "owner.id IN (SELECT id FROM owned WHERE person = ? AND id > ?) ORDER BY 1"
        values = [person, after]
    rows = connection.execute(
        "SELECT owner.id, name, value, digest, metadata, thumbnail, original "
        "FROM owner JOIN person ON person.id = owner.person "
        "JOIN content ON content.id = owner.id JOIN vector ON vector.id = owner.id "
        f"LEFT JOIN picture ON picture.id = owner.id WHERE {which} LIMIT ?",
        [*values, limit],
    )
    return [
        Stored(
            identity=name.decode(),
            vector=np.frombuffer(value, np.float32),
            digest=digest.decode(),
            metadata=json.loads(metadata),
            thumbnail=thumbnail,
            original=original,
            id=one,
        )
        for one, name, value, digest, metadata, thumbnail, original in rows.fetchall()
    ]


def vectors_after(
    connection: sqlite3.Connection, after: int, at_once: int
) -> Iterator[tuple[Ids, Floats]]:
    """Ids and vectors (N, D) above the id ``after``, in order, ``at_once`` at a time."""
    while rows := connection.execute(
        "SELECT id, value FROM owner JOIN vector USING (id) WHERE id > ? "
        "ORDER BY id LIMIT ?",
        [after, at_once],
    ).fetchall():
        ids = np.array([one for one, _ in rows], np.int64)
        values = np.frombuffer(b"".join([value for _, value in rows]), np.float32)
        yield ids, values.reshape(len(ids), -1)
        after = rows[-1][0]


def removed_after(connection: sqlite3.Connection, number: int) -> list[tuple[int, int]]:
    """(number, id) of the entries that were removed after the removal ``number``."""
    rows = connection.execute(
        "SELECT number, id FROM removed WHERE number > ? ORDER BY number", [number]
    )
    return rows.fetchall()


def changes(connection: sqlite3.Connection, after: int) -> tuple[int, int, int]:
    """Number of entries, of those above the id ``after``, and the last removal's number."""
    row = connection.execute(
        "SELECT n_images, (SELECT count(*) FROM owner WHERE id > ?), "
        "(SELECT coalesce(max(number), 0) FROM removed) FROM state",
        [after],
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])


def share_of_zeros(connection: sqlite3.Connection) -> float:
    """Fraction of rows that ``compact`` would remove."""
    row = connection.execute("SELECT count(*) FROM content").fetchone()
    return 1 - counts(connection)[1] / row[0] if row[0] else 0.0


def compact(connection: sqlite3.Connection) -> None:
    """Rewrite the file without the rows that were overwritten.

    Deleting moves rows, so copies may exist until the file is written; "compacting" says
    so if that is interrupted.
    """
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE state SET compacting = 1")
    for table in ("content", "vector", "picture"):
        connection.execute(f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM owner)")
    connection.execute("DELETE FROM person WHERE id NOT IN (SELECT person FROM named)")
    connection.execute("COMMIT")
    connection.execute("VACUUM")
    connection.execute("UPDATE state SET compacting = 0")


def _has(connection: sqlite3.Connection, person: int, digest: bytes) -> bool:
    row = connection.execute(
        "SELECT 1 FROM owned JOIN content USING (id) "
        "WHERE person = ? AND hash = ? AND digest = ?",
        [person, _digest_hash(digest), digest],
    ).fetchone()
    return row is not None


def _ids_of(connection: sqlite3.Connection, person: int) -> list[int]:
    rows = connection.execute("SELECT id FROM owned WHERE person = ? ORDER BY id", [person])
    return [one for (one,) in rows.fetchall()]


def _remove(connection: sqlite3.Connection, person: int, one: int) -> None:
    """Overwrite an entry, and tell other processes that it is gone."""
    connection.execute("DELETE FROM owner WHERE id = ?", [one])
    (digest,) = connection.execute(
        "SELECT digest FROM content WHERE id = ?", [one]
    ).fetchone()
    connection.execute(
        "DELETE FROM owned WHERE person = ? AND hash = ? AND id = ?",
        [person, _digest_hash(digest), one],
    )
    for table in ("content", "vector", "picture"):
        connection.execute(f"UPDATE {table} SET {ZEROS[table]} WHERE id = ?", [one])
    connection.execute("INSERT INTO removed (id) VALUES (?)", [one])
    connection.execute("UPDATE state SET n_images = n_images - 1")


def _add_person(connection: sqlite3.Connection, identity: str) -> int:
    name = identity.encode()
    row = connection.execute("INSERT INTO person (name) VALUES (?)", [name])
    connection.execute("INSERT INTO named VALUES (?, ?)", [_name_hash(name), row.lastrowid])
    connection.execute("UPDATE state SET n_identities = n_identities + 1")
    return int(row.lastrowid or 0)


def _drop_person(connection: sqlite3.Connection, person: int, identity: str) -> None:
    key = [_name_hash(identity.encode()), person]
    connection.execute("DELETE FROM named WHERE hash = ? AND person = ?", key)
    connection.execute("UPDATE state SET n_identities = n_identities - 1")
    connection.execute(f"UPDATE person SET {ZEROS['person']} WHERE id = ?", [person])
    # No entry has the id 0: this says that a name has to be cleaned from the disk.
    connection.execute("INSERT INTO removed (id) VALUES (0)")


# Short enough that a hash which is left behind does not reveal a name or an image.
def _name_hash(name: bytes) -> int:
    return zlib.crc32(name) & 0xFFFF


def _digest_hash(digest: bytes) -> int:
    return zlib.crc32(digest) & 0xFF
