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


@pytest.mark.parametrize("most", [2**40, 32 * 2**20, 0])
def test_a_library_that_refuses_the_threshold_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Older versions refuse more than 32 MiB; the other settings alone would do harm."""
    taken = []

    class Library:
        @staticmethod
        def mallopt(name: int, value: int) -> int:
            if name == -3 and value > most:
                return 0
            taken.append(name)
            return 1

    monkeypatch.setattr("ctypes.CDLL", lambda _: Library)
    keep_freed_memory.cache_clear()
    assert keep_freed_memory() is bool(most)
    assert taken == ([-3, -1, -2] if most else [])
    keep_freed_memory.cache_clear()


def test_it_says_whether_it_could(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_freed_memory.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
    keep_freed_memory.cache_clear()
