"""A time limit: every forward pass of a probe checks it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from tempering.core.engine import Engine
from tempering.core.errors import RunError


class OutOfTimeError(RunError):
    """The time is up; the work in progress is not finished."""


@dataclass(frozen=True)
class Deadline:
    """A moment by which a job must end.

    Attributes:
        at: In seconds of `time.monotonic`; infinite for never.

    Example:
        >>> Deadline.never().left
        inf
    """

    at: float

    @classmethod
    def never(cls) -> Deadline:
        """No time limit."""
        return cls(math.inf)

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """A number of seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds that are left; negative afterwards."""
        return self.at - time.monotonic()

    @contextmanager
    def enforced(self, engine: Engine) -> Iterator[None]:
        """Within it, probes of this thread refuse forward passes once the time is up.

        Several processes, which must agree, check the time once, before. Deadlines nest.

        Raises:
            OutOfTimeError: When the time is up.
        """
        if not engine.broadcast(self.left > 0):
            raise OutOfTimeError("the time is up")
        if self.at == math.inf or engine.world_size > 1:
            yield
            return
        with self.enforced_here():
            yield

    @contextmanager
    def enforced_here(self) -> Iterator[None]:
        """As `enforced`, in this process alone."""
        token = _DEADLINES.set((*_DEADLINES.get(), self))
        try:
            yield
        finally:
            _DEADLINES.reset(token)


_DEADLINES: ContextVar[tuple[Deadline, ...]] = ContextVar("deadlines", default=())


def check_deadline() -> None:
    """Check the deadlines that this thread enforces.

    Raises:
        OutOfTimeError: When the time is up.
    """
    if any(deadline.left <= 0 for deadline in _DEADLINES.get()):
        raise OutOfTimeError("the time is up")
