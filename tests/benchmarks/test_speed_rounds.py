"""Turns: a contender works when it is told to and stands still in between."""

import io
import json
import sys
import time
from pathlib import Path

import pytest

from speed.rounds import Contender, rates_in_rounds, ratio, serve
from speed.table import print_table

# A step takes a hundredth of a second and has three images.
STEADY = """
import time
from speed.rounds import serve
serve(lambda: time.sleep(0.01) or 3, warm_up=1)
"""


def stands_still(process):
    """Whether /proc says T, stopped, within some seconds: a signal takes its time."""
    for _ in range(500):
        words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        if words[0] == "T":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_contender_stands_still_between_its_turns():
    contender = Contender([sys.executable, "-c", STEADY])
    try:
        assert stands_still(contender.process)
        result = contender.turn(5)
        assert result["images"] == 15 and result["seconds"] >= 0.05
        assert stands_still(contender.process)
        rates = rates_in_rounds({"steady": contender}, rounds=2, steps=4)
        assert len(rates["steady"]) == 2 and 0 < max(rates["steady"]) <= 300
    finally:
        contender.close()
    assert contender.process.returncode != 0


def test_a_contender_that_breaks_ends_the_benchmark():
    with pytest.raises(SystemExit, match="ended with 3"):
        Contender([sys.executable, "-c", "raise SystemExit(3)"])


def test_a_turn_counts_the_images_of_its_own_steps(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("2\n5\n"))
    sizes = iter(range(1, 100))
    serve(lambda: next(sizes), warm_up=3)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"ready": True}
    assert [line["images"] for line in lines[1:]] == [4 + 5, 6 + 7 + 8 + 9 + 10]


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    # The machine was twice as fast in the second round: the ratio does not see it.
    rates = {"quick": [20.0, 40.0, 33.0], "slow": [10.0, 20.0, 11.0]}
    assert ratio(rates, "quick", "slow") == 2.0


def test_columns_line_up(capsys):
    print_table(
        "Title", ["", "images/s"], [["a long name", "5"], ["b", "1,234,567.0"]], "n"
    )
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Title",
        "                  images/s",
        "  a long name            5",
        "  b            1,234,567.0",
        "  n",
    ]
