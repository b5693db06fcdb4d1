"""Optimised slopes: sound, at least as tight as CROWN, as tight as the reference."""

import itertools

import pytest
import torch

from tempering.certification import METHODS, AlphaCrown, certify
from tempering.certification.alpha_crown import initial_parameters, optimized_bounds
from tempering.certification.crown import crown_lower_bound
from tempering.certification.hidden_intervals import alpha_intervals, crown_intervals
from tempering.certification.interval import propagate
from tempering.certification.lowering import graph_of
from tempering.certification.region import Region
from tempering.core.errors import UsageError
from tempering.core.threats import Linf
from tests.certification.nets import answers, images
from tests.certification.test_crown import inner, least_by_patterns, perceptron, radius
from tests.certification.test_reference import graph, margins_of, recorded

LARGEST = {
    ("deep", "linf:0.05"): 1.05,
    ("residual", "linf:0.05"): 1.05,
    ("branches", "linf:0.05"): 1.05,
    ("maxpool", "linf:0.05"): 1.0,
    ("leaky", "linf:0.05"): 1.05,
    ("sigmoid", "linf:0.05"): 1.05,
    ("product", "linf:0.05"): 1.02,
    ("attention", "linf:0.01"): 1.2,  # the reference optimises lines of exp and 1/z too
}
"""Largest gap to the sampled margins, over that of the reference."""


def with_alpha() -> list[tuple[str, ...]]:
    """Every choice of methods that holds alpha-CROWN."""
    others = [name for name in METHODS if name not in ("alpha-crown", "branching")]
    return [
        (*chosen, "alpha-crown")
        for size in range(len(others) + 1)
        for chosen in itertools.combinations(others, size)
    ]


@pytest.mark.parametrize("methods", with_alpha(), ids=", ".join)
def test_it_certifies_at_least_what_crown_does_whatever_ran_before(
    methods: tuple[str, ...],
) -> None:
    net, x = perceptron([4, 12, 10, 3], 3), images(20, (1, 2, 2)).double()
    with torch.no_grad():
        net[5].bias.sub_(net(x).mean(0))
    y = answers(net, x)
    by_crown = certify(net, x, y, Linf(0.1), methods=("crown",))
    loose = certify(net, x, y, Linf(0.1), methods=("crown-ibp",))
    assert int(loose.certified.sum()) < int(by_crown.certified.sum()) < 20
    settings = AlphaCrown(steps=1, rate=1e-9, hidden_steps=0)
    certificates = certify(net, x, y, Linf(0.1), methods=methods, alpha=settings)
    assert bool((certificates.certified >= by_crown.certified).all())
    full = certify(net, x, y, Linf(0.1), methods=methods)
    assert int(full.certified.sum()) > int(by_crown.certified.sum())


def test_hidden_slopes_certify_more_than_slopes_of_the_final_layer() -> None:
    net, x = perceptron([6, 16, 16, 16, 3], 2), inner(30, 6)
    with torch.no_grad():
        net[7].bias.sub_(net(x).mean(0))
    y = answers(net, x)
    counts = [
        int(certify(net, x, y, Linf(0.06), methods=("alpha-crown",), alpha=alpha).certified.sum())
        for alpha in (AlphaCrown.final_layer_only(), AlphaCrown())
    ]
    assert counts[0] < counts[1]


def test_no_optimised_bound_is_above_the_exact_minimum() -> None:
    for seed in range(3):
        net, x = perceptron([3, 4, 3, 2], seed), inner(2, 3)
        c = torch.tensor([1.0, -1.0], dtype=torch.float64)
        exact = [least_by_patterns(net, image.flatten(), c, radius(Linf(0.25))) for image in x]
        own, region = graph_of(net, x), Region.around(x, Linf(0.25))
        tight = crown_intervals(own, region, propagate(own, region))
        best = alpha_intervals(own, region, tight, AlphaCrown(hidden_steps=40))
        rows, a = torch.arange(len(x)), c.repeat(len(x), 1)
        bounds = [
            optimized_bounds(
                own, known, region, rows, a, initial_parameters(own, known, rows),
                AlphaCrown(), float("inf"),
            )[0]
            for known in (tight, best)
        ]  # fmt: skip
        assert bool((bounds[1] <= torch.tensor(exact) + 1e-9).all())
        assert bool((bounds[1] >= bounds[0] - 1e-9).all())


@pytest.mark.parametrize(("name", "threat"), LARGEST)
def test_the_gap_is_about_that_of_the_reference(name: str, threat: str) -> None:
    own, x = graph(name)
    region = Region.around(x, Linf(float(threat.partition(":")[2])))
    rows, a = margins_of(name)
    sampled, theirs = recorded(name, threat, "sampled"), recorded(name, threat, "alpha-crown")
    assert sampled is not None
    assert theirs is not None
    with torch.no_grad():
        known = crown_intervals(own, region, propagate(own, region))
        by_crown, _ = crown_lower_bound(own, known, region, len(own.steps) - 1, rows, a)
        known = alpha_intervals(own, region, known, AlphaCrown())
        start = initial_parameters(own, known, rows)
        bound, _ = optimized_bounds(own, known, region, rows, a, start, AlphaCrown(), float("inf"))
    assert bool((bound <= sampled + 1e-6).all())
    assert float((sampled - bound).sum() / (sampled - theirs).sum()) <= LARGEST[name, threat]
    assert float((bound - by_crown).min()) > -1e-9


@pytest.mark.parametrize("name", ["product", "attention", "maxpool"])
def test_any_parameters_give_sound_bounds(name: str) -> None:
    own, x = graph(name)
    region = Region.around(x, Linf(0.05))
    rows, a = margins_of(name)
    sampled = recorded(name, "linf:0.05", "sampled")
    bounds = crown_intervals(own, region, propagate(own, region))
    start = initial_parameters(own, bounds, rows)
    assert start.slopes
    for number in range(5):
        generator = torch.Generator().manual_seed(number)
        tuning = start.mapped(
            lambda slope, own=generator: torch.rand(slope.shape, generator=own).to(slope)  # type: ignore[misc]
        ).tuning()
        bound, _ = crown_lower_bound(own, bounds, region, len(own.steps) - 1, rows, a, tuning)
        assert bool((bound <= sampled + 1e-6).all())


def test_steps_of_hidden_bounds_are_not_negative() -> None:
    with pytest.raises(UsageError, match="-1 hidden steps: give 0 for final-layer slopes only"):
        AlphaCrown(hidden_steps=-1)
