"""A model is given copies of images, never the memory of the dataset."""

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import PGD, Square
from tempering.attacks.base import Attack
from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.evaluation import measure
from tests.evaluation.toys import Net, context, dataset, target

THREAT = Linf(0.05)


class Writing(nn.Module):
    """Answers as another network does, and then blackens the images that it was given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x.clone())
        x.zero_()
        self.kept = [*self.kept[-3:], x]
        for images in self.kept:  # what it was given before, too
            images.data.fill_(0.5)
        return out


def data() -> Dataset:
    x = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return dataset(x, Net()(x).argmax(1), classes=4)


@pytest.mark.parametrize(
    "attack", [None, PGD(steps=5), PGD(steps=5, until_fooled=False), Square(queries=20)], ids=str
)
def test_a_model_that_writes_its_input_changes_neither_data_nor_verdicts(
    attack: Attack | None,
) -> None:
    own, other = data(), data()
    expected = measure(context(own), target(Net(), own), attack, THREAT).per_sample
    per_sample = measure(context(other), target(Writing(Net()), other), attack, THREAT).per_sample
    assert torch.equal(per_sample.robust, expected.robust)
    if attack is not None:
        assert torch.equal(per_sample.x_adv, expected.x_adv)
    assert torch.equal(other.x, own.x)
    fresh = dataset(other.x, other.y, classes=4)
    assert fresh.content_hash == own.content_hash
