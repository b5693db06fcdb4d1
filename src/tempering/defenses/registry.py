"""The defenses by name; importing this module registers all of them."""

from __future__ import annotations

from tempering.core.protocols import DEFENSES
from tempering.defenses.adversarial_class import AdversarialClass
from tempering.defenses.build import build_pipeline
from tempering.defenses.discriminator import Discriminator
from tempering.defenses.feature_squeezing import FeatureSqueezing
from tempering.defenses.knn_distance import KNNDistance
from tempering.defenses.mahalanobis import Mahalanobis
from tempering.defenses.ml_filter import MLFilter
from tempering.defenses.protection_layer import ProtectionLayer
from tempering.defenses.squeeze import Squeeze
from tempering.models.registry import MODELS, Architecture

__all__ = [
    "DEFENSES",
    "AdversarialClass",
    "Discriminator",
    "FeatureSqueezing",
    "KNNDistance",
    "MLFilter",
    "Mahalanobis",
    "ProtectionLayer",
    "Squeeze",
]

MODELS.register("pipeline")(
    Architecture(
        "pipeline", "a network behind transforms, with or without a detector", build_pipeline
    )
)
