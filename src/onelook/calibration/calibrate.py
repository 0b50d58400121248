"""Calibration: a decision from classes that a model was neither trained nor tested on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.fit import CrossCheck, draws_for, fit_drawn, fit_items
from onelook.calibration.groups import GroupRates, Rates, rates_at, rates_by_group
from onelook.calibration.pairs import (
    ClassPairs,
    draw_pairs,
    listed_pairs,
    useful_groups,
)
from onelook.data.items import Dataset, Pairs
from onelook.decision import Decision
from onelook.errors import DataError
from onelook.evaluation.pairing import whole_classes
from onelook.evaluation.scorer import embed_both
from onelook.evaluation.unseen import Source, groups_of, unseen
from onelook.files import write_whole
from onelook.metrics import Interval, reliability
from onelook.shipped import shipped_folder
from onelook.verifier import SETTINGS_FILE, WEIGHTS_FILE, Verifier

__all__ = ["Calibration", "DriftCheck", "Source", "calibrate", "check", "save_decision"]

MOST_ITEMS = 20_000

Data = str | Path | Dataset | Pairs | Source | None


@dataclass(frozen=True, eq=False)
class Calibration:
    """What ``calibrate`` found.

    Args:
        decision: To be put into the model: ``verifier.decision = calibration.decision``.
        data: Name of what it was fitted on.
        n_items: Items, or pairs of a list.
        drawn: The scored pairs behind it.
        check: The same on classes that did not fit it; None where they are too few.
        groups: Errors by group, where groups were asked for.
        notes: What was left out, or could not be known.
    """

    decision: Decision
    data: str
    n_items: int
    drawn: ClassPairs
    check: CrossCheck | None
    groups: tuple[GroupRates, ...]
    notes: tuple[str, ...]
    fingerprint: str = ""  # of a Dataset that it was fitted on

    def about(self) -> dict[str, Any]:
        """What the model's card says of it."""
        facts: dict[str, Any] = {
            "data": self.data,
            "items": self.n_items,
            "fingerprint": self.fingerprint,
        }
        if self.check is not None:
            facts |= self.check.figures()
        return facts | {"notes": list(self.notes)}

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

    def __str__(self) -> str:
        rows = [("data", self.data), *summary_rows(self.decision)]
        rows += check_rows(self.check)
        parts = [aligned(rows)]
        if self.decision.identify:
            parts.append("who is it? (1:N)\n" + aligned(identify_rows(self.decision)))
        if self.groups:
            parts.append("by group\n" + aligned(group_rows(self.groups)))
        parts += [f"note: {note}" for note in self.notes]
        return "\n".join(parts)


@dataclass(frozen=True, eq=False)
class DriftCheck:
    """Whether a stored threshold still holds on fresh pairs.

    Args:
        decision: The stored one.
        data: Name of the fresh data.
        rates: Measured at the stored threshold.
        verdict: "holds" (the rate is within a factor of 2 of the stated one), "too lax",
            "too strict" or "too few pairs to say".
        calibration_error: Expected calibration error of the probability, at its prior.
        groups: Errors by group, where groups were asked for.
        notes: What was left out, or could not be known.
    """

    decision: Decision
    data: str
    rates: Rates
    verdict: str
    calibration_error: float
    groups: tuple[GroupRates, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "verdict": self.verdict,
            "threshold": self.decision.threshold,
            "stated_far": self.decision.far,
            "stated_frr": self.decision.frr,
            "data": self.data,
            **vars(self.rates),
            "expected_calibration_error": self.calibration_error,
            "groups": [group.to_dict() for group in self.groups],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        rates, stated = self.rates, self.decision
        frr = "" if stated.frr is None else f"; stated {stated.frr:.4g}"
        rows = [
            ("verdict", VERDICTS[self.verdict]),
            ("data", self.data),
            ("threshold", f"score {stated.threshold:.4f}"),
            (
                "false-accept rate",
                f"{rates.far:.4g}{ends(rates.far_interval)}; stated {stated.far:.4g}",
            ),
            ("false-reject rate", f"{rates.frr:.4g}{ends(rates.frr_interval)}{frr}"),
            ("calibration error", f"{self.calibration_error:.3f} of the probability"),
            (
                "measured on",
                f"{rates.n_same:,} same and {rates.n_different:,} different pairs of "
                f"{rates.n_classes:,} classes",
            ),
        ]
        parts = [aligned(rows)]
        if self.groups:
            parts.append("by group\n" + aligned(group_rows(self.groups)))
        parts += [f"note: {note}" for note in self.notes]
        return "\n".join(parts)


VERDICTS = {
    "holds": "holds",
    "too lax": "too lax: more different pairs pass than stated; calibrate again",
    "too strict": "too strict: fewer different pairs pass than stated, so more same pairs "
    "are lost than need be; calibrate again",
    "too few pairs to say": "too few pairs to say",
}


def calibrate(
    verifier: Verifier,
    data: Data = None,
    far: float = 0.01,
    prior: float = 0.5,
    group_by: str | Path | None = None,
    seed: int = 0,
) -> Calibration:
    """Fit a decision: a threshold at a false-accept rate, a probability, thresholds for
    galleries.

    Args:
        verifier: The model; it is not changed.
        data: Images of classes that it was neither trained nor tested on: a class folder, a
            known source, a pair file, a Dataset or Pairs, or a Source that says more; None
            for the classes that its own training held out. What it was trained on is left
            out, where its card tells.
        far: The false-accept rate wanted; it needs 30 / far different pairs.
        prior: Share of same pairs where the model will be used.
        group_by: "folder", or a CSV file of NAME,GROUP lines, for a table of errors by
            group.
        seed: Of every draw.

    Raises:
        DataError: If the data is not found, or nothing of it is left.
        ValueError: If it cannot carry the rate; says how many pairs that needs, and the
            smallest rate that it carries.

    Example:
        >>> verifier = onelook.load("omniglot")  # doctest: +SKIP
        >>> print(calibrate(verifier, "drawings", far=0.001))  # doctest: +SKIP
    """
    opened = unseen(verifier, data if isinstance(data, Source) else Source(data))
    if isinstance(opened.data, Pairs):
        fitted = fit_drawn(listed_pairs(verifier, opened.data), far, prior, seed, True)
        name, groups = opened.data.source, _no_groups(group_by)
        return Calibration(
            fitted.decision, name, len(opened.data), fitted.drawn, fitted.check, groups,
            (*opened.notes, NO_GALLERIES),
        )  # fmt: skip
    items = _some(opened.data, seed)
    grouping = None if group_by is None else groups_of(items, group_by)
    left, right = embed_both(verifier, items.paths)
    fitted = fit_items(
        verifier, left, right, items.labels, items.groups, far, prior, seed, strict=True
    )
    groups = _by_group(verifier, left, right, items.labels, grouping, fitted.decision, seed)
    return Calibration(
        fitted.decision,
        items.name,
        len(items),
        fitted.drawn,
        fitted.check,
        groups,
        opened.notes,
        items.fingerprint,
    )


def check(
    verifier: Verifier,
    data: Data,
    group_by: str | Path | None = None,
    seed: int = 0,
) -> DriftCheck:
    """Whether the threshold that the model carries still holds on fresh pairs.

    Args:
        verifier: The model, with a decision.
        data: Fresh images sorted into classes, or a pair file; as for ``calibrate``.

    Raises:
        DataError: If the model carries no threshold, or the data is not found.
        ValueError: If there is no same or no different pair.
    """
    decision = verifier.decision
    if decision is None:
        raise DataError(
            f"{verifier.name} carries no threshold to check: onelook calibrate MODEL "
            "--data FOLDER fits one"
        )
    opened = unseen(verifier, data if isinstance(data, Source) else Source(data))
    groups: tuple[GroupRates, ...]
    notes = opened.notes
    if isinstance(opened.data, Pairs):
        drawn, name = listed_pairs(verifier, opened.data), opened.data.source
        groups = _no_groups(group_by)
    else:
        items = _some(opened.data, seed)
        name = items.name
        if items.fingerprint == verifier.card.get("calibration", {}).get("fingerprint"):
            notes = (
                *notes,
                "the threshold was fitted on these very images, so it cannot but hold: "
                "check it on fresh ones",
            )
        grouping = None if group_by is None else groups_of(items, group_by)
        left, right = embed_both(verifier, items.paths)
        within = useful_groups(items.labels, items.groups)
        drawn = draw_pairs(
            verifier, left, right, items.labels, within, seed, draws_for(decision.far)
        )
        if decision.pairs not in ("", drawn.pairs):
            notes = (
                *notes,
                f"the threshold was fitted on pairs of {decision.pairs}, these "
                f"are of {drawn.pairs}: their rates need not agree",
            )
        groups = _by_group(verifier, left, right, items.labels, grouping, decision, seed)
    rates = rates_at(drawn, decision.threshold, seed)
    probability = decision.probability(drawn.scores)
    error = reliability(probability, drawn.is_same, decision.prior).error
    return DriftCheck(
        decision, name, rates, rates.verdict(decision.far), error, groups, notes
    )


def save_decision(model: str | Path, calibration: Calibration, out: str | Path) -> Path:
    """Put a decision into a model's folder; its weights and fingerprint stay as they are.

    Args:
        model: A folder that ``train`` wrote, or the name of shipped weights.
        calibration: Whose decision it is.
        out: The folder to write: the model's own, or another one for a copy.
    """
    folder, out = Path(model).expanduser(), Path(out).expanduser()
    if not (folder / SETTINGS_FILE).is_file():
        folder = shipped_folder(str(model)) or folder
    content = json.loads((folder / SETTINGS_FILE).read_text("utf-8"))
    content["decision"] = calibration.decision.to_dict()
    content["card"]["calibration"] = calibration.about()
    if (folder / WEIGHTS_FILE).exists() and out.resolve() != folder.resolve():
        write_whole(out / WEIGHTS_FILE, (folder / WEIGHTS_FILE).read_bytes())
    return write_whole(out / SETTINGS_FILE, json.dumps(content, indent=1) + "\n").parent


NO_GALLERIES = (
    "a list of pairs gives no thresholds for galleries: those of strangers need a folder "
    "of classes"
)


def _no_groups(group_by: str | Path | None) -> tuple[GroupRates, ...]:
    if group_by is not None:
        raise DataError("--group-by needs a folder of classes, not a list of pairs")
    return ()


def _some(dataset: Dataset, seed: int) -> Dataset:
    """Whole classes, about as many items as are enough."""
    chosen = whole_classes(dataset.labels, MOST_ITEMS, seed)
    return dataset if len(chosen) == len(dataset) else dataset.subset(chosen)


def _by_group(
    verifier: Verifier,
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    labels: NDArray[np.int64],
    grouping: tuple[NDArray[np.int64], tuple[str, ...]] | None,
    decision: Decision,
    seed: int,
) -> tuple[GroupRates, ...]:
    if grouping is None:
        return ()
    rows = rates_by_group(
        verifier, left, right, labels, *grouping, decision.threshold, decision.far, seed
    )
    return tuple(rows)


# What people read; the report shows the same rows.


def summary_rows(decision: Decision) -> list[tuple[str, str]]:
    """What a decision says, as names and texts, the most important first."""
    found = decision.intervals
    rows = [
        ("threshold", f"score {decision.threshold:.4f}{ends(found.get('threshold'))}"),
        ("false-accept rate", f"{decision.far:.4g}{ends(found.get('far'))}"),
    ]
    if decision.frr is not None:
        rows.append(("false-reject rate", f"{decision.frr:.4g}{ends(found.get('frr'))}"))
    if decision.reject_below < decision.threshold:
        rows.append(("unsure", f"from {decision.reject_below:.4f} to the threshold"))
    counts = f"{decision.n_same:,} same and {decision.n_different:,} different pairs"
    of = f" ({decision.pairs})" if decision.pairs else ""
    rows.append(("fitted on", f"{counts}{of} of {decision.n_classes:,} classes"))
    rows.append(("prior", f"{decision.prior:g} of the pairs are the same"))
    return rows


def check_rows(check: CrossCheck | None) -> list[tuple[str, str]]:
    if check is None:
        return []
    left_out = f"on classes left out, {check.n_folds} folds"
    return [
        ("measured false accepts", f"{check.far:.4g} {left_out}"),
        ("measured false rejects", f"{check.frr:.4g} {left_out}"),
        ("calibration error", f"{check.reliability.error:.3f} {left_out}"),
    ]


def identify_rows(decision: Decision) -> list[tuple[str, str]]:
    """One row for each size of gallery."""
    rows = []
    for row in decision.identify:
        known = "" if row.known is None else f", {row.known:.3f} of the enrolled found"
        name = f"{row.gallery_size:,} enrolled"
        rows.append(
            (name, f"threshold {row.threshold:.4f}: {row.fpir:.4f} of strangers{known}")
        )
    return rows


def group_rows(groups: Sequence[GroupRates]) -> list[tuple[str, str]]:
    rows = []
    for group in groups:
        text = f"{group.n_items:,} images: {group.verdict}"
        if group.rates is not None:
            rates = group.rates
            text = (
                f"false accepts {rates.far:.4g}{ends(rates.far_interval)}, false rejects "
                f"{rates.frr:.4g}{ends(rates.frr_interval)}, {text}"
            )
        rows.append((group.name, text))
    return rows


def ends(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return f" (95 %: {interval[0]:.4g} to {interval[1]:.4g})"


def aligned(rows: Sequence[tuple[str, str]]) -> str:
    """Lines of two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:{width}}  {text}" for name, text in rows)
