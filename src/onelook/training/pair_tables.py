"""Training from a table of pairs whose sides are images or texts: one encoder, or two."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelook.data.inputs.images import Preprocess
from onelook.data.inputs.pixels import PixelStore
from onelook.data.inputs.sequences import SequenceStore, TextPreprocess
from onelook.data.items import Pairs
from onelook.data.sampling import AlignedPairs, PairListBatches
from onelook.data.sources import class_folders as sources
from onelook.data.sources.pair_files import read_pair_table
from onelook.errors import DataError
from onelook.recipe import Recipe
from onelook.training.data import AnyPreprocess, HeldOut, Side, Store, TrainingData


def sick_material(recipe: Recipe, data: str | Path | None) -> TrainingData:
    """SICK's graded sentence pairs; the official trial pairs choose the epoch."""
    root = sources.find_data("sick", data)
    return _twins(recipe, sources.sick(root, "train"), sources.sick(root, "trial"), "SICK")


def table_material(
    recipe: Recipe, data: str | Path | None, skip_bad: bool, progress: bool
) -> TrainingData:
    """Pairs of a CSV file; those of some left sides are held out.

    Raises:
        DataError: If the table is not there or wrong, or a side has no settings block.
    """
    settings = recipe.data
    if data is None:
        raise DataError("a pair-table recipe needs --data, the folder of the table")
    path = Path(data) / (settings.pair_file or "pairs.csv")
    pairs = read_pair_table(
        path,
        left=settings.left_column,
        right=settings.right_column,
        label=settings.label_column,
        label_kind=settings.label,
        left_side=settings.left_side,
        right_side=settings.right_side,
        root=data,
    )
    train, held = _hold_out(pairs, settings.validation_fraction, recipe.seed)
    if recipe.right_encoder is None:
        return _twins(recipe, train, held, path.name, skip_bad, progress)
    return _two_sides(recipe, train, held, path.name, skip_bad, progress)


def _hold_out(pairs: Pairs, fraction: float, seed: int) -> tuple[Pairs, Pairs]:
    """Split so that no left side stands in both parts."""
    _, lefts = np.unique(pairs.left, return_inverse=True)
    order = np.random.default_rng(seed).permutation(int(lefts.max()) + 1)
    n_held = max(1, round(fraction * len(order)))
    if n_held >= len(order):
        raise DataError(f"{pairs.source}: one left side only; nothing can be held out")
    held = np.isin(lefts, order[:n_held])
    return pairs.subset(~held), pairs.subset(held)


def _twins(
    recipe: Recipe,
    train: Pairs,
    held: Pairs,
    name: str,
    skip_bad: bool = False,
    progress: bool = True,
) -> TrainingData:
    """Both sides of one kind: an item that stands on both is kept and encoded once."""
    if recipe.data.left_side != recipe.data.right_side:
        raise DataError(
            f"recipe {recipe.name}: the sides are {recipe.data.left_side} and "
            f"{recipe.data.right_side}; give a right_encoder"
        )
    every = sorted({*train.left, *train.right, *held.left, *held.right})
    preprocess = _preprocess(recipe, "left", [*train.left, *train.right])
    store, bad = _store(every, preprocess, skip_bad, progress)
    train, held = _without(train, bad), _without(held, bad)
    every = [address for address in every if address not in bad]
    index = {address: i for i, address in enumerate(every)}
    side = Side(store, store.rows(every))

    def items(column: tuple[str, ...]) -> NDArray[np.int64]:
        return np.array([index[address] for address in column])

    return TrainingData(
        left=side,
        right=None,
        n_items=len(every),
        sampler=PairListBatches(
            items(train.left),
            items(train.right),
            recipe.sampling.batch_size,
            is_same=train.is_same,
            targets=train.targets,
            seed=recipe.seed,
        ),
        held_out=HeldOut(
            side,
            side,
            np.arange(len(every)),
            pair_left=items(held.left),
            pair_right=items(held.right),
            is_same=held.is_same,
            targets=held.targets,
            addresses=tuple(every),
        ),
        preprocess=preprocess,
        about=_about(name, train, held),
    )


def _two_sides(
    recipe: Recipe, train: Pairs, held: Pairs, name: str, skip_bad: bool, progress: bool
) -> TrainingData:
    """Sides of two kinds, or two encoders: item i is the pair i."""
    left = _preprocess(recipe, "left", train.left)
    right = _preprocess(recipe, "right", train.right)
    left_store, left_bad = _store(
        sorted({*train.left, *held.left}), left, skip_bad, progress
    )
    right_store, right_bad = _store(
        sorted({*train.right, *held.right}), right, skip_bad, progress
    )
    train, held = (_without(pairs, left_bad | right_bad) for pairs in (train, held))
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
        held_out=HeldOut(
            Side(left_store, left_store.rows(held.left)),
            Side(right_store, right_store.rows(held.right)),
            numbers,
            pair_left=numbers,
            pair_right=numbers,
            is_same=held.is_same,
            targets=held.targets,
            addresses=held.left,
        ),
        preprocess=left,
        right_preprocess=right,
        about=_about(name, train, held),
    )


def _preprocess(
    recipe: Recipe, side: str, texts: list[str] | tuple[str, ...]
) -> AnyPreprocess:
    kind = recipe.data.left_side if side == "left" else recipe.data.right_side
    sequence = recipe.left if side == "left" else recipe.right
    if recipe.data.source == "sick":
        kind = "text"
    if kind == "text":
        if sequence is None:
            raise DataError(f"recipe {recipe.name} needs a {side!r} block for its texts")
        return TextPreprocess.fit(texts, sequence)
    if recipe.images is None:
        raise DataError(f"recipe {recipe.name} needs an 'images' block for its {side} side")
    return Preprocess(recipe.images)


def _store(
    addresses: list[str], preprocess: AnyPreprocess, skip_bad: bool, progress: bool
) -> tuple[Store, set[str]]:
    """The store of one side, and the addresses that could not be read."""
    if isinstance(preprocess, Preprocess):
        pixels = PixelStore.prepare(
            addresses, preprocess, skip_bad=skip_bad, progress=progress
        )
        return pixels, {address for address, _ in pixels.bad}
    return SequenceStore.prepare(addresses, preprocess), set()


def _without(pairs: Pairs, bad: set[str]) -> Pairs:
    keep = [
        a not in bad and b not in bad for a, b in zip(pairs.left, pairs.right, strict=True)
    ]
    return pairs.subset(np.array(keep, dtype=bool))


def _about(name: str, train: Pairs, held: Pairs) -> dict[str, Any]:
    return {
        "training data": name,
        "training pairs": len(train),
        "held-out pairs": len(held),
    }
