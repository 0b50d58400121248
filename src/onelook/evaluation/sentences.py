"""Sentences: how well scores follow graded pairs, such as the relatedness of SICK."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True, eq=False)
class GradedResult:
    """How scores follow the grades of N pairs.

    Args:
        protocol: Which pairs, and how scores become grades.
        model: Name of the scorer.
        n_pairs: N.
        pearson, spearman: Correlation of scores and grades; nan for constant scores.
        mse: Mean squared error in squared units of the grades.
        interval: 95 % interval of ``pearson`` by Fisher's z, over pairs.
        scores, targets: (N,) for plots; not part of ``to_dict``.
    """

    protocol: str
    model: str
    n_pairs: int
    pearson: float
    spearman: float
    mse: float
    interval: Interval
    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), repr=False)
    targets: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the arrays."""
        values = asdict(self)
        del values["scores"], values["targets"]
        return values | {"interval": list(self.interval)}

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"{self.model}: {self.protocol}\n"
            f"  {self.n_pairs:,} pairs\n"
            f"  {'Pearson':<20} {self.pearson:.4f}  95 % {low:.4f} to {high:.4f}\n"
            f"  {'Spearman':<20} {self.spearman:.4f}\n"
            f"  {'mean squared error':<20} {self.mse:.4f}"
        )


def evaluate_graded(
    scorer: Scorer,
    pairs: Pairs,
    protocol: str = "",
    *,
    grades: tuple[float, float] = (1.0, 5.0),
    fit_pairs: Pairs | None = None,
) -> GradedResult:
    """Pearson, Spearman and mean squared error of graded pairs.

    Args:
        scorer: A Verifier or a baseline.
        pairs: Pairs with ``targets``.
        protocol: What to call it; the pairs' source when empty.
        grades: The grades that the scores 0 and 1 stand for: exp(-distance) is trained so.
            Only the mean squared error depends on it.
        fit_pairs: Other pairs, on which the straight line from score to grade is fitted
            instead; for scores that do not lie in [0, 1].

    Raises:
        DataError: If the pairs have no targets.
    """
    targets = _targets_of(pairs)
    scores = score_pairs(scorer, pairs.left, pairs.right)
    protocol = protocol or f"graded pairs of {pairs.source or 'a list'}"
    slope, intercept = grades[1] - grades[0], grades[0]
    if fit_pairs is not None:
        other_scores = score_pairs(scorer, fit_pairs.left, fit_pairs.right)
        slope, intercept = np.polyfit(other_scores, _targets_of(fit_pairs), 1)
        protocol += f"; line from score to grade fitted on {len(fit_pairs):,} other pairs"
    correlation = pearson(scores, targets)
    return GradedResult(
        protocol=protocol,
        model=scorer.name,
        n_pairs=len(pairs),
        pearson=correlation,
        spearman=spearman(scores, targets),
        mse=mean_squared_error(slope * scores + intercept, targets),
        interval=pearson_interval(correlation, len(pairs)),
        scores=scores,
        targets=targets,
    )


def _targets_of(pairs: Pairs) -> NDArray[np.float64]:
    if pairs.targets is None:
        raise DataError(f"{pairs.source or 'pairs'}: has no grades (targets) to follow")
    return pairs.targets.astype(np.float64)
