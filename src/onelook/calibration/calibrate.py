"""Calibrate a model: a decision from classes that it was neither trained nor tested on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.familiarity import familiarity_for
from onelook.calibration.fit import CrossCheck, fit_drawn, fit_items
from onelook.calibration.groups import GroupRates, groups_of, rates_by_group
from onelook.calibration.pairs import ClassPairs, listed_pairs
from onelook.calibration.rows import (
    check_rows,
    familiarity_rows,
    group_rows,
    identify_rows,
    summary_rows,
)
from onelook.card import CalibrationFacts
from onelook.data.items import Dataset, Pairs
from onelook.decision import Decision
from onelook.errors import DataError
from onelook.evaluation.scorer import embed_both
from onelook.evaluation.unseen import DataChoice, Unseen, unseen
from onelook.familiarity import Familiarity
from onelook.files import expanded
from onelook.loading import load
from onelook.tables import Rows, aligned, html_table
from onelook.verifier import Verifier

MOST_ITEMS = 20_000
NO_GALLERIES = (
    "a list of pairs gives no thresholds for galleries; these need a folder of classes"
)

Data = str | Path | Dataset | Pairs | DataChoice | None
Grouping = tuple[NDArray[np.int64], tuple[str, ...]]
# A model, left and right embeddings (N, D), and labels (N,).
Embedded = tuple[Verifier, NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What ``calibrate`` found; ``decision`` is to be set as ``verifier.decision``.

    ``n_items`` counts items, or pairs of a list. ``check`` is measured on classes that did
    not fit the decision. It and ``familiarity`` are None where the data is too small.
    """

    decision: Decision
    data: str
    n_items: int
    drawn: ClassPairs
    check: CrossCheck | None
    groups: tuple[GroupRates, ...]
    notes: tuple[str, ...]
    fingerprint: str = ""
    familiarity: Familiarity | None = None

    def about(self) -> CalibrationFacts:
        """What the model's card says of it."""
        return CalibrationFacts(
            data=self.data,
            items=self.n_items,
            fingerprint=self.fingerprint,
            notes=self.notes,
            **({} if self.check is None else self.check.figures()),
            **({} if self.familiarity is None else self.familiarity.figures()),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        check = None
        if self.check is not None:
            bins = self.check.reliability
            check = {
                "far": self.check.far,
                "frr": self.check.frr,
                "expected_calibration_error": bins.error,
                "reliability": {k: v.tolist() for k, v in bins._asdict().items()},
                "folds": self.check.n_folds,
            }
        return {
            "decision": self.decision.to_dict(),
            "data": self.data,
            "n_items": self.n_items,
            "left_out_classes": check,
            "groups": [group.to_dict() for group in self.groups],
            "notes": list(self.notes),
        }

    def rows(self) -> Rows:
        """Names and texts for people."""
        rows = [("data", self.data), *summary_rows(self.decision), *check_rows(self.check)]
        return [*rows, *familiarity_rows(self.about())]

    def __str__(self) -> str:
        parts = [aligned(self.rows())]
        if self.decision.identify:
            parts.append("who is it? (1:N)\n" + aligned(identify_rows(self.decision)))
        if self.groups:
            parts.append("by group\n" + aligned(group_rows(self.groups)))
        return "\n".join([*parts, *(f"note: {note}" for note in self.notes)])

    def __repr__(self) -> str:
        at = f"threshold {self.decision.threshold:.4f} at FAR {self.decision.far:.4g}"
        return f"<Calibration on {self.data}: {at}>"

    def _repr_html_(self) -> str:
        rows = [*self.rows(), *identify_rows(self.decision), *group_rows(self.groups)]
        return html_table("Calibration", rows)


def calibrate(
    verifier: Verifier,
    data: Data = None,
    *,
    far: float = 0.01,
    prior: float = 0.5,
    group_by: str | Path | None = None,
    seed: int = 0,
) -> Calibration:
    """Fit a decision: a threshold at a false-accept rate, a probability, galleries.

    Args:
        verifier: Model to calibrate, without its cohort; it is not changed.
        data: Images of classes that it was neither trained nor tested on: a class folder, a
            data set's name, a pair file, a Dataset or Pairs, or a DataChoice that says
            more; None for the classes that its own training held out. What it was trained
            on is left out, if its card says what that was.
        far: False-accept rate wanted; it needs 30 / far different pairs.
        prior: Fraction of same pairs where the model will be used.
        group_by: "folder" or a CSV file of NAME,GROUP lines, to list errors by group.
        seed: Seed of every draw.

    Raises:
        DataError: If the data is not found, or nothing of it is left.
        ValueError: If the data cannot support the rate; the message says how many pairs
            that needs, and the smallest rate that the data supports.

    Example:
        >>> verifier = onelook.load("omniglot")  # doctest: +SKIP
        >>> print(calibrate(verifier, "drawings", far=0.001))  # doctest: +SKIP
    """
    verifier = verifier.plain
    opened, grouping = open_unseen(verifier, data, group_by, seed)
    groups: tuple[GroupRates, ...] = ()
    wanted: dict[str, Any] = {"far": far, "prior": prior, "seed": seed, "strict": True}
    if isinstance(opened.data, Pairs):
        name, notes = opened.data.source, (*opened.notes, NO_GALLERIES)
        fitted = fit_drawn(listed_pairs(verifier, opened.data), **wanted)
        fingerprint, familiarity = "", None
    else:
        name, notes = opened.data.name, opened.notes
        items = embed_items(verifier, opened.data)
        fitted = fit_items(*items, opened.data.groups, **wanted)
        groups = errors_by_group(items, grouping, fitted.decision, seed)
        fingerprint = opened.data.fingerprint
        familiarity = familiarity_for(verifier, opened.data, seed)
    return Calibration(
        decision=fitted.decision,
        data=name,
        n_items=len(opened.data),
        drawn=fitted.drawn,
        check=fitted.check,
        groups=groups,
        notes=notes,
        fingerprint=fingerprint,
        familiarity=familiarity,
    )


def save_decision(model: str | Path, calibration: Calibration, out: str | Path) -> Path:
    """Put a decision into a model's folder; weights, fingerprint and cohort stay."""
    loaded = load(model)
    verifier = loaded.plain
    verifier.decision = calibration.decision
    verifier.familiarity = calibration.familiarity or verifier.familiarity
    verifier.card = verifier.card.model_copy(update={"calibration": calibration.about()})
    if loaded.cohort is not None:
        verifier = verifier.with_cohort(loaded.cohort)
    return verifier.save(expanded(out))


def open_unseen(
    verifier: Verifier, data: Data, group_by: str | Path | None, seed: int
) -> tuple[Unseen, Grouping | None]:
    """Data that the model was not trained on, at most about 20,000 items, and groups."""
    opened = unseen(verifier, data if isinstance(data, DataChoice) else DataChoice(data))
    if isinstance(opened.data, Pairs):
        if group_by is not None:
            raise DataError("--group-by needs a folder of classes, not a list of pairs")
        return opened, None
    items = _whole_classes(opened.data, seed)
    grouping = None if group_by is None else groups_of(items, group_by)
    return Unseen(items, opened.notes), grouping


def embed_items(verifier: Verifier, items: Dataset) -> Embedded:
    """The model, the embeddings of both sides, and the labels of the items."""
    return verifier, *embed_both(verifier, items.paths), items.labels


def errors_by_group(
    items: Embedded, grouping: Grouping | None, decision: Decision, seed: int
) -> tuple[GroupRates, ...]:
    """Errors of a decision in each group; nothing without groups."""
    if grouping is None:
        return ()
    threshold, far = decision.threshold, decision.far
    return rates_by_group(*items, grouping, threshold=threshold, far=far, seed=seed)


def _whole_classes(dataset: Dataset, seed: int) -> Dataset:
    """Random classes with all their items, ``MOST_ITEMS`` at most (but two classes)."""
    if len(dataset) <= MOST_ITEMS:
        return dataset
    classes, counts = np.unique(dataset.labels, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(classes))
    n_kept = int(np.searchsorted(np.cumsum(counts[order]), MOST_ITEMS, "right"))
    kept = classes[order[: max(2, n_kept)]]
    return dataset.subset(np.isin(dataset.labels, kept))
