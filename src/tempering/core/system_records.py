"""One system of the benchmark: what its authors claim, and what attackers leave of it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tempering.core.detector_records import DetectorFigures
from tempering.core.record import Count, Record


class FurtherAttack(Record):
    """An attack that a system is known for, beside those that all systems undergo.

    Attributes:
        name: What the attacker knows, and the attack.
        how: What was done, in a sentence.
        variant: Of the system, such as `trigger 1`; empty if there is one only.
        withstood: Images that stay right.
    """

    name: str
    how: str
    variant: str = ""
    withstood: Count


class SystemRow(Record):
    """A row of the table of systems.

    Of a system that can abstain, `oblivious` and `adaptive` count samples that stay right or are
    flagged; the strict counts take those that stay right alone.

    Attributes:
        system: Its name.
        title: As tables show it.
        source: Author and year.
        claimed: What its authors claim, as a fraction; None without a claim.
        claim: What the claim is about.
        how: How it works.
        gaps: How we read what its authors leave open.
        weakness: How it is known to break.
        threat: What attackers may change.
        n: Test samples.
        clean: Right without attack; a flagged clean image counts as wrong.
        abstained: Clean images that are flagged; None if it cannot abstain.
        oblivious: Samples that withstand all attacks made on a model without the defense.
        oblivious_strict: The same, without those that are flagged; None if it cannot abstain.
        by_attack: Attack -> samples that withstand it, from the oblivious attacker.
        adaptive: Samples that withstand everything that was tried, by an attacker who knows
            the system.
        adaptive_strict: The same, without those that are flagged; None if it cannot abstain.
        certified: Samples that are certified.
        overhead: Time of a prediction over that of the bare network, less 1.
        seconds: Time of the training.
        evaluation_seconds: Time of both attackers, and of further attacks.
        parameters: Of the deployed model.
        shortened: How this training differs from the authors'.
        flags: Names of the flags that the evaluation raised.
        further: Attacks that it is known for; they do not enter `adaptive`.
        details: Further figures.
        detector: Figures of its detector; None if it has none.
        error: Why there are no figures; None if there are.
    """

    system: str
    title: str
    source: str
    claimed: float | None = None
    claim: str = ""
    how: str = ""
    gaps: str = ""
    weakness: str = ""
    threat: str
    n: int = Field(ge=0)
    clean: Count | None = None
    abstained: Count | None = None
    oblivious: Count | None = None
    oblivious_strict: Count | None = None
    by_attack: dict[str, Count] = Field(default_factory=dict)
    adaptive: Count | None = None
    adaptive_strict: Count | None = None
    certified: Count | None = None
    overhead: float | None = None
    seconds: float | None = None
    evaluation_seconds: float | None = None
    parameters: int | None = None
    shortened: list[str] = Field(default_factory=list)
    flags: list[str] = Field(default_factory=list)
    further: list[FurtherAttack] = Field(default_factory=list)
    details: dict[str, Any] = Field(default_factory=dict)
    detector: DetectorFigures | None = None
    error: str | None = None

    def short(self) -> dict[str, Any]:
        """The columns of the table as fractions, for `--json`."""

        def share(count: Count | None) -> float | None:
            return None if count is None else count.fraction

        return {
            "system": self.system,
            "claimed": self.claimed,
            "claim": self.claim,
            "oblivious": share(self.oblivious),
            "adaptive": share(self.adaptive),
            "adaptive_strict": share(self.adaptive_strict),
            "clean": share(self.clean),
            "abstention": share(self.abstained),
            "overhead": self.overhead,
            "seconds": self.seconds,
            "n": self.n,
            "shortened": self.shortened,
            "flags": self.flags,
            "error": self.error,
        }


class SystemTable(Record):
    """All rows of a benchmark, and what they share.

    Attributes:
        data: Address of the data.
        data_hash: Of the test samples.
        threat: What attackers may change.
        budget: Name of the budget.
        seed: Of all draws.
        attacks: The attacks of the oblivious attacker.
        protocol: What the attacker who knows the system runs, besides.
        command: What was called.
        tempering: Version.
        processor: Of the machine.
        threads: Of torch.
        rows: The systems, in order.
    """

    data: str
    data_hash: str
    threat: str
    budget: str
    seed: int
    attacks: list[str]
    protocol: str
    command: str
    tempering: str
    processor: str
    threads: int
    rows: list[SystemRow] = Field(default_factory=list)
