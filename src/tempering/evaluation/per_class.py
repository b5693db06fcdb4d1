"""What became of each class under attack."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from tempering.core.class_records import ClassesAtEps, PerClass, per_class_record
from tempering.data.dataset import Dataset
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.results import AttackResult
from tempering.evaluation.target import Target


def final_predictions(result: EvaluationResult) -> Tensor:
    """What each sample is taken for under attack, shape (n,), int64.

    For a broken sample that is the prediction for its adversarial image, for any other one the
    prediction for the clean image.
    """
    clean, worst = result.get("clean").per_sample, result.get("worst", "any").per_sample
    return worst.predicted.where(result.clean & ~result.robust, clean.predicted)


def per_class(
    result: EvaluationResult, data: Dataset, seed: int, curve: Sequence[AttackResult] = ()
) -> PerClass:
    """Robust accuracy of each class, and the confusion matrix under attack.

    Args:
        result: The evaluation, with the verdicts of its curve.
        data: Its samples.
        seed: Of the evaluation.
        curve: Results at several eps, on the first samples.

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
        None if result.certificates is None else result.certified.tolist(),
        [_at_eps(at_eps, result, data) for at_eps in curve],
        subject=target.subject,
        threat=str(result.threat),
        seed=seed,
        weights=target.weights,
        data_hash=data.content_hash,
    )


def _at_eps(at_eps: AttackResult, result: EvaluationResult, data: Dataset) -> ClassesAtEps:
    eps, n = at_eps.measurement.eps, at_eps.measurement.n
    y = data.y[:n]
    proofs = {proof.eps: proof.by_class for proof in result.certified_curve if proof.by_class}
    return ClassesAtEps(
        eps=eps,
        n=y.bincount(minlength=data.num_classes).tolist(),
        robust=y[at_eps.per_sample.robust].bincount(minlength=data.num_classes).tolist(),
        certified=proofs.get(eps, []),
    )


def _outputs(target: Target, data: Dataset) -> list[str]:
    """Names of all outputs: those of the classes, and numbers or the flag beyond them."""
    beyond = range(data.num_classes, target.outputs)
    others = ["adversarial" if output == target.flag else f"output {output}" for output in beyond]
    return [*data.classes, *others]
