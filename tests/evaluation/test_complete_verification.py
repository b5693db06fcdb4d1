"""Dear proofs of what attacks have left."""

from dataclasses import replace

import pytest
import torch

import tempering as tp
from tempering.core.deadline import Deadline
from tempering.core.threats import Linf
from tempering.evaluation.certificates import certify_samples
from tempering.evaluation.certification_survey import CertificationBudget
from tempering.evaluation.complete_verification import Counterexamples, verify_remaining
from tempering.evaluation.measuring import measure
from tempering.evaluation.target import Target
from tests.certification.nets import answers, build, images
from tests.evaluation.toys import context, dataset

N = 20
THREAT = Linf(0.035)
CHEAP = CertificationBudget(saved=0.0, seconds=0.0)
"""With nothing to spend, intervals and CROWN-IBP are tried and nothing else."""


def test_what_is_left_is_proven_or_refuted() -> None:
    net, x = build("relu"), images(N)
    data = dataset(x, answers(net, x), 3)
    where, target = context(data), Target.of("given", net, data)
    cheap = certify_samples(where, target, THREAT, torch.arange(N), CHEAP)
    left = (~cheap.certified).nonzero()[:, 0]
    rich = replace(cheap, budget=60.0)
    verified = verify_remaining(where, target, THREAT, rich, left, Deadline.never())
    proven = verified.certified & ~cheap.certified
    assert bool(proven.any())
    assert len(verified.refuted) > 0
    assert bool((verified.certified | ~cheap.certified).all())
    assert not bool(verified.certified[verified.refuted].any())
    assert sum(verified.settled.values()) == int(verified.certified.sum())
    result = measure(where, target, Counterexamples.of(where, verified), THREAT)
    broken = (~result.per_sample.robust).nonzero()[:, 0]
    assert broken.tolist() == verified.refuted.tolist()
    assert bool((result.per_sample.distance[broken] <= THREAT.eps * (1 + 1e-5)).all())


def test_without_a_budget_or_time_nothing_is_tried() -> None:
    net, x = build("relu"), images(N)
    where, target = context(data := dataset(x, answers(net, x), 3)), Target.of("given", net, data)
    cheap = certify_samples(where, target, THREAT, torch.arange(N), CHEAP)
    left = (~cheap.certified).nonzero()[:, 0]
    for budget, deadline in ((0.0, Deadline.never()), (60.0, Deadline.after(0.0))):
        poor = replace(cheap, budget=budget)
        same = verify_remaining(where, target, THREAT, poor, left, deadline)
        assert torch.equal(same.certified, cheap.certified)
        assert same.survey[-1].endswith("0 tried")


def test_an_evaluation_closes_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = build("relu"), images(8)
    data = dataset(x, answers(net, x), 3)
    prices = "tempering.evaluation.certificate_prices"
    monkeypatch.setattr(f"{prices}.IN_ANY_CASE", 0.0)
    monkeypatch.setattr(f"{prices}.attack_seconds", lambda _: 0.0)
    open_end = tp.evaluate(net, data, THREAT, samples=8, protocol="quick")
    monkeypatch.setattr(f"{prices}.IN_ANY_CASE", 2.0)
    closed = tp.evaluate(net, data, THREAT, samples=8, protocol="quick")
    assert closed.certified_correct > open_end.certified_correct
    assert closed.certified_correct <= closed.robust_correct <= open_end.robust_correct
    gap = closed.robust_correct - closed.certified_correct
    assert gap < open_end.robust_correct - open_end.certified_correct
