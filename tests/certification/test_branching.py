"""Branch and bound decides small networks, and its counterexamples are real."""

import time

import pytest
import torch
from torch import nn

from tempering.attacks import PGD, Restarts
from tempering.certification import METHODS, Branching, certify
from tempering.certification.counterexamples import CounterexampleSearch
from tempering.certification.subdomains import Subdomain, SubdomainBounds
from tempering.core.random import RandomStreams
from tempering.core.threats import L2, Linf, Threat
from tests.certification.nets import answers, build, centred, images
from tests.certification.test_crown import least_by_patterns, perceptron, radius


def tiny(seed: int) -> nn.Sequential:
    net = perceptron([4, 12, 10, 3], seed)
    x = RandomStreams.of(seed, 64).uniform((1, 2, 2)).double()
    with torch.no_grad():
        net[5].bias.sub_(net(x).mean(0))
    return net


@pytest.mark.parametrize(("seed", "threat"), [(3, Linf(0.1)), (1, L2(0.2))], ids=str)
def test_every_sample_of_a_small_network_is_decided(seed: int, threat: Threat) -> None:
    net = tiny(seed)
    x = images(30, (1, 2, 2)).double()
    y = answers(net, x)
    bounded = certify(net, x, y, threat, methods=METHODS[:4])
    certificates = certify(net, x, y, threat, branching=Branching(nodes=400))
    assert all(certificates.settled_by)
    assert int(certificates.certified.sum()) > int(bounded.certified.sum())
    assert bool((certificates.certified >= bounded.certified).all())
    for row, image in certificates.counterexamples.items():
        point = image[None]
        assert bool(threat.contains(point, x[row : row + 1]).all())
        assert int(answers(net, point)) != int(y[row])
        assert not bool(certificates.certified[row])
    broken = answers(net, Restarts(PGD(steps=20), 3)(net, x, y, threat)) != y
    assert not bool((broken & certificates.certified).any())


def test_decisions_agree_with_all_patterns() -> None:
    net = perceptron([3, 4, 3, 2], 2)
    x = (images(10, (1, 1, 3)) * 0.4 + 0.3).double()
    y = answers(net, x)
    threat = Linf(0.12)
    sign = 1 - 2 * y.double()
    exact = [
        least_by_patterns(net, image.flatten(), torch.stack([s, -s]), radius(threat))
        for image, s in zip(x, sign, strict=True)
    ]
    certificates = certify(net, x, y, threat)
    assert certificates.certified.tolist() == [margin > 0 for margin in exact]
    assert bool(
        (
            certificates.margin[certificates.certified]
            <= torch.tensor(exact)[certificates.certified]
        ).all()
    )


def test_alone_it_keeps_what_its_first_bounds_certify() -> None:
    net = tiny(1)
    x = images(20, (1, 2, 2)).double()
    y = answers(net, x)
    by_crown = certify(net, x, y, Linf(0.05), methods=("crown",)).certified
    certificates = certify(net, x, y, Linf(0.05), methods=("branching",))
    assert 0 < int(by_crown.sum()) < 20
    assert bool((certificates.certified >= by_crown).all())
    assert set(certificates.settled_by) == {"branching"}


def slowed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Passes of a third of a second that prove nothing; returns the subdomains of each."""
    passes: list[int] = []

    def slow(self: SubdomainBounds, domains: list[Subdomain]) -> torch.Tensor:
        passes.append(len(domains))
        time.sleep(0.3)
        source = next(iter(domains[0].signs))
        for domain in domains:
            free = (domain.signs[source].flatten() == 0).nonzero()[:, 0]
            domain.split, domain.bound = (source, int(free[0])), -1.0
        return self.case.region.x[[domain.sample for domain in domains]]

    monkeypatch.setattr(SubdomainBounds, "bound", slow)
    return passes


def test_no_pass_is_begun_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = slowed(monkeypatch)
    net = tiny(1)
    x = images(20, (1, 2, 2)).double()
    y = answers(net, x)
    certificates = certify(net, x, y, Linf(0.2), methods=("branching",), seconds=0.25)
    assert len(passes) <= 1
    assert "time is up" in certificates.reasons


def test_a_sample_has_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the passes is shared by the samples in it."""
    passes = slowed(monkeypatch)
    monkeypatch.setattr(CounterexampleSearch, "__call__", lambda self, points: None)
    net = tiny(1)
    x = images(6, (1, 2, 2)).double()
    y = answers(net, x)
    methods = ("branching",)
    certify(net, x, y, Linf(0.2), methods=methods, branching=Branching(seconds=0.01, nodes=10**6))
    alone = len(passes)
    passes.clear()
    certify(net, x, y, Linf(0.2), methods=methods, branching=Branching(seconds=0.1, nodes=10**6))
    assert 1 == alone < len(passes) <= 4


def test_subdomains_of_many_samples_share_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a sample's verdict and its subdomains do not depend on the others."""
    seen: list[set[int]] = []
    bound = SubdomainBounds.bound

    def watched(self: SubdomainBounds, domains: list[Subdomain]) -> torch.Tensor:
        seen.append({domain.sample for domain in domains})
        return bound(self, domains)

    monkeypatch.setattr(SubdomainBounds, "bound", watched)
    net = tiny(3)
    x = images(6, (1, 2, 2)).double()
    y = answers(net, x)
    plan = Branching(nodes=100)
    together = certify(net, x, y, Linf(0.1), branching=plan)
    assert max(map(len, seen)) > 2
    for row in range(6):
        alone = certify(net, x[row : row + 1], y[row : row + 1], Linf(0.1), branching=plan)
        assert bool(alone.certified[0]) == bool(together.certified[row])
        assert alone.settled_by[0] == together.settled_by[row]


def test_nodes_that_run_out_leave_a_sample_open() -> None:
    net = tiny(1)
    x = images(20, (1, 2, 2)).double()
    y = answers(net, x)
    full = certify(net, x, y, Linf(0.1), branching=Branching(nodes=400))
    few = certify(net, x, y, Linf(0.1), branching=Branching(nodes=1))
    hard = [row for row, name in enumerate(full.settled_by) if name == "branching"]
    left = [row for row in hard if not few.settled_by[row]]
    assert left
    assert {few.reasons[row] for row in left} == {"its bounds are too loose"}


@pytest.mark.parametrize("name", ["tanh", "max pool", "ours"])
def test_networks_that_bend_are_no_error(name: str) -> None:
    net, x = build(name), images(4)
    y = answers(net, x)
    certificates = certify(net, x, y, Linf(0.05), branching=Branching(nodes=6, steps=2))
    broken = answers(net, PGD(steps=10)(net, x, y, Linf(0.05))) != y
    assert not bool((broken & certificates.certified).any())


def test_the_same_call_gives_the_same_verdicts() -> None:
    net, x = centred(build("relu")), images(6)
    y = answers(net, x)
    first, two = (certify(net, x, y, Linf(0.04), branching=Branching(nodes=8)) for _ in range(2))
    assert torch.equal(first.margin, two.margin)
    assert first.settled_by == two.settled_by
