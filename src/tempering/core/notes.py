"""What a user must know of how the input was read: warned of, and kept for the record."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_NOTES: ContextVar[dict[str, None] | None] = ContextVar("notes", default=None)


class TemperingWarning(UserWarning):
    """Something was not taken as it was given, such as the first output of several."""


def note(text: str) -> None:
    """Warn of something, once a job, and keep it for the job's record."""
    kept = _NOTES.get()
    if kept is not None:
        if text in kept:
            return
        kept[text] = None
    caller = sys._getframe(1)  # without a registry, which would hide the same text in the next job
    warnings.warn_explicit(
        text, TemperingWarning, caller.f_code.co_filename, caller.f_lineno, registry=None
    )


def keep_note(text: str) -> None:
    """Keep something for the job's record that a user has asked for, without a warning."""
    kept = _NOTES.get()
    if kept is not None:
        kept[text] = None


def notes() -> list[str]:
    """What was noted in this job."""
    return list(_NOTES.get() or ())


@contextmanager
def noted() -> Iterator[None]:
    """Keep notes made within; a job within a job shares those of the outer one.

    Example:
        >>> with noted():
        ...     notes()
        []
    """
    if _NOTES.get() is not None:
        yield
        return
    token = _NOTES.set({})
    try:
        yield
    finally:
        _NOTES.reset(token)
