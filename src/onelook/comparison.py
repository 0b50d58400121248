"""Comparison: what a model says of one pair, in every door the same."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What the network says of one pair.

    ``score`` is larger when more alike and ``dissimilarity`` smaller; ``is_same`` is None
    when the model is unsure, or when it carries no decision. ``threshold`` is a score and
    accepts the share ``far`` of different pairs.
    """

    left: str
    right: str
    score: float
    dissimilarity: float
    probability: float | None
    is_same: bool | None
    threshold: float | None
    far: float | None

    @property
    def verdict(self) -> str:
        """ "same", "different" or "unsure"; empty where the model carries no threshold."""
        if self.threshold is None:
            return ""
        return {True: "same", False: "different", None: "unsure"}[self.is_same]

    @property
    def caption(self) -> str:
        """What stands under a picture of the pair, in one or two lines."""
        return f"Dissimilarity: {self.dissimilarity:.4f}\n{self.verdict}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        if self.threshold is None:
            return (
                f"dissimilarity {self.dissimilarity:.4f}; the model carries no "
                "threshold, so same or different is not said"
            )
        return (
            f"{self.verdict}: probability {self.probability:.3f}, dissimilarity "
            f"{self.dissimilarity:.4f} (score {self.score:.4f}, threshold "
            f"{self.threshold:.4f} at a false-accept rate of {self.far:g})"
        )
