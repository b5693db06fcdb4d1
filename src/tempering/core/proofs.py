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
        unsupported: The part of the model that is not supported; None if there is none.
        seconds: Wall time.
    """

    kind: Literal["proof"] = "proof"
    subject: str
    protocol: Literal["cascade", "curve"]
    threat: str
    eps: float
    certified: Count
    by_method: dict[str, int] = Field(default_factory=dict)
    unsupported: str | None = None
    seconds: float = Field(default=0.0, ge=0)
    seed: int
    weights: str
    data_hash: str
