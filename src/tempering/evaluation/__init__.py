"""Decides what attacks achieve: verdicts, worst cases, checks, records."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.evaluation"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "CORRUPTIONS": f"{_ROOM}.corruptions",
        "CurveConfig": f"{_ROOM}.config",
        "DetectorReport": f"{_ROOM}.detector_measures",
        "EvaluationConfig": f"{_ROOM}.config",
        "EvaluationResult": f"{_ROOM}.evaluation_result",
        "Evaluator": f"{_ROOM}.evaluator",
        "Protocol": f"{_ROOM}.stages",
        "Roles": f"{_ROOM}.summary",
        "Stage": f"{_ROOM}.stages",
        "accuracy_curve": f"{_ROOM}.eps_curve",
        "autoattack": f"{_ROOM}.protocols",
        "each": f"{_ROOM}.protocols",
        "fast": f"{_ROOM}.protocols",
        "thorough": f"{_ROOM}.protocols",
        "PerSampleResult": f"{_ROOM}.per_sample",
        "PairedCounts": "tempering.core.paired",
        "EvalContext": f"{_ROOM}.context",
        "Target": f"{_ROOM}.target",
        "AttackResult": f"{_ROOM}.results",
        "availability": f"{_ROOM}.availability_attack",
        "compare_paired": f"{_ROOM}.paired",
        "detector_report": f"{_ROOM}.detector_measures",
        "distances": f"{_ROOM}.minimum_norm",
        "examine": f"{_ROOM}.flags.examination",
        "flags": f"{_ROOM}.flags",
        "inspect": f"{_ROOM}.inspection",
        "is_gradient_masked": f"{_ROOM}.flags.catalogue",
        "leave_one_attack_out": f"{_ROOM}.unknown_attacks",
        "measure": f"{_ROOM}.measuring",
        "measure_minimum_norm": f"{_ROOM}.minimum_norm",
        "measure_corruptions": f"{_ROOM}.corruption_accuracy",
        "summarize": f"{_ROOM}.summary",
        "worst_case": f"{_ROOM}.worst",
        "worst_of": f"{_ROOM}.worst",
    },
)
