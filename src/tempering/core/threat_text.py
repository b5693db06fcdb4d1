"""Threats as text, for files."""

from __future__ import annotations

from tempering.core.patches import Patch
from tempering.core.python_values import python_text
from tempering.core.threats import Threat


def write_threat(threat: Threat) -> str:
    """The text that `parse_threat` reads as this threat; of a user's own, one that it refuses.

    Example:
        >>> from tempering.core.threats import Linf
        >>> write_threat(Linf(0.3))
        'linf:0.3'
        >>> class Own(Linf): ...
        >>> write_threat(Own(0.3))
        'python:tempering.core.threat_text.Own(eps=0.3)'
    """
    return str(threat) if threat.built_in or type(threat) is Patch else python_text(threat)
