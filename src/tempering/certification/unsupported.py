"""Why a network has no bounds."""

from __future__ import annotations


class Unsupported(Exception):  # noqa: N818 - a reason to abstain, caught within the room
    """A layer that has no bounds here.

    Attributes:
        layer: Its qualified name in the model.
        kind: Its type, or the function that is called.
        reason: What about it, in words; empty if its kind says all.
    """

    def __init__(self, layer: str, kind: str, reason: str = "") -> None:
        self.layer, self.kind, self.reason = layer, kind, reason
        super().__init__(f"no bounds for {layer} ({kind})" + (f": {reason}" if reason else ""))
