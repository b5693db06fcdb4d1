"""Accuracy of a model under common corruptions."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from tempering.core.corruption_records import CorruptionResult
from tempering.core.errors import UsageError
from tempering.core.passes import counted
from tempering.core.progress import track
from tempering.core.random import RandomStreams, derive
from tempering.core.records import Cost, Count
from tempering.core.user_code import moved
from tempering.evaluation.context import EvalContext
from tempering.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import predict


def measure_corruptions(
    context: EvalContext,
    target: Target,
    names: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
) -> list[CorruptionResult]:
    """Count correct predictions under common corruptions.

    This is not adversarial robustness (see `corruptions`). It takes one forward pass per
    sample for the clean image and one per corruption and severity. Every process returns the
    same counts.

    Args:
        context: Data, engine and seed.
        target: The model. Its adversarial class, if any, counts as a wrong class.
        names: Corruptions; all by default.
        severities: A selection of 1 to 5.

    Returns:
        One record per corruption and severity, each over all samples; the first carries the
        cost of all.

    Raises:
        UnknownNameError: If a corruption is unknown.
        UsageError: If kornia is needed and missing, a severity is not in 1 to 5, or no
            corruption or no severity is given.
        DataError: If JPEG is asked for and the images have neither 1 nor 3 channels.
        ModelError: If the model returns logits that are not finite.

    Example:
        >>> from torch import nn
        >>> from tempering.core.engine import start_engine
        >>> from tempering.data.dataset import Dataset
        >>> data = Dataset(torch.rand(8, 1, 9, 9), torch.zeros(8).long(), ("a", "b"), "toy")
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(81, 2))
        >>> context = EvalContext(data, "test", start_engine("32-true"), seed=0)
        >>> results = measure_corruptions(context, Target.of("given", net, data), ["noise"])
        >>> [(result.severity, result.correct.n) for result in results]
        [(1, 8), (2, 8), (3, 8), (4, 8), (5, 8)]
    """
    corruptions = [CORRUPTIONS[name] for name in (CORRUPTIONS if names is None else names)]
    cases = [
        (corruption, severity, corruption.amount(severity))
        for corruption in corruptions
        for severity in severities
    ]
    if not cases:
        raise UsageError(
            f"{len(corruptions)} corruptions at {len(severities)} severities: "
            "give at least one of each"
        )
    for corruption in corruptions:
        corruption.require()
    engine, data, size = context.engine, context.data, context.batch_size
    streams = RandomStreams(derive(context.seed, "evaluation", "corruptions"), context.keys)
    own = engine.shard(context.n)
    moved(target.model, engine.device)
    started = time.perf_counter()
    correct = [torch.empty((0, 1 + len(cases)), dtype=torch.bool)]
    title = f"{target.subject}: common corruptions"
    with counted() as passes, track(title, context.n) as advance, context.naming():
        for at in range(0, len(own), size):
            ids = own[at : at + size]
            x, y = data.images(ids).to(engine.device), data.y[ids].to(engine.device)
            corrupted = (corruption(x, severity, streams[ids]) for corruption, severity, _ in cases)
            columns = [
                predict(target.model, images, y, streams.index[ids], size, target.draws).predicted
                == y.cpu()
                for images in (x, *corrupted)
            ]
            correct.append(torch.stack(columns, 1))
            advance(min(context.n, (at + len(ids)) * engine.world_size), "")
    verdicts = engine.gather(torch.cat(correct), context.n)
    spent = torch.tensor([[passes.forward, time.perf_counter() - started]], dtype=torch.float64)
    forward, seconds = engine.gather(spent, engine.world_size).unbind(1)
    total = Cost(forward=int(forward.sum()), seconds=float(seconds.max()))
    clean, *counts = (Count(hits=int(hits), n=context.n) for hits in verdicts.sum(0))
    return [
        CorruptionResult(
            subject=target.subject,
            corruption=corruption.name,
            severity=severity,
            amount=amount,
            unit=corruption.unit,
            clean=clean,
            correct=count,
            cost=Cost() if number else total,
            seed=context.seed,
            weights=target.weights,
            data_hash=data.content_hash,
        )
        for number, ((corruption, severity, amount), count) in enumerate(
            zip(cases, counts, strict=True)
        )
    ]
