"""Figures for people: lines, HTML and data frames."""

import sys

import pytest

from onelook.errors import OnelookError
from onelook.tables import Result, aligned, html_table


def test_lines_are_aligned():
    assert aligned([("a", "1"), ("long", "2")]) == "  a     1\n  long  2"
    assert aligned([]) == ""


def test_html_is_escaped():
    table = html_table("a < b", [("x", "<1>")])
    assert "a &lt; b" in table and "&lt;1&gt;" in table


def test_a_frame_has_a_row_for_each_figure(monkeypatch):
    pytest.importorskip("pandas")

    class Measured(Result):
        def figures(self):
            return [("auc", 0.9, (0.8, 1.0)), ("eer", 0.1, None)]

    frame = Measured("pairs", "model").to_frame()
    assert frame.figure.tolist() == ["auc", "eer"] and frame.low[0] == 0.8
    assert frame.low.isna()[1]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OnelookError, match="needs pandas: pip install pandas"):
        Measured("pairs", "model").to_frame()
