"""The defenses by name; importing this module registers all of them."""

from __future__ import annotations

from tempering.core.protocols import DEFENSES
from tempering.defenses import backdoor  # noqa: F401 - it registers a model
from tempering.defenses.adversarial_class import AdversarialClass
from tempering.defenses.build import build_pipeline
from tempering.defenses.counter_perturbation import CounterPerturbation
from tempering.defenses.squeeze import Squeeze
from tempering.models.registry import MODELS, Architecture

__all__ = ["DEFENSES", "AdversarialClass", "CounterPerturbation", "Squeeze"]

MODELS.register("pipeline")(
    Architecture(
        "pipeline", "a network behind transforms, with or without a detector", build_pipeline
    )
)
