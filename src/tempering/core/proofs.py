"""Records of certificates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tempering.core.record import Count, Record


class Proof(Record):
    """How many samples were certified at one eps.

    Attributes:
        subject: The model.
        protocol: `cascade` for certificates of all samples at the threat's eps; `curve` for a
            sweep of eps on the samples of the curve.
        threat: The threat model.
        eps: Its eps.
        certified: Samples that are classified correctly under every allowed perturbation.
        by_method: Method -> samples that it certified.
        by_class: Certified samples of each class, along a curve.
        unsupported: The part of the model that is not supported; None if there is none.
        seconds: Wall time.
        seconds_by_method: Method -> seconds that it took; in records of earlier versions empty.
        survey: What each method did on a few samples, and what was decided.
        abstained: Samples that were neither certified nor refuted nor broken by an attack.
        abstained_ids: Ids of the first of them.
    """

    kind: Literal["proof"] = "proof"
    subject: str
    protocol: Literal["cascade", "curve"]
    threat: str
    eps: float
    certified: Count
    by_method: dict[str, int] = Field(default_factory=dict)
    by_class: list[int] = Field(default_factory=list)
    unsupported: str | None = None
    seconds: float = Field(default=0.0, ge=0)
    seconds_by_method: dict[str, float] = Field(default_factory=dict)
    survey: list[str] = Field(default_factory=list)
    abstained: int = Field(default=0, ge=0)
    abstained_ids: list[str] = Field(default_factory=list)
    seed: int
    weights: str
    data_hash: str
