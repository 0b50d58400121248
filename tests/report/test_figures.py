import base64
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from onelook.metrics import reliability, roc_curve
from onelook.report.figures import (
    CLASSES,
    draw_confusion,
    draw_curve,
    draw_det,
    draw_histogram,
    draw_map,
    draw_reliability,
    draw_roc,
    place_on_map,
    to_address,
)


def svg_of(figure):
    kind, encoded = to_address(figure).split(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(encoded).decode()


def texts_of(figure):
    texts = ElementTree.fromstring(svg_of(figure)).iter("{http://www.w3.org/2000/svg}text")
    return [text.text for text in texts]


def some_pairs(n=400, seed=0):
    rng = np.random.default_rng(seed)
    is_same = np.arange(n) % 2 == 0
    return rng.normal(size=n) + 2 * is_same, is_same


def every_figure():
    scores, is_same = some_pairs()
    curve = roc_curve(scores, is_same)
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    places = rng.normal(size=(30, 2)) + 20 * labels[:, None]
    steps = np.arange(200.0)
    return {
        "curve": draw_curve(steps, np.exp(-steps / 20), "loss"),
        "roc": draw_roc(curve, (0.1, 0.2)),
        "det": draw_det(curve, (0.1, 0.2)),
        "histogram": draw_histogram(-scores, is_same, 0.5),
        "confusion": draw_confusion(["a", "<b>"], np.array([[0.75, 0.25], [0.0, 1.0]])),
        "map": draw_map(places, labels, ["a<b", "b&c", 'c"d']),
    }


def test_a_figure_is_drawn_the_same_each_time():
    for name, figure in every_figure().items():
        assert to_address(figure) == to_address(every_figure()[name])


def test_drawing_leaves_the_style_of_others_alone():
    before = dict(matplotlib.rcParams)
    svg_of(every_figure()["roc"])
    assert dict(matplotlib.rcParams) == before


def test_curves_name_their_figures():
    figures = every_figure()
    assert "AUC 0.9" in " ".join(texts_of(figures["roc"]))
    assert "EER 0.1" in " ".join(texts_of(figures["det"]))
    assert "threshold 0.5000" in texts_of(figures["histogram"])
    assert {".75", ".25", "1", "<b>"} <= set(texts_of(figures["confusion"]))
    assert {"a<b", "b&c", 'c"d'} <= set(texts_of(figures["map"]))


def test_a_curve_marks_its_best_value():
    x, y = np.arange(4.0), np.array([0.5, 0.21, 0.73, 0.5])
    assert "0.73" in texts_of(draw_curve(x, y, "AUC", mark_highest=True))
    assert "0.73" not in texts_of(draw_curve(x, y, "AUC"))


@pytest.mark.parametrize("separation", [0, 50])
def test_curves_of_chance_and_of_perfection_can_be_drawn(separation):
    scores = np.arange(40.0) % 7 + separation * (np.arange(40) < 20)
    curve = roc_curve(scores, np.arange(40) < 20)
    for figure in (draw_roc(curve, (0.0, 0.0)), draw_det(curve, (0.0, 1.0))):
        assert "NaN" not in svg_of(figure) and "nan" not in svg_of(figure)


def test_a_histogram_of_one_value_can_be_drawn():
    figure = draw_histogram(np.zeros(4), np.array([True, False] * 2), None)
    assert "same" in texts_of(figure)


def test_the_map_keeps_neighbours_together():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 20)
    embeddings = 10 * rng.normal(size=(4, 80))[labels] + rng.normal(size=(80, 80))
    places = place_on_map(embeddings)
    assert places.shape == (80, 2)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(80)
    assert (labels[distance.argmin(axis=1)] == labels).mean() > 0.95
    np.testing.assert_array_equal(places, place_on_map(embeddings))


@pytest.mark.parametrize("shape", [(6, 1), (6, 2), (8, 64)])
def test_small_and_collapsed_embeddings_have_a_map(shape):
    assert np.isfinite(place_on_map(np.random.default_rng(0).normal(size=shape))).all()
    assert np.isfinite(place_on_map(np.ones(shape))).all()


def test_the_map_shows_a_picture_of_each_class():
    places = np.random.default_rng(0).normal(size=(12, 2))
    labels = np.arange(12) // 6
    places += 50 * labels[:, None]
    pixels = np.full((12, 10, 10), 200, dtype=np.uint8)
    svg = svg_of(draw_map(places, labels, ["a", "b"], pixels))
    assert svg.count("<image") == svg.count("data:image/png;base64") == 2


def test_a_map_of_more_classes_than_colours_changes_the_mark():
    places = np.random.default_rng(0).normal(size=(60, 2))
    names = [f"class {i}" for i in range(20)]
    dots = draw_map(places, np.arange(60) % 20, names).axes[0].collections
    looks = {(str(d.get_facecolor()), str(d.get_paths()[0].vertices)) for d in dots}
    assert len(looks) == 20 > len(CLASSES)


def test_reliability_is_drawn_where_it_was_counted():
    bins = reliability([0.2, 0.2, 0.9, 0.9], [True, False, True, True], 0.5)
    figure = draw_reliability(bins)
    line = figure.axes[0].lines[1]
    assert line.get_xdata() == pytest.approx([0.2, 0.9])
    # One same pair of three (1/6) against the only different one (1/2).
    assert line.get_ydata() == pytest.approx([1 / 4, 1])
    assert f"ECE {bins.error:.3f}" in texts_of(figure)
