"""A model's triggers, and which of them are taken for those of a backdoor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from tempering.core.errors import UsageError
from tempering.core.model_scan_records import ClassTrigger
from tempering.data.dataset import Dataset
from tempering.poisoning.models.anomaly import (
    FEW,
    LEAST_RATIO,
    chance,
    indices,
    limit,
    stands_apart,
)
from tempering.poisoning.models.reconstruction import (
    NeuralCleanse,
    ReconstructedTrigger,
    require_two_classes,
)
from tempering.poisoning.success import attack_success


@dataclass(frozen=True)
class TriggerScan:
    """Reconstruct triggers on some clean images, and judge them on others.

    Attributes:
        search: How triggers are reconstructed.
        false_alarms: Share of clean models in which a class is suspect, if log sizes were normal.

    Raises:
        UsageError: If the share is out of range.
    """

    search: NeuralCleanse = field(default_factory=NeuralCleanse)
    false_alarms: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.false_alarms < 1:
            raise UsageError(
                f"false_alarms {self.false_alarms}: give a share above 0 and below 1, such as 0.1"
            )

    def limit(self, classes: int) -> float:
        """Index from which a class is suspect."""
        return limit(classes, self.false_alarms)

    def ratio_limit(self, classes: int) -> float | None:
        """With few classes, what goes in place of the index: size over the next smallest one."""
        return LEAST_RATIO if classes < FEW else None

    def chance(self, triggers: Sequence[ClassTrigger]) -> float:
        """Share of clean models with an index as large as the largest of these."""
        return chance(max(trigger.index for trigger in triggers), len(triggers))

    def run(
        self, model: nn.Module, clean: Dataset, test: Dataset, seed: int
    ) -> tuple[list[ReconstructedTrigger], list[ClassTrigger]]:
        """Triggers, and what is said of each, by number of the class.

        Args:
            model: From images in [0, 1] to logits.
            clean: Clean images that triggers are reconstructed on.
            test: Other clean images, on which their success is measured.
            seed: Of all draws.

        Raises:
            DataError: If all images are of one class.
            NoGradientError: If the logits have no gradient with respect to images.
            ModelError: If the model fails.
        """
        require_two_classes(clean)
        require_two_classes(test)
        triggers = self.search.reconstruct(model, clean, seed)
        return triggers, self.judged(model, test, triggers)

    def judged(
        self, model: nn.Module, test: Dataset, triggers: Sequence[ReconstructedTrigger]
    ) -> list[ClassTrigger]:
        """What is said of each trigger."""
        sizes = [trigger.size for trigger in triggers]
        of_logarithms, of_sizes = indices(sizes)
        least = self.limit(len(triggers))
        small = [index >= least for index in of_logarithms]
        if self.ratio_limit(len(triggers)) is not None:
            small = stands_apart(sizes)
        return [
            ClassTrigger(
                target=trigger.target,
                name=test.classes[trigger.target],
                size=trigger.size,
                index=index,
                size_index=size_index,
                success=attack_success(model, test, trigger.trigger, trigger.target),
                reached=trigger.reached,
                suspect=trigger.reached and is_small,
            )
            for trigger, index, size_index, is_small in zip(
                triggers, of_logarithms, of_sizes, small, strict=True
            )
        ]
