"""pyautoattack: the standard AutoAttack's parts."""

from __future__ import annotations

from torch import Tensor, nn

from peers.peer import NORM, Method, Settings, batched
from tempering.core.threats import Threat


def _apgd(loss: str) -> Method:
    def run(m: nn.Module, x: Tensor, y: Tensor, t: Threat, s: Settings) -> Tensor:
        from pyautoattack.autopgd_base import APGDAttack

        attack = APGDAttack(
            m,
            n_iter=s["steps"],
            norm=NORM[t.name],
            n_restarts=1,
            eps=t.eps,
            seed=s["seed"],
            loss=loss,
            device=x.device,
        )
        x_adv: Tensor = attack.perturb(x, y)
        return x_adv

    return batched(run)


def _apgd_t(m: nn.Module, x: Tensor, y: Tensor, t: Threat, s: Settings) -> Tensor:
    from pyautoattack.autopgd_base import APGDAttack_targeted

    attack = APGDAttack_targeted(
        m,
        n_iter=s["steps"],
        norm=NORM[t.name],
        n_restarts=1,
        eps=t.eps,
        seed=s["seed"],
        n_target_classes=s["targets"],
        device=x.device,
    )
    x_adv: Tensor = attack.perturb(x, y)
    return x_adv


def _fab_t(m: nn.Module, x: Tensor, y: Tensor, t: Threat, s: Settings) -> Tensor:
    from pyautoattack.fab_pt import FABAttack_PT

    attack = FABAttack_PT(
        m,
        norm=NORM[t.name],
        n_restarts=1,
        n_iter=s["steps"],
        eps=t.eps,
        seed=s["seed"],
        targeted=True,
        device=x.device,
        n_target_classes=s["targets"],
    )
    x_adv: Tensor = attack.perturb(x, y)
    return x_adv


def _square(m: nn.Module, x: Tensor, y: Tensor, t: Threat, s: Settings) -> Tensor:
    from pyautoattack.square import SquareAttack

    attack = SquareAttack(
        m,
        norm=NORM[t.name],
        n_queries=s["queries"],
        eps=t.eps,
        p_init=s["share"],
        n_restarts=1,
        seed=s["seed"],
        device=x.device,
    )
    x_adv: Tensor = attack.perturb(x, y)
    return x_adv


METHODS = {
    "apgd-ce": _apgd("ce"),
    "apgd-dlr": _apgd("dlr"),
    "apgd-t": batched(_apgd_t),
    "fab-t": batched(_fab_t),
    "square": batched(_square),
}
