"""Certificates against every image that matters: all sets of pixels, all places, all corners."""

from collections.abc import Iterator
from itertools import combinations, product

import pytest
import torch
from torch import Tensor, nn

from tempering.certification import certify
from tempering.certification.lowering import graph_of
from tempering.certification.patch_places import PatchPlaces
from tempering.certification.reduction import Reduction
from tempering.core.patches import Patch
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, TOLERANCE, Linf, Threat
from tempering.defenses import Threshold

METHODS = ("interval", "crown-ibp", "crown", "alpha-crown")


def net(shape: tuple[int, int, int], hidden: bool, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pixels = shape[0] * shape[1] * shape[2]
        layers = (
            [nn.Conv2d(shape[0], 3, 2, padding=1), nn.ReLU(), nn.Flatten()]
            if hidden
            else [nn.Flatten()]
        )
        width = 3 * (shape[1] + 1) * (shape[2] + 1) if hidden else pixels
        last = nn.Linear(width, 2)
        nn.init.constant_(last.bias, 0.0)
        nn.init.constant_(last.bias[:1], 0.5)
        return nn.Sequential(*layers, last).double().eval()


def images(n: int, shape: tuple[int, int, int]) -> Tensor:
    return (RandomStreams.of(7, n).uniform(shape).double() * 1.6 - 0.3).clamp(0.0, 1.0)


def with_pixels(x: Tensor, places: list[int]) -> Iterator[Tensor]:
    """All images that give these pixels 0 or 1; `x` has shape (c, h, w)."""
    for choice in product((0.0, 1.0), repeat=len(places)):
        made = x.flatten().clone()
        made[places] = torch.tensor(choice, dtype=x.dtype)
        yield made.reshape(x.shape)


def with_pixel_counts(x: Tensor, count: int) -> Iterator[Tensor]:
    for places in combinations(range(x.numel()), count):
        yield from with_pixels(x, list(places))


def with_squares(x: Tensor, side: int) -> Iterator[Tensor]:
    """All corners of a square of one channel at all places, cut to the image."""
    _, height, width = x.shape
    tall, wide = min(side, height), min(side, width)
    for top, left in product(range(height - tall + 1), range(width - wide + 1)):
        rows, columns = range(top, top + tall), range(left, left + wide)
        yield from with_pixels(x, [row * width + column for row in rows for column in columns])


def least_margin(model: nn.Module, made: list[Tensor], label: int) -> float:
    with torch.no_grad():
        logits = model(torch.stack(made))
    return float((logits[:, label] - logits[:, 1 - label]).amin())


def compared(
    model: nn.Module, x: Tensor, threat: Threat, made: list[list[Tensor]], exact: bool
) -> int:
    """How many samples are certified; no margin may exceed those of the images."""
    y = model(x).argmax(1)
    least = torch.tensor(
        [least_margin(model, some, int(k)) for some, k in zip(made, y, strict=True)],
        dtype=torch.float64,
    )
    for row, some in enumerate(made):
        assert bool(threat.contains(torch.stack(some), x[row].expand(len(some), -1, -1, -1)).all())
    certified = 0
    for method in METHODS:
        found = certify(model, x, y, threat, methods=(method,))
        known = found.margin.isfinite()
        assert bool((found.margin <= least)[known].all()), method
        if exact:
            assert found.certified.equal(least > 1e-3), (method, least)
            assert torch.allclose(found.margin[known], least[known], atol=2e-3)
        certified = int(found.certified.sum())
    return certified


@pytest.mark.parametrize("shape", [(1, 2, 4), (2, 2, 2)], ids=str)
def test_every_set_of_values_is_covered(shape: tuple[int, int, int]) -> None:
    """A channel of a pixel is a value of its own."""
    x, certified = images(6, shape), 0
    for count, hidden in product((0, 1, 2, 3), (False, True)):
        made = [[*with_pixel_counts(image, count)] for image in x]
        certified += compared(net(shape, hidden), x, L0(count), made, exact=not hidden)
    assert certified > 6


@pytest.mark.parametrize(
    ("shape", "eps", "side"),
    [((1, 3, 4), 1 / 12, 1), ((1, 3, 4), 4 / 12, 2), ((1, 2, 5), 0.61, 3), ((1, 5, 2), 0.8, 4)],
    ids=str,
)
def test_every_place_of_a_patch_is_covered(
    shape: tuple[int, int, int], eps: float, side: int
) -> None:
    assert Patch(eps).side(*shape[1:]) == side
    x, certified = images(6, shape), 0
    made = [[*with_squares(image, side)] for image in x]
    for hidden in (False, True):
        certified += compared(net(shape, hidden), x, Patch(eps), made, exact=not hidden)
    assert certified > 0


def test_a_fixed_patch_covers_its_pixels_alone() -> None:
    shape, threat = (1, 3, 4), Patch(4 / 12, at=(1, 2))
    x = images(6, shape)
    made = [[*with_pixels(image, [6, 7, 10, 11])] for image in x]
    assert compared(net(shape, hidden=False), x, threat, made, exact=True) > 0


def test_a_patch_whose_side_is_0_covers_what_tolerance_accepts() -> None:
    x = torch.full((1, 1, 400, 400), 0.5)
    other = x.clone()
    other[0, 0, 7, 9] = 1.0
    threat = Patch(0.0, at=(0, 0))
    assert bool(threat.contains(other, x))
    places = PatchPlaces.of(x, threat)
    assert len(places) == 160_000
    low, high = places.region((places.corners == torch.tensor([7, 9])).all(1).nonzero()[:, 0]).box
    changed = low != high
    assert changed.nonzero().tolist() == [[0, 0, 7, 9]]
    assert float(low[changed]) < 0
    assert float(high[changed]) > 1


def within(threat: Threat, model: nn.Module, x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Images on the sphere, cut by the box, and those of a descent on the margin."""
    streams = RandomStreams.of(9, len(x))
    for number in range(60):
        way = streams.derive(str(number)).normal(x.shape[1:]).double() ** (1 + 2 * (number % 3))
        length = threat.distance(x + way, x)[:, None, None, None]
        yield threat.project(x + way * threat.eps / length, x)
    here = x.clone()
    for step in range(30):
        given = here.clone().requires_grad_()
        logits = model(given)
        margin = (logits.gather(1, y[:, None]) - logits.gather(1, 1 - y[:, None])).sum()
        (gradient,) = torch.autograd.grad(margin, given)
        here = threat.project(here - threat.eps * 0.85**step * threat.ascent(gradient), x).detach()
        yield here


@pytest.mark.parametrize("threat", [L2(0.2), L2(1.0), L2(9.0), L1(0.3), L1(2.0), L1(40.0)], ids=str)
@pytest.mark.parametrize("front", [None, 0.5], ids=["plain", "threshold"])
def test_no_image_of_a_ball_cut_by_the_box_beats_a_bound(
    threat: Threat, front: float | None
) -> None:
    shape = (1, 3, 4)
    x = images(6, shape)
    stages = [] if front is None else [Threshold(front)]
    for hidden in (False, True):
        model = nn.Sequential(*stages, *net(shape, hidden, 3))
        with torch.no_grad():
            y = model(x).argmax(1)
        made = [*zip(*within(threat, model, x, y), strict=True)]
        compared(model, x, threat, [list(some) for some in made], exact=False)


def around(value: float, steps: int) -> list[float]:
    """Numbers of float32 next to a value."""
    numbers = [torch.tensor(value, dtype=torch.float32)]
    for end in (-torch.inf, torch.inf):
        here = numbers[0]
        for _ in range(steps):
            here = torch.nextafter(here, torch.tensor(end))
            numbers.append(here)
    return [float(number) for number in numbers]


class Compared(nn.Module):
    """A comparison that holds at the value itself too."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at

    def forward(self, x: Tensor) -> Tensor:
        return (x >= self.at).float()


@pytest.mark.parametrize("at", [0.5, 0.3])
@pytest.mark.parametrize("inclusive", [False, True])
def test_pixels_at_the_very_threshold_are_undecided(at: float, inclusive: bool) -> None:
    """Whatever a threat accepts, tolerance and rounding included, lies in what is left."""
    stage: nn.Module = Compared(at) if inclusive else Threshold(at)
    model = nn.Sequential(stage, nn.Flatten(), nn.Linear(1, 2)).eval()
    ends = around(at, 3)
    for threat in (Linf(0.1), L2(0.1), L1(0.1), L0(1), Linf(0.0), L2(0.0)):
        reach = 1.0 if isinstance(threat, L0) else threat.eps
        slack = TOLERANCE * max(1.0, threat.eps)
        starts = [value for way in (-1, 0, 1) for value in around(at + way * reach, 3)]
        starts += [at + way * (reach + share * slack) for way in (-1, 1) for share in (0.99, 4.0)]
        x = torch.tensor([value for value in starts if 0 <= value <= 1]).reshape(-1, 1, 1, 1)
        region = Reduction.of(graph_of(model, x), threat).region(x)
        for end in ends:
            z = torch.full_like(x, end)
            inside = threat.contains(z, x)
            value = stage(z).double()
            held = (value >= region.box.low) & (value <= region.box.high)
            assert bool(held[inside].all())
            if region.costs is not None:
                moved = value != region.middle.low
                cost = torch.where(value < region.middle.low, *region.costs)
                assert bool((cost <= region.radius)[inside & moved.flatten()].all())
        if threat.eps == 0.1 and not isinstance(threat, L0):
            # and what it does not reach is decided
            far = (x.double() - at).abs().flatten() > threat.eps + 2 * TOLERANCE
            decided = (region.box.low == region.box.high).flatten()
            assert bool(far.any())
            assert bool(decided[far].all())
