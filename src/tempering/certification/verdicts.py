"""Verdicts of certification."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class MethodCost:
    """Cost and yield of one method.

    Attributes:
        method: Its name.
        samples: Undecided samples that it was given.
        certified: How many of them it certified.
        refuted: How many of them it found a counterexample for.
        seconds: Wall time.
    """

    method: str
    samples: int
    certified: int
    refuted: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Certificates:
    """Verdicts of samples, in their order.

    Attributes:
        certified: Whether no image of the threat can change the outcome, shape (n,), bool.
        margin: A lower bound of the margin over the threat, shape (n,), float64, in units of
            logits: above 0 where certified; -inf where nothing is known.
        settled_by: The method that certified or refuted each sample; empty if none did.
        reasons: Why a sample is not certified; empty if it is.
        counterexamples: Sample -> an image within the threat that the network gets wrong,
            shape (c, h, w): the sample is refuted.
        unsupported: Why nothing was bounded at all: the layer, by its name, or the threat;
            None if all have bounds.
        spent: What each method did, in order.
    """

    certified: Tensor
    margin: Tensor
    settled_by: tuple[str, ...]
    reasons: tuple[str, ...]
    counterexamples: dict[int, Tensor]
    unsupported: str | None
    spent: tuple[MethodCost, ...]
