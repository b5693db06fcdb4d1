"""Which methods certify samples of a model, and at what price, learned on a few samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tempering.certification.certify_samples import certify
from tempering.certification.verdicts import Certificates, MethodCost
from tempering.core.threats import Threat
from tempering.core.work_clock import work_seconds
from tempering.evaluation.context import EvalContext
from tempering.evaluation.target import Target

CHEAP = ("interval", "crown-ibp")
"""Methods that cost a few passes, tried together."""
DEAR = ("crown", "alpha-crown")
"""Methods whose cost depends on the network, tried on one sample first."""
METHODS = (*CHEAP, *DEAR)
"""In ascending order of cost. Branch and bound is left to what attacks leave: it searches for
counterexamples as well, which attacks find for less."""
SURVEYED = 32
"""Samples on which methods are tried."""

PATIENCE = 4.0
"""Wall time, in seconds of work, after which a method is stopped."""
TELLING = 4
"""Samples of a trial below which it does not tell what a certificate costs."""


@dataclass(frozen=True)
class CertificationBudget:
    """What certificates may cost.

    Attributes:
        saved: Seconds of attacks that a certified sample saves.
        seconds: What is spent in any case, so that a lower bound is known.
        limit: Wall time until nothing new is begun; infinite without a time limit.
        attacks: Whether attacks follow on what is not certified.

    Seconds but those of the limit are those of `work_seconds`.
    """

    saved: float
    seconds: float
    limit: float = math.inf
    attacks: bool = True

    @property
    def cap(self) -> float | None:
        """The limit, as `certify` takes it."""
        return None if math.isinf(self.limit) else max(self.limit, 0.0)


@dataclass(frozen=True)
class MethodTrial:
    """What one method did on the samples that cheaper ones left undecided.

    Attributes:
        method: Its name.
        samples: How many it was given.
        certified: How many of them it certified.
        seconds: What that took, of `work_seconds`.
    """

    method: str
    samples: int
    certified: int
    seconds: float

    @property
    def a_sample(self) -> float:
        """Seconds a sample."""
        return self.seconds / max(self.samples, 1)

    def worth(self, samples: int, budget: CertificationBudget, left: float) -> bool:
        """Whether to give the method all samples before any attack.

        It must certify some, and cost no more than the attacks that it saves, or fit into what
        is left of the seconds that are spent in any case.

        Args:
            samples: How many it would be given.
            budget: What a certificate saves.
            left: Of the seconds that are spent in any case.

        Example:
            >>> budget = CertificationBudget(saved=0.03, seconds=1.0)
            >>> trial = MethodTrial("crown", samples=30, certified=20, seconds=0.3)
            >>> trial.worth(5000, budget, left=0.0)
            True
            >>> MethodTrial("crown", 30, 1, 0.3).worth(5000, budget, left=0.0)
            False
            >>> MethodTrial("crown", 30, 1, 0.3).worth(50, budget, left=1.0)
            True
        """
        saves = self.samples >= TELLING and self.seconds <= self.certified * budget.saved
        return self.certified > 0 and (saves or self.a_sample * samples <= left)

    def __str__(self) -> str:
        return (
            f"{self.method}: {self.certified} of {self.samples} certified, "
            f"{1000 * self.a_sample:.3g} ms a sample"
        )


@dataclass(eq=False)
class Survey:
    """Methods tried on a few samples, cheapest first.

    Attributes:
        rows: The samples, shape (m,), int64.
        trials: Method -> what it did.
        complete: Methods that were given all samples that cheaper ones left.
        untried: Methods for which no seconds were left.
        unsupported: Why there are no bounds at all; None if there are some.
        seconds: What the methods took in all, of `work_seconds`.
    """

    rows: Tensor
    trials: dict[str, MethodTrial] = field(default_factory=dict)
    complete: set[str] = field(default_factory=set)
    untried: list[str] = field(default_factory=list)
    unsupported: str | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._settled_by = [""] * len(self.rows)

    @property
    def settled(self) -> Tensor:
        """Number of the method that certified each sample, from 1, or 0, shape (m,), int64."""
        names = ("", *METHODS)
        return torch.tensor([names.index(name) for name in self._settled_by]).long()

    def open(self) -> Tensor:
        """Positions of samples without a certificate, shape (k,), int64."""
        return (self.settled == 0).nonzero()[:, 0]

    def add(self, trial: MethodTrial) -> None:
        """Count a trial of more samples; the price is that of the latest, the first warms up."""
        known = self.trials.get(trial.method, MethodTrial(trial.method, 0, 0, 0.0))
        samples = known.samples + trial.samples
        self.trials[trial.method] = MethodTrial(
            trial.method, samples, known.certified + trial.certified, trial.a_sample * samples
        )

    def settle(self, positions: Tensor, method: str) -> None:
        """Note which method certified samples."""
        for position in positions.tolist():
            self._settled_by[position] = method


def survey_methods(
    context: EvalContext,
    target: Target,
    threat: Threat,
    rows: Tensor,
    budget: CertificationBudget,
) -> Survey:
    """Try methods on samples that are spread over all, each on what the cheaper ones leave.

    Each gets one sample, and then the rest; of a dear one as many as half of the seconds that
    are left suffice for. The clock of the main process decides for all.

    Args:
        context: Data and engine.
        target: The model.
        threat: What may change.
        rows: Samples that are right without attack, shape (m,), int64.
        budget: What it may cost.
    """
    engine = context.engine
    survey = Survey(_spread(rows))
    if not len(rows) or not engine.broadcast(budget.limit > 0):
        return survey
    at = context, target, threat
    for methods in (CHEAP, *((method,) for method in DEAR)):
        waiting = survey.open()
        if survey.unsupported is not None or not len(waiting):
            break
        first = waiting[:1]
        for part in (first, waiting[len(first) :]):
            left = engine.broadcast(min((budget.seconds - survey.seconds) / 2, budget.limit))
            if methods != CHEAP:
                trial = survey.trials.get(methods[0])
                most = len(part) if trial is None else int(left / max(trial.a_sample, 1e-9))
                part = part[: max(most, 0)] if left > 0 else part[:0]
            if len(part):
                _try(survey, at, methods, part, budget.cap if methods == CHEAP else left)
        tried = survey.trials.get(methods[-1])
        if tried is None and survey.unsupported is None:
            survey.untried.extend(methods)
        if methods == CHEAP or (tried is not None and tried.samples == len(waiting)):
            survey.complete.update(methods)
    return survey


def certify_rows(
    context: EvalContext,
    target: Target,
    threat: Threat,
    rows: Tensor,
    methods: Sequence[str],
    seconds: float | None = None,
) -> tuple[Certificates, Tensor]:
    """Certify samples in all processes.

    Returns:
        Certificates of the samples of this process; and of all rows the number of the method
        that certified it, from 1, or 0, shape of rows, int64, equal in every process.
    """
    engine, own = context.engine, rows[context.engine.shard(len(rows))]
    certificates = certify(
        target.certifiable,
        context.data.images(own).to(engine.device),
        context.data.y[own].to(engine.device),
        threat,
        methods=methods,
        batch_size=context.batch_size,
        seconds=seconds,
    )
    numbers = {name: number for number, name in enumerate(methods, 1)}
    settled = torch.tensor([numbers.get(name, 0) for name in certificates.settled_by]).long()
    return certificates, engine.gather(settled * certificates.certified.cpu(), len(rows))


def _spread(rows: Tensor) -> Tensor:
    """Samples at equal distances, so that sorted data are seen as a whole."""
    count = min(SURVEYED, len(rows))
    return rows[torch.arange(count) * len(rows) // max(count, 1)]


def _try(
    survey: Survey,
    at: tuple[EvalContext, Target, Threat],
    methods: Sequence[str],
    part: Tensor,
    seconds: float | None,
) -> None:
    """Give methods the samples at some positions.

    Bounds of hidden neurons come from CROWN, so it runs in front of what sharpens them.
    """
    context, target, threat = at
    run = methods if methods == CHEAP else tuple(dict.fromkeys(("crown", *methods)))
    began = work_seconds(context.engine.device)
    verdicts, settled = certify_rows(
        context, target, threat, survey.rows[part], run, patient(seconds)
    )
    worked = work_seconds(context.engine.device) - began
    priced = prices(verdicts.spent, worked)
    priced, survey.unsupported = context.engine.broadcast((priced, verdicts.unsupported))
    survey.seconds += sum(priced.values())
    left = len(part)
    for number, method in enumerate(run, 1):
        certified = part[settled == number]
        if method in priced and method in methods:
            survey.add(MethodTrial(method, left, len(certified), priced[method]))
        survey.settle(certified, method)
        left -= len(certified)


def prices(spent: Sequence[MethodCost], worked: float) -> dict[str, float]:
    """Method -> seconds of work that it took; tracing and checks of the model are not priced.

    Args:
        spent: Wall time of each method.
        worked: Of the whole call, by the clock of work.
    """
    wall = {cost.method: cost.seconds for cost in spent}
    share = worked / max(sum(wall.values()), worked, 1e-9)
    return {method: share * seconds for method, seconds in wall.items()}


def patient(seconds: float | None) -> float | None:
    """Wall time to wait for so many seconds of work, on a machine that others use too."""
    return None if seconds is None else PATIENCE * seconds
