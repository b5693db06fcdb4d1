"""Counting passes."""

import pytest

from tempering.core.passes import Passes, counted, note


def test_counters_nest_and_end() -> None:
    note(forward=100)
    with counted() as outer:
        note(forward=1)
        with counted() as inner:
            note(forward=2, backward=3)
        note(backward=4)
    note(forward=100, backward=100)
    assert inner == Passes(forward=2, backward=3)
    assert outer == Passes(forward=3, backward=7)


def test_a_counter_ends_when_its_job_fails() -> None:
    def job() -> None:
        with counted() as passes:
            counters.append(passes)
            note(forward=1)
            raise InterruptedError

    counters: list[Passes] = []
    with pytest.raises(InterruptedError):
        job()
    note(forward=1)
    assert counters == [Passes(forward=1)]
