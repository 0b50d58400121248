"""Images sorted into one folder per class: the user's own data."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np

from onelook.data.archives import open_tree
from onelook.data.inputs.decoding import IMAGE_SUFFIXES
from onelook.data.items import Dataset
from onelook.data.parts import named, recurring, split_off
from onelook.data.reading import escaped
from onelook.data.sources.source import Source
from onelook.errors import DataError

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
    files = tree.files(IMAGE_SUFFIXES, root)
    if not files:
        raise DataError(
            f"no images in {root} ({len(tree.names)} other files); "
            "put them into one folder per class: CLASS/IMAGE.png"
        )
    inner = tree.unwrapped()
    wrap = inner.base.removeprefix(tree.base)
    unwrapped = [name.removeprefix(wrap) for name in files]
    if any(_depth(name) == depth for name in unwrapped) or depth not in map(_depth, files):
        tree, files = inner, unwrapped
    folders = [name.rpartition("/")[0] for name in files]
    parts = [""] * len(files)
    if shared := recurring(folders):
        _check_parts(root, shared, folders, depth)
        folders, parts = map(list, zip(*map(split_off, folders), strict=True))
    ends = [name.rpartition("/")[2] for name in files]
    shown = [f"{a}/{b}".lstrip("/") for a, b in zip(folders, ends, strict=True)]
    _check_depth(root, shown, depth)
    kept = [i for i, name in enumerate(shown) if _depth(name) == depth]
    classes = [escaped(folders[i]) for i in kept]
    class_names, labels = np.unique(classes, return_inverse=True)
    above = [one.rpartition("/")[0] for one in classes]
    group_names, groups = np.unique(above, return_inverse=True)
    return Dataset(
        name=escaped(name or Path(str(root).rstrip("!/")).name or str(root)),
        paths=tuple(tree.address(files[i]) for i in kept),
        labels=labels,
        class_names=tuple(class_names.tolist()),
        groups=groups if depth else None,
        group_names=tuple(group_names.tolist()) if depth else (),
        splits=np.array([parts[i] for i in kept]) if shared else None,
    )


def _depth(name: str) -> int:
    return name.count("/") - 1


def _check_parts(
    root: str | Path, shared: dict[str, set[str]], folders: list[str], depth: int
) -> None:
    """Say that parts hold the same classes; refuse a depth that would tear these apart."""
    part = min(set().union(*shared.values()))
    alone = f"for one part alone name its folder, {root}/{part}"
    if depth not in (split_off(folder)[0].count("/") for folder in folders):
        fits = max(0, depth - 1)
        raise DataError(
            f"{root}: {named(shared)}, and --depth {depth} would make several classes of "
            f"each; --depth {fits} takes each as one class; {alone}"
        )
    logger.warning(f"{root}: {named(shared)}; each is one class here; {alone}")


def _check_depth(root: str | Path, names: list[str], depth: int) -> None:
    """Refuse a depth without images; warn of images elsewhere."""
    elsewhere = Counter(d for d in map(_depth, names) if d != depth)
    if len(names) == elsewhere.total():
        best, n_best = elsewhere.most_common(1)[0]
        example = next(n for n in names if _depth(n) == best)
        if best < 0:
            advice = "put the images into one folder per class: CLASS/IMAGE.png"
        else:
            name = example.split("/")[best]
            advice = f"if {name!r} is a class there, pass --depth {best}"
        raise DataError(
            f"no images in {root} at depth {depth}, which looks for "
            f"{'GROUP/' * depth}CLASS/IMAGE; {n_best:,} lie as {example!r}: {advice}"
        )
    deeper = Counter({d: n for d, n in elsewhere.items() if d > depth})
    shallower = elsewhere.total() - deeper.total()
    if deeper:
        logger.warning(
            f"{root}: {deeper.total()} images lie deeper than --depth {depth} and "
            "are left out; if the classes are there, under groups such as alphabets, pass "
            f"--depth {deeper.most_common(1)[0][0]}"
        )
    if shallower:
        logger.warning(
            f"{root}: {shallower} images lie in no class folder and are left out"
        )


SOURCE = Source(
    "class-folder",
    "your images, one folder per class",
    lambda root, settings: class_folder(root, settings.depth),
    protocol="folder-one-shot",
    yours="the folder of your images",
)
