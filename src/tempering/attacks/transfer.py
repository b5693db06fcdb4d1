"""Transfer: adversarial images of surrogate models, applied to the target model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack, Problem
from tempering.attacks.early_stopping import without_early_stopping
from tempering.attacks.input_diversity import InputDiversityProbe
from tempering.attacks.momentum import MomentumProbe
from tempering.attacks.restarts import Restarts
from tempering.attacks.surrogate_ref import SurrogateRef
from tempering.attacks.wrapper import AttackWrapper
from tempering.core.errors import ModelError, UsageError
from tempering.core.probe import Probe, probing
from tempering.core.specs import read_value, split_pairs


class Ensemble(nn.Module):
    """The mean of several models' logits (Liu, Chen, Liu and Song, 2017; Dong et al., 2018)."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs).

        Raises:
            ModelError: If the members' outputs differ in number.
        """
        logits = [member(x) for member in self.members]
        shapes = {tuple(part.shape) for part in logits}
        if len(shapes) > 1:
            raise ModelError(
                f"surrogates answer with shapes {sorted(shapes)}: give models of the same classes"
            )
        return torch.stack(logits).mean(0)


@dataclass(frozen=True, init=False)
class Transfer(AttackWrapper):
    """An attack on surrogate models without early stopping; the target is never queried.

    Papernot, McDaniel and Goodfellow, 'Transferability in machine learning', 2016. Two
    options improve transferability: momentum (Dong et al., 'Boosting adversarial attacks
    with momentum', 2018) and random resizing and shifting before each gradient (Xie et
    al., 'Improving transferability of adversarial examples with input diversity', 2019).

    Attributes:
        attack: The attack on the surrogates.
        surrogates: At least one; with several, the mean of their logits is attacked.
        diversity: Probability that an image is resized and shifted before a gradient.
        momentum: Factor of the accumulated gradient at each step.

    Raises:
        UsageError: If there is no surrogate, or a number is out of range.

    Example:
        `Transfer(PGD(steps=20), "runs/mine", diversity=0.5, momentum=1.0)`
    """

    name: ClassVar[str] = "transfer"
    access: ClassVar[str] = "none"
    source: ClassVar[str] = "Papernot, McDaniel and Goodfellow, 2016"
    cost: ClassVar[str] = "no pass of the model; that of its attack on the surrogates"

    surrogates: tuple[SurrogateRef, ...]
    diversity: float
    momentum: float

    def __init__(
        self,
        attack: Attack,
        *networks: nn.Module | SurrogateRef | str | Path,
        surrogates: tuple[SurrogateRef, ...] = (),
        diversity: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        owned = (*map(SurrogateRef.of, networks), *surrogates)
        if not owned:
            raise UsageError("transfer: no surrogate: give surrogate=RUN, a model of your own")
        if not 0 <= diversity <= 1:
            raise UsageError(f"transfer: diversity = {diversity}: give a probability, 0 to 1")
        if not 0 <= momentum <= 1:
            raise UsageError(f"transfer: momentum = {momentum}: give 0 to 1")
        if isinstance(attack, Restarts):
            raise UsageError(
                "transfer of restarts: a surrogate cannot tell which restart fools the model: "
                "give Restarts(Transfer(...), times)"
            )
        object.__setattr__(self, "attack", attack)
        object.__setattr__(self, "surrogates", owned)
        object.__setattr__(self, "diversity", diversity)
        object.__setattr__(self, "momentum", momentum)

    def propose(self, probe: Probe, problem: Problem) -> Tensor:  # noqa: ARG002 - not asked
        """The inner attack's proposals for the surrogates."""
        networks = [ref.network().to(problem.x.device) for ref in self.surrogates]
        network = networks[0] if len(networks) == 1 else Ensemble(networks)
        with probing(network) as own:
            seen: Probe = own
            if self.diversity:
                seen = InputDiversityProbe(own.model, self.diversity, problem.streams)
            if self.momentum:
                seen = MomentumProbe(seen, self.momentum)
            return without_early_stopping(self.attack).propose(seen, problem)

    def minimum_norm(self) -> bool:
        """False: what is nearest for the surrogates need not fool the target."""
        return False

    def config(self) -> dict[str, Any]:
        """The inner attack's configuration, and the addresses of the surrogates."""
        return {
            "name": self.name,
            "attack": self.attack.config(),
            "surrogates": [ref.address for ref in self.surrogates],
            "diversity": self.diversity,
            "momentum": self.momentum,
        }

    def label(self) -> str:
        """Such as `transfer(pgd-40)`."""
        return f"{self.name}({self.attack.label()})"


def read_transfer(tail: str, parse: Callable[[str], Attack]) -> Attack:
    """Read what follows `transfer:`, such as `surrogate=runs/a+runs/b,attack=bim,steps=20`.

    Args:
        tail: `surrogate`: run folders with `+` between them; `attack`: its name, by
            default pgd; `diversity`, `momentum`, `restarts`; other keys belong to that attack.
        parse: Reads the inner attack.

    Returns:
        The attack.

    Raises:
        UsageError: If there is no surrogate, or a value is invalid.
    """
    settings = split_pairs(tail, "transfer", "surrogate=runs/mine")
    addresses = [address for address in settings.pop("surrogate", "").split("+") if address]
    name = settings.pop("attack", "pgd")
    diversity, momentum = (
        read_value(settings.pop(key, "0"), float, f"transfer: {key}")
        for key in ("diversity", "momentum")
    )
    restarts = read_value(settings.pop("restarts", "1"), int, "transfer: restarts")
    inner = parse(f"{name}:" + ",".join(f"{key}={value}" for key, value in settings.items()))
    attack = Transfer(inner, *addresses, diversity=diversity, momentum=momentum)
    return attack if restarts == 1 else Restarts(attack, restarts)
