"""Reading all that a gallery keeps, to find what is damaged."""

from collections.abc import Iterator

from onelook.errors import GalleryError
from onelook.gallery.place import read_place
from onelook.gallery.store import GalleryStore

BLOCK = 500  # entries that are read at once


def faults_of(store: GalleryStore) -> Iterator[str]:
    """What is wrong with a gallery that could be opened; nothing where it is whole.

    Its tables, and the index beside a file, are looked at whenever it is opened.
    """
    for read in (lambda: read_place(store), store.identities):
        try:
            read()
        except GalleryError as error:
            yield str(error)
    yield from _damaged_entries(store)


def _damaged_entries(store: GalleryStore) -> Iterator[str]:
    """Each entry that is not what was written, once."""
    after, at_once, last = 0, BLOCK, ""
    while True:
        try:
            found = store.read(None, after, at_once)
        except GalleryError as error:
            # The error names the next damaged entry; those before it are read one by one.
            if at_once > 1:
                at_once = 1
                continue
            if str(error) != last:
                yield (last := str(error))
            after += 1
            continue
        if not found:
            return
        after, at_once = found[-1].id, BLOCK
