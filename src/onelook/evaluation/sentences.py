"""Graded pairs: how well scores follow grades, such as the relatedness of SICK."""

from dataclasses import dataclass

import numpy as np

from onelook.data.items import Pairs
from onelook.errors import DataError
from onelook.evaluation.scorer import Scorer, score_pairs
from onelook.metrics import (
    Interval,
    mean_squared_error,
    pearson,
    pearson_interval,
    spearman,
)
from onelook.tables import Figures, Result, Rows

# The grades that the scores 0 and 1 stand for: exp(-distance) is trained so on SICK.
LOWEST, HIGHEST = 1.0, 5.0


@dataclass(frozen=True, eq=False, repr=False)
class GradedResult(Result):
    """How scores follow the grades of N pairs.

    The error is in squared units of the grades; correlations of constant scores are nan;
    the interval is that of ``pearson`` by Fisher's z, over pairs.
    """

    n_pairs: int
    pearson: float
    spearman: float
    mse: float
    interval: Interval

    def figures(self) -> Figures:
        return [
            ("pearson", self.pearson, self.interval),
            ("spearman", self.spearman, None),
            ("mse", self.mse, None),
        ]

    def rows(self) -> Rows:
        low, high = self.interval
        return [
            ("pairs", f"{self.n_pairs:,}"),
            ("Pearson", f"{self.pearson:.4f}  95% {low:.4f} to {high:.4f}"),
            ("Spearman", f"{self.spearman:.4f}"),
            ("mean squared error", f"{self.mse:.4f}"),
        ]


def evaluate_graded(scorer: Scorer, pairs: Pairs, protocol: str = "") -> GradedResult:
    """Pearson, Spearman and mean squared error of pairs graded from 1 to 5."""
    if pairs.targets is None:
        raise DataError(f"{pairs.source or 'pairs'}: has no grades (targets) to follow")
    targets = pairs.targets.astype(np.float64)
    scores = score_pairs(scorer, pairs.left, pairs.right)
    correlation = pearson(scores, targets)
    return GradedResult(
        protocol=protocol or f"graded pairs of {pairs.source or 'a list'}",
        model=scorer.name,
        n_pairs=len(pairs),
        pearson=correlation,
        spearman=spearman(scores, targets),
        mse=mean_squared_error(LOWEST + (HIGHEST - LOWEST) * scores, targets),
        interval=pearson_interval(correlation, len(pairs)),
    )
