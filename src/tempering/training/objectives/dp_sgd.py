"""DP-SGD: the gradient of every sample is clipped, and noise is added to their sum."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from tempering.core.engine import bare_module
from tempering.core.errors import ModelError, UsageError
from tempering.core.outputs import logits_in
from tempering.training.objective import Batch, Losses, require_between
from tempering.training.wrapper import Wrapper

Weights = dict[str, Tensor]
"""Name of a parameter -> its value or gradient."""

CHUNK = 16
"""Samples whose gradients are held at a time."""


@dataclass(frozen=True)
class DPSGD(Wrapper):
    """The wrapped objective with clipped gradients of single samples and Gaussian noise.

    Abadi et al., 'Deep learning with differential privacy', 2016, algorithm 1; against
    poisoned data: Hong et al., 'On the effectiveness of mitigating data poisoning attacks
    with gradient shaping', 2020. Gradients are computed by `torch.func`, so that Opacus is
    needed for the privacy budget alone: see `privacy_budget`.

    Attributes:
        inner: The objective that is wrapped; no other wrapper.
        clip: The L2 norm to which the gradient of a sample is clipped.
        noise: Standard deviation of the noise on the sum of a batch, in units of `clip`.

    Raises:
        UsageError: If a parameter makes no sense, or the wrapped objective mixes samples.

    Example:
        >>> DPSGD(clip=1, noise=0.5).spec()
        'dp:clip=1,noise=0.5+standard:label_smoothing=0'
    """

    name: ClassVar[str] = "dp"
    source: ClassVar[str] = "Abadi et al., 2016"

    clip: float = 1.0
    noise: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_between(self.name, "clip", self.clip, 1e-6, math.inf)
        require_between(self.name, "noise", self.noise, 0.0, math.inf)
        if not self.inner.single_samples:
            raise UsageError(
                f"{self.name} does not wrap {self.inner.name}, which has no gradient of a single "
                "sample: wrap standard, paper, trades, mart or gaussian-noise"
            )

    def require_model(self, model: nn.Module) -> None:
        """No layer mixes the samples of a batch."""
        super().require_model(model)
        for name, layer in model.named_modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                raise ModelError(
                    f"{self.name}: layer {name} is a {type(layer).__name__}, which mixes the "
                    "samples of a batch: use GroupNorm"
                )

    def __call__(self, model: nn.Module, batch: Batch) -> Losses:
        """The wrapped losses; their weighted sum has the clipped and noisy gradient.

        Raises:
            UsageError: In more than one process.
        """
        batch.require_one_process(self.name)
        network = bare_module(model)
        trained: Weights = {name: p for name, p in network.named_parameters() if p.requires_grad}
        total = {name: torch.zeros_like(p) for name, p in trained.items()}
        values, logits, norms = [], [], []
        for rows in torch.split(torch.arange(batch.size), CHUNK):
            gradients, value, answer = self._gradients(network, trained, batch, rows)
            norm = _norms(gradients)
            factor = (self.clip / norm.clamp_min(1e-12)).clamp_max(1.0)
            for name, gradient in gradients.items():
                total[name] += torch.einsum("n,n...->...", factor.to(gradient.dtype), gradient)
            values.append(value)
            logits.append(answer)
            norms.append(norm)
        scale = self.noise * self.clip
        slope = {
            name: (summed + scale * torch.randn_like(summed)) / batch.size
            for name, summed in total.items()
        }
        line = sum(_products(trained, slope), start=torch.zeros((), device=batch.x.device))
        norm = torch.cat(norms)
        scalars = {"gradient_norm": norm.mean(), "clipped": (norm > self.clip).float().mean()}
        return Losses(torch.cat(values) + (line - line.detach()), torch.cat(logits), scalars)

    def _gradients(
        self, network: nn.Module, trained: Weights, batch: Batch, rows: Tensor
    ) -> tuple[Weights, Tensor, Tensor]:
        """Gradients of the weighted losses of some samples, their losses, and logits."""
        x_adv = batch.x if batch.x_adv is None else batch.x_adv

        def loss(parameters: Weights, *sample: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            x, x_adv, y, targets, weight, index, row = (value[None] for value in sample)
            alone = replace(
                batch,
                x=x,
                x_adv=None if batch.x_adv is None else x_adv,
                y=y,
                targets=targets,
                weights=weight,
                streams=replace(batch.streams, index=index),
                rows=row,
            )

            def answer(images: Tensor) -> object:
                called = torch.func.functional_call(network, parameters, (images.clone(),))
                return logits_in(called)

            losses = self.inner(answer, alone)  # type: ignore[arg-type]
            value = losses.per_sample[0]
            return value * weight[0] * batch.size, (value, losses.logits[0])

        given = (
            *(batch.x, x_adv, batch.y, batch.targets),
            *(batch.weights, batch.streams.index, batch.rows.to(batch.x.device)),
        )
        start = {name: p.detach() for name, p in trained.items()}
        each = torch.func.vmap(
            torch.func.grad(loss, has_aux=True),
            in_dims=(None, *(0 for _ in given)),
            randomness="different",
        )
        gradients, (value, logits) = each(start, *(part[rows] for part in given))
        return gradients, value.detach(), logits.detach()


def _norms(gradients: Weights) -> Tensor:
    """L2 norm of each sample's gradient over all parameters, shape (n,)."""
    flat = [gradient.flatten(1).float() for gradient in gradients.values()]
    return torch.cat(flat, 1).square().sum(1).sqrt()


def _products(parameters: Weights, slope: Weights) -> Iterator[Tensor]:
    return ((parameters[name] * slope[name]).sum() for name in parameters)
