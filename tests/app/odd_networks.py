"""Networks that people bring, on 8 x 8 digits; factories for `file.py:factory`."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn


def net(channels: int = 1) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Conv2d(channels, 4, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
        return nn.Sequential(*layers)


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Any:
        return self.net(x)


class Two(Around):
    def forward(self, x: Tensor) -> Any:
        logits = self.net(x)
        return logits, 0.5 * logits


class Named(Around):
    def forward(self, x: Tensor) -> Any:
        return SimpleNamespace(logits=self.net(x), loss=None)


class Mapped(Around):
    def forward(self, x: Tensor) -> Any:
        return {"logits": self.net(x)}


class Inference(Around):
    @torch.inference_mode()
    def forward(self, x: Tensor) -> Any:
        return self.net(x)


class Locked(Around):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class NoCopy(Around):
    def __deepcopy__(self, memo: object) -> Any:
        raise ValueError("one of a kind")


class NoEval(Around):
    def eval(self) -> Any:
        raise ValueError("no such mode")


class NoTraining(Around):
    def forward(self, x: Tensor) -> Any:
        if self.training:
            raise ValueError("labels are missing")
        return self.net(x)


class Exits(Around):
    def forward(self, x: Tensor) -> Any:
        raise SystemExit(0)


class NoMove(Around):
    def to(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("stays here")


class Halts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise ValueError("not differentiable")


class NoBackward(Around):
    def forward(self, x: Tensor) -> Any:
        return self.net(Halts.apply(x))


def hooked() -> nn.Module:
    def hook(*_given: object) -> None:
        raise ValueError("the hook broke")

    model = Around()
    model.net[1].register_forward_hook(hook)
    return model


def exported() -> Any:
    batch = {0: torch.export.Dim("batch")}
    return torch.export.export(net(), (torch.rand(2, 1, 8, 8),), dynamic_shapes=(batch,))


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(net(), {nn.Linear}, dtype=torch.qint8)


def compiled() -> Any:
    return torch.compile(net(), backend="eager")


def function() -> Any:
    return lambda x: x.flatten(1)[:, :10]


def many() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12))


def half() -> nn.Module:
    return net().bfloat16()


def lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(10))


def switches() -> nn.Module:
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    return net()
