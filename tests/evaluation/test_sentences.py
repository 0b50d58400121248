"""Graded pairs against scipy."""

import json

import numpy as np
import pytest
import scipy.stats
from table_scorer import TableScorer

from onelook.data.items import Pairs
from onelook.errors import DataError
from onelook.evaluation.sentences import evaluate_graded


def graded_pairs(n=60, seed=0):
    generator = np.random.default_rng(seed)
    table = {f"t{i}": generator.normal(size=2) for i in range(20)}
    left, right = generator.integers(0, 20, (2, n))
    targets = generator.uniform(1, 5, n).astype(np.float32)
    pairs = Pairs(
        tuple(f"t{i}" for i in left), tuple(f"t{i}" for i in right), targets=targets
    )
    scores = [
        -np.hypot(*(table[f"t{a}"] - table[f"t{b}"]))
        for a, b in zip(left, right, strict=True)
    ]
    return TableScorer(table), pairs, np.array(scores)


def test_figures_match_scipy():
    scorer, pairs, scores = graded_pairs()
    result = evaluate_graded(scorer, pairs)
    expected = scipy.stats.pearsonr(scores, pairs.targets)
    assert result.pearson == pytest.approx(expected.statistic)
    assert result.interval == pytest.approx(tuple(expected.confidence_interval()), rel=1e-5)
    assert result.spearman == pytest.approx(
        scipy.stats.spearmanr(scores, pairs.targets).statistic
    )
    assert result.mse == pytest.approx(np.mean((1 + 4 * scores - pairs.targets) ** 2))


def test_a_result_reads_and_becomes_json():
    scorer, pairs, _ = graded_pairs()
    result = evaluate_graded(scorer, pairs, "mine")
    assert json.loads(json.dumps(result.to_dict()))["n_pairs"] == 60
    assert str(result).startswith("table: mine\n  pairs               60\n  Pearson")
    assert repr(result).startswith("<GradedResult of table: pearson ")
    assert "<caption" in result._repr_html_() and "Spearman" in result._repr_html_()


def test_pairs_without_grades_are_refused():
    with pytest.raises(DataError, match="pairs: has no grades"):
        evaluate_graded(TableScorer({"a": [0.0]}), Pairs(("a",), ("a",)))
