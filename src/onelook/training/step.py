"""One step's inputs and its loss: from a batch of indices to a number to minimise."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from onelook.data.inputs.images import Preprocess
from onelook.data.inputs.sequences import Sequences, to_device
from onelook.data.sampling import Batch, split_virtual
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.training.augment import Augment, rotate_quarter
from onelook.training.data import TrainingData

Inputs = Tensor | Sequences


@dataclass(frozen=True, eq=False)
class RawBatch:
    """A batch as the stores give it: uint8 pixels or sequences, on the CPU or the
    device."""

    batch: Batch
    left: Inputs
    right: Inputs | None
    turns: (
        Tensor | None
    )  # (B,) quarter turns of each image, where turned images are new classes


@contextmanager
def prefetched(
    material: TrainingData,
    rotations: int,
    first_step: int,
    n_steps: int,
    device: torch.device,
) -> Iterator[Iterator[RawBatch]]:
    """The batches from ``first_step`` on, the next one read while the present one is
    used."""

    def read(step: int) -> RawBatch:
        batch = material.sampler.batch(step)
        items, turns = batch.items, None
        if rotations > 1:
            items, quarter_turns = split_virtual(items, material.n_items)
            turns = torch.from_numpy(quarter_turns)
        right = material.right
        return RawBatch(
            batch,
            material.left.store.gather(material.left.rows[items], device),
            None if right is None else right.store.gather(right.rows[items], device),
            turns,
        )

    with ThreadPoolExecutor(1, "onelook-prefetch") as reader:

        def batches() -> Iterator[RawBatch]:
            coming: Future[RawBatch] = reader.submit(read, first_step)
            for step in range(first_step, n_steps):
                ready = coming.result()
                if step + 1 < n_steps:
                    coming = reader.submit(read, step + 1)
                yield ready

        yield batches()


def network_inputs(
    raw: RawBatch,
    material: TrainingData,
    augment: Augment,
    generator: torch.Generator,
    device: torch.device,
) -> tuple[Inputs, Inputs | None]:
    """What the encoders take: augmented, normalised images (B, C, H, W), or sequences."""
    right = None if raw.right is None else to_device(raw.right, device)
    if not isinstance(material.preprocess, Preprocess):
        assert isinstance(raw.left, Sequences)
        return to_device(raw.left, device), right
    assert isinstance(raw.left, Tensor)
    images = material.preprocess.to_float(raw.left.to(device))
    if raw.turns is not None:
        images = rotate_quarter(images, raw.turns)
    return material.preprocess.normalize(augment(images, generator)), right


def batch_loss(
    model: Siamese | PseudoSiamese,
    loss: nn.Module,
    batch: Batch,
    left_inputs: Inputs,
    right_inputs: Inputs | None,
    twins: str,
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and the embeddings (B, D), or (2 B, D) of two sides, it came
    from."""
    _check(loss, batch)
    if right_inputs is not None:
        left, right = model.encode(left_inputs, "left"), model.encode(right_inputs, "right")
        embeddings = torch.cat([left, right])
    elif twins == "apart":
        # Two passes as the published pair systems make them: batch norm sees one side at a
        # time.
        half = len(batch.items) // 2
        sides = [_part(left_inputs, 0, half), _part(left_inputs, half, 2 * half)]
        embeddings = torch.cat([model.encode(side, "left") for side in sides])
        left = right = embeddings
    else:
        embeddings = left = right = model.encode(left_inputs, "left")
    if loss.takes == "labels":
        labels = _like(batch.labels, embeddings)
        return loss(embeddings, labels.repeat(len(embeddings) // len(labels))), embeddings
    if loss.takes == "triplets":
        triplet = (batch.anchor, batch.positive, batch.negative)
        return loss(
            *[embeddings[_like(slots, embeddings)] for slots in triplet]
        ), embeddings
    if batch.left is None:
        scores, is_same = _all_pairs(model, embeddings, _like(batch.labels, embeddings))
        return loss(scores, is_same), embeddings
    left, right = left[_like(batch.left, left)], right[_like(batch.right, right)]
    truth = _like(batch.is_same if batch.is_same is not None else batch.targets, left)
    if loss.takes == "pairs":
        return loss(left, right, truth), embeddings
    return loss(model.similarity(left, right), truth), embeddings


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
    if isinstance(inputs, Sequences):
        return Sequences(inputs.values[start:end], inputs.lengths[start:end])
    return inputs[start:end]
