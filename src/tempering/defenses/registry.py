"""The defenses by name; importing this module registers all of them."""

from __future__ import annotations

from tempering.core.protocols import DEFENSES
from tempering.defenses import backdoor, routing  # noqa: F401 - they register models
from tempering.defenses.adversarial_class import AdversarialClass
from tempering.defenses.bit_depth import BitDepth
from tempering.defenses.build import build_pipeline
from tempering.defenses.confidence import Conformal, Energy, MaxSoftmax
from tempering.defenses.counter_perturbation import CounterPerturbation
from tempering.defenses.discriminator import Discriminator
from tempering.defenses.feature_squeezing import FeatureSqueezing
from tempering.defenses.gaussian_blur import GaussianBlur
from tempering.defenses.gaussian_noise import GaussianNoise
from tempering.defenses.gram import Gram
from tempering.defenses.jpeg import Jpeg
from tempering.defenses.knn_distance import KNNDistance
from tempering.defenses.mahalanobis import Mahalanobis
from tempering.defenses.median import MedianFilter
from tempering.defenses.ml_filter import MLFilter
from tempering.defenses.nlm import NonLocalMeans
from tempering.defenses.protection_layer import ProtectionLayer
from tempering.defenses.resize_pad import ResizePad
from tempering.defenses.squeeze import Squeeze
from tempering.defenses.strip import Strip
from tempering.defenses.thermometer import Thermometer
from tempering.defenses.threshold import Threshold
from tempering.defenses.tv import TotalVariation
from tempering.models.registry import MODELS, Architecture

__all__ = [
    "DEFENSES",
    "AdversarialClass",
    "BitDepth",
    "Conformal",
    "CounterPerturbation",
    "Discriminator",
    "Energy",
    "FeatureSqueezing",
    "GaussianBlur",
    "GaussianNoise",
    "Gram",
    "Jpeg",
    "KNNDistance",
    "MLFilter",
    "Mahalanobis",
    "MaxSoftmax",
    "MedianFilter",
    "NonLocalMeans",
    "ProtectionLayer",
    "ResizePad",
    "Squeeze",
    "Strip",
    "Thermometer",
    "Threshold",
    "TotalVariation",
]

MODELS.register("pipeline")(
    Architecture(
        "pipeline", "a network behind transforms, with or without a detector", build_pipeline
    )
)
