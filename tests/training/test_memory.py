"""Freed memory stays while a training lasts, by the kernel's own count of page faults."""

import subprocess
import sys

import pytest
import torch

from onelook.training import memory
from onelook.training.memory import memory_kept

# In a process of its own: a heap that other tests have left full of holes gives blocks from
# these, whatever is asked of it.
SCRIPT = """
import resource
import torch
from onelook.training.memory import memory_kept

BLOCK = 96 << 20  # bytes: above what glibc keeps at the end of its heap, twice 32 MB

def faults_of_allocating(size):
    "Page faults, a page, of four blocks that are written and freed one after the other."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(size, dtype=torch.uint8)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return faults / (size // resource.getpagesize())

with memory_kept():
    kept = min(faults_of_allocating(BLOCK) for _ in range(4))
# Larger than the hole that a kept block may have left in the heap.
print(kept, faults_of_allocating(2 * BLOCK))
"""


@pytest.mark.skipif(memory._glibc() is None, reason="only glibc is told to keep memory")
def test_freed_blocks_are_used_again_and_given_back_at_the_end():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    kept, after = map(float, done.stdout.split())
    assert kept < 0.1 and after > 3.9


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    with memory_kept():
        assert torch.ones(3).sum() == 3
