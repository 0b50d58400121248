"""Whole folders: enroll IDENTITY/IMAGE, and see how well others of them are identified."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from onelook.data.archives import open_tree
from onelook.data.inputs.images import read_bytes, refuse_bad
from onelook.data.sources.class_folders import IMAGE_SUFFIXES
from onelook.errors import DataError
from onelook.evaluation.openset import OpenSet, open_set
from onelook.gallery.answers import Identification
from onelook.gallery.gallery import Enrolled, Gallery, digest_of
from onelook.progress import tracked
from onelook.vectors import addresses_of

BLOCK = 64
MANY = 10_000  # new images, after which a store may want to index them


@dataclass(frozen=True)
class FolderEnrolled(Enrolled):
    """What ``enroll_folder`` did: counts, and the files that could not be read."""

    n_identities: int
    bad: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        text = f"{self.n_new:,} images of {self.n_identities:,} identities enrolled"
        return text + (f", {self.n_known:,} were there already" if self.n_known else "")


def images_of_identities(
    folder: str | Path, at_most: int | None = None
) -> list[tuple[str, str]]:
    """(identity, address) of all images in a folder or archive, in the order of names.

    An image belongs to the folder it lies in, ``ALPHABET/CHARACTER`` where folders are
    nested; one that lies in no folder is an identity of its own, named as the file.

    Args:
        folder: Folder, zip, or a folder in a zip.
        at_most: Only so many images, the first, of each identity.

    Raises:
        DataError: If there is no image.
    """
    tree = open_tree(folder)
    counts: dict[str, int] = {}
    found = []
    for name in map(PurePosixPath, tree.names):
        if name.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        identity = str(name.parent) if name.parent.name else name.stem
        counts[identity] = counts.get(identity, 0) + 1
        if at_most is None or counts[identity] <= at_most:
            found.append((identity, tree.address(str(name))))
    if not found:
        raise DataError(f"{folder} holds no images; expected IDENTITY/IMAGE, or images")
    return found


def enroll_folder(
    gallery: Gallery,
    folder: str | Path,
    metadata: dict[str, Any] | None = None,
    at_most: int | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> FolderEnrolled:
    """Enroll a folder of ``IDENTITY/IMAGE``; durable block by block.

    Begun again after a stop, it does not encode what is enrolled.

    Args:
        gallery: Where to.
        folder: See ``images_of_identities``.
        metadata: JSON values that are kept with each image.
        at_most: Only so many images, the first, of each identity.
        skip_bad: Go on without unreadable images; ``bad`` names them.
        progress: Draw a bar on a terminal.

    Raises:
        DataError: If there is no image, or, at the end, if some could not be read.
    """
    images = images_of_identities(folder, at_most)
    return _enroll_all(gallery, images, metadata, skip_bad, progress)


def enroll_named(
    gallery: Gallery,
    identity: str,
    paths: Sequence[str | Path],
    metadata: dict[str, Any] | None = None,
    at_most: int | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> FolderEnrolled:
    """Enroll files, and all files of folders and archives, as one identity.

    The arguments are those of ``enroll_folder``.
    """
    addresses = addresses_of(gallery.verifier, paths, "right")[:at_most]
    images = [(identity, address) for address in addresses]
    return _enroll_all(gallery, images, metadata, skip_bad, progress)


def _enroll_all(
    gallery: Gallery,
    images: Sequence[tuple[str, str]],
    metadata: dict[str, Any] | None,
    skip_bad: bool,
    progress: bool,
) -> FolderEnrolled:
    n_new, bad = 0, list[tuple[str, str]]()
    for block in _blocks(images, "enrolling", progress):
        new, unreadable = _enroll_block(gallery, block, metadata)
        n_new, bad = n_new + new, bad + unreadable
    if n_new >= MANY:
        gallery.maintain()  # a program that only enrolls ends before its index is made
    if not skip_bad or len(bad) == len(images):
        refuse_bad(bad, len(images))
    return FolderEnrolled(
        n_new=n_new,
        n_known=len(images) - n_new - len(bad),
        n_identities=len({identity for identity, _ in images}),
        bad=tuple(bad),
    )


def _enroll_block(
    gallery: Gallery, block: Sequence[tuple[str, str]], metadata: dict[str, Any] | None
) -> tuple[int, list[tuple[str, str]]]:
    """How many are new, and what is bad; one by one where the block has a bad file."""
    try:
        return gallery.enroll_many(block, metadata).n_new, []
    except DataError as error:
        if len(block) == 1:
            address = block[0][1]
            return 0, [(address, str(error).removeprefix(f"{address}: "))]
    parts = [_enroll_block(gallery, [one], metadata) for one in block]
    return sum(new for new, _ in parts), [one for _, bad in parts for one in bad]


def check_folder(
    gallery: Gallery, folder: str | Path, progress: bool = True
) -> tuple[OpenSet, list[tuple[str, str, Identification]]]:
    """Identify all images of ``IDENTITY/IMAGE`` and count how often that was right.

    Folders whose name is not enrolled hold strangers. Images that are enrolled themselves
    are left out.

    Returns:
        The counts, and (identity, address, answer) of every image.

    Raises:
        DataError: If there is no image, or one cannot be read.
    """
    enrolled = gallery.identities()
    digests_of = cache(gallery.digests)  # of those that are asked about, no others
    answers = []
    for block in _blocks(images_of_identities(folder), "identifying", progress):
        left = [
            (who, address)
            for who, address in block
            if who not in enrolled or digest_of(read_bytes(address)) not in digests_of(who)
        ]
        found = gallery.identify_many([address for _, address in left])
        answers += [(who, at, a) for (who, at), a in zip(left, found, strict=True)]
    if not answers:
        raise DataError(f"every image of {folder} is enrolled itself: nothing to identify")
    rows = [(who, answer, answer.matches) for who, _, answer in answers]
    result = open_set(
        is_known=[who in enrolled for who, _, _ in rows],
        best_is_right=[bool(m) and m[0].identity == who for who, _, m in rows],
        is_named=[answer.identity is not None for _, answer, _ in rows],
        best_scores=[m[0].score if m else -np.inf for _, _, m in rows],
        fpir=answers[0][2].fpir,
        extrapolated=answers[0][2].extrapolated,
    )
    return result, answers


def _blocks(
    images: Sequence[tuple[str, str]], what: str, progress: bool
) -> Iterator[Sequence[tuple[str, str]]]:
    for start in tracked(range(0, len(images), BLOCK), what, progress):
        yield images[start : start + BLOCK]
