"""Results that outlive an interrupted evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class ResultCache(Protocol):
    """Stores what a step of an evaluation gave, by the name of the step."""

    def get(self, name: str, compute: Callable[[], T]) -> T:
        """The stored result of a step, or else the result computed now and stored.

        Args:
            name: Of the step, unique within an evaluation.
            compute: Computes the result; what it raises is raised, and nothing is stored.

        Returns:
            The result; passes that computing it took are counted in either case.
        """
        ...


class NoCache:
    """Stores nothing: every step is computed.

    Example:
        >>> NoCache().get("clean", lambda: 3)
        3
    """

    def get(self, name: str, compute: Callable[[], T]) -> T:  # noqa: ARG002
        """The result, computed now."""
        return compute()
