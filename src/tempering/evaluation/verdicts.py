"""Predictions and verdicts: the model is run again on what an attack proposes, and decides."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tempering.certification.fixed_function import seeded
from tempering.core.passes import counted
from tempering.core.probe import Probe, probing
from tempering.core.random import derive
from tempering.core.records import Cost
from tempering.core.threats import Threat
from tempering.core.user_code import moved
from tempering.data.dataset import Dataset
from tempering.evaluation.context import EvalContext
from tempering.evaluation.per_sample import PerSampleResult
from tempering.evaluation.target import RandomDraws, Target


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model predicts for some images, on the CPU.

    Attributes:
        predicted: Output with the largest logit, shape (n,), int64; -1 where nothing was run.
        probability: Of the true class, by softmax over all outputs, shape (n,), float32.
        cost: What that took, in all processes.
    """

    predicted: Tensor
    probability: Tensor
    cost: Cost = field(default_factory=Cost)

    def __len__(self) -> int:
        return len(self.predicted)

    def at(self, rows: Tensor) -> Predictions:
        """Some rows, without the cost."""
        return Predictions(self.predicted[rows], self.probability[rows])


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some samples, and what the target predicts for them without any attack.

    Attributes:
        rows: Rows of the data, shape (n,), int64, on the CPU.
        keys: Keys of the samples' ids, shape (n,), int64, on the CPU.
        x: Images, shape (n, c, h, w), on the engine's device.
        y: Labels, shape (n,), int64, on the engine's device.
        clean: The target's predictions for x.
    """

    rows: Tensor
    keys: Tensor
    x: Tensor
    y: Tensor
    clean: Predictions

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, context: EvalContext, clean: Predictions, rows: Tensor) -> Chunk:
        """Some samples of an evaluation.

        Args:
            context: Data and engine.
            clean: Predictions for all samples of the data.
            rows: Rows of the data, shape (n,), int64.
        """
        data, device = context.data, context.engine.device
        x, y = data.images(rows).to(device), data.y[rows].to(device)
        return cls(rows, context.keys[rows], x, y, clean.at(rows))

    @property
    def right(self) -> Tensor:
        """Which samples are predicted right without attack, shape (n,), bool, on the CPU."""
        return self.clean.predicted == self.y.cpu()

    def at(self, rows: Tensor) -> Chunk:
        """Some rows, numbered on the CPU."""
        there = rows.to(self.x.device)
        return Chunk(
            self.rows[rows], self.keys[rows], self.x[there], self.y[there], self.clean.at(rows)
        )


def predict(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    keys: Tensor,
    batch_size: int,
    draws: RandomDraws | None = None,
) -> Predictions:
    """Run a model on images, outside of any autocast, so in its own precision.

    Args:
        model: A classifier in float32 or float64.
        x: Images in [0, 1], shape (n, c, h, w), on the model's device.
        y: True classes, shape (n,), int64.
        keys: Keys of the samples' ids, to count passes and for messages, shape (n,), int64.
        batch_size: Images at a time.
        draws: Of a random model: probabilities are averaged over so many calls.

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
            scores, shares = _answer(probe, x[rows], keys[rows], draws)
            predicted.append(scores.argmax(1).cpu())
            probability.append(shares.gather(1, y[rows, None])[:, 0].float().cpu())
    return Predictions(torch.cat(predicted), torch.cat(probability))


def _answer(
    probe: Probe, x: Tensor, keys: Tensor, draws: RandomDraws | None
) -> tuple[Tensor, Tensor]:
    """What decides the prediction, and probabilities; of a random model their mean twice."""
    if draws is None:
        logits = probe.logits(x, keys)
        return logits, logits.softmax(1)
    shares = []
    for draw in range(draws.count):
        with seeded(derive(draws.seed, "prediction", int(keys[0]), draw), x.device):
            shares.append(probe.logits(x, keys).softmax(1))
    mean = torch.stack(shares).mean(0)
    return mean, mean


def predict_samples(
    context: EvalContext, target: Target, rows: Tensor | None = None
) -> Predictions:
    """Run a model once on samples of the data, shared among all processes.

    Args:
        context: Data and engine.
        target: The model; it is moved to the engine's device.
        rows: Sample numbers, shape (m,), int64; by default all.

    Returns:
        Predictions for all samples of the data, equal in every process; those for samples
        that are not in `rows` are -1 with probability 0.

    Raises:
        ModelError: If the model does not answer with finite logits.
    """
    engine, data = context.engine, context.data
    rows = torch.arange(context.n) if rows is None else rows
    own = rows[engine.shard(len(rows))]
    model, draws = moved(target.model, engine.device), target.draws
    started = time.perf_counter()
    parts = [Predictions(torch.empty(0, dtype=torch.int64), torch.empty(0))]
    with counted() as passes, context.naming():
        for at in range(0, len(own), context.batch_size):
            part = own[at : at + context.batch_size]
            x, y = data.images(part).to(engine.device), data.y[part].to(engine.device)
            parts.append(predict(model, x, y, context.keys[part], context.batch_size, draws))
    predicted = torch.full((context.n,), -1)
    probability = torch.zeros(context.n)
    predicted[rows] = engine.gather(torch.cat([part.predicted for part in parts]), len(rows))
    probability[rows] = engine.gather(torch.cat([part.probability for part in parts]), len(rows))
    spent = torch.tensor([[passes.forward, time.perf_counter() - started]], dtype=torch.float64)
    forward, seconds = engine.gather(spent, engine.world_size).unbind(1)
    cost = Cost(forward=int(forward.sum()), seconds=float(seconds.max()))
    return Predictions(predicted, probability, cost)


def without_attack(clean: Predictions, data: Dataset, flag: int | None) -> PerSampleResult:
    """What became of each sample without any attack.

    Args:
        clean: Predictions for all samples of the data.
        data: The samples.
        flag: The model's output that means 'adversarial', or None.
    """
    n, right = len(clean), clean.predicted == data.y
    none = torch.zeros(n, dtype=torch.int64)
    return PerSampleResult(
        x_adv=None,
        predicted=clean.predicted,
        robust=right,
        detected=None if flag is None else right,
        flagged=None if flag is None else clean.predicted == flag,
        stable=clean.predicted >= 0,
        drop=torch.zeros(n),
        distance=torch.zeros(n, dtype=torch.float64),
        forwards=(clean.predicted >= 0).long(),
        backwards=none,
    )


def judge(
    target: Target,
    chunk: Chunk,
    x_adv: Tensor,
    threat: Threat,
    batch_size: int,
) -> PerSampleResult:
    """Decide what became of each sample of a chunk.

    Args:
        target: The model, where the chunk is.
        chunk: The samples.
        x_adv: One proposal a sample, shape and device of the chunk's x.
        threat: Measures distances.
        batch_size: Images at a time.

    Returns:
        One row a sample of the chunk; whoever calls counts the passes.

    Raises:
        ModelError: If the model does not answer with finite logits.
    """
    flag = target.flag
    seen = predict(target.model, x_adv, chunk.y, chunk.keys, batch_size, target.draws)
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
        distance=threat.distance(x_adv.double(), chunk.x.double()).double().cpu(),
        forwards=torch.zeros(len(chunk), dtype=torch.int64),
        backwards=torch.zeros(len(chunk), dtype=torch.int64),
    )
