"""Models whose own eval() leaves modules in training mode are judged without, and that is noted."""

import warnings

import pytest
from torch import nn

from tempering.core.notes import TemperingWarning
from tempering.models.evaluation_mode import note_if_training


class KeepsDropout(nn.Sequential):
    """Monte Carlo dropout."""

    def train(self, mode: bool = True) -> "KeepsDropout":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.training = True
        return self


class FreezesNorm(nn.Sequential):
    def train(self, mode: bool = True) -> "FreezesNorm":
        super().train(mode)
        self[0].eval()
        return self


def test_dropout_that_stays_active_is_named() -> None:
    model = KeepsDropout(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    with pytest.warns(TemperingWarning, match="leaves 1 in training mode: it is judged with all"):
        note_if_training(model)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("kind", [nn.Sequential, FreezesNorm])
def test_models_whose_eval_works_are_not_mentioned(kind: type[nn.Sequential]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        note_if_training(kind(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 2)))
