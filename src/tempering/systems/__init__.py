"""The systems that the paper reviews or compares with, one file each."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.systems"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "BUDGETS": f"{_ROOM}.setting",
        "Budget": f"{_ROOM}.setting",
        "Fitted": f"{_ROOM}.system",
        "SYSTEMS": f"{_ROOM}.registry",
        "Setting": f"{_ROOM}.setting",
        "System": f"{_ROOM}.system",
    },
)
