"""Attacks: they propose x_adv; evaluation decides."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.attacks"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ATTACKS": f"{_ROOM}.registry",
        "Attack": f"{_ROOM}.base",
        "BIM": f"{_ROOM}.bim",
        "CWL2": f"{_ROOM}.cw_l2",
        "CWLinf": f"{_ROOM}.cw_linf",
        "FGSM": f"{_ROOM}.fgsm",
        "PGD": f"{_ROOM}.pgd",
        "Restarts": f"{_ROOM}.restarts",
        "APGDCE": f"{_ROOM}.apgd_ce",
        "APGDDLR": f"{_ROOM}.apgd_dlr",
        "APGDT": f"{_ROOM}.apgd_t",
        "DDN": f"{_ROOM}.ddn",
        "DeepFool": f"{_ROOM}.deepfool",
        "FAB": f"{_ROOM}.fab",
        "FABT": f"{_ROOM}.fab_t",
        "FMN": f"{_ROOM}.fmn",
        "MIFGSM": f"{_ROOM}.mifgsm",
        "RFGSM": f"{_ROOM}.rfgsm",
        "SigmaZero": f"{_ROOM}.sigma_zero",
        "parse_attack": f"{_ROOM}.registry",
    },
)
