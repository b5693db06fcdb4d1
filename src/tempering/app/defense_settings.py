"""The defenses of a recipe: transforms before the network, a detector beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, model_validator

from tempering.app.python_inputs import as_number
from tempering.core.errors import UsageError
from tempering.core.protocols import Detector, Transform
from tempering.defenses.text import NamedDefense, read_defenses
from tempering.training.settings import Settings

STAGES, RATE = "defenses.stages", "defenses.fpr"
"""Keys of a recipe."""
DefenseLike = Transform | Detector | str
FPR = 0.05
"""Share of clean validation images that a detector flags, unless a recipe says otherwise."""


def _written(stages: tuple[NamedDefense, ...]) -> list[str]:
    return [stage.text() for stage in stages]


Stages = Annotated[
    tuple[NamedDefense, ...], PlainValidator(read_defenses), PlainSerializer(_written)
]
"""In files `name` or `name:option=value` each."""


class DefenseSettings(Settings):
    """Defenses that are trained and deployed with the network.

    Attributes:
        stages: In files `name` or `name:option=value` each. Transforms come before the network
            in this order; one detector may be among them.
        fpr: Share of clean validation images that the detector flags; None for 0.05.
    """

    stages: Stages = ()
    fpr: float | None = None

    @model_validator(mode="after")
    def _check(self) -> DefenseSettings:
        detectors = [stage.name for stage in self.stages if stage.detects]
        if len(detectors) > 1:
            raise UsageError(f"detectors {' and '.join(detectors)}: give one of them")
        if self.fpr is not None and not detectors:
            raise UsageError(
                f"fpr {self.fpr:g} without a detector: leave it out, or give --defense a detector, "
                "such as mahalanobis"
            )
        if self.fpr is not None and not 0 < self.fpr < 1:
            raise UsageError(
                f"fpr {self.fpr:g}: give a false-positive rate between 0 and 1, such as 0.05"
            )
        return self

    @property
    def transforms(self) -> tuple[NamedDefense, ...]:
        """Those that come before the network."""
        return tuple(stage for stage in self.stages if not stage.detects)

    @property
    def detector(self) -> NamedDefense | None:
        """The one beside it, if there is one."""
        return next((stage for stage in self.stages if stage.detects), None)

    @property
    def rate(self) -> float:
        """Share of clean validation images that the detector flags."""
        return FPR if self.fpr is None else self.fpr

    def in_words(self) -> list[str]:
        """Each defense, as records name it."""
        return [
            f"{stage.text()} (detector, false-positive rate {self.rate:g})"
            if stage.detects
            else stage.text()
            for stage in self.stages
        ]


def defense_overrides(
    defense: DefenseLike | Sequence[DefenseLike] | None, fpr: float | None
) -> list[str]:
    """Given defenses as overrides of a recipe.

    Raises:
        UsageError: If one is no defense, an option is wrong, or the rate is no number.
        ModelError: If the class of an object is not registered.

    Example:
        >>> defense_overrides("jpeg:quality=50,median", None)
        ['defenses.stages=["jpeg:quality=50", "median"]']
    """
    given = []
    if defense is not None:
        given.append(f"{STAGES}={json.dumps(_written(read_defenses(defense)))}")
    if fpr is not None:
        given.append(f"{RATE}={as_number(fpr, 'fpr')}")
    return given
