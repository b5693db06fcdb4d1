"""Progress of long jobs, reported to whatever reporter is active."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

Advance = Callable[[int, str], None]
"""Reports how many units are done, with a short note."""

Reporter = Callable[[str, int], AbstractContextManager[Advance]]
"""Opens a progress bar: title and number of units."""


@contextmanager
def _silent(_what: str, _total: int) -> Iterator[Advance]:
    yield lambda _done, _note: None


_REPORTER: ContextVar[Reporter] = ContextVar("reporter", default=_silent)


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Context in which progress is reported to `reporter`."""
    token = _REPORTER.set(reporter)
    try:
        yield
    finally:
        _REPORTER.reset(token)


def track(what: str, total: int) -> AbstractContextManager[Advance]:
    """Open a progress bar of the active reporter.

    Example:
        >>> with track("counting", 2) as advance:
        ...     advance(1, "half way")
    """
    return _REPORTER.get()(what, total)


@contextmanager
def watched(notice: Callable[[], None]) -> Iterator[None]:
    """Context in which `notice` is called after every report of progress.

    What it raises ends the job at that place: between two steps of a training, for example.

    Args:
        notice: Looks at a clock, for example.
    """
    outer = _REPORTER.get()

    @contextmanager
    def reporter(what: str, total: int) -> Iterator[Advance]:
        with outer(what, total) as advance:

            def told(done: int, note: str) -> None:
                advance(done, note)
                notice()

            yield told

    with reporting(reporter):
        yield


def silence() -> AbstractContextManager[None]:
    """Context in which nothing is reported: for parts of a job that is already reported."""
    return reporting(_silent)
