"""Omniglot's pen strokes: eight alphabets, each drawing beside the strokes that made it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from onelook.data.items import Dataset
from onelook.data.sources.omniglot import SOURCE as OMNIGLOT
from onelook.data.sources.omniglot import (
    Item,
    as_dataset,
    open_part,
    read_drawings,
    read_items,
)
from onelook.data.sources.source import Source, unknown_part
from onelook.errors import DataError

N_FOLDS = 4


def strokes(root: str | Path, part: str = "all") -> Dataset:
    """Drawings of eight alphabets; ``right_paths`` are the pen strokes that made them.

    The two small stroke archives share Greek and Latin; each alphabet is taken once.
    ``part`` is ``"all"``, ``"fold1"`` to ``"fold4"`` (every fourth alphabet in alphabetical
    order), or ``"not-fold1"`` to ``"not-fold4"`` (the other alphabets).
    """
    if part not in SOURCE.parts:
        raise unknown_part(SOURCE, part)
    taken: dict[tuple[str, str, str], Item] = {}
    for name in ("strokes_background_small1", "strokes_background_small2"):
        for item in read_items(open_part(root, name), ".txt"):
            taken.setdefault(item.key, item)
    pens = sorted(taken.values(), key=lambda item: item.key)
    images = {item.key: item for item in read_drawings(root, "background")}
    missing = [item for item in pens if item.key not in images]
    if missing:
        raise DataError(
            f"{missing[0].address} has no drawing in images_background "
            f"({len(missing)} of {len(pens)} have none); fetch images_background.zip again"
        )
    drawings = as_dataset("Omniglot drawings of strokes", [images[pen.key] for pen in pens])
    both = replace(drawings, right_paths=tuple(item.address for item in pens))
    if part == "all":
        return both
    tested = sorted(both.group_names)[int(part[-1]) - 1 :: N_FOLDS]
    assert both.groups is not None
    in_fold = np.isin(both.groups, [both.group_names.index(name) for name in tested])
    return both.subset(in_fold if part.startswith("fold") else ~in_fold)


_FOLDS = [f"fold{fold}" for fold in range(1, N_FOLDS + 1)]
SOURCE = Source(
    "strokes",
    "Omniglot's drawings of eight alphabets beside their pen strokes",
    lambda root, settings: strokes(root, settings.part),
    parts=("all", *_FOLDS, *(f"not-{fold}" for fold in _FOLDS)),
    protocol="strokes-20w",
    archives=OMNIGLOT.archives,
    marks=OMNIGLOT.marks,
    folder=OMNIGLOT.folder,
)
