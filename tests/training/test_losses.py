"""Losses against plain loops, hand numbers, the published formulas and other libraries."""

import math

import pytest
import torch

from onelook.recipe import NamedSettings
from onelook.training.losses import (
    LOSSES,
    BinaryCrossEntropyLoss,
    ContrastiveLoss,
    PrototypicalLoss,
    RatioLoss,
    RegressionLoss,
    SupervisedContrastiveLoss,
    TripletListMarginLoss,
    TripletMarginLoss,
    build_loss,
)

LABELS = torch.tensor([0, 1, 0, 2, 1, 2, 0, 3, 1])  # class 3 has no pair
PAIR_LOSSES = [ContrastiveLoss(2.5)]
LABEL_LOSSES = [
    *(
        TripletMarginLoss(0.7, mining, squared, active_only)
        for mining in ("all", "hard", "semi-hard")
        for squared in (False, True)
        for active_only in (False, True)
    ),
    SupervisedContrastiveLoss(0.5),
    SupervisedContrastiveLoss(0.5, learn_temperature=True),
    PrototypicalLoss(1),
    PrototypicalLoss(2),
]
TRIPLET_LOSSES = [
    TripletListMarginLoss(0.7),
    TripletListMarginLoss(0.7, squared=True),
    RatioLoss(),
]


def name_of(loss):
    settings = [str(v) for k, v in vars(loss).items() if k[0] != "_" and k != "training"]
    return "-".join([type(loss).__name__, *settings])


def draw(n, seed=0, size=4, **options):
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), **options)


def distance(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def mean(values):
    return sum(values) / len(values) if values else 0.0


# Pairs


def test_contrastive_loss_matches_a_plain_loop():
    left, right = draw(6), draw(6, 1)
    is_same = torch.tensor([True, False] * 3)
    costs = []
    for a, b, same in zip(left.tolist(), right.tolist(), is_same.tolist(), strict=True):
        d = distance(a, b)
        costs.append(d**2 if same else max(0.0, 2.5 - d) ** 2)
    assert ContrastiveLoss(2.5)(left, right, is_same).item() == pytest.approx(mean(costs))


def test_contrastive_loss_equals_both_published_formulas_in_their_own_convention():
    left, right, margin = draw(8), draw(8, 1), 3.0
    is_same = torch.tensor([True, False, False, True, True, False, False, False])
    d = torch.nn.functional.pairwise_distance(left, right, eps=0)
    ours = ContrastiveLoss(margin)(left, right, is_same)
    y = (~is_same).float()  # Hadsell 2006, and harveyslash 2017 on AT&T: 1 = different
    near = torch.clamp(margin - d, min=0.0)
    torch.testing.assert_close(ours, torch.mean((1 - y) * d**2 + y * near**2))
    hadsell = torch.mean((1 - y) * 0.5 * d**2 + y * 0.5 * near**2)
    torch.testing.assert_close(ours, 2 * hadsell)
    y = is_same.float()  # the 19-layer LFW network of a course project: 1 = same
    torch.testing.assert_close(ours, torch.mean(y * d**2 + (1 - y) * near**2))


# Scores


def test_binary_cross_entropy_matches_a_plain_loop():
    scores, is_same = torch.tensor([2.0, -1.0, 0.0]), torch.tensor([True, True, False])
    p = [1 / (1 + math.exp(-score)) for score in scores.tolist()]
    expected = -(math.log(p[0]) + math.log(p[1]) + math.log(1 - p[2])) / 3
    assert BinaryCrossEntropyLoss()(scores, is_same).item() == pytest.approx(expected)
    extreme = torch.tensor([200.0, -200.0], requires_grad=True)
    loss = BinaryCrossEntropyLoss()(extreme, torch.tensor([False, True]))
    loss.backward()
    assert loss.item() == 200
    assert torch.isfinite(extreme.grad).all()


def test_regression_of_sick_relatedness():
    scores, relatedness = torch.tensor([0.5, 1.0, 0.0]), torch.tensor([3.0, 2.0, 1.0])
    loss = RegressionLoss(minimum=1, maximum=5)(scores, relatedness)
    assert loss.item() == pytest.approx((0.0 + 0.75**2 + 0.0) / 3)
    plain = RegressionLoss()(scores, (relatedness - 1) / 4)
    torch.testing.assert_close(loss, plain)


# Triplets


def triplet_costs(rows, labels, margin, mining, squared):
    n = len(rows)
    d = [[distance(a, b) ** (2 if squared else 1) for b in rows] for a in rows]
    costs = []
    for i in range(n):
        positives = [j for j in range(n) if j != i and labels[j] == labels[i]]
        negatives = [k for k in range(n) if labels[k] != labels[i]]
        if not positives or not negatives:
            continue
        if mining == "hard":
            far = max(d[i][j] for j in positives)
            costs.append(far - min(d[i][k] for k in negatives) + margin)
        for j in positives:
            if mining == "all":
                costs += [d[i][j] - d[i][k] + margin for k in negatives]
            if mining == "semi-hard":
                farther = [d[i][k] for k in negatives if d[i][k] > d[i][j]]
                chosen = min(farther) if farther else max(d[i][k] for k in negatives)
                costs.append(d[i][j] - chosen + margin)
    return [max(0.0, cost) for cost in costs]


@pytest.mark.parametrize("mining", ["all", "hard", "semi-hard"])
@pytest.mark.parametrize("squared", [False, True])
def test_triplet_margin_loss_matches_a_plain_loop(mining, squared):
    for seed in range(3):
        embeddings = draw(9, seed)
        costs = triplet_costs(embeddings.tolist(), LABELS.tolist(), 0.7, mining, squared)
        loss = TripletMarginLoss(0.7, mining, squared)(embeddings, LABELS)
        assert loss.item() == pytest.approx(mean(costs), rel=1e-5)
        active = TripletMarginLoss(0.7, mining, squared, active_only=True)
        expected = mean([cost for cost in costs if cost > 0])
        assert active(embeddings, LABELS).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mining", ["all", "hard", "semi-hard"])
def test_active_triplets_of_a_diverged_network_stay_nan(mining):
    loss = TripletMarginLoss(0.7, mining, active_only=True)
    assert loss(torch.full((9, 4), torch.nan), LABELS).isnan()


@pytest.mark.parametrize("mining", ["all", "hard", "semi-hard"])
def test_an_empty_batch_of_triplets_costs_nothing(mining):
    empty = torch.zeros(0, 4, requires_grad=True)
    nothing = TripletMarginLoss(0.7, mining)(empty, torch.zeros(0, dtype=torch.int64))
    nothing.backward()
    assert nothing.item() == 0


def test_triplet_losses_give_the_numbers_worked_by_hand():
    anchor, positive, negative = (torch.tensor([[x, 0.0]]) for x in (0.0, 3.0, 4.0))
    assert TripletListMarginLoss(2.0)(anchor, positive, negative).item() == 1
    squared = TripletListMarginLoss(8.0, squared=True)
    assert squared(anchor, positive, negative).item() == 1  # 9 - 16 + 8
    p = math.exp(3) / (math.exp(3) + math.exp(4))
    n = math.exp(4) / (math.exp(3) + math.exp(4))
    loss = RatioLoss()(anchor, positive, negative)
    assert loss.item() == pytest.approx(p**2 + (n - 1) ** 2)
    assert RatioLoss()(anchor, anchor, anchor).item() == pytest.approx(0.5)


def test_triplet_list_matches_the_loss_of_pytorch():
    triplet = draw(7), draw(7, 1), draw(7, 2)
    expected = torch.nn.functional.triplet_margin_loss(*triplet, margin=0.7, eps=0)
    torch.testing.assert_close(TripletListMarginLoss(0.7)(*triplet), expected)


# Classes


def test_supervised_contrastive_loss_matches_a_plain_loop():
    embeddings, t = draw(9), 0.5
    unit = [[x / distance(row, [0] * 4) for x in row] for row in embeddings.tolist()]
    labels, costs = LABELS.tolist(), []
    for i in range(9):
        share = {
            a: math.exp(sum(x * y for x, y in zip(unit[i], unit[a], strict=True)) / t)
            for a in range(9)
            if a != i
        }
        positives = [a for a in share if labels[a] == labels[i]]
        if positives:
            total = sum(share.values())
            costs.append(mean([-math.log(share[a] / total) for a in positives]))
    loss = SupervisedContrastiveLoss(t)(embeddings, LABELS)
    assert loss.item() == pytest.approx(mean(costs), rel=1e-5)


def test_a_learned_temperature_learns_and_stays_above_its_floor():
    loss = SupervisedContrastiveLoss(0.5, learn_temperature=True)
    loss(draw(9), LABELS).backward()
    assert loss.log_temperature.grad.abs() > 0
    assert not any(p.requires_grad for p in SupervisedContrastiveLoss(0.5).parameters())
    loss.log_temperature.data.fill_(-100.0)
    floor = SupervisedContrastiveLoss(0.01)(draw(9), LABELS)
    torch.testing.assert_close(loss(draw(9), LABELS), floor)


@pytest.mark.parametrize("n_shot", [1, 2])
def test_prototypical_loss_matches_a_plain_loop(n_shot):
    embeddings = draw(9)
    rows, labels = embeddings.tolist(), LABELS.tolist()
    members = {c: [i for i in range(9) if labels[i] == c] for c in range(4)}
    prototypes = {
        c: [mean(column) for column in zip(*(rows[i] for i in own[:n_shot]), strict=True)]
        for c, own in members.items()
    }
    costs = []
    for c, own in members.items():
        for i in own[n_shot:]:
            near = {
                k: math.exp(-(distance(rows[i], p) ** 2)) for k, p in prototypes.items()
            }
            costs.append(-math.log(near[c] / sum(near.values())))
    loss = PrototypicalLoss(n_shot)(embeddings, LABELS)
    assert loss.item() == pytest.approx(mean(costs), rel=1e-5)


# What all losses keep


@pytest.mark.parametrize("loss", PAIR_LOSSES, ids=name_of)
def test_gradients_of_pair_losses(loss):
    pair = [draw(6, seed, dtype=torch.float64).requires_grad_() for seed in (0, 1)]
    is_same = torch.tensor([True, False] * 3)
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, is_same), pair)
    same = draw(6).requires_grad_()
    loss(same, same.detach().clone(), is_same).backward()
    assert torch.isfinite(same.grad).all()
    empty = torch.zeros(0, 4, requires_grad=True)
    nothing = loss(empty, empty, torch.zeros(0, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0


@pytest.mark.parametrize("loss", LABEL_LOSSES, ids=name_of)
def test_gradients_of_label_losses(loss):
    embeddings = draw(9, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: loss(e, LABELS), [embeddings])
    for collapsed in (draw(1).repeat(9, 1), torch.zeros(9, 4)):
        collapsed.requires_grad_()
        loss(collapsed, LABELS).backward()
        assert torch.isfinite(collapsed.grad).all()


@pytest.mark.parametrize("loss", LABEL_LOSSES, ids=name_of)
def test_a_batch_without_a_valid_pair_costs_nothing_and_can_be_backpropagated(loss):
    alone, of_one_class = torch.arange(5), torch.zeros(5, dtype=torch.int64)
    far = (10 * draw(5)).requires_grad_()
    if isinstance(loss, PrototypicalLoss):
        with pytest.raises(ValueError, match=f"n_shot={loss.n_shot} leaves no query"):
            loss(far, alone)
        value = loss(far, of_one_class)
    elif isinstance(loss, SupervisedContrastiveLoss):
        value = loss(far, alone) + loss(far[:1], alone[:1])
    else:
        value = loss(far, alone) + loss(far, of_one_class)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(far.grad).all()


@pytest.mark.parametrize("loss", TRIPLET_LOSSES, ids=name_of)
def test_gradients_of_triplet_losses(loss):
    triplet = [draw(6, seed, dtype=torch.float64).requires_grad_() for seed in range(3)]
    assert torch.autograd.gradcheck(loss, triplet)
    same = draw(6).requires_grad_()
    loss(same, same * 1.0, same * 1.0).backward()
    assert torch.isfinite(same.grad).all()
    empty = torch.zeros(0, 4, requires_grad=True)
    nothing = loss(empty, empty, empty)
    nothing.backward()
    assert nothing.item() == 0


@pytest.mark.parametrize("loss", [BinaryCrossEntropyLoss(), RegressionLoss(1, 5)])
def test_gradients_of_score_losses(loss):
    scores = torch.tensor([0.3, -0.8, 0.0], dtype=torch.float64, requires_grad=True)
    truth = torch.tensor([1, 0, 1])
    assert torch.autograd.gradcheck(lambda s: loss(s, truth), [scores])
    empty = torch.zeros(0, requires_grad=True)
    nothing = loss(empty, torch.zeros(0))
    nothing.backward()
    assert nothing.item() == 0


@pytest.mark.parametrize("loss", PAIR_LOSSES + LABEL_LOSSES + TRIPLET_LOSSES, ids=name_of)
def test_half_precision_is_compared_in_float32_also_under_autocast(loss):
    embeddings = [draw(9, seed).bfloat16() for seed in range(3)]

    def compute(rows):
        if loss.takes == "pairs":
            return loss(rows[0], rows[1], LABELS == 0)
        return loss(rows[0], LABELS) if loss.takes == "labels" else loss(*rows)

    exact = compute([rows.float() for rows in embeddings])
    with torch.autocast("cpu", torch.bfloat16):
        value = compute(embeddings)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact)


def test_half_precision_scores_cost_what_exact_ones_do():
    scores = draw(9)[:, 0].bfloat16()
    for loss in (BinaryCrossEntropyLoss(), RegressionLoss()):
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(scores, LABELS == 0)
        torch.testing.assert_close(value, loss(scores.float(), LABELS == 0))


def test_wrong_arguments_are_errors_that_name_the_value():
    for build in (ContrastiveLoss, TripletMarginLoss):
        with pytest.raises(ValueError, match="margin must be positive, got -0.2"):
            build(-0.2)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        SupervisedContrastiveLoss(0)
    with pytest.raises(
        ValueError, match="unknown mining 'easy'; known: all, hard, semi-hard"
    ):
        TripletMarginLoss(mining="easy")
    with pytest.raises(ValueError, match="n_shot must be at least 1, got 0"):
        PrototypicalLoss(0)
    with pytest.raises(ValueError, match="maximum must be above minimum=5, got 1"):
        RegressionLoss(5, 1)


def test_truths_that_would_broadcast_are_refused():
    column = torch.ones(6, 1, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"is_same must have shape \(6,\).*got \(6, 1\)"):
        ContrastiveLoss()(draw(6), draw(6), column)
    with pytest.raises(ValueError, match=r"targets must have shape \(6,\).*got \(6, 1\)"):
        RegressionLoss()(torch.zeros(6), column)
    with pytest.raises(ValueError, match=r"labels must have shape \(6,\).*got \(9,\)"):
        TripletMarginLoss()(draw(6), LABELS)


def test_build_loss_names_what_is_known():
    loss = build_loss(NamedSettings(name="contrastive", arguments={"margin": 2.0}))
    assert isinstance(loss, ContrastiveLoss) and loss.margin == 2
    with pytest.raises(ValueError, match="unknown loss 'tripplet'; known: contrastive, "):
        build_loss(NamedSettings(name="tripplet"))
    with pytest.raises(
        ValueError, match="'triplet' has no argument 'marign'; known: margin"
    ):
        build_loss(NamedSettings(name="triplet", arguments={"marign": 1}))
    kinds = {"pairs", "scores", "labels", "triplets"}
    assert {loss.takes for loss in LOSSES.values()} == kinds
