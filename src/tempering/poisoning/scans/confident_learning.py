"""Labels that networks which did not see them contradict."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.poisoning.features import Features
from tempering.poisoning.scans.base import ScanScores


def confident_learning(features: Features) -> ScanScores:
    """Score samples by how much more likely another class is than the label, out of fold.

    Northcutt, Jiang and Chuang, 'Confident learning: estimating uncertainty in dataset labels',
    2021. The score is the log of the ratio of the two probabilities (cleanlab's normalised
    margin, on a log scale). The summary counts label errors by the confident joint.
    """
    y, log_p = features.data.y, features.log_probabilities
    own = log_p.gather(1, y[:, None])[:, 0]
    others = log_p.scatter(1, y[:, None], -torch.inf)
    best = others.max(1)
    score = (best.values - own).clamp(-50, 50)
    names = features.data.classes
    wrong = label_errors(log_p.exp(), y)

    def reason(row: int) -> str:
        other, p = names[int(best.indices[row])], float(best.values[row].exp())
        return f"networks that did not see it say {other} ({100 * p:.0f} %)"

    right = float((log_p.argmax(1) == y).float().mean())
    summary = (
        f"{int(wrong.sum())} labels contradict confident networks, which are right on "
        f"{100 * right:.0f} % of the samples that they did not see"
    )
    return ScanScores(score, reason, summary)


def label_errors(probabilities: Tensor, y: Tensor) -> Tensor:
    """Samples off the diagonal of the confident joint.

    A sample counts as one of class k if the probability of k is at least the mean probability of
    k among samples labelled k, and k is the most likely class of which that holds.

    Args:
        probabilities: Out of fold, shape (n, classes).
        y: Labels, shape (n,), int64.

    Returns:
        Shape (n,), bool.

    Example:
        >>> p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.95, 0.05]])
        >>> label_errors(p, torch.tensor([0, 1, 1])).tolist()
        [False, False, True]
    """
    count = probabilities.shape[1]
    labelled = torch.nn.functional.one_hot(y, count).to(probabilities.dtype)
    bars = (labelled * probabilities).sum(0) / labelled.sum(0).clamp(min=1)
    bars = bars.where(labelled.sum(0) > 0, torch.inf)
    over = probabilities.where(probabilities >= bars, -1.0)
    best = over.max(1)
    return (best.values >= 0) & (best.indices != y)
