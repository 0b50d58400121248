"""Calling scorers: each address is embedded once, memory stays bounded."""

import numpy as np
from table_scorer import TableScorer

from onelook.evaluation import scorer as module
from onelook.evaluation.scorer import score_pairs, score_rows

TABLE = {"a": [0.0], "b": [1.0], "c": [3.0]}


def test_a_shared_scorer_embeds_each_address_once():
    scorer = TableScorer(TABLE)
    scores = score_pairs(scorer, ["a", "b", "a"], ["b", "c", "c"])
    np.testing.assert_allclose(scores, [-1, -2, -3])
    assert sorted(scorer.embedded) == [("a", "left"), ("b", "left"), ("c", "left")]


def test_two_encoders_embed_each_side_with_their_own():
    scorer = TableScorer(TABLE, shared=False)
    np.testing.assert_allclose(score_pairs(scorer, ["a", "a"], ["b", "a"]), [-1, 0])
    assert sorted(scorer.embedded) == [("a", "left"), ("a", "right"), ("b", "right")]


def test_pieces_give_the_scores_of_the_whole(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    scorer, generator = TableScorer(TABLE), np.random.default_rng(0)
    points = generator.normal(size=(30, 4))
    left, right = generator.integers(0, 30, (2, 1000))
    np.testing.assert_allclose(
        score_rows(scorer, points, points, left, right),
        [
            -np.sqrt(((points[a] - points[b]) ** 2).sum())
            for a, b in zip(left, right, strict=True)
        ],
    )
