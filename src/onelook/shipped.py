"""Shipped: the models that come with onelook, known by name."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_MODEL = "omniglot"
FOLDER = Path(__file__).parent / "pretrained"
# What a model with this kind of input needs besides the core of onelook.
_NEEDS = {"face": "onelook[faces]"}


@dataclass(frozen=True)
class ShippedModel:
    """A model that ships with onelook.

    Args:
        name: What ``load`` and ``--model`` take.
        purpose: What it is for.
        needs: The extra to install; empty where the core is enough.
    """

    name: str
    purpose: str
    needs: str


def shipped_names() -> list[str]:
    """Names of the models that ship with onelook, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob("*/model.json"))


def shipped_models() -> list[ShippedModel]:
    """The models that ship with onelook, sorted by name; none of them is loaded."""
    return [
        ShippedModel(name, content["card"]["purpose"], _NEEDS.get(input_kind(content), ""))
        for name in shipped_names()
        for content in [read_settings(name)]
    ]


def shipped_folder(name: str) -> Path | None:
    """The folder of a shipped model; None if there is none of that name."""
    return FOLDER / name if name in shipped_names() else None


def folder_of(name: str) -> Path:
    """The folder of a model: the one of that path, or of a shipped model's name."""
    folder = Path(name).expanduser()
    if (folder / "model.json").is_file():
        return folder
    return shipped_folder(name) or folder


def read_settings(name: str) -> dict[str, Any]:
    """The content of a model's ``model.json``; empty where ``load`` will say why."""
    try:
        content = json.loads((folder_of(name) / "model.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def input_kind(settings: dict[str, Any]) -> str:
    """What a model takes ("image", "face", "text", "strokes"); empty where unknown."""
    preprocess = settings.get("preprocess")
    return str(preprocess.get("kind", "")) if isinstance(preprocess, dict) else ""
