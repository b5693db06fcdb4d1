"""Threat models against the geometry that they claim: optimality conditions, not examples."""

import math
from dataclasses import dataclass
from typing import Self

import pytest
import torch
from scipy import stats

from tempering.core.errors import ThreatError
from tempering.core.random import RandomStreams
from tempering.core.threat_checks import check_rescaling
from tempering.core.threat_text import identify_threat, write_threat
from tempering.core.threat_words import exact, radius_of, with_value
from tempering.core.threats import L0, L1, L2, NORMS, Linf, Threat, parse_threat

THREATS = (Linf(0.2), L2(0.7), L1(1.5))
DUAL = {"linf": 1, "l2": 2, "l1": math.inf}
"""Norm of the ball -> order of its dual norm."""


def dual_norm(threat: Threat, values: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(values.flatten(1), DUAL[threat.name], dim=1)


def noise(n: int, scale: float, seed: int = 0) -> torch.Tensor:
    return scale * RandomStreams.of(seed, n).normal((1, 3, 4)).double()


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("scale", [0.01, 0.3, 5.0])
def test_shrink_gives_the_nearest_point_of_the_ball(threat: Threat, scale: float) -> None:
    delta = noise(200, scale)
    near = threat.shrink(delta)
    assert bool((threat.distance(near, torch.zeros_like(near)) <= threat.eps + 1e-12).all())
    # p is nearest to d in a convex ball iff <d - p, p> reaches the support function of d - p
    rest = delta - near
    support = threat.eps * dual_norm(threat, rest)
    assert bool(((rest * near).flatten(1).sum(1) >= support - 1e-10).all())


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_shrink_beats_every_point_of_a_grid(threat: Threat) -> None:
    axis = torch.linspace(-threat.eps, threat.eps, 81, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)[:, None, None, :]
    inside = grid[threat.distance(grid, torch.zeros_like(grid)) <= threat.eps]
    for delta in torch.tensor([[2.0, 0.1], [0.5, 0.5], [-0.9, 0.3], [0.05, -0.01]]).double():
        near = threat.shrink(delta[None, None, None])
        best = (inside - delta).flatten(1).norm(dim=1).min()
        assert float((near - delta).norm()) <= float(best) + 1e-12


def test_shrink_onto_the_l1_ball_with_ties_and_zeros() -> None:
    delta = torch.tensor([[2.0, 2.0, 0.0, -2.0], [0.0, 0.0, 0.0, 0.0], [3.0, 0.1, 0.0, 0.0]])
    near = L1(1.5).shrink(delta[:, None, None, :])[:, 0, 0]
    assert torch.allclose(
        near, torch.tensor([[0.5, 0.5, 0.0, -0.5], [0.0, 0.0, 0.0, 0.0], [1.5, 0.0, 0.0, 0.0]])
    )


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_what_lies_inside_stays_as_it_is(threat: Threat) -> None:
    x = torch.full((20, 1, 3, 4), 0.5)
    x_adv = x + 0.005 * RandomStreams.of(1, 20).uniform((1, 3, 4), -1.0, 1.0)
    assert torch.allclose(threat.project(x_adv, x), x_adv, atol=1e-7)


@pytest.mark.parametrize("kind", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_projection_ends_in_ball_and_box(kind: type[Threat], dtype: torch.dtype) -> None:
    threat = kind(0.4)
    x = RandomStreams.of(2, 100).uniform((3, 5, 5)).to(dtype).round(decimals=1)
    x_adv = threat.project(x + 3 * RandomStreams.of(3, 100).normal((3, 5, 5)).to(dtype), x)
    assert x_adv.dtype == dtype
    assert bool(threat.contains(x_adv, x).all())
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1


@pytest.mark.parametrize("threat", [kind(0.0) for kind in NORMS.values()], ids=str)
def test_radius_zero_allows_nothing(threat: Threat) -> None:
    x = RandomStreams.of(0, 6).uniform((1, 3, 4))
    assert torch.equal(threat.project(x + 0.3, x), x)
    assert torch.equal(threat.sample(x, RandomStreams.of(0, 6)), x)


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_ascent_is_the_steepest_direction_of_unit_norm(threat: Threat) -> None:
    gradient = noise(50, 2.0)
    step = threat.ascent(gradient)
    assert torch.allclose(threat.distance(step, torch.zeros_like(step)), torch.ones(50).double())
    assert torch.allclose((step * gradient).flatten(1).sum(1), dual_norm(threat, gradient))


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
def test_ascent_survives_tiny_and_huge_gradients(threat: Threat, size: float) -> None:
    step = threat.ascent(torch.full((2, 1, 3, 4), size))
    length = threat.distance(step, torch.zeros_like(step))
    assert torch.allclose(length, torch.full((2,), float(size > 0)))


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_contains_knows_both_sides_of_the_border(threat: Threat) -> None:
    x = torch.full((1, 1, 3, 4), 0.5, dtype=torch.float64)
    step = noise(1, 1.0).sign()
    step = step * threat.eps / threat.distance(step, torch.zeros_like(step))
    step = step * torch.tensor([0.99, 1.01])[:, None, None, None]
    assert threat.contains(x + step, x.expand(2, -1, -1, -1)).tolist() == [True, False]


def test_contains_refuses_what_leaves_the_box_or_is_not_finite() -> None:
    x = torch.tensor([0.0, 0.9, 0.5, 0.5])[:, None, None, None]
    x_adv = torch.tensor([-0.1, 1.05, math.nan, math.inf])[:, None, None, None]
    assert not L2(9.0).contains(x_adv, x).any()


@pytest.mark.parametrize("threat", [Linf(0.2), L2(0.3), L1(0.4)], ids=str)
def test_samples_are_uniform_in_the_ball(threat: Threat) -> None:
    n, size = 4000, 4
    x = torch.full((n, 1, 2, 2), 0.5)
    x_adv = threat.sample(x, RandomStreams.of(7, n))
    assert bool(threat.contains(x_adv, x).all())
    # in any norm, the d-th power of the distance over eps is uniform in [0, 1]
    share = (threat.distance(x_adv, x) / threat.eps) ** size
    assert stats.kstest(share.numpy(), "uniform").pvalue > 0.01
    delta = (x_adv - x).flatten(1)
    deviation = delta.std(0)
    assert float(deviation.max() / deviation.min()) < 1.1
    assert bool((delta.mean(0).abs() < 5 * deviation / math.sqrt(n)).all())
    assert bool((delta.T.corrcoef() - torch.eye(size)).abs().max() < 0.08)


@pytest.mark.parametrize("threat", [Linf(0.5), L2(3.0), L1(40.0), L0(9)], ids=str)
def test_samples_stay_in_ball_and_box(threat: Threat) -> None:
    x = RandomStreams.of(4, 50).uniform((3, 4, 4)).round()
    x_adv = threat.sample(x, RandomStreams.of(5, 50))
    assert bool(threat.contains(x_adv, x).all())
    assert not torch.equal(x_adv[0], x_adv[1])


@pytest.mark.parametrize("kind", NORMS.values(), ids=NORMS)
def test_no_images_are_no_trouble(kind: type[Threat]) -> None:
    x = torch.zeros(0, 1, 2, 2)
    threat = kind(0.5)
    assert threat.sample(x, RandomStreams.of(0, 0)).shape == x.shape
    assert threat.project(x, x).shape == x.shape
    assert threat.contains(x, x).shape == (0,)


@pytest.mark.parametrize("kind", NORMS.values(), ids=NORMS)
@pytest.mark.parametrize("eps", [math.nan, math.inf, -0.1, "wide", None])
def test_impossible_radii_are_refused(kind: type[Threat], eps: object) -> None:
    with pytest.raises(ThreatError, match=r"eps .*(nan|inf|-0\.1|wide|None).*: give"):
        kind(eps)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "threat"),
    [
        ("linf:0.3", Linf(0.3)),
        ("linf:8/255", Linf(8 / 255)),
        (" L2:2 ", L2(2.0)),
        ("l1:10", L1(10)),
        ("l0:20", L0(20)),
        ("linf:0", Linf(0)),
    ],
)
def test_threats_are_read_as_people_write_them(text: str, threat: Threat) -> None:
    assert parse_threat(text) == threat


@pytest.mark.parametrize("threat", [Linf(0.3), Linf(8 / 255), L2(1 / 3), L1(12.0), L0(7)], ids=str)
def test_a_threat_reads_back_from_its_text(threat: Threat) -> None:
    assert parse_threat(str(threat)) == threat


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linf:8", "did you mean 8/255?"),
        ("linf:1.5", "larger than the whole range"),
        ("linf", "is not NORM:EPS"),
        ("0.3", "is not NORM:EPS"),
        ("l3:0.3", "norm of linf, l2, l1"),
        ("linf:", "is not a number"),
        ("linf:big", "'big' in threat 'linf:big' is not a number"),
        ("linf:1/0", "is not a number"),
        ("linf:8/x", "is not a number"),
        (f"linf:{'9' * 400}/1", "is not a number"),
        ("linf:-0.1", "give a finite number of at least 0"),
        ("l2:nan", "give a finite number of at least 0"),
        ("l2:1e999", "give a finite number of at least 0"),
    ],
)
def test_mistakes_are_named_on_one_line(text: str, message: str) -> None:
    with pytest.raises(ThreatError) as caught:
        parse_threat(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_threats_are_values() -> None:
    assert Linf(0.3) == Linf(0.3) != L2(0.3)
    assert len({Linf(0.3), Linf(0.3), Linf(0.2), L2(0.3)}) == 3
    assert Linf(0.3).with_eps(0.1) == Linf(0.1)
    with pytest.raises(AttributeError):
        Linf(0.3).eps = 0.5  # type: ignore[misc]


@pytest.mark.parametrize("threat", [*THREATS, L0(3)], ids=str)
def test_each_row_may_have_a_radius_of_its_own(threat: Threat) -> None:
    x = RandomStreams.of(2, 30).uniform((1, 3, 4)).double()
    x_adv = x + noise(30, 1.0)
    radius = torch.linspace(0.0, 1.0 if threat.name == "linf" else 4.0, 30).double()
    together, shrunk = threat.project(x_adv, x, radius), threat.shrink(x_adv - x, radius)
    for row, eps in enumerate(radius.tolist()):
        alone, sample = threat.with_eps(eps), slice(row, row + 1)
        assert torch.allclose(together[sample], alone.project(x_adv[sample], x[sample]))
        assert torch.allclose(shrunk[sample], alone.shrink(x_adv[sample] - x[sample]))


@pytest.mark.parametrize("scale", [0.05, 0.5, 3.0])
def test_the_l1_projection_is_the_nearest_point_of_ball_and_box(scale: float) -> None:
    """p is nearest iff no point q of the set has <u - p, q - p> > 0; the best q is greedy."""
    threat = L1(1.5)
    x = RandomStreams.of(2, 200).uniform((1, 3, 4)).double().round(decimals=1)
    x_adv = x + noise(200, scale)
    near = threat.project(x_adv, x)
    assert bool((threat.distance(near, x) <= 1.5 + 1e-12).all())
    assert 0 <= float(near.min()) <= float(near.max()) <= 1
    slope = (x_adv - near).flatten(1)
    room = torch.where(slope > 0, 1 - x.flatten(1), x.flatten(1))
    order = slope.abs().argsort(1, descending=True)
    room = room.gather(1, order)
    taken = torch.minimum(room, (1.5 - (room.cumsum(1) - room)).clamp_min(0.0))
    best = (taken * slope.abs().gather(1, order)).sum(1)
    reached = (slope * (near - x).flatten(1)).sum(1)
    assert bool((reached >= best - 1e-9).all())


def test_l0_counts_pixels_and_keeps_the_largest_changes() -> None:
    x = torch.tensor([0.5, 0.0, 0.75, 0.2]).reshape(1, 1, 1, 4)
    x_adv = torch.tensor([0.6, -3.0, 5.0, 0.9]).reshape(1, 1, 1, 4)
    near = L0(2).project(x_adv, x)
    # what the box takes away does not count: -3 is no change at all, and 5 one of 0.25
    assert near.flatten().tolist() == pytest.approx([0.5, 0.0, 1.0, 0.9])
    assert L0(2).distance(near, x).tolist() == [2.0]
    assert L0(2.9).contains(x_adv.clamp(0, 1), x).tolist() == [False]
    assert L0(3).contains(x_adv.clamp(0, 1), x).tolist() == [True]
    assert L0(2).ascent(torch.tensor([[[[1.0, -3.0, 2.0]]]])).flatten().tolist() == [0, -1, 0]
    assert L0(3).shrink(torch.ones(1, 1, 2, 2)).flatten().tolist() == [1, 1, 1, 0]


def test_l0_samples_change_as_many_pixels_as_they_may_anywhere() -> None:
    x = torch.full((3000, 1, 2, 3), 0.5)
    changed = L0(2).sample(x, RandomStreams.of(0, 3000)) != x
    assert set(changed.flatten(1).sum(1).tolist()) == {2}
    assert torch.allclose(changed.float().mean(0), torch.tensor(1 / 3), atol=0.04)


class Own(Linf):
    """A subclass that changes nothing but its class."""


@dataclass(frozen=True)
class Weighted(Linf):
    name = "weighted"

    weights: torch.Tensor


def test_a_subclass_is_called_as_its_class_unless_it_has_a_name_of_its_own() -> None:
    class Posing(Linf):
        name = "linf"

    class Other(Linf):
        name = "l2"

    class Both(Own):
        name = "PATCH"

    texts = [str(kind(0.1)) for kind in (Own, Posing, Other, Both)]
    assert texts == ["Own:0.1", "Posing:0.1", "Other:0.1", "Both:0.1"]
    assert str(Weighted(0.1, torch.ones(2))) == "weighted:0.1"
    assert Own(0.1).norm == Linf.name == "linf"


def test_a_class_called_as_a_built_in_norm_gets_another_name() -> None:
    kind = type("L2", (Linf,), {})
    assert str(kind(0.1)) == "own-L2:0.1"
    with pytest.raises(ThreatError, match="is not NORM:EPS"):
        parse_threat(str(kind(0.1)))


def test_only_the_balls_themselves_are_built_in() -> None:
    assert all(kind(1).built_in for kind in NORMS.values())
    assert not any(threat.built_in for threat in (Own(0.1), Weighted(0.1, torch.ones(2))))


@pytest.mark.parametrize("text", ["linf:0.3", "l2:2", "l1:10", "l0:3", "patch:0.05@2,3"])
def test_threats_are_written_as_they_are_read(text: str) -> None:
    assert write_threat(parse_threat(text)) == text


def test_a_threat_without_a_text_is_identified_by_its_content_and_not_read_again() -> None:
    text = write_threat(Weighted(0.1, torch.ones(2)))
    assert text.startswith(f"python:{__name__}.Weighted(eps=0.1, weights=tensor(")
    assert text == write_threat(Weighted(0.2, torch.ones(2)).with_eps(0.1))
    assert text != write_threat(Weighted(0.1, torch.zeros(2)))
    assert text != write_threat(Weighted(0.2, torch.ones(2)))
    assert write_threat(Own(0.3)) == f"python:{__name__}.Own(eps=0.3)"
    with pytest.raises(ThreatError, match=r"^threat python:.* came from Python and cannot be read"):
        parse_threat(text)


class Scaled(Linf):
    """No dataclass: its attributes are those that its constructor sets."""

    def __init__(self, eps: float, scale: float = 1.0) -> None:
        super().__init__(eps)
        self.scale = scale
        self.step = eps / 10


class Lossy(Linf):
    """Its constructor takes other values than its attributes hold."""

    def __init__(self, eps: float, factor: float = 1.0) -> None:
        super().__init__(eps)
        self.weights = torch.full((2,), factor)


def test_with_eps_keeps_every_attribute() -> None:
    smaller = Scaled(0.3, scale=3.0).with_eps(0.1)
    assert vars(smaller) == {"eps": 0.1, "scale": 3.0, "step": 0.01}
    kept = Weighted(0.2, torch.ones(2))
    assert kept.with_eps(0.1).weights is kept.weights
    assert torch.equal(Lossy(0.3).with_eps(0.1).weights, torch.ones(2))


def test_with_eps_refuses_to_lose_an_attribute() -> None:
    marked = Own(0.3)
    object.__setattr__(marked, "mark", 1)
    for threat, lost in ((Lossy(0.3, 2.0), "weights"), (marked, "mark")):
        with pytest.raises(
            ThreatError,
            match=rf"^threat {threat} cannot be made with eps 0\.1: it would lose {lost}: make its",
        ):
            threat.with_eps(0.1)


def test_what_with_eps_returns_is_checked() -> None:
    class Losing(Scaled):
        def with_eps(self, eps: float) -> Self:
            return type(self)(eps)

    check_rescaling(Scaled(0.3, 3.0), [0.0, 0.1])
    check_rescaling(Losing(0.3), [0.1])
    with pytest.raises(ThreatError, match=r"with_eps\(0\.3\) loses scale: return the same threat"):
        check_rescaling(Losing(0.3, 3.0), [0.1])

    class Fixed(Linf):
        def with_eps(self, eps: float) -> Self:
            return self

    check_rescaling(Own(0.3), [0.0, 0.1])
    check_rescaling(Fixed(0.3), [0.3])
    with pytest.raises(ThreatError, match=r"with_eps\(0\.1\) returned Fixed:0\.3: return the same"):
        check_rescaling(Fixed(0.3), [0.1])


@pytest.mark.parametrize(
    ("text", "shown"),
    [("linf:8/255", "linf:8/255"), (" L2:1/2 ", "l2:1/2"), ("linf:0.30", "linf:0.3")],
)
def test_a_ratio_is_shown_as_it_was_written(text: str, shown: str) -> None:
    threat = parse_threat(text)
    assert str(threat) == write_threat(threat) == shown
    assert str(parse_threat("patch:1/20@2,3")) == "patch:1/20@2,3"


def test_a_ratio_is_no_part_of_the_value() -> None:
    written, plain = parse_threat("linf:8/255"), Linf(8 / 255)
    assert written == plain
    assert hash(written) == hash(plain)
    assert identify_threat(written) == identify_threat(plain) == "linf:0.03137254901960784"
    assert exact("linf:8/255") == exact(str(plain))
    assert str(written.with_eps(8 / 255)) == "linf:8/255"
    assert str(written.with_eps(0.5)) == "linf:0.5"


def test_the_value_stands_beside_a_ratio() -> None:
    assert with_value("linf:8/255") == "linf:8/255 (eps 0.03137)"
    assert with_value("linf:0.3") == "linf:0.3"
    assert radius_of("patch:1/20@2,3") == 0.05
    assert exact("python:mine.Own(eps=1/2)") == "python:mine.Own(eps=1/2)"
