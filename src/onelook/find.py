"""Find: is this thing in that picture, and where? Boxes are proposed, then compared."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.boxes import Box, How, Proposal, apart, propose, windows_near
from onelook.data.inputs import Item
from onelook.data.inputs.decoding import decode, name_of
from onelook.errors import DataError
from onelook.report.pictures import Picture, draw_boxes
from onelook.verifier import Verifier

# Number of boxes whose pixels are held in memory at a time.
BATCH = 64
# Number of windows around which others are tried, and how far aside, in two rounds.
REFINED, NEARER = 6, (0.125, 0.0625)


@dataclasses.dataclass(frozen=True)
class Found:
    """A box, in pixels of the upright picture, and how like the query it is.

    ``probability`` assumes that half of all pictures show the query, in each of the
    compared boxes with the same chance.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float
    dissimilarity: float
    probability: float | None
    is_same: bool | None


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """Where a picture shows a query.

    Args:
        query: Name of the picture of the one thing.
        picture: Name of the picture that was searched.
        boxes: The boxes most like the query, best first; none covers another.
        n_boxes: Number of boxes that were compared.
        how: Where they came from: ``"faces"``, ``"components"`` or ``"windows"``.
        threshold: A box shows the query if its score is at least this; None if the model
            has no decision.
        rate: Share of the pictures without the query in which a box is accepted.
        is_for_many: Whether the threshold was fitted for this many boxes; otherwise it is
            that of a single pair, and ``rate`` assumes independent boxes.
        cohort: What scores are centred or normalised by; empty for plain scores.
        query_picture: The query, (H, W) or (H, W, 3) uint8.
        shown: The picture, (H, W) or (H, W, 3) uint8.
    """

    query: str
    picture: str
    boxes: tuple[Found, ...]
    n_boxes: int
    how: How
    threshold: float | None
    rate: float | None
    is_for_many: bool
    cohort: str
    query_picture: Picture = dataclasses.field(repr=False)
    shown: Picture = dataclasses.field(repr=False)

    @property
    def is_found(self) -> bool | None:
        """Whether the best box shows the query; None if the model has no decision."""
        if self.threshold is None:
            return None
        return bool(self.boxes) and self.boxes[0].is_same is True

    @property
    def probability(self) -> float | None:
        """Probability that the best box shows the query; 0 without any box."""
        if not self.boxes:
            return None if self.threshold is None else 0.0
        return self.boxes[0].probability

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the pictures."""
        content = {**vars(self), "is_found": self.is_found, "probability": self.probability}
        del content["query_picture"], content["shown"]
        return {**content, "boxes": [dataclasses.asdict(box) for box in self.boxes]}

    def __str__(self) -> str:
        kind = {"faces": "face", "components": "drawing", "windows": "window"}[self.how]
        if not self.boxes:
            return f"not found: no {kind} in the picture"
        best, many = self.boxes[0], "" if self.n_boxes == 1 else "s"
        text = (
            f"best of {self.n_boxes} {kind}{many}: ({best.left:.0f}, {best.top:.0f})-"
            f"({best.right:.0f}, {best.bottom:.0f}), dissimilarity {best.dissimilarity:.4f}"
        )
        if self.threshold is None:
            return f"{text}; the model has no threshold, so there is no verdict"
        source = f"for {self.n_boxes} boxes" if self.is_for_many else "of single pairs"
        return (
            f"{'found' if self.is_found else 'not found'}: {text}, probability "
            f"{best.probability:.3f} (score {best.score:.4f}, threshold "
            f"{self.threshold:.4f} {source}: errs in {self.rate:.2g} of the pictures "
            f"without it{'; ' * bool(self.cohort)}{self.cohort})"
        )


def find(verifier: Verifier, query: Item, picture: Item, k: int = 5) -> Findings:
    """The parts of a picture that are most like a query.

    Args:
        verifier: Takes the query on its left side and the boxes on its right side.
        query: A picture of the one thing: a file, its bytes, a Pillow image or an array.
        picture: The picture to look in.
        k: Number of boxes to return at most.

    Raises:
        DataError: If one cannot be read, holds nothing drawn although the model is for
            drawings, or the model takes no pictures.
        ValueError: If ``k`` is not positive.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    for side in ("left", "right"):
        if not verifier.input_of(side).subject:
            raise DataError(
                f"{verifier.name} takes no pictures on the {side} side, so it cannot look "
                "for anything in one; give a model of images with --model (in Python: "
                "another verifier)"
            )
    asked, shown = decode(query, "query"), decode(picture, "picture")
    name = name_of(picture, "picture")
    how, proposals, faces = propose(verifier, shown, asked.width / asked.height, name)
    loaded = None
    if faces is not None and verifier.shared and verifier.input.subject != "face":
        # A face in the query is framed as those of the picture are.
        with contextlib.suppress(DataError):
            loaded = faces.load(asked, "query")
    if loaded is None:
        loaded = verifier.input.load(asked, "query")
    embedding = verifier.embed_loaded([loaded])
    scores = _scores(verifier, embedding, proposals)
    for share in NEARER if how == "windows" else ():
        best = apart([proposal.box for proposal in proposals], scores, REFINED)
        boxes = [proposals[i].box for i in best]
        near = windows_near(verifier.right_input, shown, boxes, share)
        proposals += near
        scores = np.concatenate([scores, _scores(verifier, embedding, near)])
    boxes = [proposal.box for proposal in proposals]
    decision = verifier.decision
    limit = None if decision is None else decision.threshold_among(max(len(boxes), 1))
    threshold = None if limit is None else limit.threshold
    return Findings(
        query=name_of(query, "query"),
        picture=name,
        boxes=tuple(
            _found(verifier, boxes[i], float(scores[i]), len(boxes), threshold)
            for i in apart(boxes, scores, k)
        ),
        n_boxes=len(boxes),
        how=how,
        threshold=threshold,
        rate=None if limit is None else limit.fpir,
        is_for_many=decision is not None and bool(decision.identify),
        cohort=verifier.normalised_by,
        query_picture=np.asarray(asked),
        shown=np.asarray(shown),
    )


def draw_findings(findings: Findings, path: str | Path) -> Path:
    """Draw the query, and the picture with the boxes found.

    Args:
        findings: From ``find``.
        path: Ends in ``.png``, ``.jpg``, ``.webp`` or ``.pdf``.

    Raises:
        ValueError: If the ending is no known kind of picture.
    """
    boxes = []
    for found in findings.boxes:
        caption = f"{found.score:.3f}"
        if found.probability is not None:
            caption += f", p {found.probability:.3f}"
        edges = found.left, found.top, found.right, found.bottom
        boxes.append((edges, caption, found.is_same is True))
    return draw_boxes(findings.query_picture, findings.shown, boxes, str(findings), path)


def _scores(
    verifier: Verifier, query: NDArray[np.float32], proposals: Sequence[Proposal]
) -> NDArray[np.float32]:
    """Scores (N,) of the boxes, loaded batch by batch."""
    scores = [np.zeros(0, np.float32)]
    for start in range(0, len(proposals), BATCH):
        loaded = [proposal.load() for proposal in proposals[start : start + BATCH]]
        embeddings = verifier.embed_loaded(loaded, "right")
        scores.append(verifier.score(np.repeat(query, len(loaded), 0), embeddings))
    return np.concatenate(scores)


def _found(
    verifier: Verifier, box: Box, score: float, n_boxes: int, threshold: float | None
) -> Found:
    decision, probability, is_same = verifier.decision, None, None
    if decision is not None and threshold is not None:
        probability = decision.probability(score, decision.prior / n_boxes)
        is_same = True if score >= threshold else None
        is_same = False if score < min(decision.reject_below, threshold) else is_same
    return Found(*box, score, verifier.dissimilarity(score), probability, is_same)
