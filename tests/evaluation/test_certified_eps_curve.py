"""Certified accuracy against eps, on a linear model where each distance is known."""

from __future__ import annotations

import pytest
import torch

from tempering.core.errors import CertificateError
from tempering.core.proofs import Proof
from tempering.core.records import Count, Measurement
from tempering.core.threats import Linf
from tempering.evaluation import certified_eps_curve
from tempering.evaluation.certificates import CertifiedSamples, certify_samples
from tempering.evaluation.certification_survey import CertificationBudget
from tempering.evaluation.certified_eps_curve import certified_curve, certified_record
from tempering.evaluation.results import record
from tests.evaluation.toys import cloud, context, linear, signed_margin, target, weights

DATA = cloud(60, wrong=5)
MODEL = linear()
GRID = (0.0, 0.02, 0.05, 0.1, 0.2)
THREAT = Linf(0.05)
BUDGET = CertificationBudget(saved=1.0, seconds=60.0)


def distances() -> torch.Tensor:
    """How far each sample is from the border, in L-inf; negative for errors."""
    w, _ = weights(MODEL)
    return signed_margin(MODEL, DATA) / w.abs().sum()


def curve(n: int) -> list[Measurement]:
    """What stands at each eps: exactly what has the distance."""
    from tempering.evaluation.measuring import measure

    here, judged = context(DATA.first(n)), target(MODEL, DATA)
    clean = measure(here, judged, None, THREAT)
    points = []
    for eps in GRID:
        point = record(
            here, judged, clean.per_sample, attack="exact", config={}, threat=THREAT.with_eps(eps),
            protocol="curve", access="white",
        ).measurement  # fmt: skip
        stood = int((distances()[:n] > eps).sum())
        points.append(point.model_copy(update={"robust": Count(hits=stood, n=n)}))
    return points


def found(n: int = 40) -> tuple[CertifiedSamples, list[Proof]]:
    here, judged = context(DATA), target(MODEL, DATA)
    right = distances() > 0
    proofs = certify_samples(here, judged, THREAT, right.nonzero()[:, 0], BUDGET)
    return proofs, certified_curve(here, judged, THREAT, proofs, right, curve(n), BUDGET)


def test_each_count_is_that_of_the_distances() -> None:
    proofs, records = found()
    assert [proof.eps for proof in records] == [0.02, 0.05, 0.1, 0.2]
    for proof in records:
        expected = int((distances()[:40] > proof.eps + 1e-4).sum())
        assert (proof.certified.hits, proof.certified.n) == (expected, 40), proof.eps
        assert proof.protocol == "curve"
    hits = [proof.certified.hits for proof in records]
    assert hits == sorted(hits, reverse=True)
    assert hits[0] > hits[-1]
    before = certified_record(context(DATA), target(MODEL, DATA), THREAT, proofs, distances() > 0)
    assert before.certified == Count(hits=int((distances() > 0.05).sum()), n=60)
    assert sum(before.by_method.values()) == before.certified.hits
    assert set(before.seconds_by_method) >= {name for name, n in before.by_method.items() if n}
    assert before.survey[0].startswith("interval: ")
    assert before.abstained == 55 - before.certified.hits == len(before.abstained_ids)
    assert (before.protocol, before.threat) == ("cascade", "linf:0.05")


def test_more_proofs_than_images_that_stood_is_an_error() -> None:
    here, judged = context(DATA), target(MODEL, DATA)
    right = distances() > 0
    proofs = certify_samples(here, judged, THREAT, right.nonzero()[:, 0], BUDGET)
    points = curve(40)
    less = Count(hits=points[1].robust.hits - 1, n=40)
    points[1] = points[1].model_copy(update={"robust": less})
    with pytest.raises(
        CertificateError, match=r"samples certified at linf:0\.02, but only \d+ robust"
    ):
        certified_curve(here, judged, THREAT, proofs, right, points, BUDGET)


def test_the_whole_curve_costs_no_more_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each method takes a second a sample, by a clock that only it moves."""
    asked: list[tuple[float, int]] = []

    def costly(_context, _target, threat, rows, budget):  # type: ignore[no-untyped-def]
        samples = min(len(rows), int(budget.seconds))
        asked.append((threat.eps, samples))
        assert budget.limit <= 4 * 20
        assert not budget.attacks
        certified = torch.zeros(40, dtype=torch.bool)
        certified[rows[:samples]] = distances()[rows[:samples]] > threat.eps
        return CertifiedSamples(certified, {}, 0.0, None, spent={"crown": float(samples)})

    monkeypatch.setattr(certified_eps_curve, "certify_samples", costly)
    none = CertifiedSamples(torch.zeros(60, dtype=torch.bool), {}, 0.0, None)
    budget = CertificationBudget(0.0, seconds=20.0, attacks=False)
    at = (context(DATA), target(MODEL, DATA), Linf(0.2))
    certified_curve(*at, none, distances() > 0, curve(40), budget)
    assert [eps for eps, _ in asked] == [0.02, 0.05, 0.1]
    assert sum(samples for _, samples in asked) <= 20
    assert asked[0][1] == 6
    assert asked[1][1] > 0


def test_what_no_seconds_were_left_for_is_recorded() -> None:
    here, judged = context(DATA), target(MODEL, DATA)
    right = distances() > 0
    none = CertifiedSamples(torch.zeros(60, dtype=torch.bool), {}, 0.0, None)
    spent = CertificationBudget(saved=0.0, seconds=0.0, attacks=False)
    records = certified_curve(here, judged, THREAT, none, right, curve(40), spent)
    assert records[0].unsupported == "no time was left"
    rows = right.nonzero()[:, 0]
    short = CertificationBudget(saved=0.0, seconds=0.0, attacks=False)
    told = certify_samples(here, judged, Linf(0.2), rows, short).survey
    assert [line for line in told if line.startswith("crown: ")] == [
        "crown: not tried, no seconds were left"
    ]
    assert not any("attacks" in line for line in told)


def test_no_curve_and_no_bounds_give_no_records() -> None:
    here, judged = context(DATA), target(MODEL, DATA)
    right = distances() > 0
    none = torch.zeros(60, dtype=torch.bool)
    without = CertifiedSamples(none, {}, 0.0, "layer LSTM has no bounds")
    assert certified_curve(here, judged, THREAT, without, right, curve(40), BUDGET) == []
    assert certified_curve(here, judged, THREAT, found()[0], right, [], BUDGET) == []
