"""What a model does when it runs is compared with its trace: no branch is hidden from it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn

from tempering.certification import certify
from tempering.core.threats import Linf

X = torch.full((2, 1, 2, 2), 0.5)
Y = torch.zeros(2, dtype=torch.int64)
BROKEN = torch.full((1, 1, 2, 2), 0.58)
"""Within 0.1 of the images; each model below misclassifies it."""


def swallowed(net: nn.Linear, x: Tensor) -> Tensor:
    try:
        if bool((x > 0.55).any()):
            return -net(x.flatten(1))
    except Exception:
        pass
    return net(x.flatten(1))


def asked_for_its_kind(net: nn.Linear, x: Tensor) -> Tensor:
    if isinstance(x, Tensor) and float(x.max()) > 0.55:
        return -net(x.flatten(1))
    return net(x.flatten(1))


def listed(net: nn.Linear, x: Tensor) -> Tensor:
    try:
        largest = max(x.flatten().tolist())
    except Exception:
        largest = 0.0
    return -net(x.flatten(1)) if largest > 0.55 else net(x.flatten(1))


def printed(net: nn.Linear, x: Tensor) -> Tensor:
    return net(x.flatten(1)) * (-1 if "0.58" in str(x) else 1)


def without_reading(net: nn.Linear, x: Tensor) -> Tensor:
    if type(x) is Tensor:
        bright = x.flatten(1).amax(1, keepdim=True) > 0.55
        return torch.where(bright, -net(x.flatten(1)), net(x.flatten(1)))
    return net(x.flatten(1))


def with_other_numbers(net: nn.Linear, x: Tensor) -> Tensor:
    edge = 5.0 if isinstance(x, fx.Proxy) else 0.55
    bright = (x.flatten(1) > edge).float().mean(1, keepdim=True)
    return net(x.flatten(1)) * (1 - 2 * bright)


class Model(nn.Module):
    """Logits 1 and 0.5, the sum of four pixels and half of it, unless `run` changes them."""

    def __init__(self, run: Callable[[nn.Linear, Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run
        self.net = nn.Linear(4, 2)
        with torch.no_grad():
            self.net.weight.copy_(torch.tensor([[1.0] * 4, [0.5] * 4]))
            self.net.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.net, x)


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (swallowed, "reads values of its images"),
        (asked_for_its_kind, "reads values of its images"),
        (listed, "reads values of its images"),
        (printed, "reads values of its images"),
        (without_reading, "on its images, which its trace does not"),
        (with_other_numbers, "its trace gives other logits"),
    ],
)
def test_a_branch_that_a_trace_does_not_see_leaves_no_certificate(
    run: Callable[[nn.Linear, Tensor], Tensor], reason: str
) -> None:
    model = Model(run)
    assert int(model(BROKEN).argmax(1)) == 1
    certificates = certify(model, X, Y, Linf(0.1))
    assert not certificates.certified.any()
    assert reason in str(certificates.unsupported)


class Gated(nn.Conv2d):
    """A convolution whose helper, not its forward, depends on the images."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out = super()._conv_forward(x, weight, bias)
        return torch.where(x.amax((1, 2, 3), keepdim=True) > 0.55, -out, out)


class Scaled(nn.Conv2d):
    """A convolution whose helper has bounds."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return 2 * super()._conv_forward(x, weight, bias)


def network(layer: nn.Conv2d) -> nn.Module:
    with torch.no_grad():
        layer.weight.zero_()
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor([1.0, 0.0]))
    return nn.Sequential(layer, nn.Flatten()).eval()


def test_a_layer_whose_helper_is_overridden_is_traced() -> None:
    gated = network(Gated(1, 2, 2))
    assert int(gated(BROKEN).argmax(1)) == 1
    certificates = certify(gated, X, Y, Linf(0.1))
    assert not certificates.certified.any()
    assert "where" in str(certificates.unsupported)
    scaled = certify(network(Scaled(1, 2, 2)), X, Y, Linf(0.1))
    assert scaled.certified.all()
    assert abs(float(scaled.margin[0]) - 2) < 1e-4


def test_a_layer_whose_helper_is_replaced_is_refused() -> None:
    layer = Gated(1, 2, 2)
    plain = nn.Conv2d(1, 2, 2)
    plain._conv_forward = layer._conv_forward  # type: ignore[method-assign]
    certificates = certify(network(plain), X, Y, Linf(0.1))
    assert not certificates.certified.any()
    assert "its _conv_forward was replaced" in str(certificates.unsupported)
