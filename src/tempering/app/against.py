"""A model beside another one that was evaluated on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tempering.app.folder import VERDICTS
from tempering.core.arrays import read_arrays
from tempering.core.comparisons import Against, Comparison, Judged, Quantity, against_of
from tempering.core.errors import DamagedArraysError, RunError, UsageError
from tempering.core.proofs import Proof
from tempering.core.records import (
    AnyRecord,
    Assessment,
    Measurement,
    Provenance,
)
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.paired import compare_paired
from tempering.report.reading import read_run

GIVEN = "given"
"""The protocol of an evaluation by attacks that were named one by one."""
OUT_OF_TIME = "out of time"
_FINISHED = "give the folder of a run that `temper evaluate` has finished"


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What an evaluation said of each sample.

    Attributes:
        side: Whose they are.
        threat: What could change.
        split: How the data was split.
        data: Its address.
        data_hash: Of all the data, training data included.
        samples_hash: Of the samples that were judged.
        clean: Right without attack, shape (n,), bool.
        robust: Right after everything that was tried, shape (n,), bool.
        certified: With a proof, shape (n,), bool; None where no proof was tried.
    """

    side: Judged
    threat: str
    split: str
    data: str
    data_hash: str
    samples_hash: str
    clean: Tensor
    robust: Tensor
    certified: Tensor | None


def compare_runs(first: Path, second: Path) -> Against:
    """Compare two evaluated runs sample by sample; nothing is evaluated again.

    Args:
        first: The folder of a finished run of `temper evaluate`.
        second: Another one, on the same data under the same threat.

    Returns:
        Counts, differences and tests for clean, robust and, where proofs were tried on both,
        certified correctness.

    Raises:
        RunError: If a folder holds no verdicts, or files that do not belong together.
        UsageError: If data, split, threat or samples differ; names both values.

    Example:
        `compare_runs(Path("runs/mine"), Path("runs/theirs")).robust.p_value`
    """
    one, other = read_verdicts(first), read_verdicts(second)
    if one.side.n == other.side.n:
        _same("samples of hash", one.samples_hash, other.samples_hash, other)
    else:
        _same("data of hash", one.data_hash, other.data_hash, other)
    _same("split", one.split, other.split, other)
    _same("threat", one.threat, other.threat, other)
    return against_of(compared(one, other))


def read_verdicts(folder: Path) -> Verdicts:
    """What a finished evaluation said of each sample.

    Args:
        folder: Of a finished run of `temper evaluate`.

    Raises:
        RunError: If it holds no verdicts, or files that do not belong together.
    """
    if not (folder / VERDICTS).is_file():
        raise RunError(f"{folder} holds no {VERDICTS}: {_FINISHED}")
    run = read_run(folder)
    if not isinstance(run.summary, Assessment):
        raise RunError(f"{folder} is no evaluation: {_FINISHED}")
    made, measured = _made(run.records, folder), _clean(run.records, folder)
    index, clean, robust, certified = _columns(folder / VERDICTS)
    counts = tuple(int(one.sum()) for one in (clean, robust, certified))
    said = run.summary
    if counts != (said.clean_correct, said.robust_correct, said.certified_correct):
        raise RunError(
            f"{folder / VERDICTS} counts {counts} clean, robust and certified samples, and its "
            f"summary.json {(said.clean_correct, said.robust_correct, said.certified_correct)}: "
            "give a run that was not altered"
        )
    if not torch.equal(index, torch.arange(said.n)):
        raise RunError(
            f"{folder / VERDICTS} is of other samples than the first {said.n}: {_FINISHED}"
        )
    return Verdicts(
        side=Judged(
            model=said.model,
            run=folder.resolve().name,
            weights=measured.weights,
            tried=tried(said),
            n=said.n,
        ),
        threat=said.threat,
        split=made.split,
        data=made.data,
        data_hash=made.data_hash,
        samples_hash=measured.data_hash,
        clean=clean,
        robust=robust,
        certified=certified if any(isinstance(one, Proof) for one in run.records) else None,
    )


def require_same(other: Verdicts, data: Dataset | Splits, threat: str) -> None:
    """Refuse to compare what was judged on something else, before anything is run.

    Args:
        other: Of the run to compare with.
        data: What the model is to be judged on.
        threat: What may change.

    Raises:
        UsageError: If data, split, threat or samples differ; names both values.
    """
    _same("threat", threat, other.threat, other)
    if isinstance(data, Splits):
        _same("split", data.split, other.split, other)
    test = data.test if isinstance(data, Splits) else data
    if other.side.n > len(test):
        raise UsageError(
            f"{test.name} has {len(test)} samples, and {_who(other)} was judged on "
            f"{other.side.n}: give the data of that run"
        )
    said = f"the first {other.side.n} samples have hash"
    _same(said, test.first(other.side.n).content_hash, other.samples_hash, other)


def verdicts_of(
    result: EvaluationResult, records: Sequence[AnyRecord], found: Assessment, run: str | None
) -> Verdicts:
    """What an evaluation that is done said of each sample.

    Args:
        result: What became of each sample.
        records: Its records.
        found: Its summary.
        run: The name of its folder; None without one.
    """
    made = _made(records, "this evaluation")
    clean = result.get("clean")
    side = Judged(
        model=found.model,
        run=run,
        weights=clean.measurement.weights,
        tried=tried(found),
        n=found.n,
    )
    return Verdicts(
        side=side,
        threat=found.threat,
        split=made.split,
        data=made.data,
        data_hash=made.data_hash,
        samples_hash=clean.measurement.data_hash,
        clean=result.clean,
        robust=result.robust,
        certified=None if result.certificates is None else result.certified,
    )


def compared(first: Verdicts, second: Verdicts) -> list[Comparison]:
    """Compare verdicts on the samples that both have: the first ones.

    Args:
        first: Of the model that a run is about.
        second: Of another one, on the same data.

    Returns:
        One record a quantity; certified only if proofs were tried on both and one succeeded.
    """
    both = min(first.side.n, second.side.n)
    pairs: dict[Quantity, tuple[Tensor, Tensor]] = {
        "clean": (first.clean, second.clean),
        "robust": (first.robust, second.robust),
    }
    if first.certified is not None and second.certified is not None:
        proven = first.certified[:both], second.certified[:both]
        if any(bool(one.any()) for one in proven):
            pairs["certified"] = proven
    found = []
    for quantity, (one, other) in pairs.items():
        paired = compare_paired(one[:both], other[:both])
        found.append(
            Comparison(
                quantity=quantity,
                first=first.side,
                second=second.side,
                threat=first.threat,
                both=paired.both,
                first_only=paired.first,
                second_only=paired.second,
                neither=paired.neither,
                data_hash=first.data_hash,
            )
        )
    return found


def tried(found: Assessment) -> str:
    """How a model was attacked, in words; equal for two that were attacked alike."""
    how = f"protocol {found.protocol}"
    if found.protocol == GIVEN:
        how = f"attacks {', '.join(found.by_attack)}"
    if found.surrogate_weights is not None:
        how += f", surrogate {found.surrogate_weights}"
    cut = any(flag.name == OUT_OF_TIME for flag in found.flags)
    return f"{how}, access {found.access}{', out of time' * cut}"


def _made(records: Sequence[AnyRecord], where: object) -> Provenance:
    found = next((one for one in records if isinstance(one, Provenance)), None)
    if found is None:
        raise RunError(f"the records of {where} do not say what it was made of: {_FINISHED}")
    return found


def _clean(records: Sequence[AnyRecord], where: object) -> Measurement:
    measured = (one for one in records if isinstance(one, Measurement))
    found = next((one for one in measured if one.attack == "clean"), None)
    if found is None:
        raise RunError(f"the records of {where} hold no clean accuracy: {_FINISHED}")
    return found


def _columns(path: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Index, clean, robust and certified, one entry a sample."""
    try:
        file = read_arrays(path)
        index = torch.from_numpy(file["index"].astype(np.int64))
        clean, robust, certified = (
            torch.from_numpy(file[name].astype(bool)) for name in ("clean", "robust", "certified")
        )
    except (DamagedArraysError, KeyError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read: {error}: give a run that was not altered"
        ) from error
    return index, clean, robust, certified


def _same(what: str, ours: str, theirs: str, other: Verdicts) -> None:
    if ours != theirs:
        raise UsageError(
            f"{what} {ours} here, and {theirs} in {_who(other)}: give a run on the same data, "
            "split and threat"
        )


def _who(other: Verdicts) -> str:
    return f"{other.side.run} ({other.data})"
