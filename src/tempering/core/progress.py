"""Saying how far a long job is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

Advance = Callable[[int, str], None]
"""Report that so many units are done, with a short note on how things stand."""

Reporter = Callable[[str, int], AbstractContextManager[Advance]]
"""Open a bar: what is being done, and how many units there are."""


@contextmanager
def _silent(_what: str, _total: int) -> Iterator[Advance]:
    yield lambda _done, _note: None


_REPORTER: ContextVar[Reporter] = ContextVar("reporter", default=_silent)


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Within it, progress goes to a reporter."""
    token = _REPORTER.set(reporter)
    try:
        yield
    finally:
        _REPORTER.reset(token)


def track(what: str, total: int) -> AbstractContextManager[Advance]:
    """Open a bar of the reporter in force.

    Example:
        >>> with track("counting", 2) as advance:
        ...     advance(1, "half way")
    """
    return _REPORTER.get()(what, total)


def silence() -> AbstractContextManager[None]:
    """Within it, nothing is reported: for small jobs within a reported one."""
    return reporting(_silent)
