"""Whether gradient attacks have anything to follow."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.core.errors import NoGradientError
from tempering.core.goals import Untargeted, log_odds
from tempering.core.probe import probing
from tempering.core.user_code import moved
from tempering.evaluation.context import EvalContext
from tempering.evaluation.target import Target


def without_gradient(context: EvalContext, target: Target) -> Tensor:
    """Samples on which the gradient that attacks climb is zero in every pixel.

    The loss is the log odds of a wrong class, which does not flatten where the softmax
    saturates; so a zero comes from the network itself: dead units, a hard clamp, a
    rounding step. Where logits do not depend on the images at all, as autograd sees it,
    it is zero too.

    Args:
        context: Data and engine.
        target: The model, with the adaptive backward of its stages.

    Returns:
        Which samples, shape (n,), bool, on the CPU, equal in every process.

    Example:
        `without_gradient(context, target).float().mean()`
    """
    engine, data = context.engine, context.data
    own = engine.shard(context.n)
    moved(target.model, engine.device)
    parts = [torch.empty(0, dtype=torch.bool, device=engine.device)]
    with probing(target.model) as probe:
        for at in range(0, len(own), context.batch_size):
            ids = own[at : at + context.batch_size]
            y = data.y[ids].to(engine.device)

            def loss(logits: Tensor, y: Tensor = y) -> Tensor:
                return log_odds(logits, Untargeted().protected(y, logits.shape[1]))

            try:
                _, gradient = probe.gradient(data.images(ids).to(engine.device), loss, ids)
            except NoGradientError:
                parts.append(torch.ones(len(ids), dtype=torch.bool, device=engine.device))
                continue
            parts.append((gradient == 0).flatten(1).all(1))
    return engine.gather(torch.cat(parts), context.n)
