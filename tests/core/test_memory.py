"""Freed memory stays with the process."""

import resource
import sys

import pytest
import torch

from tempering.core.memory import keep_freed_memory

glibc = pytest.mark.skipif(not keep_freed_memory(), reason="no glibc: nothing to set")


@glibc
def test_blocks_of_a_pass_are_used_again() -> None:
    """40 MB, more than glibc would ever keep by itself: some 9,800 pages of 4 KiB each time."""

    def faults() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    for _ in range(20):  # it takes some until the heap has found its size
        torch.ones(10_000_000)
    before = faults()
    for _ in range(10):
        torch.ones(10_000_000)
    assert faults() - before < 9_000


def test_it_says_whether_it_could(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_freed_memory.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
    keep_freed_memory.cache_clear()
