"""Judges what attacks propose; worst cases, calibration, checks, records."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.evaluation"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "CORRUPTIONS": f"{_ROOM}.corruptions",
        "Calibration": f"{_ROOM}.calibration",
        "Evaluation": f"{_ROOM}.standard",
        "PerSampleResult": f"{_ROOM}.per_sample",
        "Paired": "tempering.core.paired",
        "EvalContext": f"{_ROOM}.context",
        "Shifts": f"{_ROOM}.shifts",
        "Spread": f"{_ROOM}.stability",
        "Target": f"{_ROOM}.target",
        "AttackResult": f"{_ROOM}.results",
        "availability": f"{_ROOM}.availability_attack",
        "calibrate": f"{_ROOM}.calibration",
        "compare_paired": f"{_ROOM}.paired",
        "distances": f"{_ROOM}.minimum_norm",
        "examine": f"{_ROOM}.flags.examining",
        "flags": f"{_ROOM}.flags",
        "inspect": f"{_ROOM}.inspection",
        "masked": f"{_ROOM}.flags.catalogue",
        "measure": f"{_ROOM}.measuring",
        "measure_minimum_norm": f"{_ROOM}.minimum_norm",
        "measure_shifts": f"{_ROOM}.shifts",
        "run_standard": f"{_ROOM}.standard",
        "show": f"{_ROOM}.showing",
        "spread": f"{_ROOM}.stability",
        "stability_of": f"{_ROOM}.stability",
        "summarize": f"{_ROOM}.summary",
        "sweep": f"{_ROOM}.curve",
        "worst_case": f"{_ROOM}.worst",
        "worst_of": f"{_ROOM}.worst",
    },
)
