"""Another library's attacks, behind the same call as everyone's."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.threats import Threat

Settings = Mapping[str, Any]
"""What an attack is told: `steps`, `step_size` and so on, `batch_size` and `seed` always."""
Method = Callable[[nn.Module, Tensor, Tensor, Threat, Settings], Tensor]
"""From model, images, labels, threat and settings to x_adv, shape of the images."""

ORDER = {"linf": float("inf"), "l2": 2}
NORM = {"linf": "Linf", "l2": "L2"}


@dataclass(frozen=True)
class Peer:
    """Another library.

    Attributes:
        name: As rows name it.
        package: Its distribution.
        module: What is imported of it.
        methods: Kind of attack -> the call, for threats in `norms` of that kind.
        norms: Kind of attack -> the norms that it knows, where it does not know both.
    """

    name: str
    package: str
    module: str
    methods: Mapping[str, Method]
    norms: Mapping[str, tuple[str, ...]]

    @property
    def installed(self) -> bool:
        """Whether it can be imported here."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """The version that is installed."""
        return metadata.version(self.package)

    def knows(self, kind: str, threat: Threat) -> bool:
        """Whether it has an attack of this kind in the threat's norm."""
        return kind in self.methods and threat.name in self.norms.get(kind, tuple(ORDER))

    def attack(
        self, kind: str, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, settings: Settings
    ) -> Tensor:
        """Run its attack of a kind; x_adv, shape of x, detached."""
        torch.manual_seed(settings["seed"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they use what torch and SciPy have renamed
            return self.methods[kind](model, x.clone(), y.clone(), threat, settings).detach()


def batched(method: Method) -> Method:
    """For libraries that leave batches to their caller."""

    def run(model: nn.Module, x: Tensor, y: Tensor, threat: Threat, settings: Settings) -> Tensor:
        size = settings["batch_size"]
        parts = [
            method(model, x[at : at + size], y[at : at + size], threat, settings)
            for at in range(0, len(x), size)
        ]
        return torch.cat([part.detach() for part in parts])

    return run
