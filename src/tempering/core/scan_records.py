"""What a scan of training data found, as a record."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tempering.core.record import Record

Verdict = Literal["nothing wrong", "suspicious"]


class ScanRow(Record):
    """One scan.

    Attributes:
        name: Name of the scan.
        summary: What it found in the data as a whole, in words.
        planted: Kind of planted poison -> share of the copies that this scan alone ranks above
            the share of the data that the false-positive rate allows.
        weights: Kind of planted poison -> weight of the scan in the ensemble.
    """

    name: str
    summary: str
    planted: dict[str, float]
    weights: dict[str, float]


class Suspect(Record):
    """A suspect sample.

    Attributes:
        id: Source file or row.
        label: Name of its class.
        score: By how much it is above the threshold, in log-odds.
        like: Kind of planted poison that it is most like.
        reason: Why, in words.
        neighbours: Ids of its nearest neighbours that are not suspect.
        neighbour_labels: Names of their classes.
    """

    id: str
    label: str
    score: float
    like: str
    reason: str
    neighbours: list[str]
    neighbour_labels: list[str]


class ClassCost(Record):
    """What dropping the suspects would cost a class.

    Attributes:
        name: Name of the class.
        n: Its samples.
        suspects: Its suspects.
    """

    name: str
    n: int = Field(ge=0)
    suspects: int = Field(ge=0)


class Distribution(Record):
    """How scores are distributed.

    Attributes:
        edges: Limits of the bins, one more than bins.
        data: Samples in each bin.
        planted: Planted copies in each bin.
    """

    edges: list[float]
    data: list[int]
    planted: list[int]


class ScanRecord(Record):
    """The result of a scan.

    Attributes:
        data: Address of the data.
        data_hash: Of all its parts.
        seed: Of all draws.
        fpr: Share of clean samples that may be suspect, in a round.
        rounds: How often the rest was scanned.
        reference: Address of clean data that the threshold comes from; None without.
        features: What the features of networks are from.
        verdict: Whether there are significantly more suspects than chance explains.
        n: Training samples.
        suspects: Those with a score above 0, of all rounds.
        expected: Suspects that chance alone would give.
        p_value: Probability of so many suspects in the first round, or more, in clean data.
        excess: Share of the samples that are suspects beyond chance, at least 0.
        planted: Kind of planted poison -> share of the copies with a score above 0.
        scans: The scans.
        classes: What dropping would cost.
        scores: Their distribution.
        duplicates: Pairs of equal images within a split.
        leaks: Pairs of equal images in two splits.
        contradictions: Pairs of equal images with different labels.
        top: The most suspect samples.
        seconds: Time that it took.
    """

    data: str
    data_hash: str
    seed: int
    fpr: float
    rounds: int = Field(default=1, ge=1)
    reference: str | None = None
    features: str
    verdict: Verdict
    n: int = Field(ge=0)
    suspects: int = Field(ge=0)
    expected: float
    p_value: float
    excess: float
    planted: dict[str, float]
    scans: list[ScanRow]
    classes: list[ClassCost]
    scores: Distribution
    duplicates: int = Field(ge=0)
    leaks: int = Field(ge=0)
    contradictions: int = Field(ge=0)
    top: list[Suspect]
    seconds: float

    @property
    def dropped(self) -> int:
        """Samples that `harden` leaves out: the suspects, if the data are suspicious."""
        return self.suspects if self.verdict == "suspicious" else 0

    @property
    def losses(self) -> list[ClassCost]:
        """The classes of which `harden` leaves samples out."""
        return [row for row in self.classes if row.suspects] if self.dropped else []
