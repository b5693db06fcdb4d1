"""Use case `poison --apply-trigger`: stamped test images, and how many of them are taken over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict
from torch import nn

from tempering.app.job import job
from tempering.app.model_address import load_model
from tempering.app.output_files import check_new_folder
from tempering.app.poison import DATA, FACTS, PoisonAddress
from tempering.core.errors import DataError, UsageError
from tempering.core.files import write_folder, write_text
from tempering.core.record import Count
from tempering.data.loading import load
from tempering.data.saving import save_npz
from tempering.data.splits import Splits
from tempering.models.adoption import with_logits
from tempering.models.checks import check_classifier
from tempering.models.logits import as_logits_model
from tempering.poisoning.success import stamped, targeted_success
from tempering.poisoning.truth import Truth, read_truth


class StampReport(BaseModel):
    """What came of stamping test images.

    Attributes:
        attack: The poison that planted the backdoor.
        target: Name of the class that the trigger calls.
        n: Test images of other classes, which were stamped.
        left_out: Test images of the target class.
        success: How many of the stamped images the model takes for the target; None without a
            model.
        success_interval: 95 % interval of the attack success, fractions; None without a model.
        before: How many of them it takes for the target without the trigger; None without a model.
        clean: How many test images it classifies correctly without the trigger; None without a
            model.
        data: Address of the data with stamped test images; None if it was not written.
    """

    model_config = ConfigDict(frozen=True)

    attack: str
    target: str
    n: int
    left_out: int
    success: Count | None
    success_interval: tuple[float, float] | None
    before: Count | None
    clean: Count | None
    data: str | None


@dataclass(frozen=True, eq=False)
class Stamped:
    """Stamped test images.

    Attributes:
        data: The data, with the stamped images of other classes than the target as test data.
        source: The data before.
        truth: Trigger and target.
        target: Index of the class that the trigger calls.
    """

    data: Splits
    source: Splits
    truth: Truth
    target: int

    @classmethod
    def of(cls, source: Splits, truth: Truth, folder: Path | str) -> Stamped:
        """Stamp the test images of some data.

        Args:
            source: The data.
            truth: Trigger and target.
            folder: Where they come from, for messages.

        Raises:
            DataError: If there is no trigger, or it does not fit.
            UsageError: If the target is no class of the data.
        """
        if truth.trigger is None or truth.target is None:
            told = (
                "aims at victims without a trigger: call tempering.poisoning.targeted_success"
                if truth.victims is not None
                else "has no trigger: give a folder made with badnets or another backdoor"
            )
            raise DataError(f"{truth.attack} in {folder} {told}")
        test = stamped(source.test, truth.trigger, truth.target)
        return cls(replace(source, test=test), source, truth, truth.target)

    def measured(self, model: nn.Module | None, out: Path | None) -> StampReport:
        """The counts.

        Args:
            model: The model that is asked; None to ask none.
            out: The folder where the data is, if it was written.
        """
        clean_test, target = self.source.test, self.target
        success = before = clean = None
        if model is not None:
            success = targeted_success(model, self.data.test, target)
            others = clean_test.keep(clean_test.y != target)
            before = targeted_success(model, others, target)
            clean = _correct(model, self.source)
        return StampReport(
            attack=self.truth.attack,
            target=clean_test.classes[target],
            n=len(self.data.test),
            left_out=len(clean_test) - len(self.data.test),
            success=success,
            success_interval=None if success is None else success.interval,
            before=before,
            clean=clean,
            data=None if out is None else f"npz:{out / DATA}",
        )


def _correct(model: nn.Module, data: Splits) -> Count:
    parts = [
        targeted_success(model, own, label)
        for label in range(data.num_classes)
        if len(own := data.test.keep(data.test.y == label))
    ]
    return Count(hits=sum(part.hits for part in parts), n=sum(part.n for part in parts))


@job()
def apply_trigger_address(
    address: PoisonAddress, folder: Path, out: Path | None = None
) -> StampReport:
    """Stamp the test images of some data with the trigger of a poison.

    Args:
        address: The data, and the model whose attack success is measured, if one is given.
        folder: A folder made by `temper poison`.
        out: A new folder for the data with stamped test images; None to write nothing.

    Raises:
        UsageError: If something about the call is wrong.
        DataError: If the folder has no trigger, or it does not fit the data.
        ModelError: If there is no such model, or it is no classifier of the data.
    """
    if out is None and address.model is None:
        raise UsageError(
            f"--apply-trigger {folder} without --out or --model: give a folder to write, or a "
            "model to measure"
        )
    if out is not None:
        check_new_folder(out, "the stamped data")
    truth = read_truth(folder)
    source = load(address.source, address.split or "official", address.seed)
    done = Stamped.of(source, truth, folder)
    model = None
    if address.model is not None:
        x = source.test.first(2).x
        model = with_logits(load_model(address.model, address.weights, x=x), x)
        model = as_logits_model(model, x)
        check_classifier(model, x, source.num_classes, source.address)
    report = done.measured(model, out)
    if out is not None:

        def fill(place: Path) -> None:
            save_npz(done.data, place / DATA)
            write_text(place / FACTS, report.model_dump_json(indent=2) + "\n")

        write_folder(out, fill)
    return report
