"""Normalisation as the first stage."""

import pytest
import torch

from tempering.core.errors import ModelError
from tempering.models import Normalize


def test_normalisation_works_channel_by_channel() -> None:
    stage = Normalize([0.5, 0.0], [0.25, 2.0])
    x = torch.ones(1, 2, 1, 1)
    assert stage(x).flatten().tolist() == [2.0, 0.5]
    with pytest.raises(ModelError, match="images with 3 channels in a normalisation for 2"):
        stage(torch.ones(1, 3, 1, 1))


@pytest.mark.parametrize(
    ("mean", "std"),
    [([], []), ([0.5], [0.5, 0.5]), ([0.5], [0.0]), ([float("nan")], [1.0]), ([0.5], [-1.0])],
)
def test_statistics_that_normalise_nothing_are_refused(mean: list[float], std: list[float]) -> None:
    with pytest.raises(ModelError, match="give one finite mean and one std above 0"):
        Normalize(mean, std)
