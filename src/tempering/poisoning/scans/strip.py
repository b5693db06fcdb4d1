"""Labels that the networks still give once another image is laid over the sample."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.progress import track
from tempering.core.random import RandomStreams, derive
from tempering.poisoning.features import Features
from tempering.poisoning.scans.base import ScanScores

PARTNERS = 8
"""Images that are laid over each sample."""
_BATCH = 512
_FLOOR = 1e-3


def strip(features: Features) -> ScanScores:
    """Score samples by how surely they keep their label under superimposed images.

    STRIP (Gao et al., 2019), of training data: a trigger works whatever else the image shows, so
    the sum of a stamped image and another one, clipped, is still taken for the target. Each sample
    is judged by a network that did not see it. The score is the log of the odds of its label,
    averaged over the partners, less that of the class for sums of samples of other classes.
    """
    data = features.data
    streams = RandomStreams(derive(features.seed, "superimposed"), data.ids.keys)
    partners = features.references[
        torch.stack([streams.derive(at).choice(len(features.references)) for at in range(PARTNERS)])
    ]
    own = torch.zeros(len(data))
    others, pairs = torch.zeros(data.num_classes), torch.zeros(data.num_classes)
    with track("superimposing images", len(data)) as advance:
        for rows in torch.split(torch.arange(len(data)), _BATCH):
            x = data.images(rows)
            for partner in partners[:, rows]:
                p = features.asked(rows, (x + data.images(partner)).clamp(max=1)).softmax(1)
                own[rows] += p.gather(1, data.y[rows, None])[:, 0] / PARTNERS
                foreign = torch.ones_like(p)
                foreign.scatter_(1, data.y[rows, None], 0.0)
                foreign.scatter_(1, data.y[partner, None], 0.0)
                others += (p * foreign).sum(0)
                pairs += foreign.sum(0)
            advance(len(rows), "")
    usual = others / pairs.clamp(min=1)
    names = data.classes

    def reason(row: int) -> str:
        label = names[int(data.y[row])]
        return (
            f"with other images laid over it, it is still {label} ({100 * float(own[row]):.0f} %)"
        )

    return ScanScores(_odds(own) - _odds(usual)[data.y], reason)


def _odds(p: Tensor) -> Tensor:
    return p.clamp(_FLOOR, 1 - _FLOOR).logit()
