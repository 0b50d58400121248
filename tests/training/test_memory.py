"""Freed memory stays while a training lasts, by the kernel's own count of page faults."""

import resource

import pytest
import torch

from onelook.training import memory
from onelook.training.memory import memory_kept

BLOCK = 48 << 20  # bytes: above every threshold of glibc's own


def faults_of_allocating() -> int:
    """Page faults of four blocks, written and freed one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(BLOCK, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(memory._glibc() is None, reason="only glibc is told to keep memory")
def test_freed_blocks_are_used_again_and_given_back_at_the_end():
    pages = BLOCK // resource.getpagesize()
    with memory_kept():
        # Once there is a hole that fits, however the tests before have left the heap.
        assert min(faults_of_allocating() for _ in range(4)) < pages / 10
    assert faults_of_allocating() > 3.9 * pages


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with memory_kept():
        assert torch.ones(3).sum() == 3
