"""What became of each sample under an attack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PerSampleResult:
    """One attack on one model, sample by sample, on the CPU.

    A sample that is misclassified without any attack counts as lost, whatever its
    x_adv does: an attack cannot repair it.

    Attributes:
        x_adv: What the model was shown, shape (n, c, h, w); None for no attack, and
            where it was not kept.
        predicted: Output that won on x_adv, shape (n,), int64; -1 where nothing ran.
        robust: Right without and with attack, shape (n,), bool.
        detected: Right without attack and, with it, right or flagged, shape (n,), bool;
            None if the model has no adversarial class.
        flagged: x_adv ended in the adversarial class, shape (n,), bool; None likewise.
        stable: The attack changed no prediction, right or wrong, shape (n,), bool.
        drop: How far the true class's probability fell, shape (n,), float32, 0 to 1;
            0 where it rose, since an attacker can leave an image as it is.
        distance: Norm of x_adv - x, recomputed, shape (n,), float64.
        forwards: Forward passes that went into it, the verdict's among them, shape (n,), int64.
        backwards: Backward passes, likewise.
    """

    x_adv: Tensor | None
    predicted: Tensor
    robust: Tensor
    detected: Tensor | None
    flagged: Tensor | None
    stable: Tensor
    drop: Tensor
    distance: Tensor
    forwards: Tensor
    backwards: Tensor

    def __len__(self) -> int:
        return len(self.predicted)

    @property
    def severity(self) -> Tensor:
        """How bad it is for the defender, shape (n,), int64.

        0 where the true class is predicted, 1 where it is lost but flagged, 2 where it is
        lost unnoticed.
        """
        noticed = self.robust if self.detected is None else self.detected
        return (~self.robust).long() + (~noticed).long()

    def at(self, rows: Tensor) -> PerSampleResult:
        """Some rows, in the order in which they are named."""
        return by_part(lambda values: values[0][rows], self)

    def put(self, rows: Tensor, others: PerSampleResult) -> PerSampleResult:
        """A copy in which some rows are those of another run."""
        return by_part(lambda values: values[0].index_copy(0, rows, values[1]), self, others)


def by_part(
    work: Callable[[list[Tensor]], Tensor], *per_samples: PerSampleResult
) -> PerSampleResult:
    """Apply one operation to every part of some outcomes; a part that one lacks stays None."""
    parts: dict[str, Tensor | None] = {}
    for field in fields(PerSampleResult):
        values = [getattr(per_sample, field.name) for per_sample in per_samples]
        missing = any(value is None for value in values)
        parts[field.name] = None if missing else work(values)
    return PerSampleResult(**parts)  # type: ignore[arg-type]


def join(per_samples: Sequence[PerSampleResult]) -> PerSampleResult:
    """The rows of several outcomes, one after the other."""
    return by_part(torch.cat, *per_samples)


def lost(per_sample: PerSampleResult, x: Tensor) -> PerSampleResult:
    """Samples on which nothing was run, because they no longer matter.

    Args:
        per_sample: Tells which parts there are.
        x: Their images, shape (n, c, h, w).

    Returns:
        One row an image: neither right nor stable, at distance 0, without a pass.
    """
    no = torch.zeros(len(x), dtype=torch.bool)
    return PerSampleResult(
        x_adv=None if per_sample.x_adv is None else x.clone(),
        predicted=torch.full((len(x),), -1),
        robust=no,
        detected=None if per_sample.detected is None else no,
        flagged=None if per_sample.flagged is None else no,
        stable=no,
        drop=torch.zeros(len(x)),
        distance=torch.zeros(len(x), dtype=torch.float64),
        forwards=torch.zeros(len(x), dtype=torch.int64),
        backwards=torch.zeros(len(x), dtype=torch.int64),
    )
