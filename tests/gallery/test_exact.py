"""Exact search in memory: against a sort of all distances."""

import numpy as np
import pytest
from contract import vectors_of

from onelook.gallery.exact import Rows, distances, nearest


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
@pytest.mark.parametrize("n", [1, 7, 300, 3000])
def test_exact_search_equals_a_sort_of_all_distances(metric, n):
    vectors, queries = vectors_of(n, size=8), vectors_of(9, seed=1, size=8)
    vectors[n // 2] = 0  # has no direction
    rows = Rows(8)
    rows.rows_per_block = 256
    rows.append(np.arange(n) * 3, vectors)
    for query, (ids, measured) in zip(
        queries, nearest(rows.parts(), metric, queries, 5), strict=True
    ):
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
        np.testing.assert_allclose(measured, expected[order], atol=1e-7)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
def test_equal_vectors_stand_in_the_order_of_their_ids(metric):
    same = np.repeat(vectors_of(1, size=256), 1000, axis=0)
    rows = Rows(256)
    rows.rows_per_block = 333
    rows.append(np.arange(1000), same)
    ids, measured = nearest(rows.parts(), metric, vectors_of(1, seed=1, size=256), 20)[0]
    assert ids.tolist() == list(range(20)) and len(set(measured)) == 1


def test_far_from_the_origin_the_nearest_are_still_exact():
    """|a|^2 + |b|^2 - 2ab in float32 alone would order these by its rounding."""
    vectors = vectors_of(2000, size=64) * 0.01 + 100
    rows = Rows(64)
    rows.append(np.arange(2000), vectors)
    query = vectors[:1] + np.float32(0.001)
    ids, _ = nearest(rows.parts(), "euclidean", query, 10)[0]
    expected = np.argsort(distances("euclidean", vectors, query[0]), kind="stable")[:10]
    assert ids.tolist() == expected.tolist()


def test_rows_removed_and_added_leave_what_was_given_out_alone():
    rows = Rows(4)
    rows.rows_per_block = 5
    vectors = vectors_of(12, size=4)
    rows.append(np.arange(12), vectors)
    before = rows.parts()
    rows.remove([3, 7, 99])
    rows.append(np.array([12]), vectors[:1])
    assert [i for part in before for i in part.ids] == list(range(12))
    kept = [i for i in range(12) if i not in (3, 7)]
    assert [i for part in rows.parts() for i in part.ids] == [*kept, 12]
    np.testing.assert_array_equal(
        np.concatenate([part.vectors for part in rows.parts()]), vectors[[*kept, 0]]
    )
    assert len(rows) == 11
