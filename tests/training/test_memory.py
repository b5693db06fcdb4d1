"""What is kept of samples: known by id, NaN until given, saved and restored."""

from __future__ import annotations

import pytest
import torch

from tempering.core.errors import TemperingError
from tempering.data.ids import SampleIds
from tempering.training.memory import SampleMemory


def test_values_come_back_in_another_order_and_beside_new_samples() -> None:
    memory = SampleMemory(SampleIds.of("abcd"), ["loss"])
    memory.keep({"loss": torch.tensor([1.0, 2.0, 3.0])}, torch.tensor([0, 2, 3]))
    again = SampleMemory(SampleIds.of("xdcba"), ["loss"], memory.tensors())
    assert again.values["loss"].nan_to_num(-1).tolist() == [-1, 3, 2, -1, 1]


def test_what_is_saved_does_not_change_with_what_is_kept() -> None:
    memory = SampleMemory(SampleIds.rows(2), ["loss"])
    saved = memory.tensors()
    memory.keep({"loss": torch.tensor([1.0])}, torch.tensor([0]))
    assert bool(saved["loss"].isnan().all())
    assert SampleMemory(SampleIds.rows(2), []).tensors() == {}


def test_a_name_that_is_not_declared_is_refused() -> None:
    with pytest.raises(TemperingError, match="remembers 'loss' but does not declare it"):
        SampleMemory(SampleIds.rows(2), []).keep({"loss": torch.zeros(1)}, torch.tensor([0]))
