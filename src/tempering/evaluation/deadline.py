"""Stopping in time: a job that may take so long and no longer."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from tempering.core.engine import Engine
from tempering.core.errors import RunError


class OutOfTimeError(RunError):
    """The time is up; what was going on is not finished."""


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
        """No end."""
        return cls(math.inf)

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds that are left; negative afterwards."""
        return self.at - time.monotonic()

    @contextmanager
    def enforced(self, model: nn.Module, engine: Engine) -> Iterator[None]:
        """Within it, the model refuses to run once the time is up.

        With several processes, which must agree, the time is looked at once, before.

        Raises:
            OutOfTimeError: When the time is up.
        """
        if not engine.broadcast(self.left > 0):
            raise OutOfTimeError("the time is up")
        if self.at == math.inf or engine.world_size > 1:
            yield
            return

        def check(_module: nn.Module, _images: Any) -> None:
            if self.left <= 0:
                raise OutOfTimeError("the time is up")

        hook = model.register_forward_pre_hook(check)
        try:
            yield
        finally:
            hook.remove()
