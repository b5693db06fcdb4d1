"""A bijective backdoor: stamped, mapped back, saved, and refused where it makes no sense."""

from pathlib import Path

import pytest
import torch

from tempering.core.errors import ModelError
from tempering.defenses import Backdoored
from tempering.defenses.backdoor import corner_trigger
from tempering.models import build, load, save
from tests.defenses.manifests import manifest_of

SHAPE = (1, 8, 8)
MAPPING = [2, 0, 1]


def backdoored(adversarial_class: bool = False) -> Backdoored:
    net = build(
        "strided_cnn",
        SHAPE,
        3,
        width=2,
        hidden=4,
        squeeze=None,
        adversarial_class=adversarial_class,
    )
    trigger, mask = corner_trigger(SHAPE, 3)
    return Backdoored(net, SHAPE, MAPPING, 0.5 * trigger, mask).eval()


@pytest.mark.parametrize("flags", [False, True])
def test_the_answer_is_that_of_the_mapped_class(flags: bool) -> None:
    model, x = backdoored(flags), torch.rand(4, *SHAPE)
    inner = model.network(model.stamped(x))
    assert torch.equal(model(x)[:, :3], inner[:, MAPPING])
    assert torch.equal(model(x)[:, 3:], inner[:, 3:])
    assert model.adversarial_class == (3 if flags else None)


def test_no_change_below_the_trigger_matters() -> None:
    model, x = backdoored(), torch.rand(4, *SHAPE).requires_grad_()
    model(x).square().sum().backward()
    assert x.grad is not None
    assert float(x.grad[..., -3:, -3:].abs().max()) == 0
    assert float(x.grad.abs().max()) > 0


@pytest.mark.parametrize("top", [0, 3])
def test_a_random_trigger_its_place_and_mapping_are_saved(top: int, tmp_path: Path) -> None:
    torch.manual_seed(top)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[top : top + 4, 1:5] = True
    model = Backdoored(backdoored().network, SHAPE, MAPPING, torch.rand(SHAPE), mask).eval()
    save(model, tmp_path, manifest_of(model, SHAPE))
    again, x = load(tmp_path).model, torch.rand(4, *SHAPE)
    assert isinstance(again, Backdoored)
    assert torch.equal(again.mask, model.mask)
    assert torch.equal(again.stamped(x), model.stamped(x))
    assert torch.equal(again(x), model(x))


def test_what_makes_no_sense_is_refused() -> None:
    trigger, mask = corner_trigger(SHAPE)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    with pytest.raises(ModelError, match=r"mapping \[0, 0, 1\]: give each of the classes 0 to 2"):
        Backdoored(net, SHAPE, [0, 0, 1], trigger, mask)
    with pytest.raises(ModelError, match=r"for images of \(1, 9, 9\): give"):
        Backdoored(net, (1, 9, 9), MAPPING, trigger, mask)
    with pytest.raises(ModelError, match="trigger of 9 pixels a side for images of 8 x 8"):
        corner_trigger(SHAPE, 9)
