"""The triggers by the names that files have for them."""

from __future__ import annotations

from tempering.core.registry import Registry
from tempering.poisoning.triggers.added import Added
from tempering.poisoning.triggers.base import Trigger
from tempering.poisoning.triggers.overlay import Overlay
from tempering.poisoning.triggers.warp import Warp

TRIGGERS: Registry[type[Trigger]] = Registry("trigger")
"""Kind -> class."""

for _kind in (Overlay, Added, Warp):
    TRIGGERS.register(_kind.kind)(_kind)
