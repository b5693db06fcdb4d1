"""Dear proofs of what attacks have left."""

import pytest
import torch

import tempering as tp
from tempering.core.threats import Linf
from tempering.evaluation.certificates import CertifiedSamples, certify_samples
from tempering.evaluation.complete_verification import (
    MOST,
    Counterexamples,
    verify_remaining,
    worth_verifying,
)
from tempering.evaluation.measuring import measure
from tempering.evaluation.target import Target
from tests.certification.nets import answers, build, images
from tests.evaluation.toys import context, dataset

N = 48
THREAT = Linf(0.035)


def proofs(certified: int) -> CertifiedSamples:
    return CertifiedSamples(torch.arange(100) < certified, {}, 0.0, None)


def test_it_is_tried_where_most_has_a_proof_and_little_is_left() -> None:
    assert worth_verifying(proofs(50), 100, 10)
    assert not worth_verifying(proofs(49), 100, 10)
    assert not worth_verifying(proofs(50), 100, 0)
    assert not worth_verifying(proofs(90), 100, MOST + 1)


def test_what_is_left_is_proven_or_refuted() -> None:
    net, x = build("relu"), images(N)
    data = dataset(x, answers(net, x), 3)
    where, target = context(data), Target.of("given", net, data)
    cheap = certify_samples(where, target, THREAT, torch.arange(N))
    left = (~cheap.certified).nonzero()[:, 0]
    verified = verify_remaining(where, target, THREAT, cheap, left)
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


def test_an_evaluation_closes_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = build("relu"), images(N)
    data = dataset(x, answers(net, x), 3)
    monkeypatch.setattr("tempering.evaluation.attack_plan.worth_verifying", lambda *_: False)
    open_end = tp.evaluate(net, data, THREAT, samples=N)
    monkeypatch.setattr("tempering.evaluation.attack_plan.worth_verifying", lambda *_: True)
    closed = tp.evaluate(net, data, THREAT, samples=N)
    assert closed.certified_correct > open_end.certified_correct
    assert closed.certified_correct <= closed.robust_correct <= open_end.robust_correct
    gap = closed.robust_correct - closed.certified_correct
    assert gap < open_end.robust_correct - open_end.certified_correct
