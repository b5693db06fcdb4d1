"""Records of attacks on a model: verdicts within a threat, and minimal distances."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tempering.core.record import Cost, Count, Record

Access = Literal["white", "gray-surrogate", "gray-before", "black", "stale", "any"]
"""What the attacker knew.

- `white`: the model.
- `gray-surrogate`: a surrogate model; adversarial samples are transferred from it.
- `gray-before`: the model before hardening, attacked anew for this evaluation.
- `black`: scores or labels only; queries are counted.
- `stale`: adversarial samples that were generated on the old model during training.
- `any`: any of these; the worst case per sample.
"""

NO_ATTACKS = ("clean", "worst", "availability")
"""Names of measurements that are no attack of a protocol."""

Subject = Literal["undefended", "hardened", "another-seed", "single-pass", "given"]
"""Which model was measured."""


class Measurement(Record):
    """One attack on one model, with verdicts per sample in float32.

    Attributes:
        protocol: `standard` (the threat's eps, every attack on all samples), `paper` (eps
            that gives the paper's accuracy on the undefended model), `curve` (a sweep of
            eps), or `cascade` (each attack only on samples that are still undecided, so that
            `robust` counts the samples that remain after it).
        attack: Its label, such as `pgd-40x2`; `clean` for no attack, `worst` for the worst
            case per sample over the attacks of this protocol, model and access.
        backward: `adaptive` for the declared backward of stages that hide their gradient, or
            `true` for the true gradient.
        robust: Samples that are classified correctly under the attack.
        detected: Samples that are classified correctly or flagged, under an attacker that evades
            both; None if the model has no adversarial class.
        flagged: Samples that end in the adversarial class; None if there is none. For the
            attack `availability`: clean inputs that were forced into it.
        stable: Samples whose prediction the attack did not change, correct or not.
        drop: Mean over all `n` samples of the decrease of the true class's probability, 0 to 1; of
            `worst` the mean of each sample's largest decrease.
    """

    kind: Literal["measurement"] = "measurement"
    subject: Subject
    protocol: Literal["standard", "paper", "curve", "cascade"]
    access: Access
    attack: str
    config: dict[str, Any] = Field(default_factory=dict)
    backward: Literal["adaptive", "true"] = "adaptive"
    threat: str
    eps: float
    split: Literal["validation", "test"] = "test"
    n: int
    robust: Count
    detected: Count | None = None
    flagged: Count | None = None
    stable: Count
    drop: float = 0.0
    cost: Cost = Cost()
    seed: int
    weights: str
    data_hash: str


class MinimumNorm(Record):
    """Distances found by a minimum-norm attack.

    Attributes:
        found: Samples for which an adversarial image was found, misclassified ones included.
        median: Median distance over all samples, not over those found alone; a misclassified
            sample has distance 0. None if fewer than half were found.
        within: Bound -> samples without an adversarial image within that distance.
    """

    kind: Literal["minimum-norm"] = "minimum-norm"
    subject: Subject
    attack: str
    config: dict[str, Any]
    norm: str
    n: int
    found: Count
    median: float | None
    within: dict[str, Count]
    cost: Cost = Cost()
    seed: int
    weights: str
    data_hash: str


class Abstaining(Record):
    """What lets a model abstain.

    Attributes:
        subject: Which model this is.
        detector: Name of its detector; empty if an output of the network flags images.
        threshold: Score above which the detector flags an image; None without a detector.
        weights: Hash of the model's parameters and buffers.
        data_hash: Content hash of the data.
    """

    kind: Literal["abstaining"] = "abstaining"
    subject: Subject
    detector: str = ""
    threshold: float | None = None
    weights: str
    data_hash: str


class PoisonCertificates(Record):
    """Certified accuracy of a vote over disjoint parts, against the number of poisons.

    Attributes:
        parts: Members of the vote.
        n: Test samples.
        within: At k, the samples that are classified correctly and certified to stay so with any k
            training samples inserted, removed or relabelled; up to the first k with none.
    """

    kind: Literal["poison-certificates"] = "poison-certificates"
    parts: int = Field(ge=1)
    n: int
    within: list[Count]
    cost: Cost = Cost()
    weights: str
    data_hash: str
