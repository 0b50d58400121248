"""The AT&T faces: 40 people, ten photographs each."""

import logging
import re
from pathlib import Path

import numpy as np

from onelook.data.archives import locate, open_tree
from onelook.data.items import Dataset
from onelook.data.sources.fetch import Archive
from onelook.data.sources.source import Source, unknown_part
from onelook.errors import DataError
from onelook.recipe import DataSettings

# The people that harveyslash (2017) tests on and never trains on.
TEST_PEOPLE = (5, 6, 7)

_PORTRAIT = re.compile(r"(?:(?:.*/)?(training|testing)/|.*/)?s(\d+)/(\d+)\.(?:pgm|png)")

logger = logging.getLogger(__name__)


def att(root: str | Path) -> Dataset:
    """The AT&T faces: 40 people with ten photographs each, in two splits.

    ``splits`` is that of harveyslash (2017): ``"test"`` for s5, s6 and s7, which the
    archive has in ``testing/``, and ``"train"`` for the other 37. ``folds`` are 8 folds of
    5 people in numeric order: s1 to s5 are fold 1. ``root`` is ``att_faces.zip``, its
    unpacked tree, the plain tree ``s1/1.pgm``, or a folder that holds one of these.
    """
    found = locate(root, ("", "att_faces"), ("att_faces.zip",))
    found = found or locate(root, ("",), ("att_faces", "orl_faces"))
    tree = open_tree(root if found is None else found)
    portraits = []
    for name in tree.names:
        match = _PORTRAIT.fullmatch(name)
        if match:
            person = int(match[2])
            folder = match[1] or ("testing" if person in TEST_PEOPLE else "training")
            split = "test" if folder == "testing" else "train"
            portraits.append((person, int(match[3]), tree.address(name), split))
    if not portraits:
        wanted = "no portraits s1/1.pgm … s40/10.pgm"
        raise DataError(f"{wanted} in {root}; put att_faces.zip there")
    portraits.sort()
    if len(portraits) != 400:
        logger.warning(f"{root} has {len(portraits)} portraits, AT&T has 400: is it whole?")
    people, labels = np.unique([p[0] for p in portraits], return_inverse=True)
    return Dataset(
        name="AT&T faces",
        paths=tuple(address for _, _, address, _ in portraits),
        labels=labels.astype(np.int64),
        class_names=tuple(f"s{person}" for person in people),
        folds=(people[labels].astype(np.int64) - 1) // 5 + 1,
        splits=np.array([split for *_, split in portraits]),
    )


def _open(root: str | Path, settings: DataSettings) -> Dataset:
    people, part = att(root), settings.part
    if part in ("train", "test"):
        return people.of_split(part)
    fold = part.removeprefix("not-fold")
    if part != "all" and fold not in map(str, range(1, 9)):
        raise unknown_part(SOURCE, part)
    assert people.folds is not None
    return people if part == "all" else people.subset(people.folds != int(fold))


SOURCE = Source(
    "att",
    "the AT&T faces: 40 people, 400 photographs",
    _open,
    parts=("train", "test", "not-fold1", "all"),
    protocol="att-s5-s7",
    # No checksum is published: zip's own test (CRC-32) has to do.
    archives=(
        Archive(
            "att_faces.zip",
            ("https://www.cl.cam.ac.uk/research/dtg/attarchive/pub/data/att_faces.zip",),
        ),
    ),
    marks=("training/s1", "s1"),
    folder="att_faces",
)
