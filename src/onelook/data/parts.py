"""Parts of sources, trained on or tested on, where nobody has published a split."""

import numpy as np

from onelook.data import omniglot, sources
from onelook.data.items import Dataset

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
