"""Graded pairs: how well scores follow grades, such as the relatedness of SICK."""

from dataclasses import asdict, dataclass
from typing import Any

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
from onelook.tables import Figures, Rows, aligned, html_table, to_frame

# The grades that the scores 0 and 1 stand for: exp(-distance) is trained so on SICK.
LOWEST, HIGHEST = 1.0, 5.0


@dataclass(frozen=True, eq=False, repr=False)
class GradedResult:
    """How scores follow the grades of N pairs.

    Args:
        protocol: Which pairs, and how scores become grades.
        model: Name of the scorer.
        n_pairs: Number of pairs, N.
        pearson, spearman: Correlations of scores and grades; nan for constant scores.
        mse: Mean squared error, in squared units of the grades.
        interval: 95% interval of ``pearson`` by Fisher's z, over pairs.
    """

    protocol: str
    model: str
    n_pairs: int
    pearson: float
    spearman: float
    mse: float
    interval: Interval

    def figures(self) -> Figures:
        """Names, values and 95% intervals of the figures."""
        return [
            ("pearson", self.pearson, self.interval),
            ("spearman", self.spearman, None),
            ("mse", self.mse, None),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"interval": list(self.interval)}

    def to_frame(self) -> Any:
        """The figures as a pandas DataFrame."""
        return to_frame(self.figures())

    def rows(self) -> Rows:
        """Names and texts for people."""
        low, high = self.interval
        return [
            ("pairs", f"{self.n_pairs:,}"),
            ("Pearson", f"{self.pearson:.4f}  95% {low:.4f} to {high:.4f}"),
            ("Spearman", f"{self.spearman:.4f}"),
            ("mean squared error", f"{self.mse:.4f}"),
        ]

    def __str__(self) -> str:
        return f"{self.model}: {self.protocol}\n{aligned(self.rows())}"

    def __repr__(self) -> str:
        return (
            f"<GradedResult of {self.model}: Pearson {self.pearson:.4f}, "
            f"{self.n_pairs:,} pairs>"
        )

    def _repr_html_(self) -> str:
        return html_table(f"{self.model}: {self.protocol}", self.rows())


def evaluate_graded(scorer: Scorer, pairs: Pairs, protocol: str = "") -> GradedResult:
    """Pearson, Spearman and mean squared error of graded pairs.

    Args:
        scorer: A Verifier or a baseline.
        pairs: Pairs with ``targets``; the error takes them as grades from 1 to 5.
        protocol: Name for the result; the pairs' source when empty.

    Raises:
        DataError: If the pairs have no targets.
    """
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
