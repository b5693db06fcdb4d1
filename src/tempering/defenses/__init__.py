"""Defenses: input transformations, detectors, and pipelines of them with a classifier."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.defenses"
_CORE = "tempering.core.protocols"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AdversarialClass": f"{_ROOM}.adversarial_class",
        "BitDepth": f"{_ROOM}.bit_depth",
        "Backdoored": f"{_ROOM}.backdoor",
        "CounterPerturbation": f"{_ROOM}.counter_perturbation",
        "DEFENSES": _CORE,
        "Detector": _CORE,
        "GaussianBlur": f"{_ROOM}.gaussian_blur",
        "GaussianNoise": f"{_ROOM}.gaussian_noise",
        "Jpeg": f"{_ROOM}.jpeg",
        "MedianFilter": f"{_ROOM}.median",
        "NonLocalMeans": f"{_ROOM}.nlm",
        "Pipeline": f"{_ROOM}.pipeline",
        "register_defense": _CORE,
        "ResizePad": f"{_ROOM}.resize_pad",
        "Routed": f"{_ROOM}.routing",
        "Squeeze": f"{_ROOM}.squeeze",
        "Thermometer": f"{_ROOM}.thermometer",
        "Threshold": f"{_ROOM}.threshold",
        "TotalVariation": f"{_ROOM}.tv",
        "Transform": _CORE,
        "Conformal": f"{_ROOM}.confidence",
        "DetectorSamples": f"{_ROOM}.fitting_samples",
        "Discriminator": f"{_ROOM}.discriminator",
        "Energy": f"{_ROOM}.confidence",
        "FeatureSqueezing": f"{_ROOM}.feature_squeezing",
        "FittedDetector": f"{_ROOM}.fitted",
        "Gram": f"{_ROOM}.gram",
        "KNNDistance": f"{_ROOM}.knn_distance",
        "MLFilter": f"{_ROOM}.ml_filter",
        "Mahalanobis": f"{_ROOM}.mahalanobis",
        "MaxSoftmax": f"{_ROOM}.confidence",
        "ProtectionLayer": f"{_ROOM}.protection_layer",
        "Strip": f"{_ROOM}.strip",
        "calibrate": f"{_ROOM}.calibration",
        "detector_samples": f"{_ROOM}.fitting_samples",
        "fit_detector": f"{_ROOM}.fitting",
        "fit_temperature": f"{_ROOM}.temperature",
        "scores_of": f"{_ROOM}.calibration",
    },
)
