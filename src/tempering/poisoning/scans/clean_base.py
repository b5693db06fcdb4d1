"""Labels that the neighbours in a clean base contradict."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.poisoning.features import Features
from tempering.poisoning.neighbours import Neighbours
from tempering.poisoning.scans.base import ScanScores

ROUNDS = 3
"""How often the base is found again."""
_FLOOR = 0.01
_PRIOR = 1e-3


def clean_base(features: Features) -> ScanScores:
    """Score samples by how their neighbours in a base of consistent samples are labelled.

    A simple form of Meta-Sift (Zeng et al., 2023): samples whose labels agree with those of their
    neighbours weigh more as neighbours, and so on for a few rounds. Features are pixels and an
    untrained network, which no poison has taught anything. A backdoored image still looks like
    its true class there, whatever its label.
    """
    y, classes = features.data.y, features.data.num_classes
    log_votes = torch.zeros(len(y), classes)
    spaces = (features.neighbours, features.untrained_neighbours)
    for near in spaces:
        log_votes += votes_of(near, y, classes).log() / len(spaces)
    own = log_votes.gather(1, y[:, None])[:, 0]
    best = log_votes.scatter(1, y[:, None], -torch.inf).max(1)
    names = features.data.classes

    def reason(row: int) -> str:
        near = features.neighbours.row[row]
        other = int(best.indices[row])
        alike = int((y[near] == other).sum())
        return f"it looks like {names[other]}: {alike} of {len(near)} neighbours are"

    return ScanScores(best.values - own, reason)


def votes_of(near: Neighbours, y: Tensor, classes: int) -> Tensor:
    """Votes of neighbours for each class, weighted by closeness and consistency, (n, classes)."""
    weight = torch.ones(len(y))
    closeness = 1 / (near.distance + 1e-3).square()
    closeness = closeness / closeness.sum(1, keepdim=True).clamp(min=1e-12)
    share = torch.zeros(len(y), classes)
    for _ in range(ROUNDS):
        each = weight[near.row] * closeness
        share = torch.zeros(len(y), classes).scatter_add_(1, y[near.row], each)
        share = share / share.sum(1, keepdim=True).clamp(min=1e-12)
        share = (share + _PRIOR) / (1 + classes * _PRIOR)
        weight = share.gather(1, y[:, None])[:, 0].clamp(min=_FLOOR)
    return share
