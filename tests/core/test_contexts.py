"""What holds within a `with` and no longer: true gradients, and who hears of progress."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from torch import nn

from tempering.core.backward import adaptive_stages, true_gradient, wants_true_gradient
from tempering.core.progress import Advance, reporting, track


class Hiding(nn.Identity):
    input_gradient = "straight-through"


def test_the_true_gradient_is_wanted_only_within() -> None:
    def fail() -> None:
        with true_gradient():
            asked.append(wants_true_gradient())
            raise InterruptedError

    asked = [wants_true_gradient()]
    with pytest.raises(InterruptedError):
        fail()
    assert [*asked, wants_true_gradient()] == [False, True, False]


def test_stages_that_declare_an_adaptive_backward_are_named() -> None:
    model = nn.Sequential(nn.Identity(), nn.Sequential(Hiding(), nn.ReLU()))
    assert adaptive_stages(model) == ["1.0"]
    assert adaptive_stages(Hiding()) == ["Hiding"]
    assert adaptive_stages(nn.ReLU()) == []


def test_progress_goes_to_whoever_listens() -> None:
    heard: list[object] = []

    @contextmanager
    def reporter(what: str, total: int) -> Iterator[Advance]:
        heard.append((what, total))
        yield lambda done, note: heard.append((done, note))
        heard.append("end")

    with reporting(reporter), track("climbing", 2) as advance:
        advance(1, "half")
    with track("alone", 1) as advance:
        advance(1, "unheard")
    assert heard == [("climbing", 2), (1, "half"), "end"]
