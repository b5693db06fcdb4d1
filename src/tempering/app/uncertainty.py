"""Use case `uncertainty`: how honest a model's probabilities are, and what abstention gains."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from tempering.app.compute import Compute
from tempering.app.job import job
from tempering.app.model_address import load_model
from tempering.app.networks import model_name
from tempering.app.python_inputs import (
    DataLike,
    ModelLike,
    as_count,
    as_data,
    as_model,
    as_number,
    shown,
)
from tempering.app.scan_model import parts
from tempering.app.scan_model_address import ScanAddress
from tempering.core.calibration_records import CalibrationFigures
from tempering.core.errors import UsageError
from tempering.core.kept_weights import keep_weights
from tempering.core.user_code import moved
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.defenses.confidence import all_logits, class_logits
from tempering.evaluation.calibration import ALPHA, calibration
from tempering.evaluation.detector_measures import detector_report
from tempering.evaluation.disagreement import (
    disagreement,
    dropout_probabilities,
    ensemble_probabilities,
)
from tempering.evaluation.target import Target

PASSES = 20
"""Passes with dropout left on."""


class ErrorDetection(BaseModel):
    """How well a measure of doubt tells wrong answers from right ones.

    Attributes:
        auroc: Chance that a wrong answer has more doubt than a right one; ties count half.
        interval: Its 95 % interval.
    """

    model_config = ConfigDict(frozen=True)

    auroc: float
    interval: tuple[float, float]


class UncertaintyReport(CalibrationFigures):
    """Uncertainty of a model on clean test images.

    Attributes:
        model: Address or name.
        data: Name of the data.
        n: Test images.
        errors_found_by: Measure of doubt -> how well it finds wrong answers: `max_softmax`,
            `dropout` and `ensemble`, as far as they exist; empty if all answers are right or wrong.
    """

    model: str
    data: str
    n: int
    errors_found_by: dict[str, ErrorDetection]


@job()
def uncertainty(
    model: ModelLike,
    data: DataLike,
    *,
    alpha: float = ALPHA,
    samples: int | None = None,
    ensemble: Sequence[ModelLike] = (),
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
) -> UncertaintyReport:
    """Measure calibration, conformal sets, abstention and disagreement.

    Args:
        model: A module or a function from images in [0, 1], shape (n, c, h, w), to logits.
        data: Images that the model was not trained on, in any form that `tempering.evaluate`
            takes. Of splits the validation part calibrates, and the test part measures; of other
            data half of it each.
        alpha: Share of conformal sets that may miss the true class, above 0 and below 1.
        samples: Images to calibrate on; by default 500, or all if there are fewer.
        ensemble: Other models of the same data, whose disagreement with this one is measured.
        seed: Of all draws.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        progress: Whether to show progress on stderr.

    Returns:
        Counts and measures.

    Raises:
        UsageError: If an argument is invalid.
        DataError: If there are too few images for alpha.
        ModelError: If a model is no classifier of the data.

    Example:
        `uncertainty(model, (x, y)).coverage`
    """
    module = keep_weights(as_model(model))
    others = [keep_weights(as_model(other)) for other in ensemble]
    number = None if samples is None else as_count(samples, "samples", 1)
    with shown(progress):
        return _measured(
            module,
            model_name(module),
            others,
            as_data(data),
            as_number(alpha, "alpha"),
            number,
            as_count(seed, "seed"),
            Compute(device),
        )


@job()
def uncertainty_address(
    address: ScanAddress,
    *,
    alpha: float = ALPHA,
    samples: int | None = None,
    ensemble: Sequence[str] = (),
    compute: Compute | None = None,
) -> UncertaintyReport:
    """Measure the uncertainty of a model given by its address.

    Args:
        address: Model and data.
        alpha: Share of conformal sets that may miss the true class.
        samples: Images to calibrate on.
        ensemble: Addresses of other models of the same data.
        compute: Device.

    Raises:
        UsageError: If something about the call is wrong.
        DataError: If the data does not suffice.
        ModelError: If there is no such model, or it is no classifier of the data.
    """
    module, splits, _ = address.load()
    others = [load_model(other, x=splits.test.first(1).x) for other in ensemble]
    return _measured(
        module, address.model, others, splits, alpha, samples, address.seed, compute or Compute()
    )


def _measured(
    module: nn.Module,
    name: str,
    others: list[nn.Module],
    data: Dataset | Splits,
    alpha: float,
    samples: int | None,
    seed: int,
    compute: Compute,
) -> UncertaintyReport:
    if not 0 < alpha < 1:
        raise UsageError(f"alpha {alpha:g}: give a share above 0 and below 1, such as 0.05")
    engine = compute.start()
    held, test = parts(data, samples)
    networks = [
        moved(Target.of_any("given", each, test).model, engine.device) for each in (module, *others)
    ]
    network = networks[0]
    found = calibration(network, held, test, alpha, seed)
    logits = class_logits(network, all_logits(network, test.x))
    doubts = _doubts(networks, logits / found.temperature, test, seed)
    return UncertaintyReport(
        **dict(found),
        model=name,
        data=data.address if isinstance(data, Splits) else data.name,
        n=len(test),
        errors_found_by=_found(doubts, logits.argmax(1) == test.y),
    )


def _doubts(
    networks: list[nn.Module], scaled: Tensor, test: Dataset, seed: int
) -> dict[str, Tensor]:
    """Measures of doubt, larger for less sure, shape (n,) each."""
    doubts = {"max_softmax": 1 - scaled.softmax(1).amax(1)}
    answers = dropout_probabilities(networks[0], test, PASSES, seed)
    if answers is not None:
        doubts["dropout"] = disagreement(answers)
    if len(networks) > 1:
        doubts["ensemble"] = disagreement(ensemble_probabilities(networks, test))
    return doubts


def _found(doubts: dict[str, Tensor], right: Tensor) -> dict[str, ErrorDetection]:
    if bool(right.all()) or not bool(right.any()):
        return {}
    reports = {
        name: detector_report(doubt[right], doubt[~right], 0.0) for name, doubt in doubts.items()
    }
    return {
        name: ErrorDetection(auroc=report.auroc, interval=report.auroc_interval)
        for name, report in reports.items()
    }
