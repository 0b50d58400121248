"""From a recipe to what a training works on: open, split, inputs, stores, sampler."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs import Input, Store, make_input
from onelook.data.items import Dataset, Pairs
from onelook.data.sampling import (
    FEWEST_OF_CLASS,
    BalancedPairs,
    ClassBatches,
    PairListBatches,
    Sampler,
    Triplets,
)
from onelook.data.sources import addresses_to_store, open_training_data
from onelook.errors import DataError
from onelook.recipe import Recipe, SamplingSettings
from onelook.training.data import HeldOut, Side, TrainingData

# Side, items, and training texts (None for files) to an input and its loaded items.
Load = Callable[..., tuple[Input, Store]]

log = logging.getLogger(__name__)


def prepare(
    recipe: Recipe,
    data: str | Path | None = None,
    skip_bad: bool = False,
    progress: bool = True,
) -> TrainingData:
    """Find, split, decode and line up the data of a recipe; arguments as for ``train``."""
    opened = open_training_data(recipe.data, data)

    def load(
        side: str, items: Sequence[str], texts: Sequence[str] | None = None
    ) -> tuple[Input, Store]:
        block = recipe.left if side == "left" else recipe.right
        taken = make_input(recipe.images, block, texts)
        if taken is None:
            needed = "an 'images'" if texts is None else f"a {side!r}"
            raise DataError(
                f"recipe {recipe.name} needs {needed} block for its {side} side"
            )
        return taken, taken.store(items, skip_bad=skip_bad, progress=progress)

    if isinstance(opened, Dataset):
        addresses = addresses_to_store(recipe.data, data, opened)
        return _prepare_items(recipe, load, opened, addresses)
    if opened.identities is not None:
        items = opened.items()
        return _prepare_items(recipe, load, items, items.paths, opened)
    if recipe.right_encoder is None:
        return _prepare_twin_pairs(recipe, load, opened)
    return _prepare_pairs_of_two_kinds(recipe, load, opened)


def _prepare_items(
    recipe: Recipe,
    load: Load,
    items: Dataset,
    addresses: Sequence[str],
    pairs: Pairs | None = None,
) -> TrainingData:
    """Labelled items, whose classes are held out whole; ``addresses`` are to be decoded."""
    taken, store = load("left", addresses)
    right = None if items.right_paths is None else load("right", items.right_paths)
    bad = {address for address, _ in store.bad}
    settings = recipe.data
    train, held = items.without(bad).hold_out(
        settings.validation_fraction, recipe.seed, settings.validation_by
    )
    about = {**_about_items(train, held), "skipped images": len(bad)}
    if pairs is None:
        sampler = _sampler(recipe, train)
    else:
        kept = pairs.within(train.paths)
        if not len(kept):
            raise DataError(
                f"{pairs.source}: no pair is left to train on after holding out "
                f"{held.n_classes} of {items.n_classes} identities; lower "
                "data.validation_fraction"
            )
        sampler = _pair_batches(recipe, kept, train.paths)
        about |= {"training pairs": len(kept), "all pairs": len(pairs)}
    held_left = _side(store, held.paths)
    return TrainingData(
        left=_side(store, train.paths),
        right=None if right is None else _side(right[1], train.right_paths or ()),
        n_items=len(train),
        sampler=sampler,
        held_out=HeldOut(
            held_left,
            held_left if right is None else _side(right[1], held.right_paths or ()),
            held.labels,
            held.groups,
            held.drawers,
            class_names=held.class_names,
            addresses=held.paths,
        ),
        input=taken,
        right_input=None if right is None else right[0],
        about=about,
    )


def _prepare_twin_pairs(recipe: Recipe, load: Load, pairs: Pairs) -> TrainingData:
    """Pairs of one kind: an item that stands on both sides is kept and encoded once."""
    if pairs.left_side != pairs.right_side:
        raise DataError(
            f"recipe {recipe.name}: the sides are {pairs.left_side} and "
            f"{pairs.right_side}; give a right_encoder"
        )
    train, held = pairs.hold_out(recipe.data.validation_fraction, recipe.seed)
    texts = [*train.left, *train.right] if pairs.left_side == "text" else None
    items = sorted({*pairs.left, *pairs.right})
    taken, store = load("left", items, texts)
    items = sorted(set(items) - {address for address, _ in store.bad})
    train, held = train.within(items), held.within(items)
    side = _side(store, items)
    return TrainingData(
        left=side,
        right=None,
        n_items=len(items),
        sampler=_pair_batches(recipe, train, items),
        held_out=_held_pairs(held, side, side, items),
        input=taken,
        about=_about_pairs(train, held),
    )


def _prepare_pairs_of_two_kinds(recipe: Recipe, load: Load, pairs: Pairs) -> TrainingData:
    """Pairs whose sides have an encoder each: item i is the pair i."""
    train, held = pairs.hold_out(recipe.data.validation_fraction, recipe.seed)
    left_texts = train.left if pairs.left_side == "text" else None
    right_texts = train.right if pairs.right_side == "text" else None
    left, left_store = load("left", pairs.left, left_texts)
    right, right_store = load("right", pairs.right, right_texts)
    bad = {address for address, _ in (*left_store.bad, *right_store.bad)}
    readable = {*pairs.left, *pairs.right} - bad
    train, held = train.within(readable), held.within(readable)
    return TrainingData(
        left=_side(left_store, train.left),
        right=_side(right_store, train.right),
        n_items=len(train),
        sampler=_pair_batches(recipe, train),
        held_out=_held_pairs(
            held, _side(left_store, held.left), _side(right_store, held.right)
        ),
        input=left,
        right_input=right,
        about=_about_pairs(train, held),
    )


def _side(store: Store, addresses: Sequence[str]) -> Side:
    return Side(store, store.rows(addresses))


def _held_pairs(
    held: Pairs, left: Side, right: Side, items: Sequence[str] | None = None
) -> HeldOut:
    """Held-out pairs of ``items``; without these, item i is the pair i."""
    addresses = held.left if items is None else tuple(items)
    numbers = np.arange(len(addresses))
    return HeldOut(
        left,
        right,
        numbers,
        pair_left=numbers if items is None else _indices(items, held.left),
        pair_right=numbers if items is None else _indices(items, held.right),
        is_same=held.is_same,
        targets=held.targets,
        addresses=addresses,
    )


def _indices(items: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
    index = {item: i for i, item in enumerate(items)}
    return np.array([index[item] for item in wanted], dtype=np.int64)


def _pair_batches(
    recipe: Recipe, pairs: Pairs, items: Sequence[str] | None = None
) -> PairListBatches:
    """Batches of pairs of ``items``; without these, item i of both sides is the pair i."""
    return PairListBatches(
        np.arange(len(pairs)) if items is None else _indices(items, pairs.left),
        None if items is None else _indices(items, pairs.right),
        recipe.sampling.batch_size,
        is_same=pairs.is_same,
        targets=pairs.targets,
        seed=recipe.seed,
    )


def _about_items(train: Dataset, held: Dataset) -> dict[str, Any]:
    return {
        "training data": train.name,
        "training images": len(train),
        "training classes": train.n_classes,
        "held-out images": len(held),
        "held-out classes": held.n_classes,
        "fingerprint": train.fingerprint,
    }


def _about_pairs(train: Pairs, held: Pairs) -> dict[str, Any]:
    return {
        "training data": Path(train.source).name,
        "training pairs": len(train),
        "held-out pairs": len(held),
    }


def _sampler(recipe: Recipe, train: Dataset) -> Sampler:
    settings = recipe.sampling
    shared: dict[str, Any] = {
        "seed": recipe.seed,
        "groups": train.groups,
        "within_group": settings.within_group,
        "per_epoch": settings.per_epoch,
    }
    if settings.name == "classes":
        return ClassBatches(
            train.labels,
            _classes_per_batch(train, settings, recipe.data.rotations),
            settings.samples_per_class,
            rotations=recipe.data.rotations,
            **shared,
        )
    if settings.name == "pair-list":
        raise DataError(
            f"recipe {recipe.name}: sampling 'pair-list' needs data.pair_file; "
            "'pairs' draws them"
        )
    draw = BalancedPairs if settings.name == "pairs" else Triplets
    return draw(train.labels, settings.batch_size, **shared)


def _classes_per_batch(train: Dataset, settings: SamplingSettings, rotations: int) -> int:
    """As many classes as asked for, or all that there are where these are fewer."""
    fewest = min(FEWEST_OF_CLASS, settings.samples_per_class)
    enough = np.bincount(train.labels) >= fewest
    there = int(enough.sum()) * rotations
    if there < 2:
        raise DataError(
            f"a training needs 2 classes with at least {fewest} images; in the part to "
            f"train on of {train.name}: {there} of {len(enough)} classes; add classes or "
            "images, or lower data.validation_fraction"
        )
    if there < settings.classes_per_batch:
        log.info(
            "%s has %d classes with %d images, so a batch holds %d classes, not %d",
            train.name,
            there,
            fewest,
            there,
            settings.classes_per_batch,
        )
        return there
    return settings.classes_per_batch
