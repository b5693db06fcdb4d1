"""torchattacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from peers.peer import NORM, Method, Settings, batched
from tempering.core.threats import Threat


def _torchattacks(make: Callable[[Any, nn.Module, Threat, Settings], Any]) -> Method:
    def run(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, settings: Settings) -> Tensor:
        import torchattacks

        x_adv: Tensor = make(torchattacks, model, threat, settings)(x, y)
        return x_adv

    return batched(run)


def _torchattacks_pgd(module: Any, model: nn.Module, threat: Threat, settings: Settings) -> Any:
    kind = {"linf": module.PGD, "l2": module.PGDL2}[threat.name]
    return kind(
        model,
        eps=threat.eps,
        alpha=settings["step_size"],
        steps=settings["steps"],
        random_start=True,
    )


def _torchattacks_auto(name: str, **fixed: Any) -> Method:
    return _torchattacks(
        lambda m, model, t, s: getattr(m, name)(
            model, norm=NORM[t.name], eps=t.eps, steps=s["steps"], seed=s["seed"], **fixed
        )
    )


METHODS = {
    "fgsm": _torchattacks(lambda m, model, t, s: m.FGSM(model, eps=t.eps)),
    "bim": _torchattacks(
        lambda m, model, t, s: m.BIM(model, eps=t.eps, alpha=s["step_size"], steps=s["steps"])
    ),
    "pgd": _torchattacks(_torchattacks_pgd),
    "mifgsm": _torchattacks(
        lambda m, model, t, s: m.MIFGSM(
            model, eps=t.eps, alpha=s["step_size"], steps=s["steps"], decay=s["decay"]
        )
    ),
    "apgd-ce": _torchattacks_auto("APGD", loss="ce"),
    "apgd-dlr": _torchattacks_auto("APGD", loss="dlr"),
    "apgd-t": _torchattacks(
        lambda m, model, t, s: m.APGDT(
            model,
            norm=NORM[t.name],
            eps=t.eps,
            steps=s["steps"],
            seed=s["seed"],
            n_classes=s["targets"] + 1,
        )
    ),
    "fab-t": _torchattacks(
        lambda m, model, t, s: m.FAB(
            model,
            norm=NORM[t.name],
            eps=t.eps,
            steps=s["steps"],
            seed=s["seed"],
            multi_targeted=True,
            n_classes=s["targets"] + 1,
        )
    ),
    "square": _torchattacks(
        lambda m, model, t, s: m.Square(
            model,
            norm=NORM[t.name],
            eps=t.eps,
            n_queries=s["queries"],
            p_init=s["share"],
            seed=s["seed"],
        )
    ),
    "deepfool": _torchattacks(
        lambda m, model, t, s: m.DeepFool(model, steps=s["steps"], overshoot=s["overshoot"])
    ),
}
