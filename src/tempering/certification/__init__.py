"""Certification: it proves that a threat cannot change an answer, or abstains."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.certification"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ABSTAINED": f"{_ROOM}.smoothing",
        "SmoothedCertificate": f"{_ROOM}.smoothing",
        "Smoothing": f"{_ROOM}.smoothing",
        "AlphaCrown": f"{_ROOM}.alpha",
        "Branching": f"{_ROOM}.branching",
        "Certificates": f"{_ROOM}.verdicts",
        "METHODS": f"{_ROOM}.certifying",
        "Spent": f"{_ROOM}.verdicts",
        "Unsupported": f"{_ROOM}.tracing",
        "certify": f"{_ROOM}.certifying",
    },
)
