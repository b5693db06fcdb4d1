"""Foolbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from peers.peer import Method, Settings, batched
from tempering.core.threats import Threat


def _foolbox(make: Callable[[Any, Threat, Settings], Any], within: bool) -> Method:
    """Attacks within eps are told it; those that look for the nearest image are not."""

    def run(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, settings: Settings) -> Tensor:
        import foolbox

        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        attack = make(foolbox.attacks, threat, settings)
        raw, clipped, _ = attack(wrapped, x, y, epsilons=threat.eps if within else None)
        return clipped if within else raw

    return batched(run)


def _foolbox_climb(name: str, **fixed: Any) -> Method:
    def make(attacks: Any, threat: Threat, settings: Settings) -> Any:
        prefix = {"linf": "Linf", "l2": "L2"}[threat.name]
        given = {"abs_stepsize": settings["step_size"], "steps": settings["steps"], **fixed}
        if "decay" in settings:
            given["momentum"] = settings["decay"]
        return getattr(attacks, prefix + name)(**given)

    return _foolbox(make, within=True)


METHODS = {
    "fgsm": _foolbox(
        lambda a, t, s: {"linf": a.LinfFastGradientAttack, "l2": a.L2FastGradientAttack}[t.name](
            random_start=False
        ),
        within=True,
    ),
    "bim": _foolbox_climb("BasicIterativeAttack", random_start=False),
    "pgd": _foolbox_climb("PGD", random_start=True),
    "mifgsm": _foolbox_climb("MomentumIterativeFastGradientMethod", random_start=False),
    "cw-l2": _foolbox(
        lambda a, t, s: a.L2CarliniWagnerAttack(
            binary_search_steps=s["searches"],
            steps=s["iterations"],
            stepsize=s["learning_rate"],
            confidence=0,
            initial_const=s["initial_const"],
            abort_early=True,
        ),
        within=False,
    ),
    "ddn": _foolbox(
        lambda a, t, s: a.DDNAttack(init_epsilon=1.0, steps=s["steps"], gamma=s["gamma"]),
        within=False,
    ),
    "fmn": _foolbox(
        lambda a, t, s: {"linf": a.LInfFMNAttack, "l2": a.L2FMNAttack}[t.name](
            steps=s["steps"], max_stepsize=s["step_size"], gamma=s["gamma"]
        ),
        within=False,
    ),
    "deepfool": _foolbox(
        lambda a, t, s: {"linf": a.LinfDeepFoolAttack, "l2": a.L2DeepFoolAttack}[t.name](
            steps=s["steps"], candidates=s["rivals"] + 1, overshoot=s["overshoot"], loss="logits"
        ),
        within=False,
    ),
    "hopskipjump": _foolbox(
        lambda a, t, s: a.HopSkipJumpAttack(
            steps=s["rounds"],
            initial_gradient_eval_steps=s["first_estimate"],
            constraint=t.name,
        ),
        within=False,
    ),
    "boundary": _foolbox(
        lambda a, t, s: a.BoundaryAttack(steps=s["queries"]),
        within=False,
    ),
}
