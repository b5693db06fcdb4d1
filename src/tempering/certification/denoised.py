"""Denoised smoothing: a denoiser in front of a classifier that saw no noise in training."""

from __future__ import annotations

from torch import Tensor, nn

from tempering.core.errors import ModelError


class Denoised(nn.Module):
    """A classifier of denoised images, for `Smoothing`.

    Salman, Sun, Yang, Kapoor and Kolter, 'Denoised smoothing: a provable defense for pretrained
    classifiers', 2020. Under noise most classifiers are at a loss; a denoiser that was trained for
    noise of this sigma makes them useful without any change. The certificate holds for the vote
    of both together.

    Attributes:
        denoiser: From noisy images, not cut to [0, 1], to images of the same shape.
        classifier: From images to logits.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> Denoised(nn.AvgPool2d(1), net)(torch.rand(3, 1, 2, 2)).shape
        torch.Size([3, 2])
    """

    def __init__(self, denoiser: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs).

        Raises:
            ModelError: If the denoiser changes the shape of images.
        """
        clean = self.denoiser(x)
        if clean.shape != x.shape:
            raise ModelError(
                f"the denoiser turns images of shape {tuple(x.shape)} into {tuple(clean.shape)}: "
                "give one that keeps the shape"
            )
        logits: Tensor = self.classifier(clean)
        return logits
