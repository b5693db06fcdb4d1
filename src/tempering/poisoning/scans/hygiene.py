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
NAMED = 3
"""Partners that a reason names."""
_CONTRADICTS, _CONSTANT = 8.0, 6.0


def hygiene(features: Features) -> ScanScores:
    """Score samples by faults that need no model.

    A sample is suspect if it is (almost) equal to one with another label, if all its pixels are
    almost equal, or if it is far from its neighbours. Equal images with the same label are
    counted, and are not suspect. The reason names three partners with another label at most.
    Planted copies are nobody's partners.
    """
    y, near = features.data.y, features.neighbours
    spread = torch.cat([x.flatten(1).std(1) for x in features.data.chunks()])
    usual = near.distance[near.distance.isfinite()].median().clamp(min=1e-6)
    given = features.group == torch.arange(len(y))
    close = (near.distance <= NEAR * usual) & given[near.row]
    equal = close.any(1)
    nearest = near.row.gather(1, close.int().argmax(1, keepdim=True))[:, 0]
    contradicts = equal & (y[nearest] != y)
    constant = spread < CONSTANT
    far = near.distance[:, -1].nan_to_num(posinf=float(usual))
    outlying = standardized(far.clamp(min=1e-6).log()).clamp(-5, 5)
    score = outlying + _CONTRADICTS * contradicts.float() + _CONSTANT * constant.float()
    names, ids = features.data.classes, features.data.ids.names

    def reason(row: int) -> str:
        if contradicts[row]:
            others = near.row[row][close[row] & (y[near.row[row]] != y[row])].tolist()
            told = [f"{ids[at]} ({names[int(y[at])]})" for at in sorted(others)]
            full = bool(close[row].all())
            return f"it is almost equal to {_shortened(told, full)}, with another label"
        if constant[row]:
            return "all its pixels are almost equal"
        return f"its neighbours are {float(far[row] / usual):.1f} times as far as usual"

    told = _summary(equal & given, contradicts & given, constant & given)
    return ScanScores(score, reason, told, contradicts | constant)


def _shortened(partners: list[str], more_may_be: bool) -> str:
    """The first partners, and how many there are beside them."""
    left = len(partners) - NAMED
    if left > 0:
        return f"{', '.join(partners[:NAMED])} and {'at least ' if more_may_be else ''}{left} more"
    *first, last = partners
    return f"{', '.join(first)} and {last}" if first else last


def _summary(equal: Tensor, contradicts: Tensor, constant: Tensor) -> str:
    return (
        f"{int(equal.sum())} samples almost equal to another, {int(contradicts.sum())} of them "
        f"with another label, {int(constant.sum())} almost constant images"
    )
