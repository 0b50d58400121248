"""Classical baselines against plain loops, and against Lake's published figure."""

import numpy as np
import pytest
from PIL import Image

from onelook.data.sources.omniglot import omniglot_runs
from onelook.data.sources.sick import sick
from onelook.evaluation.baselines import BASELINES, NearestPixels
from onelook.evaluation.oneshot import omniglot_20_runs
from onelook.evaluation.sentences import evaluate_graded


@pytest.fixture
def drawings(tmp_path):
    generator = np.random.default_rng(0)
    paths, inks = [], []
    for i in range(4):
        ink = generator.random((12, 12)) < 0.2
        inks.append(ink)
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(~ink).save(paths[-1])
    return paths, inks


def loop_hausdorff(left, right):
    """Over lists of points, straight from the paper."""
    sets = []
    for ink in (left, right):
        points = [(y, x) for y in range(12) for x in range(12) if ink[y, x]]
        centre = np.mean(points, axis=0)
        sets.append([np.array(p) - centre for p in points])
    directed = [
        np.mean([min(np.hypot(*(p - q)) for q in sets[1 - k]) for p in sets[k]])
        for k in (0, 1)
    ]
    return max(directed)


def test_modified_hausdorff_matches_a_plain_loop(drawings):
    paths, inks = drawings
    scorer = BASELINES["hausdorff"]
    points = scorer.embed(paths)
    expected = [[-loop_hausdorff(a, b) for b in inks] for a in inks]
    np.testing.assert_allclose(scorer.score_matrix(points, points), expected, atol=1e-12)
    np.testing.assert_allclose(scorer.score(points[:2], points[2:]), np.diag(expected, 2))


def test_modified_hausdorff_takes_a_blank_sheet(drawings, tmp_path):
    blank = str(tmp_path / "blank.png")
    Image.new("L", (12, 12), "white").save(blank)
    scorer = BASELINES["hausdorff"]
    points = scorer.embed([blank, drawings[0][0]])
    assert np.isfinite(scorer.score_matrix(points, points)).all()


def test_nearest_pixels_is_the_euclidean_distance(drawings):
    paths, inks = drawings
    scorer = NearestPixels(12, 12)
    pixels = scorer.embed(paths)
    expected = [[-np.sqrt((a ^ b).sum()) for b in inks] for a in inks]
    np.testing.assert_allclose(scorer.score_matrix(pixels, pixels), expected, atol=1e-6)
    np.testing.assert_allclose(scorer.score(pixels[:2], pixels[2:]), np.diag(expected, 2))
    turned = scorer.embed_loaded(np.rot90(scorer.input.load_many(paths[:1]), 1, (2, 3)))
    np.testing.assert_array_equal(turned.reshape(12, 12), np.rot90(~inks[0]))


def test_word_overlap_of_sentences():
    words = BASELINES["word-overlap"].embed(["A cat sleeps.", "a CAT eats", "", "dogs"])
    np.testing.assert_allclose(
        BASELINES["word-overlap"].score_matrix(words[:1], words), [[1.0, 0.5, 0.0, 0.0]]
    )
    assert BASELINES["word-overlap"].score(words[2:3], words[2:3])[0] == 1


@pytest.mark.data
@pytest.mark.slow
def test_modified_hausdorff_errs_on_exactly_155_of_the_400_official_trials(data_root):
    result = omniglot_20_runs(BASELINES["hausdorff"], omniglot_runs(data_root))
    assert result.n_trials == 400
    assert result.error == pytest.approx(0.3875, abs=1e-12)


@pytest.mark.data
def test_word_overlap_has_pearson_058_on_the_sick_test(data_root):
    result = evaluate_graded(BASELINES["word-overlap"], sick(data_root, "test"))
    assert result.n_pairs == 4927
    assert result.pearson == pytest.approx(0.582, abs=0.001)
