"""adv-lib."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from peers.peer import ORDER, Method, Settings, batched
from tempering.core.threats import Threat


def _attacks() -> Any:
    """The library's attacks, imported with stand-ins for two packages that they never use.

    adv-lib imports torchvision for a perceptual distance and visdom for live plots. Where
    they are absent, empty modules let its import pass, and are taken away after it.
    """
    known = sys.modules.get("adv_lib.attacks")
    if known is not None:
        return known
    absent = [name for name in ("torchvision", "visdom") if importlib.util.find_spec(name) is None]
    for name in absent:
        sys.modules[name] = types.ModuleType(name)
    if "torchvision" in absent:
        setattr(sys.modules["torchvision"], "models", types.ModuleType("models"))  # noqa: B010
    try:
        return importlib.import_module("adv_lib.attacks")
    finally:
        for name in absent:
            del sys.modules[name]


def _advlib(run: Callable[[Any, nn.Module, Tensor, Tensor, Threat, Settings], Tensor]) -> Method:
    def call(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, settings: Settings) -> Tensor:
        return run(_attacks(), model, x, y, threat, settings)

    return batched(call)


def _advlib_pgd(random: bool) -> Method:
    return _advlib(
        lambda a, m, x, y, t, s: a.pgd_linf(
            m,
            x,
            y,
            t.eps,
            steps=s["steps"],
            random_init=random,
            restarts=1,
            absolute_step_size=s["step_size"],
        )
    )


def _advlib_apgd(loss: str) -> Method:
    return _advlib(
        lambda a, m, x, y, t, s: a.apgd(
            m, x, y, t.eps, ORDER[t.name], n_iter=s["steps"], n_restarts=1, loss_function=loss
        )
    )


METHODS = {
    "bim": _advlib_pgd(random=False),
    "pgd": _advlib_pgd(random=True),
    "apgd-ce": _advlib_apgd("ce"),
    "apgd-dlr": _advlib_apgd("dlr"),
    "apgd-t": _advlib(
        lambda a, m, x, y, t, s: a.apgd_targeted(
            m,
            x,
            y,
            t.eps,
            ORDER[t.name],
            n_iter=s["steps"],
            n_restarts=1,
            num_targets=s["targets"],
        )
    ),
    "fab-t": _advlib(
        lambda a, m, x, y, t, s: a.fab(
            m,
            x,
            y,
            ORDER[t.name],
            n_iter=s["steps"],
            ε=t.eps,
            restarts=s["targets"],
            targeted_restarts=True,
        )
    ),
    "cw-l2": _advlib(
        lambda a, m, x, y, t, s: a.carlini_wagner_l2(
            m,
            x,
            y,
            confidence=0,
            learning_rate=s["learning_rate"],
            initial_const=s["initial_const"],
            binary_search_steps=s["searches"],
            max_iterations=s["iterations"],
            abort_early=True,
        )
    ),
    "ddn": _advlib(
        lambda a, m, x, y, t, s: a.ddn(
            m, x, y, steps=s["steps"], γ=s["gamma"], init_norm=1.0, levels=None
        )
    ),
    "fmn": _advlib(
        lambda a, m, x, y, t, s: a.fmn(
            m,
            x,
            y,
            ORDER[t.name],
            steps=s["steps"],
            α_init=s["step_size"],
            γ_init=s["gamma"],
        )
    ),
    "deepfool": _advlib(
        lambda a, m, x, y, t, s: a.df(
            m, x, y, steps=s["steps"], overshoot=s["overshoot"], norm=ORDER[t.name]
        )
    ),
}
