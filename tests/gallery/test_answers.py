"""The identity that a probe shows: best images, thresholds, unknown, probabilities."""

import dataclasses

import numpy as np
import pytest

from onelook.decision import Decision, IdentifyRow
from onelook.gallery.answers import Candidate, answer, best_images, limit_of
from onelook.gallery.store import Hit, Stats

DECISION = Decision(
    threshold=0.6,
    reject_below=0.4,
    far=0.01,
    prior=0.5,
    slope=20.0,
    intercept=-10.0,
    n_same=100,
    n_different=3000,
    n_classes=20,
)


def stats(n_identities, n_images):
    return Stats(n_identities, n_images, None, "exact")


def answered(*rows, decision=DECISION, gallery=None, k):
    """The answer where these (identity, score) lie near a probe."""
    hits = [Hit(i, who, np.zeros(2, np.float32)) for i, (who, _) in enumerate(rows, 1)]
    scores = np.array([score for _, score in rows])
    size = stats(*(gallery or (len(rows), len(rows))))
    found = best_images(hits, scores)
    apart = np.array([1 - one.score for one in found])
    return answer(found, apart, decision=decision, stats=size, k=k)


def test_an_identity_counts_by_its_best_image_and_the_best_identity_is_first():
    near = ("Ada", 0.5), ("Bob", 0.7), ("Ada", 0.9), ("Bob", 0.7), ("Cy", 0.1)
    found = answered(*near, gallery=(3, 5), k=2)
    assert [match.identity for match in found.matches] == ["Ada", "Bob"]
    assert [match.score for match in found.matches] == [0.9, 0.7]
    assert [match.n_images for match in found.matches] == [2, 2]
    assert [match.entry for match in found.matches] == [3, 2]
    assert (found.identity, found.verdict) == ("Ada", "known")


def test_a_tie_goes_by_the_name():
    found = answered(("Zoe", 0.8), ("Ada", 0.8), k=5)
    assert [match.identity for match in found.matches] == ["Ada", "Zoe"]


@pytest.mark.parametrize(
    "score, identity, is_same", [(0.6, "Ada", True), (0.5, None, None), (0.3, None, False)]
)
def test_an_unknown_probe_is_unknown_and_never_the_nearest(score, identity, is_same):
    found = answered(("Ada", score), k=1)
    assert found.identity == identity
    assert found.matches[0].is_same is is_same
    assert found.verdict == ("known" if identity else "unknown")
    assert ("unknown" in str(found)) is (identity is None)


def test_without_a_decision_no_identity_is_named_and_nothing_is_claimed():
    found = answered(("Ada", 0.9), decision=None, k=1)
    assert (found.identity, found.threshold, found.verdict) == (None, None, "")
    assert found.matches[0].probability is None
    assert "onelook calibrate" in str(found)


def test_an_empty_gallery_answers_unknown():
    found = answered(k=3)
    assert found.matches == () and found.identity is None
    assert str(found) == "unknown: the gallery is empty"


def test_probabilities_follow_bayes_rule():
    found = answered(("Ada", 0.7), ("Bob", 0.55), gallery=(10, 10), k=2)
    likelihood_ratios = np.exp(20.0 * np.array([0.7, 0.55]) - 10.0)  # prior 0.5: odds 1
    joint = likelihood_ratios * 0.5 / 10
    expected = joint / (0.5 + joint.sum())
    given = [match.probability for match in found.matches]
    assert given == pytest.approx(expected.tolist())


def test_pairs_alone_give_a_rate_that_grows_with_the_gallery_and_is_marked():
    one, many = (limit_of(DECISION, stats(n, n), 1) for n in (1, 100))
    assert (one.threshold, one.fpir, one.extrapolated) == (0.6, pytest.approx(0.01), False)
    assert many.fpir == pytest.approx(1 - 0.99**100) and many.extrapolated


def test_a_threshold_that_most_strangers_pass_names_nobody():
    few, many = (answered(("Ada", 0.9), gallery=(n, n), k=1) for n in (10, 100))
    assert (few.identity, many.identity) == ("Ada", None)
    assert many.verdict == "unsure" and "accept 63% of all strangers" in str(many)
    assert "onelook calibrate" in many.reason and many.familiar is few.familiar


def test_an_answer_is_a_table_in_notebooks_and_a_frame():
    found = answered(("A<b>", 0.9), ("Bo", 0.1), k=2)
    page = found._repr_html_()
    assert (
        "A&lt;b&gt;: probability 0.9" in page and "<th" in page and "score 0.1000" in page
    )
    pandas = pytest.importorskip("pandas")
    frame = found.to_frame()
    assert isinstance(frame, pandas.DataFrame) and list(frame.identity) == ["A<b>", "Bo"]


def test_each_identity_is_held_to_the_threshold_of_its_number_of_images():
    rows = [IdentifyRow(10, 0.7, 0.05), IdentifyRow(10, 0.8, 0.05, n_images=3)]
    decision = dataclasses.replace(DECISION, identify=tuple(rows), vote="mean")
    three, one = Candidate("Ada", 0.78, 3, 1), Candidate("Bob", 0.72, 1, 2)

    def ask(*candidates):
        apart = np.array([1 - candidate.score for candidate in candidates])
        size = stats(10, 12)
        return answer(candidates, apart, decision=decision, stats=size, k=2)

    found = ask(three, one)  # Ada scores higher, but Bob is further above his threshold
    assert (found.identity, found.threshold) == ("Bob", 0.7)
    assert [match.is_same for match in found.matches] == [True, None]
    assert found.matches[0].probability > found.matches[1].probability
    found = ask(three)
    assert (found.identity, found.threshold) == (None, 0.8)
    between = decision.identify_threshold(10, 2).threshold
    assert 0.7 < between < 0.8 and decision.identify_threshold(10, 50).threshold == 0.8
