"""Each scan by itself."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from tempering.data.dataset import Dataset
from tempering.data.ids import SampleIds
from tempering.data.loading import load
from tempering.poisoning import BadNets
from tempering.poisoning.ensemble import combine
from tempering.poisoning.features import Features
from tempering.poisoning.neighbours import nearest
from tempering.poisoning.planting import FEWEST, KINDS, plant
from tempering.poisoning.projections import principal
from tempering.poisoning.scans.confident_learning import label_errors
from tempering.poisoning.scans.dbscan import knee
from tempering.poisoning.scans.hygiene import hygiene
from tempering.poisoning.scans.names import NAMES
from tempering.poisoning.scans.perturbation_bounds import holm
from tempering.poisoning.scans.registry import SCANS
from tempering.poisoning.scans.spectre import robustly_whitened
from tests.poisoning.scanned import flipped, patched, stripes


@cache
def features(kind: str) -> tuple[Features, torch.Tensor]:
    data, poisoned = (flipped if kind == "flips" else patched)(stripes(400), 20)
    return Features(data, torch.arange(400), 0), poisoned


def auc(score: torch.Tensor, poisoned: torch.Tensor) -> float:
    """Probability that a poisoned sample scores higher than a clean one."""
    high, low = score[poisoned][:, None], score[~poisoned][None]
    return float(((high > low).float() + 0.5 * (high == low)).mean())


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite_and_have_reasons(name: str) -> None:
    seen, _ = features("patch")
    done = SCANS[name](seen)
    assert done.score.shape == (400,)
    assert bool(done.score.isfinite().all())
    assert done.reason(int(done.score.argmax()))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("confident-learning", "flips"),
        ("clean-base", "flips"),
        ("clean-base", "patch"),
        ("spectral", "patch"),
        ("clustering", "patch"),
        ("spectre", "patch"),
    ],
)
def test_scans_rank_their_poison_high(name: str, kind: str) -> None:
    seen, poisoned = features(kind)
    assert auc(SCANS[name](seen).score, poisoned) > 0.9


@pytest.mark.parametrize("name", ["bounds", "dbscan"])
def test_strange_images_lie_outside(name: str) -> None:
    data = stripes(400)
    x = data.pixels.clone()
    x[:10] = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    strange = torch.arange(400) < 10
    seen = Features(Dataset(x, data.y, data.classes, "strange"), torch.arange(400), 0)
    assert auc(SCANS[name](seen).score, strange) > 0.95


def test_a_frequent_trigger_is_seen_under_other_images() -> None:
    digits = load("mnist").train.take(1500)
    bad = BadNets(target=7).poison(digits, 0.1)
    seen = Features(bad.data, torch.arange(len(digits)), 0)
    assert auc(SCANS["strip"](seen).score, bad.poisoned) > 0.95


def test_bounds_say_which_noise_does_not_show() -> None:
    said = SCANS["bounds"](features("patch")[0]).summary
    assert said.startswith("noise of eps 0.")


def test_hygiene_finds_contradictions_and_constant_images() -> None:
    data = stripes(200)
    x, y = data.pixels.clone(), data.y.clone()
    x[1], y[1] = x[0], (y[0] + 1) % 4
    x[2] = 0.5
    done = hygiene(Features(replace(data, pixels=x, y=y), torch.arange(200), 0))
    other = data.classes[int(y[0])]
    assert done.reason(1) == f"it is almost equal to stripes/0 ({other}), with another label"
    assert done.reason(2) == "all its pixels are almost equal"
    assert set(done.score.topk(3).indices.tolist()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("copies", "said"),
    [
        (2, "stripes/4 (a) and stripes/8 (a), with another label"),
        (3, "stripes/4 (a), stripes/8 (a) and stripes/12 (a), with another label"),
        (9, "stripes/4 (a), stripes/8 (a), stripes/12 (a) and 6 more, with another label"),
        (30, "(a) and at least 12 more, with another label"),
    ],
)
def test_hygiene_names_three_partners_at_most(copies: int, said: str) -> None:
    data = stripes(200)
    x, y = data.pixels.clone(), data.y.clone()
    x[4 : 4 * copies + 1 : 4], y[1] = x[1], 1
    done = hygiene(Features(replace(data, pixels=x, y=y), torch.arange(200), 0))
    assert done.reason(1).startswith("it is almost equal to stripes/")
    assert done.reason(1).endswith(said)


def test_planted_copies_are_nobodys_partners() -> None:
    data = stripes(200)
    x = data.pixels.clone()
    x[4] = x[0]  # equal images of one label
    copy = torch.ones(1, dtype=torch.int64)  # of the first image, relabelled
    planted = Dataset(
        torch.cat([x, x[:1]]),
        torch.cat([data.y, copy]),
        data.classes,
        data.name,
        data.ids + SampleIds.of(["planted/0"]),
    )
    done = hygiene(Features(planted, torch.tensor([*range(200), 0]), 0))
    assert done.summary.startswith("2 samples almost equal to another, 0 of them with another")
    assert "almost equal to a" not in done.reason(4)
    assert "stripes/4 (a)" in done.reason(200)


def test_label_errors_are_those_of_cleanlab() -> None:
    filters = pytest.importorskip("cleanlab.filter")
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    logits = 3 * torch.nn.functional.one_hot(y, 3) + torch.randn(300, 3, generator=draw)
    y[:12] = (y[:12] + 1) % 3
    p = logits.softmax(1)
    theirs = filters.find_label_issues(
        y.numpy(), p.numpy(), filter_by="confident_learning", n_jobs=1
    )
    assert label_errors(p, y).tolist() == theirs.tolist()


def test_planted_copies_are_behind_the_data_and_in_the_group_of_their_original() -> None:
    data = stripes(400)
    done = plant(data, 0)
    assert done.own == 400
    assert torch.equal(done.data.pixels[:400], data.pixels)
    assert [int((done.kind == at).sum()) for at in range(len(KINDS))] == [FEWEST] * len(KINDS)
    flips = done.kind == KINDS.index("label flip")
    assert torch.equal(done.data.pixels[flips], data.pixels[done.group[flips]])
    copies = done.kind >= 0
    assert bool((done.data.y[copies] != data.y[done.group[copies]]).all())


def test_folds_keep_groups_together() -> None:
    done = plant(stripes(400), 0)
    fold = Features(done.data, done.group, 0).fold
    assert torch.equal(fold, fold[done.group])
    assert fold[:400].bincount().tolist() == [100] * 4


def test_no_weight_of_the_ensemble_is_negative() -> None:
    draw = torch.Generator().manual_seed(0)
    kind = torch.cat([torch.full((500,), -1), torch.arange(60) % 3])
    useful = torch.randn(560, generator=draw) + 5 * (kind >= 0)
    harmful = torch.randn(560, generator=draw) - 5 * (kind >= 0)
    done = combine({"useful": useful, "harmful": harmful}, kind)
    assert all(weight == 0 for weight in done.weights["harmful"].values())
    assert bool((done.score[kind >= 0] > done.score[kind < 0].quantile(0.99)).float().mean() > 0.9)


def test_neighbours_are_of_other_groups() -> None:
    points = torch.tensor([[0.0], [0.1], [1.0], [3.0]])
    group = torch.tensor([0, 0, 1, 2])
    found = nearest(points, points, 2, group, group)
    assert found.row[:, 0].tolist() == [2, 2, 1, 2]
    assert found.distance[0].tolist() == pytest.approx([1.0, 3.0])


def test_principal_components_are_those_of_all_parts() -> None:
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 7.0)
    space = principal(lambda: torch.split(x, 7), 3)
    _, values, axes = torch.linalg.svd(x - x.mean(0))
    assert torch.allclose(space.variances, values[:3] ** 2 / 49, rtol=1e-4)
    assert torch.allclose((space.axes.T @ axes[:3].T).abs(), torch.eye(3), atol=1e-4)
    whole = space.project(x).square().sum(1) + space.beside(x).square()
    assert torch.allclose(whole, (x - x.mean(0)).square().sum(1), rtol=1e-3)


def test_whitening_is_not_moved_by_a_tenth_of_outliers() -> None:
    x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:100] += torch.tensor([12.0, 0.0])
    white = robustly_whitened(x)
    assert float(white[:100].norm(dim=1).median()) > 10


def test_images_that_are_all_far_apart_are_noise() -> None:
    x = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    data = Dataset(x, torch.arange(60) % 2, ("a", "b"), "noise")
    done = SCANS["dbscan"](Features(data, torch.zeros(60, dtype=torch.int64), 0))
    assert done.summary == "clusters: 0; samples in none: 60"


def test_the_knee_is_where_distances_turn_up() -> None:
    assert knee(torch.cat([torch.linspace(1, 1.2, 90), torch.linspace(2, 9, 10)])) < 2.1


def test_holm_orders_its_factors() -> None:
    assert holm([0.04, 0.001, 0.03]) == pytest.approx([0.06, 0.003, 0.06])


def test_a_class_of_equal_features_has_no_clusters() -> None:
    data = stripes(100)
    x = data.x.clone()
    x[data.y == 1] = 0.5  # a warning of scikit-learn fails the test
    seen = Features(Dataset(x, data.y, data.classes, "flat", data.ids), torch.arange(100), 0)
    score = SCANS["clustering"](seen).score
    assert score[data.y == 1].unique().tolist() == [0.0]
    assert len(score[data.y == 0].unique()) > 1
