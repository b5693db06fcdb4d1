"""Ctrl-C and SIGTERM, held back while a state is between two wholes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

Handler = Callable[[int, FrameType | None], object]


class Interrupts:
    """Within it, signals wait for the end of whatever is `held`.

    Only what Python handles can wait: a signal that ends the process at once still does.

    Example:
        >>> with Interrupts() as interrupts, interrupts.held():
        ...     whole = True
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Handler] = {}
        self._holding = False
        self._came: tuple[int, FrameType | None] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._arrive)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let what is within end before a signal is heard."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._came is not None:
                (number, frame), self._came = self._came, None
                self._handlers[number](number, frame)

    def _arrive(self, number: int, frame: FrameType | None) -> None:
        if self._holding:
            self._came = (number, frame)
        else:
            self._handlers[number](number, frame)
