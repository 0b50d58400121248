"""The tables of a gallery's SQLite file, and what is written to and read from them.

SQLite can leave copies of a row behind when it moves rows between the pages of a table, and
overwrites only the row itself when that is deleted. So what people may want forgotten is in
tables that only grow: their rows never move, a forget overwrites them with zeros in place,
and ``compact`` gives the space back. Tables whose rows come and go hold numbers only.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from onelook.gallery.store import Entry, Floats, Hit, Ids, Stored

# "removed" tells other processes and the index which entries are gone. "state" has the size
# of the gallery, which every identify needs, the last removal that was cleaned from disk,
# and whether an interrupted compaction may have left copies of rows.
CHECKSUMS = """
CREATE TABLE checksum (
    id INTEGER PRIMARY KEY, vector INTEGER NOT NULL, name INTEGER NOT NULL,
    content INTEGER NOT NULL
);
"""
SCHEMA = (
    """
CREATE TABLE header (content TEXT NOT NULL);
CREATE TABLE setting (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL);
CREATE TABLE content (
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL, metadata BLOB NOT NULL
);
CREATE TABLE vector (id INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE picture (id INTEGER PRIMARY KEY, thumbnail BLOB, original BLOB);
"""
    + CHECKSUMS
    + """

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
)
ZEROS = {
    "person": "name = zeroblob(length(name))",
    "content": "digest = zeroblob(length(digest)), metadata = zeroblob(length(metadata))",
    "vector": "value = zeroblob(length(value))",
    "picture": "thumbnail = zeroblob(length(thumbnail)), "
    "original = zeroblob(length(original))",
    "checksum": "vector = 0, name = 0, content = 0",
}
OF_ENTRIES = ("content", "vector", "picture", "checksum")  # tables with a row of each
WHOLE = (
    "SELECT owner.id, person.name, value, digest, metadata, thumbnail, original, "
    "checksum.vector, checksum.name, checksum.content "
    "FROM owner LEFT JOIN person ON person.id = owner.person "
    "LEFT JOIN content ON content.id = owner.id LEFT JOIN vector ON vector.id = owner.id "
    "LEFT JOIN picture ON picture.id = owner.id "
    "LEFT JOIN checksum ON checksum.id = owner.id "
)


def insert(connection: sqlite3.Connection, entry: Entry, vector: Floats) -> bool:
    """Keep an entry unless its identity already has its digest; whether it is new."""
    run, digest = connection.execute, entry.digest.encode()
    who = entry.identity
    person = person_of(connection, who) or _add_person(connection, who)
    key = [person, _digest_hash(digest)]
    known = run(
        "SELECT 1 FROM owned JOIN content USING (id) "
        "WHERE person = ? AND hash = ? AND digest = ?",
        [*key, digest],
    )
    if known.fetchone():
        return False
    metadata = json.dumps(entry.metadata).encode()
    one = (
        run(
            "INSERT INTO content (digest, metadata) VALUES (?, ?)", [digest, metadata]
        ).lastrowid
        or 0
    )
    run("INSERT INTO vector VALUES (?, ?)", [one, vector.tobytes()])
    if entry.thumbnail is not None or entry.original is not None:
        run("INSERT INTO picture VALUES (?, ?, ?)", [one, entry.thumbnail, entry.original])
    run(
        "INSERT INTO checksum VALUES (?, ?, ?, ?)",
        [
            one,
            _sum(one, vector.tobytes()),
            _sum(one, who.encode()),
            _sum(one, digest, metadata, entry.thumbnail, entry.original),
        ],
    )
    run("INSERT INTO owner VALUES (?, ?)", [one, person])
    run("INSERT INTO owned VALUES (?, ?, ?)", [*key, one])
    run("UPDATE state SET n_images = n_images + 1")
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
    ids = _ids(connection, "SELECT id FROM owned WHERE person = ? ORDER BY id", person)
    _remove(connection, person, ids)
    _drop_person(connection, person, identity)
    return len(ids)


def rename(connection: sqlite3.Connection, identity: str, new: str) -> int:
    """Give all entries of an identity the name ``new``, and return their number."""
    old = person_of(connection, identity)
    if old is None:
        return 0
    n = len(_ids(connection, "SELECT id FROM owned WHERE person = ?", old))
    if new == identity:
        return n
    person = person_of(connection, new) or _add_person(connection, new)
    joined = _ids(
        connection,
        "SELECT owned.id FROM owned JOIN content USING (id) "
        "JOIN owned AS kept ON kept.person = ? AND kept.hash = owned.hash "
        "JOIN content AS same ON same.id = kept.id AND same.digest = content.digest "
        "WHERE owned.person = ? ORDER BY owned.id",
        person,
        old,
    )
    _remove(connection, old, joined)
    moved = _ids(connection, "SELECT id FROM owned WHERE person = ?", old)
    connection.executemany(
        "UPDATE checksum SET name = ? WHERE id = ?",
        [[_sum(one, new.encode()), one] for one in moved],
    )
    connection.execute(
        "UPDATE owner SET person = ? WHERE id IN (SELECT id FROM owned WHERE person = ?)",
        [person, old],
    )
    connection.execute("UPDATE owned SET person = ? WHERE person = ?", [person, old])
    _drop_person(connection, old, identity)
    return n


def identities(connection: sqlite3.Connection) -> dict[str, int]:
    """Number of entries of every identity, sorted by name."""
    rows = connection.execute(
        "SELECT name, n, hash FROM (SELECT person, count(*) AS n FROM owned GROUP BY 1) "
        "AS held JOIN person ON person.id = held.person "
        "JOIN named ON named.person = person.id ORDER BY name"
    )
    found = {}
    for name, n, known in rows:
        _check(name, _name_hash(name), known)
        found[name.decode()] = n
    if (len(found), sum(found.values())) != counts(connection):
        raise sqlite3.DatabaseError("names or entries are missing")
    return found


def counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """Numbers of identities and of entries."""
    n_identities, n_images = state(connection, "n_identities", "n_images")
    return n_identities, n_images


def state(connection: sqlite3.Connection, *names: str) -> list[int]:
    """Numbers of the table "state", by their names."""
    row = connection.execute(f"SELECT {', '.join(names)} FROM state").fetchone()
    found = [value for value in row or () if isinstance(value, int)]
    if len(found) != len(names):
        raise sqlite3.DatabaseError("the table state holds no numbers")
    return found


def check_tables(connection: sqlite3.Connection) -> None:
    """Refuse tables whose numbers do not agree: a changed bit in one does not escape.

    Entries have checksums of their own; these tables say whose they are, and how many.
    """
    for table in ("owner", "owned", "named"):
        found = connection.execute(f"PRAGMA quick_check({table})").fetchall()
        if found != [("ok",)]:
            why = found[0][0].splitlines()[-1]  # below a heading
            raise sqlite3.DatabaseError(f"the table {table}: {why}")
    of_entries, of_people = "count(*), total(id * 31 + person)", "count(*), total(person)"
    sums = [
        connection.execute(f"SELECT {terms} FROM {rows}").fetchone()
        for terms, rows in (
            (of_entries, "owner"),
            (of_entries, "owned"),
            (of_people, "named"),
            (of_people, "(SELECT DISTINCT person FROM owned)"),
        )
    ]
    counted = sums[2][0], sums[0][0]
    if sums[0] != sums[1] or sums[2] != sums[3] or counted != counts(connection):
        raise sqlite3.DatabaseError("names or entries are missing")


def latest(
    connection: sqlite3.Connection, identities: Sequence[str], most: int
) -> list[int]:
    """Ids of the latest ``most`` entries of each identity."""
    last = "SELECT id FROM owned WHERE person = ? ORDER BY id DESC LIMIT ?"
    people = [person_of(connection, identity) for identity in identities]
    same = "SELECT 1 FROM person WHERE name = ?"
    for identity, who in zip(identities, people, strict=True):
        if who is None and connection.execute(same, [identity.encode()]).fetchone():
            raise sqlite3.DatabaseError(f"{identity!r} is not found by its name")
    return [
        one
        for who in people
        if who is not None
        for one in _ids(connection, last, who, most)
    ]


def hits(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, Hit]:
    """The entries with these ids, without those that are gone."""
    rows = connection.execute(
        "SELECT owner.id, person.name, vector.value, checksum.vector, checksum.name "
        "FROM json_each(?) AS wanted "
        "JOIN owner ON owner.id = wanted.value "
        "LEFT JOIN person ON person.id = owner.person "
        "LEFT JOIN vector ON vector.id = owner.id "
        "LEFT JOIN checksum ON checksum.id = owner.id",
        [json.dumps(sorted(ids))],
    )
    found = {}
    for one, name, value, of_vector, of_name in rows.fetchall():
        _check(one, _sum(one, value), of_vector)
        _check(one, _sum(one, name), of_name)
        found[one] = Hit(one, name.decode(), np.frombuffer(value, np.float32))
    return found


def read(
    connection: sqlite3.Connection, identity: str | None, after: int, limit: int
) -> list[Stored]:
    """Up to ``limit`` whole entries with ids above ``after``, in the order of ids."""
    which, values = "owner.id > ?", list[int | None]([after])
    if identity is not None:
        which = "owner.id IN (SELECT id FROM owned WHERE person = ? AND id > ?)"
        values = [person_of(connection, identity), after]
    rows = connection.execute(f"{WHOLE} WHERE {which} ORDER BY 1 LIMIT ?", [*values, limit])
    return [_stored(*row) for row in rows.fetchall()]


def _stored(
    one: int,
    name: bytes,
    value: bytes,
    digest: bytes,
    metadata: bytes,
    thumbnail: bytes | None,
    original: bytes | None,
    *known: int | None,
) -> Stored:
    """The entry of a row of ``WHOLE``, whose checksums are ``known``."""
    _check(one, _sum(one, value), known[0])
    _check(one, _sum(one, name), known[1])
    _check(one, _sum(one, digest, metadata, thumbnail, original), known[2])
    vector, said = np.frombuffer(value, np.float32), json.loads(metadata)
    return Stored(name.decode(), vector, digest.decode(), said, thumbnail, original, one)


def add_checksums(connection: sqlite3.Connection) -> None:
    """Give a gallery of an older onelook its checksums; on a read-only disk it has none."""
    there = "SELECT 1 FROM sqlite_schema WHERE name = 'checksum'"
    if connection.execute(there).fetchone() is not None:
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
        connection.execute(CHECKSUMS.replace("TABLE", "TEMP TABLE"))
        return
    try:
        if connection.execute(there).fetchone() is None:
            connection.execute(CHECKSUMS)
            for one, name, value, *content in connection.execute(WHOLE).fetchall():
                sums = _sum(one, value), _sum(one, name), _sum(one, *content[:4])
                connection.execute("INSERT INTO checksum VALUES (?, ?, ?, ?)", [one, *sums])
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def vectors_after(
    connection: sqlite3.Connection, after: int, at_once: int
) -> Iterator[tuple[Ids, Floats]]:
    """Ids and vectors (N, D) above the id ``after``, in order, ``at_once`` at a time."""
    while rows := connection.execute(
        "SELECT owner.id, value, checksum.vector FROM owner "
        "LEFT JOIN vector ON vector.id = owner.id "
        "LEFT JOIN checksum ON checksum.id = owner.id "
        "WHERE owner.id > ? ORDER BY owner.id LIMIT ?",
        [after, at_once],
    ).fetchall():
        for one, value, known in rows:
            _check(one, _sum(one, value), known)
        ids = np.array([one for one, _, _ in rows], np.int64)
        values = np.frombuffer(b"".join([value or b"" for _, value, _ in rows]), np.float32)
        if len(values) % len(ids):
            raise sqlite3.DatabaseError("an embedding is missing")
        yield ids, values.reshape(len(ids), -1)
        after = rows[-1][0]


def settings(connection: sqlite3.Connection) -> dict[str, bytes]:
    """What is kept by name; an older gallery has no table of it."""
    there = "SELECT 1 FROM sqlite_schema WHERE name = 'setting'"
    if connection.execute(there).fetchone() is None:
        return {}
    return dict(connection.execute("SELECT name, value FROM setting").fetchall())


def keep(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    """Keep a value under a name, in place of an older one."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value BLOB NOT NULL)"
    )
    connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", [name, value])


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
    for table in OF_ENTRIES:
        connection.execute(f"DELETE FROM {table} WHERE id NOT IN (SELECT id FROM owner)")
    connection.execute("DELETE FROM person WHERE id NOT IN (SELECT person FROM named)")
    connection.execute("COMMIT")
    connection.execute("VACUUM")
    connection.execute("UPDATE state SET compacting = 0")


def _ids(connection: sqlite3.Connection, statement: str, *values: int) -> list[int]:
    return [one for (one,) in connection.execute(statement, values).fetchall()]


def _remove(connection: sqlite3.Connection, person: int, ids: list[int]) -> None:
    """Overwrite entries of a person, and tell other processes that they are gone."""
    gone, these = "(SELECT value FROM json_each(?))", json.dumps(ids)
    connection.execute(f"DELETE FROM owner WHERE id IN {gone}", [these])
    connection.execute(
        f"DELETE FROM owned WHERE person = ? AND id IN {gone}", [person, these]
    )
    for table in OF_ENTRIES:
        connection.execute(f"UPDATE {table} SET {ZEROS[table]} WHERE id IN {gone}", [these])
    connection.execute(f"INSERT INTO removed (id) {gone[1:-1]}", [these])
    connection.execute("UPDATE state SET n_images = n_images - ?", [len(ids)])


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


def _sum(number: int, *parts: bytes | None) -> int:
    """The checksum of parts of the entry with this number; no changed bit escapes it."""
    found = zlib.crc32(number.to_bytes(8, "little"))
    for part in parts:
        if isinstance(part, str):
            raise sqlite3.DatabaseError(f"the entry {number} holds text instead of bytes")
        found = zlib.crc32(part or b"", found)
    return found


def _check(what: object, found: int, known: int | None) -> None:
    """Refuse what was changed on the disk; an older onelook kept no checksum."""
    if known is not None and found != known:  # what is missing has the sum of nothing
        raise sqlite3.DatabaseError(f"the entry {what!r} is not what was written")


# Short enough that a hash which is left behind does not reveal a name or an image.
def _name_hash(name: bytes) -> int:
    return zlib.crc32(name) & 0xFFFF


def _digest_hash(digest: bytes) -> int:
    return zlib.crc32(digest) & 0xFF
