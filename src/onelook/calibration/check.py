"""Check on fresh pairs whether the threshold that a model carries still holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.calibration.calibrate import Data, embed_items, errors_by_group, open_unseen
from onelook.calibration.fit import draws_for
from onelook.calibration.groups import GroupRates, Rates, rates_at
from onelook.calibration.pairs import listed_pairs, score_drawn_pairs, useful_groups
from onelook.calibration.rows import ends, group_rows
from onelook.data.items import Pairs
from onelook.decision import Decision
from onelook.errors import DataError
from onelook.metrics import reliability
from onelook.tables import Rows, aligned, html_table
from onelook.verifier import Verifier

ADVICE = {
    "too lax": "too lax: more different pairs pass than stated; calibrate again, or give "
    "20 images of this place or more with --cohort",
    "too strict": "too strict: fewer different pairs pass than stated, so more same pairs "
    "are lost than necessary; calibrate again",
}


@dataclass(frozen=True, eq=False)
class DriftCheck:
    """Whether a stored threshold still holds on fresh pairs.

    The verdict is "holds" (the rate is within a factor of 2 of the stated one), "too lax",
    "too strict" or "too few pairs to say".
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

    def rows(self) -> Rows:
        """Names and texts for people."""
        rates, stated = self.rates, self.decision
        frr = "" if stated.frr is None else f"; stated {stated.frr:.4g}"
        counts = f"{rates.n_same:,} same and {rates.n_different:,} different pairs"
        return [
            ("verdict", ADVICE.get(self.verdict, self.verdict)),
            ("data", self.data),
            ("threshold", f"score {stated.threshold:.4f}"),
            (
                "false-accept rate",
                f"{rates.far:.4g}{ends(rates.far_interval)}; stated {stated.far:.4g}",
            ),
            ("false-reject rate", f"{rates.frr:.4g}{ends(rates.frr_interval)}{frr}"),
            ("calibration error", f"{self.calibration_error:.3f} of the probability"),
            ("measured on", f"{counts} of {rates.n_classes:,} classes"),
        ]

    def __str__(self) -> str:
        parts = [aligned(self.rows())]
        if self.groups:
            parts.append("by group\n" + aligned(group_rows(self.groups)))
        return "\n".join([*parts, *(f"note: {note}" for note in self.notes)])

    def __repr__(self) -> str:
        far = f"FAR {self.rates.far:.4g}, stated {self.decision.far:.4g}"
        return f"<DriftCheck on {self.data}: {self.verdict}, {far}>"

    def _repr_html_(self) -> str:
        return html_table("Does the threshold hold?", self.rows())


def check(
    verifier: Verifier, data: Data, *, group_by: str | Path | None = None, seed: int = 0
) -> DriftCheck:
    """Whether the threshold that the model carries still holds on fresh pairs.

    ``group_by`` is "folder" or a CSV file of NAME,GROUP lines, to list errors by group.
    """
    decision = verifier.decision
    if decision is None:
        raise DataError(
            f"{verifier.name} carries no threshold to check: onelook calibrate MODEL "
            "--data FOLDER fits one"
        )
    opened, grouping = open_unseen(verifier, data, group_by, seed)
    notes = list(opened.notes)
    groups: tuple[GroupRates, ...] = ()
    if isinstance(opened.data, Pairs):
        drawn, name = listed_pairs(verifier, opened.data), opened.data.source
    else:
        name = opened.data.name
        fitted_on = verifier.card.calibration
        if fitted_on and opened.data.fingerprint == fitted_on.fingerprint:
            notes.append(
                "the threshold was fitted on these very images, so that it holds on them "
                "says nothing; check it on fresh ones"
            )
        items = embed_items(verifier, opened.data)
        within = useful_groups(opened.data.labels, opened.data.groups)
        n_different = draws_for(decision.far)
        drawn = score_drawn_pairs(*items, within, seed=seed, n_different=n_different)
        if decision.kind == "plain" and decision.pairs not in ("", drawn.pairs):
            notes.append(
                f"the threshold was fitted on pairs of {decision.pairs}, these are of "
                f"{drawn.pairs}: their rates may differ"
            )
        groups = errors_by_group(items, grouping, decision, seed)
    rates = rates_at(drawn, decision.threshold, seed)
    stated = decision.probability(drawn.scores)
    return DriftCheck(
        decision=decision,
        data=name,
        rates=rates,
        verdict=rates.verdict(decision.far),
        calibration_error=reliability(stated, drawn.is_same, decision.prior).error,
        groups=groups,
        notes=tuple(notes),
    )
