"""Defenses: input transformations, detectors, and pipelines of them with a classifier."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.defenses"
_CORE = "tempering.core.protocols"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AdversarialClass": f"{_ROOM}.adversarial_class",
        "DEFENSES": _CORE,
        "Detector": _CORE,
        "DetectorSamples": f"{_ROOM}.fitting_samples",
        "Discriminator": f"{_ROOM}.discriminator",
        "FeatureSqueezing": f"{_ROOM}.feature_squeezing",
        "FittedDetector": f"{_ROOM}.fitted",
        "KNNDistance": f"{_ROOM}.knn_distance",
        "MLFilter": f"{_ROOM}.ml_filter",
        "Mahalanobis": f"{_ROOM}.mahalanobis",
        "Pipeline": f"{_ROOM}.pipeline",
        "ProtectionLayer": f"{_ROOM}.protection_layer",
        "Squeeze": f"{_ROOM}.squeeze",
        "Transform": _CORE,
        "calibrate": f"{_ROOM}.calibration",
        "detector_samples": f"{_ROOM}.fitting_samples",
        "fit_detector": f"{_ROOM}.fitting",
        "register_defense": _CORE,
        "scores_of": f"{_ROOM}.calibration",
    },
)
