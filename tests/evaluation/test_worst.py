"""Worst cases: never above one of their parts, and of one model and threat only."""

from dataclasses import replace

import pytest
import torch

from tempering.attacks import FGSM, PGD
from tempering.core.errors import UsageError
from tempering.core.threats import Linf
from tempering.evaluation import PerSampleResult, measure, worst_case, worst_of
from tests.evaluation.toys import THREAT, Net, cloud, context, dataset, linear, target


def _outcome(
    robust: str, flagged: str, drop: list[float], stable: str, mark: int
) -> PerSampleResult:
    """From strings such as '1100', 1 for true."""
    right, flag, kept = ([sign == "1" for sign in text] for text in (robust, flagged, stable))
    return PerSampleResult(
        x_adv=torch.full((len(robust), 1, 1, 1), float(mark)),
        predicted=torch.full((len(robust),), mark),
        robust=torch.tensor(right),
        detected=torch.tensor(right) | torch.tensor(flag),
        flagged=torch.tensor(flag),
        stable=torch.tensor(kept),
        drop=torch.tensor(drop),
        distance=torch.full((len(robust),), float(mark), dtype=torch.float64),
        forwards=torch.full((len(robust),), mark),
        backwards=torch.full((len(robust),), 10 * mark),
    )


def test_the_worst_is_taken_sample_by_sample() -> None:
    #                 stands everywhere, flagged twice, flagged then fooled, fooled then flagged
    first = _outcome("1000", "0110", [0.1, 0.5, 0.2, 0.9], "1000", mark=1)
    second = _outcome("1000", "0101", [0.3, 0.4, 0.8, 0.1], "1001", mark=2)
    worst = worst_of([first, second])
    assert worst.robust.tolist() == [True, False, False, False]
    assert worst.detected is not None
    assert worst.detected.tolist() == [True, True, False, False]
    assert worst.flagged is not None
    assert worst.flagged.tolist() == [False, True, False, False]
    assert worst.predicted.tolist() == [1, 1, 2, 1], "the first of the worst is kept"
    assert worst.x_adv is not None
    assert worst.x_adv.flatten().tolist() == [1, 1, 2, 1]
    assert worst.distance.tolist() == [1, 1, 2, 1]
    assert worst.stable.tolist() == [True, False, False, False]
    assert torch.allclose(worst.drop, torch.tensor([0.3, 0.5, 0.8, 0.9]))


def test_a_part_that_was_not_kept_is_not_made_up() -> None:
    first = _outcome("10", "00", [0, 0], "10", mark=1)
    assert worst_of([first, replace(first, x_adv=None)]).x_adv is None


def test_the_worst_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="worst of no outcomes"):
        worst_of([])
    data = cloud()
    with pytest.raises(UsageError, match="give at least one trial"):
        worst_case(context(data), target(linear(), data), THREAT, [])


def test_no_attack_is_below_the_worst_case() -> None:
    x = torch.rand(60, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        data = dataset(x, Net()(x).argmax(1), classes=4)
    here, judged = context(data), target(Net(), data)
    sources = [Net(seed=seed) for seed in (1, 2, 3)]
    results = [
        measure(here, judged, FGSM(), THREAT, access="gray-surrogate", source=source)
        for source in sources
    ]
    worst = worst_case(here, judged, THREAT, results, access="any")
    hits = [result.measurement.robust.hits for result in results]
    assert worst.measurement.robust.hits < min(hits), "these sources break different samples"
    assert torch.equal(
        worst.per_sample.robust,
        torch.stack([result.per_sample.robust for result in results]).all(0),
    )
    assert (worst.measurement.attack, worst.measurement.access) == ("worst", "any")
    assert worst.measurement.cost.forward == sum(t.measurement.cost.forward for t in results)
    assert worst.measurement.config == {"over": ["fgsm (gray-surrogate)"] * 3}


def test_trials_of_another_model_threat_or_data_are_refused() -> None:
    data = cloud()
    here, judged = context(data), target(linear(), data)
    result = measure(here, judged, FGSM(), THREAT)
    with pytest.raises(UsageError, match=r"was measured under linf:0\.1"):
        worst_case(here, judged, Linf(0.2), [result])
    with pytest.raises(UsageError, match="was measured on weights"):
        worst_case(here, target(linear(seed=2), data), THREAT, [result])
    other = cloud(seed=2)
    with pytest.raises(UsageError, match="was measured on weights"):
        worst_case(context(other), judged, THREAT, [result])


def test_clean_may_be_among_the_trials() -> None:
    data = cloud()
    here, judged = context(data), target(linear(), data)
    both = [measure(here, judged, None, THREAT), measure(here, judged, PGD(steps=2), THREAT)]
    worst = worst_case(here, judged, THREAT, both).measurement
    assert worst.robust == both[1].measurement.robust
