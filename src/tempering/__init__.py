"""Tempering: classifiers that withstand adversarial inputs, with evidence."""

from importlib.metadata import version

from tempering.core.lazy import lazy_exports
from tempering.core.registry import provided_by

provided_by("defense", "tempering.defenses.registry")
provided_by("model", "tempering.defenses.registry")

__version__ = version("tempering")

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "L0": "tempering.core.threats",
        "L1": "tempering.core.threats",
        "L2": "tempering.core.threats",
        "Linf": "tempering.core.threats",
        "Patch": "tempering.core.patches",
        "TemperingError": "tempering.core.errors",
        "attack": "tempering.app.attack",
        "attacks": "tempering.attacks",
        "benchmark": "tempering.app.benchmark",
        "certify": "tempering.app.certify",
        "compare_runs": "tempering.app.compare",
        "data": "tempering.data",
        "defenses": "tempering.defenses",
        "evaluate": "tempering.app.evaluate",
        "explain": "tempering.app.explain",
        "harden": "tempering.app.harden",
        "models": "tempering.models",
        "parse_threat": "tempering.core.threats",
        "poison": "tempering.app.poison",
        "poisoning": "tempering.poisoning",
        "recorded_benchmark": "tempering.app.recorded_benchmark",
        "reproduce": "tempering.app.reproduce",
        "resume": "tempering.app.harden",
        "scan": "tempering.app.scan",
        "scan_model": "tempering.app.scan_model",
        "systems": "tempering.systems",
        "partition": "tempering.app.partition",
        "tune": "tempering.app.tune",
        "uncertainty": "tempering.app.uncertainty",
        "training": "tempering.training",
        "zoo": "tempering.models.zoo",
    },
)
