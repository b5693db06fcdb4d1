"""Every layer without bounds abstains with its name, and nothing passes as what it is not."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.certification import certify
from tempering.certification.interval import propagate
from tempering.certification.lowering import graph_of
from tempering.certification.operations import IntervalTensor
from tempering.certification.region import Region
from tempering.core.threats import Linf
from tempering.models import MODELS
from tempering.models import build as build_model
from tests.certification.nets import NETS, SHAPE, build, images

STAGES: dict[str, nn.Module] = {
    "BatchNorm2d": nn.BatchNorm2d(2, track_running_stats=False),
    "InstanceNorm2d": nn.InstanceNorm2d(2, track_running_stats=True),
    "LPPool2d": nn.LPPool2d(2, 1),
    "AdaptiveMaxPool2d": nn.AdaptiveMaxPool2d(6),
    "Upsample": nn.Upsample(size=6, mode="bicubic"),
    "MaxPool2d": nn.MaxPool2d(4, 3, ceil_mode=True),
    "Softsign": nn.Softsign(),
    "Hardshrink": nn.Hardshrink(),
    "ELU": nn.ELU(-1.0),
}


def sequence(stage: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Identity(),
        nn.Sequential(nn.ReLU(), stage),
        nn.Flatten(),
        nn.LazyLinear(3),
    )


def reason(net: nn.Module) -> str:
    x = images(4)
    net(x)
    certificates = certify(net, x, torch.zeros(4, dtype=torch.int64), Linf(0.1))
    assert not bool(certificates.certified.any())
    return str(certificates.unsupported)


@pytest.mark.parametrize("kind", STAGES)
def test_a_layer_without_bounds_is_named(kind: str) -> None:
    message = reason(sequence(STAGES[kind]))
    assert f"1.1 ({kind})" in message


def test_an_unsupported_layer_is_named_with_what_to_use_instead() -> None:
    assert "(Softsign): use Tanh" in reason(sequence(nn.Softsign()))
    assert "(Tanhshrink): use a layer listed in docs" in reason(sequence(nn.Tanhshrink()))
    assert "with mode='bicubic': use nearest or bilinear" in reason(
        sequence(nn.Upsample(size=6, mode="bicubic"))
    )


def test_a_root_of_what_may_be_0_is_named() -> None:
    assert "block (NegatedRoot): its values may overflow" in reason(Own(lambda _, x: x.sqrt()))


def test_a_divisor_that_may_be_zero_is_named() -> None:
    assert "block (Reciprocal): its values may overflow" in reason(Own(lambda _, x: 1 / (x - 0.3)))


class Own(nn.Module):
    def __init__(self, run) -> None:
        super().__init__()
        self.block = Block(run)
        self.head = nn.Linear(72, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(x).flatten(1))


class Block(nn.Module):
    def __init__(self, run) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.register_buffer("count", torch.ones(1))
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def _overwrites(block: Block, x: Tensor) -> Tensor:
    h = x - 0.5
    return block.relu(h.view(-1, *SHAPE)) + h


def _overwrites_silently(_block: Block, x: Tensor) -> Tensor:
    h = x - 0.5
    h.relu_()
    return h


def _counts(block: Block, x: Tensor) -> Tensor:
    block.count.add_(1)
    return x * block.count


FORWARDS = {
    "softmax": lambda _, x: F.softmax(x, 0),
    "pow": lambda _, x: x**3,
    "rand": lambda _, x: x + torch.rand(x.size()),
    "sort": lambda _, x: x.sort(1)[0],
    "mean": lambda _, x: x - x.mean(0),
    "roll": lambda _, x: x.roll(1, 1),
    "rand_like": lambda _, x: x + torch.rand_like(x),
    "bernoulli": lambda _, x: torch.bernoulli(x),
    "mul by size": lambda _, x: x * x.size(0),
    "branches on the number of images": lambda _, x: x if x.shape[0] > 1 else -x,
    "branches on the size": lambda _, x: x if x.numel() < 1000 else -x,
    "another type": lambda _, x: x.double().float(),
    "transpose": lambda _, x: x.transpose(0, 1).transpose(0, 1),
    "inplace, seen": _overwrites,
    "inplace, unused": _overwrites_silently,
    "inplace on a buffer": _counts,
    "round": lambda _, x: x.round(),
    "branches on values": lambda _, x: x if x.sum() > 0 else -x,
    "custom gradient": lambda _, x: Passing.apply(x),
}


class Passing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


@pytest.mark.parametrize("name", FORWARDS)
def test_a_forward_without_bounds_is_named(name: str) -> None:
    net = Own(FORWARDS[name])
    count = net.block.count.clone()
    message = reason(net)
    assert "block" in message
    if name != "inplace on a buffer":
        assert torch.equal(net.block.count, count)


def test_what_only_seems_to_be_a_layer_is_seen() -> None:
    class Louder(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).sin()

    assert "(sin)" in reason(nn.Sequential(nn.Flatten(), Louder(72, 3)))
    hooked = build("relu")
    hooked[2].register_forward_hook(lambda _m, _i, out: out + 1)
    assert "2 (Conv2d): hooks" in reason(hooked)
    replaced = build("relu")
    replaced[3].forward = torch.abs
    assert "3 (ReLU): its forward was replaced" in reason(replaced)


def test_noise_baked_into_a_trace_is_seen() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(72, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.flatten(1) + torch.randn(72))

    assert "its forward pass draws random numbers" in reason(Noisy())


def test_rounding_to_fewer_bits_is_seen() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = build("relu")

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return self.net(x).float()

    assert "no bounds for" in reason(Mixed())
    half = certify(
        build("relu").bfloat16(), images(2), torch.zeros(2, dtype=torch.int64), Linf(0.1)
    )
    assert "bfloat16" in str(half.unsupported)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_steps_compute_what_the_network_does_and_no_more_than_its_rounding(
    name: str, dtype: torch.dtype
) -> None:
    net, x = build(name, dtype), images(5).to(dtype)
    graph = graph_of(net, x)
    wide = x.double()
    own = propagate(graph, Region("linf", wide, 0.0, IntervalTensor(wide, wide))).intervals[-1]
    with torch.no_grad():
        logits = net(x).double()
    assert bool((logits >= own.low).all())
    assert bool((logits <= own.high).all())
    limit = 3e-3 if dtype == torch.float32 else 1e-8
    assert float((own.high - own.low).max()) < limit * (1 + float(logits.abs().max()))


def test_a_vote_has_no_bounds_on_its_inputs() -> None:
    net = build_model("voting", shape=(1, 8, 8), classes=3, seed=1).eval()
    certificates = certify(net, images(3, (1, 8, 8)), torch.tensor([0, 1, 2]), Linf(1e-4))
    assert certificates.unsupported is not None
    assert not bool(certificates.certified.any())


def test_a_choice_between_transforms_has_no_bounds() -> None:
    net = build_model("routed", shape=(1, 8, 8), classes=3, seed=1).eval()
    x = images(3, (1, 8, 8))
    certificates = certify(net, x, net(x).argmax(1), Linf(1e-4), methods=("interval",))
    assert "no bounds for the model (Routed)" in str(certificates.unsupported)
    assert not certificates.certified.any()


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("routed", "voting")])
def test_every_network_of_ours_has_bounds(name: str) -> None:
    small: dict[str, dict[str, int]] = {"preact_resnet18": {"width": 4}, "wrn": {"widen": 1}}
    net = build_model(name, shape=(1, 8, 8), classes=3, seed=1, **small.get(name, {}))
    x = images(3, (1, 8, 8))
    with torch.no_grad():
        y = net.eval()(x).argmax(1)
    certificates = certify(net, x, y, Linf(1e-4), methods=("interval",))
    assert certificates.unsupported is None
    assert bool(certificates.margin.isfinite().all())
