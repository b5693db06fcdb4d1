"""Smoothing: closed forms on linear models, and bounds that fail as seldom as they say."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from tempering.certification import ABSTAINED, Denoised, Smoothing
from tempering.certification.binomial import lower_bound, tie_chance
from tempering.core.errors import DataError, ModelError, UsageError
from tempering.core.passes import counted
from tempering.core.progress import Advance, reporting
from tempering.core.random import RandomStreams

SIGMA = 0.25
WEIGHTS = torch.tensor([3.0, -2.0, 0.5, 1.0, 0.0, -4.0, 2.0, 1.0, -1.0]).reshape(1, 3, 3)


class Linear(nn.Module):
    """Class 1 where w . (x - 1/2) > 0."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", WEIGHTS)

    def forward(self, x: Tensor) -> Tensor:
        score = ((x - 0.5) * self.weights).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)


class Always(nn.Module):
    """One class, whatever it is shown."""

    def __init__(self, winner: int, outputs: int = 3) -> None:
        super().__init__()
        self.winner, self.outputs = winner, outputs

    def forward(self, x: Tensor) -> Tensor:
        logits = x.new_zeros(len(x), self.outputs)
        logits[:, self.winner] = 1.0
        return logits


class Erratic(nn.Module):
    """Either class with equal chance: the parity of a late digit of one pixel."""

    def forward(self, x: Tensor) -> Tensor:
        odd = (x[:, 0, 0, 0] * 1e4).floor().remainder(2)
        return torch.stack([1 - odd, odd], 1)


class Listening(Always):
    """Keeps all that it is shown."""

    def __init__(self) -> None:
        super().__init__(0)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.clone())
        return super().forward(x)


def at_distance(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Images at signed L2 distances from the linear model's border, and their classes."""
    unit = WEIGHTS / WEIGHTS.norm()
    return 0.5 + distances[:, None, None, None] * unit, (distances > 0).long()


SPREAD = torch.tensor([-0.55, -0.4, -0.3, -0.2, -0.1, 0.1, 0.2, 0.3, 0.4, 0.55])


def test_the_radius_of_a_linear_model_comes_close_to_its_distance_from_below() -> None:
    x, y = at_distance(SPREAD)
    shortfall = []
    for samples in (100, 1_000, 10_000):
        certificate = Smoothing(SIGMA, samples=samples)(Linear(), x, y)
        assert certificate.predicted[certificate.radius > 0].equal(y[certificate.radius > 0])
        assert bool((certificate.radius <= SPREAD.abs()).all())
        shortfall.append(float((SPREAD.abs() - certificate.radius).mean()))
    assert shortfall == sorted(shortfall, reverse=True)
    assert shortfall[-1] < 0.02, shortfall


@pytest.mark.parametrize("sigma", [0.1, 0.25, 1.0])
def test_votes_have_the_probability_of_the_closed_form(sigma: float) -> None:
    """Noise of a linear model's score is normal: the class wins with Phi(distance / sigma)."""
    x, y = at_distance(SPREAD)
    certificate = Smoothing(sigma, samples=4_000)(Linear(), x, y)
    towards = torch.where(certificate.selected == 1, SPREAD, -SPREAD)
    p = stats.norm.cdf(towards.numpy() / sigma)
    gap = (certificate.hits.numpy() - 4_000 * p) / np.sqrt(4_000 * p * (1 - p) + 1)
    assert np.abs(gap).max() < 4


def test_the_radius_is_that_of_the_formula() -> None:
    x, y = at_distance(SPREAD)
    certificate = Smoothing(SIGMA, samples=500, alpha=0.01)(Linear(), x, y)
    for hits, radius in zip(certificate.hits.tolist(), certificate.radius.tolist(), strict=True):
        test = stats.binomtest(hits, 500)
        bound = test.proportion_ci(0.98, method="exact").low  # one-sided 0.99
        expected = SIGMA * stats.norm.ppf(bound) if bound > 0.5 else 0.0
        assert radius == pytest.approx(expected, abs=1e-9)


def test_where_all_agree_the_radius_is_the_largest() -> None:
    smoothing = Smoothing(0.5, selection=3, samples=200, alpha=0.01)
    certificate = smoothing(Always(2), torch.rand(4, 1, 2, 2), torch.tensor([2, 2, 0, 1]))
    assert certificate.hits.tolist() == [200] * 4
    assert certificate.predicted.tolist() == [2] * 4
    largest = 0.5 * stats.norm.ppf(0.01 ** (1 / 200))
    assert certificate.radius.tolist() == pytest.approx([largest] * 4, abs=1e-12)
    assert smoothing.largest_radius == pytest.approx(largest, abs=1e-12)
    assert certificate.certified(0.9 * largest).tolist() == [True, True, False, False]
    assert (certificate.count(0.0).hits, certificate.count(0.0).n) == (2, 4)
    assert certificate.count(float(certificate.radius[0])).hits == 0, "the ball is open"


def test_no_attack_within_the_radius_changes_the_vote() -> None:
    """The straight way to the border is the worst: the vote stands just before the radius."""
    distance = torch.tensor([0.3])
    x, y = at_distance(distance)
    radius = float(Smoothing(SIGMA)(Linear(), x, y).radius)
    inside, _ = at_distance(distance - radius)
    assert Smoothing(SIGMA, samples=100_000).predict(Linear(), inside).tolist() == [1]
    beyond, _ = at_distance(distance - 0.35)
    assert Smoothing(SIGMA).predict(Linear(), beyond).tolist() == [0]


def test_an_erratic_model_is_abstained_on() -> None:
    x = torch.rand(60, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    smoothing = Smoothing(0.5, samples=400)
    certificate = smoothing(Erratic(), x, torch.zeros(60).long())
    assert 150 < int(certificate.hits.min()) < int(certificate.hits.max()) < 250
    assert set(certificate.predicted.tolist()) == {ABSTAINED}
    assert bool((certificate.radius == 0).all())
    assert certificate.count(0.0).hits == 0
    assert set(smoothing.predict(Erratic(), x).tolist()) == {ABSTAINED}


def test_a_narrow_majority_takes_more_draws_to_tell() -> None:
    x, y = at_distance(torch.tensor([0.02]))
    assert Smoothing(SIGMA, samples=200).predict(Linear(), x).tolist() == [ABSTAINED]
    assert Smoothing(SIGMA, samples=50_000).predict(Linear(), x).tolist() == [1]
    few = Smoothing(SIGMA, samples=200)(Linear(), x, y)
    many = Smoothing(SIGMA, samples=50_000)(Linear(), x, y)
    assert few.predicted.tolist() == [ABSTAINED]
    assert many.predicted.tolist() == [1]


@pytest.mark.parametrize("alpha", [0.001, 0.05])
@pytest.mark.parametrize("n", [10, 57])
def test_the_bound_fails_no_more_often_than_alpha(n: int, alpha: float) -> None:
    """Exactly, by summing over all counts; and at its own bounds it uses alpha up."""
    hits = torch.arange(n + 1)
    bounds = lower_bound(hits, n, alpha).numpy()
    for p in (0.01, 0.3, 0.5, 0.77, 0.95, 0.999):
        chances = stats.binom.pmf(hits.numpy(), n, p)
        assert chances[bounds > p].sum() <= alpha
    tails = stats.binom.sf(hits.numpy()[1:] - 1, n, bounds[1:])
    assert tails == pytest.approx(np.full(n, alpha), rel=1e-6)
    assert bounds[0] == 0.0
    assert bounds[-1] == pytest.approx(alpha ** (1 / n))


def test_certificates_fail_no_more_often_than_alpha_in_simulation() -> None:
    """One image, drawn for 2,000 times, at a large alpha: a radius beyond the distance is false."""
    alpha, repeats = 0.1, 2_000
    x, y = at_distance(torch.full((repeats,), 0.2))
    certificate = Smoothing(SIGMA, selection=20, samples=200, alpha=alpha)(Linear(), x, y)
    false = int((certificate.radius > 0.2).sum())
    assert len(set(certificate.hits.tolist())) > 20, "the repeats are drawn anew"
    spread = math.sqrt(repeats * alpha * (1 - alpha))
    assert repeats * alpha / 2 < false < repeats * alpha + 3 * spread


def test_where_no_class_has_a_majority_false_certificates_are_as_rare_as_alpha() -> None:
    """On the border each class wins with probability 1/2: to certify either is false.

    To select the class on the draws that bound its probability would be wrong nearly 2 alpha
    of the time.
    """
    alpha, repeats = 0.1, 2_000
    x, _ = at_distance(torch.zeros(repeats))
    y = torch.arange(repeats) % 2
    certificate = Smoothing(SIGMA, selection=20, samples=200, alpha=alpha)(Linear(), x, y)
    spread = math.sqrt(repeats * alpha * (1 - alpha))
    false = int((certificate.radius > 0).sum())
    assert repeats * alpha / 2 < false < repeats * alpha + 3 * spread
    of_the_label = certificate.count(0.0).hits
    assert of_the_label < repeats * alpha / 2 + 3 * spread / math.sqrt(2)


def test_ties_are_tested_exactly() -> None:
    first, second = torch.tensor([5, 0, 8, 3, 0, 700]), torch.tensor([0, 5, 2, 3, 0, 300])
    exact = [stats.binomtest(a, a + b).pvalue for a, b in zip(first, second, strict=True) if a + b]
    chance = tie_chance(first, second).tolist()
    assert chance.pop(4) == 1.0
    assert chance == pytest.approx(exact, rel=1e-9)


def test_draws_depend_on_the_sample_alone() -> None:
    x, y = at_distance(SPREAD)
    smoothing = Smoothing(SIGMA, selection=7, samples=53)
    streams = RandomStreams.of(3, 10)
    whole = smoothing(Linear(), x, y, streams, batch_size=1000)
    rows = torch.tensor([7, 2, 9, 0])
    for batch_size in (1, 13, 60):
        part = smoothing(Linear(), x[rows], y[rows], streams[rows], batch_size)
        assert part.hits.equal(whole.hits[rows])
        assert part.selected.equal(whole.selected[rows])
        assert part.radius.equal(whole.radius[rows])
    votes = smoothing.predict(Linear(), x, streams)
    assert smoothing.predict(Linear(), x[rows], streams[rows], 11).equal(votes[rows])
    other = smoothing(Linear(), x, y, RandomStreams.of(4, 10))
    assert not other.hits.equal(whole.hits)


def test_hopeless_samples_are_given_up_and_others_keep_their_draws() -> None:
    x, y = at_distance(torch.tensor([-0.5, -0.04, 0.01, 0.3, 0.55]))
    smoothing = Smoothing(SIGMA, selection=20, samples=2_000)
    y[0] = 1
    whole = smoothing(Linear(), x, y)
    with counted() as passes:
        early = smoothing(Linear(), x, y, eps=0.2)
    assert early.given_up.tolist() == [True, True, True, False, False]
    assert early.predicted[early.given_up].tolist() == [ABSTAINED] * 3
    assert early.radius[3:].equal(whole.radius[3:])
    assert early.hits[3:].equal(whole.hits[3:])
    assert early.certified(0.2).equal(whole.certified(0.2))
    assert 2 * 2_020 + 3 * 20 <= passes.forward < 2 * 2_020 + 3 * 300
    assert not whole.given_up.any()


def test_a_sample_that_is_likely_enough_is_seldom_given_up() -> None:
    """At just the probability that eps asks for, at most 0.001 are lost each time."""
    repeats = 1_000
    x, y = at_distance(torch.full((repeats,), 0.2001))
    early = Smoothing(SIGMA, selection=50, samples=1_000)(Linear(), x, y, eps=0.2)
    assert int((early.given_up & (early.selected == 1)).sum()) <= 0.002 * repeats + 8


def test_time_that_is_up_leaves_samples_undecided_not_given_up() -> None:
    x, y = at_distance(torch.full((40,), 0.5))

    class Slow(Linear):
        def forward(self, x: Tensor) -> Tensor:
            time.sleep(0.01)
            return super().forward(x)

    smoothing = Smoothing(SIGMA, selection=20, samples=1_000)
    early = smoothing(Slow(), x, y, batch_size=500, seconds=0.2, eps=0.2)
    assert early.unreached > 0
    assert early.count(0.2).hits == 40 - early.unreached
    assert not early.given_up.any()


def test_denoised_smoothing_certifies_a_classifier_that_noise_confuses() -> None:
    class Last(nn.Module):
        """Looks at one pixel, where noise is strongest."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([0.5 - x[:, 0, 0, 0], x[:, 0, 0, 0] - 0.5], 1)

    x, y = torch.full((4, 1, 5, 5), 0.7), torch.ones(4, dtype=torch.int64)
    smoothing = Smoothing(0.5, samples=2_000)
    alone = smoothing(Last(), x, y)
    mean = nn.AvgPool2d(5, 1, 2, count_include_pad=False)
    both = smoothing(Denoised(mean, Last()), x, y)
    assert float(both.radius.min()) > 1.5 * float(alone.radius.max())
    with pytest.raises(ModelError, match=r"into \(256, 1, 1, 1\): give one that keeps the shape"):
        smoothing(Denoised(nn.AvgPool2d(5), Last()), x, y)


def test_noise_is_normal_fresh_for_each_copy_and_not_cut() -> None:
    model = Listening()
    x = torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 1, 4, 4)
    Smoothing(0.5, selection=50, samples=250)(model, x, torch.zeros(2).long(), batch_size=64)
    del model.seen[1:4]  # of the check that a batch does not matter
    assert {len(batch) for batch in model.seen} == {64, 600 % 64}, "copies fill the batches"
    noise = torch.cat(model.seen).reshape(2, 300, 16) - torch.tensor([0.0, 1.0])[:, None, None]
    assert stats.kstest(noise.flatten().numpy() / 0.5, "norm").pvalue > 0.01
    assert len({tuple(copy) for copy in noise.reshape(600, 16).tolist()}) == 600
    flat = noise.reshape(600, 16)
    assert abs(float((flat[:-1] * flat[1:]).mean())) < 4 * 0.25 / math.sqrt(599 * 16)


def test_selection_and_bound_use_other_draws() -> None:
    model = Listening()
    x = torch.full((1, 1, 2, 2), 0.5)
    smoothing = Smoothing(0.5, selection=20, samples=20)
    smoothing(model, x, torch.zeros(1).long())
    smoothing.predict(model, x)
    del model.seen[1:4], model.seen[2:5]  # of the check that a batch does not matter
    shown = torch.cat(model.seen).flatten(1).tolist()
    assert len({tuple(noise) for noise in shown}) == len(shown) == 60


def test_passes_and_progress_are_counted() -> None:
    said: list[tuple[str, int, int, str]] = []

    @contextmanager
    def reporter(what: str, total: int) -> Iterator[Advance]:
        yield lambda done, note: said.append((what, total, done, note))

    with counted() as passes, reporting(reporter):
        Smoothing(selection=5, samples=15)(
            Always(0), torch.rand(3, 1, 2, 2), torch.zeros(3).long(), batch_size=25
        )
    assert (passes.forward, passes.backward) == (60, 0)
    assert [done for _, _, done, _ in said] == [25, 50, 60]
    assert said[1] == ("smoothing: certify 3 images", 60, 50, "2 of 3 images")
    with counted() as passes:
        Smoothing(samples=15).predict(Always(0), torch.rand(3, 1, 2, 2))
    assert passes.forward == 45


def test_models_are_left_as_they_were_and_judged_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    certificates = [
        Smoothing(samples=30)(model, torch.full((2, 1, 2, 2), 0.5), torch.zeros(2).long())
        for _ in range(2)
    ]
    assert certificates[0].hits.equal(certificates[1].hits)
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_no_images_have_no_certificates() -> None:
    certificate = Smoothing()(Linear(), torch.zeros(0, 1, 3, 3), torch.zeros(0).long())
    assert (len(certificate), certificate.count(0.1).n) == (0, 0)
    assert Smoothing().predict(Linear(), torch.zeros(0, 1, 3, 3)).shape == (0,)


def test_other_sizes_types_and_one_output() -> None:
    x = torch.rand(2, 3, 5, 4, dtype=torch.float64)
    certificate = Smoothing(samples=30)(Always(0, outputs=1), x, torch.zeros(2).long())
    assert certificate.predicted.tolist() == [0, 0]
    assert Smoothing(samples=30).predict(Always(0, outputs=1), x).tolist() == [0, 0]
    with torch.no_grad():
        half = nn.Sequential(nn.Flatten(), nn.Linear(60, 2)).to(torch.bfloat16)
        half[1].bias[1] = 50.0
    assert Smoothing(samples=30).predict(half, x.float()).tolist() == [1, 1]


def test_settings_compare_print_and_go_into_records() -> None:
    assert Smoothing(0.5) == Smoothing(sigma=0.5) != Smoothing(0.25)
    assert Smoothing().config() == {
        "name": "smoothing",
        "sigma": 0.25,
        "selection": 100,
        "samples": 10_000,
        "alpha": 0.001,
    }
    assert Smoothing(0.5).label() == "smoothing-0.5"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma": 0.0}, r"sigma = 0\.0: give a finite number above 0"),
        ({"sigma": -1.0}, r"sigma = -1\.0"),
        ({"sigma": math.nan}, "sigma = nan"),
        ({"sigma": math.inf}, "sigma = inf"),
        ({"alpha": 0.0}, r"alpha = 0\.0: give a chance above 0 and below 1"),
        ({"alpha": 1.0}, r"alpha = 1\.0"),
        ({"alpha": math.nan}, "alpha = nan"),
        ({"samples": 0}, "samples = 0: give a whole number of at least 1"),
        ({"samples": 1e4}, r"samples = 10000\.0: give a whole number"),
        ({"selection": -3}, "selection = -3"),
        ({"selection": True}, "selection = True"),
        ({"samples": 9}, r"samples = 9 prove nothing at alpha 0\.001.*give at least 10"),
        ({"samples": 2, "alpha": 0.25}, r"samples = 2 .*give at least 3"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Smoothing(**settings)


@pytest.mark.parametrize(("samples", "alpha"), [(10, 0.001), (3, 0.25), (1, 0.6)])
def test_the_fewest_samples_that_are_allowed_can_certify(samples: int, alpha: float) -> None:
    assert Smoothing(samples=samples, alpha=alpha).largest_radius > 0


def test_bad_input_is_refused() -> None:
    x, y, smoothing = torch.rand(2, 1, 3, 3), torch.tensor([0, 1]), Smoothing(samples=20)
    with pytest.raises(DataError, match=r"images from 0 to 255: give finite pixels in \[0, 1\]"):
        smoothing(Linear(), (x > 0.5) * 255.0, y)
    with pytest.raises(DataError, match="images from nan"):
        smoothing(Linear(), x * math.nan, y)
    with pytest.raises(DataError, match=r"images of type torch\.float16"):
        smoothing(Linear(), x.half(), y)
    with pytest.raises(DataError, match=r"shape \(2, 3, 3\): give float32"):
        smoothing.predict(Linear(), x[:, 0])
    with pytest.raises(DataError, match=r"labels of type torch.float32 .* give int64"):
        smoothing(Linear(), x, y.float())
    with pytest.raises(DataError, match="label -1: give classes counted from 0"):
        smoothing(Linear(), x, y - 1)
    with pytest.raises(ModelError, match="2 outputs but labels go up to 5"):
        smoothing(Linear(), x, torch.tensor([0, 5]))
    with pytest.raises(UsageError, match="3 random streams for 2 images"):
        smoothing(Linear(), x, y, RandomStreams.of(0, 3))
    with pytest.raises(UsageError, match="batch_size 0: give at least 1"):
        smoothing(Linear(), x, y, batch_size=0)
    with pytest.raises(ModelError, match="sample 7 are not finite"):
        smoothing(Broken(), x, y, RandomStreams(0, torch.tensor([7, 8])))


class Broken(Always):
    """Answers with nothing that counts."""

    def __init__(self) -> None:
        super().__init__(0)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * math.nan


class BatchMean(nn.Module):
    """The mean of its batch, in which noise cancels out."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        return torch.stack([mean.mean().expand(len(x)), torch.full_like(mean, 0.5)], 1)


def test_a_model_whose_answers_depend_on_the_batch_is_refused() -> None:
    x = torch.full((2, 1, 2, 2), 0.6)
    with pytest.raises(ModelError, match="depend on the other images of its batch"):
        Smoothing(0.5, samples=200)(BatchMean(), x, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ModelError, match="depend on the other images of its batch"):
        Smoothing(0.5, samples=200).predict(BatchMean(), x)


def test_a_random_model_is_smoothed() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([torch.ones(len(x)), torch.rand(len(x))], 1)

    x = torch.full((2, 1, 2, 2), 0.6)
    certificate = Smoothing(0.5, samples=200)(Noisy(), x, torch.zeros(2, dtype=torch.int64))
    assert certificate.certified(0.1).all()


@pytest.mark.parametrize("eps", [-1.0, math.nan, math.inf])
def test_an_eps_that_is_no_length_is_refused(eps: float) -> None:
    x, y = torch.full((1, 1, 2, 2), 0.6), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(UsageError, match=r"^eps .*: give a finite length of at least 0"):
        Smoothing(0.5, samples=20)(Always(0), x, y, eps=eps)
    with pytest.raises(UsageError, match=r"^eps .*: give a finite length of at least 0"):
        Smoothing(0.5, samples=20)(Always(0), x, y).certified(eps)
