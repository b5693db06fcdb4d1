"""Defenses: input transformations, detectors, and pipelines of them with a classifier."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.defenses"
_CORE = "tempering.core.protocols"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AdversarialClass": f"{_ROOM}.adversarial_class",
        "BitDepth": f"{_ROOM}.bit_depth",
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
        "Squeeze": f"{_ROOM}.squeeze",
        "Thermometer": f"{_ROOM}.thermometer",
        "TotalVariation": f"{_ROOM}.tv",
        "Transform": _CORE,
    },
)
