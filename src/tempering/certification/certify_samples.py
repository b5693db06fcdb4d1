"""Certifies that no image within a threat changes a network's decision."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tempering.certification import methods as bounding
from tempering.certification.alpha_crown import AlphaCrown
from tempering.certification.branching import BranchAndBound, Branching
from tempering.certification.counterexamples import CounterexampleSearch
from tempering.certification.fixed_function import ForwardState, seeded
from tempering.certification.graph import Graph
from tempering.certification.interval import propagate
from tempering.certification.lowering import graph_of
from tempering.certification.margins import MarginBatch
from tempering.certification.operations import IntervalTensor
from tempering.certification.patch_places import PatchPlaces, certify_places
from tempering.certification.reduction import Reduction
from tempering.certification.region import NORMS, Region
from tempering.certification.tracing import Unsupported, refuse_changed_state
from tempering.certification.verdicts import Certificates, MethodCost
from tempering.core.errors import DataError, ThreatError, UnknownNameError, UsageError
from tempering.core.goals import Goal, Untargeted, reached
from tempering.core.outputs import logits_in
from tempering.core.patches import Patch
from tempering.core.probe import Probe, probing
from tempering.core.progress import Advance, track
from tempering.core.random import RandomStreams
from tempering.core.tensors import require_tensors
from tempering.core.threats import TOLERANCE, Threat

METHODS = ("interval", "crown-ibp", "crown", "alpha-crown", "branching")
"""In ascending order of cost."""
BATCH_SIZE = 64
"""Largest batch size; less if memory does not suffice."""
_MEMORY = 2**30
_COPIES = 12
_REPEATED = 8
"""Batch size of the second pass over all samples: each call may show that the model varies."""

_WITHIN = 8
"""Random images within the threat, on which a network is compared with its trace too."""


def certify(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    goal: Goal | None = None,
    methods: Sequence[str] = METHODS,
    alpha: AlphaCrown | None = None,
    branching: Branching | None = None,
    batch_size: int = BATCH_SIZE,
    seconds: float | None = None,
) -> Certificates:
    """Certify samples, with the cheapest method that can.

    Each method is given only what is still undecided: interval bounds (Gowal et al., 2018),
    CROWN between interval bounds (Zhang et al., 2020), CROWN (Zhang et al., 2018), CROWN with
    optimised slopes (Xu et al., 2021), branch and bound on ReLU signs (Bunel et al., 2020;
    Wang et al., 2021). A certificate holds for the network as it runs in float32 or float64
    (see `precision`), in evaluation mode, and for all images that `threat.contains` accepts,
    its tolerance included. A sample is certified if one protected output is proven to win
    against every unprotected one; with more than one protected output this is sufficient,
    not necessary.

    The model must be a fixed function of its images: no state that a forward pass writes, no
    random numbers, no clock. This is checked, not proven: it is traced 4 times in other states of
    the global generators, and all samples are passed through it twice. It abstains if traces
    differ, state or a generator changes, or logits lie outside the bounds of the trace.

    Cost: a few forward passes of 8 images; a sample two more, and about three in float64 to
    compare the trace with them; interval bounds as much again, CROWN-IBP a backward pass an output
    more; CROWN two backward passes for each neuron whose sign is open; alpha-CROWN about three a
    step and open output, then about three a hidden step and bound of a neuron whose sign is open;
    branching as much as the outputs of alpha-CROWN for each domain. Each method computes the bounds
    it needs.

    Args:
        model: From images in [0, 1] to logits, shape (n, outputs). Its mode, weights and
            gradients are left as they are.
        x: Images in [0, 1], shape (n, c, h, w), float32 or float64, on the model's device.
        y: Labels, shape (n,), int64.
        threat: L-inf, L2, L1, L0 or a patch; others abstain. A patch is certified place by
            place, without branching.
        goal: What an attacker wants; by default any class but the true one.
        methods: Some of `METHODS`; they run in that order.
        alpha: How long to optimise slopes.
        branching: How long to branch.
        batch_size: Samples at a time; fewer where memory asks for it.
        seconds: After so long nothing new is begun, and what is left abstains; None for no
            limit, so that verdicts depend on no clock. Give one to large networks that were
            not trained for certificates.

    Returns:
        Verdicts; a network or threat without bounds is no error, but abstains with a name.

    Raises:
        ModelError: If weights or logits are not finite, or logits are not (n, outputs).
        DataError: If images or labels are none.
        ThreatError: If the threat is none.
        UnknownNameError: If a method is unknown.

    Example:
        >>> from tempering.core.threats import Linf
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
        >>> _ = net[1].weight.data.copy_(torch.eye(2)), net[1].bias.data.zero_()
        >>> x = torch.tensor([[[[0.9, 0.1]]], [[[0.6, 0.5]]]])
        >>> certificates = certify(net, x, torch.tensor([0, 0]), Linf(0.1))
        >>> certificates.certified.tolist(), certificates.settled_by
        ([True, False], ('interval', 'branching'))
    """
    _check(x, y)
    if not isinstance(threat, Threat):
        raise ThreatError(f"threat of type {type(threat).__name__}: give one, such as Linf(0.1)")
    for name in methods:
        if name not in METHODS:
            raise UnknownNameError("method", name, METHODS)
    if seconds is not None and not seconds > 0:
        raise UsageError(f"seconds {seconds}: give more than 0, or None for no limit")
    until = math.inf if seconds is None else time.monotonic() + seconds
    with probing(model) as probe:
        job = _Certification(probe, x.detach(), y, threat, goal or Untargeted(), until)
        try:
            if len(x):
                job.run(
                    [name for name in METHODS if name in methods],
                    alpha or AlphaCrown(),
                    branching or Branching(),
                    max(1, batch_size),
                )
        except Unsupported as reason:
            job.abstain(str(reason))
        return job.verdicts()


@dataclass(eq=False)
class _Certification:
    probe: Probe
    x: Tensor
    y: Tensor
    threat: Threat
    goal: Goal
    until: float
    counterexamples: dict[int, Tensor] = field(default_factory=dict)
    unsupported: str | None = None
    spent: dict[str, MethodCost] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, device = len(self.x), self.x.device
        self.margin = torch.full((n,), -torch.inf, dtype=torch.float64, device=device)
        self.settled_by, self.reasons = [""] * n, [""] * n

    def run(
        self, methods: list[str], alpha: AlphaCrown, branching: Branching, batch_size: int
    ) -> None:
        """Refute clean errors, then run each method on the undecided samples."""
        protected, logits = self._clean(batch_size)
        patch = self.threat if type(self.threat) is Patch else None
        if patch is None and not (self.threat.built_in and self.threat.name in NORMS):
            known = f"bounds know {', '.join(NORMS)} and patch"
            raise Unsupported(str(self.threat), "threat", known)
        graph = graph_of(self.probe.model, self.x)
        reduction = Reduction.of(graph, self.threat)
        batch = max(1, min(batch_size, _MEMORY // (8 * _COPIES * graph.size)))
        self._compare(graph, self.x, (logits, self._repeated()), batch)
        self._compare_within(graph)
        bounds: dict[str, Callable[[MarginBatch], None]] = {
            "interval": bounding.interval,
            "crown-ibp": bounding.crown_ibp,
            "crown": lambda case: bounding.full_crown(case, self.until),
            "alpha-crown": lambda case: bounding.alpha_crown(case, alpha, self.until),
        }
        if patch is not None:
            by_place = {name: bounds[name] for name in methods if name in bounds}
            self._places(reduction, patch, protected, by_place, batch)
            return
        work: dict[str, Callable[[MarginBatch, Tensor], None]] = {
            **{name: _without_rows(bound) for name, bound in bounds.items()},
            "branching": lambda case, rows: self._branch(case, rows, branching),
        }
        # what needs the same intervals goes together; in between, batches are filled up again
        cheap = [name for name in methods if name in METHODS[:2]]
        expensive = [name for name in methods if name not in cheap]
        with track("certifying", len(self.x)) as advance:
            advance(len(self.x) - len(self._undecided()), "clean errors are known")
            for names in (cheap, expensive):
                left = self._undecided()
                for rows in torch.split(left, batch) if names else ():
                    self._batch(reduction, rows, protected, {name: work[name] for name in names})
                    self._tell(advance, rows, names is expensive or not expensive)

    def _clean(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Protected outputs and logits of all samples; refutes misclassified ones."""
        logits = self._logits(batch_size)
        protected = self.goal.protected(self.y, logits.shape[1])
        for row in reached(logits, protected).nonzero()[:, 0].tolist():
            self._refute(row, self.x[row], "clean", "wrong without any change")
        return protected, logits

    def _logits(self, batch_size: int) -> Tensor:
        parts = torch.split(torch.arange(len(self.x), device=self.x.device), batch_size)
        return torch.cat([self.probe.logits(self.x[rows], rows) for rows in parts])

    def _repeated(self) -> Tensor:
        """Logits of all samples once more; refuses a model that writes state or draws numbers."""
        model, device = self.probe.model, self.x.device
        with seeded(len(self.x), device):
            state = ForwardState(model, device)
            logits = self._logits(_REPEATED)
            refuse_changed_state(model, state)
        return logits

    def _compare_within(self, graph: Graph) -> None:
        """The same for random images within the threat of some samples."""
        x = self.x[:_WITHIN]
        images = self.threat.sample(x, RandomStreams.of(0, len(x)).on(x.device))
        with torch.no_grad():
            logits = logits_in(self.probe.answer(images))
        if isinstance(logits, Tensor):
            self._compare(graph, images, (logits, logits), _WITHIN)

    def _compare(
        self, graph: Graph, x: Tensor, passes: tuple[Tensor, Tensor], batch_size: int
    ) -> None:
        """Refuse a lowered network that differs from the original by more than rounding.

        Args:
            graph: The lowered network.
            x: Images, shape (n, c, h, w).
            passes: Their logits, and those of a second pass.
            batch_size: Images at a time.
        """
        kind = type(self.probe.model).__name__
        reasons = (
            "it does not compute what its layers say",
            "it answers the same images differently",
        )
        for rows in torch.split(torch.arange(len(x), device=x.device), batch_size):
            part = x[rows].double()
            own = propagate(graph, Region("linf", part, 0.0, IntervalTensor(part, part)))
            low, high = own.intervals[-1]
            for logits, reason in zip(passes, reasons, strict=True):
                seen = logits[rows].double()
                within = seen.shape == low.shape and (seen >= low) & (seen <= high)
                if not torch.as_tensor(within).all():
                    raise Unsupported("the model", kind, reason)

    def _batch(
        self,
        reduction: Reduction,
        rows: Tensor,
        protected: Tensor,
        work: dict[str, Callable[[MarginBatch, Tensor], None]],
    ) -> None:
        if not len(rows):
            return
        region = reduction.region(self.x[rows])
        case = MarginBatch.of(reduction.graph, region, protected[rows])
        for name, method in work.items():
            began = time.monotonic()
            if not len(rows) or began > self.until:
                break
            with torch.no_grad():
                method(case, rows)
            self.margin[rows] = torch.maximum(self.margin[rows], case.margin())
            proven = case.margin() > 0
            for row in rows[proven].tolist():
                self.settled_by[row] = name
            left = [not self.settled_by[row] for row in rows.tolist()]
            self._account(name, len(rows), int(proven.sum()), left, time.monotonic() - began)
            stay = torch.tensor(left, device=rows.device).nonzero()[:, 0]
            rows, case = rows[stay], case.part(stay)

    def _places(
        self,
        reduction: Reduction,
        patch: Patch,
        protected: Tensor,
        work: dict[str, Callable[[MarginBatch], None]],
        batch: int,
    ) -> None:
        """Certify samples under a patch, one after the other."""
        with track("certifying", len(self.x)) as advance, torch.no_grad():
            for row in self._undecided().tolist():
                places = PatchPlaces.of(self.x[row : row + 1], patch)
                verdict = certify_places(reduction, places, protected[row], work, self.until, batch)
                self.margin[row] = verdict.margin
                self.settled_by[row] = verdict.method
                for name, seconds in verdict.seconds.items():
                    left = verdict.method != name
                    self._account(name, 1, int(not left), [left], seconds)
                advance(row + 1, f"{int((self.margin > 0).sum())} certified")

    def _account(
        self, name: str, samples: int, certified: int, left: list[bool], seconds: float
    ) -> None:
        refuted = samples - certified - sum(left)
        before = self.spent.get(name, MethodCost(name, 0, 0, 0, 0.0))
        self.spent[name] = MethodCost(
            name,
            before.samples + samples,
            before.certified + certified,
            before.refuted + refuted,
            before.seconds + seconds,
        )

    def _branch(self, case: MarginBatch, rows: Tensor, settings: Branching) -> None:
        """Branch on the open margins of all samples."""
        if not case.sharp:
            alpha = AlphaCrown(settings.steps, settings.rate)
            bounding.alpha_crown(case, alpha, self.until)

        def find(sample: int, points: Tensor) -> Tensor | None:
            row = int(rows[sample])
            x, y = self.x[row : row + 1], self.y[row : row + 1]
            return CounterexampleSearch(self.probe, x, y, self.threat, self.goal)(points)

        search = BranchAndBound(case, settings, find, self.until)
        for sample, image in search.run().items():
            reason = "an image that fools was found"
            self._refute(int(rows[sample]), image, "branching", reason)

    def _refute(self, row: int, image: Tensor, method: str, reason: str) -> None:
        self.counterexamples[row] = image
        self.settled_by[row] = method
        self.reasons[row] = reason

    def _undecided(self) -> Tensor:
        rows = [row for row, name in enumerate(self.settled_by) if not name]
        return torch.tensor(rows, dtype=torch.int64, device=self.x.device)

    def _tell(self, advance: Advance, rows: Tensor, last: bool) -> None:
        final = sum(last or bool(self.settled_by[row]) for row in rows.tolist())
        advance(final, f"{int((self.margin > 0).sum())} certified")

    def abstain(self, reason: str) -> None:
        """Leave the remaining samples undecided, for this reason."""
        self.unsupported = reason

    def verdicts(self) -> Certificates:
        """Verdicts of all samples."""
        certified = self.margin > 0
        late = time.monotonic() > self.until
        loose = "time is up" if late else "its bounds are too loose"
        for row in self._undecided().tolist():
            self.reasons[row] = self.unsupported or loose
        for row in self.counterexamples:
            certified[row] = False
        return Certificates(
            certified,
            self.margin,
            tuple(self.settled_by),
            tuple(self.reasons),
            self.counterexamples,
            self.unsupported,
            tuple(self.spent.values()),
        )


def _without_rows(bound: Callable[[MarginBatch], None]) -> Callable[[MarginBatch, Tensor], None]:
    return lambda case, _: bound(case)


def _check(x: Tensor, y: Tensor) -> None:
    require_tensors(images=x, labels=y)
    if x.ndim != 4 or y.shape != x.shape[:1]:
        raise DataError(
            f"images {tuple(x.shape)} and labels {tuple(y.shape)} do not fit: "
            "give (n, c, h, w) and (n,)"
        )
    if y.dtype != torch.int64:
        raise DataError(f"labels of type {y.dtype}: give int64")
    if x.dtype not in (torch.float32, torch.float64):
        raise DataError(f"images of type {x.dtype}: give float32 or float64")
    if len(x) == 0:
        return
    low, high = (float(end) for end in x.aminmax())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise DataError(
            f"images from {low:g} to {high:g}: give finite pixels in [0, 1], "
            "and normalise inside the model"
        )
