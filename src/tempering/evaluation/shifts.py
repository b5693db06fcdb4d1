"""Counting what a model still gets right under common corruptions and shifts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tempering.core.errors import UsageError
from tempering.core.passes import counted
from tempering.core.progress import track
from tempering.core.random import RandomStreams, derive
from tempering.core.records import Cost, Count
from tempering.evaluation.context import EvalContext
from tempering.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import predict


@dataclass(frozen=True)
class Shifted:
    """How a model did under one corruption at one severity.

    Attributes:
        corruption: Its name.
        severity: 1 to 5.
        amount: Of that severity.
        unit: What the amount is.
        correct: Samples that were predicted right, of all.
    """

    corruption: str
    severity: int
    amount: float
    unit: str
    correct: Count


@dataclass(frozen=True)
class Shifts:
    """How a model did under common corruptions. This is not adversarial robustness.

    Attributes:
        clean: Samples that were predicted right as they are, of all.
        shifted: One a corruption and severity.
        cost: Passes and time.
    """

    clean: Count
    shifted: tuple[Shifted, ...]
    cost: Cost


def measure_shifts(
    context: EvalContext,
    target: Target,
    names: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
) -> Shifts:
    """Count correct predictions under common corruptions; nothing is chosen against the model.

    It is not adversarial robustness: see `corruptions`. Every process gets the same counts;
    one forward pass a sample, corruption and severity, and one for the sample as it is.

    Args:
        context: Data, engine and seed.
        target: The model; its adversarial class is one wrong class more.
        names: Corruptions; by default all.
        severities: Some of 1 to 5.

    Returns:
        Integer counts over all samples of the data.

    Raises:
        UnknownNameError: If there is no corruption of a name.
        UsageError: If kornia is needed and missing, a severity is none of 1 to 5, or nothing
            is asked for.
        DataError: If JPEG is asked of images that are neither grey nor red, green, blue.
        ModelError: If the model does not answer with finite logits.

    Example:
        >>> from torch import nn
        >>> from tempering.core.engine import start_engine
        >>> from tempering.data.dataset import Dataset
        >>> data = Dataset(torch.rand(8, 1, 9, 9), torch.zeros(8).long(), ("a", "b"), "toy")
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(81, 2))
        >>> context = EvalContext(data, "test", start_engine("32-true"), seed=0)
        >>> found = measure_shifts(context, Target.of("given", net, data), ["noise"])
        >>> [(one.severity, one.correct.n) for one in found.shifted]
        [(1, 8), (2, 8), (3, 8), (4, 8), (5, 8)]
    """
    kinds = [CORRUPTIONS[name] for name in (CORRUPTIONS if names is None else names)]
    asked = [(kind, severity, kind.amount(severity)) for kind in kinds for severity in severities]
    if not asked:
        raise UsageError(
            f"{len(kinds)} corruptions at {len(severities)} severities: give at least one of each"
        )
    for kind in kinds:
        kind.require()
    engine, data, size = context.engine, context.data, context.batch_size
    streams = RandomStreams(derive(context.seed, "evaluation", "shifts"), context.keys)
    own = engine.shard(context.n)
    target.model.to(engine.device)
    started = time.perf_counter()
    found = [torch.empty((0, 1 + len(asked)), dtype=torch.bool)]
    title = f"{target.subject}: common corruptions"
    with counted() as passes, track(title, context.n) as advance, context.naming():
        for at in range(0, len(own), size):
            ids = own[at : at + size]
            x, y = data.x[ids].to(engine.device), data.y[ids].to(engine.device)
            shown = (kind(x, severity, streams[ids]) for kind, severity, _ in asked)
            right = [
                predict(target.model, images, y, streams.index[ids], size).predicted == y.cpu()
                for images in (x, *shown)
            ]
            found.append(torch.stack(right, 1))
            advance(min(context.n, (at + len(ids)) * engine.world_size), "")
    verdicts = engine.gather(torch.cat(found), context.n)
    spent = torch.tensor([[passes.forward, time.perf_counter() - started]], dtype=torch.float64)
    forward, seconds = engine.gather(spent, engine.world_size).unbind(1)
    clean, *counts = (Count(hits=int(hits), n=context.n) for hits in verdicts.sum(0))
    return Shifts(
        clean=clean,
        shifted=tuple(
            Shifted(kind.name, severity, amount, kind.unit, count)
            for (kind, severity, amount), count in zip(asked, counts, strict=True)
        ),
        cost=Cost(forward=int(forward.sum()), seconds=float(seconds.max())),
    )
