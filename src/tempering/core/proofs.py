"""Records of what was proven."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tempering.core.record import Count, Record


class Proof(Record):
    """What proofs settled at one size of the threat.

    Attributes:
        subject: Which model.
        protocol: `cascade` for proofs before the attacks, on all samples; `curve` for a sweep
            of eps, on the samples of the curve.
        threat: What may change.
        eps: Its size.
        certified: Samples that keep their true class, whatever the threat allows.
        by_method: Method -> samples that it settled.
        unsupported: What of the model has no bounds; None if all has.
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
