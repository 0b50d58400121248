"""Data that a model has not seen: what its training held out, or yours without its own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onelook.data.items import Dataset, Pairs
from onelook.data.reading import address_parts
from onelook.data.sources import DATA_SETS, open_source, open_training_data, source_of
from onelook.errors import DataError
from onelook.recipe import DataSettings
from onelook.verifier import Verifier


@dataclass(frozen=True, eq=False)
class DataChoice:
    """Which data a calibration uses.

    ``data`` is a data set's name, a class folder or a pair file, or what was opened
    already; None for the classes that the model's own training held out. ``root`` is where
    a data set or the training's data lies, or what the paths of a pair file are relative
    to.
    """

    data: str | Path | Dataset | Pairs | None = None
    part: str = ""
    root: str | Path | None = None
    depth: int | None = None
    same: int | None = None


@dataclass(frozen=True, eq=False)
class Unseen:
    """Data that a model was not trained on, as far as that is known; notes say how far."""

    data: Dataset | Pairs
    notes: tuple[str, ...]


def held_out_classes(verifier: Verifier, data: str | Path | None = None) -> Dataset:
    """The classes that the model's own training, on ``data``, held out."""
    if _has_head(verifier):
        raise DataError(
            f"{verifier.name} holds nothing out: all classes fitted its head, and its "
            "thresholds by heads that did not see them; --data FOLDER fits them to others"
        )
    train, held = _halves(verifier, _open_trained(verifier, data))
    if train is None:
        raise DataError(
            f"this is not the data that {verifier.name} was trained on, so what was held "
            "out of it is not known; pass --data with classes that it has not seen"
        )
    return held


def note_on_trained(verifier: Verifier, dataset: Dataset) -> str:
    """That figures on this data say little, where the model was trained on it; else ""."""
    try:
        train, _ = _halves(verifier, dataset)
    except DataError:
        return ""
    if train is None:
        return ""
    return (
        f"{verifier.name} was trained on {train.n_classes:,} of the {dataset.n_classes:,} "
        f"classes of {dataset.name}: these figures are too good; measure other classes"
    )


def unseen(verifier: Verifier, choice: DataChoice) -> Unseen:
    """Open data and leave out what the model was trained on."""
    data, root = choice.data, choice.root
    if data is None:
        return Unseen(held_out_classes(verifier, root), ())
    if isinstance(data, Dataset | Pairs):
        opened = data
    else:
        own = verifier.card.data_settings.get("depth", 0)
        depth = own if choice.depth is None else choice.depth
        opened = open_source(data, choice.part, root, depth=depth, same=choice.same)
    try:
        source = source_of(_settings(verifier))
        here = root if DATA_SETS.get(str(data)) is source else None
        own_data = opened if source.yours else _open_trained(verifier, here)
        trained = _halves(verifier, own_data)[0] if isinstance(own_data, Dataset) else None
    except DataError:
        trained = None
    if trained is None:
        note = (
            f"the classes that {verifier.name} was trained on are not known here; make "
            "sure that none of these is among them, or the threshold is far too strict"
        )
        return Unseen(opened, (note,))
    return _without(opened, trained, verifier.name)


def _settings(verifier: Verifier) -> DataSettings:
    """What the model was trained on."""
    settings = verifier.card.data_settings
    if not settings:
        raise DataError(
            f"the card of {verifier.name} has no recipe, so what its training held out is "
            "not known; pass --data with classes that it has not seen"
        )
    return DataSettings.model_validate(settings)


def _open_trained(verifier: Verifier, root: str | Path | None) -> Dataset:
    """The data of the model's training, if that has classes of one kind of item."""
    settings = _settings(verifier)
    opened = open_training_data(settings, root)
    if not isinstance(opened, Dataset) or opened.right_paths is not None:
        raise DataError(
            f"{verifier.name} was trained on {settings.source}, whose held-out part cannot "
            "be opened again here; pass --data with classes that it has not seen"
        )
    return opened


def _halves(verifier: Verifier, dataset: Dataset) -> tuple[Dataset | None, Dataset]:
    """What was trained on (None where that was other data), and what was held out."""
    settings, seed = _settings(verifier), (verifier.card.recipe or {}).get("seed", 0)
    fraction, by = settings.validation_fraction, settings.validation_by
    if _has_head(verifier):
        train = held = dataset
    else:
        train, held = dataset.hold_out(fraction, seed, by)
    known = verifier.card.data.get("fingerprint")
    return (train if train.fingerprint == known else None), held


def _has_head(verifier: Verifier) -> bool:
    return "head" in (verifier.card.recipe or {})


def _without(opened: Dataset | Pairs, seen: Dataset, name: str) -> Unseen:
    """``opened`` without the classes, or pairs, of which the training saw a file."""
    tails = {_tail(path) for path in seen.paths}
    if isinstance(opened, Dataset):
        met = np.array([_tail(path) in tails for path in opened.paths], bool)
        classes = np.unique(opened.labels[met])
        if not len(classes):
            return Unseen(opened, ())
        keep = ~np.isin(opened.labels, classes)
        what = f"{len(classes):,} of {opened.n_classes:,} classes"
    else:
        sides = zip(opened.left, opened.right, strict=True)
        keep = np.array([not ({_tail(a), _tail(b)} & tails) for a, b in sides], bool)
        if keep.all():
            return Unseen(opened, ())
        what = f"{int((~keep).sum()):,} of {len(opened):,} pairs"
    if not keep.any():
        raise DataError(
            f"{name} was trained on all of it; pass --data with other classes, or leave "
            "--data out for those that its training held out"
        )
    return Unseen(opened.subset(keep), (f"left out {what}: {name} was trained on them",))


def _tail(path: str) -> str:
    """The last three parts of a path, which a fingerprint goes by too."""
    return "/".join(address_parts(path)[-3:])
