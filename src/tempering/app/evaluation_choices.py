"""What may be asked of one evaluation together, checked before anything is loaded."""

from __future__ import annotations

from tempering.app.quick import PROTOCOL
from tempering.core.errors import UsageError


def choose_protocol(
    protocol: str | None,
    *,
    attacks: bool,
    access: str,
    surrogate: bool,
    train_surrogate: bool,
    quick: bool,
) -> str:
    """The name of the protocol of an evaluation.

    Args:
        protocol: The name that was given; None for `fast`, or what `quick` stands for.
        attacks: Whether attacks were given.
        access: What attackers know.
        surrogate: Whether a gray-box attacker's model was given.
        train_surrogate: Whether one may be trained.
        quick: Whether a quick look is asked for.

    Raises:
        UsageError: If one of these would have no effect beside the others.
    """
    if attacks and protocol is not None:
        raise UsageError(
            f"protocol {protocol!r} beside attacks of your own, which replace it: "
            "give one of the two"
        )
    if quick and (attacks or protocol is not None):
        own = "attacks of your own" if attacks else f"protocol {protocol!r}"
        raise UsageError(f"{own} beside quick, which chooses the attacks: give one of the two")
    if surrogate and access == "black":
        raise UsageError(
            "a surrogate with access 'black', whose attacker has none: leave it out, or give "
            "access gray or all"
        )
    if not train_surrogate and surrogate:
        raise UsageError("a surrogate beside no surrogate: give one of the two")
    if not train_surrogate and access in ("gray", "black"):
        why = "which needs one" if access == "gray" else "which trains none"
        raise UsageError(f"no surrogate with access {access!r}, {why}: give access white or all")
    return PROTOCOL if quick else protocol or "fast"
