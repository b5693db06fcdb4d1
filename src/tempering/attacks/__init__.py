"""Attacks: they propose x_adv; evaluation decides."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.attacks"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ATTACKS": f"{_ROOM}.registry",
        "Attack": f"{_ROOM}.base",
        "BIM": f"{_ROOM}.bim",
        "Boundary": f"{_ROOM}.boundary",
        "CWL2": f"{_ROOM}.cw_l2",
        "CWLinf": f"{_ROOM}.cw_linf",
        "FGSM": f"{_ROOM}.fgsm",
        "HopSkipJump": f"{_ROOM}.hopskipjump",
        "PGD": f"{_ROOM}.pgd",
        "Restarts": f"{_ROOM}.restarts",
        "Square": f"{_ROOM}.square",
        "parse_attack": f"{_ROOM}.registry",
    },
)
