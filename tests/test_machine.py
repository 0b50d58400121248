import os

import pytest

from onelook.machine import cores, threads, use_threads


def test_threads_are_all_cores_or_what_the_variable_says(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= threads() == cores() <= (os.cpu_count() or 1)
    for value, expected in (("3", 3), ("0", cores()), ("many", cores())):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert threads() == expected


def test_threads_can_be_limited_later(monkeypatch):
    torch = pytest.importorskip("torch")
    asked = []
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    use_threads(2)
    assert threads() == 2 and asked == [2]
