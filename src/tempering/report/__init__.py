"""Renders records to HTML, tables and figures; computes nothing, imports no torch."""

from tempering.core.lazy import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "markdown": "tempering.report.markdown",
        "poison_table": "tempering.report.certified_poisons",
        "render": "tempering.report.run_page",
    },
)
