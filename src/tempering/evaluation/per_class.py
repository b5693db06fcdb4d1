"""What became of each class under attack."""

from __future__ import annotations

from torch import Tensor

from tempering.core.class_records import PerClass, per_class_record
from tempering.data.dataset import Dataset
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.target import Target


def final_predictions(result: EvaluationResult) -> Tensor:
    """What each sample is taken for under attack, shape (n,), int64.

    For a broken sample that is the prediction for its adversarial image, for any other one the
    prediction for the clean image.
    """
    clean, worst = result.get("clean").per_sample, result.get("worst", "any").per_sample
    return worst.predicted.where(result.clean & ~result.robust, clean.predicted)


def per_class(result: EvaluationResult, data: Dataset, seed: int) -> PerClass:
    """Robust accuracy of each class, and the confusion matrix under attack.

    Args:
        result: The evaluation, with the verdicts of its curve.
        data: Its samples.
        seed: Of the evaluation.

    Returns:
        The record.
    """
    target = result.target
    return per_class_record(
        data.y.tolist(),
        result.clean.tolist(),
        result.robust.tolist(),
        final_predictions(result).tolist(),
        _outputs(target, data),
        data.num_classes,
        subject=target.subject,
        threat=str(result.threat),
        seed=seed,
        weights=target.weights,
        data_hash=data.content_hash,
    )


def _outputs(target: Target, data: Dataset) -> list[str]:
    """Names of all outputs: those of the classes, and numbers or the flag beyond them."""
    beyond = range(data.num_classes, target.outputs)
    others = ["adversarial" if output == target.flag else f"output {output}" for output in beyond]
    return [*data.classes, *others]
