"""Compare two evaluated models sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tempering.app.folder import VERDICTS
from tempering.app.python_inputs import as_path
from tempering.core.comparisons import (
    ComparedModel,
    Comparison,
    ComparisonSummary,
    Quantity,
    summarize_comparison,
)
from tempering.core.errors import DamagedArraysError, RunError, UsageError
from tempering.core.files import followed
from tempering.core.proofs import Proof
from tempering.core.records import AnyRecord, Assessment, Measurement, Provenance
from tempering.core.threat_words import exact, with_value
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.evaluation.curve_verdicts import CURVE
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.paired import compare_paired
from tempering.report.reading import read_run
from tempering.report.verdict_columns import read_verdict_columns, verdict_disagreements

GIVEN = "given"
"""Protocol name of an evaluation with a list of attacks instead of a protocol."""
OUT_OF_TIME = "out of time"
_FINISHED = "give the folder of a finished run of `temper evaluate` or `temper harden`"


@dataclass(frozen=True, eq=False)
class RunVerdicts:
    """Per-sample verdicts of an evaluation, and what they were measured on.

    Attributes:
        side: The model.
        threat: The threat model.
        split: How the data was split.
        data: Address of the data.
        data_hash: Hash of all data, training data included.
        samples_hash: Hash of the evaluated samples.
        clean: Correct without attack, shape (n,), bool.
        robust: Robust to every attack that was run, shape (n,), bool.
        certified: Certified robust, shape (n,), bool; None if certification did not run.
    """

    side: ComparedModel
    threat: str
    split: str
    data: str
    data_hash: str
    samples_hash: str
    clean: Tensor
    robust: Tensor
    certified: Tensor | None


def compare_runs(first: Path | str, second: Path | str) -> ComparisonSummary:
    """Compare two finished evaluations sample by sample, without evaluating again.

    Args:
        first: Folder of a finished `temper evaluate` run.
        second: Folder of another one, on the same data and under the same threat.

    Returns:
        Counts, differences and tests for clean and robust accuracy, and for certified accuracy
        if certification ran on both.

    Raises:
        RunError: If a folder has no verdicts, or its files do not belong together.
        UsageError: If data, split, threat or samples differ; the message names both values.

    Example:
        `compare_runs(Path("runs/mine"), Path("runs/theirs")).robust.p_value`
    """
    mine, other = read_verdicts(as_path(first)), read_verdicts(as_path(second))
    places = f"in {_run_name(mine)}", f"in {_run_name(other)}"
    if mine.side.n == other.side.n:
        _require_equal("samples hash", mine.samples_hash, other.samples_hash, places)
    else:
        _require_equal("data hash", mine.data_hash, other.data_hash, places)
    _require_equal("split", mine.split, other.split, places)
    _require_threat(mine.threat, other.threat, places)
    return summarize_comparison(compare_verdicts(mine, other))


def read_verdicts(folder: Path) -> RunVerdicts:
    """Read the per-sample verdicts of a finished evaluation.

    Args:
        folder: Folder of a finished `temper evaluate` run.

    Raises:
        RunError: If the folder has no verdicts, or its files do not belong together.
    """
    folder = followed(folder)
    if not (folder / VERDICTS).is_file():
        raise RunError(f"{folder} has no {VERDICTS}: {_FINISHED}")
    run = read_run(folder)
    if not isinstance(run.summary, Assessment):
        raise RunError(f"{folder} is not an evaluation: {_FINISHED}")
    path, summary = folder / VERDICTS, run.summary
    try:
        columns = read_verdict_columns(path, summary)
    except DamagedArraysError as error:
        raise RunError(f"{path} cannot be read: {error}: give an unmodified run") from error
    if not np.array_equal(columns["index"], np.arange(summary.n)):
        raise RunError(f"the samples of {path} are not the first {summary.n}: {_FINISHED}")
    for told in verdict_disagreements(columns, summary):
        raise RunError(f"{path}: {told}: give an unmodified run")
    clean, robust, certified = (
        torch.from_numpy(columns[name].copy()) for name in ("clean", "robust", "certified")
    )
    proven = certified if any(isinstance(row, Proof) for row in run.records) else None
    return _verdicts(run.records, summary, folder.resolve().name, (clean, robust, proven))


def require_comparable(
    other: RunVerdicts, data: Dataset | Splits, threat: str, subset: str
) -> None:
    """Check before an evaluation that it can be compared with another run.

    Args:
        other: Verdicts of the other run.
        data: Data of the evaluation.
        threat: Threat model of the evaluation.
        subset: Which samples it takes.

    Raises:
        UsageError: If data, split, threat or samples differ; the message names both values.
    """
    places = "here", f"in {_run_name(other)}"
    _require_threat(threat, other.threat, places)
    if isinstance(data, Splits):
        _require_equal("split", data.split, other.split, places)
    test = data.test if isinstance(data, Splits) else data
    if other.side.n > len(test):
        raise UsageError(
            f"{test.name} has {len(test)} samples, and {_run_name(other)} was evaluated on "
            f"{other.side.n}: give the data of that run"
        )
    what = f"hash of {other.side.n} {subset} samples"
    own = test.take(other.side.n, subset).content_hash
    _require_equal(what, own, other.samples_hash, places)


def verdicts_of(
    result: EvaluationResult, records: Sequence[AnyRecord], summary: Assessment, run: str | None
) -> RunVerdicts:
    """Collect the per-sample verdicts of an evaluation that has just finished.

    Args:
        result: The evaluation, sample by sample.
        records: Its records.
        summary: Its summary.
        run: Name of its folder; None without one.
    """
    certified = None if result.certificates is None else result.certified
    return _verdicts(records, summary, run, (result.clean, result.robust, certified))


def compare_verdicts(first: RunVerdicts, second: RunVerdicts) -> list[Comparison]:
    """Compare verdicts on the samples that both runs have, which are the first ones.

    Args:
        first: Verdicts on the model that this run evaluates.
        second: Verdicts on another model, on the same data.

    Returns:
        One record per quantity; certified only if certification ran on both models and
        certified at least one sample.
    """
    n = min(first.side.n, second.side.n)
    pairs: dict[Quantity, tuple[Tensor, Tensor]] = {
        "clean": (first.clean[:n], second.clean[:n]),
        "robust": (first.robust[:n], second.robust[:n]),
    }
    if first.certified is not None and second.certified is not None:
        certified = first.certified[:n], second.certified[:n]
        if any(bool(column.any()) for column in certified):
            pairs["certified"] = certified
    comparisons = []
    for quantity, (ours, theirs) in pairs.items():
        counts = compare_paired(ours, theirs)
        comparisons.append(
            Comparison(
                quantity=quantity,
                first=first.side,
                second=second.side,
                threat=first.threat,
                both=counts.both,
                first_only=counts.first,
                second_only=counts.second,
                neither=counts.neither,
                data_hash=first.data_hash,
            )
        )
    return comparisons


def attack_description(summary: Assessment) -> str:
    """How a model was attacked, in words; equal for two that were attacked the same way."""
    attacks = f"protocol {summary.protocol}"
    if summary.protocol == GIVEN:
        asked = [name for name in summary.by_attack if not name.endswith(CURVE)]
        attacks = f"attacks {', '.join(asked)}"
    if summary.surrogate_weights is not None:
        attacks += f", surrogate {summary.surrogate_weights}"
    incomplete = any(flag.name == OUT_OF_TIME for flag in summary.flags)
    return f"{attacks}, access {summary.access}{', out of time' * incomplete}"


def _verdicts(
    records: Sequence[AnyRecord],
    summary: Assessment,
    run: str | None,
    columns: tuple[Tensor, Tensor, Tensor | None],
) -> RunVerdicts:
    made = next((record for record in records if isinstance(record, Provenance)), None)
    cleans = [one for one in records if isinstance(one, Measurement) and one.attack == "clean"]
    main = (one for one in cleans if one.subject in ("given", "hardened"))
    clean = next(main, None)
    if made is None or clean is None:
        missing = "provenance" if made is None else "clean accuracy"
        raise RunError(f"the records of {run or 'this evaluation'} have no {missing}: {_FINISHED}")
    return RunVerdicts(
        ComparedModel(
            model=summary.model,
            run=run,
            weights=clean.weights,
            tried=attack_description(summary),
            n=summary.n,
        ),
        summary.threat,
        made.split,
        made.data,
        made.data_hash,
        clean.data_hash,
        *columns,
    )


def _require_threat(ours: str, theirs: str, places: tuple[str, str]) -> None:
    if exact(ours) != exact(theirs):
        _require_equal("threat", with_value(ours), with_value(theirs), places)


def _require_equal(what: str, ours: str, theirs: str, places: tuple[str, str]) -> None:
    """Refuse to compare what differs, with where each of the two is."""
    if ours != theirs:
        raise UsageError(
            f"{what} is {ours} {places[0]} and {theirs} {places[1]}: give a run on the same "
            "data, split and threat"
        )


def _run_name(other: RunVerdicts) -> str:
    return f"{other.side.run} ({other.data})"
