"""Small networks of layers beyond convolutions, linear layers and their activations."""

from collections.abc import Callable
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def after(*stages: nn.Module, size: int = 144) -> Callable[[], nn.Module]:
    """A convolution, the stages on (4, 6, 6), and a linear layer."""

    def build() -> nn.Module:
        first = nn.Conv2d(2, 4, 3, padding=1)
        return nn.Sequential(first, *deepcopy(stages), nn.Flatten(), nn.Linear(size, 3))

    return build


class Ways(nn.Module):
    """A convolution, a forward of its own, and a head."""

    def __init__(self, run: Callable[["Ways", Tensor], Tensor], width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1)
        self.matrix = nn.Parameter(torch.randn(36, 8) / 6)
        self.token = nn.Parameter(torch.randn(1, 1, 6) / 2)
        self.head = nn.Linear(width, 3)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.run(self, x).flatten(1))


def ways(run: Callable[[Ways, Tensor], Tensor], width: int) -> Callable[[], nn.Module]:
    return lambda: Ways(run, width)


class PairAttention(nn.Module):
    """Two heads over six rows of an image, with a residual connection and a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(12, 8), nn.LayerNorm(8, eps=0.1)
        self.inner, self.out = nn.Linear(8, 24), nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        h = self.embed(x.transpose(1, 2).reshape(n, 6, 12))
        query, key, value = self.inner(self.norm(h)).reshape(n, 6, 3, 2, 4).permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) / 2).softmax(-1)
        return self.out((h + (weights @ value).transpose(1, 2).reshape(n, 6, 8)).flatten(1))


class Fused(PairAttention):
    """The same in one call of torch."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x.transpose(1, 2).reshape(len(x), 6, 12))
        parts = self.inner(self.norm(h)).reshape(len(x), 6, 3, 2, 4).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        out = F.scaled_dot_product_attention(query, key, value)
        return self.out((h + out.transpose(1, 2).reshape(h.shape)).flatten(1))


class Chunks(PairAttention):
    """The same with `chunk` and `bmm`, and one head."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x.transpose(1, 2).reshape(x.shape[0], 6, 12))
        query, key, value = self.inner(self.norm(h)).chunk(3, dim=-1)
        weights = F.softmax(torch.bmm(query, key.mT) / 8**0.5, dim=-1)
        return self.out((h + torch.bmm(weights, value)).flatten(1))


def _extremes(net: Ways, x: Tensor) -> Tensor:
    left, right = net.first(x), net.second(x)
    least = torch.minimum(torch.maximum(left, right), torch.tensor(0.8))
    return torch.maximum(torch.minimum(least, right * 2), net.token - 0.5)


def _halves(net: Ways, x: Tensor) -> Tensor:
    a, b = torch.split(net.first(x).relu(), [1, 3], 1)
    c, *_ = b.unbind(1)
    joined = torch.stack([a[:, 0], c, b[:, 2]], 1)
    token = net.token.expand(len(x), -1, -1)
    return torch.cat([joined.sum(1), token, torch.zeros_like(c[:, :1])], 1)


def _gates(net: Ways, x: Tensor) -> Tensor:
    gate = net.second(x).mean((2, 3), keepdim=True).sigmoid()
    return net.first(x) * gate + net.first(x).square() - net.second(x).abs().exp() / 4


def _matrices(net: Ways, x: Tensor) -> Tensor:
    h = net.first(x).flatten(2) @ net.matrix
    h = torch.matmul(net.matrix[:6, :4], F.relu(h))
    return torch.addmm(net.head.bias[0].expand(5), h.flatten(1), net.matrix.new_ones(48, 5) / 48)


def _roots(net: Ways, x: Tensor) -> Tensor:
    h, g = net.first(x).relu() + 0.2, net.second(x)
    return h.sqrt() + torch.log(h) * 0.3 + (g.square().sum(1, keepdim=True) + 0.1).rsqrt() * g


def _quotients(net: Ways, x: Tensor) -> Tensor:
    return net.first(x) / (net.second(x).abs() + 0.5) + 1 / (net.first(x).exp() + 1)


MORE: dict[str, Callable[[], nn.Module]] = {
    "elu": after(nn.ELU(), nn.Conv2d(4, 4, 3, padding=1), nn.ELU(1.7)),
    "selu and celu": after(nn.SELU(), nn.Conv2d(4, 4, 3, padding=1), nn.CELU(0.6)),
    "hardswish": after(nn.Hardswish(), nn.Conv2d(4, 4, 3, padding=1), nn.Hardsigmoid()),
    "mish": after(nn.Mish(), nn.Conv2d(4, 4, 3, padding=1), nn.GELU("tanh")),
    "prelu": after(nn.PReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.PReLU(4, 1.4)),
    "negative leaky": after(nn.LeakyReLU(-0.3), nn.Conv2d(4, 4, 3, padding=1), nn.LeakyReLU(2.0)),
    "padding": after(
        nn.ReflectionPad2d((1, 2, 0, 1)), nn.ConstantPad2d(1, 0.3), nn.AvgPool2d(3, 2), size=80
    ),
    "padding modes": after(
        nn.Conv2d(4, 3, 3, padding=1, padding_mode="replicate"),
        nn.ReLU(),
        nn.Conv2d(3, 2, 3, padding=2, padding_mode="circular"),
        nn.ReLU(),
        nn.Conv2d(2, 2, 4, padding="same", padding_mode="reflect"),
        size=128,
    ),
    "transposed": after(
        nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1, groups=2), nn.ReLU(), size=288
    ),
    "transposed, dilated": after(nn.ConvTranspose2d(4, 2, (2, 3), dilation=(2, 1)), size=128),
    "nearest": after(nn.Upsample(scale_factor=1.7), nn.ReLU(), size=400),
    "bilinear": after(nn.Upsample(size=(7, 4), mode="bilinear"), nn.ReLU(), size=112),
    "bilinear, corners": after(nn.UpsamplingBilinear2d(scale_factor=2), size=576),
    "one dimension": after(
        nn.Flatten(2), nn.Conv1d(4, 3, 5, 2, 2), nn.ReLU(), nn.ConvTranspose1d(3, 2, 2), size=38
    ),
    "layer norm": after(nn.LayerNorm(6), nn.ReLU(), nn.LayerNorm((4, 6, 6), eps=1e-2)),
    "group norm": after(
        nn.GroupNorm(2, 4, 1e-2), nn.ReLU(), nn.InstanceNorm2d(4, 0.1, affine=True)
    ),
    "softmax": after(nn.Softmax(1)),
    "log softmax": lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 3), nn.LogSoftmax(1)),
    "extremes": ways(_extremes, 144),
    "halves": ways(_halves, 48),
    "gates": ways(_gates, 144),
    "matrices": ways(_matrices, 5),
    "quotients": ways(_quotients, 144),
    "roots": ways(_roots, 144),
    "largest": ways(lambda net, x: net.first(x).amax((2, 3)), 4),
    "moved around": ways(
        lambda net, x: net.first(x).movedim(1, -1).flip(1).repeat(1, 1, 2, 1).narrow(2, 3, 7), 168
    ),
    "attention": PairAttention,
    "chunks": Chunks,
    "fused": Fused,
}
