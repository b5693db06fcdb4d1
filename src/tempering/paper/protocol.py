"""The paper's protocol: each attack at the eps that gives the reported accuracy before hardening.

The paper states no eps. For each attack, eps is calibrated on the undefended model; the
hardened model is then measured at the same eps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from torch import nn

from tempering.attacks.base import Attack
from tempering.attacks.cw_l2 import CWL2
from tempering.core.records import Access, AnyRecord, Finding, Measurement
from tempering.core.threats import Linf, Threat
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.minimum_norm import unbounded
from tempering.evaluation.result_cache import ResultCache
from tempering.evaluation.target import Target
from tempering.paper.calibration import Calibration, calibrate
from tempering.paper.reported import REPORTED
from tempering.paper.settings import PaperSettings

_FAMILY = {"FGSM": "fgsm", "PGD": "pgd", "BIM": "bim", "C&W": "cw"}
_TABLE: dict[Access, str] = {"white": "II", "gray-surrogate": "III"}


@dataclass(frozen=True)
class Surrogates:
    """Models of another seed, on which a gray-box attacker generates adversarial samples.

    Attributes:
        undefended: Used against the undefended model; None without gray-box access.
        hardened: Used against the hardened model; None without gray-box access.
    """

    undefended: nn.Module | None = None
    hardened: nn.Module | None = None


@dataclass(frozen=True)
class PaperProtocol:
    """Tables II and III of the paper.

    Attributes:
        settings: The attacks that stand for the paper's.
        context: Test data, engine and seed.
        cache: Stores the results of each row.
    """

    settings: PaperSettings
    context: EvalContext
    cache: ResultCache

    def measure(
        self, undefended: Target, hardened: Target, surrogates: Surrogates
    ) -> list[AnyRecord]:
        """Calibrate eps on the undefended model and measure the hardened one at that eps.

        Args:
            undefended: The model before hardening.
            hardened: The model after hardening.
            surrogates: For the gray-box table.

        Returns:
            For each attack its measurements before and after, and a finding for each.
        """
        records: list[AnyRecord] = []
        for name, attack in self.settings.attacks().items():
            records += self._row("white", name, attack, undefended, hardened, Surrogates())
        if self.settings.gray:
            for name, attack in self.settings.attacks(gray=True).items():
                records += self._row(
                    "gray-surrogate", name, attack, undefended, hardened, surrogates
                )
        return records

    def _row(
        self,
        access: Access,
        name: str,
        attack: Attack,
        undefended: Target,
        hardened: Target,
        surrogates: Surrogates,
    ) -> list[AnyRecord]:
        row = _Row(access, name, attack, self.context)
        return self.cache.get(
            f"paper-{access}-{_FAMILY[name]}",
            partial(row.measure, undefended, hardened, surrogates),
        )


@dataclass(frozen=True)
class _Row:
    """One attack of one table."""

    access: Access
    name: str
    attack: Attack
    context: EvalContext

    def measure(
        self, undefended: Target, hardened: Target, surrogates: Surrogates
    ) -> list[AnyRecord]:
        reported = REPORTED["undefended", self.access][_FAMILY[self.name]]
        calibration = calibrate(
            self.context,
            undefended,
            self.attack,
            reported,
            access=self.access,
            source=surrogates.undefended,
        )
        measured = calibration.result.measurement
        before = self._finding("before", reported, measured, _calibrated(calibration))
        if calibration.eps is None:
            return [measured, before]
        after = self._after(hardened, self._threat(calibration.eps), surrogates.hardened)
        claimed = REPORTED["hardened", self.access][_FAMILY[self.name]]
        verdict = self._verdict(hardened, after, claimed, surrogates.hardened)
        return [measured, after, before, self._finding("after", claimed, after, verdict)]

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
        """Whether our interval reaches the reported accuracy; if not, up to which eps it does."""
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


def _calibrated(calibration: Calibration) -> str:
    if calibration.eps is None:
        return f"does not hold at any eps: {calibration.reason}"
    norm = calibration.result.measurement.threat.partition(":")[0]
    return f"holds only at eps {calibration.eps:.3g} ({norm}), chosen so"
