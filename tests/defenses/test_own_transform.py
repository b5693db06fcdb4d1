"""A user's own transforms, declared in this file: wrapped, attacked, saved and loaded.

This is all that a user writes: a class with `transform`, what it declares, and a name.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tempering.attacks import EOT, FGSM, PGD
from tempering.core.backward import adaptive_stages, random_stages, true_gradient
from tempering.core.protocols import DEFENSES, Transform, register_defense
from tempering.core.threats import Linf
from tempering.defenses import Pipeline
from tempering.models import Manifest, load, save, strided_cnn
from tests.attacks.trained import known, standing, trained

ATTACK = PGD(steps=40)


class BitDepth(Transform):
    """Round pixels to 2^bits levels."""

    input_gradient = "straight-through"
    monotone = True

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def transform(self, x: Tensor) -> Tensor:
        levels = 2**self.bits - 1
        return torch.round(x * levels) / levels


class RandomResizePad(Transform):
    """Shrink to a random size, and pad to the old one at a random place (Xie et al., 2018)."""

    random = True
    source = "Xie et al., 2018"

    def __init__(self, smallest: int) -> None:
        super().__init__()
        self.smallest = smallest

    def transform(self, x: Tensor) -> Tensor:
        side = x.shape[-1]
        size = int(torch.randint(self.smallest, side + 1, ()))
        left, top = (int(torch.randint(0, side - size + 1, ())) for _ in range(2))
        small = nn.functional.interpolate(x, (size, size), mode="bilinear", align_corners=False)
        return nn.functional.pad(small, (left, side - size - left, top, side - size - top))


class InPlaceBitDepth(BitDepth):
    """The same, written into what it gets."""

    def transform(self, x: Tensor) -> Tensor:
        levels = 2**self.bits - 1
        return x.mul_(levels).round_().div_(levels)


class Plain(nn.Module):
    """A stage that declares a backward and is none of our classes."""

    input_gradient = "straight-through"
    random = False

    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(3).round_().div_(3)


@pytest.mark.parametrize("stage", [InPlaceBitDepth(2), Plain()])
def test_a_stage_that_writes_into_its_input_has_the_declared_gradient(stage: nn.Module) -> None:
    x, y = known()
    threat = Linf(0.25)
    expected = ATTACK(nn.Sequential(BitDepth(2), trained()), x, y, threat)
    model = nn.Sequential(stage, trained())
    assert torch.equal(ATTACK(model, x, y, threat), expected)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register_defense("own_bit_depth")(BitDepth)
    register_defense("own_resize_pad")(RandomResizePad)
    yield
    DEFENSES.unregister("own_bit_depth")
    DEFENSES.unregister("own_resize_pad")


def test_rounding_blinds_the_true_gradient_and_not_the_declared_one() -> None:
    model, (x, y) = Pipeline(trained(), [BitDepth(2)], classes=10), known()
    threat = Linf(0.25)
    assert adaptive_stages(model) == ["transforms.0"]
    assert standing(model, x, y) >= 0.95
    with true_gradient():
        assert standing(model, ATTACK(model, x, y, threat), y) >= 0.9
    assert standing(model, ATTACK(model, x, y, threat), y) <= 0.1


def test_one_gradient_of_random_padding_says_little_and_the_mean_of_20_more() -> None:
    model, (x, y) = Pipeline(trained(), [RandomResizePad(20)], classes=10).eval(), known(40)
    threat = Linf(0.1)

    def accuracy(images: Tensor) -> float:
        """The mean over 20 draws."""
        return sum(standing(model, images, y) for _ in range(20)) / 20

    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert random_stages(model) == ["transforms.0"]
        clean = accuracy(x)
        one_draw = sum(accuracy(FGSM()(model, x, y, threat)) for _ in range(8)) / 8
        mean = accuracy(EOT(FGSM(), 20)(model, x, y, threat))
    assert clean >= 0.6
    assert mean <= one_draw - 0.1, (clean, one_draw, mean)


def test_it_is_saved_and_loaded_with_its_network(tmp_path: Path) -> None:
    net = strided_cnn(width=2, hidden=4, squeeze=None)
    model = Pipeline(net, [BitDepth(3), RandomResizePad(26)]).eval()
    manifest = Manifest(
        architecture=model.architecture,
        classes=[str(digit) for digit in range(10)],
        shape=(1, 28, 28),
        threat="linf:0.3",
        data="mnist",
        data_hash="0" * 16,
        split="official",
        seed=0,
    )
    save(model, tmp_path, manifest)
    again = load(tmp_path).model
    x = torch.rand(4, 1, 28, 28)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = model(x)
        torch.manual_seed(0)
        assert torch.equal(again(x), before)


def test_what_is_replaced_is_computed_without_a_graph() -> None:
    class Watched(BitDepth):
        graph = False

        def transform(self, x: Tensor) -> Tensor:
            out = super().transform(x)
            self.graph = out.requires_grad
            return out

    x, stage = torch.rand(1, 1, 4, 4, requires_grad=True), Watched(2)
    assert stage(x).requires_grad
    assert not stage.graph
    with true_gradient():
        stage(x)
    assert stage.graph
