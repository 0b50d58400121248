"""What a report is made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.calibration.calibrate import Calibration
from onelook.calibration.rows import check_rows, group_rows, identify_rows, summary_rows
from onelook.comparison import Comparison
from onelook.metrics import Reliability
from onelook.report.pictures import Picture
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
    """What a report is made from; a section without its parts is left out.

    Args:
        title: Heading of the page.
        recipe: The recipe as a plain mapping, nested blocks and all.
        data: What the data is: name and text or number.
        history: Rows of the training with ``epoch`` and any of ``loss``,
            ``learning_rate``, ``images_per_second`` and ``validation``.
        figure: Name of the validation figure, which is better when larger.
        result_lines: Figures measured, the most important first.
        scores: (N,) of pairs of unseen classes, larger = more alike.
        is_same: (N,) bool, the truth of these pairs.
        threshold: The decision's, in score units.
        dissimilarity: (N,) what people read instead of the scores, smaller = more alike.
        embeddings: (M, D) of some hundred items of unseen classes, for the map.
        labels: (M,) int64, their classes.
        class_names: Names of the classes.
        pixels: (M, H, W[, C]) uint8, pictures of these items.
        confusion: Names and (C, C) counts over episodes: row = true class, column = answer.
        typical: Pairs drawn at random.
        hardest: The pairs that the model judges worst, worst first.
        calibration: What the decision says.
        reliability: Reliability of the probability, on classes that did not fit it.
        identify: Thresholds by size of the gallery.
        by_group: Errors of each group.
    """

    title: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    figure: str = "validation"
    result_lines: Sequence[tuple[str, str]] = ()
    scores: NDArray[Any] | None = None
    is_same: NDArray[np.bool_] | None = None
    threshold: float | None = None
    dissimilarity: NDArray[Any] | None = None
    embeddings: NDArray[Any] | None = None
    labels: NDArray[np.int64] | None = None
    class_names: Sequence[str] = ()
    pixels: Picture | None = None
    confusion: tuple[Sequence[str], NDArray[Any]] | None = None
    typical: Sequence[ShownPair] = ()
    hardest: Sequence[ShownPair] = ()
    calibration: Sequence[tuple[str, str]] = ()
    reliability: Reliability | None = None
    identify: Sequence[tuple[str, str]] = ()
    by_group: Sequence[tuple[str, str]] = ()


def calibration_inputs(verifier: Verifier, found: Calibration) -> ReportInputs:
    """What the report of ``onelook calibrate`` shows."""
    drawn, decision = found.drawn, found.decision
    lines = [("false-accept rate", f"{decision.far:g}")]
    if decision.frr is not None:
        lines.append(("false-reject rate", f"{decision.frr:.4f}"))
    if found.check is not None:
        error = found.check.reliability.error
        lines.append(("calibration error, classes left out", f"{error:.3f}"))
    return ReportInputs(
        title=f"{verifier.name}: calibration",
        data={"data": found.data, "items": found.n_items},
        result_lines=[*lines, ("threshold", f"{decision.threshold:.4f}")],
        scores=drawn.scores,
        is_same=drawn.is_same,
        threshold=decision.threshold,
        dissimilarity=verifier.dissimilarities(drawn.scores),
        calibration=[*summary_rows(decision), *check_rows(found.check)],
        reliability=None if found.check is None else found.check.reliability,
        identify=identify_rows(decision),
        by_group=group_rows(found.groups),
    )
