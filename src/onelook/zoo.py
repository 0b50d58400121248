"""Zoo: models known by name, their folders, and what each needs."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.errors import CheckpointError
from onelook.files import cache_folder, expanded

SETTINGS_FILE = "model.json"
DEFAULT_MODEL, PHOTO_MODEL = "omniglot", "photos"  # for drawings, for photographs
FOLDER = Path(__file__).parent / "pretrained"
HUB = re.compile(r"hf-hub:([\w.-]+/[\w.-]+?)(?:@([\w.-]+))?")


@dataclass(frozen=True)
class ShippedModel:
    """A model that ships with onelook; ``needs`` is an extra, or empty."""

    name: str
    purpose: str
    needs: str


@dataclass(frozen=True)
class FetchableModel(ShippedModel):
    """An encoder on the Hugging Face hub that ``fetch`` knows by name.

    Args:
        repository: Where it lies on the hub.
        licence: Of its weights.
        megabytes: What is downloaded.
        pooling: "cls", its class token, or "pooler", its own attention.
    """

    repository: str
    licence: str
    megabytes: int
    pooling: str


def _things(name: str, repository: str, megabytes: int, pooling: str) -> FetchableModel:
    purpose, licence = "photographs of things", "Apache-2.0"
    return FetchableModel(
        name, purpose, "onelook[hub]", repository, licence, megabytes, pooling
    )


FETCHABLE = (
    _things("dinov2-base", "facebook/dinov2-base", 346, "cls"),
    _things("dinov2-small", "facebook/dinov2-small", 88, "cls"),
    _things("siglip2-base", "google/siglip2-base-patch16-224", 1500, "pooler"),
)


def hub_address(name: str | Path) -> tuple[str, str] | None:
    """Repository and revision ("" for the newest) of a model of the hub, or None."""
    for one in FETCHABLE:
        if one.name == str(name):
            return one.repository, ""
    found = HUB.fullmatch(str(name))
    return None if found is None else (found[1], found[2] or "")


def fetched_folder(name: str | Path) -> Path | None:
    """Where in the user's cache a model of the hub is kept; None for all others."""
    if hub_address(name) is None:
        return None
    return cache_folder() / "hub" / str(name).removeprefix("hf-hub:").replace("/", "--")


def shipped_names() -> list[str]:
    """Names of the models that ship with onelook, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{SETTINGS_FILE}"))


def shipped_models() -> list[ShippedModel]:
    """The models that ship with onelook, sorted by name; none of them is loaded."""
    return [
        ShippedModel(name, content["card"]["purpose"], _needs(content))
        for name in shipped_names()
        for content in [raw_settings(name)]
    ]


@dataclass(frozen=True)
class ModelDetails(ShippedModel):
    """What a model's folder says of it, without loading it.

    Args:
        threshold: Score from which a pair is the same; None without a decision.
        far: False-accept rate that it stands for.
        figures: What protocols measured, as its card keeps it.
        text: Its README: what it takes, its licence, its figures, what it is not meant for.
    """

    threshold: float | None
    far: float | None
    figures: list[dict[str, Any]]
    text: str


def model_details(name: str) -> ModelDetails:
    """What is known of a shipped model, or of one in a folder.

    Raises:
        CheckpointError: If there is none of that name.
    """
    folder, content = existing_folder(name), raw_settings(name)
    card, decision = content.get("card") or {}, content.get("decision") or {}
    text = folder / "README.md"
    return ModelDetails(
        name=card.get("name") or folder.name,
        purpose=card.get("purpose", ""),
        needs=_needs(content),
        threshold=decision.get("threshold"),
        far=decision.get("far"),
        figures=card.get("figures", []),
        text=text.read_text("utf-8") if text.is_file() else "",
    )


def _needs(settings: dict[str, Any]) -> str:
    """What a model needs besides the core of onelook."""
    if input_kind(settings) == "face":
        return "onelook[faces]"
    weights = settings.get("weights") or {}
    return "onelook[photos]" if weights.get("of_encoder") else ""


def shipped_folder(name: str) -> Path | None:
    """The folder of a shipped model; None if there is none of that name."""
    return FOLDER / name if name in shipped_names() else None


def folder_of(name: str | Path) -> Path:
    """The folder of a model: of that path, or of a shipped or fetched model's name."""
    folder = expanded(name)
    if (folder / SETTINGS_FILE).is_file():
        return folder
    return shipped_folder(str(name)) or fetched_folder(name) or folder


def raw_settings(name: str) -> dict[str, Any]:
    """The content of a model's ``model.json``; empty where ``load`` will say why."""
    try:
        content = json.loads((folder_of(name) / SETTINGS_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def input_kind(settings: dict[str, Any]) -> str:
    """What a model takes ("image", "face", "text", "strokes"); empty where unknown."""
    preprocess = settings.get("preprocess")
    return str(preprocess.get("kind", "")) if isinstance(preprocess, dict) else ""


def existing_folder(name: str | Path) -> Path:
    """``folder_of`` a model that there is."""
    folder = folder_of(name)
    if (folder / SETTINGS_FILE).is_file():
        return folder
    if hub_address(name) is not None:
        raise CheckpointError(f"{name} is not fetched yet: onelook fetch {name}")
    if str(name).startswith("hf-hub:"):
        raise CheckpointError(
            f"{name}: expected hf-hub:ORG/NAME or hf-hub:ORG/NAME@REVISION"
        )
    what = "a folder without model.json" if folder.is_dir() else "no folder"
    if folder.is_file():
        what = "a file; name the folder that holds model.json"
    raise CheckpointError(
        f"no model {str(name)!r}: it is {what}; shipped with onelook: "
        f"{', '.join(shipped_names()) or 'none'}; "
        f"train one with: onelook train RECIPE --out {name}"
    )
