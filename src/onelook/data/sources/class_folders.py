"""Images sorted into one folder per class: the user's own data."""

import logging
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np

from onelook.data.archives import Tree, open_tree
from onelook.data.inputs.decoding import IMAGE_SUFFIXES
from onelook.data.items import Dataset
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
    names = [n for n in tree.names if PurePosixPath(n).suffix.lower() in IMAGE_SUFFIXES]
    depths = Counter(n.count("/") - 1 for n in names)
    _check_depth(root, tree, names, depths, depth)
    names = [n for n in names if n.count("/") - 1 == depth]
    classes = [n.rpartition("/")[0] for n in names]
    class_names, labels = np.unique(classes, return_inverse=True)
    above = [one.rpartition("/")[0] for one in classes]
    group_names, groups = np.unique(above, return_inverse=True)
    return Dataset(
        name=name or Path(str(root).rstrip("!/")).name or str(root),
        paths=tuple(tree.address(n) for n in names),
        labels=labels,
        class_names=tuple(class_names.tolist()),
        groups=groups if depth else None,
        group_names=tuple(group_names.tolist()) if depth else (),
    )


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
            name = example.split("/")[best]
            advice = f"if {name!r} is a class there, pass --depth {best}"
        raise DataError(
            f"no images in {root} at depth {depth}, which looks for "
            f"{'GROUP/' * depth}CLASS/IMAGE; {n_best:,} lie as {example!r}: {advice}"
        )
    deeper = Counter({d: n for d, n in elsewhere.items() if d > depth})
    shallower = sum(elsewhere.values()) - sum(deeper.values())
    suffixes = [PurePosixPath(n).suffix.lower() for n in tree.names]
    others = Counter(x or "no suffix" for x in suffixes if x not in IMAGE_SUFFIXES)
    if deeper:
        logger.warning(
            f"{root}: {sum(deeper.values())} images lie deeper than --depth {depth} and "
            "are left out; if the classes are there, under groups such as alphabets, pass "
            f"--depth {deeper.most_common(1)[0][0]}"
        )
    if shallower:
        logger.warning(
            f"{root}: {shallower} images lie in no class folder and are left out"
        )
    if others:
        kinds = ", ".join(f"{suffix}: {n}" for suffix, n in others.most_common(5))
        logger.warning(
            f"{root}: {len(suffixes) - len(names)} files that are not images are left out "
            f"({kinds})"
        )


SOURCE = Source(
    "class-folder",
    "your images, one folder per class",
    lambda root, settings: class_folder(root, settings.depth),
    protocol="folder-one-shot",
    yours="the folder of your images",
)
