"""Records of measurements: integer counts, configuration, seed, hashes and cost.

Each line of `records.jsonl` is one JSON object. Percentages are derived, never stored. This
module does not import torch, since reports read records only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from tempering.core.calibration_records import Calibration as Calibration
from tempering.core.class_records import PerClass
from tempering.core.comparisons import Comparison, ComparisonSummary
from tempering.core.corruption_records import CorruptionResult, CorruptionSummary
from tempering.core.errors import RunError
from tempering.core.measurement_records import NO_ATTACKS as NO_ATTACKS
from tempering.core.measurement_records import Abstaining as Abstaining
from tempering.core.measurement_records import Access as Access
from tempering.core.measurement_records import Measurement as Measurement
from tempering.core.measurement_records import MinimumNorm as MinimumNorm
from tempering.core.measurement_records import PoisonCertificates as PoisonCertificates
from tempering.core.measurement_records import Subject as Subject
from tempering.core.proofs import Proof
from tempering.core.record import Cost as Cost
from tempering.core.record import Count as Count
from tempering.core.record import Record as Record
from tempering.core.summary_parts import AttackSummary as AttackSummary
from tempering.core.summary_parts import BeforeAfter as BeforeAfter
from tempering.core.summary_parts import Bounds as Bounds
from tempering.core.summary_parts import PassCounts as PassCounts
from tempering.core.summary_parts import StageResult as StageResult


class Provenance(Record):
    """Settings, software and hardware; `notes` says what was not taken as it was given."""

    kind: Literal["provenance"] = "provenance"
    created: str
    command: str
    tempering: str
    python: str
    packages: dict[str, str]
    platform: str
    processor: str
    device: str
    threads: int
    processes: int
    precision: str
    batch_size: int | None = None
    seed: int
    recipe: dict[str, Any]
    data: str
    data_hash: str
    split: str
    train_n: int
    dropped_n: int = 0
    validation_n: int
    test_n: int
    classes: list[str]
    model: str
    defenses: list[str] = Field(default_factory=list)
    objective: dict[str, Any] = Field(default_factory=dict)
    start: str = ""
    parameters: int
    adaptive_stages: list[str]
    notes: list[str] = Field(default_factory=list)


class Epoch(Record):
    """One point of the training curves; validation, never test.

    Attributes:
        model: The role of the model, as the run calls it.
        train_loss: Mean of the objective over the epoch's steps.
        train_accuracy: Of the images that the objective was computed on, perturbed ones included.
        validation_loss: Mean cross-entropy of clean validation images.
        validation_accuracy: Of the same images.
        scalars: What the objective logs beside its loss, as means over the epoch.
    """

    kind: Literal["epoch"] = "epoch"
    model: str
    epoch: int
    step: int
    train_loss: float
    train_accuracy: Count
    validation_loss: float
    validation_accuracy: Count
    learning_rate: float
    seconds: float
    scalars: dict[str, float] = Field(default_factory=dict)


Outcome = Literal["best", "kept", "rolled back", "below floor"]


class Round(Record):
    """A round of retraining, evaluated on validation data.

    `gain`, with the key `rho` in JSON, is that on validation data; that of a `Summary` is on test
    data.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)
    kind: Literal["round"] = "round"
    round: int
    step: int
    clean: Count
    worst: Count
    by_attack: dict[str, Count]
    gain: float = Field(alias="rho")
    outcome: Outcome
    reason: str
    seconds: float


class Stop(Record):
    """Why training ended."""

    kind: Literal["stop"] = "stop"
    rule: str
    reason: str
    best_round: int
    rounds: int
    steps: int


class Surrogate(Record):
    """A surrogate model that was trained for a gray-box attacker.

    Attributes:
        network: Its name in the registry.
        samples: Training images with labels that it was trained on; no test image.
        steps: Mini-batch steps of its training.
        seed: Seed of its weights and its training.
        validation: Validation images that it classifies correctly.
        weights: Hash of its parameters and buffers.
    """

    kind: Literal["surrogate"] = "surrogate"
    network: str
    samples: int = Field(ge=0)
    steps: int = Field(ge=0)
    seed: int
    validation: Count
    weights: str


class Flag(Record):
    """Something that makes a number untrustworthy, with what it means and what to do.

    Attributes:
        name: Which check raised it.
        meaning: What it says of the number.
        remedy: What to do about it.
        evidence: What was seen.
        samples: Ids of the samples on which it was seen; row numbers in older records, or
            where ids are not known.
    """

    kind: Literal["flag"] = "flag"
    name: str
    meaning: str
    remedy: str
    evidence: str
    samples: list[str | int] = Field(default_factory=list)


class Finding(Record):
    """A figure of the paper and ours, with a verdict; None means not reported or not measured."""

    kind: Literal["finding"] = "finding"
    table: str
    row: str
    column: str
    paper: float | None
    ours: float | None
    interval: tuple[float, float] | None
    eps: float | None
    verdict: str


AnyRecord = Annotated[
    Provenance
    | Epoch
    | Round
    | Stop
    | Measurement
    | MinimumNorm
    | Surrogate
    | Flag
    | Finding
    | Comparison
    | CorruptionResult
    | PerClass
    | Calibration
    | Abstaining
    | PoisonCertificates
    | Proof,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[AnyRecord] = TypeAdapter(AnyRecord)


class Summary(Record):
    """Results of a run: the content of `summary.json`, where `gain` has the key `rho`.

    `clean_flagged` is the share of unattacked images that a model with a flag abstains on; they
    count as errors in `clean_accuracy`. `robust_with_detection` counts images that stay right or
    are flagged in the worst case. `stability` holds `unchanged_by_all`, the share of predictions
    that no attack changed; `mean_largest_drop`, the mean over all samples of the largest drop that
    an attack caused in the probability of the true class; and `seed_spread`, how far two training
    seeds are apart.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)
    data: str
    threat: str
    n: int = Field(ge=0)
    clean_accuracy: float
    clean_interval: tuple[float, float]
    robust_accuracy: Bounds
    clean_flagged: float | None = None
    robust_with_detection: float | None = None
    forced_flags: float | None = None
    gain: float | None = Field(default=None, alias="rho")
    stability: dict[str, float] = Field(default_factory=dict)
    stop_reason: str | None = None
    attacks: dict[str, AttackSummary]
    flags: list[Flag] = Field(default_factory=list)
    model: str
    seed: int
    seconds: float


ALL_ATTACKS = "all attacks"


class Assessment(Summary):
    """Results of an evaluation: what `temper evaluate --json` prints.

    Attributes:
        protocol: Name of the protocol.
        access: What attackers knew.
        clean_correct: Samples that are classified correctly without attack, of `n`.
        robust_correct: Samples that are classified correctly under every attack, of `n`.
        certified_correct: Samples that are certified, of `n`.
        interval: 95 % Wilson interval of `robust_correct` over `n`, fractions.
        passes: All passes, verdicts and examinations included. For a resumed run they include
            all sessions but not work that was lost, so they equal those of an uninterrupted
            run.
        by_attack: Stage -> robust samples that remain after it, in order.
        schedule: The trial runs that determined the order of the stages.
        certification: What each certification method did on a few samples, and what was
            decided; or why there are no certificates.
        surrogate: How the surrogate was trained; None if it was given or not needed.
        surrogate_weights: Hash of the surrogate's parameters and buffers; None without a
            gray-box attacker.
        per_class: Robust accuracy of each class, and the confusion matrix under attack; None in
            records of earlier versions.
        shifts: Accuracy under common corruptions, if asked for; not counted in `passes` and
            `seconds`.
        against: Paired comparison with the model of another run, if asked for.
        by_access: Samples that are robust to the attackers of each access level, where there are
            several; an attacker of a higher level has not tried what a lower one does.
        hardening: Accuracy before and after hardening; None for an evaluation.
        quick: Settings that stand for a quick look; empty for a whole run.
        not_measured: What was left out by request, in words.
    """

    protocol: str
    access: str
    clean_correct: int = Field(ge=0)
    robust_correct: int = Field(ge=0)
    certified_correct: int = Field(ge=0)
    interval: tuple[float, float]
    passes: PassCounts
    by_attack: dict[str, StageResult]
    schedule: list[str] = Field(default_factory=list)
    certification: list[str] = Field(default_factory=list)
    surrogate: Surrogate | None = None
    surrogate_weights: str | None = None
    per_class: PerClass | None = None
    shifts: CorruptionSummary | None = None
    against: ComparisonSummary | None = None
    by_access: dict[str, Count] = Field(default_factory=dict)
    hardening: BeforeAfter | None = None
    quick: list[str] = Field(default_factory=list)
    not_measured: list[str] = Field(default_factory=list)

    @property
    def worst_case_over(self) -> str:
        """The attacks that robust accuracy is the worst case over, in words."""
        if not self.by_attack and self.clean_correct > self.certified_correct:
            return "no attack, for lack of time"
        alone = {"gray": "gray-box attacks alone", "black": "black-box attacks alone"}
        return alone.get(self.access, ALL_ATTACKS)

    @model_validator(mode="after")
    def _check(self) -> Assessment:
        counts = {
            "certified_correct": self.certified_correct,
            "robust_correct": self.robust_correct,
            "clean_correct": self.clean_correct,
            "n": self.n,
        }
        for (less, few), (more, many) in pairwise(counts.items()):
            if few > many:
                raise ValueError(f"{less} is {few} and {more} {many}: it cannot be more")
        return self


def dump_records(records: Iterable[Record]) -> str:
    """Records as JSON lines."""
    return "".join(record.model_dump_json() + "\n" for record in records)


def load_records(path: Path) -> Sequence[AnyRecord]:
    """Read `records.jsonl`.

    Raises:
        RunError: If the file is missing or a line is not a record; the message names the line.
    """
    records: list[AnyRecord] = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}: give a run folder") from error
    for number, line in enumerate(lines, 1):
        try:
            records.append(_ADAPTER.validate_python(json.loads(line)))
        except (ValueError, RecursionError) as error:
            raise RunError(
                f"{path} line {number} is not a record: {_reason(error)}: "
                "give the folder of an unaltered run"
            ) from error
    return records


def _reason(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
