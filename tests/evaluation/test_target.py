"""What is noted of a model before it is judged."""

import pytest
import torch
from torch import nn

from tempering.core.notes import TemperingWarning
from tempering.data import Dataset
from tempering.evaluation.target import Target


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_is_noted(dtype: torch.dtype) -> None:
    data = Dataset.of(torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1]))
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).to(dtype)
    with pytest.warns(TemperingWarning, match=f"the model is in {dtype}: it is judged in float32"):
        Target.of("given", model, data)
    assert model[1].weight.dtype == dtype
