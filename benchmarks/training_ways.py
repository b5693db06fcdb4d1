"""The ways of training that `training` compares: objectives of ours, and loops of other libraries.

A way is written `objective@stage`. The stage lies before the network: `threshold` is that of
the recipe `default`, `none` leaves the images as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from tempering.app.networks import fast_layout
from tempering.app.recipe import load_recipe
from tempering.core.errors import UsageError
from tempering.models.registry import build
from tempering.training import Objective, parse_objective

RECIPE = load_recipe("default")
STEPS = 10
STEP_SIZE = 0.075
"""Of every PGD with its own parameters, on all sides: 2.5 eps / steps at eps 0.3."""
CLIMB = f"steps={STEPS},step_size={STEP_SIZE}"
SHIPPED = "default"
"""The recipe `default` as it is shipped: objective, schedule, number of steps."""
PEERS = ("art", "torchattacks")
"""Libraries whose PGD makes the samples of a plain loop."""
CONTROL = "torchattacks-3-growing"
"""Their attack, 3 steps of 0.25, eps growing as in ours: our settings in their loop."""

OBJECTIVES: dict[str, str] = {
    "standard": "standard",
    "paper": "paper",
    "pgd": f"pgd:{CLIMB}",
    "trades": f"trades:{CLIMB}",
    "mart": f"mart:{CLIMB}",
    "fgsm-rs": "fgsm-rs",
    "n-fgsm": "n-fgsm",
    "free": "free",
    "awp+pgd": f"awp+pgd:{CLIMB}",
    "grad-align": "grad-align",
    "alp": f"alp:{CLIMB}",
    "multi-norm": "multi-norm",
    "generator": "generator",
    "curriculum+pgd": f"curriculum+pgd:{CLIMB},eps_warmup_steps=0",
    "interval": "interval",
    "fast-ibp+interval": "fast-ibp+interval",
    "crown-ibp": "crown-ibp",
    "sabr": "sabr",
    "mtl-ibp": "mtl-ibp",
}
"""Name -> objective as people write it; all train a classifier from scratch on clean data."""

LEFT_OUT: dict[str, str] = {
    "ard": "needs a robust teacher",
    "rslad": "needs a robust teacher",
    "single-pass": "needs an undefended model that was trained before",
    "gaussian-noise": "trains for randomized smoothing",
    "smooth-adv": "trains for randomized smoothing",
    "trim": "wraps others against poisoned data",
    "cutmix": "wraps others against poisoned data",
    "abl": "wraps others against poisoned data",
    "dp": "wraps others for privacy",
}
"""Objectives that are not measured, and why."""


@dataclass(frozen=True)
class Way:
    """A way of training.

    Attributes:
        trainer: An objective's name, a library's, or `SHIPPED`.
        stage: What lies before the network: `none` or `threshold`.
    """

    trainer: str
    stage: str

    @property
    def name(self) -> str:
        """As rows and the command line name it."""
        return f"{self.trainer}@{self.stage}"

    @property
    def peer(self) -> bool:
        """Whether another library makes the adversarial samples."""
        return self.trainer.startswith(PEERS)

    def objective(self, mixture: dict[str, Any]) -> Objective:
        """The objective of ours; values that its text lacks come from the mixture."""
        if self.peer:
            raise UsageError(f"{self.trainer} is a loop of another library, not an objective")
        if self.trainer == SHIPPED:
            return RECIPE.training.hardened.objective_value()
        spec = OBJECTIVES.get(self.trainer, self.trainer)
        return parse_objective(spec, mixture)

    def network(self, seed: int) -> nn.Module:
        """The network of the recipe `default` with fresh weights, behind the stage."""
        settings = RECIPE.model
        options = dict(settings.options)
        if self.stage == "none":
            options["threshold"] = []
        return fast_layout(build(settings.name, (1, 28, 28), 10, seed=seed, **options))


WAYS: dict[str, Way] = {
    way.name: way
    for way in (
        Way(SHIPPED, "threshold"),
        *(Way(name, "threshold") for name in OBJECTIVES),
        Way("paper", "none"),
        Way("pgd", "none"),
        *(Way(peer, stage) for peer in PEERS for stage in ("none", "threshold")),
        Way(CONTROL, "threshold"),
    )
}
"""Name -> way."""
CHOICE = (
    *("default@threshold", "paper@threshold", "pgd@threshold", "pgd@none"),
    *("torchattacks@none", "torchattacks@threshold", "art@none", "art@threshold"),
    *("torchattacks-3-growing@threshold", "paper@none", "trades@threshold", "mart@threshold"),
    *("fgsm-rs@threshold", "n-fgsm@threshold", "free@threshold", "awp+pgd@threshold"),
    "standard@threshold",
)
"""What is measured by default, in this order."""
