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
        "Pipeline": f"{_ROOM}.pipeline",
        "Squeeze": f"{_ROOM}.squeeze",
        "Transform": _CORE,
        "register_defense": _CORE,
    },
)
