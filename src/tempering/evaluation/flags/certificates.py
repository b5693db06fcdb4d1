"""Samples that were proved robust and broken all the same: a bug, which raises."""

from __future__ import annotations

from torch import Tensor

from tempering.core.errors import CertificateError
from tempering.core.naming import sample_name
from tempering.evaluation.flags.kind import Kind, numbers

BROKEN = Kind(
    "certified but broken",
    "a proof says that no image of the ball fools the model, and an image of the ball does: "
    "one of both is wrong, and no number of this evaluation can be trusted",
    "report it with the model and the sample; nothing was recorded",
)
_SHOWN = 5


def check_certificates(
    certified: Tensor, broken: Tensor, who: str = "an attack", keys: Tensor | None = None
) -> None:
    """Refuse an evaluation in which an attack beats a certificate.

    Args:
        certified: Samples with a certificate, shape (n,), bool.
        broken: Samples for which the judge saw an image of the ball fool the model, (n,), bool.
        who: Label of what broke them.
        keys: Of the samples' ids, shape (n,), int64; None names samples by their rows.

    Raises:
        CertificateError: Naming the samples.

    Example:
        >>> import torch
        >>> check_certificates(torch.tensor([True, False]), torch.tensor([False, True]))
    """
    rows = numbers(certified & broken)
    if not len(rows):
        return
    wrong = [sample_name(keys, row) for row in rows.tolist()]
    more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    said = ", ".join(map(str, wrong[:_SHOWN]))
    raise CertificateError(
        f"{BROKEN.name}: {who} broke certified sample{'s' * (len(wrong) > 1)} {said}{more}: "
        f"{BROKEN.meaning}; {BROKEN.remedy}"
    )
