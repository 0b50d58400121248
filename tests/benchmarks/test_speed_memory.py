"""Training on a store that is larger than memory."""

import numpy as np

from speed import memory


def test_an_empty_store_is_mapped_and_takes_no_disk(tmp_path):
    store = memory.empty_store(tmp_path, 1000)
    assert store.pixels.shape == (1000, 3, 128, 128)
    assert not store.pixels[[0, 999]].any()
    assert (tmp_path / "pixels.npy").stat().st_blocks * 512 < store.pixels.nbytes / 100


def test_the_limited_training_reads_its_batches_and_reports_what_was_counted(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(memory, "LIMIT", 4 << 20)
    monkeypatch.setattr(memory, "STEPS", 2)
    (tmp_path / "memory.peak").write_text("12345\n")
    found = memory.train_limited(tmp_path, tmp_path)
    assert found["store"] >= memory.TIMES * memory.LIMIT
    assert found["read"] == 2 * 64 * 3 * 128 * 128  # two batches of 32 x 2
    assert found["peak"] == 12345
    assert 10 << 20 < found["own"] < 10 << 30


def test_without_the_right_to_limit_nothing_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "not there")
    assert memory.measure() == []
    assert "not measured" in capsys.readouterr().out


def test_own_memory_grows_with_what_is_written():
    before = memory.own_memory()
    written = np.ones(64 << 20, np.uint8)
    assert memory.own_memory() - before > 0.9 * written.nbytes
