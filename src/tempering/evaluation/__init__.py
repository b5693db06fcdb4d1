"""Judges what attacks propose; worst cases, calibration, checks, records."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.evaluation"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Calibration": f"{_ROOM}.calibration",
        "Evaluation": f"{_ROOM}.standard",
        "Outcome": f"{_ROOM}.outcome",
        "Setting": f"{_ROOM}.setting",
        "Spread": f"{_ROOM}.stability",
        "Target": f"{_ROOM}.target",
        "Trial": f"{_ROOM}.recording",
        "availability": f"{_ROOM}.forcing",
        "calibrate": f"{_ROOM}.calibration",
        "distances": f"{_ROOM}.minimum_norm",
        "inspect": f"{_ROOM}.inspection",
        "measure": f"{_ROOM}.measuring",
        "measure_minimum_norm": f"{_ROOM}.minimum_norm",
        "run_standard": f"{_ROOM}.standard",
        "sanity": f"{_ROOM}.sanity",
        "show": f"{_ROOM}.showing",
        "spread": f"{_ROOM}.stability",
        "stability_of": f"{_ROOM}.stability",
        "summarize": f"{_ROOM}.summary",
        "sweep": f"{_ROOM}.curve",
        "worst_case": f"{_ROOM}.worst",
        "worst_of": f"{_ROOM}.combining",
    },
)
