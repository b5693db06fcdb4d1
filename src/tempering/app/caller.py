"""What a front end tells a use case about itself: texts that the use case cannot know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Caller:
    """The front end that calls a use case.

    Attributes:
        command: What was called, for the record.
        resume: From a run folder to how a user continues the run, for messages.
    """

    command: str
    resume: Callable[[Path], str]


HARDEN = Caller("tempering.harden", lambda run: f"tempering.resume({str(run)!r}, ...)")
REPRODUCE = Caller("tempering.reproduce", lambda run: f"tempering.reproduce(resume={str(run)!r})")
EVALUATE = Caller("tempering.evaluate_address", lambda run: f"resume={str(run)!r}")
"""Python as the caller, by use case."""
