"""What became of each sample, as files that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tempering.app.folder import VERDICTS
from tempering.app.judgement import Judgement
from tempering.app.result_cache import images_of
from tempering.core.errors import RunError
from tempering.core.files import write_with
from tempering.evaluation.standard import NO_ATTACKS

IMAGES = "adversarial.npz"


def write_verdicts(folder: Path, job: Judgement) -> None:
    """Write `verdicts.npz`, one row a sample.

    It holds `index` in the test data; `id`, the file or row of the source; `clean`, right
    without attack; `certified`; `robust`; `broken_by`, the name of what broke it, empty if
    nothing did; `distance`, infinite where nothing did; `queries`, its forward passes, and
    `backwards`.

    Args:
        folder: Made if it is not there.
        job: An evaluation that is done.

    Raises:
        RunError: If the folder cannot be written.
    """
    clean, worst = (
        job.evaluation.get("clean").per_sample,
        job.evaluation.get("worst", "any").per_sample,
    )
    broken = clean.robust & ~worst.robust
    proven = torch.zeros_like(broken) if job.proofs is None else job.proofs.certified
    _save(
        folder / VERDICTS,
        index=np.arange(len(broken)),
        id=np.array(job.context.data.ids.names),
        clean=clean.robust.numpy(),
        certified=proven.numpy(),
        robust=worst.robust.numpy(),
        broken_by=np.array(broken_by(job)),
        distance=worst.distance.masked_fill(~broken, torch.inf).numpy(),
        queries=worst.forwards.numpy(),
        backwards=worst.backwards.numpy(),
    )


def write_images(folder: Path, job: Judgement) -> None:
    """Write `adversarial.npz`: `x`, `x_adv`, `y`, `index` and `id` of the broken samples.

    Args:
        folder: Made if it is not there.
        job: An evaluation that is done.

    Raises:
        RunError: If the folder cannot be written.
    """
    clean, worst = (
        job.evaluation.get("clean").per_sample,
        job.evaluation.get("worst", "any").per_sample,
    )
    rows = (clean.robust & ~worst.robust).nonzero()[:, 0]
    _save(
        folder / IMAGES,
        index=rows.numpy(),
        id=np.array(job.context.data.ids[rows].names),
        x=job.context.data.x[rows].numpy(),
        x_adv=images_of(worst)[rows].numpy(),
        y=job.context.data.y[rows].numpy(),
    )


def broken_by(job: Judgement) -> list[str]:
    """What broke each sample first; empty where nothing did."""
    clean, worst = (
        job.evaluation.get("clean").per_sample,
        job.evaluation.get("worst", "any").per_sample,
    )
    broken = clean.robust & ~worst.robust
    names = [""] * len(broken)
    ran = [one for one in job.evaluation.results if one.measurement.attack not in NO_ATTACKS]
    for result in reversed(ran):
        hit = broken & ~result.per_sample.robust & (result.per_sample.predicted >= 0)
        for row in hit.nonzero()[:, 0].tolist():
            names[row] = result.measurement.attack
    for found in reversed(job.verdicts.values()):
        for row in broken.nonzero()[:, 0].tolist():
            names[row] = found.broken_by[row] or names[row]
    return names


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
