"""How the models of a hardening run are evaluated, by the evaluation section of its recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from tempering.app.compute import BATCH_SIZE
from tempering.app.folder import RunFolder
from tempering.app.recipe import EvaluationSettings
from tempering.app.result_cache import FileResultCache
from tempering.core.engine import Engine
from tempering.core.errors import UsageError
from tempering.core.records import Access, Calibration, MinimumNorm
from tempering.core.threats import Threat
from tempering.core.user_code import moved
from tempering.data.dataset import Dataset
from tempering.evaluation.calibration import ALPHA, calibration, fewest
from tempering.evaluation.config import CurveConfig, EvaluationConfig
from tempering.evaluation.context import EvalContext
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.evaluator import Evaluator
from tempering.evaluation.minimum_norm import measure_minimum_norm
from tempering.evaluation.protocols import each, fast
from tempering.evaluation.stages import Protocol
from tempering.evaluation.target import Target

CALIBRATED = 1000
"""Validation images at most that probabilities are calibrated on."""


@dataclass(frozen=True)
class RunEvaluation:
    """Evaluates the models of a run.

    Attributes:
        settings: What is measured.
        threat: What may change.
        test: Test data.
        seed: Of all draws.
        engine: Where to compute.
        folder: Of the run; results are stored there.
        key: Says what is evaluated; results stored under another key are computed anew.
        batch_size: Images at a time.
    """

    settings: EvaluationSettings
    threat: Threat
    test: Dataset
    seed: int
    engine: Engine
    folder: RunFolder
    key: str
    batch_size: int = BATCH_SIZE

    def context(self, samples: int) -> EvalContext:
        """Some samples of the test data.

        Raises:
            UsageError: If there are fewer.
        """
        if samples > len(self.test):
            raise UsageError(
                f"{samples} test samples asked of {self.test.name}, which has {len(self.test)}: "
                f"give at most {len(self.test)}"
            )
        part = self.test.take(samples, self.settings.subset)
        return EvalContext(part, "test", self.engine, self.seed, self.batch_size)

    def cache(self, prefix: str = "") -> FileResultCache:
        """Where results are stored."""
        return FileResultCache(self.folder, self.engine, self.key, prefix)

    def calibrations(self, target: Target, validation: Dataset) -> list[Calibration]:
        """How honest the probabilities of a model are; none if it is random or data too few."""
        held = validation.take(min(CALIBRATED, len(validation)))
        if target.draws is not None or len(held) < fewest(ALPHA):
            return []
        test = self.context(min(self.settings.samples, len(self.test))).data
        network = moved(target.model, self.engine.device)
        figures = calibration(network, held, test, seed=self.seed)
        return [
            Calibration(
                **dict(figures),
                subject=target.subject,
                weights=target.weights,
                data_hash=test.content_hash,
            )
        ]

    def compared(self, target: Target, curve: bool = False) -> EvaluationResult:
        """A model that the hardened one is compared with: every attack on all samples.

        Args:
            target: The model.
            curve: Whether its accuracy against eps is measured too.
        """
        return self._evaluate(target, self._each(("white",)), {}, curve=curve, whole=False)

    def hardened(
        self, target: Target, surrogate: nn.Module | None, before: nn.Module
    ) -> EvaluationResult:
        """The hardened model: every attack on all samples, certificates, then `fast` on the rest.

        Args:
            target: The model.
            surrogate: A model of another seed, for gray-box attacks.
            before: The model before hardening, for gray-box attacks made now and at full
                strength, and for stale samples, which stop where they fool it.
        """
        sources: dict[Access, nn.Module] = {"gray-before": before, "stale": before}
        if surrogate is not None:
            sources = {"gray-surrogate": surrogate, **sources}
        protocol = self._each(("white", *sources)).then(fast(self.threat))
        return self._evaluate(target, protocol, sources, curve=True, whole=True)

    def distances(self, target: Target) -> list[MinimumNorm]:
        """How far images must be changed."""
        settings = self.settings.minimum_norm
        if settings is None or (target.subject == "undefended" and not settings.undefended):
            return []
        work = partial(
            measure_minimum_norm,
            self.context(min(settings.samples, len(self.test))),
            target,
            settings.attack,
            settings.bounds,
            norm=settings.norm,
        )
        return [self.cache(f"{target.subject}-").get("distances", work)]

    def _each(self, accesses: tuple[Access, ...]) -> Protocol:
        return each(self.settings.attacks, accesses)

    def _evaluate(
        self,
        target: Target,
        protocol: Protocol,
        sources: Mapping[Access, nn.Module],
        *,
        curve: bool,
        whole: bool,
    ) -> EvaluationResult:
        config = EvaluationConfig(
            self.threat, protocol, sources=sources, curve=self._curve() if curve else None
        )
        if not whole:
            config = replace(config, certify=False, examined=0)
        context = self.context(self.settings.samples)
        return Evaluator(context, config, self.cache(f"{target.subject}-")).evaluate(target)

    def _curve(self) -> CurveConfig | None:
        settings = self.settings.curve
        if settings is None:
            return None
        shares = tuple(settings.shares)
        return CurveConfig(settings.samples, shares, settings.attacks, up_to_grey=False)
