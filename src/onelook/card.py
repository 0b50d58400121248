"""TrainingCard: what is known of a model, kept with it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Fact = str | int | float | None
WORTH_ASKING = 0.65  # AUC


class Part(BaseModel):
    """Base of what a model folder keeps: unknown keys and NaN are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class TrainingMetrics(Part):
    """What the held-out classes said at the end of a training."""

    # The figure by which the best epoch was chosen, and its value.
    figure: str = ""
    value: float | None = None
    best_epoch: int | None = None
    seconds: float | None = None
    auc: float | None = None
    eer: float | None = None
    # Where same and different pairs part best, for protocols that need a threshold.
    best_threshold: float | None = None
    # The AUC of the same pairs by other means: plain pixels, the network it began with.
    compared: dict[str, float] = Field(default_factory=dict)


class CalibrationFacts(Part):
    """What a decision was fitted on, and how it held on classes left out of the fit."""

    data: str = ""
    items: int | None = None
    # Of the images, so that a check on the same ones is noticed.
    fingerprint: str = ""
    far: float | None = None
    frr: float | None = None
    calibration_error: float | None = None
    # Shares of images that are called unfamiliar: of those left out, and of other kinds.
    flagged_own: float | None = None
    flagged_others: float | None = None
    notes: tuple[str, ...] = ()


class Start(Part):
    """The model whose weights a training began with."""

    name: str
    fingerprint: str


class Figure(Part):
    """One figure of a protocol, as a fraction, and the command that measures it."""

    protocol: str
    metric: str
    value: float
    interval: tuple[float, float] | None = None
    command: str


class TrainingCard(Part):
    """What is known of a model: its name, purpose, training and figures."""

    name: str = "verifier"
    # What it is meant for, in words.
    purpose: str = ""
    # What its pictures show: "face" where a detector may frame the faces for it.
    subject: str = ""
    # The recipe it was trained by, as plain values.
    recipe: dict[str, Any] | None = None
    # What it was trained on, for people; "fingerprint" is that of the training images.
    data: dict[str, Fact] = Field(default_factory=dict)
    start: Start | None = None
    metrics: TrainingMetrics | None = None
    calibration: CalibrationFacts | None = None
    shipped_by: str = ""
    figures: tuple[Figure, ...] = ()

    @property
    def warning(self) -> str:
        """That the model is hardly better than chance, where its training measured that."""
        auc = None if self.metrics is None else self.metrics.auc
        if auc is None or auc >= WORTH_ASKING:
            return ""
        return (
            f"{self.name} is hardly better than chance (AUC {auc:.2f} on classes left out; "
            "0.5 is guessing): give it more classes, or more images of each"
        )

    @property
    def data_settings(self) -> dict[str, Any]:
        """The "data" block of its recipe; empty where it has none."""
        settings: dict[str, Any] = (self.recipe or {}).get("data", {})
        return settings


# Keys of format 1, and what they are now.
_OLD_METRICS = {
    "held-out figure": "figure",
    "held-out value": "value",
    "best epoch": "best_epoch",
    "held-out AUC": "auc",
    "held-out EER": "eer",
    "held-out best threshold": "best_threshold",
}
_OLD_CALIBRATION = {
    "FAR on classes left out": "far",
    "FRR on classes left out": "frr",
    "calibration error on classes left out": "calibration_error",
}


def modern_card(old: dict[str, Any]) -> dict[str, Any]:
    """The card of a model of format 1 with today's keys."""
    card = {("shipped_by" if key == "shipped by" else key): old[key] for key in old}
    if "faces" in str(card.get("purpose")):
        card["subject"] = "face"
    metrics = dict(card.get("metrics") or {})
    calibration = dict(card.get("calibration") or {})
    # A training wrote how its decision held among its metrics.
    calibration |= {key: metrics.pop(key) for key in _OLD_CALIBRATION if key in metrics}
    for name, part, keys in (
        ("metrics", metrics, _OLD_METRICS),
        ("calibration", calibration, _OLD_CALIBRATION),
    ):
        if part:
            card[name] = {keys.get(key, key): value for key, value in part.items()}
    return card
