"""The section `evaluation.paper` of a recipe."""

from __future__ import annotations

from pydantic import Field

from tempering.attacks.base import Attack
from tempering.attacks.field import AttackField
from tempering.training.settings import Settings


class PaperSettings(Settings):
    """The paper's protocol: eps at which the undefended model has the reported accuracy.

    Attributes:
        samples: Number of test images.
        gray: Whether the gray-box table is measured too; it needs one more training.
        single_pass: Whether single-pass adversarial training is measured for Table V.
        fgsm: The attack that stands for the paper's FGSM; in files `name:key=value,...`.
        pgd: The attack that stands for its PGD.
        bim: The attack that stands for its BIM.
        cw: The attack that stands for its C&W in the white-box table. Few iterations: with
            many, C&W without a bound on the distance always succeeds.
        cw_gray: The attack that stands for its C&W in the gray-box table. Minimum-norm
            examples barely cross the surrogate's decision boundary and do not transfer.
    """

    samples: int = Field(ge=1)
    gray: bool
    single_pass: bool
    fgsm: AttackField
    pgd: AttackField
    bim: AttackField
    cw: AttackField
    cw_gray: AttackField

    def attacks(self, gray: bool = False) -> dict[str, Attack]:
        """Attacks of the white-box or the gray-box table, by the paper's names."""
        cw = self.cw_gray if gray else self.cw
        return {"FGSM": self.fgsm, "PGD": self.pgd, "BIM": self.bim, "C&W": cw}
