"""Attacks: they propose x_adv; evaluation decides."""

from tempering.core.lazy import lazy_exports

_ROOM = "tempering.attacks"
__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "APGDCE": f"{_ROOM}.apgd_ce",
        "APGDDLR": f"{_ROOM}.apgd_dlr",
        "APGDT": f"{_ROOM}.apgd_t",
        "Attack": f"{_ROOM}.base",
        "ATTACKS": f"{_ROOM}.registry",
        "BIM": f"{_ROOM}.bim",
        "Boundary": f"{_ROOM}.boundary",
        "BPDA": f"{_ROOM}.bpda",
        "Cascade": f"{_ROOM}.combinators",
        "CWL2": f"{_ROOM}.cw_l2",
        "CWLinf": f"{_ROOM}.cw_linf",
        "DDN": f"{_ROOM}.ddn",
        "DeepFool": f"{_ROOM}.deepfool",
        "EOT": f"{_ROOM}.eot",
        "FAB": f"{_ROOM}.fab",
        "FABT": f"{_ROOM}.fab_t",
        "FGSM": f"{_ROOM}.fgsm",
        "FMN": f"{_ROOM}.fmn",
        "Generator": f"{_ROOM}.generator",
        "HopSkipJump": f"{_ROOM}.hopskipjump",
        "JointDetection": f"{_ROOM}.joint",
        "MIFGSM": f"{_ROOM}.mifgsm",
        "Owned": f"{_ROOM}.owned",
        "parse_attack": f"{_ROOM}.registry",
        "PatchAttack": f"{_ROOM}.patch",
        "PGD": f"{_ROOM}.pgd",
        "Restarts": f"{_ROOM}.restarts",
        "RFGSM": f"{_ROOM}.rfgsm",
        "SigmaZero": f"{_ROOM}.sigma_zero",
        "Square": f"{_ROOM}.square",
        "Stock": f"{_ROOM}.stock",
        "Transfer": f"{_ROOM}.transfer",
        "UniversalPatch": f"{_ROOM}.universal_patch",
        "WorstOf": f"{_ROOM}.combinators",
    },
)
