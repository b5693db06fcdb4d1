"""The time limit, which probes check and not the model."""

from threading import Thread

import pytest
import torch
from torch import nn

from tempering.core.deadline import Deadline, OutOfTimeError, check_deadline
from tempering.core.engine import start_engine
from tempering.core.probe import probing

ENGINE = start_engine("32-true")
X = torch.rand(2, 1, 2, 2)


class Countdown(Deadline):
    """Lets a number of checks pass."""

    def __init__(self, checks: int) -> None:
        super().__init__(0.0)
        self.__dict__["checks"] = checks

    @property
    def left(self) -> float:
        self.__dict__["checks"] -= 1
        return float(self.__dict__["checks"])


def test_no_work_begins_after_the_deadline() -> None:
    with pytest.raises(OutOfTimeError), Deadline.after(0.0).enforced(ENGINE):
        raise AssertionError


def test_a_probe_refuses_passes_after_the_deadline_and_the_model_itself_does_not() -> None:
    model = nn.Flatten()
    with probing(model) as probe, Countdown(4).enforced(ENGINE):
        probe.logits(X)
        probe.gradient(X, lambda logits: logits[:, 0])
        with pytest.raises(OutOfTimeError, match="the time is up"):
            probe.logits(X)
        model(X)
    assert not model._forward_pre_hooks
    check_deadline()


def test_deadlines_nest_and_never_ends() -> None:
    with Deadline.after(100).enforced(ENGINE), Deadline.never().enforced(ENGINE):
        check_deadline()
        with Countdown(2).enforced(ENGINE), pytest.raises(OutOfTimeError):
            check_deadline()
        check_deadline()


def test_another_thread_has_no_deadline() -> None:
    outcome: list[object] = []

    def work() -> None:
        outcome.append(check_deadline())

    with Countdown(2).enforced(ENGINE):
        thread = Thread(target=work)
        thread.start()
        thread.join()
        with pytest.raises(OutOfTimeError):
            check_deadline()
    assert outcome == [None]
