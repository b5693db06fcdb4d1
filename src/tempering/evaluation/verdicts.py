"""The verdict: the model is run again on what an attack proposes, and decides."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tempering.core.probe import probing
from tempering.core.threats import Threat
from tempering.evaluation.per_sample import PerSampleResult


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of some images, on the CPU.

    Attributes:
        predicted: Output that won, shape (n,), int64.
        probability: Of the true class, by softmax over all outputs, shape (n,), float32.
    """

    predicted: Tensor
    probability: Tensor


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some samples, and what the target says of them without any attack.

    Attributes:
        keys: Keys of the samples' ids, shape (n,), int64, on the CPU.
        x: Images, shape (n, c, h, w), on the engine's device.
        y: Labels, shape (n,), int64, on the engine's device.
        clean: What the target says of x.
    """

    keys: Tensor
    x: Tensor
    y: Tensor
    clean: Predictions

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def right(self) -> Tensor:
        """Which samples are predicted right without attack, shape (n,), bool, on the CPU."""
        return self.clean.predicted == self.y.cpu()

    def at(self, rows: Tensor) -> Chunk:
        """Some rows, numbered on the CPU."""
        there = rows.to(self.x.device)
        clean = Predictions(self.clean.predicted[rows], self.clean.probability[rows])
        return Chunk(self.keys[rows], self.x[there], self.y[there], clean)


def predict(model: nn.Module, x: Tensor, y: Tensor, keys: Tensor, batch_size: int) -> Predictions:
    """Run a model on images, outside of any autocast, so in its own precision.

    Args:
        model: A classifier in float32 or float64.
        x: Images in [0, 1], shape (n, c, h, w), on the model's device.
        y: True classes, shape (n,), int64.
        keys: Keys of the samples' ids, to count passes and for messages, shape (n,), int64.
        batch_size: Images at a time.

    Returns:
        Predictions and probabilities.

    Raises:
        ModelError: If the model does not answer with finite logits.
    """
    predicted = [torch.empty(0, dtype=torch.int64)]
    probability = [torch.empty(0)]
    with probing(model) as probe, torch.autocast(x.device.type, enabled=False):
        for at in range(0, len(x), batch_size):
            rows = slice(at, at + batch_size)
            logits = probe.logits(x[rows], keys[rows])
            share = logits.softmax(1).gather(1, y[rows, None])[:, 0]
            predicted.append(logits.argmax(1).cpu())
            probability.append(share.float().cpu())
    return Predictions(torch.cat(predicted), torch.cat(probability))


def judge(
    model: nn.Module,
    flag: int | None,
    chunk: Chunk,
    x_adv: Tensor,
    threat: Threat,
    batch_size: int,
) -> PerSampleResult:
    """Decide what became of each sample of a chunk.

    Args:
        model: The target's network.
        flag: Its output that means 'adversarial', or None.
        chunk: The samples.
        x_adv: One proposal a sample, shape and device of the chunk's x.
        threat: Measures distances.
        batch_size: Images at a time.

    Returns:
        One row a sample of the chunk; whoever calls counts the passes.

    Raises:
        ModelError: If the model does not answer with finite logits.
    """
    seen = predict(model, x_adv, chunk.y, chunk.keys, batch_size)
    robust = chunk.right & (seen.predicted == chunk.y.cpu())
    flagged = None if flag is None else seen.predicted == flag
    return PerSampleResult(
        x_adv=x_adv.cpu(),
        predicted=seen.predicted,
        robust=robust,
        detected=None if flagged is None else robust | (chunk.right & flagged),
        flagged=flagged,
        stable=seen.predicted == chunk.clean.predicted,
        drop=(chunk.clean.probability - seen.probability).clamp_min(0.0),
        distance=threat.distance(x_adv.double(), chunk.x.double()).cpu(),
        forwards=torch.zeros(len(chunk), dtype=torch.int64),
        backwards=torch.zeros(len(chunk), dtype=torch.int64),
    )
