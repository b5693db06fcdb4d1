"""C&W within a ball: PGD on the margin loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tempering.attacks.ascent import IterativeAttack, Start, random_start


@dataclass(frozen=True)
class CWLinf(IterativeAttack):
    """PGD on Carlini and Wagner's margin loss.

    The loss is f6 of Carlini and Wagner, 'Towards evaluating the robustness of neural
    networks', 2017, section V-A; the optimizer is the PGD of Madry et al., 2018.
    """

    name: ClassVar[str] = "cw-linf"
    source: ClassVar[str] = "Carlini and Wagner, 2017; Madry et al., 2018"
    start: ClassVar[Start] = staticmethod(random_start)
    loss: ClassVar[str] = "margin"
