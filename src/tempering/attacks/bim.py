"""BIM: projected gradient steps from the image itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tempering.attacks.ascent import IterativeAttack, Start, clean_start


@dataclass(frozen=True)
class BIM(IterativeAttack):
    """The basic iterative method: small steps on cross-entropy from the image itself.

    Kurakin, Goodfellow and Bengio, 'Adversarial examples in the physical world', 2017.
    """

    name: ClassVar[str] = "bim"
    source: ClassVar[str] = "Kurakin, Goodfellow and Bengio, 2017"
    start: ClassVar[Start] = staticmethod(clean_start)
    loss: ClassVar[str] = "cross-entropy"
