"""Running an attack, and refusing a proposal that breaks the rules."""

from __future__ import annotations

from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.core.errors import AttackError
from tempering.core.goals import Goal
from tempering.core.naming import sample_name
from tempering.core.random import RandomStreams
from tempering.core.threats import Threat


def propose(
    model: nn.Module,
    attack: Attack,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    streams: RandomStreams,
    goal: Goal,
    batch_size: int,
) -> Tensor:
    """Let an attack propose images, and check each of them here.

    Args:
        model: What the attack may see.
        attack: Proposes.
        x: Images in [0, 1], shape (n, c, h, w).
        y: Labels to lead away from, shape (n,), int64.
        threat: What may change.
        streams: One stream a sample; messages name samples by it.
        goal: What counts as success.
        batch_size: Samples at a time.

    Returns:
        x_adv, shape, dtype and device of x; every row finite, in the box and in the ball.

    Raises:
        AttackError: If a proposal is none; names the attack and the sample.
        ThreatError: If the attack does not know the threat's norm.
    """
    x_adv = attack(model, x, y, threat, streams, goal, batch_size)
    check_proposal(attack.label(), x_adv, x, threat, streams.index)
    return x_adv


def check_proposal(label: str, x_adv: Tensor, x: Tensor, threat: Threat, keys: Tensor) -> None:
    """Refuse proposals of another shape, not finite, or outside of box or ball.

    Args:
        label: Of the attack, for the message.
        x_adv: Its proposals.
        x: The images, shape (n, c, h, w).
        threat: What may change.
        keys: Which samples they are (`RandomStreams.index`), shape (n,), int64.

    Raises:
        AttackError: Naming the attack and the first bad sample.

    Example:
        >>> import torch
        >>> from tempering.core.threats import Linf
        >>> x = torch.zeros(1, 1, 2, 2)
        >>> check_proposal("mine", x + 0.1, x, Linf(0.1), torch.tensor([0]))
    """
    if x_adv.shape != x.shape or x_adv.dtype != x.dtype:
        raise AttackError(
            f"{label} returned {x_adv.dtype} of shape {tuple(x_adv.shape)}: "
            f"return {x.dtype} of shape {tuple(x.shape)}"
        )
    finite = x_adv.flatten(1).isfinite().all(1)
    allowed = threat.contains(x_adv, x)
    if bool((finite & allowed).all()):
        return
    row = int((~(finite & allowed)).nonzero()[0, 0])
    sample = sample_name(keys, row)
    if not bool(finite[row]):
        raise AttackError(
            f"{label} returned a value that is not finite for sample {sample}: "
            "return pixels in [0, 1]"
        )
    low, high = float(x_adv[row].min()), float(x_adv[row].max())
    distance = float(threat.distance(x_adv[row : row + 1], x[row : row + 1])[0])
    raise AttackError(
        f"{label} left {threat} for sample {sample}: distance {distance:.6g}, "
        f"pixels {low:.6g} to {high:.6g}: stay within eps and within [0, 1]"
    )
