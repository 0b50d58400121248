"""From a recipe to what a training works on: open, split, inputs, stores, sampler."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs import INPUTS, ImageInput, Input, Store
from onelook.data.items import Dataset, Pairs
from onelook.data.sampling import (
    FEWEST_OF_CLASS,
    AlignedPairs,
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
        progress: Report progress on standard error.

    Raises:
        DataError: If the data is not found, too small, or has broken images.
    """
    opened = open_training_data(recipe.data, data)
    stores = _Stores(recipe, skip_bad, progress)
    if isinstance(opened, Dataset):
        return _prepare_items(recipe, opened, data, stores)
    if opened.identities is not None:
        return _prepare_identities(recipe, opened, stores)
    if recipe.right_encoder is None:
        return _prepare_twin_pairs(recipe, opened, stores)
    return _prepare_pairs_of_two_kinds(recipe, opened, stores)


class _Stores:
    """Makes the inputs that a recipe describes, and stores of what they load."""

    def __init__(self, recipe: Recipe, skip_bad: bool, progress: bool) -> None:
        self.recipe, self.skip_bad, self.progress = recipe, skip_bad, progress

    def input_of(
        self, side: str, is_text: bool = False, texts: Sequence[str] = ()
    ) -> Input:
        """The input of a side; the words of a text input are those of ``texts``."""
        recipe = self.recipe
        block = recipe.left if side == "left" else recipe.right
        if is_text and block is None:
            raise DataError(f"recipe {recipe.name} needs a {side!r} block for its texts")
        if block is not None and (is_text or INPUTS[block.kind].suffixes):
            fitted: Input = INPUTS[block.kind].fit(texts, block)
            return fitted
        if recipe.images is None:
            raise DataError(
                f"recipe {recipe.name} needs an 'images' block for its {side} side"
            )
        return ImageInput(recipe.images)

    def store(self, addresses: Sequence[str], taken: Input) -> Store:
        """All of these items, loaded once."""
        return taken.store(addresses, skip_bad=self.skip_bad, progress=self.progress)


def _bad(store: Store) -> set[str]:
    """Addresses of items that could not be read."""
    return {address for address, _ in store.bad}


def _prepare_items(
    recipe: Recipe, items: Dataset, data: str | Path | None, stores: _Stores
) -> TrainingData:
    """Labelled items; each may have a right side of another kind."""
    left = stores.input_of("left")
    store = stores.store(addresses_to_store(recipe.data, data, items), left)
    right = right_store = None
    if items.right_paths is not None:
        right = stores.input_of("right")
        right_store = stores.store(items.right_paths, right)
    bad = _bad(store)
    train, held = _hold_out(recipe, items.without(bad))

    def right_side(part: Dataset) -> Side | None:
        if right_store is None or part.right_paths is None:
            return None
        return Side(right_store, right_store.rows(part.right_paths))

    return TrainingData(
        left=Side(store, store.rows(train.paths)),
        right=right_side(train),
        n_items=len(train),
        sampler=_sampler(recipe, train),
        held_out=_held_out_items(
            held, Side(store, store.rows(held.paths)), right_side(held)
        ),
        input=left,
        right_input=right,
        about={**_about_items(train, held), "skipped images": len(bad)},
    )


def _prepare_identities(recipe: Recipe, pairs: Pairs, stores: _Stores) -> TrainingData:
    """Pairs that the data lists; some of the identities on them are held out whole."""
    items, taken = pairs.items(), stores.input_of("left")
    store = stores.store(items.paths, taken)
    train, held = _hold_out(recipe, items.without(_bad(store)))
    kept = pairs.within(train.paths)
    if not len(kept):
        raise DataError(
            f"{pairs.source}: no pair is left to train on after holding out "
            f"{held.n_classes} of {items.n_classes} identities; lower "
            "data.validation_fraction"
        )
    return TrainingData(
        left=Side(store, store.rows(train.paths)),
        right=None,
        n_items=len(train),
        sampler=_pair_batches(recipe, kept, train.paths),
        held_out=_held_out_items(held, Side(store, store.rows(held.paths))),
        input=taken,
        about={
            **_about_items(train, held),
            "training pairs": len(kept),
            "all pairs": len(pairs),
        },
    )


def _prepare_twin_pairs(recipe: Recipe, pairs: Pairs, stores: _Stores) -> TrainingData:
    """Pairs of one kind: an item that stands on both sides is kept and encoded once."""
    if pairs.left_side != pairs.right_side:
        raise DataError(
            f"recipe {recipe.name}: the sides are {pairs.left_side} and "
            f"{pairs.right_side}; give a right_encoder"
        )
    train, held = pairs.hold_out(recipe.data.validation_fraction, recipe.seed)
    texts = [*train.left, *train.right]
    taken = stores.input_of("left", pairs.left_side == "text", texts)
    store = stores.store(sorted({*pairs.left, *pairs.right}), taken)
    every = sorted({*pairs.left, *pairs.right} - _bad(store))
    train, held = train.within(every), held.within(every)
    side = Side(store, store.rows(every))
    ends = _indices(every, held.left), _indices(every, held.right)
    return TrainingData(
        left=side,
        right=None,
        n_items=len(every),
        sampler=_pair_batches(recipe, train, every),
        held_out=_held_out_pairs(held, (side, side), ends, every),
        input=taken,
        about=_about_pairs(train, held),
    )


def _prepare_pairs_of_two_kinds(
    recipe: Recipe, pairs: Pairs, stores: _Stores
) -> TrainingData:
    """Pairs whose sides have an encoder each: item i is the pair i."""
    train, held = pairs.hold_out(recipe.data.validation_fraction, recipe.seed)
    left = stores.input_of("left", pairs.left_side == "text", train.left)
    right = stores.input_of("right", pairs.right_side == "text", train.right)
    left_store = stores.store(sorted({*pairs.left}), left)
    right_store = stores.store(sorted({*pairs.right}), right)
    readable = {*pairs.left, *pairs.right} - _bad(left_store) - _bad(right_store)
    train, held = train.within(readable), held.within(readable)
    numbers = np.arange(len(held))
    return TrainingData(
        left=Side(left_store, left_store.rows(train.left)),
        right=Side(right_store, right_store.rows(train.right)),
        n_items=len(train),
        sampler=AlignedPairs(
            len(train),
            recipe.sampling.batch_size,
            is_same=train.is_same,
            targets=train.targets,
            seed=recipe.seed,
        ),
        held_out=_held_out_pairs(
            held,
            (
                Side(left_store, left_store.rows(held.left)),
                Side(right_store, right_store.rows(held.right)),
            ),
            (numbers, numbers),
            held.left,
        ),
        input=left,
        right_input=right,
        about=_about_pairs(train, held),
    )


def _hold_out(recipe: Recipe, items: Dataset) -> tuple[Dataset, Dataset]:
    settings = recipe.data
    return items.hold_out(settings.validation_fraction, recipe.seed, settings.validation_by)


def _held_out_items(held: Dataset, left: Side, right: Side | None = None) -> HeldOut:
    return HeldOut(
        left,
        right or left,
        held.labels,
        held.groups,
        held.drawers,
        class_names=held.class_names,
        addresses=held.paths,
    )


def _held_out_pairs(
    held: Pairs,
    sides: tuple[Side, Side],
    ends: tuple[NDArray[np.int64], NDArray[np.int64]],
    addresses: Sequence[str],
) -> HeldOut:
    return HeldOut(
        *sides,
        np.arange(len(addresses)),
        pair_left=ends[0],
        pair_right=ends[1],
        is_same=held.is_same,
        targets=held.targets,
        addresses=tuple(addresses),
    )


def _indices(items: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
    index = {item: i for i, item in enumerate(items)}
    return np.array([index[item] for item in wanted], dtype=np.int64)


def _pair_batches(recipe: Recipe, pairs: Pairs, items: Sequence[str]) -> PairListBatches:
    return PairListBatches(
        _indices(items, pairs.left),
        _indices(items, pairs.right),
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
