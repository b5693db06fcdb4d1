"""Flags: checks that reveal when a robustness number cannot be trusted."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.evaluation.flags"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "AttackTrace": f"{_ROOM}.attack_trace",
        "ExaminedSamples": f"{_ROOM}.examined_samples",
        "FLAG_KINDS": f"{_ROOM}.catalogue",
        "FlagKind": f"{_ROOM}.flag_kind",
        "check_certificates": f"{_ROOM}.impossible_results",
        "examine": f"{_ROOM}.examination",
        "is_gradient_masked": f"{_ROOM}.catalogue",
        "trace_attack": f"{_ROOM}.attack_trace",
    },
)
