"""What became of each sample, as files that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempering.app.folder import VERDICTS
from tempering.app.gallery import images_of
from tempering.core.errors import RunError
from tempering.core.files import write_with
from tempering.data.dataset import Dataset
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.per_class import final_predictions

IMAGES = "adversarial.npz"


def write_verdicts(folder: Path, result: EvaluationResult, data: Dataset) -> None:
    """Write `verdicts.npz`, one row a sample.

    It holds `index`, the number among the evaluated samples; `id`, the file or row of the source,
    which says which sample it is; `y`, the true class; `clean_predicted` and `predicted`, the
    outputs that win on the clean image, and on the adversarial one where there is one; `clean`,
    right without attack; `certified`; `robust`; `broken_by`, the name of what broke it, empty if
    nothing did; `distance`, infinite where nothing did; `queries`, its forward passes, and
    `backwards`.

    Args:
        folder: Made if it is not there.
        result: Of an evaluation.
        data: Its samples.

    Raises:
        RunError: If the folder cannot be written.
    """
    write_arrays(folder, verdict_arrays(result, data))


def verdict_arrays(result: EvaluationResult, data: Dataset) -> dict[str, NDArray[Any]]:
    """The content of `verdicts.npz`."""
    return {
        "index": np.arange(len(result.clean)),
        "id": np.array(data.ids.names),
        "y": data.y.numpy(),
        "clean_predicted": result.get("clean").per_sample.predicted.numpy(),
        "predicted": final_predictions(result).numpy(),
        "clean": result.clean.numpy(),
        "certified": result.certified.numpy(),
        "robust": result.robust.numpy(),
        "broken_by": np.array(result.broken_by),
        "distance": result.distance.numpy(),
        "queries": result.forwards.numpy(),
        "backwards": result.backwards.numpy(),
    }


def write_arrays(folder: Path, verdicts: dict[str, NDArray[Any]]) -> None:
    """Write what `verdict_arrays` made.

    Raises:
        RunError: If the folder cannot be written.
    """
    _save(folder / VERDICTS, **verdicts)


def write_images(folder: Path, result: EvaluationResult, data: Dataset) -> None:
    """Write `adversarial.npz`: `x`, `x_adv`, `y`, `index` and `id` of the broken samples.

    Args:
        folder: Made if it is not there.
        result: Of an evaluation.
        data: Its samples.

    Raises:
        RunError: If the folder cannot be written.
    """
    rows = (result.clean & ~result.robust).nonzero()[:, 0]
    _save(
        folder / IMAGES,
        index=rows.numpy(),
        id=np.array(data.ids[rows].names),
        x=data.images(rows).numpy(),
        x_adv=images_of(result.get("worst", "any").per_sample)[rows].numpy(),
        y=data.y[rows].numpy(),
    )


def _save(path: Path, **arrays: NDArray[Any]) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make {path.parent}: {error.strerror}: give a folder that can be written to"
        ) from error
    write_with(path, write)
