"""One pass for both twins, shared weights, and the encoder of each side."""

import pytest
import torch
from torch import nn

from onelook.models.siamese import PseudoSiamese, Siamese
from onelook.models.similarity import CosineSimilarity, EuclideanSimilarity, WeightedL1Head


class CountingEncoder(nn.Module):
    input_shape = None

    def __init__(self, size_in: int = 3, embedding_size: int = 4) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        self.fc = nn.Linear(size_in, embedding_size)
        self.calls: list[int] = []

    def forward(self, inputs):
        self.calls.append(len(inputs))
        return self.fc(inputs)


def test_siamese_encodes_each_distinct_input_once():
    model = Siamese(CountingEncoder(), EuclideanSimilarity())
    inputs = torch.randn(4, 3)
    left, right = torch.tensor([0, 0, 1, 3, 2]), torch.tensor([1, 2, 3, 0, 2])
    scores = model(inputs, left, right)
    assert model.encoder.calls == [4]
    for score, i, j in zip(scores, left, right, strict=True):
        a, b = model.encoder.fc(inputs[i]), model.encoder.fc(inputs[j])
        torch.testing.assert_close(score, -(a - b).norm())


def test_siamese_shares_weights_and_saves_the_head_with_them():
    model = Siamese(CountingEncoder(), WeightedL1Head(4))
    assert set(model.state_dict()) == {
        "encoder.fc.weight",
        "encoder.fc.bias",
        "similarity.linear.weight",
        "similarity.linear.bias",
    }
    assert model.encoder_of("left") is model.encoder_of("right")
    inputs = torch.randn(2, 3)
    torch.testing.assert_close(model.encode(inputs, "left"), model.encode(inputs, "right"))


def test_pseudo_siamese_uses_the_encoder_of_each_side():
    left, right = CountingEncoder(3), CountingEncoder(5)
    model = PseudoSiamese(left, right, CosineSimilarity())
    images, strokes = torch.randn(6, 3), torch.randn(6, 5)
    expected = nn.functional.cosine_similarity(left.fc(images), right.fc(strokes))
    torch.testing.assert_close(model(images, strokes), expected)
    assert (left.calls, right.calls) == ([6], [6])
    torch.testing.assert_close(model.encode(strokes, "right"), right.fc(strokes))


def test_any_module_can_be_an_encoder():
    model = Siamese(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), CosineSimilarity())
    scores = model(torch.randn(3, 1, 4, 4), torch.tensor([0]), torch.tensor([2]))
    assert scores.shape == (1,)


def test_wrong_use_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="one embedding_size, got 4 and 8"):
        PseudoSiamese(CountingEncoder(), CountingEncoder(3, 8), CosineSimilarity())
    model = Siamese(nn.Conv2d(1, 2, 3), CosineSimilarity())
    with pytest.raises(ValueError, match=r"got \(5, 2, 6, 6\); flatten the encoder output"):
        model.encode(torch.randn(5, 1, 8, 8))
    with pytest.raises(ValueError, match="side must be 'left' or 'right', got 'top'"):
        model.encode(torch.randn(5, 1, 8, 8), "top")
    both = PseudoSiamese(CountingEncoder(), CountingEncoder(), CosineSimilarity())
    with pytest.raises(ValueError, match="got 'top'"):
        both.encode(torch.randn(5, 3), "top")
