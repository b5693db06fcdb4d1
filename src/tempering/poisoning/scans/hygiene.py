"""Equal and almost equal images, contradicting labels, constant images and outliers."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.poisoning.features import Features
from tempering.poisoning.scans.base import ScanScores
from tempering.poisoning.scans.by_class import standardized

NEAR = 0.25
"""Distance over the usual one to the neighbours below which images are almost equal."""
CONSTANT = 0.01
"""Spread of the pixels of an image below which it counts as constant."""
_CONTRADICTS, _CONSTANT = 8.0, 6.0


def hygiene(features: Features) -> ScanScores:
    """Score samples by faults that need no model.

    A sample is suspect if it is (almost) equal to one with another label, if all its pixels are
    almost equal, or if it is far from its neighbours. Equal images with the same label are
    counted, and are not suspect.
    """
    y, near = features.data.y, features.neighbours
    spread = torch.cat([x.flatten(1).std(1) for x in features.data.chunks()])
    usual = near.distance[near.distance.isfinite()].median().clamp(min=1e-6)
    equal = near.distance[:, 0] <= NEAR * usual
    contradicts = equal & (y[near.row[:, 0]] != y)
    constant = spread < CONSTANT
    far = near.distance[:, -1].nan_to_num(posinf=float(usual))
    outlying = standardized(far.clamp(min=1e-6).log()).clamp(-5, 5)
    score = outlying + _CONTRADICTS * contradicts.float() + _CONSTANT * constant.float()
    names = features.data.classes

    def reason(row: int) -> str:
        if contradicts[row]:
            return f"it is almost equal to a sample of class {names[int(y[near.row[row, 0]])]}"
        if constant[row]:
            return "all its pixels are almost equal"
        return f"its neighbours are {float(far[row] / usual):.1f} times as far as usual"

    return ScanScores(score, reason, _summary(equal, contradicts, constant))


def _summary(equal: Tensor, contradicts: Tensor, constant: Tensor) -> str:
    return (
        f"{int(equal.sum())} samples almost equal to another, {int(contradicts.sum())} of them "
        f"with another label, {int(constant.sum())} almost constant images"
    )
