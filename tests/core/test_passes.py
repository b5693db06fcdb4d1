"""Counting passes."""

from threading import Barrier, Thread

import pytest
import torch

from tempering.core.passes import (
    Passes,
    add_passes,
    count_no_start,
    count_pass,
    counted,
    counted_per_sample,
    uncounted,
)


def test_counters_nest_and_end() -> None:
    add_passes(forward=100)
    with counted() as outer:
        add_passes(forward=1)
        with counted() as inner:
            add_passes(forward=2, backward=3)
        add_passes(backward=4)
    add_passes(forward=100, backward=100)
    assert inner == Passes(forward=2, backward=3)
    assert outer == Passes(forward=3, backward=7)


def test_a_counter_ends_when_its_job_fails() -> None:
    def job() -> None:
        with counted() as passes:
            counters.append(passes)
            add_passes(forward=1)
            raise InterruptedError

    counters: list[Passes] = []
    with pytest.raises(InterruptedError):
        job()
    add_passes(forward=1)
    assert counters == [Passes(forward=1)]


def test_passes_of_a_batch_count_in_total_and_per_sample() -> None:
    x, index = torch.zeros(3, 1), torch.tensor([5, 6, 5])
    with counted() as passes, counted_per_sample() as outer:
        count_pass("forward", x, index)
        count_pass("forward", x, None)
        with counted_per_sample() as inner:
            count_pass("backward", x, index, times=2)
        with uncounted():
            count_pass("backward", x, None)
        count_no_start(index[1:])
    assert passes == Passes(forward=6, backward=6)
    assert (outer.forward, outer.backward) == ({5: 2, 6: 1}, {})
    assert (inner.forward, inner.backward) == ({}, {5: 4, 6: 2})
    assert outer.no_start == {5: 1, 6: 1}


def test_threads_count_separately() -> None:
    both_open, counters = Barrier(2, timeout=30), {}

    def work(size: int) -> None:
        with counted() as passes, counted_per_sample() as counts:
            both_open.wait()
            count_pass("forward", torch.zeros(size, 1), torch.arange(size))
            both_open.wait()
        counters[size] = passes, counts.forward

    with counted() as here:
        threads = [Thread(target=work, args=(size,)) for size in (2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert here == Passes()
    assert counters == {n: (Passes(forward=n), dict.fromkeys(range(n), 1)) for n in (2, 3)}
