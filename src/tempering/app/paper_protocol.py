"""The paper's protocol: every attack at the eps that gives the paper's accuracy before."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import nn

from tempering.app.recipe import PaperSettings
from tempering.app.run_evaluation import RunEvaluation
from tempering.attacks.base import Attack
from tempering.attacks.cw_l2 import CWL2
from tempering.attacks.registry import parse_attack
from tempering.core.records import Access, AnyRecord, Finding, Measurement
from tempering.core.threats import Linf, Threat
from tempering.evaluation.calibration import Calibration, calibrate
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.minimum_norm import unbounded
from tempering.evaluation.target import Target
from tempering.report.paper_section import REPORTED

DATA = "mnist"
"""What the paper measured."""

_FAMILY = {"FGSM": "fgsm", "PGD": "pgd", "BIM": "bim", "C&W": "cw"}
_TABLE: dict[Access, str] = {"white": "II", "gray-surrogate": "III"}


def is_papers_data(address: str) -> bool:
    """Whether the paper's figures can stand beside those on this data."""
    return address == DATA


@dataclass(frozen=True)
class PaperProtocol:
    """Tables II and III of the paper on a run's models.

    Attributes:
        settings: How the paper's attacks are read.
        evaluation: Test data, seed and stored results.
    """

    settings: PaperSettings
    evaluation: RunEvaluation

    def measure(
        self,
        undefended: Target,
        hardened: Target,
        weak: nn.Module | None,
        surrogate: nn.Module | None,
    ) -> list[AnyRecord]:
        """Calibrate on the undefended model, then measure the hardened one at the same eps.

        Args:
            undefended: The model before.
            hardened: The model after.
            weak: An undefended model of another seed, for the gray-box table before.
            surrogate: A hardened model of another seed, for the gray-box table after.
        """
        records: list[AnyRecord] = []
        for attack, spec in self.settings.attacks().items():
            records += self._row("white", attack, spec, undefended, hardened, None, None)
        for attack, spec in self.settings.attacks(gray=True).items() if self.settings.gray else ():
            records += self._row(
                "gray-surrogate", attack, spec, undefended, hardened, weak, surrogate
            )
        return records

    def _row(
        self,
        access: Access,
        name: str,
        spec: str,
        undefended: Target,
        hardened: Target,
        weak: nn.Module | None,
        surrogate: nn.Module | None,
    ) -> list[AnyRecord]:
        context = self.evaluation.context(min(self.settings.samples, len(self.evaluation.test)))
        row = _Row(access, name, parse_attack(spec), context)
        return self.evaluation.cache().get(
            f"paper-{access}-{_FAMILY[name]}",
            partial(row.measure, undefended, hardened, weak, surrogate),
        )


@dataclass(frozen=True)
class _Row:
    """One attack of one table."""

    access: Access
    name: str
    attack: Attack
    context: EvalContext

    def measure(
        self,
        undefended: Target,
        hardened: Target,
        weak: nn.Module | None,
        surrogate: nn.Module | None,
    ) -> list[AnyRecord]:
        wanted = REPORTED["undefended", self.access][_FAMILY[self.name]]
        found = calibrate(
            self.context, undefended, self.attack, wanted, access=self.access, source=weak
        )
        before = self._finding("before", wanted, found.result.measurement, _said(found))
        if found.eps is None:
            return [found.result.measurement, before]
        after = self._after(hardened, self._threat(found.eps), surrogate)
        claimed = REPORTED["hardened", self.access][_FAMILY[self.name]]
        verdict = self._verdict(hardened, after, claimed, surrogate)
        finding = self._finding("after", claimed, after, verdict)
        return [found.result.measurement, after, before, finding]

    def _threat(self, eps: float) -> Threat:
        if isinstance(self.attack, CWL2):
            return unbounded("l2", self.context.data.x.shape[1:]).with_eps(eps)
        return Linf(eps)

    def _after(self, target: Target, threat: Threat, source: nn.Module | None) -> Measurement:
        return measure(
            self.context,
            target.without_flag(),
            self.attack,
            threat,
            protocol="paper",
            access=self.access,
            source=source,
        ).measurement

    def _verdict(
        self, target: Target, after: Measurement, claimed: float, source: nn.Module | None
    ) -> str:
        """Whether our interval reaches the paper's 'after'; if not, at which eps it would."""
        if after.robust.interval[1] >= claimed:
            return f"holds only at eps {after.eps:.3g} ({after.threat.partition(':')[0]})"
        reach = calibrate(
            self.context, target, self.attack, claimed, access=self.access, source=source
        )
        if not reach.eps:
            clean = measure(self.context, target.without_flag(), None, Linf(0.0)).measurement
            return f"does not hold at eps {after.eps:.3g}; without an attack: {clean.robust}"
        return f"does not hold at eps {after.eps:.3g}: holds only up to eps {reach.eps:.3g}"

    def _finding(self, column: str, paper: float, measured: Measurement, verdict: str) -> Finding:
        return Finding(
            table=_TABLE[self.access],
            row=self.name,
            column=column,
            paper=paper,
            ours=measured.robust.fraction,
            interval=measured.robust.interval,
            eps=measured.eps,
            verdict=verdict,
        )


def _said(found: Calibration) -> str:
    if found.eps is None:
        return f"does not hold at any eps: {found.reason}"
    norm = found.result.measurement.threat.partition(":")[0]
    return f"holds only at eps {found.eps:.3g} ({norm}), chosen so"
