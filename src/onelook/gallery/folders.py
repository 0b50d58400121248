"""Files and folders of IDENTITY/IMAGE: enroll them, or check how they are identified."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, reduce
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from onelook.data.archives import addresses_of, holds_files, open_tree
from onelook.data.inputs.decoding import IMAGE_SUFFIXES
from onelook.data.parts import named, recurring, split_off
from onelook.data.reading import escaped, read_bytes, refuse_bad
from onelook.errors import DataError
from onelook.evaluation.openset import OpenSet, open_set
from onelook.gallery.answers import Identification
from onelook.gallery.gallery import Enrolled, Gallery
from onelook.gallery.store import clean_name, digest_of
from onelook.progress import tracked
from onelook.tables import counted

log = logging.getLogger(__name__)

One = TypeVar("One")
BLOCK = 64
MANY = 10_000  # new images from which on a store may need a new index


@dataclass(frozen=True)
class FilesEnrolled(Enrolled):
    """What ``enroll_files`` did: counts, and (address, reason) of unusable files."""

    n_identities: int = 0
    bad: tuple[tuple[str, str], ...] = ()

    def and_then(self, other: "FilesEnrolled") -> "FilesEnrolled":
        """This and what was done after it."""
        return FilesEnrolled(
            self.n_new + other.n_new,
            self.n_known + other.n_known,
            self.warnings + other.warnings,
            bad=self.bad + other.bad,
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        identities = counted(self.n_identities, "identity", "identities")
        text = f"{counted(self.n_new, 'image')} of {identities} enrolled"
        return text + (f", {self.n_known:,} were enrolled before" if self.n_known else "")


def images_of_identities(path: str | Path) -> list[tuple[str, str]]:
    """(identity, address) of an image, or of all images of a folder or archive, by name.

    An image belongs to the folder that it lies in, ``ALPHABET/CHARACTER`` where folders are
    nested. One that lies in no folder is an identity of its own, named like the file.
    """
    if not holds_files(path):
        return [(clean_name(PurePath(path).stem), str(path))]
    tree = open_tree(path).unwrapped()
    names = [PurePosixPath(name) for name in tree.files(IMAGE_SUFFIXES, path)]
    if not names:
        raise DataError(f"{path} holds no images; expected IDENTITY/IMAGE, or images")
    folders = [str(name.parent) if name.parent.name else "" for name in names]
    if shared := recurring(folders):
        log.warning(f"{path}: {named(shared)}; each is one identity here")
        folders = [split_off(folder)[0] for folder in folders]
    return [
        (clean_name(folder or name.stem), tree.address(str(name)))
        for folder, name in zip(folders, names, strict=True)
    ]


def enroll_files(
    gallery: Gallery,
    paths: Sequence[str | Path],
    *,
    identity: str | None = None,
    metadata: dict[str, Any] | None = None,
    at_most: int | None = None,
    skip_bad: bool = False,
    strict: bool = False,
    progress: bool = True,
) -> FilesEnrolled:
    """Enroll images, and all images of folders and archives; durable block by block.

    Run again after a stop, it does not encode what is already enrolled. Without
    ``identity``, names are as in ``images_of_identities``; of each, ``at_most`` images are
    taken. With ``strict``, poor examples are as bad as unreadable files.
    """
    if identity is None:
        by_path = [images_of_identities(path) for path in paths]
        _check_names(paths, by_path)
        found = [one for images_of_path in by_path for one in images_of_path]
    else:
        suffixes = gallery.verifier.input_of("right").suffixes
        found = [(identity, at) for at in addresses_of(paths, suffixes)]
    seen = Counter[str]()
    images, done = [], FilesEnrolled(0, 0)
    for who, address in found:
        seen[who] += 1
        if at_most is None or seen[who] <= at_most:
            images.append((who, address))
    for block in in_blocks(tracked(images, "enrolling", progress), BLOCK):
        done = done.and_then(_enroll_block(gallery, block, metadata, strict))
    bad = done.bad
    if done.n_new >= MANY:
        gallery.maintain()  # a program that only enrolls ends before its index is built
    without = _without_image(images, bad)
    if bad and (not skip_bad or len(bad) == len(images)):
        _refuse(bad, len(images), skippable=not skip_bad)
    return replace(done, n_identities=len(seen) - len(without))


def _without_image(
    images: Sequence[tuple[str, str]], bad: Sequence[tuple[str, str]]
) -> set[str]:
    """The identities of which no image could be read; they are named."""
    unread = {address for address, _ in bad}
    read = {who for who, address in images if address not in unread}
    without = {who for who, _ in images} - read
    if without:
        names = escaped(", ".join(sorted(without)))
        log.warning(f"no image of {names} could be enrolled")
    return without


def _check_names(
    paths: Sequence[str | Path], by_path: Sequence[Sequence[tuple[str, str]]]
) -> None:
    """Refuse files of one name in two folders, which are hardly one identity."""
    first_of: dict[str, tuple[str | Path, str]] = {}
    for path, images in zip(paths, by_path, strict=True):
        for who, address in images:
            file = PurePath(address)
            if who != file.stem or who == file.parent.name:
                continue  # named after its folder
            other, first = first_of.setdefault(who, (path, address))
            if other != path:
                raise DataError(
                    f"{first} and {address} would both be the identity {who!r}; enroll "
                    "the folder above them, so that each folder is one identity, or name "
                    "one with --as"
                )


def _refuse(bad: Sequence[tuple[str, str]], n_images: int, skippable: bool) -> None:
    others = counted(n_images - len(bad), "other was", "others were")
    try:
        refuse_bad(bad, n_images, skippable=skippable)
    except DataError as error:
        raise DataError(*error.args, f"{others} enrolled") from error


def _enroll_block(
    gallery: Gallery,
    block: Sequence[tuple[str, str]],
    metadata: dict[str, Any] | None,
    strict: bool,
) -> FilesEnrolled:
    """Enroll some images; one by one where the block has a bad file."""
    try:
        done = gallery.enroll_many(block, metadata, strict=strict)
        return FilesEnrolled(done.n_new, done.n_known, done.warnings)
    except (DataError, ValueError) as error:  # an image, or the name of a folder
        if len(block) == 1:
            address = block[0][1]
            reason = str(error).removeprefix(f"{address}: ")
            return FilesEnrolled(0, 0, bad=((address, reason),))
    parts = [_enroll_block(gallery, [one], metadata, strict) for one in block]
    return reduce(FilesEnrolled.and_then, parts)


def check_folder(
    gallery: Gallery, folder: str | Path, progress: bool = True
) -> tuple[OpenSet, list[tuple[str, str, Identification]]]:
    """Identify all images of ``IDENTITY/IMAGE`` and count how often that is right.

    Folders whose name is not enrolled hold unknown ones. Enrolled images are left out.
    Gives the counts, and (identity, address, answer) of every image.
    """
    enrolled = gallery.identities()
    digests_of = cache(gallery.digests)  # of those that are asked about, no others
    answers = []
    images = images_of_identities(folder)
    for block in in_blocks(tracked(images, "identifying", progress), BLOCK):
        left = [
            (who, address)
            for who, address in block
            if who not in enrolled or digest_of(read_bytes(address)) not in digests_of(who)
        ]
        found = gallery.identify_many([address for _, address in left])
        answers += [(who, at, a) for (who, at), a in zip(left, found, strict=True)]
    if not answers:
        raise DataError(f"every image of {folder} is enrolled: nothing to identify")
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


def in_blocks(items: Iterable[One], size: int) -> Iterator[list[One]]:
    """Lists of ``size`` items, the last one shorter."""
    waiting = iter(items)
    while block := list(islice(waiting, size)):
        yield block
