"""Attacks of other libraries, each behind the same call.

The libraries live in an environment of their own (`make peers`) and are imported only
when one of their attacks runs, so that all of this can be read without any of them.
"""

from __future__ import annotations

from peers import (
    advlib_attacks,
    art_attacks,
    cleverhans_attacks,
    foolbox_attacks,
    pyautoattack_attacks,
    torchattacks_attacks,
)
from peers.peer import Peer

_LINF, _L2 = ("linf",), ("l2",)

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "ART",
            "adversarial-robustness-toolbox",
            "art",
            art_attacks.METHODS,
            {"bim": _LINF, "deepfool": _L2},
        ),
        Peer("Foolbox", "foolbox", "foolbox", foolbox_attacks.METHODS, {}),
        Peer(
            "torchattacks",
            "torchattacks",
            "torchattacks",
            torchattacks_attacks.METHODS,
            {"fgsm": _LINF, "bim": _LINF, "mifgsm": _LINF, "deepfool": _L2},
        ),
        Peer("adv-lib", "adv-lib", "adv_lib", advlib_attacks.METHODS, {"bim": _LINF, "pgd": _LINF}),
        Peer("CleverHans", "cleverhans", "cleverhans", cleverhans_attacks.METHODS, {}),
        Peer("pyautoattack", "pyautoattack", "pyautoattack", pyautoattack_attacks.METHODS, {}),
    )
}
"""Name -> library."""
