"""Exact search in memory: against a sort of all distances."""

import numpy as np
import pytest
from contract import vectors_of

from onelook.gallery.exact import Rows, distances, nearest, nearest_hits
from onelook.gallery.store import Hit


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
@pytest.mark.parametrize("n", [1, 7, 300, 3000])
def test_exact_search_equals_a_sort_of_all_distances(metric, n):
    vectors, queries = vectors_of(n, size=8), vectors_of(9, seed=1, size=8)
    vectors[n // 2] = 0  # has no direction
    rows = Rows(8)
    rows.append(np.arange(n) * 3, vectors)
    for query, ids in zip(queries, nearest(rows.now(), metric, queries, 5), strict=True):
        difference = vectors.astype(float) - query
        lengths = np.linalg.norm(vectors.astype(float), axis=1)
        cosines = vectors.astype(float) @ query / np.linalg.norm(query.astype(float))
        expected = {
            "cosine": 1 - cosines / np.where(lengths == 0, 1, lengths),
            "euclidean": (difference**2).sum(1),
            "manhattan": np.abs(difference).sum(1),
        }[metric]
        order = np.argsort(expected, kind="stable")[:5]
        assert ids.tolist() == (order * 3).tolist()
        np.testing.assert_allclose(distances(metric, vectors, query), expected, atol=1e-7)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
def test_equal_vectors_stand_in_the_order_of_their_ids(metric):
    same = np.repeat(vectors_of(1, size=256), 1000, axis=0)
    rows = Rows(256)
    rows.append(np.arange(1000), same)
    [query] = queries = vectors_of(1, seed=1, size=256)
    (ids,) = nearest(rows.now(), metric, queries, 20)
    assert ids.tolist() == list(range(20)) and len(set(distances(metric, same, query))) == 1


def test_far_from_the_origin_the_nearest_are_still_exact():
    """|a|^2 + |b|^2 - 2ab in float32 alone would order these by its rounding."""
    vectors = vectors_of(2000, size=64) * 0.01 + 100
    rows = Rows(64)
    rows.append(np.arange(2000), vectors)
    query = vectors[:1] + np.float32(0.001)
    (ids,) = nearest(rows.now(), "euclidean", query, 10)
    expected = np.argsort(distances("euclidean", vectors, query[0]), kind="stable")[:10]
    assert ids.tolist() == expected.tolist()


def test_rows_removed_and_added_leave_what_was_given_out_alone():
    rows = Rows(4)
    vectors = vectors_of(12, size=4)
    rows.append(np.arange(12), vectors)
    before = rows.now()
    rows.remove([3, 7, 99])
    rows.append(np.array([12]), vectors[:1])
    assert before.ids.tolist() == list(range(12))
    np.testing.assert_array_equal(before.vectors, vectors)
    kept = [i for i in range(12) if i not in (3, 7)]
    assert rows.now().ids.tolist() == [*kept, 12]
    np.testing.assert_array_equal(rows.now().vectors, vectors[[*kept, 0]])
    assert len(rows) == 11


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
def test_the_nearest_hits_match_a_plain_loop(metric):
    hits = [Hit(i, f"p{i % 10}", vector) for i, vector in enumerate(vectors_of(50, size=8))]
    (query,) = vectors_of(1, seed=1, size=8)
    expected = sorted(hits, key=lambda hit: by_hand(hit.vector, query, metric))
    assert nearest_hits(hits, metric, query, 7) == expected[:7]
    assert nearest_hits([], metric, query, 3) == []


def by_hand(a, b, metric):
    pairs = [(float(x), float(y)) for x, y in zip(a, b, strict=True)]
    if metric == "manhattan":
        return sum(abs(x - y) for x, y in pairs)
    if metric == "euclidean":
        return sum((x - y) ** 2 for x, y in pairs)
    return -sum(x * y for x, y in pairs) / sum(x * x for x, _ in pairs) ** 0.5
