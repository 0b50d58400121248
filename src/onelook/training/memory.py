"""Memory that a training step frees is kept for the next step."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's numbers of these parameters, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_BLOCK = 1 << 30  # larger ones are mapped and given back each time
OLDER_LARGEST_BLOCK = 1 << 25  # the most that older ones of glibc take
LARGEST_INT = (1 << 31) - 1


@contextmanager
def memory_kept() -> Iterator[None]:
    """While this lasts, freed memory stays with the process; afterwards it is given back.

    By default glibc returns large blocks at once, and every step pays for thousands of page
    faults: a tenth of a step of the compact network on two cores.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    if not libc.mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK):
        libc.mallopt(M_MMAP_THRESHOLD, OLDER_LARGEST_BLOCK)
    libc.mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
    try:
        yield
    finally:
        # What glibc grows to by itself; its defaults cannot be asked for.
        libc.mallopt(M_MMAP_THRESHOLD, OLDER_LARGEST_BLOCK)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * OLDER_LARGEST_BLOCK)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
