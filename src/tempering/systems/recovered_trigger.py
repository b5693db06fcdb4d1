"""What an attacker knows of a bijective backdoor."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from tempering.defenses.backdoor import Backdoored


@dataclass(frozen=True, eq=False)
class Recovered:
    """What an attacker knows of a bijective backdoor.

    Attributes:
        mapping: g, a permutation of the classes.
        trigger: Values, shape (c, h, w).
        mask: Which pixels it covers, shape (h, w), bool.
        queries: Images that deployed model and network were asked for.
    """

    mapping: tuple[int, ...]
    trigger: Tensor
    mask: Tensor
    queries: int

    def behind(self, network: nn.Module) -> Backdoored:
        """The deployed model as the attacker rebuilds it."""
        shape = (self.trigger.shape[0], self.trigger.shape[1], self.trigger.shape[2])
        return Backdoored(network, shape, self.mapping, self.trigger, self.mask).eval()

    def of(self, secret: Backdoored) -> str:
        """How much of a secret is right, as the beginning of a sentence."""
        right = sum(a == b for a, b in zip(self.mapping, secret.mapping, strict=True))
        covered = secret.mask.bool().cpu()
        hit = int((self.mask & covered).sum())
        return (
            f"{right} of {len(self.mapping)} classes and {hit} of {int(covered.sum())} places of "
            "pixels are recovered"
        )


def cheapest_permutation(cost: Tensor) -> tuple[int, ...]:
    """The permutation of least cost: row -> column."""
    return tuple(int(column) for column in linear_sum_assignment(cost.cpu().numpy())[1])
