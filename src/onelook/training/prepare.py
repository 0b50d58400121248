"""From a recipe and its data to what a training works on: stores, sampler, held-out
items."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from onelook.data.inputs.images import Preprocess
from onelook.data.inputs.pixels import PixelStore
from onelook.data.inputs.sequences import SequenceStore, StrokePreprocess
from onelook.data.items import Dataset, Pairs
from onelook.data.parts import labelled_dataset, split_held_out, stroke_part
from onelook.data.sampling import (
    FEWEST_OF_CLASS,
    BalancedPairs,
    ClassBatches,
    PairListBatches,
    Sampler,
    Triplets,
)
from onelook.data.sources import class_folders as sources
from onelook.data.sources import lfw, omniglot
from onelook.data.sources.pair_files import read_pairs
from onelook.errors import DataError
from onelook.recipe import DataSettings, Recipe, SamplingSettings
from onelook.training.data import HeldOut, Side, TrainingData
from onelook.training.pair_tables import sick_material, table_material

log = logging.getLogger(__name__)


def prepare(
    recipe: Recipe,
    data: str | Path | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> TrainingData:
    """Find, split, decode and line up the data of a recipe.

    Args:
        recipe: Its ``data``, ``images``, ``left``, ``right`` and ``sampling`` blocks.
        data: Folder of the data; None looks in ``ONELOOK_DATA`` and in the user's cache.
        skip_bad: Go on without the images that cannot be read.
        progress: Show progress bars on standard error.

    Raises:
        DataError: If the data is not found, too small, or has broken images.
    """
    if recipe.data.source == "sick":
        return sick_material(recipe, data)
    if recipe.data.source == "pair-table":
        return table_material(recipe, data, skip_bad, progress)
    if recipe.data.source == "strokes":
        return _images_and_strokes(recipe, data, skip_bad, progress)
    if recipe.images is None:
        raise DataError(
            f"recipe {recipe.name} needs an 'images' block for {recipe.data.source}"
        )
    preprocess = Preprocess(recipe.images)
    if recipe.data.pair_file or recipe.data.source == "pairs":
        return _listed_pairs(recipe, preprocess, data, skip_bad, progress)
    return _labelled_images(recipe, preprocess, data, skip_bad, progress)


def _labelled_images(
    recipe: Recipe,
    preprocess: Preprocess,
    data: str | Path | None,
    skip_bad: bool,
    progress: bool,
) -> TrainingData:
    dataset = labelled_dataset(recipe.data, data)
    addresses = dataset.paths
    if recipe.data.source == "lfw":
        # One store for all parts: ten folds would decode nearly the same images ten times.
        addresses = lfw.lfw(sources.find_data("lfw", data)).paths
    store = PixelStore.prepare(addresses, preprocess, skip_bad=skip_bad, progress=progress)
    if store.bad:
        bad = {address for address, _ in store.bad}
        dataset = dataset.subset(np.array([path not in bad for path in dataset.paths]))
    train, held = split_held_out(dataset, recipe.data, recipe.seed)
    side = Side(store, store.rows(train.paths))
    return TrainingData(
        left=side,
        right=None,
        n_items=len(train),
        sampler=_sampler(recipe, train),
        held_out=_held_out_items(held, Side(store, store.rows(held.paths))),
        preprocess=preprocess,
        about={**_about(train, held), "skipped images": len(store.bad)},
    )


def _about(train: Dataset, held: Dataset) -> dict[str, Any]:
    return {
        "training data": train.name,
        "training images": len(train),
        "training classes": train.n_classes,
        "held-out images": len(held),
        "held-out classes": held.n_classes,
        "fingerprint": train.fingerprint,
    }


def _held_out_items(held: Dataset, side: Side) -> HeldOut:
    return HeldOut(
        side, side, held.labels, held.groups, held.drawers, class_names=held.class_names,
        addresses=held.paths,
    )  # fmt: skip


def _sampler(recipe: Recipe, train: Dataset) -> Sampler:
    settings = recipe.sampling
    if settings.name == "classes":
        return ClassBatches(
            train.labels,
            _classes_per_batch(train, settings, recipe.data.rotations),
            settings.samples_per_class,
            seed=recipe.seed,
            groups=train.groups,
            within_group=settings.within_group,
            rotations=recipe.data.rotations,
            per_epoch=settings.per_epoch,
        )
    if settings.name == "pair-list":
        raise DataError(
            f"recipe {recipe.name}: sampling 'pair-list' needs data.pair_file; 'pairs' "
            f"draws them"
        )
    draw = BalancedPairs if settings.name == "pairs" else Triplets
    return draw(
        train.labels,
        settings.batch_size,
        seed=recipe.seed,
        groups=train.groups,
        within_group=settings.within_group,
        per_epoch=settings.per_epoch,
    )


def _classes_per_batch(train: Dataset, settings: SamplingSettings, rotations: int) -> int:
    """As many classes as asked for, or all that there are where these are fewer."""
    enough = np.bincount(train.labels) >= FEWEST_OF_CLASS
    there = int(enough.sum()) * rotations
    if 2 <= there < settings.classes_per_batch:
        log.info(
            "%s has %d classes with %d images, so a batch holds %d classes, not %d",
            train.name,
            there,
            FEWEST_OF_CLASS,
            there,
            settings.classes_per_batch,
        )
        return there
    return settings.classes_per_batch


def _listed_pairs(
    recipe: Recipe,
    preprocess: Preprocess,
    data: str | Path | None,
    skip_bad: bool,
    progress: bool,
) -> TrainingData:
    """Pairs that the data gives, some people (or other identities) of them held out
    whole."""
    pairs, addresses, labels, class_names = _pairs_with_identities(recipe.data, data)
    store = PixelStore.prepare(addresses, preprocess, skip_bad=skip_bad, progress=progress)
    bad = {address for address, _ in store.bad}
    items = Dataset("pairs", tuple(addresses), labels, class_names)
    items = items.subset(np.array([address not in bad for address in addresses]))
    train, held = split_held_out(items, recipe.data, recipe.seed)
    index = {address: i for i, address in enumerate(train.paths)}
    keep = np.array(
        [a in index and b in index for a, b in zip(pairs.left, pairs.right, strict=True)]
    )
    kept = pairs.subset(keep)
    if not len(kept):
        raise DataError(
            f"{pairs.source}: no pair is left to train on after holding out "
            f"{held.n_classes} of {items.n_classes} identities; lower "
            f"data.validation_fraction"
        )
    sampler = PairListBatches(
        np.array([index[address] for address in kept.left]),
        np.array([index[address] for address in kept.right]),
        recipe.sampling.batch_size,
        is_same=kept.is_same,
        seed=recipe.seed,
    )
    return TrainingData(
        left=Side(store, store.rows(train.paths)),
        right=None,
        n_items=len(train),
        sampler=sampler,
        held_out=_held_out_items(held, Side(store, store.rows(held.paths))),
        preprocess=preprocess,
        about={**_about(train, held), "training pairs": len(kept), "all pairs": len(pairs)},
    )


def _pairs_with_identities(
    settings: DataSettings, data: str | Path | None
) -> tuple[Pairs, list[str], NDArray[np.int64], tuple[str, ...]]:
    """The pairs, their distinct files, and who is on each file.

    LFW names its people. In any other pair file the files joined by "same" pairs are one
    identity.
    """
    if settings.source == "lfw":
        pairs = lfw.lfw_pair_file(sources.find_data("lfw", data), settings.pair_file)
        addresses = sorted({*pairs.left, *pairs.right})
        people = [address.split("/")[-2] for address in addresses]
        class_names, labels = np.unique(people, return_inverse=True)
        return pairs, addresses, labels.astype(np.int64), tuple(class_names.tolist())
    if data is None:
        raise DataError(
            "a pairs recipe needs --data, the folder of its images and pair file"
        )
    pairs = read_pairs(Path(data) / (settings.pair_file or "pairs.txt"), root=data)
    addresses = sorted({*pairs.left, *pairs.right})
    index = {address: i for i, address in enumerate(addresses)}
    assert pairs.is_same is not None
    left = np.array([index[a] for a in pairs.left])[pairs.is_same]
    right = np.array([index[b] for b in pairs.right])[pairs.is_same]
    n = len(addresses)
    _, labels = connected_components(
        coo_matrix((np.ones(len(left)), (left, right)), (n, n))
    )
    names = tuple(f"identity {i + 1}" for i in range(int(labels.max()) + 1))
    return pairs, addresses, labels.astype(np.int64), names


def _images_and_strokes(
    recipe: Recipe, data: str | Path | None, skip_bad: bool, progress: bool
) -> TrainingData:
    """Drawings on the left, the pen strokes they came from on the right."""
    if recipe.images is None or recipe.right is None:
        raise DataError(f"recipe {recipe.name} needs an 'images' block and a 'right' block")
    both = stroke_part(
        omniglot.strokes(sources.find_data("omniglot", data)), recipe.data.part
    )
    preprocess, right_preprocess = Preprocess(recipe.images), StrokePreprocess(recipe.right)
    pixels = PixelStore.prepare(
        both.images.paths, preprocess, skip_bad=skip_bad, progress=progress
    )
    strokes = SequenceStore.prepare(both.strokes.paths, right_preprocess)
    images = both.images
    stroke_of = dict(zip(images.paths, both.strokes.paths, strict=True))
    if pixels.bad:
        bad = {address for address, _ in pixels.bad}
        images = images.subset(np.array([path not in bad for path in images.paths]))
    train, held = split_held_out(images, recipe.data, recipe.seed)

    def sides(part: Dataset) -> tuple[Side, Side]:
        stroke_rows = strokes.rows([stroke_of[path] for path in part.paths])
        return Side(pixels, pixels.rows(part.paths)), Side(strokes, stroke_rows)

    left, right = sides(train)
    held_left, held_right = sides(held)
    return TrainingData(
        left=left,
        right=right,
        n_items=len(train),
        sampler=_sampler(recipe, train),
        held_out=HeldOut(
            held_left,
            held_right,
            held.labels,
            held.groups,
            held.drawers,
            class_names=held.class_names,
            addresses=held.paths,
        ),  # fmt: skip
        preprocess=preprocess,
        right_preprocess=right_preprocess,
        about=_about(train, held),
    )
