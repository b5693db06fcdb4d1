"""A user's own layer brings its rule; without one it is unsupported by name."""

import pytest
import torch
from torch import Tensor, nn

from tempering.certification import (
    Clamp,
    LayerCall,
    certify,
    in_sequence,
    register_rule,
    scale_shift,
)
from tempering.certification.hidden_intervals import crown_intervals
from tempering.certification.interval import propagate
from tempering.certification.layer_call import Lowered
from tempering.certification.lowering import graph_of
from tempering.certification.region import Region
from tempering.certification.rules import LAYER_RULES
from tempering.core.errors import UsageError
from tempering.core.protocols import Transform
from tempering.core.threats import Linf
from tests.architecture.sources import ROOT
from tests.certification.nets import build, images, points
from tests.test_documents import blocks

X = torch.tensor([[0.9, 0.1], [0.55, 0.5]]).reshape(2, 1, 1, 2)
Y = torch.tensor([0, 0])


class HardSigmoid(nn.Module):
    """clamp(slope z + 1/2, 0, 1); lerp has no rule of its own."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        half = torch.full_like(x, 0.5)
        return torch.lerp(half, half + x, self.slope).clamp(0, 1)


def lower_hard_sigmoid(call: LayerCall) -> Lowered:
    layer = call.module
    assert isinstance(layer, HardSigmoid)
    scale = torch.full((1,), layer.slope, dtype=torch.float64)
    step = scale_shift(call, scale, torch.full_like(scale, 0.5), roundings=8)
    return in_sequence(call, step, Clamp(call.precision, 0.0, 1.0))


@pytest.fixture
def ruled() -> object:
    register_rule(HardSigmoid)(lower_hard_sigmoid)
    yield
    del LAYER_RULES[HardSigmoid]


def network(stage: nn.Module) -> nn.Module:
    return nn.Sequential(stage, nn.Flatten()).eval()


def test_without_a_rule_the_layer_is_named() -> None:
    certificates = certify(network(HardSigmoid(0.5)), X, Y, Linf(0.1))
    assert not bool(certificates.certified.any())
    assert certificates.unsupported is not None
    assert "no bounds for 0" in certificates.unsupported


@pytest.mark.usefixtures("ruled")
def test_with_a_rule_it_gets_certificates() -> None:
    certificates = certify(network(HardSigmoid(0.5)), X, Y, Linf(0.1))
    assert certificates.unsupported is None
    assert certificates.certified.tolist() == [True, False]
    # (0.9 - 0.1) - (0.1 + 0.1), both halved
    assert float(certificates.margin[0]) == pytest.approx(0.3, abs=1e-4)


@pytest.mark.usefixtures("ruled")
def test_a_subclass_with_the_same_forward_has_the_rule_and_another_forward_has_not() -> None:
    class Named(HardSigmoid):
        pass

    class Louder(HardSigmoid):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).square()

    assert certify(network(Named(0.5)), X, Y, Linf(0.1)).unsupported is None
    assert "no bounds for 0" in str(certify(network(Louder(0.5)), X, Y, Linf(0.1)).unsupported)


@pytest.mark.usefixtures("ruled")
def test_a_rule_that_does_not_compute_what_the_layer_does_is_refused() -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.lerp(x, x * x, 0.5)

    register_rule(Wrong)(lambda call: ([], (call.source().step,)))
    certificates = certify(network(Wrong()), X, Y, Linf(0.01))
    del LAYER_RULES[Wrong]
    assert "does not compute what its layers say" in str(certificates.unsupported)
    with pytest.raises(UsageError, match="HardSigmoid has a rule already"):
        register_rule(HardSigmoid)(lower_hard_sigmoid)


def test_a_rule_that_holds_at_the_samples_alone_is_refused() -> None:
    class Bent(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x > 0.58, -x, x)

    register_rule(Bent)(lambda call: ([], (call.source().step,)))
    x = torch.tensor([[0.55, 0.1], [0.55, 0.2]]).reshape(2, 1, 1, 2)
    certificates = certify(network(Bent()), x, Y, Linf(0.1))
    del LAYER_RULES[Bent]
    assert not certificates.certified.any()
    assert "does not compute what its layers say" in str(certificates.unsupported)


class Contrast(Transform):
    """Twice the distance to grey, clamped: a transform of operations that have bounds."""

    input_gradient = "straight-through"

    def transform(self, x: Tensor) -> Tensor:
        return (2 * (x - 0.5) + 0.5).clamp(0.0, 1.0)


def test_a_transform_needs_no_rule_if_its_operations_have_one() -> None:
    certificates = certify(network(Contrast()), X, Y, Linf(0.1))
    assert certificates.certified.tolist() == [True, False]


def test_a_transform_that_is_random_or_has_no_bounds_is_named() -> None:
    class Rounding(Transform):
        def transform(self, x: Tensor) -> Tensor:
            return x.round()

    class Noise(Transform):
        random = True

        def transform(self, x: Tensor) -> Tensor:
            return x + 0.1 * torch.randn_like(x)

    assert "no bounds for 0 (round)" in str(
        certify(network(Rounding()), X, Y, Linf(0.1)).unsupported
    )
    assert "0 (Noise): it is random" in str(certify(network(Noise()), X, Y, Linf(0.1)).unsupported)


def test_constants_of_a_float64_network_are_not_rounded_to_float32() -> None:
    """0.1 in float32 is larger by 1.5e-9 than in float64."""

    class Shifted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            low, high = x[:, :1], x[:, 1:]
            return torch.cat([low - 0.1, high], 1)

    net = nn.Sequential(nn.Flatten(), Shifted(), nn.Identity())
    net.register_buffer("unused", torch.zeros(1, dtype=torch.float64))
    x = torch.tensor([0.1 + 1e-9, 0.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    certificates = certify(net.eval(), x, torch.tensor([0]), Linf(0.0))
    assert certificates.unsupported is None


def test_the_example_of_the_documentation_gets_certificates() -> None:
    example = blocks((ROOT / "docs" / "certification.md").read_text("utf-8"), "python")[0]
    net, x = build("relu").eval(), images(8)
    net[3] = nn.Softsign()
    y = net(x).argmax(1)
    assert "(Softsign)" in str(certify(net, x, y, Linf(0.01)).unsupported)
    exec(example, {"__name__": "example"})
    try:
        certificates = certify(net, x, y, Linf(0.01))
        graph, region = graph_of(net, x), Region.around(x, Linf(0.1))
    finally:
        del LAYER_RULES[nn.Softsign]
    assert certificates.unsupported is None
    assert bool(certificates.certified.any())
    with torch.no_grad():
        tight = crown_intervals(graph, region, propagate(graph, region)).intervals[-1]
        for point in points(Linf(0.1), x, 20):
            assert bool(((tight.low <= net(point)) & (net(point) <= tight.high)).all())
