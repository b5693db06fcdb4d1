"""Everything that tells that a robustness number cannot be trusted, one kind a file."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.evaluation.flags"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "KINDS": f"{_ROOM}.catalogue",
        "Kind": f"{_ROOM}.kind",
        "Slice": f"{_ROOM}.slices",
        "Trace": f"{_ROOM}.watching",
        "check_certificates": f"{_ROOM}.certificates",
        "examine": f"{_ROOM}.examining",
        "masked": f"{_ROOM}.catalogue",
        "watch": f"{_ROOM}.watching",
        "weaker_wins": f"{_ROOM}.winners",
    },
)
