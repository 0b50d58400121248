"""Parts of sources, trained on or tested on, and what a training holds out."""

from pathlib import Path

import numpy as np

from onelook.data.items import Dataset
from onelook.data.sources import class_folders as sources
from onelook.data.sources import lfw, omniglot
from onelook.errors import DataError
from onelook.recipe import DataSettings

FIRST_TEST_DIGIT = 7


def digits_part(part: str) -> Dataset:
    """The digits 0 to 6 ("train"), or 7, 8 and 9 ("test"), which no recipe trains on."""
    digits = sources.digits()
    is_test = np.array([int(name) >= FIRST_TEST_DIGIT for name in digits.class_names])
    return digits.subset(is_test[digits.labels] == (part == "test"), f"digits {part}")


STROKE_FOLDS = 4


def stroke_fold_alphabets(alphabets: tuple[str, ...], fold: int) -> list[str]:
    """The test alphabets of fold 1 to 4: every fourth alphabet in alphabetical order."""
    return sorted(alphabets)[fold - 1 :: STROKE_FOLDS]


def stroke_part(both: omniglot.StrokeData, part: str) -> omniglot.StrokeData:
    """All alphabets (""), those of a fold ("fold1"), or those outside it ("not-fold1")."""
    if not part:
        return both
    tested = stroke_fold_alphabets(both.images.group_names, int(part[-1]))
    wanted = [
        name
        for name in both.images.group_names
        if (name in tested) != part.startswith("not-")
    ]
    return omniglot.StrokeData(
        strokes=both.strokes.of_groups(wanted), images=both.images.of_groups(wanted)
    )


def labelled_dataset(settings: DataSettings, data: str | Path | None) -> Dataset:
    """The items of a source that may be trained or validated on; never its test classes."""
    part = settings.part
    if settings.source == "omniglot":
        root = sources.find_data("omniglot", data)
        if part == "vinyals":
            return omniglot.omniglot_vinyals(root).of_split("train")
        if part == "koch":
            return omniglot.omniglot_koch(root).of_split("train")
        return omniglot.omniglot(root, part or "background")
    if settings.source == "att":
        people = sources.att(sources.find_data("att", data))
        if part.startswith("not-fold"):
            assert people.folds is not None
            return people.subset(people.folds != int(part.removeprefix("not-fold")))
        return people.of_split(part or "train")
    if settings.source == "lfw":
        root = sources.find_data("lfw", data)
        if part.startswith("not-fold"):
            return lfw.lfw_people_outside(root, lfw.folds_of_part(part))
        return lfw.lfw_people(root, part or "DevTrain")
    if settings.source == "digits":
        return digits_part(part or "train")
    if data is None:
        raise DataError(
            f"a {settings.source} recipe needs --data, the folder of your images"
        )
    return sources.class_folder(data, depth=settings.depth)


def split_held_out(
    dataset: Dataset, settings: DataSettings, seed: int
) -> tuple[Dataset, Dataset]:
    """What is trained on, and the classes that a training holds out whole."""
    fraction = settings.validation_fraction
    parts = {"train": 1 - fraction, "validation": fraction}
    split = dataset.split_by_class
    if settings.validation_by == "name":
        split = dataset.split_by_name
    elif settings.validation_by == "group" and dataset.groups is not None:
        split = dataset.split_by_group
    halves = split(parts, seed)
    return halves["train"], halves["validation"]
