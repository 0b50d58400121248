"""Comparison: the answer for one pair, with the same fields in Python, CLI and HTTP."""

import base64
import dataclasses
import html
import io
from pathlib import Path
from typing import Any, Literal

from PIL import Image

THUMBNAIL = (128, 128)  # pixels, in a notebook


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What the network says of one pair.

    Args:
        left: Path, file name or text of the left item.
        right: The same of the right item.
        score: Larger when the two are more alike.
        dissimilarity: Smaller when the two are more alike; 0 for identical items, unless
            the score is normalised by a cohort.
        probability: Probability that the two are the same; None without a decision.
        is_same: True or False; None when the model is unsure or carries no decision.
        threshold: Score from which the two are the same; None without a decision.
        far: Fraction of different pairs that the threshold falsely accepts.
        cohort: What the score is centred or normalised by; empty for a plain score.
        familiar: Whether both look like what the model was calibrated on, or like the
            cohort; False makes the verdict "unsure", None says that it is not known.
        reason: Which one does not, and what to do; empty if none.

    Attributes:
        verdict: "same", "different" or "unsure"; empty where there is no threshold.
    """

    left: str
    right: str
    score: float
    dissimilarity: float
    probability: float | None
    is_same: bool | None
    threshold: float | None
    far: float | None
    cohort: str = ""
    familiar: bool | None = None
    reason: str = ""
    verdict: Literal["same", "different", "unsure", ""] = dataclasses.field(
        init=False, default=""
    )

    # In the OpenAPI document the verdict is a field that every answer has.
    __pydantic_config__ = {"json_schema_serialization_defaults_required": True}

    def __post_init__(self) -> None:
        if self.threshold is not None:
            verdict = {True: "same", False: "different", None: "unsure"}[self.is_same]
            object.__setattr__(self, "verdict", verdict)

    def __bool__(self) -> bool:
        """Refused: an unsure answer is neither true nor false.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "an answer is no bool: ask for .is_same (None when unsure) or .verdict"
        )

    @property
    def caption(self) -> str:
        """One or two lines to stand under a picture of the pair."""
        return f"Dissimilarity: {self.dissimilarity:.4f}\n{self.verdict}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        if self.threshold is None:
            return (
                f"dissimilarity {self.dissimilarity:.4f}; no verdict, since the model has "
                "no threshold: add one with onelook calibrate"
            )
        found = f"probability {self.probability:.3f}"
        if self.reason:
            found = self.reason
        return (
            f"{self.verdict}: {found}, dissimilarity {self.dissimilarity:.4f} "
            f"(score {self.score:.4f}, threshold "
            f"{self.threshold:.4f} at a false-accept rate of {self.far:g}"
            + (f" there; {self.cohort})" if self.cohort else ")")
        )

    def _repr_html_(self) -> str:
        """A small table for notebooks, with the two pictures where their files exist."""
        values = self.to_dict()
        left, right = (_shown(values.pop(side)) for side in ("left", "right"))
        rows = "".join(
            f"<tr><th>{name}</th><td>{_cell(value)}</td></tr>"
            for name, value in {"verdict": values.pop("verdict"), **values}.items()
        )
        return f"<table><tr><td>{left}</td><td>{right}</td></tr>{rows}</table>"


def _shown(item: str) -> str:
    """An item for people: its picture where it is an image file, else its text."""
    text = html.escape(item)
    try:
        with Image.open(Path(item)) as image:
            image.thumbnail(THUMBNAIL)
            return f'<img src="{data_address(image)}" alt="{text}">'
    except (OSError, ValueError):
        return text


def _cell(value: float | str | bool | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def data_address(image: Image.Image) -> str:
    """An image as a ``data:`` address of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
