"""The loops that onelook is measured against are what they claim to be."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from onelook.data.inputs import ImageInput
from onelook.recipe import ImageSettings
from speed import plain


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        (ImageSettings(height=20, width=20), "L"),
        (ImageSettings(height=12, width=16, invert=True, mean=(0.1,), std=(0.3,)), "1"),
        (ImageSettings(height=16, width=16, channels=3, crop=0.55), "RGB"),
        (ImageSettings(height=16, width=12, channels=3), "L"),
    ],
)
def test_the_plain_loader_gives_what_onelook_trains_on(settings, mode, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    path = str(tmp_path / "a.png")
    Image.fromarray(pixels).convert(mode).save(path)
    images = ImageInput(settings)
    expected = torch.from_numpy(images.to_inputs(images.load_many([path]))["images"])
    found = plain.decode(path, settings)
    torch.testing.assert_close(found, expected[0], atol=1e-5, rtol=1e-5)


def test_pairs_by_rejection_are_half_same_and_labelled_rightly():
    labels = [0, 0, 0, 1, 1, 2]
    pairs = plain.RandomPairs([*"abcdef"], labels, ImageSettings(height=8, width=8))
    drawn = [pairs.draw() for _ in range(2000)]
    for left, right, is_same in drawn:
        assert (left[1] == right[1]) == is_same
        assert dict(zip("abcdef", labels, strict=True))[right[0]] == right[1]
    assert 900 < sum(is_same for *_, is_same in drawn) < 1100


@pytest.fixture
def files(tmp_path):
    """Six classes of four images, each class a grey of its own; paths and labels."""
    paths, labels = [], []
    for label in range(6):
        for i in range(4):
            paths.append(str(tmp_path / f"{label}-{i}.png"))
            labels.append(label)
            Image.new("L", (8, 8), 40 * label).save(paths[-1])
    return paths, labels


def encoder():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8))


def test_the_published_loop_learns_and_counts_both_twins(files, monkeypatch):
    monkeypatch.setattr(plain, "WORKERS", 0)
    monkeypatch.setattr(plain, "LEARNING_RATE", 0.1)
    network = encoder()
    pairs = plain.RandomPairs(*files, ImageSettings(height=8, width=8))
    step = plain.published_loop(network, pairs, n_pairs=5)
    before = network[1].weight.clone()
    # 24 // 5 = 4 batches an epoch: the loader begins again.
    assert [step() for _ in range(6)] == [10] * 6
    assert not torch.equal(network[1].weight, before)


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize("supervised_contrastive", [False, True])
def test_the_librarys_loop_takes_two_of_a_class(files, decoded, supervised_contrastive):
    network, seen = encoder(), []
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    data = plain.LabelledFiles(*files, ImageSettings(height=8, width=8))
    step = plain.metric_learning_loop(
        network,
        plain.in_memory(data) if decoded else data,
        files[1],
        8,
        supervised_contrastive,
        workers=0,
    )
    before = network[1].weight.clone()
    assert step() == 8
    assert not torch.equal(network[1].weight, before)
    greys = seen[0][:, 0, 0, 0]  # the class of each image
    assert sorted(torch.unique(greys, return_counts=True)[1].tolist()) == [2, 2, 2, 2]
