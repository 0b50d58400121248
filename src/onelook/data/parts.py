"""Folders called train, val or test: parts of one data set, which hold the same classes."""

from collections import defaultdict
from collections.abc import Iterable

PARTS = frozenset("train training val valid validation dev test testing eval".split())


def split_off(folder: str) -> tuple[str, str]:
    """A folder without the names of parts in it, and these names.

    >>> split_off("train/Greek/alpha")
    ('Greek/alpha', 'train')
    """
    steps = folder.split("/")
    is_part = [step.lower() in PARTS for step in steps]
    kept = [step for step, part in zip(steps, is_part, strict=True) if not part]
    parts = [step for step, part in zip(steps, is_part, strict=True) if part]
    return "/".join(kept), "/".join(parts)


def recurring(folders: Iterable[str]) -> dict[str, set[str]]:
    """The classes that lie in several parts, with the names of these parts."""
    parts_of: defaultdict[str, set[str]] = defaultdict(set)
    for folder in set(folders):
        name, part = split_off(folder)
        if name and part:
            parts_of[name].add(part)
    return {name: parts for name, parts in sorted(parts_of.items()) if len(parts) > 1}


def named(classes: dict[str, set[str]]) -> str:
    """Recurring classes for a message: how many, where, and the first of them."""
    where = " and ".join(sorted(set().union(*classes.values())))
    first = ", ".join(list(classes)[:3]) + ", …" * (len(classes) > 3)
    names = "class name lies" if len(classes) == 1 else "class names lie"
    return f"{len(classes):,} {names} under {where} ({first})"
