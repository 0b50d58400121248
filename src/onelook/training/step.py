"""One step's inputs and its loss: from a batch of indices to a number to minimise."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onelook.data.inputs import Input
from onelook.data.inputs.stores import RESIDENT_BYTES
from onelook.data.sampling import Batch, split_virtual
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.runtime.torch import tensors_of
from onelook.training.augment import Augment, rotate_quarter
from onelook.training.data import Side, TrainingData
from onelook.training.passes import Plan, plan_batch

Inputs = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class RawBatch:
    """A batch as it is read: uint8 pixels (B, C, H, W), or sequences, on the device.

    ``turns`` (B,) are the quarter turns of images, where turned images are new classes.
    Where passes are planned, inputs and turns are those of this process's slots alone.
    """

    batch: Batch
    left: Inputs
    right: Inputs | None
    turns: Tensor | None
    plan: Plan | None = None


@contextmanager
def prefetched(
    material: TrainingData,
    rotations: int,
    first_step: int,
    n_steps: int,
    device: torch.device,
    plan: Callable[[Batch], Plan] | None = None,
) -> Iterator[Iterator[RawBatch]]:
    """The batches from ``first_step`` on; the next is read while one is used."""
    left = _reader(material.left, material.input, device)
    right = None
    if material.right is not None:
        right = _reader(material.right, material.right_input or material.input, device)

    def read(step: int) -> RawBatch:
        batch = material.sampler.batch(step)
        items, turns = batch.items, None
        if rotations > 1:
            items, quarter_turns = split_virtual(items, material.n_items)
            turns = torch.from_numpy(quarter_turns)
        if plan is None:
            both = left(items), None if right is None else right(items)
            return RawBatch(batch, *both, turns)
        planned = plan(batch)
        slots = planned.slots("left")
        both = left(items[slots]), None if right is None else right(items[slots])
        return RawBatch(batch, *both, None if turns is None else turns[slots], planned)

    with ThreadPoolExecutor(1, "onelook-prefetch") as reader:

        def batches() -> Iterator[RawBatch]:
            coming: Future[RawBatch] = reader.submit(read, first_step)
            for step in range(first_step, n_steps):
                ready = coming.result()
                if step + 1 < n_steps:
                    coming = reader.submit(read, step + 1)
                yield ready

        yield batches()


def _reader(
    side: Side, taken: Input, device: torch.device
) -> Callable[[NDArray[np.int64]], Inputs]:
    """A function that reads items (B,) of a side onto the device.

    Pixels that fit into the memory of a GPU are held there.
    """
    store, rows = side.store, side.rows
    if store.pixels is None:
        return lambda items: tensors_of(taken.to_inputs(store.gather(rows[items])), device)
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        if store.pixels.nbytes <= min(RESIDENT_BYTES, free // 4):
            whole = torch.from_numpy(np.array(store.pixels)).to(device)
            return lambda items: whole[torch.from_numpy(rows[items]).to(device)]
    # NumPy picks the rows, because this runs beside a training step: a PyTorch call would
    # open a second OpenMP team in its thread, and with more threads than cores libgomp
    # sleeps at every barrier of the step (a fifth more time, two cores).
    return lambda items: torch.from_numpy(store.gather(rows[items])).to(device)


def network_inputs(
    raw: RawBatch, material: TrainingData, augment: Augment, generator: torch.Generator
) -> tuple[Inputs, Inputs | None]:
    """What the encoders take: augmented, normalised images (B, C, H, W), or sequences."""
    left, right = raw.left, raw.right
    if isinstance(left, Tensor):
        images = left.float() / 255
        if raw.turns is not None:
            images = rotate_quarter(images, raw.turns)
        of = len(raw.batch.items)
        slots = None if raw.plan is None else torch.from_numpy(raw.plan.slots("left"))
        left = _normalised(augment(images, generator, slots, of), material.input)
    if isinstance(right, Tensor):
        right = _normalised(right.float() / 255, material.right_input or material.input)
    return left, right


def _normalised(images: Tensor, taken: Input) -> Tensor:
    """Images (B, C, H, W) in [0, 1], less their mean, divided by their deviation."""
    assert taken.normalisation is not None  # what gives pixels has one
    mean, std = (torch.from_numpy(values).to(images) for values in taken.normalisation)
    return (images - mean) / std


def batch_loss(
    model: Siamese | PseudoSiamese,
    loss: nn.Module,
    batch: Batch,
    left_inputs: Inputs,
    right_inputs: Inputs | None,
    twins: str,
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and its embeddings (B, D), or (2 B, D) of two sides."""
    two_sides = right_inputs is not None
    plan = plan_batch(len(batch.items), two_sides=two_sides, twins=twins)
    sides = {"left": left_inputs, "right": right_inputs}
    encoded = [encode_piece(model, sides, piece) for piece in plan.pieces()]
    embeddings = encoded[0] if len(encoded) == 1 else torch.cat(encoded)
    return loss_of_embeddings(model, loss, batch, embeddings, two_sides), embeddings


def encode_piece(
    model: Siamese | PseudoSiamese,
    sides: dict[str, Inputs | None],
    piece: tuple[str, int, int],
) -> Tensor:
    """Embeddings (b, D) of the inputs from one place to another of a side."""
    side, start, end = piece
    inputs = sides[side]
    assert inputs is not None
    return model.encode(_part(inputs, start, end), side)


def loss_of_embeddings(
    model: Siamese | PseudoSiamese,
    loss: nn.Module,
    batch: Batch,
    embeddings: Tensor,
    two_sides: bool,
) -> Tensor:
    """The loss (scalar) of a batch's embeddings (B, D), or (2 B, D) of two sides."""
    _check(loss, batch)
    found: Tensor = loss(*_taken(model, str(loss.takes), batch, embeddings, two_sides))
    return found


def _taken(
    model: Siamese | PseudoSiamese,
    takes: str,
    batch: Batch,
    embeddings: Tensor,
    two_sides: bool,
) -> tuple[Tensor, ...]:
    """What a loss of that kind is given."""
    if takes == "labels":
        labels = _like(batch.labels, embeddings)
        return embeddings, labels.repeat(len(embeddings) // len(labels))
    if takes == "triplets":
        triplet = (batch.anchor, batch.positive, batch.negative)
        return tuple(embeddings[_like(slots, embeddings)] for slots in triplet)
    if batch.left is None:
        return _all_pairs(model, embeddings, _like(batch.labels, embeddings))
    left, right = embeddings.chunk(2) if two_sides else (embeddings, embeddings)
    left, right = left[_like(batch.left, left)], right[_like(batch.right, right)]
    truth = _like(batch.is_same if batch.is_same is not None else batch.targets, left)
    return (
        (left, right, truth) if takes == "pairs" else (model.similarity(left, right), truth)
    )


def _all_pairs(
    model: Siamese | PseudoSiamese, embeddings: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores and truths of all pairs of a labelled batch, each pair once."""
    first, second = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
    scores = model.similarity.matrix(embeddings, embeddings)[first, second]
    return scores, labels[first] == labels[second]


def _check(loss: nn.Module, batch: Batch) -> None:
    """A user may join a loss and a sampler that do not fit."""
    takes = str(loss.takes)
    given = {
        "labels": batch.labels is not None,
        "pairs": batch.left is not None and batch.is_same is not None,
        "scores": batch.left is not None or batch.labels is not None,
        "triplets": batch.anchor is not None,
    }
    if not given[takes]:
        raise ValueError(
            f"{type(loss).__name__} takes {takes}, which this sampling does not give: "
            "sampling 'classes' gives labels and scores, 'pairs' and 'pair-list' give "
            "pairs and scores, 'triplets' gives triplets"
        )


def _like(values: object, tensor: Tensor) -> Tensor:
    return torch.as_tensor(values, device=tensor.device)


def _part(inputs: Inputs, start: int, end: int) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs[start:end]
    return tuple(part[start:end] for part in inputs)
