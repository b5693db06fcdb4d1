"""The command line `temper`."""

from tempering.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(__name__, {"main": "tempering.app.cli.entry"})
