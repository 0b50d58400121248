"""What a source holds, before it is trained on: classes, sizes, and what is broken."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs import ImageInput
from onelook.data.inputs.decoding import read_header
from onelook.data.inputs.stores import CHUNK
from onelook.data.items import Dataset, Pairs
from onelook.data.reading import read_bytes
from onelook.data.sampling import BalancedPairs
from onelook.errors import DataError
from onelook.progress import tracked
from onelook.recipe import ImageSettings


@dataclass(frozen=True)
class ImageSummary:
    """What the headers of a set of images say.

    Heights and widths are the smallest, median and largest, in pixels; ``modes`` counts
    images by Pillow's mode, most frequent first; ``bad`` has address and reason.
    """

    n_images: int
    heights: tuple[int, int, int]
    widths: tuple[int, int, int]
    modes: dict[str, int]
    bad: list[tuple[str, str]]

    def __str__(self) -> str:
        if not self.modes:
            return f"{self.n_images:,} images, none readable"
        sizes = zip(self.heights, self.widths, strict=True)
        low, median, high = (f"{height} x {width}" for height, width in sizes)
        size = low if low == high else f"smallest {low}, median {median}, largest {high}"
        modes = ", ".join(f"{n:,} {mode}" for mode, n in self.modes.items())
        return f"{self.n_images:,} images, height x width {size} ({modes})"


@dataclass(frozen=True)
class Description:
    """What a source holds: counts by name, in the order for people; no images for texts."""

    name: str
    facts: dict[str, Any]
    images: ImageSummary | None

    @property
    def bad(self) -> list[tuple[str, str]]:
        """Address and reason of every image that cannot be read."""
        return [] if self.images is None else self.images.bad

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        facts = {key.replace(" ", "_"): fact for key, fact in self.facts.items()}
        files = None if self.images is None else asdict(self.images)
        return {"name": self.name, **facts, "files": files}

    def __str__(self) -> str:
        width = max(map(len, self.facts))
        facts = [f"  {key:{width}}  {_for_people(it)}" for key, it in self.facts.items()]
        images = [] if self.images is None else [str(self.images)]
        bad = [f"  cannot be read: {address}: {reason}" for address, reason in self.bad]
        return "\n".join([self.name, *facts, *images, *bad])


def describe(data: Dataset | Pairs) -> Description:
    """Count what a source holds; decode every image to find those that cannot be read."""
    if isinstance(data, Dataset):
        return Description(data.name, _facts_of_items(data), _look_at(data.paths))
    sides = ((data.left_side, data.left), (data.right_side, data.right))
    files = [address for kind, side in sides if kind == "path" for address in side]
    images = _look_at(files) if files else None
    return Description(data.source or "pairs", _facts_of_pairs(data), images)


def pairs_to_draw(
    data: Dataset | Pairs, bad: list[tuple[str, str]], count: int = 20
) -> list[tuple[str, str, bool]]:
    """Addresses of ``count`` pairs, half of them same, as a training would sample them."""
    refused = {address for address, _ in bad}
    if isinstance(data, Dataset):
        items = data.without(refused)
        batch = BalancedPairs(items.labels, count, 0, groups=items.groups).batch(0)
        assert batch.is_same is not None
        shown = [items.paths[i] for i in batch.items]
        return [*zip(shown[:count], shown[count:], batch.is_same.tolist(), strict=True)]
    if data.is_same is None:
        raise DataError(f"{data.source} has no pairs of images to draw")
    kept = data.within({*data.left, *data.right} - refused)
    assert kept.is_same is not None
    order = np.random.default_rng(0).permutation(len(kept))
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
    within, across = _repeated_files(data)
    facts |= {"files that are there twice": within, "files in several classes": across}
    if data.groups is not None:
        facts["groups"] = len(data.group_names)
    if data.drawers is not None:
        facts["drawers"] = len(np.unique(data.drawers))
    return {**facts, **_official_parts(data), "fingerprint": data.fingerprint}


def _repeated_files(data: Dataset) -> tuple[int, int]:
    """How many files repeat another of their class, and how many lie in several classes."""
    classes: dict[bytes, Counter[int]] = {}
    for address, label in zip(data.paths, data.labels.tolist(), strict=True):
        with suppress(DataError):  # what cannot be read is named with the images
            digest = hashlib.sha256(read_bytes(address)).digest()
            classes.setdefault(digest, Counter())[label] += 1
    repeated = [found for found in classes.values() if found.total() > 1]
    within = sum(n - 1 for found in repeated for n in found.values())
    return within, sum(len(found) > 1 for found in repeated)


def _facts_of_pairs(data: Pairs) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "pairs": len(data),
        "distinct sides": len({*data.left, *data.right}),
    }
    pairs = [tuple(sorted(pair)) for pair in zip(data.left, data.right, strict=True)]
    facts["pairs of one item with itself"] = sum(left == right for left, right in pairs)
    if data.is_same is not None:
        facts["same"] = int(data.is_same.sum())
        facts["different"] = int((~data.is_same).sum())
        same, different = (
            {pairs[i] for i in np.flatnonzero(kind).tolist()}
            for kind in (data.is_same, ~data.is_same)
        )
        facts["pairs that are both"] = len(same & different)
    if data.targets is not None:
        facts["targets"] = _spread(data.targets)
    return {**facts, **_official_parts(data)}


def _official_parts(data: Dataset | Pairs) -> dict[str, dict[str, int]]:
    """How many items or pairs lie in each official split and fold."""
    columns = {"splits": data.splits, "folds": data.folds}
    return {
        name: {str(part): n for part, n in sorted(Counter(column.tolist()).items())}
        for name, column in columns.items()
        if column is not None
    }


def _spread(values: NDArray[Any]) -> dict[str, float]:
    some = values if len(values) else [0]
    quantiles = np.quantile(some, [0, 0.5, 1]).round(3).tolist()
    plain = (int(q) if q == int(q) else q for q in quantiles)
    return dict(zip(("smallest", "median", "largest"), plain, strict=True))


def _for_people(fact: Any) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{key} {_for_people(value)}" for key, value in fact.items())
    return fact if isinstance(fact, str) else f"{fact:,}"


def describe_images(addresses: Collection[str], progress: bool = True) -> ImageSummary:
    """Sizes, modes and unreadable ones of a set of images, from their headers alone.

    Damage behind a header is found only when the images are decoded.
    """
    headers: list[tuple[int, int, str]] = []
    bad: list[tuple[str, str]] = []
    for address in tracked(sorted(set(addresses)), "reading headers", progress):
        try:
            headers.append(read_header(address))
        except DataError as error:
            bad.append((address, str(error).removeprefix(f"{address}: ")))
    sizes = np.array([header[:2] for header in headers] or [(0, 0)])
    heights, widths = np.quantile(sizes, [0, 0.5, 1], axis=0).astype(int).T.tolist()
    modes = dict(Counter(mode for *_, mode in headers).most_common())
    return ImageSummary(len(headers) + len(bad), tuple(heights), tuple(widths), modes, bad)


def _look_at(addresses: Sequence[str]) -> ImageSummary:
    """Sizes from the headers, and everything that does not decode: headers hide damage."""
    summary = describe_images(addresses)
    small = ImageInput(ImageSettings(height=32, width=32, crop=0))
    chunks = small.load_chunks(sorted(set(addresses)))
    n_chunks = -(-summary.n_images // CHUNK)
    bad = [
        entry
        for chunk in tracked(chunks, "decoding", total=n_chunks)
        for entry in chunk.bad
    ]
    return replace(summary, bad=bad)
