import re
from html.parser import HTMLParser

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
    to_svg,
)


class Balanced(HTMLParser):
    """Fails when a tag is closed that is not the last one opened."""

    def __init__(self):
        super().__init__()
        self.open, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())


def texts_of(svg):
    parser = Balanced()
    parser.feed(svg)
    assert not parser.open
    return parser.texts


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
        "curve": draw_curve(steps, np.exp(-steps / 20), "step", "loss", "lowest"),
        "roc": draw_roc(curve, (0.1, 0.2)),
        "det": draw_det(curve, (0.1, 0.2)),
        "histogram": draw_histogram(-scores, is_same, 0.5),
        "confusion": draw_confusion(["a", "<b>"], np.array([[0.75, 0.25], [0.0, 1.0]])),
        "map": draw_map(places, labels, ["a<b", "b&c", 'c"d']),
    }


@pytest.mark.parametrize("name", every_figure())
def test_an_svg_is_well_formed_and_takes_its_look_from_the_page(name):
    svg = to_svg(every_figure()[name], 'what "it" shows')
    texts_of(svg)
    assert svg.startswith("<svg viewBox=") and svg.rstrip().endswith("</svg>")
    assert 'aria-label="what &quot;it&quot; shows"' in svg and 'role="img"' in svg
    assert "http" not in svg and "<style" not in svg and "DejaVu" not in svg
    # Every colour is a variable, but for the white behind a thumbnail.
    assert not set(re.findall(r"#[0-9a-f]{6}", svg)) and "var(--ink)" in svg
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    assert used == set(re.findall(r' id="([^"]*)"', svg))


def test_two_figures_on_one_page_share_no_id():
    scores, is_same = some_pairs()
    ids = [
        set(
            re.findall(r' id="([^"]*)"', to_svg(draw_histogram(-scores, is_same, 0.5), alt))
        )
        for alt in ("one", "two")
    ]
    assert all(ids) and not ids[0] & ids[1]


def test_a_figure_is_drawn_the_same_each_time():
    assert to_svg(every_figure()["map"], "map") == to_svg(every_figure()["map"], "map")


def test_curves_name_their_figures():
    figures = every_figure()
    assert "AUC 0.9" in " ".join(texts_of(to_svg(figures["roc"], "")))
    assert "EER 0.1" in " ".join(texts_of(to_svg(figures["det"], "")))
    assert "threshold 0.5000" in texts_of(to_svg(figures["histogram"], ""))
    assert {".75", ".25", "1", "<b>"} <= set(texts_of(to_svg(figures["confusion"], "")))
    assert {"a<b", "b&c", 'c"d'} <= set(texts_of(to_svg(figures["map"], "")))


def test_a_curve_marks_its_best_value():
    x, y = np.arange(5.0), np.array([0.5, 0.25, np.nan, 0.75, 0.5])
    assert "0.25" in texts_of(to_svg(draw_curve(x, y, "epoch", "error", "lowest"), ""))
    assert "0.75" in texts_of(to_svg(draw_curve(x, y, "epoch", "AUC", "highest"), ""))


@pytest.mark.parametrize("separation", [0, 50])
def test_curves_of_chance_and_of_perfection_can_be_drawn(separation):
    scores = np.arange(40.0) % 7 + separation * (np.arange(40) < 20)
    curve = roc_curve(scores, np.arange(40) < 20)
    for figure in (draw_roc(curve, (0.0, 0.0)), draw_det(curve, (0.0, 1.0))):
        assert "NaN" not in to_svg(figure, "") and "nan" not in to_svg(figure, "")


def test_a_histogram_of_one_value_can_be_drawn():
    figure = draw_histogram(np.zeros(4), np.array([True, False] * 2), None)
    assert "same" in texts_of(to_svg(figure, ""))


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
    svg = to_svg(draw_map(places, labels, ["a", "b"], pixels), "")
    assert svg.count("<image") == svg.count("data:image/png;base64") == 2
    assert "<title>a</title>" in svg


def test_a_map_of_more_classes_than_colours_changes_the_mark():
    places = np.random.default_rng(0).normal(size=(60, 2))
    names = [f"class {i}" for i in range(20)]
    svg = to_svg(draw_map(places, np.arange(60) % 20, names), "")
    titles = re.findall(r"<title>(class \d+)</title>", svg)
    assert len(titles) == 20 > len(CLASSES)


def test_reliability_is_drawn_where_it_was_counted():
    bins = reliability([0.2, 0.2, 0.9, 0.9], [True, False, True, True], 0.5)
    figure = draw_reliability(bins)
    line = figure.axes[0].lines[1]
    assert line.get_xdata() == pytest.approx([0.2, 0.9])
    # One same pair of three (1/6) against the only different one (1/2).
    assert line.get_ydata() == pytest.approx([1 / 4, 1])
    assert f"ECE {bins.error:.3f}" in to_svg(figure, "reliability")
