"""Schemas: the shape of every answer, with an example of each, for the OpenAPI document."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]}, extra="forbid")


_PAIR = {
    "left": "a.png",
    "right": "b.png",
    "score": 0.8124,
    "dissimilarity": 0.1876,
    "probability": 0.9858,
    "is_same": True,
    "threshold": 0.6413,
    "far": 0.01,
    "verdict": "same",
}
_MATCH = {
    "identity": "Ada",
    "score": 0.8124,
    "dissimilarity": 0.1876,
    "probability": 0.9712,
    "is_same": True,
    "n_images": 3,
    "entry": 17,
}


class Failure(BaseModel):
    """What was wrong and what to do next."""

    model_config = _example(error="the field left is missing; put an image file there")
    error: str


class PairAnswer(BaseModel):
    """One pair: a score grows when the two are more alike; null is unsure."""

    model_config = _example(**_PAIR)
    left: str
    right: str
    score: float
    dissimilarity: float
    probability: float | None
    is_same: bool | None
    threshold: float | None
    far: float | None
    verdict: Literal["same", "different", "unsure", ""]


class Pictures(BaseModel):
    """``data:`` addresses of PNG images; heat maps are transparent, to lie over them."""

    left: str
    right: str
    left_alike: str
    right_alike: str
    left_apart: str
    right_apart: str


class ExplainedAnswer(PairAnswer):
    """A pair with what made it alike and what told it apart."""

    model_config = _example(
        **_PAIR, pictures=dict.fromkeys(Pictures.model_fields, "data:image/png;base64,…")
    )
    pictures: Pictures


class Embeddings(BaseModel):
    """One vector an image, in the order that they came in."""

    model_config = _example(
        model="omniglot", fingerprint="0123456789abcdef", vectors=[[0.12, -0.08, 0.33]]
    )
    model: str
    fingerprint: str
    vectors: list[list[float]]


class MatchAnswer(BaseModel):
    """One identity beside the probe."""

    model_config = _example(**_MATCH)
    identity: str
    score: float
    dissimilarity: float
    probability: float | None
    is_same: bool | None
    n_images: int
    entry: int


class IdentifyAnswer(BaseModel):
    """Who an image shows: an enrolled identity, or unknown."""

    model_config = _example(
        identity="Ada",
        verdict="known",
        matches=[_MATCH],
        threshold=0.71,
        fpir=0.01,
        extrapolated=False,
        gallery_size=120,
    )
    identity: str | None
    verdict: Literal["known", "unknown", ""]
    matches: list[MatchAnswer]
    threshold: float | None
    fpir: float | None
    extrapolated: bool
    gallery_size: int


class EnrollAnswer(BaseModel):
    """How many images were new, and how many the identity had already."""

    model_config = _example(identity="Ada", new=2, known=1)
    identity: str
    new: int
    known: int


class IdentityRow(BaseModel):
    """One identity of a gallery; ``entry`` is its first image."""

    model_config = _example(identity="Ada", images=3, entry=17)
    identity: str
    images: int
    entry: int


class IdentityPage(BaseModel):
    """Identities by name; ``next`` is what ``after`` must be for the page that follows."""

    model_config = _example(
        identities=[{"identity": "Ada", "images": 3, "entry": 17}], next=None, total=1
    )
    identities: list[IdentityRow]
    next: str | None
    total: int


class EntryRow(BaseModel):
    """One enrolled image."""

    model_config = _example(entry=17, metadata={"camera": "door"})
    entry: int
    metadata: dict[str, Any]


class IdentityAnswer(BaseModel):
    """One identity with its images."""

    model_config = _example(identity="Ada", images=[{"entry": 17, "metadata": {}}])
    identity: str
    images: list[EntryRow]


class ForgetAnswer(BaseModel):
    """How many images were removed, from disk too."""

    model_config = _example(identity="Ada", forgotten=3)
    identity: str
    forgotten: int


class RenameAnswer(BaseModel):
    """The identity's new name and how many images it has."""

    model_config = _example(identity="Ada Lovelace", images=3)
    identity: str
    images: int


class Roc(BaseModel):
    """Share of same pairs that are accepted, at each false-accept rate."""

    far: list[float]
    tar: list[float]


class Histogram(BaseModel):
    """Shares of same and of different pairs whose score lies between two edges."""

    edges: list[float]
    same: list[float]
    different: list[float]


class Calibration(BaseModel):
    """What was measured when the model was calibrated, by threshold."""

    roc: Roc
    histogram: Histogram
    thresholds: list[float]
    far: list[float]
    frr: list[float]


class ModelAnswer(BaseModel):
    """The model that answers."""

    model_config = _example(
        name="omniglot",
        purpose="drawings of characters",
        fingerprint="0123456789abcdef",
        similarity="cosine",
        takes="images",
        decision={"threshold": 0.6413, "far": 0.01},
        card={"name": "omniglot"},
        card_text="# omniglot",
        calibration=None,
    )
    name: str
    purpose: str
    fingerprint: str
    similarity: str
    takes: str
    decision: dict[str, Any] | None
    card: dict[str, Any]
    card_text: str
    calibration: Calibration | None


class SettingsAnswer(BaseModel):
    """What this caller may do, and the limits."""

    model_config = _example(
        writable=True,
        gallery=True,
        max_bytes=33554432,
        max_pixels=40000000,
        max_images=32,
        token_needed=False,
    )
    writable: bool
    gallery: bool
    max_bytes: int
    max_pixels: int
    max_images: int
    token_needed: bool


class Health(BaseModel):
    """Alive, or ready."""

    model_config = _example(status="ok")
    status: str
