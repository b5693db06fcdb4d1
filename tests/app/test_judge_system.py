"""The overhead of a system does not depend on what else the machine does."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from tempering.app import judge_system
from tempering.systems.system import Fitted


def test_overhead_is_that_of_the_least_times(monkeypatch: pytest.MonkeyPatch) -> None:
    bare, deployed = nn.Identity(), nn.Identity()
    delays = itertools.cycle([9.0, 0.0, 4.0])

    def timed(model: nn.Module, _x: torch.Tensor) -> float:
        return next(delays) + (1.0 if model is bare else 1.03)

    monkeypatch.setattr(judge_system, "seconds_of", timed)
    fitted = Fitted(deployed, bare, bare)
    assert judge_system.overhead(fitted, torch.zeros(1)) == pytest.approx(0.03)
