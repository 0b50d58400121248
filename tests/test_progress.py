"""Progress: a bar for people, lines for logs, nothing where it is not wanted."""

import time

import pytest

import onelook.progress
from onelook.progress import progress_bar, tracked


@pytest.fixture
def short_wait(monkeypatch):
    monkeypatch.setattr(onelook.progress, "LINE_SECONDS", 0.02)


def test_without_a_terminal_lines_tell_what_is_done_and_left(short_wait, capfd):
    with progress_bar("embedding", 20_000, done=10_000) as advance:
        advance(5_000, "loss 0.1")
        time.sleep(0.5)
    lines = capfd.readouterr().err.splitlines()
    assert lines
    assert lines[0] == "embedding: 15,000 of 20,000, loss 0.1, 0:00, 0:00 left"


def test_lines_end_with_the_work_also_when_it_fails(short_wait, capfd):
    with pytest.raises(ZeroDivisionError), progress_bar("dividing", None):
        raise ZeroDivisionError
    time.sleep(0.1)
    capfd.readouterr()
    time.sleep(0.1)
    assert capfd.readouterr().err == ""


def test_quick_and_unwanted_progress_prints_nothing(short_wait, capfd):
    for _ in tracked(range(3), "counting", shown=False):
        time.sleep(0.05)
    with progress_bar("counting", 3, shown=False) as advance:
        advance()
        time.sleep(0.1)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_a_bar(monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then treats any stream as a terminal
    assert list(tracked(iter("abc"), "counting", total=3)) == ["a", "b", "c"]
    assert "counting" in capfd.readouterr().err


def test_times_are_told_in_minutes_and_hours():
    line = onelook.progress._line("training", 25, 100, 0, 1230.0, "")
    assert line == "training: 25 of 100, 20:30, 1:01:30 left"
    assert onelook.progress._line("reading", 5, None, 0, 1.0, "") == "reading: 5, 0:01"
