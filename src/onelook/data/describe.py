"""What a source holds, before it is trained on: classes, sizes, and what is broken."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs import ImageInput
from onelook.data.inputs.decoding import read_header
from onelook.data.inputs.stores import CHUNK
from onelook.data.items import Dataset, Pairs
from onelook.data.sampling import BalancedPairs
from onelook.errors import DataError
from onelook.progress import tracked
from onelook.recipe import ImageSettings


@dataclass(frozen=True)
class ImageSummary:
    """What the headers of a set of images say.

    Args:
        n_images: How many distinct addresses there are, readable or not.
        heights: Smallest, median and largest, in pixels.
        widths: The same of the widths.
        modes: Number of images for each of Pillow's modes, most frequent first.
        bad: Address and reason of each that has no readable header.
    """

    n_images: int
    heights: tuple[int, int, int]
    widths: tuple[int, int, int]
    modes: dict[str, int]
    bad: list[tuple[str, str]]

    def __str__(self) -> str:
        if self.heights == self.widths == (0, 0, 0):
            return f"{self.n_images:,} images, none readable"
        sizes = [self.heights, self.widths]
        if all(low == high for low, _, high in sizes):
            size = f"{self.heights[0]} x {self.widths[0]}"
        else:
            low, median, high = (f"{h} x {w}" for h, w in zip(*sizes, strict=True))
            size = f"smallest {low}, median {median}, largest {high}"
        modes = ", ".join(f"{n:,} {mode}" for mode, n in self.modes.items())
        return f"{self.n_images:,} images, height x width {size} ({modes})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Description:
    """What a source holds.

    Args:
        name: What people call the source.
        facts: Counts by name, plain values for JSON, in the order for people.
        images: What the images look like and which cannot be read; None for texts.
    """

    name: str
    facts: dict[str, Any]
    images: ImageSummary | None

    @property
    def bad(self) -> list[tuple[str, str]]:
        """Address and reason of every image that cannot be read."""
        return [] if self.images is None else self.images.bad

    @property
    def n_files(self) -> int:
        """How many images were looked at."""
        return 0 if self.images is None else self.images.n_images

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        facts = {key.replace(" ", "_"): fact for key, fact in self.facts.items()}
        files = None if self.images is None else self.images.to_dict()
        return {"name": self.name, **facts, "files": files}

    def __str__(self) -> str:
        width = max(map(len, self.facts))
        lines = [self.name]
        lines += [
            f"  {key:{width}}  {_for_people(fact)}" for key, fact in self.facts.items()
        ]
        if self.images is not None:
            lines.append(str(self.images))
        lines += [f"  cannot be read: {address}: {reason}" for address, reason in self.bad]
        return "\n".join(lines)


def describe(data: Dataset | Pairs, progress: bool = True) -> Description:
    """Count what a source holds; decode every image to find those that cannot be read."""
    if isinstance(data, Dataset):
        return Description(data.name, _facts_of_items(data), _look_at(data.paths, progress))
    sides = ((data.left_side, data.left), (data.right_side, data.right))
    files = sorted({address for kind, side in sides if kind == "path" for address in side})
    images = _look_at(files, progress) if files else None
    return Description(data.source or "pairs", _facts_of_pairs(data), images)


def pairs_to_draw(
    data: Dataset | Pairs, bad: list[tuple[str, str]], count: int = 20, seed: int = 0
) -> list[tuple[str, str, bool]]:
    """Addresses of ``count`` pairs, half of them same, as a training would sample them.

    Raises:
        DataError: If the source has no pairs of images to draw.
    """
    refused = {address for address, _ in bad}
    if isinstance(data, Dataset):
        items = data.without(refused)
        batch = BalancedPairs(items.labels, count, seed, groups=items.groups).batch(0)
        assert (
            batch.left is not None and batch.right is not None and batch.is_same is not None
        )
        shown = [items.paths[i] for i in batch.items]
        ends = zip(batch.left, batch.right, batch.is_same, strict=True)
        return [(shown[left], shown[right], bool(is_same)) for left, right, is_same in ends]
    if data.is_same is None:
        raise DataError(f"{data.source} has no pairs of images to draw")
    kept = data.within({*data.left, *data.right} - refused)
    assert kept.is_same is not None
    order = np.random.default_rng(seed).permutation(len(kept))
    halves = [order[kept.is_same[order]], order[~kept.is_same[order]]]
    chosen = sorted(np.concatenate([half[: count // 2] for half in halves]).tolist())
    return [(kept.left[i], kept.right[i], bool(kept.is_same[i])) for i in chosen]


def _facts_of_items(data: Dataset) -> dict[str, Any]:
    per_class = np.bincount(data.labels, minlength=data.n_classes)
    facts: dict[str, Any] = {
        "images": len(data),
        "classes": data.n_classes,
        "images per class": _spread(per_class),
        "classes of one image": int((per_class == 1).sum()),
    }
    if data.groups is not None:
        facts["groups"] = len(data.group_names)
    if data.drawers is not None:
        facts["drawers"] = len(np.unique(data.drawers))
    return {**facts, **_official_parts(data), "fingerprint": data.fingerprint}


def _facts_of_pairs(data: Pairs) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "pairs": len(data),
        "distinct sides": len({*data.left, *data.right}),
    }
    if data.is_same is not None:
        facts["same"] = int(data.is_same.sum())
        facts["different"] = int((~data.is_same).sum())
    if data.targets is not None:
        facts["targets"] = _spread(data.targets)
    return {**facts, **_official_parts(data)}


def _official_parts(data: Dataset | Pairs) -> dict[str, dict[str, int]]:
    """How many items or pairs lie in each official split and fold."""
    columns = {"splits": data.splits, "folds": data.folds}
    counted = {
        name: np.unique(column, return_counts=True)
        for name, column in columns.items()
        if column is not None
    }
    return {
        name: dict(zip(map(str, values), counts.tolist(), strict=True))
        for name, (values, counts) in counted.items()
    }


def _spread(values: NDArray[Any]) -> dict[str, float]:
    if not len(values):
        return {"smallest": 0, "median": 0, "largest": 0}
    quantiles = (round(float(np.quantile(values, q)), 3) for q in (0, 0.5, 1))
    low, median, high = (int(q) if q.is_integer() else q for q in quantiles)
    return {"smallest": low, "median": median, "largest": high}


def _for_people(fact: Any) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{key} {_for_people(value)}" for key, value in fact.items())
    return fact if isinstance(fact, str) else f"{fact:,}"


def describe_images(addresses: Sequence[str], progress: bool = True) -> ImageSummary:
    """Sizes, modes and unreadable ones of a set of images, from their headers alone.

    Damage behind a header is found only when the images are decoded.
    """
    distinct = sorted(set(addresses))
    sizes: list[tuple[int, int]] = []
    modes: Counter[str] = Counter()
    bad: list[tuple[str, str]] = []
    for address in tracked(distinct, "reading headers", progress):
        try:
            height, width, mode = read_header(address)
            sizes.append((height, width))
            modes[mode] += 1
        except DataError as error:
            bad.append((address, str(error).removeprefix(f"{address}: ")))
    values = np.array(sizes or [(0, 0)])
    heights, widths = (
        (int(side.min()), int(np.median(side)), int(side.max())) for side in values.T
    )
    return ImageSummary(len(distinct), heights, widths, dict(modes.most_common()), bad)


def _look_at(addresses: tuple[str, ...] | list[str], progress: bool) -> ImageSummary:
    """Sizes from the headers, and everything that does not decode: headers hide damage."""
    summary = describe_images(addresses, progress)
    small = ImageInput(ImageSettings(height=32, width=32, crop=0))
    chunks = tracked(
        small.load_chunks(sorted(set(addresses))),
        "decoding",
        progress,
        total=-(-summary.n_images // CHUNK),
    )
    return replace(summary, bad=[entry for chunk in chunks for entry in chunk.bad])
