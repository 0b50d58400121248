"""What other processes do to a gallery in tests; a printed line is an acknowledged act."""

import sys

from contract import entries_of, vectors_of

from onelook.gallery.store import GalleryStore
from onelook.gallery.stores import open_store

BATCH = 3


def enroll(store: GalleryStore, name: str, n: int) -> None:
    """Enroll ``n`` batches; print the number of each once it is acknowledged."""
    print("ready", flush=True)
    for batch in range(n):
        identity = f"{name} {batch}"
        store.enroll(entries_of(identity, vectors_of(BATCH, seed=batch)))
        print(batch, flush=True)


def churn(store: GalleryStore, name: str, n: int) -> None:
    """Enroll, rename and forget, so that a kill can fall into any of them."""
    print("ready", flush=True)
    for batch in range(n):
        identity = f"{name} {batch}"
        store.enroll(entries_of(identity, vectors_of(BATCH, seed=batch)))
        print("enrolled", batch, flush=True)
        if batch % 3 == 1:
            store.rename(identity, f"{identity} renamed")
            print("renamed", batch, flush=True)
        if batch % 3 == 2:
            store.forget(identity)
            print("forgot", batch, flush=True)
        store.search(vectors_of(1), 1)


def rough(store: GalleryStore, name: str, n: int) -> None:
    """``churn``, while an index is built again and again."""
    from onelook.gallery import sqlite

    sqlite.INDEX_FROM, sqlite.NEWER_AT_MOST = 30, 12
    store.search(vectors_of(1), 1)
    churn(store, name, n)


def search(store: GalleryStore, n: int) -> None:
    """Search until there are ``n`` entries; print their number each time."""
    query = vectors_of(1, seed=0)
    found = -1
    print("ready", flush=True)
    while found < n:
        hits = store.search(query, n)[0]
        assert len({hit.id for hit in hits}) == len(hits)
        if len(hits) != found:
            found = len(hits)
            print(found, flush=True)


def main() -> None:
    verb, url, *arguments = sys.argv[1:]
    store = open_store(url)
    if verb == "search":
        search(store, int(arguments[0]))
    else:
        {"enroll": enroll, "churn": churn, "rough": rough}[verb](
            store, arguments[0], int(arguments[1])
        )
    store.close()


if __name__ == "__main__":
    main()
