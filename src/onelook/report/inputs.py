"""What a report is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.calibrate import Calibration
from onelook.calibration.fit import CrossCheck
from onelook.calibration.rows import check_rows, group_rows, identify_rows, summary_rows
from onelook.comparison import Comparison
from onelook.decision import Decision
from onelook.metrics import Reliability
from onelook.report.pictures import Picture
from onelook.tables import Rows
from onelook.verifier import Verifier


@dataclass(frozen=True, eq=False)
class ShownPair:
    """Pictures of a pair, whether they show the same thing, and what the model answers.

    ``marked`` are both pictures with the parts marked that mislead the model.
    """

    left: Picture
    right: Picture
    is_same: bool
    answer: Comparison
    marked: tuple[Picture, Picture] | None = None


@dataclass(eq=False)
class ReportInputs:
    """What a report is made from; a section without its parts is left out."""

    title: str
    recipe: Mapping[str, Any] = field(default_factory=dict)  # with its nested blocks
    data: Mapping[str, Any] = field(default_factory=dict)  # names and texts or numbers
    # Rows of a training with "epoch" and any of "loss", "learning_rate",
    # "images_per_second" and "validation", which is better when larger and called `figure`.
    history: Sequence[Mapping[str, Any]] = ()
    figure: str = "validation"
    result_lines: Rows = ()  # figures measured, the most important first
    # Pairs of unseen classes (N,): scores, larger = more alike; truth; dissimilarities,
    # smaller = more alike; the decision's threshold in score units.
    scores: NDArray[Any] | None = None
    is_same: NDArray[np.bool_] | None = None
    dissimilarity: NDArray[Any] | None = None
    threshold: float | None = None
    # Some hundred items of unseen classes, for the map.
    embeddings: NDArray[Any] | None = None  # (M, D)
    labels: NDArray[np.int64] | None = None  # (M,)
    class_names: Sequence[str] = ()
    pixels: Picture | None = None  # (M, H, W[, C])
    # Names and (C, C) counts over episodes: row = true class, column = answer.
    confusion: tuple[Sequence[str], NDArray[Any]] | None = None
    typical: Sequence[ShownPair] = ()  # drawn at random
    hardest: Sequence[ShownPair] = ()  # the pairs that the model judges worst, worst first
    calibration: Rows = ()  # what the decision says
    reliability: Reliability | None = None  # on classes that did not fit the decision
    identify: Rows = ()  # thresholds by size of the gallery
    by_group: Rows = ()  # errors of each group

    def add_decision(self, decision: Decision, check: CrossCheck | None) -> None:
        """What a decision says, and how it held on classes that did not fit it."""
        self.calibration = [*summary_rows(decision), *check_rows(check)]
        self.identify = identify_rows(decision)
        self.reliability = None if check is None else check.reliability


def calibration_inputs(verifier: Verifier, found: Calibration) -> ReportInputs:
    """What the report of ``onelook calibrate`` shows."""
    drawn, decision = found.drawn, found.decision
    lines = [("false-accept rate", f"{decision.far:g}")]
    if decision.frr is not None:
        lines.append(("false-reject rate", f"{decision.frr:.4f}"))
    if found.check is not None:
        error = found.check.reliability.error
        lines.append(("calibration error, classes left out", f"{error:.3f}"))
    inputs = ReportInputs(
        title=f"{verifier.name}: calibration",
        data={"data": found.data, "items": found.n_items},
        result_lines=[*lines, ("threshold", f"{decision.threshold:.4f}")],
        scores=drawn.scores,
        is_same=drawn.is_same,
        threshold=decision.threshold,
        dissimilarity=verifier.dissimilarities(drawn.scores),
        by_group=group_rows(found.groups),
    )
    inputs.add_decision(decision, found.check)
    return inputs
