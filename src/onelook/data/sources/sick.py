"""SICK 2014: pairs of English sentences and how related people find them."""

from pathlib import Path, PurePosixPath

import numpy as np

from onelook.data.archives import locate, open_tree
from onelook.data.items import Pairs
from onelook.data.sources.fetch import Archive
from onelook.data.sources.pair_tables import read_pair_table
from onelook.data.sources.source import Source, unknown_part
from onelook.errors import DataError
from onelook.recipe import DataSettings

_HOME = "http://alt.qcri.org/semeval2014/task1/data/uploads"
_FILES = {
    "train": ("SICK_train.txt", "sick_train.zip"),
    "trial": ("SICK_trial.txt", "sick_trial.zip"),
    "test": ("SICK_test_annotated.txt", "sick_test_annotated.zip"),
}


_COLUMNS = DataSettings(
    source="sick",
    left_column="sentence_A",
    right_column="sentence_B",
    label_column="relatedness_score",
    left_side="text",
    right_side="text",
    label="target",
)


def sick(root: str | Path, split: str = "train") -> Pairs:
    """Sentence pairs of SICK 2014; ``targets`` is their relatedness, from 1 to 5.

    ``split`` is ``"train"`` (4,500 pairs), ``"trial"`` (500) or ``"test"`` (4,927).
    """
    if split not in _FILES:
        raise ValueError(f"unknown split {split!r} of SICK; known: {', '.join(_FILES)}")
    text, archive = _FILES[split]
    found = locate(root, ("", "sick"), (text, archive))
    if found is None:
        raise DataError(
            f"no {text} and no {archive} in {root}; "
            "onelook data sick --download fetches the official archives"
        )
    table = str(found)
    if found.suffix == ".zip":
        tree = open_tree(found)
        name = next((n for n in tree.names if PurePosixPath(n).name == text), None)
        if name is None:
            raise DataError(f"{found} holds no {text}; fetch it again")
        table = tree.address(name)
    pairs = read_pair_table(table, "", _COLUMNS, quotes=False)
    assert pairs.targets is not None and pairs.line_numbers is not None
    outside = np.flatnonzero((pairs.targets < 1) | (pairs.targets > 5))
    if len(outside):
        raise DataError(
            f"{table}:{pairs.line_numbers[outside[0]]}: relatedness must be from 1 to 5, "
            f"got {pairs.targets[outside[0]]}"
        )
    return pairs


def _open(root: str | Path, settings: DataSettings) -> Pairs:
    """One part, all three, or those of a training: the trial pairs are its validation."""
    if settings.part in _FILES:
        return sick(root, settings.part)
    if settings.part == "train+trial":
        parts = {"train": sick(root, "train"), "validation": sick(root, "trial")}
    elif settings.part == "all":
        parts = {split: sick(root, split) for split in _FILES}
    else:
        raise unknown_part(SOURCE, settings.part)
    return Pairs(
        tuple(text for part in parts.values() for text in part.left),
        tuple(text for part in parts.values() for text in part.right),
        targets=np.concatenate([np.asarray(part.targets) for part in parts.values()]),
        splits=np.repeat(list(parts), [len(part) for part in parts.values()]),
        source="SICK",
        left_side="text",
        right_side="text",
    )


SOURCE = Source(
    "sick",
    "SICK 2014: 9,927 pairs of sentences, graded from 1 to 5",
    _open,
    parts=("train+trial", "train", "trial", "test", "all"),
    protocol="sick-test",
    # No checksums are published: zip's own test (CRC-32) has to do.
    archives=tuple(Archive(name, (f"{_HOME}/{name}",)) for _, name in _FILES.values()),
    marks=tuple(text for text, _ in _FILES.values()),
)
