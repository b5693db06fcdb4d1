"""Threats as text, for files."""

from __future__ import annotations

from tempering.core.patches import Patch
from tempering.core.python_values import python_text
from tempering.core.threat_words import exact
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


def identify_threat(threat: Threat) -> str:
    """The text of a threat with its radius as a number: equal for equal threats.

    Example:
        >>> from tempering.core.threats import parse_threat
        >>> identify_threat(parse_threat("linf:1/4"))
        'linf:0.25'
    """
    text = write_threat(threat)
    return exact(text) if threat.built_in or type(threat) is Patch else text
