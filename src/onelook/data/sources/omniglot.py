"""Omniglot: drawings and the official one-shot runs, zipped or unpacked."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onelook.data.archives import Tree, locate, open_tree
from onelook.data.items import Dataset
from onelook.data.sources.fetch import Archive
from onelook.data.sources.pair_files import read_lines
from onelook.data.sources.source import Source
from onelook.errors import DataError
from onelook.recipe import DataSettings

SMALL1 = ("Balinese", "Early_Aramaic", "Greek", "Korean", "Latin")
SMALL2 = ("Greek", "Japanese_(katakana)", "Latin", "Sanskrit", "Tagalog")
RUN_ALPHABETS = tuple(
    "Atlantean Ge_ez Glagolitic Gurmukhi Kannada Malayalam Manipuri "
    "Old_Church_Slavonic_(Cyrillic) Tengwar Tibetan".split()
)
N_CHARACTERS = {"background": 964, "evaluation": 659}

_PLACES = ("", "omniglot", "python", "omniglot/python", "omniglot-py")
_RUN_PLACES = (*_PLACES, *(f"./{place}/one-shot-classification" for place in _PLACES))
_ITEM = re.compile(r"(?:.*/)?([^/]+)/(character\d+)/(\d+_(\d+))\.(?:png|txt)")
_LABELS = re.compile(r"(?:.*/)?(run\d\d)/class_labels\.txt")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class OneShotRun:
    """One of the official runs: which of 20 characters is each query?

    ``support`` is one drawing of each character, by one drawer; ``answers`` (20,) are the
    indices in it for the 20 queries by another drawer.
    """

    name: str
    support: tuple[str, ...]
    queries: tuple[str, ...]
    answers: NDArray[np.int64]


def omniglot(root: str | Path, part: str = "background") -> Dataset:
    """The drawings of Omniglot: characters as classes, alphabets as groups, drawers.

    ``part`` is ``"background"`` (30 alphabets, 964 characters), ``"evaluation"`` (20
    alphabets, 659 characters), ``"all"`` (both, background first, named in ``splits``), or
    ``"small1"`` or ``"small2"``, the five background alphabets of the official small sets.
    """
    if part in ("small1", "small2"):
        alphabets = SMALL1 if part == "small1" else SMALL2
        small = omniglot(root, "background").of_groups(alphabets)
        return replace(small, name=f"Omniglot {part}")
    if part not in ("background", "evaluation", "all"):
        raise ValueError(
            f"unknown part {part!r} of Omniglot; known: "
            "background, evaluation, all, small1, small2"
        )
    parts = ("background", "evaluation") if part == "all" else (part,)
    items = [item for one in parts for item in read_drawings(root, one)]
    return as_dataset(f"Omniglot {part}", items)


def omniglot_runs(root: str | Path) -> list[OneShotRun]:
    """The 20 official one-shot runs of Lake et al., in order, from ``all_runs.zip``."""
    found = locate(root, _RUN_PLACES, ("all_runs.zip", "all_runs"))
    if found is None:
        first = locate(root, _RUN_PLACES, ("run01",))
        found = None if first is None else first.parent
    if found is None:
        raise DataError(
            f"no all_runs.zip in {root}; it holds Omniglot's official one-shot runs: "
            "onelook data omniglot --download fetches it"
        )
    tree = open_tree(found)
    lists = {match[1]: n for n in tree.names if (match := _LABELS.fullmatch(n))}
    missing = [f"run{i:02d}" for i in range(1, 21) if f"run{i:02d}" not in lists]
    if missing:
        raise DataError(f"{found} has no {', '.join(missing)}; fetch it again")
    return [_run(tree, name, lists[name]) for name in sorted(lists)]


def _run(tree: Tree, name: str, labels: str) -> OneShotRun:
    """One run, from lines ``runNN/test/itemMM.png runNN/training/classMM.png``."""
    above = labels[: -len(f"{name}/class_labels.txt")]
    where = tree.address(labels)
    lines = [line.split() for line in read_lines(where) if line.strip()]
    queries = tuple(fields[0] for fields in lines)
    support = tuple(sorted(fields[-1] for fields in lines))
    wrong = next((f for f in lines if len(f) != 2), None)
    if wrong or len(set(queries)) != 20 or len(set(support)) != 20:
        raise DataError(
            f"{where}: expected 20 lines 'QUERY CHARACTER' that name 20 images on each side"
            + (f", got {' '.join(wrong)!r}" if wrong else "")
        )
    present = set(tree.names)
    for image in (*queries, *support):
        if above + image not in present:
            raise DataError(f"{where}: there is no {image}; fetch all_runs.zip again")
    return OneShotRun(
        name,
        support=tuple(tree.address(above + image) for image in support),
        queries=tuple(tree.address(above + image) for image in queries),
        answers=np.array([support.index(fields[1]) for fields in lines], dtype=np.int64),
    )


def omniglot_koch(root: str | Path) -> Dataset:
    """Koch's split: 30 / 10 / 10 alphabets and 12 / 4 / 4 drawers, without other items.

    The paper names neither alphabets nor drawers. Here ``"train"`` is the 30 official
    background alphabets by drawers 1–12, ``"val"`` the ten evaluation alphabets that are
    not in the official runs by drawers 13–16 (with the 30 they are his 40 background
    alphabets), ``"test"`` the ten alphabets of the runs by drawers 17–20. The parts share
    neither alphabet nor drawer number.
    """
    whole = omniglot(root, "all")
    drawers = whole.drawers
    assert whole.groups is not None and drawers is not None and whole.splits is not None
    missing = sorted(set(RUN_ALPHABETS) - set(whole.group_names))
    if missing:
        raise DataError(
            f"Omniglot in {root} lacks {', '.join(missing)}; "
            "Koch's split needs all of images_evaluation.zip"
        )
    of_runs = np.isin(whole.groups, [whole.group_names.index(a) for a in RUN_ALPHABETS])
    background = whole.splits == "background"
    splits = np.full(len(whole), "", dtype="<U5")
    splits[background & (drawers <= 12)] = "train"
    splits[~background & ~of_runs & (drawers > 12) & (drawers <= 16)] = "val"
    splits[of_runs & (drawers > 16)] = "test"
    return replace(whole, splits=splits).subset(splits != "", "Omniglot (Koch)")


def omniglot_vinyals(root: str | Path, seed: int = 0) -> Dataset:
    """Vinyals' split: 1,200 training and 423 test characters, drawn across alphabets.

    His list of characters was not published. This draws 1,200 of the 1,623 with a fixed
    seed, so that a figure differs from his by the luck of the draw; say so beside it.
    """
    whole = omniglot(root, "all")
    if whole.n_classes != sum(N_CHARACTERS.values()):
        raise DataError(
            f"Vinyals' split needs all 1,623 characters of Omniglot; {root} has "
            f"{whole.n_classes:,}; fetch images_background.zip and images_evaluation.zip"
        )
    chosen = np.random.default_rng(seed).permutation(whole.n_classes)[:1200]
    splits = np.where(np.isin(whole.labels, chosen), "train", "test")
    return replace(whole, name="Omniglot (Vinyals)", splits=splits)


@dataclass(frozen=True)
class Item:
    alphabet: str
    character: str
    stem: str
    drawer: int
    address: str
    part: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.alphabet, self.character, self.stem


def open_part(root: str | Path, name: str) -> Tree:
    # The zip first: a tree beside it may be half unpacked.
    found = locate(root, _PLACES, (f"{name}.zip", name))
    if found is None:
        raise DataError(
            f"no {name}.zip and no folder {name} in {root}; "
            "onelook data omniglot --download fetches the official archives"
        )
    return open_tree(found)


def read_drawings(root: str | Path, part: str) -> list[Item]:
    tree = open_part(root, f"images_{part}")
    items = [replace(item, part=part) for item in read_items(tree, ".png")]
    n_characters = len({item.key[:2] for item in items})
    if n_characters != N_CHARACTERS[part]:
        logger.warning(
            f"{tree.base.rstrip('!/')} has {n_characters} characters, Omniglot's {part} "
            f"part has {N_CHARACTERS[part]}: is it whole?"
        )
    return items


def read_items(tree: Tree, suffix: str) -> list[Item]:
    """What is named ``ALPHABET/characterNN/CCCC_DD``, by alphabet, character and name."""
    items = {}
    for name in tree.names:
        match = _ITEM.fullmatch(name) if name.endswith(suffix) else None
        if match:
            item = Item(match[1], match[2], match[3], int(match[4]), tree.address(name))
            items[item.key] = item
    if not items:
        raise DataError(
            f"{tree.base.rstrip('!/')} holds no ALPHABET/characterNN/CCCC_DD{suffix}; "
            "is it an Omniglot archive?"
        )
    return sorted(items.values(), key=lambda item: item.key)


def as_dataset(name: str, items: Sequence[Item]) -> Dataset:
    class_names, labels = _numbered(f"{item.alphabet}/{item.character}" for item in items)
    group_names, groups = _numbered(item.alphabet for item in items)
    parts = [item.part for item in items]
    return Dataset(
        name=name,
        paths=tuple(item.address for item in items),
        labels=labels,
        class_names=class_names,
        groups=groups,
        group_names=group_names,
        drawers=np.array([item.drawer for item in items], dtype=np.int64),
        splits=np.array(parts) if all(parts) else None,
    )


def _numbered(names: Iterable[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Distinct names in order of appearance, and the number of each."""
    known: dict[str, int] = {}
    labels = [known.setdefault(name, len(known)) for name in names]
    return tuple(known), np.array(labels, dtype=np.int64)


def _open(root: str | Path, settings: DataSettings) -> Dataset:
    if settings.part == "koch":
        return omniglot_koch(root).of_split("train")
    if settings.part == "vinyals":
        return omniglot_vinyals(root).of_split("train")
    return omniglot(root, settings.part)


def _archive(name: str, md5: str | None = None) -> Archive:
    home = "https://github.com/brendenlake/omniglot/raw/master/python"
    return Archive(name.rpartition("/")[2], (f"{home}/{name}",), md5=md5)


SOURCE = Source(
    "omniglot",
    "32,460 drawings of 1,623 characters of 50 alphabets",
    _open,
    parts=("background", "evaluation", "small1", "small2", "koch", "vinyals", "all"),
    protocol="omniglot-20-runs",
    archives=(
        _archive("images_background.zip", "68d2efa1b9178cc56df9314c21c6e718"),
        _archive("images_evaluation.zip", "6b91aef0f799c5bb55b94e3f2daec811"),
        _archive(
            "one-shot-classification/all_runs.zip", "e8996daecdf12afeeb4a53a179f06b19"
        ),
        # No checksum of the next two is published: they get zip's own test (CRC-32).
        _archive("strokes_background_small1.zip"),
        _archive("strokes_background_small2.zip"),
    ),
    marks=("images_background", "images_evaluation"),
)
