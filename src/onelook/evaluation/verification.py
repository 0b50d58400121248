"""Verification: do two items show the same thing? Intervals are over classes."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from onelook.data.items import Dataset, Pairs
from onelook.errors import DataError
from onelook.evaluation.pairing import folder_classes, sample_pairs, whole_classes
from onelook.evaluation.scorer import (
    ScoreMatrix,
    Scorer,
    embed_both,
    score_pairs,
    score_rows,
)
from onelook.metrics import (
    Interval,
    RocCurve,
    accuracy_at,
    auc_of,
    best_threshold,
    bootstrap_interval,
    check_far,
    eer_of,
    mean_interval,
    roc_curve,
    standard_error,
    tar_of,
    to_numpy,
)

Indices = NDArray[np.int64]

FARS = (0.1, 0.01, 0.001, 0.0001)


@dataclass(frozen=True, eq=False)
class VerificationResult:
    """What a verification protocol measured. Every rate is a fraction.

    Args:
        protocol: Which pairs, and where the threshold comes from.
        model: Name of the scorer.
        n_pairs, n_same: Pairs scored, and those that are the same.
        n_classes: Classes that the pairs are made of; ``None`` where that is not known.
        auc, eer: Of all pairs; in a protocol of folds the mean over the folds.
        accuracy: At ``threshold``; ``None`` where no threshold was chosen on other pairs.
        threshold: A score; in a protocol of folds the mean of the folds' thresholds.
        tar_at_far: TAR at each FAR, or ``None`` where there are too few different pairs.
        refused: Figure to the reason why it is missing.
        intervals: Figure to its 95 % interval.
        standard_errors: Figure to its standard error over the folds.
        per_fold: Figure to its value in each fold.
        seed: Of the pairs drawn and of the bootstrap.
        scores, is_same: (n_pairs,) for plots; ``left`` and ``right`` their addresses. They
        are
            not part of ``to_dict``.
    """

    protocol: str
    model: str
    n_pairs: int
    n_same: int
    n_classes: int | None
    auc: float
    eer: float
    accuracy: float | None
    threshold: float | None
    tar_at_far: dict[float, float | None]
    refused: dict[str, str]
    intervals: dict[str, Interval]
    seed: int
    standard_errors: dict[str, float] = field(default_factory=dict)
    per_fold: dict[str, tuple[float, ...]] = field(default_factory=dict)
    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), repr=False)
    is_same: NDArray[np.bool_] = field(
        default_factory=lambda: np.empty(0, bool), repr=False
    )
    left: tuple[str, ...] = field(default=(), repr=False)
    right: tuple[str, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the arrays."""
        values = asdict(self)
        for name in ("scores", "is_same", "left", "right"):
            del values[name]
        values["tar_at_far"] = {f"{far:g}": tar for far, tar in self.tar_at_far.items()}
        values["intervals"] = {name: list(pair) for name, pair in self.intervals.items()}
        values["per_fold"] = {name: list(rates) for name, rates in self.per_fold.items()}
        return values

    def __str__(self) -> str:
        classes = "" if self.n_classes is None else f" of {self.n_classes} classes"
        lines = [
            f"{self.model}: {self.protocol}",
            f"  {self.n_pairs:,} pairs{classes}, {self.n_same:,} same; seed {self.seed}",
        ]
        rows: list[tuple[str, str, float | None]] = [
            ("auc", "AUC", self.auc),
            ("eer", "EER", self.eer),
            ("accuracy", "accuracy", self.accuracy),
        ]
        rows += [(_tar_name(f), f"TAR at FAR {f:g}", t) for f, t in self.tar_at_far.items()]
        lines += [self._line(*row) for row in rows]
        if "intervals" in self.refused:
            lines.append(f"  no intervals: {self.refused['intervals']}")
        return "\n".join(lines)

    def _line(self, name: str, title: str, value: float | None) -> str:
        if value is None:
            return f"  {title:<20} -       {self.refused[name]}"
        line = f"  {title:<20} {value:.4f}"
        if name in self.standard_errors:
            line += f" ± {self.standard_errors[name]:.4f} (standard error)"
        if name in self.intervals:
            low, high = self.intervals[name]
            line += f"  95 % {low:.4f} to {high:.4f}"
        if name == "accuracy":
            line += f"  at threshold {self.threshold:.4f}"
        return line


def verify_pairs(
    scorer: Scorer,
    pairs: Pairs,
    protocol: str = "",
    *,
    threshold: float | None = None,
    threshold_pairs: Pairs | None = None,
    classes: tuple[Sequence[Any], Sequence[Any]] | None = None,
    fars: Sequence[float] = FARS,
    seed: int = 0,
    n_resamples: int = 400,
) -> VerificationResult:
    """Verification on a list of pairs.

    Args:
        scorer: A Verifier or a baseline.
        pairs: Pairs with ``is_same``.
        protocol: What to call it; the pairs' source when empty.
        threshold: Chosen before, for the accuracy.
        threshold_pairs: Other pairs, on which the threshold of the best accuracy is chosen.
        classes: Class of every left and of every right side. When ``None``, the folder of
            each file is its class, provided that this agrees with every ``is_same``.
        fars: False-accept rates at which to report the TAR.
        seed: Of the bootstrap.
        n_resamples: Of the bootstrap over classes; 0 gives no intervals.

    Raises:
        DataError: If the pairs do not say which are the same.
        ValueError: If ``threshold`` and ``threshold_pairs`` are both given.
    """
    if threshold is not None and threshold_pairs is not None:
        raise ValueError("give threshold or threshold_pairs, not both")
    is_same = _labels_of(pairs)
    protocol = protocol or f"pairs of {pairs.source or 'a list'}"
    if threshold_pairs is not None:
        other_scores = score_pairs(scorer, threshold_pairs.left, threshold_pairs.right)
        threshold = best_threshold(other_scores, _labels_of(threshold_pairs))
        protocol += f"; threshold chosen on {len(threshold_pairs):,} other pairs"
    return _measure(
        protocol,
        scorer.name,
        score_pairs(scorer, pairs.left, pairs.right),
        is_same,
        classes if classes is not None else folder_classes(pairs),
        threshold=threshold,
        fars=fars,
        seed=seed,
        n_resamples=n_resamples,
        left=pairs.left,
        right=pairs.right,
    )


def verify_all_pairs(
    scorer: Scorer,
    dataset: Dataset,
    protocol: str = "",
    *,
    max_pairs: int | None = 200_000,
    threshold: float | None = None,
    fars: Sequence[float] = FARS,
    seed: int = 0,
    n_resamples: int = 400,
) -> VerificationResult:
    """Verification on all pairs of a data set, or on a balanced sample of them.

    Args:
        dataset: Items with labels; every item is embedded once.
        max_pairs: When there are more pairs, a sample of this many, half of them same as
            far as there are so many; ``None`` takes all.

    The other arguments are those of ``verify_pairs``.

    Raises:
        DataError: If no class has two items, or there is one class only.
    """
    left, right = sample_pairs(dataset.labels, max_pairs, seed)
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
        fars=fars,
        seed=seed,
        n_resamples=n_resamples,
        left=[dataset.paths[i] for i in left],
        right=[dataset.paths[i] for i in right],
    )


def lfw_folds(
    scorer: Scorer | Callable[[int], Scorer],
    pairs: Pairs,
    protocol: str = "LFW View 2: threshold of nine folds, accuracy of the tenth",
    *,
    threshold_of: Callable[[int], float] | None = None,
) -> VerificationResult:
    """LFW's protocol: each fold is scored at the threshold that is best on all the others.

    People that a network was trained on look more alike to it than people ever will again:
    the threshold of their pairs is too strict. ``threshold_of`` then gives a better one.

    Accuracy, AUC and EER are means over the folds, with their standard errors and Student's
    t intervals.

    Args:
        scorer: One scorer, or a function from a fold to the scorer trained without it.
        pairs: Pairs with ``folds``, such as LFW View 2.
        protocol: What to call it.
        threshold_of: From a fold to the threshold chosen without it; by default the best on
            the pairs of all the other folds.

    Raises:
        DataError: If the pairs have fewer than two folds.
    """
    is_same = _labels_of(pairs)
    folds = sorted(set(pairs.folds.tolist()) - {0}) if pairs.folds is not None else []
    if len(folds) < 2 or pairs.folds is None:
        name = pairs.source or "pairs"
        raise DataError(f"{name}: needs at least 2 folds, got {len(folds)}")
    own, scores = np.empty(0), np.empty(len(pairs))
    rows: list[tuple[float, float, float, float]] = []
    for fold in folds:
        of_fold = cast(Scorer, scorer if hasattr(scorer, "embed") else scorer(fold))
        inside, others = pairs.folds == fold, ~np.isin(pairs.folds, [fold, 0])
        if threshold_of is not None:
            part, threshold = pairs.subset(inside), threshold_of(fold)
            scores[inside] = score_pairs(of_fold, part.left, part.right)
        else:
            if of_fold is not scorer or not len(own):
                own = score_pairs(of_fold, pairs.left, pairs.right)
            threshold = best_threshold(own[others], is_same[others])
            scores[inside] = own[inside]
        curve = roc_curve(scores[inside], is_same[inside])
        accuracy = accuracy_at(scores[inside], is_same[inside], threshold)
        rows.append((accuracy, auc_of(curve), eer_of(curve), threshold))
    kept = pairs.folds > 0
    classes = folder_classes(pairs)
    return _of_folds(
        protocol,
        of_fold.name,
        ("accuracy", "auc", "eer", "threshold"),
        rows,
        scores=scores[kept],
        is_same=is_same[kept],
        n_classes=None if classes is None else len(set(classes[0]) | set(classes[1])),
        left=tuple(np.array(pairs.left, object)[kept]),
        right=tuple(np.array(pairs.right, object)[kept]),
        seed=0,
    )


def verify_class_folds(
    scorer_of_fold: Callable[[int], Scorer],
    dataset: Dataset,
    protocol: str = "",
    *,
    max_pairs: int | None = 200_000,
    seed: int = 0,
) -> VerificationResult:
    """All pairs within each fold of classes, scored by the model trained without that fold.

    AUC and EER are means over the folds, with standard errors and Student's t intervals.

    Args:
        scorer_of_fold: From a fold to the scorer trained on the others.
        dataset: Items with ``folds`` that share no class.

    Raises:
        DataError: If there are fewer than two folds.
    """
    folds = sorted(set(dataset.folds.tolist()) - {0}) if dataset.folds is not None else []
    if len(folds) < 2:
        raise DataError(f"{dataset.name}: needs at least 2 folds, got {len(folds)}")
    results = [
        verify_all_pairs(
            scorer_of_fold(fold),
            dataset.subset(dataset.folds == fold),
            max_pairs=max_pairs,
            seed=seed,
            n_resamples=0,
        )
        for fold in folds
    ]
    return _of_folds(
        protocol or f"all pairs within each of {len(folds)} folds of {dataset.name}",
        results[-1].model,
        ("auc", "eer"),
        [(result.auc, result.eer) for result in results],
        scores=np.concatenate([result.scores for result in results]),
        is_same=np.concatenate([result.is_same for result in results]),
        n_classes=dataset.n_classes,
        left=tuple(path for result in results for path in result.left),
        right=tuple(path for result in results for path in result.right),
        seed=seed,
    )


def pair_scores_of_embeddings(
    embeddings: Any,
    labels: NDArray[np.int64],
    score_matrix: ScoreMatrix,
    max_pairs: int = 200_000,
    seed: int = 0,
    max_items: int = 4000,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores and truth of pairs of embeddings, for validation while training.

    Args:
        embeddings: (N, D) array or tensor; only ``max_items`` of whole random classes are
            used.
        labels: (N,) int64.
        score_matrix: From (A, D) and (B, D) to (A, B) scores.
        max_pairs: A balanced sample of this many pairs is kept where there are more.
        seed: The same seed takes the same items and pairs.

    Returns:
        ``scores`` (M,) and ``is_same`` (M,).
    """
    items = whole_classes(labels, max_items, seed)
    left, right = sample_pairs(labels[items], max_pairs, seed)
    order = np.argsort(left, kind="stable")
    left, right = left[order], right[order]
    block, scores = 256, np.empty(len(left))
    for start in range(0, len(items), block):
        first, last = np.searchsorted(left, [start, start + block])
        if first < last:
            rows = items[start : start + block]
            matrix = to_numpy(score_matrix(embeddings[rows], embeddings[items]))
            scores[first:last] = matrix[left[first:last] - start, right[first:last]]
    return scores, labels[items[left]] == labels[items[right]]


def _labels_of(pairs: Pairs) -> NDArray[np.bool_]:
    if pairs.is_same is None:
        raise DataError(
            f"{pairs.source or 'pairs'}: does not say which pairs are the same; "
            "graded pairs are measured by correlation"
        )
    return pairs.is_same


def _tar_name(far: float) -> str:
    return f"tar_at_far_{far:g}"


def _supported_fars(
    fars: Sequence[float], n_different: int
) -> tuple[list[float], dict[str, str]]:
    """The rates that so many different pairs carry, and why not the others."""
    supported, refused = [], {}
    for far in fars:
        try:
            check_far(far, n_different)
            supported.append(far)
        except ValueError as error:
            refused[_tar_name(far)] = str(error)
    return supported, refused


def _measure(
    protocol: str,
    model: str,
    scores: NDArray[np.float64],
    is_same: NDArray[np.bool_],
    classes: tuple[Sequence[Any], Sequence[Any]] | tuple[Indices, Indices] | None,
    *,
    threshold: float | None,
    fars: Sequence[float],
    seed: int,
    n_resamples: int,
    left: Sequence[str],
    right: Sequence[str],
) -> VerificationResult:
    """All figures of one set of scored pairs."""
    supported, refused = _supported_fars(fars, int((~is_same).sum()))
    share_same = float(is_same.mean())

    def figures(curve: RocCurve) -> dict[str, float]:
        rates = {"auc": auc_of(curve), "eer": eer_of(curve)}
        if threshold is not None:
            k = int(np.sum(curve.thresholds >= threshold)) - 1
            right = (curve.tar[k], 1 - curve.far[k])
            rates["accuracy"] = share_same * right[0] + (1 - share_same) * right[1]
        return rates | {_tar_name(far): tar_of(curve, far) for far in supported}

    measured = figures(roc_curve(scores, is_same))
    intervals: dict[str, Interval] = {}
    if threshold is None:
        refused["accuracy"] = "needs a threshold chosen on other pairs"
    if classes is None:
        refused["intervals"] = "the classes of the pairs are not known"
    elif n_resamples:
        try:
            found = bootstrap_interval(
                lambda curve: list(figures(curve).values()),
                scores,
                is_same,
                *classes,
                seed=seed,
                n_resamples=n_resamples,
            )
            intervals = dict(zip(measured, found, strict=True))
        except ValueError as error:
            refused["intervals"] = str(error)
    return VerificationResult(
        protocol=protocol,
        model=model,
        n_pairs=len(scores),
        n_same=int(is_same.sum()),
        n_classes=None if classes is None else len(np.unique(np.concatenate(classes))),
        auc=measured["auc"],
        eer=measured["eer"],
        accuracy=measured.get("accuracy"),
        threshold=threshold,
        tar_at_far={far: measured.get(_tar_name(far)) for far in fars},
        refused=refused,
        intervals=intervals,
        seed=seed,
        scores=scores,
        is_same=is_same,
        left=tuple(left),
        right=tuple(right),
    )


def _of_folds(
    protocol: str,
    model: str,
    names: tuple[str, ...],
    rows: Sequence[tuple[float, ...]],
    *,
    scores: NDArray[np.float64],
    is_same: NDArray[np.bool_],
    n_classes: int | None,
    left: tuple[str, ...],
    right: tuple[str, ...],
    seed: int,
) -> VerificationResult:
    """Means over folds; one row of figures a fold."""
    columns = {name: tuple(row[i] for row in rows) for i, name in enumerate(names)}
    rates = [name for name in names if name != "threshold"]
    means = {name: float(np.mean(values)) for name, values in columns.items()}
    refused = {} if "accuracy" in names else {"accuracy": "not part of this protocol"}
    return VerificationResult(
        protocol=protocol,
        model=model,
        n_pairs=len(scores),
        n_same=int(is_same.sum()),
        n_classes=n_classes,
        auc=means["auc"],
        eer=means["eer"],
        accuracy=means.get("accuracy"),
        threshold=means.get("threshold"),
        tar_at_far={},
        refused=refused,
        intervals={name: mean_interval(columns[name], student=True) for name in rates},
        standard_errors={name: standard_error(columns[name]) for name in rates},
        per_fold=columns,
        seed=seed,
        scores=scores,
        is_same=is_same,
        left=left,
        right=right,
    )
