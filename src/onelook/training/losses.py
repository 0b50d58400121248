"""Losses of twin networks, from embeddings or scores.

Each takes embeddings or scores, never the model, and says with ``takes`` which:

- ``"pairs"``: ``loss(left, right, is_same)``, embeddings (N, D) twice and (N,) bool;
- ``"scores"``: ``loss(scores, truth)``, (N,) float and (N,) bool or float;
- ``"labels"``: ``loss(embeddings, labels)``, (N, D) and (N,) int64;
- ``"triplets"``: ``loss(anchor, positive, negative)``, embeddings (N, D) three times.

No loss normalizes embeddings unless it says so. A batch without a valid pair or triplet
costs 0, which can be backpropagated. Half-precision embeddings are compared in float32,
also under autocast.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onelook.models.named import build_named
from onelook.models.similarity import (
    cosine_similarity_matrix,
    euclidean_distance,
    euclidean_distance_matrix,
    squared_euclidean_distance,
    squared_euclidean_distance_matrix,
)
from onelook.recipe import NamedSettings
from onelook.training.metric_learning import PytorchMetricLearningLoss


class ContrastiveLoss(nn.Module):
    """Contrastive loss on labelled pairs of embeddings.

    ``loss = s * d**2 + (1 - s) * max(0, margin - d)**2``, averaged over the pairs, where
    ``d`` is the Euclidean distance of a pair and ``s`` is 1 if it is the same, otherwise 0.

    Args:
        margin: Distance from which a negative pair costs nothing, in the units of the
            embedding space. Must be positive.

    Reference:
        Hadsell, Chopra, LeCun. Dimensionality Reduction by Learning an Invariant Mapping.
        CVPR 2006. The paper's Y is 1 for a *dissimilar* pair, and it halves both terms.

    Example:
        >>> left, right = torch.zeros(2, 2), torch.tensor([[0.6, 0.8], [0.0, 0.5]])
        >>> ContrastiveLoss(margin=1.0)(left, right, torch.tensor([True, False]))
        tensor(0.6250)
    """

    takes = "pairs"

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        self.margin = _positive("margin", margin)

    def forward(self, left: Tensor, right: Tensor, is_same: Tensor) -> Tensor:
        """Loss (scalar) of embeddings (N, D), (N, D) and truths (N,) bool."""
        squared = squared_euclidean_distance(left, right)  # (N,)
        _check_shape("is_same", is_same, squared.shape, "pair")
        negative = (self.margin - euclidean_distance(left, right)).clamp(min=0).square()
        return _mean(torch.where(is_same.bool(), squared, negative))


class BinaryCrossEntropyLoss(nn.Module):
    """Binary cross-entropy of logits, scores whose sigmoid is the probability of *same*.

    ``loss = -(s * log(p) + (1 - s) * log(1 - p))`` with ``p = sigmoid(score)``, averaged
    over the pairs.

    Args:
        balanced: Average over positive and negative pairs apart and take the mean of the
            two, for batches in which all pairs count and most of them are negative.
    """

    takes = "scores"

    def __init__(self, balanced: bool = False) -> None:
        super().__init__()
        self.balanced = balanced

    def forward(self, scores: Tensor, is_same: Tensor) -> Tensor:
        """Loss (scalar) of logits (N,) and truths (N,) bool."""
        _check_shape("is_same", is_same, scores.shape, "pair")
        scores = _at_least_float32(scores)
        truth = is_same.to(scores.dtype)
        costs = F.binary_cross_entropy_with_logits(scores, truth, reduction="none")
        if not self.balanced:
            return _mean(costs)
        return (_mean(costs[is_same]) + _mean(costs[~is_same])) / 2


class RegressionLoss(nn.Module):
    """Mean squared error of a similarity against a graded truth.

    ``loss = (score - (target - minimum) / (maximum - minimum))**2``, averaged over the
    pairs. With a minimum of 1 and a maximum of 5, SICK's relatedness r becomes (r - 1) / 4.

    Args:
        minimum: Target that means a score of 0.
        maximum: Target that means a score of 1.
    """

    takes = "scores"

    def __init__(self, minimum: float = 0.0, maximum: float = 1.0) -> None:
        super().__init__()
        if not maximum > minimum:
            raise ValueError(f"maximum must be above minimum={minimum}, got {maximum}")
        self.minimum, self.maximum = minimum, maximum

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Loss (scalar) of scores (N,) and targets (N,) in [minimum, maximum]."""
        _check_shape("targets", targets, scores.shape, "pair")
        scores = _at_least_float32(scores)
        wanted = (targets.to(scores.dtype) - self.minimum) / (self.maximum - self.minimum)
        return _mean((scores - wanted).square())


class TripletMarginLoss(nn.Module):
    """Triplet loss on the triplets of a labelled batch.

    ``loss = max(0, d(anchor, positive) - d(anchor, negative) + margin)``, averaged.

    Args:
        margin: Margin in units of the distance, or of its square if ``squared``.
        mining: ``"all"`` takes every valid triplet; ``"hard"``, for each anchor, its
            farthest positive and nearest negative; ``"semi-hard"``, for each anchor and
            positive, the nearest of the negatives that are farther than the positive, or
            the farthest where none is.
        squared: Whether ``d`` is the squared Euclidean distance, as in FaceNet.
        active_only: Average over the triplets that cost something, not over all.

    Reference:
        Schroff, Kalenichenko, Philbin. FaceNet. CVPR 2015 (semi-hard, squared). Hermans,
        Beyer, Leibe. In Defense of the Triplet Loss. 2017 (all and hard; with
        ``active_only`` its "batch all, non-zero").
    """

    takes = "labels"

    def __init__(
        self,
        margin: float = 0.2,
        mining: Literal["all", "hard", "semi-hard"] = "all",
        squared: bool = False,
        active_only: bool = False,
    ) -> None:
        super().__init__()
        if mining not in ("all", "hard", "semi-hard"):
            raise ValueError(f"unknown mining {mining!r}; known: all, hard, semi-hard")
        self.margin = _positive("margin", margin)
        self.mining, self.squared, self.active_only = mining, squared, active_only

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss (scalar) of embeddings (N, D) with labels (N,) int64."""
        if not len(embeddings):
            return _mean(_at_least_float32(embeddings))
        plain, squared = euclidean_distance_matrix, squared_euclidean_distance_matrix
        distance = (squared if self.squared else plain)(embeddings, embeddings)  # (N, N)
        is_positive, is_negative = _pair_masks(embeddings, labels)
        if self.mining == "hard":
            anchors = is_positive.any(1) & is_negative.any(1)  # (N,), A of them
            far = distance.masked_fill(~is_positive, -torch.inf)[anchors]  # (A, N)
            near = distance.masked_fill(~is_negative, torch.inf)[anchors]  # (A, N)
            return self._average(far.amax(1) - near.amin(1))
        # One row for each anchor and positive: far fewer than N * N * N triplets.
        anchor, positive_index = torch.nonzero(is_positive & is_negative.any(1)[:, None]).T
        positive = distance[anchor, positive_index]  # (A,)
        negatives, valid = distance[anchor], is_negative[anchor]  # (A, N)
        if self.mining == "all":
            return self._average((positive[:, None] - negatives)[valid])
        return self._average(positive - _semi_hard(positive, negatives, valid))

    def _average(self, difference: Tensor) -> Tensor:
        cost = (difference + self.margin).clamp(min=0)
        # Not cost > 0, which would drop a NaN and hide that the network has diverged.
        return _mean(cost[~(cost <= 0)]) if self.active_only else _mean(cost)


class TripletListMarginLoss(nn.Module):
    """Triplet loss on given triplets: ``TripletMarginLoss`` without mining.

    Args:
        margin: Margin in units of the distance, or of its square if ``squared``.
        squared: Whether the distance is the squared Euclidean one.
    """

    takes = "triplets"

    def __init__(self, margin: float = 0.2, squared: bool = False) -> None:
        super().__init__()
        self.margin = _positive("margin", margin)
        self.squared = squared

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Loss (scalar) of embeddings (N, D) of anchors, positives and negatives."""
        distance = squared_euclidean_distance if self.squared else euclidean_distance
        difference = distance(anchor, positive) - distance(anchor, negative)  # (N,)
        return _mean((difference + self.margin).clamp(min=0))


class RatioLoss(nn.Module):
    """The loss of the triplet network: the softmax of the two distances should be (0, 1).

    ``loss = p**2 + (1 - n)**2`` with ``p = exp(d+) / (exp(d+) + exp(d-))`` and ``n = 1 -
    p``, so ``2 * p**2``, averaged over the triplets; ``d+`` and ``d-`` are Euclidean
    distances of the anchor to the positive and to the negative. It has no margin.

    Reference:
        Hoffer, Ailon. Deep Metric Learning Using Triplet Network. 2015.
    """

    takes = "triplets"

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Loss (scalar) of embeddings (N, D) of anchors, positives and negatives."""
        near = euclidean_distance(anchor, positive)  # (N,)
        far = euclidean_distance(anchor, negative)  # (N,)
        return _mean(2 * torch.sigmoid(near - far).square())


class SupervisedContrastiveLoss(nn.Module):
    """Supervised contrastive loss; normalizes the embeddings, as its formula does.

    For each anchor, the mean over its positives of ``-log(exp(c_p / t) / sum(exp(c_a /
    t)))``, where ``c`` are cosines to the anchor, the sum runs over all others of the batch
    and ``t`` is the temperature; averaged over the anchors that have a positive.

    Args:
        temperature: Divisor of the cosines; the smaller, the more the nearest negatives
            count. Must be positive.
        learn_temperature: Whether to train the temperature too, never below 0.01.

    Reference:
        Khosla et al. Supervised Contrastive Learning. NeurIPS 2020, equation 2 (L_out).
    """

    takes = "labels"
    smallest_temperature = 0.01

    def __init__(self, temperature: float = 0.07, learn_temperature: bool = False) -> None:
        super().__init__()
        start = torch.tensor(math.log(_positive("temperature", temperature)))
        self.log_temperature = nn.Parameter(start, requires_grad=learn_temperature)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss (scalar) of embeddings (N, D) with labels (N,) int64."""
        is_positive, _ = _pair_masks(embeddings, labels)
        cosine = cosine_similarity_matrix(embeddings, embeddings)  # (N, N)
        temperature = self.log_temperature.exp()
        if self.log_temperature.requires_grad:
            temperature = temperature.clamp(min=self.smallest_temperature)
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        # A finite number, for -inf in a row of one (a batch of one) has no finite gradient.
        logits = (cosine / temperature).masked_fill(itself, -1e9)
        log_share = logits.log_softmax(1)  # (N, N)
        n_positives = is_positive.sum(1)  # (N,)
        per_anchor = (log_share * is_positive).sum(1) / n_positives.clamp(min=1)
        return _mean(-per_anchor[n_positives > 0])


class PrototypicalLoss(nn.Module):
    """Prototypical loss: a query should be nearest to the mean of its class's support.

    The classes of a batch make an episode: the first ``n_shot`` items of each are its
    support, the others are queries. ``loss = -log softmax(-d**2)`` at the query's class,
    over the classes' means (prototypes), with ``d`` Euclidean; averaged over the queries.

    Args:
        n_shot: Number of support items of each class, at least 1.

    Reference:
        Snell, Swersky, Zemel. Prototypical Networks for Few-shot Learning. NeurIPS 2017.
    """

    takes = "labels"

    def __init__(self, n_shot: int = 1) -> None:
        super().__init__()
        if n_shot < 1:
            raise ValueError(f"n_shot must be at least 1, got {n_shot}")
        self.n_shot = n_shot

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss (scalar) of embeddings (N, D) with labels (N,) int64."""
        _check_shape("labels", labels, embeddings.shape[:1], "embedding")
        embeddings = _at_least_float32(embeddings)
        classes, class_of = torch.unique(labels, return_inverse=True)  # (C,), (N,)
        members = F.one_hot(class_of, len(classes))  # (N, C)
        place = (members.cumsum(0) * members).sum(1) - 1  # (N,) from 0 in its class
        is_support = place < self.n_shot
        if bool(is_support.all()):
            raise ValueError(
                f"n_shot={self.n_shot} leaves no query: give at least {self.n_shot + 1} "
                f"samples_per_class, got at most {int(members.sum(0).max())}"
            )
        sums = embeddings.new_zeros(len(classes), embeddings.shape[1])
        sums = sums.index_add(0, class_of[is_support], embeddings[is_support])
        prototypes = sums / members[is_support].sum(0)[:, None]  # (C, D)
        distance = squared_euclidean_distance_matrix(embeddings[~is_support], prototypes)
        return F.cross_entropy(-distance, class_of[~is_support])


LOSSES: dict[str, type[nn.Module]] = {
    "contrastive": ContrastiveLoss,
    "binary-cross-entropy": BinaryCrossEntropyLoss,
    "regression": RegressionLoss,
    "triplet": TripletMarginLoss,
    "triplet-list": TripletListMarginLoss,
    "ratio": RatioLoss,
    "supervised-contrastive": SupervisedContrastiveLoss,
    "prototypical": PrototypicalLoss,
    "pytorch-metric-learning": PytorchMetricLearningLoss,
}


def build_loss(settings: NamedSettings) -> nn.Module:
    """The loss that a recipe names."""
    return build_named("loss", LOSSES, settings)


def _mean(costs: Tensor) -> Tensor:
    """The mean, or a 0 that can be backpropagated if there is nothing to average."""
    return costs.sum() / max(1, costs.numel())


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _pair_masks(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(N, N) bool twice: positives, without an item's pair with itself, and negatives."""
    _check_shape("labels", labels, embeddings.shape[:1], "embedding")
    is_same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return is_same & ~itself, ~is_same


def _semi_hard(positive: Tensor, negatives: Tensor, valid: Tensor) -> Tensor:
    """The semi-hard negative's distance (A,) for positives (A,) among negatives (A, N)."""
    farther = valid & (negatives > positive[:, None])
    nearest = negatives.masked_fill(~farther, torch.inf).amin(1)
    farthest = negatives.masked_fill(~valid, -torch.inf).amax(1)
    return torch.where(farther.any(1), nearest, farthest)


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return value


def _check_shape(name: str, values: Tensor, shape: torch.Size, of: str) -> None:
    # Values of shape (N, 1) would broadcast to (N, N) and train on nonsense.
    if len(shape) != 1 or values.shape != shape:
        raise ValueError(
            f"{name} must have shape {tuple(shape)}, one for each {of}, "
            f"got {tuple(values.shape)}"
        )
