"""Records of how honest a model's probabilities are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tempering.core.record import Count, Record


class CalibrationFigures(Record):
    """Probabilities and conformal sets on clean test images.

    Attributes:
        calibrated_on: Validation images that temperature and conformal sets were calibrated on.
        accuracy: Correct answers, of all test images.
        temperature: Fitted; above 1 for a model that is too sure.
        calibration_error: Expected calibration error as the model is, a fraction.
        calibration_error_scaled: The same after temperature scaling.
        alpha: Share of conformal sets that may miss the true class.
        coverage: Sets that hold the true class; at least 1 - alpha is expected.
        coverage_interval: 95 % interval of the coverage, fractions.
        mean_set_size: Classes in a set, on average.
        empty: Sets without a class.
        accepted: Images whose set holds exactly one class; on the others the model abstains.
        accuracy_accepted: Correct answers among them.
        seed: Of ties and draws.
    """

    calibrated_on: int = Field(ge=1)
    accuracy: Count
    temperature: float = Field(gt=0)
    calibration_error: float = Field(ge=0)
    calibration_error_scaled: float = Field(ge=0)
    alpha: float = Field(gt=0, lt=1)
    coverage: Count
    coverage_interval: tuple[float, float]
    mean_set_size: float = Field(ge=0)
    empty: int = Field(ge=0)
    accepted: Count
    accuracy_accepted: Count
    seed: int


class Calibration(CalibrationFigures):
    """The figures of a model of a run.

    Attributes:
        subject: Which model was measured.
        weights: Hash of its weights.
        data_hash: Of the test images.
    """

    kind: Literal["calibration"] = "calibration"
    subject: str
    weights: str
    data_hash: str
