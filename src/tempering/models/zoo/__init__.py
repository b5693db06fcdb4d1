"""Trained models that come with the package, each with a card of evidence."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.models.zoo"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Card": "tempering.core.zoo_records",
        "card": f"{_ROOM}.entries",
        "cards": f"{_ROOM}.entries",
        "load": f"{_ROOM}.loading",
        "names": f"{_ROOM}.entries",
    },
)
