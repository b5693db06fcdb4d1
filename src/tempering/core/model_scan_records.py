"""What a scan of a model for backdoors found, and what its repair changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from tempering.core.record import Count, Record

ModelVerdict = Literal["backdoor found", "no backdoor found", "cannot tell"]

FOUND: ModelVerdict = "backdoor found"
NOT_FOUND: ModelVerdict = "no backdoor found"
CANNOT_TELL: ModelVerdict = "cannot tell"


class ClassTrigger(Record):
    """The trigger that was reconstructed for a class.

    Attributes:
        target: Number of the class.
        name: Its name.
        size: Sum of the mask, in pixels.
        index: Median absolute deviations by which the logarithm of the size lies below the median.
        size_index: The same of the size itself, as its authors have it.
        success: Test images of other classes that follow it.
        reached: Whether the search found a trigger that enough images follow.
        suspect: Whether it is taken for the trigger of a backdoor.
    """

    target: int = Field(ge=0)
    name: str
    size: float = Field(ge=0)
    index: float
    size_index: float
    success: Count
    reached: bool
    suspect: bool


class Change(Record):
    """A count on the same images before and after a repair."""

    before: Count
    after: Count


class Repair(Record):
    """What a repair changed, measured on test images.

    Attributes:
        method: `fine-pruning`, `unlearning` or `both`.
        samples: Clean images that it used.
        pruned: Filters or neurons that were removed; None without pruning.
        prunable: Those of the pruned layer; None without pruning.
        layer: Name of the pruned layer; None without pruning.
        steps: Steps of fine-tuning.
        clean: Correct answers on clean test images.
        found: Name of a suspect class -> success of the trigger that was found before the repair.
        again: The triggers of a second reconstruction, on the repaired model.
        truth: Success of the true trigger, where it is known.
        seconds: Time of repair and second reconstruction.
    """

    method: str
    samples: int = Field(ge=1)
    pruned: int | None = None
    prunable: int | None = None
    layer: str | None = None
    steps: int = Field(ge=0)
    clean: Change
    found: dict[str, Change]
    again: list[ClassTrigger]
    truth: Change | None = None
    seconds: float = Field(ge=0)

    @property
    def suspects_left(self) -> list[ClassTrigger]:
        """Suspect classes of the repaired model."""
        return [trigger for trigger in self.again if trigger.suspect]


class ModelScan(Record):
    """What a scan of a model for backdoors found.

    Attributes:
        model: Address or name of the model.
        data: Name of the clean data.
        data_hash: Of the images that triggers were reconstructed on.
        shape: Channels, height and width of an image.
        samples: Clean images that triggers were reconstructed on.
        tested: Other clean images, on which success and accuracy are measured.
        seed: Of all draws.
        steps: Steps of the search for each class.
        clean: Correct answers on the test images.
        triggers: One a class.
        limit: Index from which a class is suspect, unless there are few.
        ratio_limit: With few classes, size over that of the next smallest trigger below which a
            class is suspect; None where the index decides.
        verdict: Whether a class is suspect. With few classes "cannot tell" stands where none is.
        false_alarms: Share of clean models above the limit, if log sizes were normal.
        chance: Share of clean models with an index as large as the largest one, likewise.
        truth: Success of the true trigger, where it is known.
        true_target: Class of the true trigger; None if it is not known.
        seconds: Time of the scan, without the repair.
        command: What was called; empty from Python.
        tempering: Version.
        repair: What the repair changed; None without one.
        repaired: The folder of the repaired model; None if none was written.
        not_repaired: Why a repair that was asked for was not made; None otherwise.
    """

    model: str
    data: str
    data_hash: str
    shape: tuple[int, int, int]
    samples: int = Field(ge=1)
    tested: int = Field(ge=1)
    seed: int
    steps: int = Field(ge=1)
    clean: Count
    triggers: list[ClassTrigger]
    limit: float
    ratio_limit: float | None = None
    verdict: ModelVerdict
    false_alarms: float
    chance: float
    truth: Count | None = None
    true_target: str | None = None
    seconds: float = Field(ge=0)
    command: str = ""
    tempering: str
    repair: Repair | None = None
    repaired: str | None = None
    not_repaired: str | None = None

    @property
    def suspects(self) -> list[ClassTrigger]:
        """Suspect classes, the largest index first."""
        held = [trigger for trigger in self.triggers if trigger.suspect]
        return sorted(held, key=lambda trigger: -trigger.index)

    @property
    def backdoor(self) -> bool:
        """Whether a class is suspect."""
        return bool(self.suspects)

    @property
    def judged(self) -> bool:
        """Whether the scan can tell: a suspect class, or enough classes to compare."""
        return self.verdict != CANNOT_TELL

    @property
    def ratio(self) -> float:
        """Size of the smallest trigger over that of the next smallest one."""
        smallest, following = sorted(trigger.size for trigger in self.triggers)[:2]
        return smallest / max(following, 1e-6)

    @property
    def finding(self) -> str:
        """The verdict in words, with the classes."""
        if self.backdoor:
            return f"{FOUND}: class {', '.join(trigger.name for trigger in self.suspects)}"
        if not self.judged:
            return f"{CANNOT_TELL}: {len(self.triggers)} classes are too few to compare"
        return self.verdict


def verdict_of(triggers: Sequence[ClassTrigger], ratio_limit: float | None) -> ModelVerdict:
    """What triggers say of a model.

    Args:
        triggers: One a class.
        ratio_limit: As in `ModelScan`: None if there are enough classes to compare.
    """
    if any(trigger.suspect for trigger in triggers):
        return FOUND
    return NOT_FOUND if ratio_limit is None else CANNOT_TELL
