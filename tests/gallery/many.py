"""A gallery of many identities, for the tests of the file store."""

import numpy as np
from contract import entries_of, vectors_of


def people(n, first=0, images=2):
    """``n`` identities with their vectors, and all their entries."""
    vectors = {f"p{i}": vectors_of(images, seed=i) for i in range(first, first + n)}
    return vectors, [e for name, rows in vectors.items() for e in entries_of(name, rows)]


def assert_finds(store, vectors):
    """Each identity's first image finds itself."""
    queries = np.stack([rows[0] for rows in vectors.values()])
    best = [hits[0] for hits in store.search(queries, 3)]
    assert [hit.identity for hit in best] == list(vectors)
    np.testing.assert_array_equal([hit.vector for hit in best], queries)
