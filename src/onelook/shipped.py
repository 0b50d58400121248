"""Shipped: the models that come with onelook, known by name."""

from pathlib import Path

DEFAULT_MODEL = "omniglot"
FOLDER = Path(__file__).parent / "pretrained"


def shipped_names() -> list[str]:
    """Names of the models that ship with onelook, sorted."""
    return sorted(path.parent.name for path in FOLDER.glob("*/model.json"))


def shipped_folder(name: str) -> Path | None:
    """The folder of a shipped model; None if there is none of that name."""
    return FOLDER / name if name in shipped_names() else None
