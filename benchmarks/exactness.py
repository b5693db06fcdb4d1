"""Compares bounds of small random networks with exact minimum margins."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from journal import Row
from matrices import Around, Array, Ball, Crown, Sum, layers_of
from tempering.attacks import PGD
from tempering.certification import METHODS, Certificates, certify
from tempering.certification.crown import crown_lower_bound
from tempering.certification.hidden_intervals import crown_intervals
from tempering.certification.interval import StepBounds, propagate
from tempering.certification.lowering import graph_of
from tempering.certification.region import Region
from tempering.core.random import RandomStreams
from tempering.core.threats import L1, L2, TOLERANCE, Linf, Threat
from tempering.models.seeded import seeded

SHAPE = (2, 6, 6)
IMAGES = 2
OUTPUTS = 3
THREATS: tuple[Threat, ...] = (Linf(0.05), L2(0.25), L1(0.25))


def _head(size: int) -> tuple[nn.Module, ...]:
    return nn.Flatten(), nn.Linear(size, OUTPUTS)


def _conv(inputs: int = 4, step: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, 4, 3, step, 1)


NETS: dict[str, Callable[[], nn.Module]] = {
    "linear layers, ReLU": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(72, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)
    ),
    "convolutions, ReLU": lambda: nn.Sequential(
        _conv(2), nn.ReLU(), _conv(step=2), nn.ReLU(), *_head(36)
    ),
    "residual, batch norm, ReLU": lambda: nn.Sequential(
        _conv(2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        Around(_conv(), nn.ReLU(), _conv()),
        nn.ReLU(),
        *_head(144),
    ),
    "convolutions, sigmoid": lambda: nn.Sequential(
        _conv(2), nn.Sigmoid(), _conv(step=2), nn.Sigmoid(), *_head(36)
    ),
    "convolutions, tanh": lambda: nn.Sequential(
        _conv(2), nn.Tanh(), _conv(step=2), nn.Tanh(), *_head(36)
    ),
    "max-pooling, ReLU": lambda: nn.Sequential(
        _conv(2), nn.MaxPool2d(2), nn.ReLU(), _conv(), nn.MaxPool2d(2, 1), nn.ReLU(), *_head(16)
    ),
    "average pooling, ReLU": lambda: nn.Sequential(
        _conv(2), nn.ReLU(), nn.AvgPool2d(2), _conv(), nn.ReLU(), *_head(36)
    ),
}
"""What is bounded by both; weights are twice those of fresh layers, so that much is open."""


def random_net(kind: str, seed: int) -> nn.Module:
    """A network with weights and statistics of its seed, in float64 and evaluation mode."""
    with seeded(seed):
        net = NETS[kind]().double().eval()
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.data.mul_(2.0)
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.running_mean, std=0.2)
                nn.init.uniform_(part.running_var, 0.2, 1.0)
    return net


def agreement(kind: str, threat: Threat, nets: int) -> Row:
    """How far our CROWN is from the one with matrices, and from images that were tried.

    Args:
        kind: One of `NETS`.
        threat: One of `THREATS`.
        nets: How many, each with its own weights and images.

    Returns:
        Over all margins of all images: the largest absolute difference of a float64 network;
        by how much the bound of the same network in float32 lies lower at most; bounds above
        the matrices' by more than 1e-9; and bounds above a margin that some image has.
    """
    wide, single, above, beaten, count = 0.0, 0.0, 0, 0, 0
    for seed in range(nets):
        net = random_net(kind, seed)
        x = _images(threat, seed)
        ours = crown(net, x, threat)
        theirs = torch.cat([torch.from_numpy(_by_matrices(net, image, threat)) for image in x])
        met = _least_met(net, x, threat, seed)
        coarse = crown(net.float(), x.float(), threat)
        wide = max(wide, float((ours - theirs).abs().max()))
        single = max(single, float((theirs - coarse).max()))
        above += int((torch.cat([ours, coarse]) > theirs.repeat(2) + 1e-9).sum())
        beaten += int((torch.cat([ours, coarse]) > met.repeat(2)).sum())
        count += len(ours)
    return {
        "bounds": count,
        "difference": wide,
        "float32_below": single,
        "above": above,
        "beaten": beaten,
    }


def _images(threat: Threat, seed: int) -> Tensor:
    """Images that L-inf balls stick out of the box at, or that other balls do not reach it from."""
    low, high = (-0.2, 1.2) if threat.name == "linf" else (0.3, 0.7)
    return RandomStreams.of(seed, IMAGES).uniform(SHAPE, low, high).clamp(0.0, 1.0).double()


def _ways() -> Tensor:
    """The margins of output 0, as coefficients of the logits."""
    eye = torch.eye(OUTPUTS, dtype=torch.float64)
    return eye[:1] - eye[1:]


def crown(net: nn.Module, x: Tensor, threat: Threat) -> Tensor:
    """Our CROWN bounds of output 0 less each other one, image after image."""
    graph, region = graph_of(net, x), Region.around(x, threat)
    bounds: StepBounds = crown_intervals(graph, region, propagate(graph, region))
    rows = torch.arange(len(x)).repeat_interleave(OUTPUTS - 1)
    last = len(graph.steps) - 1
    return crown_lower_bound(graph, bounds, region, last, rows, _ways().repeat(len(x), 1))[0]


def _slack(threat: Threat) -> float:
    return TOLERANCE * max(1.0, threat.eps)


def _by_matrices(net: nn.Module, image: Tensor, threat: Threat) -> Array:
    slack = _slack(threat)
    ball = Ball(image.flatten().numpy(), threat.eps + slack, threat.name, slack)
    return Crown(layers_of(net, SHAPE), ball).margins(_ways().numpy())


def _least_met(net: nn.Module, x: Tensor, threat: Threat, seed: int) -> Tensor:
    """The least margins on random images of the ball, corners among them."""
    least = torch.full((len(x), OUTPUTS - 1), torch.inf, dtype=torch.float64)
    for number in range(50):
        streams = RandomStreams.of(1000 * seed + number, len(x))
        point = threat.sample(x, streams)
        if number % 2:
            way = streams.derive("way").normal(SHAPE).sign().double()
            point = threat.project(x + threat.eps * way, x)
        with torch.no_grad():
            least = torch.minimum(least, net(point) @ _ways().T)
    return least.flatten()


TINY = (3, 4, 3, 2)
"""Widths of the networks whose least margin is computed by trying all patterns of signs."""
TINY_THREAT = Linf(0.4)
METHODS_UP_TO = {name: METHODS[: at + 1] for at, name in enumerate(METHODS)}


def tiny_net(seed: int) -> nn.Sequential:
    """Linear layers with ReLU between them, in float64."""
    with seeded(seed):
        stages: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise(TINY):
            layer = nn.Linear(before, after)
            layer.weight.data.mul_(2.0)
            stages += [layer, nn.ReLU()]
    return nn.Sequential(*stages[:-1]).double().eval()


def exact(nets: int, images: int) -> Row:
    """Verdicts and bounds of all methods beside the least margin itself.

    Args:
        nets: How many random networks.
        images: Of each.

    Returns:
        How many samples have a positive least margin; by method, with those before it, what was
        certified and refuted, and its bounds above the least margin; how many samples PGD fooled,
        and its margins below the least one.
    """
    truth: list[Tensor] = []
    by_method: dict[str, list[Certificates]] = {name: [] for name in METHODS}
    reached: list[Tensor] = []
    for seed in range(nets):
        net = tiny_net(seed)
        x = RandomStreams.of(seed, images).uniform((1, 1, TINY[0])).double()
        with torch.no_grad():
            y = net(x).argmax(1)
        least_margins = [_least_margin(net, *sample) for sample in zip(x, y, strict=True)]
        truth.append(torch.tensor(least_margins, dtype=torch.float64))
        for name, methods in METHODS_UP_TO.items():
            by_method[name].append(certify(net, x, y, TINY_THREAT, methods=methods))
        x_adv = PGD(steps=100, until_fooled=False)(net, x, y, TINY_THREAT)
        with torch.no_grad():
            logits = net(x_adv).double()
        own = logits.gather(1, y[:, None])[:, 0]
        reached.append(own - logits.gather(1, 1 - y[:, None])[:, 0])
    least, attacked = torch.cat(truth), torch.cat(reached)
    methods: dict[str, Row] = {}
    for name, batches in by_method.items():
        margin = torch.cat([batch.margin for batch in batches])
        certified = torch.cat([batch.certified for batch in batches])
        refuted = sum(len(batch.counterexamples) for batch in batches)
        methods[name] = {
            "certified": int(certified.sum()),
            "falsely": int((certified & (least <= 0)).sum()),
            "refuted": refuted,
            "above": int((margin > least + 1e-9).sum()),
        }
    return {
        "samples": len(least),
        "positive": int((least > 0).sum()),
        "methods": methods,
        "attack_fooled": int((attacked < 0).sum()),
        "attack_below": int((attacked < least - 1e-9).sum()),
    }


def _patterns(layers: list[Sum]) -> Iterator[list[Array]]:
    hidden = [len(layer.bias) for layer in layers[:-1]]
    for pattern in itertools.product((0.0, 1.0), repeat=sum(hidden)):
        yield np.split(np.array(pattern), np.cumsum(hidden)[:-1])


def _least_margin(net: nn.Sequential, image: Tensor, label: Tensor) -> float:
    """The least margin over ball and box: one linear program for each pattern of ReLU signs."""
    layers = [layer for layer in layers_of(net, (1, 1, TINY[0])) if isinstance(layer, Sum)]
    c = np.array([1.0, -1.0]) if int(label) == 0 else np.array([-1.0, 1.0])
    slack = _slack(TINY_THREAT)
    ball = Ball(image.flatten().numpy(), TINY_THREAT.eps + slack, "linf", slack)
    ends = list(zip(*ball.box(), strict=True))
    best = float("inf")
    for signs in _patterns(layers):
        (w,), b = layers[0].matrices, layers[0].bias
        rows, limits = [], []
        for sign, after in zip(signs, layers[1:], strict=True):
            way = 1 - 2 * sign
            rows.append(way[:, None] * w)
            limits.append(-way * b)
            (m,) = after.matrices
            w, b = m @ (sign[:, None] * w), m @ (sign * b) + after.bias
        answer = linprog(c @ w, np.concatenate(rows), np.concatenate(limits), bounds=ends)
        if answer.status == 0:
            best = min(best, float(answer.fun + c @ b))
    return best
