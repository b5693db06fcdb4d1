"""A system: how it is trained, what its authors claim, and what is attacked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import nn

from tempering.attacks.base import Attack
from tempering.core.system_records import FurtherAttack
from tempering.data.dataset import Dataset
from tempering.systems.setting import Setting
from tempering.systems.watched import Watched


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained system.

    Attributes:
        model: What is deployed: from images in [0, 1], shape (n, c, h, w), to logits, with one
            more output if it can abstain. Every stage declares its gradient.
        exposed: What an attacker who does not know the defense attacks.
        bare: A network without the defense, for the overhead of a prediction.
        attacks: Further attacks of an attacker who knows the system, on the deployed model.
        shortened: How this training differs from that of the authors, in words.
        details: Further figures of the system, for its page: JSON values.
        watched: Its detector, for figures of its own; None if it has none.
    """

    model: nn.Module
    exposed: nn.Module
    bare: nn.Module
    attacks: tuple[Attack, ...] = ()
    shortened: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    watched: Watched | None = None


class System(ABC):
    """A system of the literature.

    Attributes:
        name: As people ask for it.
        title: As tables show it.
        source: Author and year.
        claimed: What its authors claim, as a fraction; None if there is no such claim.
        claim: What the claim is about.
        how: How it works, in a sentence.
        gaps: How we read what its authors leave open.
        weakness: How it is known to break.
        builds_on_undefended: Whether its training needs the undefended network, whose training
            time is then part of its own.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    claimed: ClassVar[float | None] = None
    claim: ClassVar[str] = ""
    how: ClassVar[str]
    gaps: ClassVar[str] = ""
    weakness: ClassVar[str] = ""
    builds_on_undefended: ClassVar[bool] = False

    @abstractmethod
    def fit(self, setting: Setting) -> Fitted:
        """Train it.

        Raises:
            UsageError: If it cannot work on such data, or under such a threat.
        """

    def further(
        self,
        fitted: Fitted,  # noqa: ARG002 - systems with attacks of their own use them
        setting: Setting,  # noqa: ARG002
        test: Dataset,  # noqa: ARG002
    ) -> list[FurtherAttack]:
        """Attacks that this system is known for, beside those of the table; by default none.

        Args:
            fitted: What `fit` returned.
            setting: Data, threat, seed and budget.
            test: All test images; take some of them.
        """
        return []
