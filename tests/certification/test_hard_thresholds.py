"""Behind a stage that works pixel by pixel, bounds are over what the stage leaves of a threat."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import combinations, product

import pytest
import torch
from torch import Tensor, nn

from tempering.certification import certify
from tempering.certification.interval import propagate
from tempering.certification.lowering import graph_of
from tempering.certification.patch_places import PatchPlaces
from tempering.certification.reduction import Reduction
from tempering.certification.region import Region
from tempering.core.patches import Patch
from tempering.core.protocols import Transform
from tempering.core.random import RandomStreams
from tempering.core.threats import L0, L1, L2, Linf, Threat
from tempering.defenses import BitDepth, Pipeline, Squeeze, Threshold
from tests.certification.nets import points

SHAPE = (1, 2, 3)


class Compared(nn.Module):
    """A comparison in the user's own code, a value for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("at", torch.tensor([[0.4, 0.5, 0.6], [0.3, 0.5, 0.7]]))

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.at).float()


class Stepped(Transform):
    """A user's transform that declares what it does."""

    monotone = True
    stepwise = True

    def transform(self, x: Tensor) -> Tensor:
        return torch.floor(x * 2.999) / 2


STAGES: dict[str, Callable[[], nn.Module]] = {
    "threshold": lambda: Threshold(0.45),
    "levels": lambda: Threshold([[0.3, 0.6]]),
    "compared": Compared,
    "squeeze": lambda: Squeeze(0.4, 0.6),
    "bits": lambda: BitDepth(1),
    "own": Stepped,
}
THREATS: list[Threat] = [
    Linf(0.1), Linf(0.3), L2(0.2), L2(0.5), L1(0.3), L1(0.8), L0(1), L0(2), Patch(0.2), Patch(0.7),
]  # fmt: skip


def net(stage: nn.Module | None, seed: int = 0, hidden: bool = True) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2)]
        rest = layers if hidden else [nn.Flatten(), nn.Linear(6, 2)]
        return nn.Sequential(*([] if stage is None else [stage]), *rest).eval()


def images(n: int = 6) -> Tensor:
    return RandomStreams.of(5, n).uniform(SHAPE).float()


def corners(threat: Threat, x: Tensor) -> Iterator[Tensor]:
    """Images of a threat that give all combinations of two values a pixel, and some others."""
    ends = [x.clamp(0, 1), torch.zeros_like(x), torch.ones_like(x)]
    ends += [(x + way).clamp(0, 1) for way in (-threat.eps, threat.eps)]
    ends += [torch.full_like(x, value) for value in (0.449, 0.451, 0.401, 0.399, 0.501, 0.499)]
    size = x[0].numel()
    for count in range(1, 4):
        for places in combinations(range(size), count):
            for choice in product(range(1, len(ends)), repeat=count):
                if count == 3 and len(set(choice)) > 1:
                    continue
                made = x.flatten(1).clone()
                for place, number in zip(places, choice, strict=True):
                    made[:, place] = ends[number].flatten(1)[:, place]
                yield made.reshape(x.shape)


@cache
def tried(threat: Threat) -> tuple[Tensor, Tensor]:
    """Many images around each of `images()`, and which of them the threat accepts."""
    x = images()
    z = torch.stack([*corners(threat, x), *points(threat, x, 40)])
    return z, torch.stack([threat.contains(some, x) for some in z])


def least_margin(model: nn.Module, threat: Threat, y: Tensor) -> Tensor:
    """Over many images of the threat around each of `images()`."""
    z, inside = tried(threat)
    with torch.no_grad():
        logits = model(z.flatten(0, 1)).unflatten(0, z.shape[:2])
    own, other = (
        logits.gather(2, label[None, :, None].expand(len(z), -1, 1))[..., 0] for label in (y, 1 - y)
    )
    return (own - other).masked_fill(~inside, torch.inf).amin(0)


@pytest.mark.parametrize(
    ("name", "threat", "seed"),
    [
        (name, threat, (row + column) % 2)
        for row, name in enumerate([*STAGES, "none"])
        for column, threat in enumerate(THREATS)
    ],
    ids=str,
)
def test_no_image_of_a_threat_beats_a_bound(name: str, threat: Threat, seed: int) -> None:
    x = images()
    model = net(STAGES[name]() if name in STAGES else None, seed)
    y = model(x).argmax(1)
    seen = least_margin(model, threat, y)
    for method in ("interval", "crown-ibp", "crown"):
        certificates = certify(model, x, y, threat, methods=(method,))
        assert certificates.unsupported is None
        known = certificates.margin.isfinite()
        assert bool((certificates.margin <= seen + 1e-5)[known].all()), method


@pytest.mark.parametrize("threat", [Linf(0.35), L0(2), Patch(0.7)], ids=str)
@pytest.mark.parametrize("name", ["threshold", "compared"])
def test_a_linear_network_behind_a_threshold_has_exact_bounds(name: str, threat: Threat) -> None:
    """Its least margin is found by trying all images of 0 and 1 that the threat leaves."""
    x = images(8)
    model = net(STAGES[name](), hidden=False)
    y = model(x).argmax(1)
    stage, rest = model[0], model[1:]
    bits = torch.tensor(list(product((0.0, 1.0), repeat=6))).reshape(-1, *SHAPE)
    exact = []
    for row in range(len(x)):
        own = stage(x[row : row + 1])
        flipped = (bits != own).reshape(len(bits), -1)
        if isinstance(threat, Linf):
            low, high = stage((x[row] - threat.eps)[None]), stage((x[row] + threat.eps)[None])
            allowed = ((bits >= low) & (bits <= high)).flatten(1).all(1)
        elif isinstance(threat, L0):
            allowed = flipped.sum(1) <= 2
        else:
            allowed = threat.contains(bits, own.expand_as(bits))
        with torch.no_grad():
            logits = rest(bits[allowed])
        exact.append((logits[:, y[row]] - logits[:, 1 - y[row]]).amin())
    bound = certify(model, x, y, threat, methods=("interval",))
    certain = torch.stack(exact) > 1e-5
    assert bound.certified.equal(certain)
    assert 0 < int(certain.sum()) < len(x)
    if not isinstance(threat, Patch):
        assert torch.allclose(bound.margin.float(), torch.stack(exact), atol=1e-4)


def test_flips_under_a_length_cost_their_distance_to_the_threshold() -> None:
    """Two pixels at 0.1 from the threshold: an L2 ball of 0.12 flips one, one of 0.15 both."""
    x = torch.tensor([[[[0.4, 0.4, 0.9]]]])
    model = nn.Sequential(Threshold(0.5), nn.Flatten(), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]))
        model[2].bias.copy_(torch.tensor([1.6, 0.0]))
    y = torch.tensor([0])
    # a knapsack of parts: 0.0144 of the budget flips one pixel and 0.44 of the other
    for threat, margin in ((L2(0.12), 0.16), (L2(0.15), -0.4), (L1(0.13), 0.3), (L1(0.25), -0.4)):
        bound = certify(model, x, y, threat, methods=("interval",)).margin
        assert float(bound) == pytest.approx(margin, abs=2e-3)


def test_the_region_behind_a_threshold_is_of_decided_pixels() -> None:
    x = torch.tensor([[[[0.1, 0.45, 0.9], [0.5, 0.62, 0.35]]]])
    model = net(Threshold(0.5))
    reduction = Reduction.of(graph_of(model, x), Linf(0.1))
    region = reduction.region(x)
    undecided = [[False, True, False], [True, False, False]]
    assert (region.box.low != region.box.high)[0, 0].tolist() == undecided
    assert set(region.box.low.flatten().tolist()) | set(region.box.high.flatten().tolist()) == {
        0,
        1,
    }
    assert len(reduction.graph.steps) == len(graph_of(model, x).steps) - 1
    low, high = Threshold(0.5).box_after(x - 0.1, x + 0.1)
    assert (low != high)[0, 0].tolist() == undecided


def test_a_squeeze_in_front_costs_linear_bounds_nothing() -> None:
    """A relaxed clamp would: its upper line leaves a gap at the ends of the box."""
    x = images(4)
    model = net(Squeeze(0.4, 0.6), hidden=False)
    y = model(x).argmax(1)
    bound = certify(model, x, y, Linf(0.1), methods=("interval",)).margin
    exact = torch.stack(
        [
            least_margin_of_box(
                model[1:], *Squeeze(0.4, 0.6).box_after(row - 0.1, row + 0.1), label
            )
            for row, label in zip(x, y, strict=True)
        ]
    )
    assert torch.allclose(bound.float(), exact, atol=2e-3)


def least_margin_of_box(rest: nn.Module, low: Tensor, high: Tensor, label: Tensor) -> Tensor:
    bits = torch.tensor(list(product((0.0, 1.0), repeat=6))).reshape(-1, *SHAPE)
    with torch.no_grad():
        logits = rest(low + bits * (high - low))
    return (logits[:, label] - logits[:, 1 - label]).amin()


def test_a_stage_between_layers_is_bounded_too() -> None:
    x = images()
    model = nn.Sequential(nn.Conv2d(1, 1, 1), Threshold(0.5), nn.Flatten(), nn.Linear(6, 2)).eval()
    y = model(x).argmax(1)
    for threat in (Linf(0.05), L2(0.1), L0(1)):
        certificates = certify(model, x, y, threat, methods=("interval", "crown"))
        assert certificates.unsupported is None
        seen = least_margin(model, threat, y)
        assert bool((certificates.margin <= seen + 1e-5).all())


def test_places_of_a_patch_hold_all_that_it_accepts() -> None:
    x, threat = images(1), Patch(0.2)
    region = every_place(x, threat)
    assert len(region.x) == 6
    for seed in range(30):
        z = threat.sample(x, RandomStreams.of(seed, 1)).double()
        inside = (z >= region.box.low) & (z <= region.box.high)
        assert bool(inside.flatten(1).all(1).any())
    fixed = every_place(x, Patch(0.2, at=(1, 2)))
    assert len(fixed.x) == 1
    assert int((fixed.box.low != fixed.box.high).sum()) == 1
    none = every_place(x, Patch(0.0)).box
    assert torch.equal(none.low, none.high)


def every_place(x: Tensor, threat: Patch) -> Region:
    places = PatchPlaces.of(x, threat)
    return places.region(torch.arange(len(places)))


def test_pixel_counts_bound_first_layers_more_than_intervals() -> None:
    x = images()
    model = net(None)
    graph = graph_of(model, x)
    narrow, wide = (propagate(graph, Reduction.of(graph, L0(k)).region(x)) for k in (1, 6))
    first = 1
    width = [(b.intervals[first].high - b.intervals[first].low) for b in (narrow, wide)]
    assert bool((width[0] < width[1]).all())


def test_counterexamples_are_images_of_the_threat() -> None:
    for stage in (Threshold(0.5), Squeeze(0.4, 0.6), None):
        for threat in (Linf(0.3), L2(0.6), L0(3)):
            x = images(8)
            model = net(stage)
            y = model(x).argmax(1)
            certificates = certify(model, x, y, threat)
            for row, image in certificates.counterexamples.items():
                assert bool(threat.contains(image[None], x[row : row + 1]))
                assert int(model(image[None]).argmax()) != int(y[row])


def test_a_pipeline_with_a_threshold_is_certified() -> None:
    model = Pipeline(net(None), transforms=[Threshold(0.5)], classes=2).eval()
    x = images()
    y = model(x).argmax(1)
    assert certify(model, x, y, Linf(0.001)).certified.any()


class Inverted(Threshold):
    """Overrides what it computes, and inherits that it grows and where it jumps."""

    def transform(self, x: Tensor) -> Tensor:
        return 1 - super().transform(x)


class Shifted(Threshold):
    """Declares that it grows and is stepwise, and inherits where another one jumps."""

    monotone = True
    stepwise = True

    def transform(self, x: Tensor) -> Tensor:
        return super().transform(x + 0.2)


@pytest.mark.parametrize("stage", [Inverted(), Shifted()], ids=["inverted", "shifted"])
@pytest.mark.parametrize("threat", [Linf(0.2), L2(0.15), L1(0.15)], ids=str)
def test_what_a_subclass_inherits_tells_nothing_of_its_transform(
    stage: Transform, threat: Threat
) -> None:
    x = images()
    for seed in range(6):
        model = net(stage, seed, hidden=False)
        y = model(x).argmax(1)
        seen = least_margin(model, threat, y)
        found = certify(model, x, y, threat, methods=("interval", "crown"))
        assert bool((found.margin <= seen + 1e-5)[found.margin.isfinite()].all())


def test_stages_that_may_overflow_are_refused() -> None:
    class Large(nn.Module):
        """Of infinity times 0 nothing is known."""

        def __init__(self) -> None:
            super().__init__()
            self.rest = nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.rest((torch.relu(x * 1e30) * 1e30 * 0.0).flatten(1))

    model, x = Large().eval(), torch.zeros(2, *SHAPE)
    found = certify(model, x, model(x).argmax(1), Linf(0.1))
    assert not bool(found.certified.any())
    assert "may overflow" in str(found.unsupported)


class Falling(Stepped):
    """Declares what is false."""

    monotone = True
    stepwise = True

    def transform(self, x: Tensor) -> Tensor:
        return (x < 0.5).to(x.dtype)


class Mixing(Falling):
    """Declares what is false: the threshold is the mean of the image."""

    monotone = True
    stepwise = True

    def transform(self, x: Tensor) -> Tensor:
        return (x > x.mean((1, 2, 3), keepdim=True)).to(x.dtype)


class Elsewhere(Falling):
    """Jumps at 0.5, and says 0.9."""

    monotone = True
    stepwise = True

    def thresholds(self, shape: tuple[int, int, int]) -> Tensor:
        return torch.full((1, 1, 1), 0.9, dtype=torch.float64)

    def transform(self, x: Tensor) -> Tensor:
        return (x > 0.5).to(x.dtype)


class Dipping(Falling):
    """Says that it is monotone, and falls in a narrow range."""

    monotone = True
    stepwise = True

    def transform(self, x: Tensor) -> Tensor:
        return ((x > 0.5) & ~((x > 0.7) & (x < 0.71))).to(x.dtype)


class Decided(Threshold):
    """Says that no pixel is undecided."""

    def box_after(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        middle = self.transform((low + high) / 2)
        return middle, middle


def test_a_narrow_fall_is_seen_on_images_of_few_pixels() -> None:
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        head.bias.copy_(torch.tensor([-0.5, 0.5]))
    model = nn.Sequential(Dipping(), nn.Flatten(), head).eval()
    x, y = torch.full((1, 1, 1, 1), 0.8), torch.tensor([0])
    assert model(x).argmax(1) == 0
    assert model(torch.full_like(x, 0.705)).argmax(1) == 1
    found = certify(model, x, y, Linf(0.15))
    assert not bool(found.certified.any())
    assert "says it is monotone, but decreases" in str(found.unsupported)


@pytest.mark.parametrize("threat", [Linf(0.2), L0(1)], ids=str)
def test_certificates_ask_the_stage_that_runs_not_what_it_says_of_boxes(threat: Threat) -> None:
    x = images()
    for seed in range(3):
        model, honest = net(Decided(0.5), seed), net(Threshold(0.5), seed)
        y = model(x).argmax(1)
        found, expected = certify(model, x, y, threat), certify(honest, x, y, threat)
        assert torch.equal(found.margin, expected.margin)


@pytest.mark.parametrize(
    ("stage", "threat", "weight", "reason"),
    [
        (Falling(), Linf(0.15), -1.0, "decreases"),
        (Mixing(), Linf(0.15), -1.0, "mixes pixels"),
        (Elsewhere(), L2(0.15), 1.0, "does not jump at its thresholds"),
    ],
)
def test_false_declarations_leave_no_certificate(
    stage: Transform, threat: Threat, weight: float, reason: str
) -> None:
    head = nn.Linear(4, 2)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0] * 4, [weight, 0.0, 0.0, 0.0]]))
        head.bias.copy_(torch.tensor([0.5 * weight, 0.0]))
    model = nn.Sequential(stage, nn.Flatten(), head).eval()
    x = torch.tensor([0.45, 0.4, 0.4, 0.4]).reshape(1, 1, 2, 2)
    near = torch.tensor(
        [0.55, 0.4, 0.4, 0.4] if not isinstance(stage, Mixing) else [0.4, 0.45, 0.4, 0.4]
    )
    y = model(x).argmax(1)
    assert int(model(near.reshape(x.shape)).argmax(1)) != int(y)
    certificates = certify(model, x, y, threat)
    assert not certificates.certified.any()
    assert reason in str(certificates.unsupported)
