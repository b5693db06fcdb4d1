"""Attribution: how much each pixel contributes to one logit, with captum."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tempering.core.errors import UsageError
from tempering.core.probe import Probe
from tempering.core.random import RandomStreams
from tempering.core.user_code import users_code

INTEGRATED, SMOOTHGRAD, OCCLUSION = "integrated gradients", "SmoothGrad", "occlusion"
METHODS = (INTEGRATED, SMOOTHGRAD, OCCLUSION)


@dataclass(frozen=True)
class AttributionSettings:
    """Settings of all methods.

    Attributes:
        steps: Of integrated gradients, from a black image (Sundararajan, Taly and Yan, 2017).
        draws: Of SmoothGrad (Smilkov et al., 2017).
        sigma: Standard deviation of its noise, in units of images in [0, 1].
        window: Side of the black square of occlusion, as a share of the image's shorter side
            (Zeiler and Fergus, 2014); it moves by half of its side.
    """

    steps: int = 32
    draws: int = 16
    sigma: float = 0.1
    window: float = 1 / 7

    def described(self) -> dict[str, dict[str, Any]]:
        """Method -> its settings, for the record."""
        return {
            INTEGRATED: {"steps": self.steps, "baseline": "black"},
            SMOOTHGRAD: {"draws": self.draws, "sigma": self.sigma},
            OCCLUSION: {"window": round(self.window, 4), "baseline": "black"},
        }


def require_captum() -> str:
    """Check that captum is installed.

    Returns:
        Its version.

    Raises:
        UsageError: If it is missing.
    """
    try:
        with _quiet():
            import captum
    except ImportError as error:
        raise UsageError(
            "explanations need the library captum: pip install 'tempering[explain]'"
        ) from error
    return str(captum.__version__)


def attributions(
    probe: Probe,
    x: Tensor,
    outputs: Tensor,
    streams: RandomStreams,
    settings: AttributionSettings | None = None,
    batch_size: int = 256,
) -> dict[str, Tensor]:
    """Attributions of one logit of each image, by all methods.

    Gradients are those that the model's stages declare, as attacks see them.

    Args:
        probe: The model.
        x: Images in [0, 1], shape (n, c, h, w).
        outputs: Which logit of each image is explained, shape (n,), int64.
        streams: One stream a sample, for SmoothGrad.
        settings: Of the methods.
        batch_size: Images that the model is given at a time.

    Returns:
        Method -> attribution, shape and dtype of x; SmoothGrad has absolute values.

    Raises:
        ModelError: If the model fails.
        NoGradientError: If its logits have no gradient.
        UsageError: If captum is missing.

    Example:
        `attributions(probe, x, predicted, RandomStreams.of(0, len(x)))["occlusion"]`
    """
    settings = settings or AttributionSettings()
    require_captum()
    x = x.detach()
    if len(x):
        probe.gradient(x[:1], lambda logits: logits.gather(1, outputs[:1, None])[:, 0])
    with _quiet(), users_code("the model cannot be explained", "correct its backward pass"):
        return {
            INTEGRATED: _integrated(probe, x, outputs, settings, batch_size),
            SMOOTHGRAD: _smoothgrad(probe, x, outputs, streams, settings, batch_size),
            OCCLUSION: _occlusion(probe, x, outputs, settings, batch_size),
        }


def heat(attribution: Tensor) -> Tensor:
    """Absolute attribution of each pixel, summed over channels, shape (n, h, w)."""
    return attribution.abs().sum(1)


def _integrated(
    probe: Probe, x: Tensor, outputs: Tensor, settings: AttributionSettings, batch_size: int
) -> Tensor:
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(probe.differentiable)
    part = max(1, batch_size // settings.steps)
    return torch.cat(
        [
            method.attribute(
                x[rows], baselines=0.0, target=outputs[rows], n_steps=settings.steps
            ).to(x.dtype)
            for rows in _slices(len(x), part)
        ]
    ).detach()


def _smoothgrad(
    probe: Probe,
    x: Tensor,
    outputs: Tensor,
    streams: RandomStreams,
    settings: AttributionSettings,
    batch_size: int,
) -> Tensor:
    """Mean absolute gradient of noisy copies; the noise is that of the sample's own stream."""
    from captum.attr import Saliency

    method, total = Saliency(probe.differentiable), torch.zeros_like(x)
    for draw in range(settings.draws):
        noise = streams.derive("smoothgrad", draw).on(x.device).normal(x.shape[1:]).to(x.dtype)
        noisy = x + settings.sigma * noise
        for rows in _slices(len(x), batch_size):
            leaf = noisy[rows].clone().requires_grad_(True)
            total[rows] += method.attribute(leaf, target=outputs[rows], abs=True).detach()
    return total / settings.draws


def _occlusion(
    probe: Probe, x: Tensor, outputs: Tensor, settings: AttributionSettings, batch_size: int
) -> Tensor:
    from captum.attr import Occlusion

    channels, height, width = x.shape[1:]
    side = min(max(1, round(settings.window * min(height, width))), height, width)
    stride = max(1, side // 2)
    method, part = Occlusion(probe.logits), min(len(x), batch_size)
    return torch.cat(
        [
            method.attribute(
                x[rows],
                sliding_window_shapes=(channels, side, side),
                strides=(channels, stride, stride),
                baselines=0.0,
                target=outputs[rows],
                perturbations_per_eval=max(1, batch_size // max(1, part)),
            ).to(x.dtype)
            for rows in _slices(len(x), part)
        ]
    ).detach()


def _slices(n: int, part: int) -> Iterator[slice]:
    for at in range(0, n, part):
        yield slice(at, at + part)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of captum and of what it imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
