"""Working through samples: this process's share, piece by piece, and all of it together again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from tempering.core.passes import counted
from tempering.core.progress import track
from tempering.core.records import Cost
from tempering.core.tally import Tally, tallied
from tempering.evaluation.context import EvalContext
from tempering.evaluation.per_sample import PerSampleResult, by_part, join, lost
from tempering.evaluation.verdicts import Chunk, predict

_BATCHES = 2
"""Batches an attack is given at a time: enough to refill places that become free."""


def over_samples(
    context: EvalContext,
    model: nn.Module,
    title: str,
    rows: Tensor,
    work: Callable[[Chunk], PerSampleResult],
    together: bool = False,
) -> tuple[PerSampleResult, Cost]:
    """Do one piece of work on some samples, shared among all processes.

    Args:
        context: Data and engine.
        model: The target's network; says what it predicts without attack.
        title: Of the progress bar, whose units are samples.
        rows: Sample numbers, shape (m,), int64.
        work: From a chunk to one row of outcome a sample of it.
        together: Whether all samples are one chunk, on which every process does the same
            work: for an attack that learns from them.

    Returns:
        Outcomes of all samples of the data, equal in every process; what is not in
        `rows` counts as lost. And the passes of all processes, with the time of the
        slowest one; of one process where all do the same.
    """
    engine, data = context.engine, context.data
    own = rows if together else rows[engine.shard(len(rows))]
    size = max(1, len(rows)) if together else _BATCHES * context.batch_size
    started = time.perf_counter()
    done, standing = [], 0
    with counted() as passes, track(title, len(rows)) as advance, context.naming():
        for at in range(0, max(1, len(own)), size):
            ids = own[at : at + size]
            x, y = data.x[ids].to(engine.device), data.y[ids].to(engine.device)
            keys = context.keys[ids]
            with tallied() as counts:
                clean = predict(model, x, y, keys, context.batch_size)
                per_sample = work(Chunk(keys, x, y, clean))
            done.append(_with_passes(per_sample, keys, counts))
            standing += int(done[-1].robust.sum())
            reached = min(len(rows), (at + len(ids)) * (1 if together else engine.world_size))
            advance(reached, f"{standing} of {at + len(ids)} stand")

    def of_all(values: list[Tensor]) -> Tensor:
        share = values[0][engine.shard(len(rows))] if together else values[0]
        return engine.gather(share, len(rows))

    per_sample = by_part(of_all, join(done))
    spent = torch.tensor(
        [[passes.forward, passes.backward, time.perf_counter() - started]], dtype=torch.float64
    )
    spent = spent if together else engine.gather(spent, engine.world_size)
    forward, backward, seconds = spent.unbind(1)
    cost = Cost(
        forward=int(forward.sum()), backward=int(backward.sum()), seconds=float(seconds.max())
    )
    return _spread(context, rows, per_sample), cost


def _with_passes(per_sample: PerSampleResult, keys: Tensor, counts: Tally) -> PerSampleResult:
    """What each sample took, its clean prediction and the verdict among it."""
    forwards, backwards = (
        torch.tensor([count[key] for key in keys.tolist()], dtype=torch.int64)
        for count in (counts.forward, counts.backward)
    )
    return replace(per_sample, forwards=forwards, backwards=backwards)


def _spread(context: EvalContext, rows: Tensor, per_sample: PerSampleResult) -> PerSampleResult:
    """Outcomes of some samples as outcomes of all samples."""
    if len(rows) == context.n and bool((rows == torch.arange(context.n)).all()):
        return per_sample
    return lost(per_sample, context.data.x).put(rows, per_sample)
