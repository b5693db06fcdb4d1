"""Planted defences: each makes a weak model look strong, or an attack look weak, in one way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.protocols import Transform


class Defended(nn.Module):
    """A network behind, or in front of, something."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Rounded(Defended):
    """Five greys are left of each pixel: the gradient is zero everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.round(x * 4) / 4)


class Cut(Defended):
    """Leaves autograd."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.detach())


class StraightThrough(Defended):
    """Black or white, with the gradient of the identity in the place of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + ((x > 0.5).to(x.dtype) - x).detach())


class Reversed(Defended):
    """Answers as ever, and turns its gradient around."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net((2 * x).detach() - x)


class Jitter(Defended):
    """Noise on the image, new at every look."""

    def __init__(self, net: nn.Module, size: float = 0.2) -> None:
        super().__init__(net)
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + self.size * torch.randn_like(x))


class Remembers(Defended):
    """Grows surer with every look."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.looks = 0

    def forward(self, x: Tensor) -> Tensor:
        self.looks += 1
        return self.net(x) * (1 + 0.1 * self.looks)


class Together(Defended):
    """Takes the mean of the batch away from every image."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x - 0.2 * x.mean(0, keepdim=True))


class Probabilities(Defended):
    """Ends in a softmax."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).softmax(1)


class LogProbabilities(Defended):
    """Ends in the logarithm of a softmax."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).log_softmax(1)


class Saturated(Defended):
    """Ends in a softmax of four times its logits: next to nothing but 0 and 1 is left."""

    def forward(self, x: Tensor) -> Tensor:
        return (4 * self.net(x)).softmax(1)


class WantsBytes(Defended):
    """Was made for pixels from 0 to 255."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x / 255)


class WantsNormalised(Defended):
    """Was made for pixels of mean 0 and deviation 1."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * 0.3081 + 0.1307)


class Ripple(Defended):
    """Adds waves so short that the gradient points anywhere, and so high that it is steep."""

    def __init__(self, net: nn.Module, height: float = 0.25, waves: float = 2000.0) -> None:
        super().__init__(net)
        self.height, self.waves = height, waves

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + self.height * torch.sin(self.waves * x))


class Astray(Defended):
    """A stage that declares a gradient of the wrong sign, while its own is honest."""

    class Stage(Transform):
        input_gradient = "approximation"

        def transform(self, x: Tensor) -> Tensor:
            return x

        def approximation(self, x: Tensor) -> Tensor:
            return -x

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        self.stage = Astray.Stage()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.stage(x))


class Picky(Defended):
    """Takes no batch of fewer than 30 images."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) < 30:
            raise RuntimeError(f"a batch of {len(x)}: at least 30 are needed")
        return self.net(x)


class Ring(nn.Module):
    """One pixel; class 1 wins within a narrow band at some distance from 1/2, else class 0."""

    def __init__(self, distance: float, width: float) -> None:
        super().__init__()
        self.distance, self.width = distance, width

    def forward(self, x: Tensor) -> Tensor:
        off = ((x.flatten(1) - 0.5).abs() - self.distance).abs()
        return torch.cat([torch.zeros_like(off), 20 * (self.width - off)], 1)


class Standardises(Defended):
    """Divides by the deviation of each image: the slope is infinite for an image of one value."""

    def forward(self, x: Tensor) -> Tensor:
        away = x - x.mean((1, 2, 3), keepdim=True)
        return self.net(away / (away.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-3))


class _Unfinished(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise RuntimeError("not written yet")


class FailsBackward(Defended):
    """A step whose backward pass raises an exception."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(_Unfinished.apply(x))


class Votes(Defended):
    """Answers 1 for the winner, and 0 for all others."""

    def forward(self, x: Tensor) -> Tensor:
        logits = self.net(x)
        return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(x.dtype)


class Code(Defended):
    """Saturated bits of an error-correcting code; scores are matches with each class's word."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(net)
        word = torch.ones(1, 1)
        for _ in range(4):
            word = torch.cat([torch.cat([word, word], 1), torch.cat([word, -word], 1)])
        self.register_buffer("word", word[1:11])

    def forward(self, x: Tensor) -> Tensor:
        bits = torch.tanh(40 * (self.net(x).softmax(1) @ self.word))
        return (bits @ self.word.T).clamp_min(0) / 16
