"""A clock that is looked at whenever progress is reported."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tempering.core.progress import Advance, reporting, track, watched


def test_a_notice_follows_every_report_and_may_end_the_job() -> None:
    told: list[tuple[int, str]] = []
    looks = 0

    @contextmanager
    def reporter(_what: str, _total: int) -> Iterator[Advance]:
        yield lambda done, note: told.append((done, note))

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise TimeoutError

    def work() -> None:
        with track("steps", 3) as advance:
            for number in (1, 2, 3):
                advance(number, "note")

    with reporting(reporter):
        with watched(look), pytest.raises(TimeoutError):
            work()
        assert told == [(1, "note"), (2, "note")]
        work()
    assert (len(told), looks) == (5, 2)
