"""How far a network that runs in floating point may stray from exact arithmetic.

**What is certified.** Every certificate of this room is about the network as it runs, in
float32 or float64, not about the real-valued function that its weights describe.

**The argument.** Number the steps of the network. When it runs, step k takes the values that
the steps before it gave, z, and gives op_k(z) + e_k: the exact operation on those very values,
and a rounding error. For sums of n products in any order, with or without fused
multiplication,

    |e_k| <= gamma_n (|W| |z| + |b|),    gamma_n = n u / (1 - n u)

(Higham, 2002, section 3.1), u being the unit roundoff; |z| is bounded by the interval of z.
Activations have a bound of their own, a few units of what they return. So a run is a
trajectory of an exact network of which each step adds any e_k of a known box, and bounds of
that network hold for the run: interval bounds widen step k by |e_k|, and a linear bound with
coefficients A of step k loses |A| |e_k|. The certified margin is between two outputs of such a
run, compared exactly by argmax.

**Rounding of the bounds themselves.** Bounds are computed in float64. A coefficient matrix
A W, rounded, is off by at most gamma_m |A| |W|, m being the fan-out; weighed with |z| that is
gamma_m |A| (|W| |z|), of the same form as above. So each |e_k| holds a second part in the unit
roundoff of float64, with the fan-out and some terms to spare in the number of terms, and pays
for both.

**What it does not cover.** Sums are taken as direct sums in the network's own type. On CUDA
where TF32 is allowed, and wherever `torch.set_float32_matmul_precision` is below `highest`,
products are charged with the coarser rounding. Algorithms that are no sums of products of
inputs and weights (Winograd, FFT) are outside the argument; so are compiled networks, which
abstain, and autocast, which shows when steps are compared with the network itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

UNIT64 = 2.0**-53
"""Unit roundoff of float64, in which bounds are computed."""
_UNITS = {torch.float32: 2.0**-24, torch.float64: UNIT64}
_TINY = {torch.float32: 2.0**-125, torch.float64: 2.0**-1000}
_TF32, _BFLOAT16 = 2.0**-9, 2.0**-6
"""Relative error of a product of two numbers rounded to 10 or 7 bits, twice what it can be."""
_SPARE = 256
"""Terms added to every count, for the operations around a sum."""
_AGAIN = 1 + 2.0**-10
"""Covers the rounding of the error bounds themselves."""


@dataclass(frozen=True)
class Precision:
    """The rounding of a network.

    Attributes:
        unit: Unit roundoff of its numbers.
        tiny: What underflow may lose in one operation, twice.
        product: Relative error of products beyond it; 0 unless TF32 is in use.

    Example:
        >>> Precision.of(torch.float32, torch.device("cpu")).sums(1) < 1e-6
        True
    """

    unit: float
    tiny: float
    product: float = 0.0

    @classmethod
    def of(cls, dtype: torch.dtype, device: torch.device) -> Precision:
        """The rounding of a dtype on a device; float32 or float64."""
        return cls(_UNITS[dtype], _TINY[dtype], _products(device) * (dtype == torch.float32))

    @property
    def largest(self) -> float:
        """The largest number of the type."""
        kind = next(kind for kind, unit in _UNITS.items() if unit == self.unit)
        return torch.finfo(kind).max

    def may_overflow(self, low: Tensor, high: Tensor, error: Tensor) -> bool:
        """Whether a step, or a sum within it, may be larger than the largest number.

        Args:
            low: Least values of the step.
            high: Largest values.
            error: Its rounding: at least the unit roundoff times the sum of absolute products.
        """
        size = max(float(low.abs().max()), float(high.abs().max())) if low.numel() else 0.0
        summed = float(error.max()) / self.unit if error.numel() else 0.0
        return not max(size, summed) < self.largest

    def sums(self, terms: int, fan_out: int = 1) -> float:
        """What share of the sum of absolute products a sum may be off by.

        Args:
            terms: Products, and other numbers, in the sum.
            fan_out: In how many sums each input appears.
        """
        own = terms * self.unit
        bounds = (terms + fan_out + _SPARE) * UNIT64
        return (own / (1 - own) + self.product * (terms > 2) + 2 * bounds) * _AGAIN

    def values(self, units: float) -> float:
        """Relative error of elementwise operations, from units in the last place."""
        return (units * self.unit + _SPARE * UNIT64) * _AGAIN

    def can_sum(self, terms: int) -> bool:
        """Whether a sum of so many terms has an error bound."""
        return terms * self.unit < 0.01


def known(dtype: torch.dtype) -> bool:
    """Whether the rounding of a dtype is modelled."""
    return dtype in _UNITS


def _products(device: torch.device) -> float:
    """Relative error of float32 products under torch's current settings."""
    allowed = torch.get_float32_matmul_precision()
    if allowed == "medium":
        return _BFLOAT16
    if allowed == "high":
        return _TF32
    return _TF32 if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else 0.0
