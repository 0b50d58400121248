"""One step's loss: the twins together or apart, two sides, every kind of loss."""

import numpy as np
import pytest
import torch
from torch import nn

from onelook.data.inputs import ImageInput
from onelook.data.inputs.stores import PixelStore
from onelook.data.sampling import Batch
from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import EuclideanSimilarity
from onelook.recipe import ImageSettings
from onelook.training.data import Side
from onelook.training.loop import step_seed
from onelook.training.losses import (
    BinaryCrossEntropyLoss,
    ContrastiveLoss,
    RatioLoss,
    SupervisedContrastiveLoss,
)
from onelook.training.step import _reader, batch_loss

SLOTS = np.arange(8)
PAIRS = Batch(
    items=SLOTS,
    left=SLOTS[:4],
    right=SLOTS[4:],
    is_same=np.array([True, False, True, False]),
)


def encoder():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.BatchNorm1d(5))


def images():
    return torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(1))


def test_twins_apart_are_two_passes_and_together_one():
    x, loss = images(), ContrastiveLoss(1.0)
    for twins in ("apart", "together"):
        model = Siamese(encoder(), EuclideanSimilarity())
        found, embeddings = batch_loss(model, loss, PAIRS, x, None, twins)
        network = encoder()
        if twins == "apart":
            left, right = network(x[:4]), network(x[4:])
        else:
            left, right = network(x).split(4)
        expected = loss(left, right, torch.from_numpy(PAIRS.is_same))
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(embeddings, torch.cat([left, right]))


def test_two_sides_meet_by_their_slots():
    left_encoder, right_encoder = nn.Linear(2, 3), nn.Linear(4, 3)
    model = PseudoSiamese(left_encoder, right_encoder, EuclideanSimilarity())
    left, right = torch.randn(4, 2), torch.randn(4, 4)
    slots = np.arange(4)
    batch = Batch(items=slots, left=slots, right=slots, is_same=PAIRS.is_same)
    found, _ = batch_loss(model, BinaryCrossEntropyLoss(), batch, left, right, "together")
    distances = (left_encoder(left) - right_encoder(right)).norm(dim=1)
    truth = torch.from_numpy(PAIRS.is_same).float()
    expected = nn.functional.binary_cross_entropy_with_logits(-distances, truth)
    torch.testing.assert_close(found, expected)


def test_labels_of_two_sides_are_those_of_each():
    model = PseudoSiamese(nn.Linear(2, 3), nn.Linear(4, 3), EuclideanSimilarity())
    left, right = torch.randn(4, 2), torch.randn(4, 4)
    batch = Batch(items=np.arange(4), labels=np.array([0, 0, 1, 1]))
    loss = SupervisedContrastiveLoss(0.1)
    found, embeddings = batch_loss(model, loss, batch, left, right, "together")
    torch.testing.assert_close(found, loss(embeddings, torch.tensor([0, 0, 1, 1] * 2)))


def test_triplets_are_taken_by_their_slots():
    x, loss = images()[:6], RatioLoss()
    model = Siamese(nn.Flatten(), EuclideanSimilarity())
    batch = Batch(
        items=np.arange(6),
        anchor=np.array([0, 1]),
        positive=np.array([2, 3]),
        negative=np.array([4, 5]),
    )
    found, _ = batch_loss(model, loss, batch, x, None, "together")
    flat = x.flatten(1)
    torch.testing.assert_close(found, loss(flat[:2], flat[2:4], flat[4:]))


def test_a_loss_that_needs_another_sampler_says_so():
    model = Siamese(nn.Flatten(), EuclideanSimilarity())
    batch = Batch(items=SLOTS, labels=SLOTS // 2)
    with pytest.raises(ValueError, match="ContrastiveLoss takes pairs"):
        batch_loss(model, ContrastiveLoss(1.0), batch, images(), None, "together")


def test_every_step_has_its_own_seed():
    seeds = {step_seed(seed, step) for seed in range(5) for step in range(1000)}
    assert len(seeds) == 5000


@pytest.mark.gpu
@pytest.mark.parametrize("free", [0, 1 << 30])
def test_items_are_read_onto_a_gpu_from_its_memory_or_from_the_store(free, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * free, 0))
    pixels = np.random.default_rng(0).integers(0, 256, (7, 1, 4, 4)).astype(np.uint8)
    store = PixelStore(pixels, [str(i) for i in range(7)])
    taken = ImageInput(ImageSettings(height=4, width=4))
    side = Side(store, np.array([6, 5, 4]))
    found = _reader(side, taken, torch.device("cuda"))(np.array([2, 0, 2]))
    assert found.device.type == "cuda"
    np.testing.assert_array_equal(found.cpu(), pixels[[4, 6, 4]])
