"""Comparison: the verdict of an answer, and how notebooks show it."""

import dataclasses

import pytest
from PIL import Image

from onelook.comparison import Comparison

PAIR = Comparison("a.png", "b.png", 0.8124, 0.1876, 0.9858, True, 0.6413, 0.01)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({}, "same"),
        ({"is_same": False}, "different"),
        ({"is_same": None}, "unsure"),
        ({"is_same": None, "threshold": None}, ""),
    ],
)
def test_the_verdict_follows_from_the_decision(values, verdict):
    answer = dataclasses.replace(PAIR, **values)
    assert answer.verdict == answer.to_dict()["verdict"] == verdict


def test_a_notebook_shows_the_pair_and_its_figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.new("L", (300, 200), 255).save(name)
    shown = PAIR._repr_html_()
    assert shown.count('src="data:image/png;base64,') == 2
    assert "<th>verdict</th><td>same</td>" in shown and "<td>0.8124</td>" in shown
    texts = dataclasses.replace(PAIR, left="A <b>man</b>", right="x" * 5000)
    assert "<img" not in texts._repr_html_()
    assert "A &lt;b&gt;man&lt;/b&gt;" in texts._repr_html_()
