import numpy as np
import pytest
import torch

from onelook.errors import CheckpointError
from onelook.models.similarity import SIMILARITIES, build_similarity
from onelook.recipe import NamedSettings
from onelook.runtime import scores as scores_module
from onelook.runtime.scores import SCORES, build_scores


def both(name, size=24):
    """The similarity in PyTorch, with random weights if it has some, and in NumPy."""
    torch.manual_seed(0)
    module = build_similarity(NamedSettings(name=name), size)
    return module, build_scores(
        name, {k: v.numpy() for k, v in module.state_dict().items()}
    )


def embeddings(n, seed, size=24):
    return np.random.default_rng(seed).normal(size=(n, size)).astype(np.float32)


def test_the_names_are_those_of_training():
    assert list(SCORES) == list(SIMILARITIES)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_pairs_and_matrix_equal_those_of_training(name, dtype):
    module, scores = both(name)
    left, right = embeddings(40, 1).astype(dtype), embeddings(30, 2).astype(dtype)
    left[3] = right[3]
    left[4] = 0
    a, b = torch.from_numpy(left), torch.from_numpy(right)
    with torch.inference_mode():
        pairs, matrix = module(a[:30], b).numpy(), module.matrix(a, b).numpy()
    np.testing.assert_allclose(scores.pairs(left[:30], right), pairs, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(scores.matrix(left, right), matrix, rtol=1e-6, atol=1e-6)
    assert scores.pairs(left[:30], right).dtype == pairs.dtype
    assert scores.matrix(left, right).dtype == matrix.dtype


@pytest.mark.parametrize("name", [name for name in SCORES if name != "concatenation"])
def test_both_orders_of_a_pair_have_one_score(name):
    _, scores = both(name)
    left, right = embeddings(40, 1), embeddings(40, 2)
    np.testing.assert_array_equal(scores.pairs(left, right), scores.pairs(right, left))
    matrix, turned = scores.matrix(left, right), scores.matrix(right, left).T
    np.testing.assert_allclose(matrix, turned, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_small_blocks_give_the_same_matrix(name, monkeypatch):
    _, scores = both(name)
    left, right = embeddings(17, 1), embeddings(23, 2)
    whole = scores.matrix(left, right)
    monkeypatch.setattr(scores_module, "BLOCK_ENTRIES", 50)
    monkeypatch.setattr(scores_module, "CACHED_ENTRIES", 100)
    np.testing.assert_allclose(scores.matrix(left, right), whole, atol=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_empty_sides_give_empty_scores(name):
    _, scores = both(name)
    nothing, some = embeddings(0, 1), embeddings(3, 2)
    assert scores.matrix(nothing, some).shape == (0, 3)
    assert scores.matrix(some, nothing).shape == (3, 0)
    assert scores.pairs(nothing, nothing).shape == (0,)


def test_identical_embeddings_are_at_exactly_zero():
    vectors = embeddings(50, 1) * 1000
    assert (np.diag(build_scores("euclidean").matrix(vectors, vectors)) == 0).all()
    assert not np.signbit(build_scores("euclidean").pairs(vectors, vectors)).any()


def test_a_number_that_is_none_stays_none():
    left = embeddings(2, 1)
    left[0, 0] = np.nan
    for name in SCORES:
        scores = both(name)[1]
        assert np.isnan(scores.pairs(left, left)[0])
        assert np.isnan(scores.matrix(left, left)[0]).all()


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="unknown similarity 'hamming'; known: euclidean"):
        build_scores("hamming")
    with pytest.raises(CheckpointError, match="head 'weighted-l1' needs its learned"):
        build_scores("weighted-l1")
    with pytest.raises(ValueError, match=r"one size, got 24 and 5"):
        build_scores("cosine").pairs(embeddings(2, 1), embeddings(2, 1, 5))
    with pytest.raises(ValueError, match=r"shape \(N, D\), got \(24,\)"):
        build_scores("cosine").pairs(embeddings(2, 1)[0], embeddings(2, 1)[0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("euclidean", 5.0),
        ("squared-euclidean", 25.0),
        ("manhattan", 7.0),
        ("cosine", 1 - 16 / np.sqrt(5 * 52)),
        ("exponential", 1 - np.exp(-7)),
    ],
)
def test_dissimilarity_is_what_people_know(name, expected):
    scores = build_scores(name)
    score = scores.pairs(np.array([[1.0, 2.0]]), np.array([[4.0, 6.0]]))
    assert scores.dissimilarity(score).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["weighted-l1", "concatenation"])
def test_a_heads_dissimilarity_is_its_probability_of_different(name):
    read = both(name)[1].dissimilarity(np.array([-1000.0, 0.0, np.log(3), 1000.0]))
    np.testing.assert_allclose(read, [1, 0.5, 0.25, 0], atol=1e-12)


@pytest.mark.parametrize("name", ["euclidean", "squared-euclidean", "manhattan"])
def test_no_distance_prints_as_minus_zero(name):
    scores, one = build_scores(name), embeddings(1, 1)
    score = scores.pairs(one, one)
    assert f"{score.item():.1f} {scores.dissimilarity(score).item():.1f}" == "0.0 0.0"
