"""Formulas against numpy and hand numbers; scores, matrices, gradients, half precision."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from onelook.models import similarity as module
from onelook.models.similarity import (
    SIMILARITIES,
    ConcatenationHead,
    WeightedL1Head,
    build_similarity,
    cosine_similarity,
    cosine_similarity_matrix,
    euclidean_distance,
    euclidean_distance_matrix,
    exponential_similarity,
    exponential_similarity_matrix,
    manhattan_distance,
    manhattan_distance_matrix,
    squared_euclidean_distance,
    squared_euclidean_distance_matrix,
)
from onelook.recipe import NamedSettings

FORMULAS = [
    (euclidean_distance, euclidean_distance_matrix, "euclidean"),
    (squared_euclidean_distance, squared_euclidean_distance_matrix, "sqeuclidean"),
    (manhattan_distance, manhattan_distance_matrix, "cityblock"),
    (cosine_similarity, cosine_similarity_matrix, "cosine"),
    (exponential_similarity, exponential_similarity_matrix, "exponential"),
]
HEADS = ["weighted-l1", "concatenation"]


def draw(n, seed=0, size=6, **options):
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), **options)


def by_scipy(left, right, metric):
    if metric == "exponential":
        return np.exp(-cdist(left, right, "cityblock"))
    distances = cdist(left, right, metric)
    return 1 - distances if metric == "cosine" else distances


def build(name, size=6):
    torch.manual_seed(1)
    return build_similarity(NamedSettings(name=name), size)


@pytest.mark.parametrize("pairwise, matrix, metric", FORMULAS)
def test_formulas_match_scipy(pairwise, matrix, metric):
    left, right = draw(5), draw(7, 1)
    expected = torch.from_numpy(by_scipy(left.numpy(), right.numpy(), metric)).float()
    torch.testing.assert_close(matrix(left, right), expected, atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(
        pairwise(left, right[:5]), expected[:, :5].diagonal(), atol=2e-6, rtol=1e-5
    )


def test_formulas_give_the_numbers_worked_by_hand():
    left, right = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]])
    assert euclidean_distance(left, right).item() == 5
    assert squared_euclidean_distance(left, right).item() == 25
    assert manhattan_distance(left, right).item() == 7
    assert exponential_similarity(left, right).item() == pytest.approx(np.exp(-7))
    assert cosine_similarity(left, right).item() == pytest.approx(16 / np.sqrt(5 * 52))


@pytest.mark.parametrize("pairwise, matrix, metric", FORMULAS)
def test_gradients_are_right_and_finite_at_identical_and_zero_embeddings(
    pairwise, matrix, metric
):
    left, right = draw(3, dtype=torch.float64), draw(3, 1, dtype=torch.float64)
    left.requires_grad_(), right.requires_grad_()
    assert torch.autograd.gradcheck(pairwise, (left, right))
    assert torch.autograd.gradcheck(matrix, (left, right))
    for values in (draw(3), torch.zeros(3, 6)):
        for formula in (pairwise, matrix):
            same = values.clone().requires_grad_()
            formula(same, same.detach().clone()).sum().backward()
            assert torch.isfinite(same.grad).all()


@pytest.mark.parametrize(
    "matrix", [euclidean_distance_matrix, squared_euclidean_distance_matrix]
)
def test_identical_embeddings_are_at_distance_zero_even_far_from_the_origin(matrix):
    far = draw(50, size=64) + 1000
    assert (matrix(far, far).diagonal() == 0).all()
    near = far + 0.001
    expected = cdist(far.numpy(), near.numpy(), "euclidean")
    torch.testing.assert_close(
        euclidean_distance_matrix(far, near),
        torch.from_numpy(expected).float(),
        atol=1e-4,
        rtol=1e-3,
    )


def test_a_zero_vector_is_like_nothing():
    zero, other = torch.zeros(1, 6), draw(1)
    assert cosine_similarity(zero, other).item() == 0
    assert cosine_similarity(zero, zero).item() == 0
    assert cosine_similarity_matrix(zero, other).item() == 0


def test_not_a_number_stays_one():
    broken = torch.full((1, 6), torch.nan)
    assert euclidean_distance(broken, draw(1)).isnan().all()
    assert euclidean_distance_matrix(broken, draw(2)).isnan().all()
    assert cosine_similarity(broken, draw(1)).isnan().all()
    assert cosine_similarity_matrix(broken, draw(2)).isnan().all()


@pytest.mark.parametrize("name", SIMILARITIES)
def test_the_matrix_of_scores_holds_the_scores_of_the_pairs(name, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ENTRIES", 20)  # blocks of two rows
    similarity = build(name)
    left, right = draw(5), draw(9, 1)
    expected = torch.stack(
        [torch.cat([similarity(a[None], b[None]) for b in right]) for a in left]
    )
    torch.testing.assert_close(similarity.matrix(left, right), expected)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_matrices_of_no_embeddings_are_empty(name):
    assert build(name).matrix(draw(0), draw(4)).shape == (0, 4)
    assert build(name).matrix(draw(4), draw(0)).shape == (4, 0)


@pytest.mark.parametrize("name", [n for n in SIMILARITIES if n not in HEADS])
def test_a_score_is_larger_when_more_alike(name):
    similarity = build(name)
    if name == "absolute-difference":
        torch.nn.init.constant_(similarity.linear.weight, -1.0)
    left = draw(1).repeat(3, 1)
    right = left + torch.tensor([[0.0], [0.1], [0.3]]) * draw(1, 2)
    scores = similarity(left, right)
    assert scores[0] > scores[1] > scores[2]


def test_weighted_l1_matches_a_plain_loop_and_a_hand_number():
    head = WeightedL1Head(6)
    left, right = draw(4), draw(4, 1)
    weight, bias = head.linear.weight[0].tolist(), head.linear.bias.item()
    for score, a, b in zip(head(left, right), left.tolist(), right.tolist(), strict=True):
        logit = bias + sum(w * abs(x - y) for w, x, y in zip(weight, a, b, strict=True))
        assert score.item() == pytest.approx(logit, rel=1e-5, abs=1e-6)
    head = WeightedL1Head(2, bias=False)
    head.linear.weight.data = torch.tensor([[2.0, -1.0]])
    score = head(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 3.0]]))
    assert score.item() == -1.0


def test_weighted_l1_starts_as_published_when_asked():
    torch.manual_seed(0)
    head = WeightedL1Head(4096, published_init=True)
    assert head.linear.weight.std().item() == pytest.approx(0.2, rel=0.05)
    assert head.linear.weight.mean().item() == pytest.approx(0.0, abs=0.02)
    assert head.linear.bias.item() == pytest.approx(0.5, abs=0.06)


def test_concatenation_head_matches_a_linear_layer_on_both_sides():
    head = ConcatenationHead(6)
    left, right = draw(4), draw(4, 1)
    expected = head.linear(torch.cat([left, right], dim=1))[:, 0]
    torch.testing.assert_close(head(left, right), expected)


@pytest.mark.parametrize("name", ["weighted-l1", "concatenation"])
def test_the_matrix_of_a_head_has_the_gradients_of_its_pairs(name):
    left, right = draw(4), draw(3, 1)
    gradients = []
    for use_matrix in (True, False):
        head = build(name)
        a = left.clone().requires_grad_()
        if use_matrix:
            head.matrix(a, right).sum().backward()
        else:
            head(a.repeat_interleave(3, 0), right.repeat(4, 1)).sum().backward()
        gradients.append((a.grad, head.linear.weight.grad))
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("name", SIMILARITIES)
def test_half_precision_is_compared_in_float32_also_under_autocast(name):
    similarity = build(name)
    left, right = draw(5).bfloat16(), draw(5, 1).bfloat16()
    exact = similarity(left.float(), right.float())
    exact_matrix = similarity.matrix(left.float(), right.float())
    with torch.autocast("cpu", torch.bfloat16):
        score, matrix = similarity(left, right), similarity.matrix(left, right)
    assert score.dtype == matrix.dtype == torch.float32
    torch.testing.assert_close(score, exact)
    torch.testing.assert_close(matrix, exact_matrix)


def test_wrong_shapes_and_names_are_errors_that_say_what_to_do():
    with pytest.raises(ValueError, match=r"shape \(N, D\), got \(2, 3, 4\); flatten"):
        euclidean_distance(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match="one size, got 3 and 4"):
        cosine_similarity_matrix(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="unknown similarity 'cosin'; known: euclidean, "):
        build("cosin")
    with pytest.raises(ValueError, match="'cosine' has no argument 'scale'; known: none"):
        build_similarity(NamedSettings(name="cosine", arguments={"scale": 2}), 6)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_the_name_builds_the_same_similarity_again(name):
    similarity = build(name)
    assert type(build(similarity.name)) is type(similarity)
