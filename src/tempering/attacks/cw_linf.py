"""C&W within a ball: PGD on the margin loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tempering.attacks.ascent import IterativeAttack, Start, anywhere


@dataclass(frozen=True)
class CWLinf(IterativeAttack):
    """Carlini and Wagner's margin loss, climbed within the ball from a random start.

    The loss is f6 of Carlini and Wagner, 'Towards evaluating the robustness of neural
    networks', 2017, section V-A; the climb is PGD, as in Madry et al., 2018.
    """

    name: ClassVar[str] = "cw-linf"
    source: ClassVar[str] = "Carlini and Wagner, 2017; Madry et al., 2018"
    start: ClassVar[Start] = staticmethod(anywhere)
    loss: ClassVar[str] = "margin"
