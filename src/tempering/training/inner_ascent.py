"""The inner maximization of objectives that climb a loss of their own."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tempering.attacks.steps import default_step, steepest
from tempering.core.errors import ThreatError
from tempering.core.probe import Probe, probing
from tempering.core.threats import Threat
from tempering.training.objective import Batch

Gradient = Callable[[Probe, Tensor], Tensor]
"""From the attacked model and points to the gradient of the loss at them."""


def ascend(
    batch: Batch, start: Tensor, gradient: Gradient, steps: int, step_size: float | None
) -> Tensor:
    """Projected gradient ascent in the batch's threat.

    Args:
        batch: Gives the images, the threat and the model under attack.
        start: First points, shape (n, c, h, w); they are projected.
        gradient: Of the loss that is climbed.
        steps: Gradient steps.
        step_size: Length of a step in the threat's norm; None for 2.5 eps / steps.

    Returns:
        x_adv, shape (n, c, h, w).
    """
    threat = batch.threat
    if not len(batch.x) or threat.eps == 0:
        return batch.x
    x_adv = threat.project(start, batch.x)
    length = default_step(step_size, threat, steps)
    with probing(batch.model) as probe:
        for _ in range(steps):
            step = steepest(threat, x_adv, batch.x, gradient(probe, x_adv), length)
            x_adv = threat.project(x_adv + step, batch.x)
    return x_adv


def require_climbable(name: str, threat: Threat) -> None:
    """Refuse a threat in which no gradient step is known.

    Raises:
        ThreatError: Naming the objective and the threat.
    """
    if threat.norm in ("l0", "patch"):
        raise ThreatError(
            f"{name} does not train against {threat}: it knows linf, l2, l1, "
            "and threats of your own"
        )
