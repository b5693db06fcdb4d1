"""Objectives that wrap another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from tempering.core.errors import UsageError
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.training.cost import Cost
from tempering.training.objective import Batch, Objective
from tempering.training.objectives.standard import Standard

_STANDARD = Standard()


@dataclass(frozen=True)
class Wrapper(Objective):
    """The base of objectives that change the batches or the losses of another objective.

    A wrapper behaves as `inner` does wherever it does not say otherwise. Text names the wrapper
    first: `trim:share=0.05+trades:beta=6`.

    Attributes:
        inner: The objective that is wrapped; it may be a wrapper too, of another kind.

    Raises:
        UsageError: If it is in what it wraps already.
    """

    inner: Objective = _STANDARD

    def __post_init__(self) -> None:
        kind = type(self)
        if any(type(one) is kind for one in self.chain[1:]):
            raise UsageError(
                f"{self.name} twice in {'+'.join(one.name for one in self.chain)}: "
                "give each wrapper once"
            )
        object.__setattr__(self, "inner_maximization", self.inner.inner_maximization)
        object.__setattr__(self, "needs_undefended", self.inner.needs_undefended)
        object.__setattr__(self, "single_samples", False)

    @property
    def chain(self) -> tuple[Objective, ...]:
        """This objective and all that it wraps, from the outside to the inside."""
        inner = self.inner
        return (self, *inner.chain) if isinstance(inner, Wrapper) else (self, inner)

    def ramp(self, step: int, steps: int) -> float:
        """That of the wrapped objective."""
        return self.inner.ramp(step, steps)

    def memory(self) -> tuple[str, ...]:
        """Those of the wrapped objective."""
        return self.inner.memory()

    def replays(self) -> int:
        """Those of the wrapped objective."""
        return self.inner.replays()

    def carry(self, batch: Batch) -> Mapping[str, Tensor]:
        """What the wrapped objective carries over."""
        return self.inner.carry(batch)

    def initialise(self, model: nn.Module, seed: int) -> None:
        """As the wrapped objective does."""
        self.inner.initialise(model, seed)

    def multi_step(self) -> Objective | None:
        """That of the wrapped objective, wrapped in its place."""
        inner = self.inner.multi_step()
        return None if inner is None else replace(self, inner=inner)

    def certifies(self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor | None:
        """What the wrapped objective certifies."""
        return self.inner.certifies(model, x, y, threat)

    def inner_passes(self) -> Cost:
        """Those of the wrapped objective."""
        return self.inner.inner_passes()

    def update_passes(self, outputs: int = 10) -> Cost:
        """Those of the wrapped objective."""
        return self.inner.update_passes(outputs)

    def perturb(self, batch: Batch) -> Batch:
        """What the wrapped objective makes of the batch."""
        return self.inner.perturb(batch)

    def prepare(
        self, data: Dataset, undefended: nn.Module | None, threat: Threat, seed: int
    ) -> tuple[Dataset, Objective]:
        """What the wrapped objective does to the data; its successor is wrapped in its place."""
        prepared, inner = self.inner.prepare(data, undefended, threat, seed)
        return prepared, replace(self, inner=inner)

    def require(self, threat: Threat, steps: int) -> None:
        """The wrapped objective works with them."""
        self.inner.require(threat, steps)

    def require_model(self, model: nn.Module) -> None:
        """The wrapped objective works with it."""
        self.inner.require_model(model)

    def require_data(self, data: Dataset) -> None:
        """The wrapped objective works with them."""
        self.inner.require_data(data)

    def config(self) -> dict[str, Any]:
        """Hyperparameters of both for the record."""
        return super().config() | {"inner": self.inner.config()}

    def spec(self) -> str:
        """Both as people write them."""
        return f"{super().spec()}+{self.inner.spec()}"
