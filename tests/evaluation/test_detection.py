"""The adversarial class: four counts, on a model that can be read off a line."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tempering.attacks import BIM, PGD, Generator
from tempering.attacks.base import Problem
from tempering.core.errors import UsageError
from tempering.core.goals import Targeted
from tempering.core.probe import Probe
from tempering.core.records import Access
from tempering.core.threats import Linf
from tempering.data.dataset import Dataset
from tempering.evaluation import EvalContext, Target, availability, measure
from tests.evaluation.toys import Centroids, Scripted, context, dataset, each_attack, target

EPS = Linf(0.32)
ATTACK = PGD(steps=40)
PLACES = torch.tensor([0.01, 0.10, 0.34, 0.50, 0.90])
"""Of class 0. The model says 0 below 0.35, flags up to 0.65, and says 1 above. So under
EPS they: stand; can be flagged; can be misled; are flagged already; are misled already."""


def _line() -> tuple[EvalContext, Target]:
    data = dataset(PLACES.reshape(-1, 1, 1, 1), torch.zeros(5).long())
    return context(data), target(Centroids(0.2, 0.8, 0.5), data)


def test_without_attack() -> None:
    measurement, per_sample = measure(*_line(), None, EPS)
    assert per_sample.predicted.tolist() == [0, 0, 0, 2, 1]
    assert measurement.robust.hits == 3
    assert measurement.detected is not None
    assert measurement.detected.hits == 3, "a refused clean input is an error, not a success"
    assert measurement.flagged is not None
    assert measurement.flagged.hits == 1


def test_the_attacker_evades_where_it_can() -> None:
    measurement, per_sample = measure(*_line(), ATTACK, EPS)
    assert per_sample.predicted[:3].tolist() == [0, 2, 1]
    assert per_sample.robust.tolist() == [True, False, False, False, False]
    assert per_sample.detected is not None
    assert per_sample.detected.tolist() == [True, True, False, False, False]
    assert per_sample.flagged is not None
    assert per_sample.flagged[:3].tolist() == [False, True, False]
    assert per_sample.severity.tolist() == [0, 1, 2, 2, 2]
    assert (measurement.robust.hits, measurement.detected.hits) == (1, 2)  # type: ignore[union-attr]
    assert not per_sample.stable[1:].any(), "errors can be changed too"


def test_an_attacker_who_only_misleads_stops_at_the_flag() -> None:
    """The evading run is needed: one that stops at the first wrong output is detected."""
    here, judged = _line()
    _, unaware = measure(here, judged.without_flag(), ATTACK, EPS)
    assert unaware.predicted[2] == 2
    assert unaware.detected is None
    assert unaware.flagged is None


def test_availability_counts_right_inputs_that_can_be_flagged() -> None:
    measurement, per_sample = availability(*_line(), EPS, ATTACK)
    assert measurement.attack == "availability"
    assert measurement.config["name"] == "pgd"
    assert per_sample.flagged is not None
    assert per_sample.flagged.tolist() == [False, True, True, False, False]
    assert measurement.flagged is not None
    assert (measurement.flagged.hits, measurement.flagged.n) == (2, 5)
    assert measurement.robust.hits == 1


def test_availability_needs_a_flag() -> None:
    here, judged = _line()
    with pytest.raises(UsageError, match="no adversarial class"):
        availability(here, judged.without_flag(), EPS, ATTACK)


def test_availability_believes_no_claim() -> None:
    measurement, _ = availability(*_line(), EPS, Scripted())
    assert measurement.flagged is not None
    assert measurement.flagged.hits == 0


def test_a_model_that_flags_everything_earns_nothing() -> None:
    data = dataset(torch.rand(6, 1, 1, 1), torch.zeros(6).long())
    everything = target(Centroids(-9.0, 9.5, 0.5), data)
    measurement, _ = measure(context(data), everything, ATTACK, EPS)
    assert measurement.detected is not None
    assert measurement.detected.hits == 0


def _flag_is_nearer(access: Access) -> bool:
    """Below the class lies the flag, above it, a little farther, the other class."""
    data = dataset(torch.full((1, 1, 1, 1), 0.48), torch.zeros(1).long())
    model = Centroids(0.5, 0.8, 0.2)
    judged, source = target(model, data), Centroids(0.5, 0.8, 0.2)
    _, per_sample = measure(
        context(data), judged, BIM(steps=40), EPS, access=access,
        source=None if access == "white" else source,
    )  # fmt: skip
    assert per_sample.detected is not None
    return bool(per_sample.detected)


@pytest.mark.parametrize("access", ["white", "gray-surrogate", "gray-before"])
def test_an_attacker_turns_back_from_the_flag(access: Access) -> None:
    assert not _flag_is_nearer(access)


def test_stale_samples_know_of_no_flag() -> None:
    assert _flag_is_nearer("stale")


def test_a_source_without_the_flag_is_no_trouble() -> None:
    here, judged = _line()
    source = Centroids(0.2, 0.8, flag=False)
    _, per_sample = measure(here, judged, ATTACK, EPS, access="gray-surrogate", source=source)
    assert per_sample.robust.tolist() == [True, False, False, False, False]
    assert per_sample.predicted[2] == 1


def test_a_forced_flag_is_lost_but_noticed_in_the_worst_case() -> None:
    """White-box attacks that do nothing else leave the flag as the only way out."""

    class Forcing(Scripted):
        def propose(self, probe: Probe, problem: Problem) -> Tensor:
            forced = isinstance(problem.goal, Targeted)
            return ATTACK.propose(probe, problem) if forced else problem.x

    evaluation = each_attack(*_line(), EPS, [Forcing()])
    assert evaluation.get("scripted").measurement.robust.hits == 3
    for access in ("white", "any"):
        worst = evaluation.get("worst", access).measurement  # type: ignore[arg-type]
        assert worst.robust.hits == 1
        assert worst.detected is not None
        assert worst.detected.hits == 3


def test_each_goal_has_draws_of_its_own() -> None:
    """An attempt that began where the one before it did would be no second attempt."""
    keys: dict[str, int] = {}

    class Draws(Scripted):
        def propose(self, probe: Probe, problem: Problem) -> Tensor:
            keys[type(problem.goal).__name__] = problem.streams.key
            return problem.x

    measure(*_line(), Draws(), EPS)
    availability(*_line(), EPS, Draws())
    assert sorted(keys) == ["EvadeDetector", "Targeted", "Untargeted"]
    assert len(set(keys.values())) == 3


def test_counts_need_each_sample_once() -> None:
    data = Dataset(PLACES.reshape(-1, 1, 1, 1), torch.zeros(5).long(), ("a", "b"), "line")
    judged = target(Centroids(0.2, 0.8, 0.5), data)
    small, large = (
        measure(context(data, size), judged, ATTACK, EPS).measurement for size in (1, 64)
    )
    assert (small.robust, small.detected, small.flagged) == (
        large.robust,
        large.detected,
        large.flagged,
    )


def test_an_attack_that_learns_forces_flags_as_it_does_on_all_samples_at_once() -> None:
    here, judged = _line()
    learner = Generator(epochs=3)
    per_samples = [
        availability(replace(here, batch_size=size), judged, EPS, learner)[1] for size in (1, 64)
    ]
    first, second = (per_sample.x_adv for per_sample in per_samples)
    assert first is not None
    assert second is not None
    assert torch.allclose(first, second, rtol=0, atol=1e-5)
