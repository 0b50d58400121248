"""kill -9 in the middle of enrolling, renaming, forgetting and making an index.

ONELOOK_KILLS=100 pytest tests/gallery/test_kills.py   # the whole count
"""

import os
import sqlite3
import time

import numpy as np
import pytest
from contract import HEADER, start_child, vectors_of

from onelook.gallery.store import read_all
from onelook.gallery.stores import create_store, open_store

KILLS = int(os.environ.get("ONELOOK_KILLS", "10"))
BATCH = 3


def expected_of(name, lines):
    """What must be there and what may be, as identities with their batches.

    Args:
        name: Of the child.
        lines: What it acknowledged; the act after the last may have happened too.
    """
    must, last = {}, -1
    for line in lines:
        what, last = line.split()[0], int(line.split()[1])
        must.pop(f"{name} {last}", None)
        if what != "forgot":
            must[f"{name} {last}" + (" renamed" if what == "renamed" else "")] = last
    if f"{name} {last}" in must and last % 3:  # a rename or a forget was on its way
        del must[f"{name} {last}"]
        return must, {f"{name} {last}": last, f"{name} {last} renamed": last}
    return must, {f"{name} {last + 1}": last + 1}


def check_whole(store, name, lines):
    """Nothing acknowledged is lost, nothing is half there."""
    must, may = expected_of(name, lines)
    mine = {who: n for who, n in store.identities().items() if who.startswith(f"{name} ")}
    assert set(mine.values()) <= {BATCH}
    assert set(must) <= set(mine) <= set(must | may)
    for identity in mine:
        batch = (must | may)[identity]
        entries = store.read(identity)
        vectors = vectors_of(BATCH, seed=batch)
        np.testing.assert_array_equal([entry.vector for entry in entries], vectors)
        first_name = f"{name} {batch}"
        assert [entry.digest for entry in entries] == [
            f"{first_name}-{i}" for i in range(BATCH)
        ]
        assert [entry.thumbnail for entry in entries] == [
            f"picture {first_name} {i} ".encode() * 20 for i in range(BATCH)
        ]


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_and_nothing_half_there(tmp_path):
    path = tmp_path / "gallery.db"
    create_store(path, HEADER).close()
    rng = np.random.default_rng(0)
    n_acts, forgotten = 0, set()
    for kill in range(KILLS):
        child = start_child("rough", path, f"k{kill}", 100_000)
        assert child.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.4))
        child.kill()
        # A last line may have been cut off.
        lines = child.communicate()[0].split("\n")[:-1]
        store = open_store(path)
        check_whole(store, f"k{kill}", lines)
        n_acts += len(lines)
        forgotten |= {
            f"k{kill} {line.split()[1]}" for line in lines if line.startswith("forgot")
        }
        store.close()
    store = open_store(path)
    ids = [entry.id for entry in read_all(store)]
    assert ids == sorted(set(ids)) and len(ids) == sum(store.identities().values())
    hits = store.search(vectors_of(1), len(ids) + 10)[0]
    assert sorted(hit.id for hit in hits) == ids
    store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    connection.close()
    disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert not [who for who in forgotten if f"picture {who} 0 ".encode() in disk]
    print(f"{KILLS} kills, {n_acts} acts acknowledged, {len(forgotten)} forgets")
    assert n_acts > KILLS
