"""A network as a list of steps with bounds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from tempering.certification.operations import Nonlinear, Operation
from tempering.certification.precision import Precision

if TYPE_CHECKING:
    from torch import Tensor

    from tempering.certification.first_sums import Sums


@dataclass(frozen=True, eq=False)
class GraphStep:
    """One operation of a network.

    Attributes:
        name: Of the layer.
        operation: What it does; None for the input.
        sources: Numbers of the steps that feed it, all smaller than its own.
        shape: Of what it returns, without the samples.
    """

    name: str
    operation: Operation | None
    sources: tuple[int, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Graph:
    """Steps in an order in which they can run; the first is the input, the last the logits.

    Attributes:
        steps: All of them.
        cast: Relative rounding of images to the network's own type; 0 if they have it.
        precision: How the network rounds; None for a graph that is not a network's.
    """

    steps: tuple[GraphStep, ...]
    cast: float = 0.0
    precision: Precision | None = None

    @cached_property
    def inputs_of_nonlinear(self) -> dict[int, list[int]]:
        """Step -> the nonlinear steps whose relaxation needs its interval."""
        users: dict[int, list[int]] = {}
        for number, step in enumerate(self.steps):
            if isinstance(step.operation, Nonlinear):
                users.setdefault(step.sources[0], []).append(number)
        return users

    def nonlinear_before(self, at: int) -> list[int]:
        """The nonlinear steps before a step."""
        users = [user for users in self.inputs_of_nonlinear.values() for user in users]
        return sorted(user for user in users if user < at)

    @cached_property
    def exact(self) -> list[bool]:
        """Steps whose interval is exact for an input box: at most one step that sums inputs."""
        mixing: list[int] = []
        for step in self.steps:
            if step.operation is None:
                mixing.append(0)
            elif len(step.sources) > 1:
                mixing.append(2)
            else:
                before = mixing[step.sources[0]]
                # after a sum numbers depend on each other: a second sum is no longer exact
                mixing.append(before if step.operation.pointwise else before + 1)
        return [number <= 1 for number in mixing]

    @cached_property
    def width(self) -> int:
        """Activations of the widest step."""
        return max(prod(step.shape) for step in self.steps)

    @cached_property
    def size(self) -> int:
        """Activations of all steps."""
        return sum(prod(step.shape) for step in self.steps)

    @cached_property
    def sums(self) -> dict[int, Sums | None]:
        """The first sums of the image by step, as `first_sums` writes them out; filled there."""
        return {}

    @cached_property
    def dual_norms(self) -> dict[tuple[int, str, int], Tensor | None]:
        """Norms of such sums by step, norm and number of pixels; filled there."""
        return {}
