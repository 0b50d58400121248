"""Verification: do two items show the same thing? Intervals are from resampled classes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.items import Dataset, Pairs
from onelook.errors import DataError
from onelook.evaluation.pairing import folder_classes, sample_pairs
from onelook.evaluation.scorer import Scorer, embed_both, score_pairs, score_rows
from onelook.metrics import (
    Interval,
    RocCurve,
    accuracy_at,
    best_threshold,
    bootstrap_interval,
    check_far,
    mean_interval,
    roc_curve,
    standard_error,
)
from onelook.tables import Figures, Result, Rows

Indices = NDArray[np.int64]

FARS = (0.1, 0.01, 0.001, 0.0001)
SEED = 0  # of a sample of pairs and of the bootstrap over classes


@dataclass(frozen=True, eq=False, repr=False)
class VerificationResult(Result):
    """What a verification protocol measured. Every rate is a fraction.

    In a protocol of folds, figures and threshold are means over the folds. ``accuracy`` is
    None if no other pairs chose a ``threshold``, a TAR if there are too few different
    pairs; ``refused`` says why. ``seed`` is that of the drawn pairs and of the bootstrap.
    """

    scores: NDArray[np.float64]
    is_same: NDArray[np.bool_]
    n_classes: int | None
    auc: float
    eer: float
    accuracy: float | None
    threshold: float | None
    tar_at_far: dict[float, float | None]
    refused: dict[str, str]
    intervals: dict[str, Interval]
    seed: int
    per_fold: dict[str, Sequence[float]] = field(default_factory=dict)

    @property
    def n_pairs(self) -> int:
        return len(self.scores)

    @property
    def n_same(self) -> int:
        return int(self.is_same.sum())

    @property
    def standard_errors(self) -> dict[str, float]:
        """Standard errors of the rates over the folds."""
        rates = {name: of for name, of in self.per_fold.items() if name != "threshold"}
        return {name: standard_error(of_folds) for name, of_folds in rates.items()}

    def figures(self) -> Figures:
        values = {"auc": self.auc, "eer": self.eer, "accuracy": self.accuracy}
        values |= {_tar_name(far): tar for far, tar in self.tar_at_far.items()}
        return [
            (name, value, self.intervals.get(name))
            for name, value in values.items()
            if value is not None
        ]

    def to_dict(self) -> dict[str, Any]:
        names = [one.name for one in fields(self) if one.name not in ("scores", "is_same")]
        return {name: getattr(self, name) for name in names} | {
            "n_pairs": self.n_pairs,
            "n_same": self.n_same,
            "tar_at_far": {f"{far:g}": tar for far, tar in self.tar_at_far.items()},
            "standard_errors": self.standard_errors,
        }

    def rows(self) -> Rows:
        classes = "" if self.n_classes is None else f" of {self.n_classes} classes"
        counts = f"{self.n_pairs:,}{classes}, {self.n_same:,} same; seed {self.seed}"
        titles = {"auc": "AUC", "eer": "EER", "accuracy": "accuracy"}
        titles |= {_tar_name(far): f"TAR at FAR {far:g}" for far in self.tar_at_far}
        measured = {name: value for name, value, _ in self.figures()}
        rows = [("pairs", counts)]
        for name, title in titles.items():
            missing = f"-       {self.refused.get(name, '')}"
            text = self._text(name, measured[name]) if name in measured else missing
            rows.append((title, text))
        if "intervals" in self.refused:
            rows.append(("no intervals", self.refused["intervals"]))
        return rows

    def _text(self, name: str, value: float) -> str:
        text = f"{value:.4f}"
        if name in self.standard_errors:
            text += f" ± {self.standard_errors[name]:.4f} (standard error)"
        if name in self.intervals:
            low, high = self.intervals[name]
            text += f"  95% {low:.4f} to {high:.4f}"
        return text + (f"  at threshold {self.threshold:.4f}" if name == "accuracy" else "")


def verify_pairs(
    scorer: Scorer,
    pairs: Pairs,
    protocol: str = "",
    *,
    threshold: float | Pairs | None = None,
) -> VerificationResult:
    """Verification on a list of pairs, whose files may lie in folders of their classes.

    ``threshold`` is a score, or other pairs, on which the most accurate one is chosen.
    """
    is_same = _labels_of(pairs)
    protocol = protocol or f"pairs of {pairs.source or 'a list'}"
    if isinstance(threshold, Pairs):
        protocol += f"; threshold chosen on {len(threshold):,} other pairs"
        others = score_pairs(scorer, threshold.left, threshold.right)
        threshold = best_threshold(others, _labels_of(threshold))
    return _measure(
        protocol,
        scorer.name,
        score_pairs(scorer, pairs.left, pairs.right),
        is_same,
        folder_classes(pairs),
        threshold=threshold,
    )


def verify_all_pairs(
    scorer: Scorer,
    dataset: Dataset,
    protocol: str = "",
    *,
    max_pairs: int | None = 200_000,
    threshold: float | None = None,
) -> VerificationResult:
    """Verification on all pairs of a data set, or on a balanced sample of ``max_pairs``."""
    left, right = sample_pairs(dataset.labels, max_pairs, SEED)
    total = len(dataset) * (len(dataset) - 1) // 2
    what = "all pairs" if len(left) == total else f"{len(left):,} random pairs"
    left_embeddings, right_embeddings = embed_both(scorer, dataset.paths)
    labels = dataset.labels
    return _measure(
        protocol or f"{what} of {dataset.name}",
        scorer.name,
        score_rows(scorer, left_embeddings, right_embeddings, left, right),
        labels[left] == labels[right],
        (labels[left], labels[right]),
        threshold=threshold,
    )


def score_folds(
    pairs: Pairs,
    scores: NDArray[np.float64],
    threshold_of: Callable[[int], float] | None = None,
    *,
    protocol: str,
    model: str,
) -> VerificationResult:
    """LFW's protocol: each fold is scored at a threshold that was chosen without it.

    Accuracy, AUC and EER are means over the folds, with standard errors and intervals. A
    fold's threshold is by default the most accurate one on the pairs of all other folds.
    """
    is_same = _labels_of(pairs)
    folds = sorted(set(pairs.folds.tolist()) - {0}) if pairs.folds is not None else []
    if len(folds) < 2 or pairs.folds is None:
        name = pairs.source or "pairs"
        raise DataError(f"{name}: needs at least 2 folds, got {len(folds)}")
    per_fold: dict[str, list[float]] = {
        name: [] for name in ("accuracy", "auc", "eer", "threshold")
    }
    for fold in folds:
        inside, others = pairs.folds == fold, ~np.isin(pairs.folds, [fold, 0])
        threshold = (
            best_threshold(scores[others], is_same[others])
            if threshold_of is None
            else threshold_of(fold)
        )
        curve = roc_curve(scores[inside], is_same[inside])
        accuracy = accuracy_at(scores[inside], is_same[inside], threshold)
        found = (accuracy, curve.auc, curve.eer, threshold)
        for values, value in zip(per_fold.values(), found, strict=True):
            values.append(value)
    kept = pairs.folds > 0
    return mean_over_folds(
        protocol,
        model,
        per_fold,
        scores=scores[kept],
        is_same=is_same[kept],
        n_classes=_n_classes(folder_classes(pairs)),
    )


def _labels_of(pairs: Pairs) -> NDArray[np.bool_]:
    if pairs.is_same is None:
        raise DataError(
            f"{pairs.source or 'pairs'}: does not say which pairs are the same; "
            "graded pairs are measured by correlation"
        )
    return pairs.is_same


def _tar_name(far: float) -> str:
    return f"tar_at_far_{far:g}"


def _n_classes(classes: tuple[Any, Any] | None) -> int | None:
    return None if classes is None else len(np.unique(np.concatenate(classes)))


def _measure(
    protocol: str,
    model: str,
    scores: NDArray[np.float64],
    is_same: NDArray[np.bool_],
    classes: tuple[Sequence[Any], Sequence[Any]] | tuple[Indices, Indices] | None,
    *,
    threshold: float | None,
) -> VerificationResult:
    """All figures of one set of scored pairs."""
    supported, refused = [], {}
    for far in FARS:
        try:
            check_far(far, int((~is_same).sum()))
            supported.append(far)
        except ValueError as error:
            refused[_tar_name(far)] = str(error)
    share_same = float(is_same.mean())

    def figures(curve: RocCurve) -> dict[str, float]:
        rates = {"auc": curve.auc, "eer": curve.eer}
        if threshold is not None:
            far, frr = curve.errors_at(threshold)
            rates["accuracy"] = share_same * (1 - frr) + (1 - share_same) * (1 - far)
        return rates | {_tar_name(far): curve.tar_at(far) for far in supported}

    measured, intervals = figures(roc_curve(scores, is_same)), {}
    if threshold is None:
        refused["accuracy"] = "needs a threshold chosen on other pairs"
    if classes is None:
        refused["intervals"] = "the classes of the pairs are not known"
    else:
        try:
            found = bootstrap_interval(
                lambda curve: list(figures(curve).values()),
                *(scores, is_same, *classes),
                seed=SEED,
            )
            intervals = dict(zip(measured, found, strict=True))
        except ValueError as error:
            refused["intervals"] = str(error)
    return VerificationResult(
        protocol=protocol,
        model=model,
        scores=scores,
        is_same=is_same,
        n_classes=_n_classes(classes),
        auc=measured["auc"],
        eer=measured["eer"],
        accuracy=measured.get("accuracy"),
        threshold=threshold,
        tar_at_far={far: measured.get(_tar_name(far)) for far in FARS},
        refused=refused,
        intervals=intervals,
        seed=SEED,
    )


def mean_over_folds(
    protocol: str,
    model: str,
    per_fold: Mapping[str, Sequence[float]],
    *,
    scores: NDArray[np.float64],
    is_same: NDArray[np.bool_],
    n_classes: int | None,
) -> VerificationResult:
    """Means, standard errors and Student's t intervals of figures over folds.

    ``per_fold`` has the values of "auc", "eer" and perhaps "accuracy" and "threshold".
    """
    rates = [name for name in per_fold if name != "threshold"]
    means = {name: float(np.mean(values)) for name, values in per_fold.items()}
    return VerificationResult(
        protocol=protocol,
        model=model,
        scores=scores,
        is_same=is_same,
        n_classes=n_classes,
        auc=means["auc"],
        eer=means["eer"],
        accuracy=means.get("accuracy"),
        threshold=means.get("threshold"),
        tar_at_far={},
        refused={} if "accuracy" in means else {"accuracy": "not part of this protocol"},
        intervals={name: mean_interval(per_fold[name], student=True) for name in rates},
        seed=SEED,
        per_fold=dict(per_fold),
    )
