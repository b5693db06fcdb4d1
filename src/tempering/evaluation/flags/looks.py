"""What an attack saw of a model and how often, read from its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tempering.attacks.registry import ATTACKS
from tempering.core.records import Measurement


def steps(measurement: Measurement) -> int:
    """Looks at the model that one run of an attack took; 1 if it does not say.

    Of an attack that is made of others, those of the longest.
    """
    return _looks(measurement.config)


def _looks(config: Mapping[str, Any]) -> int:
    parts = config.get("attacks") or ([config["attack"]] if "attack" in config else [])
    if parts:
        return max(map(_looks, parts))
    counts = (config.get(name) for name in ("steps", "iterations", "queries", "epochs"))
    return next((int(value) for value in counts if value is not None), 1)


def sees(config: Mapping[str, Any]) -> str:
    """What an attack asks of the model: `gradients`, `scores`, `labels`, `none` or `mixed`.

    Args:
        config: The attack's hyperparameters, as records hold them; an attack that no
            registry knows counts as one that follows gradients.

    Example:
        >>> sees({"name": "square"}), sees({"name": "pgd", "steps": 40})
        ('scores', 'gradients')
    """
    if config.get("attacks"):
        kinds = {sees(part) for part in config["attacks"]}
        return kinds.pop() if len(kinds) == 1 else "mixed"
    name = str(config.get("name"))
    return ATTACKS[name].access if name in ATTACKS else "gradients"
