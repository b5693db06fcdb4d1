"""One evaluation of one model: what is measured, and what it all comes to."""

from __future__ import annotations

import contextlib
import copy
import json
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from tempering.app.assessment import eps_grid
from tempering.app.cascading import Cascading
from tempering.app.demand import GRAY, Demand, cascades_of, stage_result
from tempering.app.folder import RunFolder
from tempering.app.load_inputs import first_samples
from tempering.app.provenance import provenance
from tempering.app.recipe import CurveSettings, load_recipe
from tempering.app.result_cache import Keeping, Unkept
from tempering.app.surrogate import TrainedSurrogate, train_surrogate
from tempering.attacks.base import Attack
from tempering.attacks.pgd import PGD
from tempering.core.engine import Engine
from tempering.core.errors import ModelError, NoGradientError, UsageError
from tempering.core.passes import Passes as Counter
from tempering.core.passes import counted
from tempering.core.proofs import Proof
from tempering.core.records import (
    AnyRecord,
    Assessment,
    Count,
    Flag,
    Measurement,
    Passes,
    StageResult,
)
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.evaluation.cascade import Cascaded
from tempering.evaluation.certificates import CertifiedSamples
from tempering.evaluation.certified_curve import proof_curve, proof_record
from tempering.evaluation.context import EvalContext
from tempering.evaluation.distance_curve import distance_curve
from tempering.evaluation.flags.examining import examine
from tempering.evaluation.flags.outputs import probabilities
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.flags.unavailable import unavailable_gradients
from tempering.evaluation.inspection import inspect, reaches_grey
from tempering.evaluation.protocols import nearest
from tempering.evaluation.results import AttackResult
from tempering.evaluation.standard import Evaluation, run_standard
from tempering.evaluation.summary import summarize
from tempering.evaluation.target import Target
from tempering.evaluation.worst import worst_case
from tempering.models.weights import weights_hash

CURVE = 100
"""Samples of the curve at most."""
EXAMINED = 32
"""Samples on which model and gradients are examined."""
GLANCED = 8
"""Samples whose gradients are looked at where time is short."""


class Judgement:
    """One evaluation under way.

    Attributes:
        context: The samples, where to compute, and the seed.
        target: The model.
        records: Everything that was measured so far.
        evaluation: What the model went through, for pictures.
        verdicts: What became of each sample under the cascades, by access; none where
            attacks were given.
        owned: The gray-box attacker's model, if one was trained.
        folder: The run, where such a training is saved.
        keeping: Keeps what was measured, for a run that is cut.
        earlier: Seconds that the run took before it was cut.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset | Splits,
        demand: Demand,
        engine: Engine,
    ) -> None:
        """Check that all fits together.

        Args:
            model: From images in [0, 1] to logits.
            data: Test data, or splits whose test data is used.
            demand: What to do.
            engine: Where to compute.

        Raises:
            UsageError: If an attack does not know the threat's norm, there are too few
                samples, or a gray-box attacker has neither a model nor training data.
            ModelError: If the model is no classifier of the data.
        """
        self.recipe = load_recipe("default").model_copy(
            update={"threat": str(demand.threat), "seed": demand.seed}
        )
        settings = self.recipe.evaluation
        test = data.test if isinstance(data, Splits) else data
        part = first_samples(test, demand.samples, settings.samples)
        for attack in demand.attacks or ():
            attack.require(demand.threat)
        self.plan = cascades_of(demand)
        if GRAY in self.plan and demand.surrogate is None and not isinstance(data, Splits):
            raise UsageError(
                f"access {demand.access!r} with neither a surrogate nor training data: give "
                "surrogate, a model that the attacker owns, or splits such as data.load('mnist')"
            )
        self.demand, self.data, self.model, self.engine = demand, data, model, engine
        self.curve = settings.curve
        self.keeping: Keeping = Unkept()
        self.earlier, self.started = 0.0, time.perf_counter()
        self.context = EvalContext(part, "test", engine, demand.seed)
        self.target = Target.of_any("given", _on(model, engine.device), self.context.data)
        self.surrogate = self._checked(demand.surrogate)
        self.owned: TrainedSurrogate | None = None
        self.folder: RunFolder | None = None
        self.records: list[AnyRecord] = []
        self.evaluation: Evaluation
        self.verdicts: dict[str, Cascaded] = {}
        self.proofs: CertifiedSamples | None = None
        self.flags: list[Flag] = []

    def _checked(self, surrogate: nn.Module | None) -> nn.Module | None:
        """The gray-box attacker's model, if it is a classifier of the data."""
        if surrogate is None:
            return None
        try:
            own = _on(surrogate, self.engine.device)
            return Target.of_any("given", own, self.context.data).model
        except ModelError as error:
            raise ModelError(f"surrogate: {error}") from error

    @property
    def seconds(self) -> float:
        """How long this has taken so far, before it was cut and since."""
        return self.earlier + time.perf_counter() - self.started

    def assess(self, command: str, name: str) -> Assessment:
        """Measure everything.

        Args:
            command: What was asked for, for the record.
            name: What the record calls the model.

        Raises:
            UsageError: If the time does not suffice to look at every sample once.
        """
        self.started = time.perf_counter()
        self.records.append(
            provenance(command, self.recipe, self.data, self.model, name, self.engine)
        )
        with counted() as passes:
            attacks = self.demand.attacks
            self.flags = self._examine()
            stages = self._each(attacks) if attacks else self._cascades()
            self.records += self.evaluation.measurements
            results = self.keeping.results("curve", lambda: self._curve(self.curve))
            curve = [result.measurement for result in results]
            self.records += curve
            self.records += self._proven(curve)
            self.records += self.flags + inspect(self.context, self.evaluation, sweep=curve)
        certified = self._certified()
        summary = summarize(self.records, seconds=self.seconds, certified=certified)
        worst = self.evaluation.get("worst", "any").measurement.robust
        return Assessment(
            **summary.model_dump(),
            protocol="given" if self.demand.attacks else self.demand.protocol,
            access=self.demand.access,
            clean_correct=self.evaluation.get("clean").measurement.robust.hits,
            robust_correct=worst.hits,
            certified_correct=certified.hits,
            interval=worst.interval,
            passes=self._of_all(passes),
            by_attack=stages,
            schedule=[place for found in self.verdicts.values() for place in found.schedule],
            surrogate=self.owned.record if self.owned else None,
            surrogate_weights=self._surrogate_weights(),
        )

    def _each(self, attacks: Sequence[Attack]) -> dict[str, StageResult]:
        """Given attacks, each on all samples, so that each has an accuracy of its own."""
        self.evaluation = run_standard(
            self.context, self.target, self.demand.threat, attacks, keep=self.keeping.results
        )
        stands = self.evaluation.get("clean").per_sample.robust
        stages: dict[str, StageResult] = {}
        for result in self.evaluation.attacks("white"):
            stands = stands & result.per_sample.robust
            stages[result.measurement.attack] = stage_result(int(stands.sum()), result)
        return stages

    def _cascades(self) -> dict[str, StageResult]:
        """A cascade for each kind of access, and what stood after each of their stages."""
        done = Cascading(
            self.context, self.target, self.demand, self.keeping, self.flags, self._gray
        )
        results = done.run(self.plan)
        self.verdicts, self.proofs = done.verdicts, done.proofs
        self.records += done.records
        self.evaluation = self._evaluation(results)
        return done.stages

    def _surrogate_weights(self) -> str | None:
        """Of the gray-box attacker's model, where there was such an attacker."""
        if GRAY not in self.plan or self.surrogate is None:
            return None
        return weights_hash(self.surrogate)

    def _gray(self) -> nn.Module:
        """The gray-box attacker's model; trained when it is first needed, unless it was given."""
        if self.surrogate is None:
            self.surrogate = self._trained()
        return self.surrogate

    def _trained(self) -> nn.Module:
        """A model that a gray-box attacker trains on training data, since none was given."""
        if not isinstance(self.data, Splits):
            raise UsageError("a surrogate without training data: give splits")
        self.owned = train_surrogate(
            self.recipe, self.data, self.engine, self.folder, self.demand.seconds
        )
        self.records.append(self.owned.record)
        return self.owned.model

    def _examine(self) -> list[Flag]:
        """Examine model and gradients on a few samples, if there is time for all that."""
        climb, threat = PGD(steps=40, until_fooled=False), self.demand.threat
        attack = climb if climb.knows(threat) else None
        if self.demand.seconds is not None:
            return self._glance(threat)
        return self.keeping.flags(
            "examination",
            lambda: examine(self.context, self.target, threat, attack, samples=EXAMINED),
        )

    def _glance(self, threat: Threat) -> list[Flag]:
        """What a few passes show, against the clock: probabilities, and gradients of zero."""
        found = [probabilities(Slice.of(self.context, self.target, threat, EXAMINED))]
        with contextlib.suppress(ModelError):  # of its failures the first look at all samples tells
            few = Slice.of(self.context, self.target, threat, GLANCED).right()
            found += [unavailable_gradients(few)] if len(few) else []
        seen = [flag.model_dump(mode="json") for flag in found if flag is not None]
        return [
            Flag.model_validate(one) for one in json.loads(self.engine.broadcast(json.dumps(seen)))
        ]

    def _evaluation(self, results: Sequence[AttackResult]) -> Evaluation:
        """All that was tried, with the worst cases over white-box access and everything."""
        context, target, threat = self.context, self.target, self.demand.threat
        clean = results[0]
        white = [result for result in results if result.measurement.access == "white"]
        unchanged = replace(clean.per_sample, x_adv=context.data.x)
        tried = [clean._replace(per_sample=unchanged), *results[1:]]
        worst = worst_case(context, target, threat, [tried[0], *white[1:]])
        anything = worst_case(context, target, threat, tried, access="any")
        return Evaluation(target, threat, (*results, worst, anything))

    def _of_all(self, own: Counter) -> Passes:
        """Passes of all processes together."""
        forward, backward = self.engine.reduce_sum(own.forward, own.backward)
        return Passes(forward=forward, backward=backward)

    def _certified(self) -> Count:
        """Samples with a proof."""
        hits = 0 if self.proofs is None else int(self.proofs.certified.sum())
        return Count(hits=hits, n=self.context.n)

    def _proven(self, curve: Sequence[Measurement]) -> list[Proof]:
        """What was proven at the threat's eps, and along the curve."""
        if self.proofs is None:
            return []
        at = (self.context, self.target, self.demand.threat, self.proofs)
        right = self.evaluation.get("clean").per_sample.robust
        along = self.keeping.counts("proof-curve", lambda: proof_curve(*at, right, curve))
        return [proof_record(*at), *along]

    def _curve(self, settings: CurveSettings | None) -> list[AttackResult]:
        """Accuracy against eps on the first samples, up to where every image can be grey."""
        threat = self.demand.threat
        attack = nearest(threat)
        if settings is None or self.demand.seconds is not None or attack is None:
            return []
        context = replace(self.context, data=self.context.data.first(min(CURVE, self.context.n)))
        grid = [*eps_grid(threat, settings.shares), reaches_grey(context, threat)]
        known = self.evaluation.get("worst", "any").per_sample.at(torch.arange(context.n))
        try:
            return distance_curve(context, self.target, threat, attack, grid, known)
        except NoGradientError:
            return []


def _on(model: nn.Module, device: torch.device) -> nn.Module:
    """The model where it is to run; a copy if it lies elsewhere, since it is someone's own."""
    if all(tensor.device == device for tensor in model.state_dict().values()):
        return model
    return copy.deepcopy(model).to(device)
