"""PGD: projected gradient steps from a random point of the ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tempering.attacks.ascent import IterativeAttack, Start, random_start


@dataclass(frozen=True)
class PGD(IterativeAttack):
    """Projected gradient descent: small steps on cross-entropy from a random point of the ball.

    Madry et al., 'Towards deep learning models resistant to adversarial attacks', 2018.
    """

    name: ClassVar[str] = "pgd"
    source: ClassVar[str] = "Madry et al., 2018"
    start: ClassVar[Start] = staticmethod(random_start)
    loss: ClassVar[str] = "cross-entropy"
