"""What belongs to one paper alone: its reported results, protocol, score, tables and figures.

H. Afzal and M. Huzaifa, 'Securing AI Systems Against Adversarial Attacks: A Framework for
Building Robust and Trustworthy Machine Learning Models'.
"""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.paper"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "Calibration": f"{_ROOM}.calibration",
        "PaperProtocol": f"{_ROOM}.protocol",
        "PaperSettings": f"{_ROOM}.settings",
        "REPORTED": f"{_ROOM}.reported",
        "SECTIONS": f"{_ROOM}.sections",
        "Spread": f"{_ROOM}.stability",
        "calibrate": f"{_ROOM}.calibration",
        "overall_findings": f"{_ROOM}.overall_tables",
        "reproduction": f"{_ROOM}.page",
        "rho": f"{_ROOM}.robustness_score",
        "rho_at_least": f"{_ROOM}.robustness_score",
        "spread": f"{_ROOM}.stability",
    },
)
