"""Networks that a careless attack would disturb: dropout, batch norm, frozen and odd parts."""

import torch
from torch import Tensor, nn

from tempering.core.random import RandomStreams


def busy_net(shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Convolution, batch norm and dropout, in training mode but for one part; float64."""
    torch.manual_seed(classes)
    channels, height, width = shape
    net = nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.SiLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(4 * height * width, classes),
    ).double()
    net.train()
    net(torch.rand(8, *shape, dtype=torch.float64))  # statistics that are not those of a fresh net
    net[0].eval()
    net[5].bias.requires_grad_(False)
    net[5].weight.grad = torch.ones_like(net[5].weight)
    return net


SHAPES = {
    (2, 5, 4): 5,
    (1, 1, 1): 2,
    (3, 6, 5): 1000,
    (1, 1, 7): 3,
    (17, 2, 3): 4,
}
"""Every image shape that the suite uses, and how many classes its network tells apart."""


class Twins(nn.Module):
    """An attacker's model for images of any of these shapes: the network of that shape."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleDict({str(norm): busy_net(norm, SHAPES[norm]) for norm in SHAPES})
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.nets[str(tuple(x.shape[1:]))](x)
        return logits


def images(n: int, shape: tuple[int, int, int]) -> Tensor:
    """Images of which a third of the pixels is exactly 0 or 1."""
    streams = RandomStreams.of(21, n)
    x = streams.uniform(shape).double()
    end = streams.derive("end").uniform(shape)
    return torch.where(end < 1 / 3, (x > 0.5).double(), x)


def predictions(net: nn.Module, x: Tensor) -> Tensor:
    """What a network answers in evaluation mode; it is put back."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    with torch.no_grad():
        answers = net(x).argmax(1)
    for module, mode in modes.items():
        module.training = mode
    return answers


class Poisoned(nn.Module):
    """Answers bright images with a number that is none."""

    def __init__(self, net: nn.Module, value: float) -> None:
        super().__init__()
        self.net = net
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        bright = x.flatten(1).mean(1, keepdim=True) > 0.8
        logits: Tensor = self.net(x)
        return logits.where(~bright, torch.full_like(logits, self.value))
