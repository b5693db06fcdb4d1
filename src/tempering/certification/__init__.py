"""Certification: it proves that a threat cannot change an answer, or abstains."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.certification"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ABSTAINED": f"{_ROOM}.smoothing",
        "SmoothedCertificate": f"{_ROOM}.smoothing",
        "Smoothing": f"{_ROOM}.smoothing",
        "AlphaCrown": f"{_ROOM}.alpha_crown",
        "Branching": f"{_ROOM}.branching",
        "Certificates": f"{_ROOM}.verdicts",
        "METHODS": f"{_ROOM}.certify_samples",
        "MethodCost": f"{_ROOM}.verdicts",
        "Unsupported": f"{_ROOM}.tracing",
        "Denoised": f"{_ROOM}.denoised",
        "Clamp": f"{_ROOM}.smooth_activations",
        "LayerCall": f"{_ROOM}.layer_call",
        "LeakyRectifier": f"{_ROOM}.leaky_rectifier",
        "SmoothActivation": f"{_ROOM}.smooth_activations",
        "in_sequence": f"{_ROOM}.layer_call",
        "poisons_withstood": f"{_ROOM}.poisoning",
        "register_function_rule": f"{_ROOM}.rules",
        "register_rule": f"{_ROOM}.rules",
        "scale_shift": f"{_ROOM}.layer_call",
        "certify": f"{_ROOM}.certify_samples",
    },
)
