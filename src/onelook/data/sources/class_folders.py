"""Every source: a function that gives one Dataset (or Pairs) from what lies on disk."""

import io
import logging
import os
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onelook.data.archives import Tree, locate, open_tree
from onelook.data.items import ARCHIVE_SEPARATOR, Dataset, Pairs
from onelook.data.sources.download import OFFICIAL_ARCHIVES
from onelook.data.sources.lfw import (
    SUFFIXES,
    VARIANTS,
    lfw,
    lfw_pair_file,
    lfw_people,
    lfw_view1,
    lfw_view2,
)
from onelook.data.sources.omniglot import (
    OneShotRun,
    StrokeData,
    omniglot,
    omniglot_koch,
    omniglot_runs,
    omniglot_vinyals,
    strokes,
)
from onelook.data.sources.pair_files import read_pair_table
from onelook.errors import DataError
from onelook.files import cache_folder, write_whole

__all__ = [
    "OneShotRun",
    "StrokeData",
    "att",
    "class_folder",
    "digits",
    "digits_upscaled",
    "find_data",
    "lfw",
    "lfw_pair_file",
    "lfw_people",
    "lfw_view1",
    "lfw_view2",
    "omniglot",
    "omniglot_koch",
    "omniglot_runs",
    "omniglot_vinyals",
    "sick",
    "strokes",
]

IMAGE_SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .bmp .gif .tif .tiff .webp .avif .jp2 "
    ".pgm .ppm .pbm .pnm".split()
)
# The three people that the seed system tests on, and never trains on.
ATT_TEST = (5, 6, 7)

_PORTRAIT = re.compile(r"(?:(?:.*/)?(training|testing)/|.*/)?s(\d+)/(\d+)\.(?:pgm|png)")
_SICK_FILES = {
    "train": ("SICK_train.txt", "sick_train.zip"),
    "trial": ("SICK_trial.txt", "sick_trial.zip"),
    "test": ("SICK_test_annotated.txt", "sick_test_annotated.zip"),
}
# What tells that a folder holds a source, beside the names of its official archives.
_MARKS = {
    "omniglot": ("images_background", "images_evaluation"),
    "lfw": tuple(
        stem + suffix
        for stems in VARIANTS.values()
        for stem in stems
        for suffix in SUFFIXES
    ),
    "att_faces": ("training/s1", "s1"),
    "sick": tuple(text for text, _ in _SICK_FILES.values()),
}

logger = logging.getLogger(__name__)


def class_folder(root: str | Path, depth: int = 0, name: str = "") -> Dataset:
    """Images sorted into one folder per class: ``CLASS/IMAGE``.

    Args:
        root: A folder, a zip, or a folder in a zip (``x.zip!/FOLDER``).
        depth: How many folders stand above the class folder; they become the group. 1 for
            ``ALPHABET/CHARACTER/IMAGE``, whose classes are named ``ALPHABET/CHARACTER``.
        name: For messages and reports; the folder's own name by default.

    Raises:
        ValueError: If ``depth`` is negative.
        DataError: If no image lies at that depth; the message names the depth that fits.
    """
    if depth < 0:
        raise ValueError(f"depth must be 0 or more, got {depth}")
    tree = open_tree(root)
    names = [n for n in tree.names if PurePosixPath(n).suffix.lower() in IMAGE_SUFFIXES]
    depths = Counter(n.count("/") - 1 for n in names)
    _check_depth(root, tree, names, depths, depth)
    names = [n for n in names if n.count("/") - 1 == depth]
    classes = [n.rpartition("/")[0] for n in names]
    class_names, labels = _numbered(classes)
    group_names, groups = _numbered([one.rpartition("/")[0] for one in classes])
    return Dataset(
        name=name or Path(str(root).rstrip("!/")).name or str(root),
        paths=tuple(tree.address(n) for n in names),
        labels=labels,
        class_names=class_names,
        groups=groups if depth else None,
        group_names=group_names if depth else (),
    )


def _numbered(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Distinct names, sorted, and the number of each."""
    distinct = sorted(set(names))
    index = {name: i for i, name in enumerate(distinct)}
    return tuple(distinct), np.array([index[name] for name in names], dtype=np.int64)


def _check_depth(
    root: str | Path, tree: Tree, names: list[str], depths: Counter[int], depth: int
) -> None:
    """Refuse a depth without images; warn of images elsewhere and of other files."""
    if not names:
        raise DataError(
            f"no images in {root} ({len(tree.names)} other files); "
            "put them into one folder per class: CLASS/IMAGE.png"
        )
    elsewhere = Counter({d: n for d, n in depths.items() if d != depth})
    if not depths[depth]:
        best, n_best = elsewhere.most_common(1)[0]
        example = next(n for n in names if n.count("/") - 1 == best)
        if best < 0:
            advice = "put the images into one folder per class: CLASS/IMAGE.png"
        else:
            advice = (
                f"if {example.split('/')[best]!r} is a class there, pass --depth {best}"
            )
        raise DataError(
            f"no images in {root} at depth {depth}, which looks for "
            f"{'GROUP/' * depth}CLASS/IMAGE; {n_best:,} lie as {example!r}: {advice}"
        )
    deeper = {d: n for d, n in elsewhere.items() if d > depth}
    if deeper:
        best = max(deeper, key=lambda d: deeper[d])
        logger.warning(
            "%s: %d images lie deeper than --depth %d and are left out; if the classes are "
            "there, under groups such as alphabets, pass --depth %d",
            root,
            sum(deeper.values()),
            depth,
            best,
        )
    shallower = sum(n for d, n in elsewhere.items() if d < depth)
    if shallower:
        logger.warning(
            "%s: %d images lie in no class folder and are left out", root, shallower
        )
    others = Counter(
        PurePosixPath(n).suffix.lower() or "no suffix"
        for n in tree.names
        if PurePosixPath(n).suffix.lower() not in IMAGE_SUFFIXES
    )
    if others:
        kinds = ", ".join(f"{suffix}: {n}" for suffix, n in others.most_common(5))
        logger.warning(
            "%s: %d files that are no images are left out (%s)",
            root,
            sum(others.values()),
            kinds,
        )


def att(root: str | Path) -> Dataset:
    """The AT&T faces: 40 people × 10, in the seed system's split and in 8 folds of 5
    people.

    ``splits`` is ``"test"`` for s5, s6 and s7 (what the archive's ``testing/`` holds),
    ``"train"`` for the other 37; ``folds`` counts people in numeric order: s1–s5 are fold
    1.

    Args:
        root: ``att_faces.zip``, its unpacked tree, the plain tree ``s1/1.pgm``, or a folder
            that holds one of these.

    Raises:
        DataError: If there are no portraits.
    """
    found = locate(root, ("", "att_faces"), ("att_faces.zip",))
    found = found or locate(root, ("",), ("att_faces", "orl_faces"))
    tree = open_tree(root if found is None else found)
    portraits = []
    for name in tree.names:
        match = _PORTRAIT.fullmatch(name)
        if match:
            person = int(match[2])
            folder = match[1] or ("testing" if person in ATT_TEST else "training")
            split = "test" if folder == "testing" else "train"
            portraits.append((person, int(match[3]), tree.address(name), split))
    if not portraits:
        raise DataError(
            f"no portraits s1/1.pgm … s40/10.pgm in {root}; put att_faces.zip there"
        )
    portraits.sort()
    if len(portraits) != 400:
        logger.warning(
            "%s has %d portraits, AT&T has 400: is it whole?", root, len(portraits)
        )
    people, labels = np.unique([p[0] for p in portraits], return_inverse=True)
    return Dataset(
        name="AT&T faces",
        paths=tuple(address for _, _, address, _ in portraits),
        labels=labels.astype(np.int64),
        class_names=tuple(f"s{person}" for person in people),
        folds=(people[labels].astype(np.int64) - 1) // 5 + 1,
        splits=np.array([split for *_, split in portraits]),
    )


def sick(root: str | Path, split: str = "train") -> Pairs:
    """Sentence pairs of SICK 2014; ``targets`` is their relatedness, from 1 to 5.

    Args:
        root: A folder with ``SICK_train.txt`` and so on, or the official zips, directly or
            in ``sick/``.
        split: ``"train"`` (4,500 pairs), ``"trial"`` (500) or ``"test"`` (4,927).

    Raises:
        ValueError: If the split is unknown.
        DataError: If the file is missing or malformed.
    """
    if split not in _SICK_FILES:
        raise ValueError(
            f"unknown split {split!r} of SICK; known: {', '.join(_SICK_FILES)}"
        )
    text, archive = _SICK_FILES[split]
    found = locate(root, ("", "sick"), (text, archive))
    if found is None:
        raise DataError(
            f"no {text} and no {archive} in {root}; "
            "onelook data sick --download fetches the official archives"
        )
    if found.suffix == ".zip":
        found = _unzipped(found, text)
    pairs = read_pair_table(
        found,
        left="sentence_A",
        right="sentence_B",
        label="relatedness_score",
        label_kind="target",
        left_side="text",
        right_side="text",
        quotes=False,
    )
    assert pairs.targets is not None and pairs.line_numbers is not None
    outside = np.flatnonzero((pairs.targets < 1) | (pairs.targets > 5))
    if len(outside):
        raise DataError(
            f"{found}:{pairs.line_numbers[outside[0]]}: relatedness must be from 1 to 5, "
            f"got {pairs.targets[outside[0]]}"
        )
    return pairs


def _unzipped(archive: Path, member: str) -> Path:
    """One text file of an archive, put into the cache."""
    tree = open_tree(archive)
    name = next((n for n in tree.names if PurePosixPath(n).name == member), None)
    if name is None:
        raise DataError(f"{archive} holds no {member}; fetch it again")
    target = cache_folder() / "sick" / member
    write_whole(target, tree.read_bytes(name))
    return target


def digits(cache: str | Path | None = None) -> Dataset:
    """The 1,797 handwritten digits, 8×8, that scikit-learn ships: real data without a
    download.

    They are written once, as PNGs in one zip, dark ink on white paper (scikit-learn's are
    light on dark). Who drew them is not known.

    Args:
        cache: The folder for ``digits.zip``; ``cache_folder()`` by default.
    """
    return _digits("digits", _as_they_are, cache)


def digits_upscaled(cache: str | Path | None = None) -> Dataset:
    """The same digits as drawings of 105×105 pixels with a margin, as large as Omniglot's.

    The digit takes the share of the frame that it has in MNIST, 20 of 28 pixels. A stand-in
    for MNIST where that is not at hand.
    """
    return _digits("digits-105", _in_a_frame, cache)


def _digits(
    name: str, drawn: Callable[[Image.Image], Image.Image], cache: str | Path | None
) -> Dataset:
    folder = cache_folder() if cache is None else Path(cache).expanduser()
    target = folder / f"{name}.zip"
    if not target.exists():
        _write_digits(target, drawn)
    tree = open_tree(target)
    return Dataset(
        name=name,
        paths=tuple(tree.address(n) for n in tree.names),
        labels=np.array([int(n.partition("/")[0]) for n in tree.names], dtype=np.int64),
        class_names=tuple("0123456789"),
    )


def _as_they_are(image: Image.Image) -> Image.Image:
    return image


def _in_a_frame(image: Image.Image) -> Image.Image:
    frame = Image.new("L", (105, 105), 255)
    frame.paste(image.resize((75, 75), Image.Resampling.BICUBIC), (15, 15))
    return frame


def _write_digits(target: Path, drawn: Callable[[Image.Image], Image.Image]) -> None:
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = np.round(255 - data.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, (image, digit) in enumerate(zip(pixels, data.target, strict=True)):
            png = io.BytesIO()
            drawn(Image.fromarray(image)).save(png, "PNG")
            # A ZipInfo carries a fixed date, so that the archive is the same everywhere.
            archive.writestr(zipfile.ZipInfo(f"{digit}/{i:04d}.png"), png.getvalue())
    write_whole(target, buffer.getvalue())


def find_data(name: str, data: str | Path | None = None) -> Path:
    """The folder (or archive) that holds a source.

    Looks at ``data`` if it is given; otherwise into ``$ONELOOK_DATA`` and its subfolder of
    that name, then into the cache, where downloads go.

    Args:
        name: ``"omniglot"``, ``"lfw"``, ``"att_faces"`` (or ``"att"``) or ``"sick"``.
        data: A path that the user gave, taken as it is once it exists.

    Raises:
        ValueError: If the source is unknown.
        DataError: If it is in none of these places; says what to do.
    """
    name = {"att": "att_faces"}.get(name, name)
    if name not in _MARKS:
        raise ValueError(f"unknown source {name!r}; known: {', '.join(sorted(_MARKS))}")
    if data is not None:
        path = Path(data).expanduser()
        if not path.exists() and ARCHIVE_SEPARATOR not in str(data):
            raise DataError(f"--data {data} does not exist; {_how_to_get(name)}")
        return path
    places = [cache_folder() / name]
    home = os.environ.get("ONELOOK_DATA")
    if home:
        base = Path(home).expanduser()
        places = [base / name, base, *places]
    marks = (*(archive.name for archive in OFFICIAL_ARCHIVES[name]), *_MARKS[name])
    for place in places:
        if any((place / mark).exists() for mark in marks):
            return place
    looked = ", ".join(map(str, places))
    raise DataError(f"no {name} data in {looked}; {_how_to_get(name)}")


def _how_to_get(name: str) -> str:
    archives = ", ".join(archive.name for archive in OFFICIAL_ARCHIVES[name])
    return (
        f"onelook data {name} --download fetches it, or put {archives} "
        f"into {cache_folder() / name}"
    )
