"""Sanity checks: each is raised by a planted fault, and silent without it."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tempering.attacks import BIM, FGSM, PGD
from tempering.core.records import Count, Flag, Measurement, MinimumNorm
from tempering.core.threats import Linf
from tempering.evaluation import Outcome, Trial, inspect, measure, run_standard, sanity, sweep
from tempering.evaluation.gradients import without_gradient
from tests.evaluation.toys import (
    THREAT,
    Centroids,
    Net,
    Scripted,
    cloud,
    dataset,
    linear,
    setting,
    squeezed,
    target,
)


def _measurement(hits: int, n: int, **changes: Any) -> Measurement:
    parts: dict[str, Any] = {
        "subject": "hardened",
        "protocol": "standard",
        "access": "white",
        "attack": "pgd-40",
        "config": {"name": "pgd", "steps": 40},
        "threat": "linf:0.3",
        "eps": 0.3,
        "n": n,
        "strict": Count(hits=hits, n=n),
        "stable": Count(hits=hits, n=n),
        "seed": 0,
        "weights": "w",
        "data_hash": "d",
    }
    return Measurement(**{**parts, **changes})


def _trial(strict: str, **changes: Any) -> Trial:
    stands = torch.tensor([sign == "1" for sign in strict])
    n = len(strict)
    outcome = Outcome(
        None, stands.long(), stands, None, None, stands, torch.zeros(n), torch.zeros(n)
    )
    return Trial(_measurement(int(stands.sum()), n, **changes), outcome)


def test_many_queries_are_not_one_step() -> None:
    """Square finds what PGD misses: that is no sign of a misleading loss surface."""
    strong = _trial("1110")
    for config in (
        {"name": "square", "queries": 300},
        {"name": "worst-of", "attacks": [{"name": "fgsm"}, {"name": "square", "queries": 300}]},
        {"name": "transfer", "attack": {"name": "pgd", "steps": 40}},
    ):
        many = _trial("1010", attack="other", config=config)
        assert sanity.steps(many.measurement) >= 40
        assert sanity.one_step_beats_many([strong, many]) is None


ONE = {"attack": "fgsm", "config": {"name": "fgsm"}}
GRAY = {"access": "gray-surrogate"}


@pytest.mark.parametrize(
    ("white", "other", "samples"),
    [
        (["1110"], ["1010"], [1]),
        (["1110", "1100"], ["0111", "1011"], [0, 1]),
        (["1110"], ["1110"], None),
        (["0010"], ["1111"], None),
        (["1110"], [], None),
    ],
)
def test_a_weaker_attacker_who_wins_is_flagged(
    white: list[str], other: list[str], samples: list[int] | None
) -> None:
    strong = [_trial(strict) for strict in white]
    checks: list[tuple[Flag | None, str]] = [
        (
            sanity.gray_beats_white(strong, [_trial(one, **GRAY) for one in other]),
            "gray-box beats white-box",
        ),
        (
            sanity.stale_beats_white(strong, [_trial(one, access="stale") for one in other]),
            "stale samples beat white-box",
        ),
        (
            sanity.one_step_beats_many(strong + [_trial(one, **ONE) for one in other]),
            "one step beats many",
        ),
        (
            sanity.true_beats_adaptive(strong, [_trial(one, backward="true") for one in other]),
            "true gradient beats adaptive",
        ),
    ]
    for flag, name in checks:
        if samples is None:
            assert flag is None
        else:
            assert flag is not None
            assert (flag.name, flag.samples) == (name, samples)
            assert flag.evidence.startswith(f"{len(samples)} of 4 samples (")


def test_evidence_names_who_won_where() -> None:
    flag = sanity.gray_beats_white(
        [_trial("1111")],
        [_trial("0111", **GRAY), _trial("0011", attack="bim-40", access="gray-before")],
    )
    assert flag is not None
    assert flag.evidence == "2 of 4 samples (pgd-40 (gray-surrogate): 1, bim-40 (gray-before): 2)"


def test_a_planted_weak_white_box_attack_is_found_out() -> None:
    data = cloud()
    here, judged = setting(data), target(linear(), data)
    white = measure(here, judged, Scripted(), THREAT)
    gray = measure(here, judged, FGSM(), THREAT, access="gray-surrogate", source=linear())
    flag = sanity.gray_beats_white([white], [gray])
    assert flag is not None
    broken = white.outcome.strict & ~gray.outcome.strict
    assert flag.samples == broken.nonzero()[:, 0].tolist()
    assert len(flag.samples) > 5
    honest = measure(here, judged, FGSM(), THREAT)
    assert sanity.gray_beats_white([honest], [gray]) is None


def test_a_gap_between_gradients_is_flagged_beyond_chance() -> None:
    adaptive, true = _trial("0" * 30 + "1" * 70), _trial("1" * 100, backward="true")
    flag = sanity.gradient_gap(adaptive, true)
    assert flag is not None
    assert flag.name == "hidden gradient"
    assert flag.samples == list(range(30))
    assert "100.0 %" in flag.evidence
    assert "70.0 %" in flag.evidence
    assert sanity.gradient_gap(_trial("0" * 4 + "1" * 96), true) is None, "4 of 4 may be chance"
    assert sanity.gradient_gap(true, adaptive) is None


def test_a_hard_clamp_looks_robust_and_is_flagged() -> None:
    data = cloud()
    data = dataset(data.x.round() * 0.8 + 0.1, data.y)
    here, judged = setting(data), target(squeezed(), data)
    found = run_standard(here, judged, Linf(0.35), [BIM(steps=5)])
    flags = {flag.name: flag for flag in inspect(here, found)}
    assert "hidden gradient" in flags
    fooled = found.attacks("white")[0].outcome.strict.logical_not()
    stood = found.attacks("white", "true")[0].outcome.strict
    assert flags["hidden gradient"].samples == (fooled & stood).nonzero()[:, 0].tolist()
    assert "zero gradients" not in flags, "the adaptive backward has a gradient"


class _Steps(Centroids):
    """Rounds its input: flat everywhere, with nothing to say so."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward((x - x.detach()) * 0 + (x.detach() * 4).round() / 4)


def test_zero_gradients_are_found_and_flagged() -> None:
    data = dataset(torch.linspace(0, 0.2, 20).reshape(-1, 1, 1, 1), torch.zeros(20).long())
    here, judged = setting(data), target(_Steps(0.2, 0.8, flag=False), data)
    zero = without_gradient(here, judged)
    assert zero.all()
    standing = measure(here, judged, BIM(steps=5), Linf(0.5)).outcome
    assert standing.strict.all(), "it looks perfectly robust"
    flag = sanity.zero_gradients(zero, standing)
    assert flag is not None
    assert len(flag.samples) == 20
    smooth = target(Centroids(0.2, 0.8, flag=False), data)
    assert not without_gradient(here, smooth).any()
    half_blind = linear()
    with torch.no_grad():
        half_blind[1].weight[:, :4] = 0.0
    assert not without_gradient(setting(cloud()), target(half_blind, cloud())).any()
    assert sanity.zero_gradients(torch.zeros(20).bool(), standing) is None
    lost = measure(here, smooth, BIM(steps=5), Linf(0.6)).outcome
    assert not lost.strict.any()
    assert sanity.zero_gradients(zero, lost) is None, "what is lost anyway shows nothing"


@pytest.mark.parametrize(
    ("hits", "raised"), [([90, 60, 30], False), ([90, 60, 75], True), ([90, 30, 31], False)]
)
def test_accuracy_that_rises_is_flagged(hits: Sequence[int], raised: bool) -> None:
    sizes = zip(hits, (0.1, 0.2, 0.3), strict=True)
    runs = [_measurement(hit, 100, eps=eps, threat=f"linf:{eps}") for hit, eps in sizes]
    flag = sanity.rises_with_eps(runs[::-1])
    assert (flag is not None) == raised
    if flag is not None:
        assert "60.0 %" in flag.evidence
        assert "linf:0.2" in flag.evidence
        assert "75.0 %" in flag.evidence
    one_step = [run.model_copy(update=ONE) for run in runs]
    assert sanity.rises_with_eps(one_step) is None, "one step overshoots by nature"
    others = [run.model_copy(update={"weights": str(at)}) for at, run in enumerate(runs)]
    assert sanity.rises_with_eps(others) is None, "of three models"


@pytest.mark.parametrize(
    ("hits", "eps", "raised"), [(30, 0.9, True), (10, 0.9, False), (30, 0.7, False)]
)
def test_accuracy_that_stays_up_is_flagged(hits: int, eps: float, raised: bool) -> None:
    last = _measurement(hits, 100, eps=eps, threat=f"linf:{eps}", protocol="curve")
    flag = sanity.does_not_fall([last], reaches_grey=0.8, largest_class=0.12)
    assert (flag is not None) == raised


def test_a_curve_that_cannot_be_true_is_flagged() -> None:
    data = cloud()
    here, judged = setting(data), target(linear(), data)
    found = run_standard(here, judged, THREAT, [FGSM()])
    for attack, raised in ((Scripted(), True), (FGSM(), False)):
        points = sweep(here, judged, THREAT, [attack], [0.1, 0.5])
        flags = inspect(here, found, sweep=[point.measurement for point in points])
        assert ("accuracy does not fall" in {flag.name for flag in flags}) == raised


@pytest.mark.parametrize(("hits", "n", "raised"), [(90, 100, True), (900, 1000, False)])
def test_too_few_samples_are_flagged(hits: int, n: int, raised: bool) -> None:
    flag = sanity.too_few_samples(_measurement(hits, n))
    assert (flag is not None) == raised
    if flag is not None:
        needed = int(flag.remedy.split()[-2])
        low, high = Count(hits=round(0.9 * needed), n=needed).interval
        assert high - low <= 0.05
        assert needed < 1000


@pytest.mark.parametrize(("hits", "raised"), [(94, True), (95, False), (100, False)])
def test_an_unbounded_attack_that_fails_is_flagged(hits: int, raised: bool) -> None:
    record = MinimumNorm(
        subject="hardened", attack="cw-l2", config={}, norm="l2", n=100,
        found=Count(hits=hits, n=100), median=1.0, within={}, seed=0, weights="w", data_hash="d",
    )  # fmt: skip
    assert (sanity.search_failed(record) is not None) == raised


def test_an_honest_evaluation_raises_nothing() -> None:
    x = torch.rand(400, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    model = Net()
    with torch.no_grad():
        data = dataset(x, model(x).argmax(1), classes=4)
    here, judged = setting(data, batch_size=128), target(model, data)
    attacks = [FGSM(), PGD(steps=20)]
    found = run_standard(here, judged, Linf(0.01), attacks, surrogate=Net(1), before=Net(2))
    assert found.get("worst").measurement.strict.hits < 390
    points = sweep(here, judged, THREAT, attacks, [0.0, 0.05, 0.6])
    curve = [point.measurement for point in points]
    assert inspect(here, found, sweep=curve, others=curve) == []
