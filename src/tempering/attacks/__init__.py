"""Attacks: they propose x_adv; evaluation decides."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.attacks"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "ATTACKS": f"{_ROOM}.registry",
        "Attack": f"{_ROOM}.base",
        "BIM": f"{_ROOM}.bim",
        "BPDA": f"{_ROOM}.bpda",
        "Boundary": f"{_ROOM}.boundary",
        "CWL2": f"{_ROOM}.cw_l2",
        "CWLinf": f"{_ROOM}.cw_linf",
        "Cascade": f"{_ROOM}.combinators",
        "EOT": f"{_ROOM}.eot",
        "FGSM": f"{_ROOM}.fgsm",
        "Generator": f"{_ROOM}.generator",
        "HopSkipJump": f"{_ROOM}.hopskipjump",
        "JointDetection": f"{_ROOM}.joint",
        "Owned": f"{_ROOM}.owned",
        "PGD": f"{_ROOM}.pgd",
        "PatchAttack": f"{_ROOM}.patch",
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
        "Square": f"{_ROOM}.square",
        "Stock": f"{_ROOM}.stock",
        "Transfer": f"{_ROOM}.transfer",
        "UniversalPatch": f"{_ROOM}.universal_patch",
        "WorstOf": f"{_ROOM}.combinators",
        "parse_attack": f"{_ROOM}.registry",
    },
)
