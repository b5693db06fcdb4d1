"""alpha-CROWN: optimises the free slopes and multipliers of linear bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from tempering.certification.crown import BoundParameters, crown_lower_bound
from tempering.certification.graph import Graph
from tempering.certification.interval import StepBounds
from tempering.certification.linear_bounds import Adjustable
from tempering.certification.region import Region
from tempering.core.errors import UsageError

_MEMORY = 2**29
"""Bytes of one chunk on a GPU."""
_CACHE = 2**26
"""On a processor."""
_COPIES = 14
"""Estimated number of tensors that automatic differentiation keeps for each step."""
_DECAY = (0.9, 0.999)


@dataclass(frozen=True)
class AlphaCrown:
    """Settings of the slope optimisation.

    Attributes:
        steps: Of Adam for each margin, at least 1; each costs about three backward passes.
        rate: Length of the first step; it falls to a tenth.
        hidden_steps: Of Adam for each bound of a hidden neuron; 0 leaves them as CROWN gives
            them (`final_layer_only`).

    Raises:
        UsageError: If steps or rate are not positive, or hidden steps are negative.

    Example:
        >>> AlphaCrown.final_layer_only(steps=50)
        AlphaCrown(steps=50, rate=0.3, hidden_steps=0)
    """

    steps: int = 20
    rate: float = 0.3
    hidden_steps: int = 10

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.rate < float("inf"):
            raise UsageError(
                f"alpha-CROWN with {self.steps} steps of {self.rate:g}: "
                "give at least 1 step, and a rate above 0"
            )
        if self.hidden_steps < 0:
            raise UsageError(
                f"alpha-CROWN with {self.hidden_steps} hidden steps: "
                "give 0 for final-layer slopes only, or more"
            )

    @classmethod
    def final_layer_only(cls, steps: int = 20, rate: float = 0.3) -> AlphaCrown:
        """Slopes are optimised for the margins alone; hidden bounds stay those of CROWN."""
        return cls(steps, rate, 0)


@dataclass(eq=False)
class OptimizedParameters:
    """Parameters that are optimised, for some rows.

    Attributes:
        slopes: Nonlinear step -> lower slopes, shape (rows, ...), each in [floor, 1].
        multipliers: Step -> multipliers of its known signs, shape (rows, ...), at least 0,
            in units of `units`.
        signs: Step -> 1 where its numbers are known to be at least 0, -1 where at most 0,
            else 0, shape (rows, ...).
        units: Step -> scale of its multipliers, broadcastable to them.
    """

    slopes: dict[int, Tensor]
    multipliers: dict[int, Tensor] = field(default_factory=dict)
    signs: dict[int, Tensor] = field(default_factory=dict)
    units: dict[int, Tensor] = field(default_factory=dict)

    def tuning(self) -> BoundParameters:
        """The parameters in the form that a linear bound takes."""
        pushes = {
            step: -sign * self.multipliers[step] * self.units[step]
            for step, sign in self.signs.items()
        }
        return BoundParameters(dict(self.slopes), pushes)

    def leaves(self) -> list[Tensor]:
        """The tensors that are optimised."""
        return [*self.slopes.values(), *self.multipliers.values()]

    def mapped(self, change: Callable[[Tensor], Tensor]) -> OptimizedParameters:
        """A copy with a function applied to every tensor."""

        def all_of(tensors: dict[int, Tensor]) -> dict[int, Tensor]:
            return {step: change(tensor) for step, tensor in tensors.items()}

        return OptimizedParameters(
            all_of(self.slopes), all_of(self.multipliers), all_of(self.signs), all_of(self.units)
        )


def initial_parameters(graph: Graph, bounds: StepBounds, rows: Tensor) -> OptimizedParameters:
    """Start from the slopes of CROWN."""
    return OptimizedParameters(initial_slopes(graph, bounds, len(graph.steps) - 1, rows))


def initial_slopes(graph: Graph, bounds: StepBounds, at: int, rows: Tensor) -> dict[int, Tensor]:
    """CROWN's lower slopes of the steps before one, where there is a choice, for each row."""
    slopes = {}
    for number in graph.nonlinear_before(at):
        lines = bounds.relaxation(graph, number)
        if isinstance(lines, Adjustable) and lines.has_choice:
            slopes[number] = lines.start(rows).clone()
    return slopes


def chunk(graph: Graph, like: Tensor, numbers: int | None = None) -> int:
    """Rows that are optimised at a time.

    Args:
        graph: The network.
        like: A tensor on the device.
        numbers: Coefficients of a row in all steps; by default those of whole rows.
    """
    memory = _CACHE if like.device.type == "cpu" else _MEMORY
    return max(1, memory // (8 * _COPIES * (numbers or graph.size)))


def optimized_bounds(
    graph: Graph,
    bounds: StepBounds,
    region: Region,
    rows: Tensor,
    a: Tensor,
    choice: OptimizedParameters,
    settings: AlphaCrown,
    enough: float = 0.0,
) -> tuple[Tensor, OptimizedParameters]:
    """Maximise lower bounds of the logits over slopes and multipliers.

    Intervals of hidden steps stay as they are.

    Args:
        graph: The network.
        bounds: Intervals of its steps.
        region: What goes in.
        rows: The sample of each row, shape (rows,), int64.
        a: Coefficients of the logits, shape (rows, outputs).
        choice: Where to begin.
        settings: How long.
        enough: A bound above which a row is settled.

    Returns:
        The best bounds, shape (rows,), and the choices that gave them.
    """
    last = len(graph.steps) - 1

    def bound_of(active: Tensor, tuning: BoundParameters) -> Tensor:
        return crown_lower_bound(graph, bounds, region, last, rows[active], a[active], tuning)[0]

    ranges = parameter_ranges(graph, bounds, choice)
    return maximised(bound_of, len(a), choice, ranges, settings.steps, settings.rate, enough)


def maximised(
    bound_of: Callable[[Tensor, BoundParameters], Tensor],
    count: int,
    choice: OptimizedParameters,
    ranges: list[tuple[float, float | None]],
    steps: int,
    rate: float,
    enough: float,
) -> tuple[Tensor, OptimizedParameters]:
    """Maximise the lower bound of each row over its slopes and multipliers, with Adam.

    Any slope in its range and any multiplier of at least 0 gives a sound bound (Xu et al.,
    2021, section 3.2; Wang et al., 2021, theorem 3.1); the best one met is kept. Rows whose
    bound is above `enough` leave.

    Args:
        bound_of: From numbers of rows and their parameters to bounds.
        count: How many rows there are.
        choice: Where to begin.
        ranges: Of each parameter.
        steps: Of Adam.
        rate: Length of the first; it falls to a tenth.
        enough: A bound above which a row is settled.

    Returns:
        The best bounds, shape (rows,), and the choices that gave them.
    """
    now = choice.mapped(torch.clone)
    leaves = now.leaves()
    if not leaves:
        active = torch.arange(count)
        return bound_of(active, now.tuning()).detach(), choice
    device = leaves[0].device
    best = torch.full((count,), -torch.inf, dtype=leaves[0].dtype, device=device)
    kept = choice.mapped(torch.clone)
    active = torch.arange(count, device=device)
    moments = [[torch.zeros_like(leaf), torch.zeros_like(leaf)] for leaf in leaves]
    for step in range(steps + 1):
        final = step == steps
        leaves = now.leaves()
        with torch.set_grad_enabled(not final):
            for leaf in leaves:
                leaf.requires_grad_(not final)
            bound = bound_of(active, now.tuning())
        gradients = [] if final or not bound.requires_grad else _gradients(bound, leaves)
        for leaf in leaves:
            leaf.requires_grad_(False)
        bound = bound.detach()
        better = bound > best[active]
        _keep(kept, now, active, better)
        best[active] = torch.maximum(best[active], bound)
        if final or not gradients:
            break
        _step(leaves, gradients, moments, rate * 0.1 ** (step / steps), step + 1)
        for leaf, (least, most) in zip(leaves, ranges, strict=True):
            leaf.clamp_(least, most)
        stay = best[active] <= enough
        if not bool(stay.any()):
            break
        if int(stay.sum()) <= 0.75 * len(stay):
            active = active[stay]
            now = now.mapped(partial(_rows, stay))
            moments = [[moment[stay] for moment in pair] for pair in moments]
    return best, kept


def _rows(stay: Tensor, values: Tensor) -> Tensor:
    return values[stay]


def parameter_ranges(
    graph: Graph, bounds: StepBounds, choice: OptimizedParameters
) -> list[tuple[float, float | None]]:
    """The range in which each parameter gives a sound bound."""
    slopes: list[tuple[float, float | None]] = []
    for number in choice.slopes:
        lines = bounds.relaxation(graph, number)
        slopes.append((lines.floor if isinstance(lines, Adjustable) else 0.0, 1.0))
    return [*slopes, *((0.0, None) for _ in choice.multipliers)]


def _gradients(bound: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    gradients = torch.autograd.grad(bound, leaves, torch.ones_like(bound), allow_unused=True)
    return [
        torch.zeros_like(leaf) if gradient is None else gradient
        for gradient, leaf in zip(gradients, leaves, strict=True)
    ]


def _keep(
    kept: OptimizedParameters, now: OptimizedParameters, active: Tensor, better: Tensor
) -> None:
    """Keep the parameters of rows that improved."""
    for old, new in zip(kept.leaves(), now.leaves(), strict=True):
        old[active[better]] = new[better]


def _step(
    leaves: list[Tensor],
    gradients: list[Tensor],
    moments: list[list[Tensor]],
    rate: float,
    count: int,
) -> None:
    """One ascent step of Adam (Kingma and Ba, 2015, algorithm 1)."""
    first, second = _DECAY
    for leaf, gradient, pair in zip(leaves, gradients, moments, strict=True):
        pair[0].mul_(first).add_(gradient, alpha=1 - first)
        pair[1].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = (pair[1] / (1 - second**count)).sqrt_().add_(1e-12)
        leaf.addcdiv_(pair[0], size, value=rate / (1 - first**count))
