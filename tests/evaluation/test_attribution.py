"""Attributions against closed forms, their shift, features, and the detector under attack."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.core.errors import NoGradientError, UsageError
from tempering.core.explanation_records import AttackExplanation, Mean
from tempering.core.goals import Untargeted
from tempering.core.probe import probing
from tempering.core.random import RandomStreams
from tempering.core.record import Count
from tempering.core.smooth_rectifiers import SmoothRectifiers
from tempering.core.threats import L2, Linf, Threat, parse_threat
from tempering.evaluation.attribution import (
    INTEGRATED,
    METHODS,
    OCCLUSION,
    SMOOTHGRAD,
    AttributionSettings,
    attributions,
    heat,
    require_captum,
)
from tempering.evaluation.attribution_detector import attribution_scores, score_graph, smoothed
from tempering.evaluation.attribution_evasion import NO_GRADIENT, SOFTPLUS, evade
from tempering.evaluation.attribution_shift import (
    mean_of,
    rank_correlation,
    share_on_figure,
    shows_figures,
)
from tempering.evaluation.detection_record import detection_of
from tempering.evaluation.equal_noise import noise_of_equal_size
from tempering.evaluation.layer_distances import layer_distances

FAST = AttributionSettings(steps=8, draws=4)


def weights(outputs: int = 2, size: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(outputs, size, generator=torch.Generator().manual_seed(seed))


def linear(w: Tensor) -> nn.Sequential:
    layer = nn.Linear(w.shape[1], w.shape[0])
    with torch.no_grad():
        layer.weight.copy_(w)
        layer.bias.fill_(0.3)
    return nn.Sequential(nn.Flatten(), layer)


def images(n: int, *shape: int, seed: int = 1) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def rectified(seed: int = 0, channels: int = 1) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * 36, 8),
            nn.ReLU(),
            nn.Linear(8, 3),
        )
    return net.eval()


def attributed(model: nn.Module, x: Tensor, outputs: Tensor, **options: Any) -> dict[str, Tensor]:
    streams = options.pop("streams", RandomStreams.of(0, len(x)))
    with probing(model) as probe:
        return attributions(probe, x, outputs, streams, FAST, **options)


# Closed forms


@pytest.mark.parametrize("channels", [1, 3])
def test_a_linear_model_has_the_attributions_of_its_weights(channels: int) -> None:
    shape = (channels, 4, 4)
    w, x = weights(2, channels * 16), images(3, *shape)
    outputs = torch.tensor([0, 1, 1])
    made = attributed(linear(w), x, outputs)
    own = w[outputs].reshape(3, *shape)
    assert tuple(made) == METHODS
    torch.testing.assert_close(made[INTEGRATED], own * x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(made[SMOOTHGRAD], own.abs(), atol=1e-5, rtol=1e-5)
    # a window of one pixel blackens all channels together
    lost = (own * x).sum(1, keepdim=True).expand_as(x)
    torch.testing.assert_close(made[OCCLUSION], lost, atol=1e-5, rtol=1e-5)


def test_integrated_gradients_add_up_to_the_change_of_the_logit() -> None:
    net, x = rectified(), images(4, 1, 6, 6)
    with torch.no_grad():
        logits, black = net(x), net(torch.zeros_like(x))
    outputs = logits.argmax(1)
    with probing(net) as probe:
        fine = attributions(
            probe, x, outputs, RandomStreams.of(0, 4), AttributionSettings(steps=256, draws=1)
        )
    change = (logits - black).gather(1, outputs[:, None])[:, 0]
    torch.testing.assert_close(fine[INTEGRATED].flatten(1).sum(1), change, atol=0.02, rtol=0.05)


def test_a_sample_has_the_same_attribution_in_any_batch_and_the_model_stays_as_it_was() -> None:
    net, x = rectified().train(), images(5, 1, 6, 6)
    outputs = torch.zeros(5, dtype=torch.int64)
    together = attributed(net, x, outputs)
    alone = attributed(net, x[3:], outputs[3:], streams=RandomStreams.of(0, 5)[3:], batch_size=1)
    for method in METHODS:
        torch.testing.assert_close(together[method][3:], alone[method], atol=1e-5, rtol=1e-4)
    assert net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_a_model_without_gradient_and_a_missing_library_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)[:, :2]

    with pytest.raises(NoGradientError, match="no gradient"):
        attributed(Detached(), images(2, 1, 4, 4), torch.tensor([0, 0]))
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(UsageError, match=r"pip install 'tempering\[explain\]'"):
        require_captum()


# Shift


def test_equal_attributions_correlate_fully_and_constant_ones_not_at_all() -> None:
    maps = images(2, 4, 4)
    assert rank_correlation(maps, maps.clone()).tolist() == [1.0, 1.0]
    assert rank_correlation(maps, -maps).tolist() == pytest.approx([-1.0, -1.0])
    zero = torch.zeros_like(maps)
    assert rank_correlation(zero, zero).tolist() == [1.0, 1.0]
    assert rank_correlation(maps, zero).tolist() == [0.0, 0.0]
    tied = torch.tensor([[[0.0, 0.0, 1.0, 2.0]]])
    from scipy.stats import spearmanr

    other = torch.tensor([[[3.0, 1.0, 1.0, 2.0]]])
    expected = spearmanr(tied.flatten(), other.flatten()).statistic
    assert rank_correlation(tied, other).tolist() == pytest.approx([expected])


def test_attribution_moves_where_an_attack_lights_pixels_and_not_elsewhere() -> None:
    """Planted: the model looks at the upper half; the attack lights the lower left corner."""
    w = torch.zeros(2, 16)
    w[1, :8] = 1.0
    w[1, 12] = -8.0
    x = torch.zeros(1, 1, 4, 4)
    x[:, :, :2] = 0.8
    lit = x.clone()
    lit[0, 0, 3, 0] = 0.9
    outputs = torch.tensor([1])
    clean, moved = (heat(attributed(linear(w), z, outputs)[INTEGRATED]) for z in (x, lit))
    assert float(rank_correlation(clean, clean)) == 1.0
    assert float(rank_correlation(clean, moved)) < 0.9
    assert float(share_on_figure(clean, x)) == pytest.approx(1.0)
    assert float(share_on_figure(moved, x)) == pytest.approx(6.4 / (6.4 + 7.2), abs=1e-4)


def test_figures_are_bright_on_dark_ground_in_one_channel() -> None:
    digit = torch.zeros(2, 1, 4, 4)
    digit[:, :, 1] = 1.0
    assert shows_figures(digit)
    assert not shows_figures(1 - digit)
    assert not shows_figures(digit.expand(2, 3, 4, 4))
    assert torch.isnan(share_on_figure(torch.zeros(2, 4, 4), digit)).all()


def test_means_leave_out_what_is_undefined() -> None:
    mean = mean_of(torch.tensor([1.0, 3.0, torch.nan]))
    assert mean is not None
    assert (mean.value, mean.n) == (2.0, 2)
    assert mean.low < 2 < mean.high
    assert mean_of(torch.tensor([torch.nan])) is None
    alone = mean_of(torch.tensor([0.5]))
    assert alone is not None
    assert alone.interval == (0.5, 0.5)


# Noise of the same size


@pytest.mark.parametrize("threat", [Linf(0.2), L2(1.0), parse_threat("l0:5"), parse_threat("l1:2")])
def test_noise_has_the_size_of_the_perturbation(threat: Threat) -> None:
    x = images(4, 1, 6, 6) * 0.5 + 0.25
    streams = RandomStreams.of(3, 4)
    x_adv = threat.project(x + 0.2 * images(4, 1, 6, 6, seed=5), x)
    noisy = noise_of_equal_size(x, x_adv, threat, streams)
    assert threat.contains(noisy, x).all()
    torch.testing.assert_close(threat.distance(noisy, x), threat.distance(x_adv, x))
    assert not torch.equal(noisy, x_adv)
    assert torch.equal(noisy, noise_of_equal_size(x, x_adv, threat, streams))
    alone = noise_of_equal_size(x[2:3], x_adv[2:3], threat, streams[2:3])
    assert torch.equal(alone, noisy[2:3])


def test_noise_on_black_ground_lights_it_and_a_patch_keeps_its_place() -> None:
    x = torch.zeros(1, 1, 6, 6)
    noisy = noise_of_equal_size(x, x + 0.2, Linf(0.2), RandomStreams.of(0, 1))
    torch.testing.assert_close(noisy, x + 0.2)
    patched = x.clone()
    patched[0, 0, 1:3, 1:3] = torch.tensor([[0.2, 0.4], [0.6, 0.8]])
    noisy = noise_of_equal_size(x, patched, parse_threat("patch:0.2"), RandomStreams.of(0, 1))
    assert ((noisy > 0) == (patched > 0)).all()


# Layers


def test_distances_of_layers_are_relative_and_zero_for_the_same_image() -> None:
    net, x = rectified(), images(3, 1, 6, 6)
    with probing(net) as probe:
        kinds, (same, other) = layer_distances(probe, x, [x, x * 0.5], batch_size=2)
    assert list(kinds) == ["input", "0", "1", "2", "3", "4", "5"]
    assert kinds["0"] == "Conv2d"
    assert all(float(values.abs().max()) == 0 for values in same.values())
    torch.testing.assert_close(other["input"], torch.full((3,), 0.5, dtype=torch.float64))
    with torch.no_grad():
        first, second = net[0](x), net[0](x * 0.5)
    expected = (second - first).flatten(1).norm(dim=1) / first.flatten(1).norm(dim=1)
    torch.testing.assert_close(other["0"], expected.double(), atol=1e-5, rtol=1e-4)


def test_layers_that_run_twice_or_write_into_their_input_are_watched() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.act = nn.Linear(9, 9), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.layer(self.act(self.layer(x.flatten(1)))))

    net, x = Twice(), images(2, 1, 3, 3)
    with probing(net) as probe:
        kinds, _ = layer_distances(probe, x, [x])
        features = layer_distances(probe, x, [x * 0.9])[1][0]
    assert list(kinds) == ["input", "layer", "act", "layer#2", "act#2"]
    assert float(features["layer"][0]) != float(features["act"][0])


def test_a_function_without_layers_has_input_and_logits() -> None:
    class Bare(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3]

    with probing(Bare()) as probe:
        kinds, _ = layer_distances(probe, images(2, 1, 3, 3), [images(2, 1, 3, 3)])
    assert list(kinds) == ["input", "logits"]


def test_a_network_parts_where_the_attack_is_twice_the_noise() -> None:
    def mean(value: float) -> Mean:
        return Mean(value=value, low=value, high=value, n=1)

    rows = [
        {"layer": name, "kind": "L", "attack": mean(attack), "noise": mean(0.1)}
        for name, attack in (("input", 0.1), ("a", 0.19), ("b", 0.25), ("c", 0.3))
    ]
    count = Count(hits=0, n=1)
    part = AttackExplanation.model_validate(
        {"attack": "pgd", "fooled": count, "noise_fooled": count, "layers": rows}
    )
    assert part.parting == "b"


# Detector


def test_the_score_of_a_linear_model_is_zero_and_a_zero_gradient_has_one() -> None:
    x = images(3, 1, 4, 4)
    with probing(linear(weights())) as probe:
        assert attribution_scores(probe, x).abs().max() < 1e-6
    flat = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.zeros_(flat[1].weight)
    with probing(flat) as probe:
        assert attribution_scores(probe, x, batch_size=2).tolist() == [1.0] * 3


def test_the_score_is_one_less_the_cosine_of_two_gradients() -> None:
    net, x = rectified(), images(3, 1, 6, 6)

    def gradient(z: Tensor, outputs: Tensor) -> Tensor:
        leaf = z.clone().requires_grad_(True)
        net(leaf).gather(1, outputs).sum().backward()
        assert leaf.grad is not None
        return leaf.grad.flatten(1)

    outputs = net(x).argmax(1, keepdim=True)
    expected = 1 - F.cosine_similarity(gradient(x, outputs), gradient(smoothed(x), outputs))
    with probing(net) as probe:
        scores = attribution_scores(probe, x)
    torch.testing.assert_close(scores, expected.double(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(smoothed(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_rectifiers_have_second_derivatives_when_they_are_smooth_and_none_otherwise() -> None:
    net, x = rectified(), images(2, 1, 6, 6)
    with probing(net) as probe:
        leaf = x.clone().requires_grad_(True)
        (hard,) = torch.autograd.grad(score_graph(probe, leaf).sum(), leaf, allow_unused=True)
        with SmoothRectifiers():
            leaf = x.clone().requires_grad_(True)
            (smooth,) = torch.autograd.grad(score_graph(probe, leaf).sum(), leaf)
    assert hard is None or float(hard.abs().max()) == 0
    assert float(smooth.abs().max()) > 0
    value = torch.tensor([-0.5, 0.0, 0.5])
    with SmoothRectifiers():
        near = (F.relu(value), value.relu(), nn.ReLU(inplace=True)(value.clone()))
        leaky = F.leaky_relu(value, 0.1)
    for made in near:
        torch.testing.assert_close(made, F.softplus(value, beta=20.0))
    torch.testing.assert_close(leaky, F.leaky_relu(value, 0.1), atol=0.04, rtol=0)
    assert torch.equal(F.relu(value), value.clamp_min(0))


def untargeted(y: Tensor) -> Any:
    def protected(rows: Tensor, logits: Tensor) -> Tensor:
        return Untargeted().protected(y[rows], logits.shape[1])

    return protected


def test_an_attacker_who_knows_the_detector_lowers_the_score_and_still_fools() -> None:
    net, x, threat = rectified(), images(24, 1, 6, 6), Linf(0.5)
    with torch.no_grad():
        y = net(x).argmax(1)
    start = threat.sample(x, RandomStreams.of(0, 24))
    with probing(net) as probe:
        clean = attribution_scores(probe, x)
        aim = float(clean.median())
        plain = evade(probe, x, threat, [start], untargeted(y), aim=9.0, steps=12)
        made = evade(probe, x, threat, [start], untargeted(y), aim=aim, steps=12)
        first, second = (attribution_scores(probe, z.x_adv) for z in (plain, made))
    assert made.gradient == SOFTPLUS
    assert threat.contains(made.x_adv, x).all()
    with torch.no_grad():
        fooled, still = (net(z.x_adv).argmax(1) != y for z in (plain, made))
    assert int(still.sum()) >= int(fooled.sum()) - 1 > 5
    both = fooled & still
    assert float(second[both].mean()) < float(first[both].mean()) - 0.02


def test_without_second_derivatives_the_attacker_says_so() -> None:
    w = weights()
    net, x = linear(w), images(4, 1, 4, 4)
    with torch.no_grad():
        y = net(x).argmax(1)
    with probing(net) as probe:
        made = evade(probe, x, Linf(0.5), [x], untargeted(y), aim=0.0, steps=4)
    assert made.gradient == NO_GRADIENT
    with torch.no_grad():
        assert (net(made.x_adv).argmax(1) != y).any()


def test_the_record_of_a_detector_counts_only_images_that_fool() -> None:
    clean = torch.linspace(0, 1, 100, dtype=torch.float64)
    attacked = torch.tensor([2.0, 2.0, -1.0, 0.5], dtype=torch.float64)
    fooled = torch.tensor([True, True, True, False])
    made = detection_of("pgd", clean, attacked, fooled)
    assert (made.fooled.hits, made.fooled.n, made.n, made.clean_n) == (3, 4, 3, 100)
    assert made.auroc == pytest.approx(2 / 3)
    assert made.caught["0.01"].hits == 2
    assert (made.undetected["0.05"].hits, made.undetected["0.05"].n) == (1, 4)
    assert made.roc[0] == (0.0, 0.0)
    assert made.roc[-1] == (1.0, 1.0)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in zip(made.roc, made.roc[1:], strict=False))
    none = detection_of("pgd", clean, attacked, torch.zeros(4, dtype=torch.bool))
    assert none.auroc is None
    few = detection_of("pgd", clean[:30], attacked, fooled)
    assert list(few.caught) == ["0.05"]
