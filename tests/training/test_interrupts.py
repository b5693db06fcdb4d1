"""Signals wait for the end of what is held, and only for that."""

import os
import signal
import threading
from types import FrameType

import pytest

from tempering.training.interrupts import Interrupts


def interrupt(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_is_heard_when_what_was_held_has_ended() -> None:
    done = []

    def work() -> None:
        with interrupts.held():
            interrupt()
            done.append("first")
            interrupt()
            done.append("second")
        done.append("too late")

    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert done == ["first", "second"]
        with interrupts.held():
            done.append("third")
    assert done[-1] == "third"


def test_a_signal_that_meets_nothing_held_is_heard_at_once() -> None:
    with Interrupts(), pytest.raises(KeyboardInterrupt):
        interrupt()


def test_sigterm_waits_too_and_reaches_the_handler_that_was_there() -> None:
    heard: list[int] = []

    def handler(number: int, _frame: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with Interrupts() as interrupts, interrupts.held():
            interrupt(signal.SIGTERM)
            assert heard == []
        assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_put_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)

    def work() -> None:
        with Interrupts() as interrupts, interrupts.held():
            assert signal.getsignal(signal.SIGINT) != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_is_heard_even_if_what_was_held_failed() -> None:
    def work() -> None:
        with interrupts.held():
            interrupt()
            raise ZeroDivisionError

    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt):
        work()


def test_other_threads_leave_signals_alone() -> None:
    kept: list[bool] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGINT)
        with Interrupts() as interrupts, interrupts.held():
            kept.append(signal.getsignal(signal.SIGINT) is before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert kept == [True]
