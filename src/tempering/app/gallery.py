"""Pictures for the report: adversarial examples with what models say of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tempering.app.folder import RunFolder
from tempering.core.errors import RunError
from tempering.core.files import write_with
from tempering.core.random import RandomStreams, derive
from tempering.data.augmentation import Augmentation, gaussian_noise
from tempering.data.dataset import Dataset
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.per_sample import PerSampleResult

EXAMPLES, SHEET = 12, 40
"""Adversarial examples shown, and images in the sheets of samples."""

Arrays = dict[str, NDArray[np.generic]]


def adversarial_examples(
    evaluation: EvaluationResult,
    data: Dataset,
    before: EvaluationResult | None = None,
) -> Arrays:
    """Worst white-box cases: half of them fool the model, as far as there are any.

    Images that no attack has changed are not shown. The model before hardening is shown under
    attacks on itself.

    Args:
        evaluation: Of the protected model.
        data: What it was evaluated on.
        before: Evaluation of the model before hardening on the same data, if there was one.
    """
    clean, worst = evaluation.get("clean").per_sample, evaluation.get("worst").per_sample
    fooled = (clean.robust & ~worst.robust).nonzero()[:, 0]
    changed = (images_of(worst) != data.x).flatten(1).any(1)
    stood = (worst.robust & changed).nonzero()[:, 0]
    broken = fooled[: max(EXAMPLES // 2, EXAMPLES - len(stood))]
    rows = torch.cat([broken, stood[: EXAMPLES - len(broken)]])
    names = [_attack_behind(evaluation, row) for row in rows.tolist()]
    arrays: Arrays = {
        "x": data.images(rows).numpy(),
        "x_adv": images_of(worst)[rows].numpy(),
        "y": data.y[rows].numpy(),
        "clean": clean.predicted[rows].numpy(),
        "after": worst.predicted[rows].numpy(),
        "attack": np.array(names),
    }
    if before is not None:
        own = before.get("worst").per_sample
        arrays["before_x_adv"] = images_of(own)[rows].numpy()
        arrays["before"] = own.predicted[rows].numpy()
    return arrays


def data_samples(data: Dataset, augmentation: Augmentation, sigma: float, seed: int) -> Arrays:
    """Images of the data, and the same after augmentation and noise (eq. 2)."""
    everyone = RandomStreams(derive(seed, "gallery"), data.ids.keys)
    rows = everyone.derive("order").order()[:SHEET]
    some, streams = data.subset(rows), everyone[rows]
    augmented = gaussian_noise(augmentation(some.x, streams), sigma, streams.derive("noise"))
    return {
        "samples_x": some.x.numpy(),
        "samples_y": some.y.numpy(),
        "augmented_x": augmented.numpy(),
    }


def write_gallery(folder: RunFolder, arrays: Arrays) -> None:
    """Write the pictures of a run."""

    def write(path: object) -> None:
        with open(str(path), "wb") as file:  # noqa: PTH123 - savez adds a suffix to names
            np.savez_compressed(file, allow_pickle=False, **arrays)

    write_with(folder.gallery, write)


def _attack_behind(evaluation: EvaluationResult, row: int) -> str:
    """The first attack that fooled a sample; the last white-box attack where none did."""
    results = evaluation.attacks("white")
    last = results[-1].measurement.attack if results else "no attack"
    return evaluation.broken_by[row] or last


def images_of(per_sample: PerSampleResult) -> Tensor:
    """The images that a model was shown.

    Raises:
        RunError: If they were not kept.
    """
    if per_sample.x_adv is None:
        raise RunError("these images were not kept: evaluate with white-box attacks")
    return per_sample.x_adv.to(torch.float32)
