"""The cascade: each attack on what those before it left, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from tempering.attacks import BIM, FGSM, PGD, Square
from tempering.core.threats import Linf
from tempering.evaluation import Trial, measure
from tempering.evaluation.cascade import Cascade, Cascaded, Keep, Stage, straight
from tempering.evaluation.deadline import Deadline
from tests.evaluation.toys import Net, dataset, setting, target

THREAT = Linf(0.05)
STAGES = [Stage(Square(queries=4), "black"), Stage(FGSM()), Stage(PGD(steps=5))]


def run(
    n: int = 60,
    stages: Sequence[Stage] = STAGES,
    certified: torch.Tensor | None = None,
    keep: Keep = straight,
    deadline: Deadline | None = None,
    batch_size: int = 16,
    surveyed: int = 0,
) -> Cascaded:
    x = torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    model = Net()
    with torch.no_grad():
        data = dataset(x, model(x).argmax(1), classes=4)
    judged, where = target(model, data), setting(data, batch_size)
    clean = measure(where, judged, None, THREAT)
    cascade = Cascade(
        where, judged, THREAT, clean, certified=certified, keep=keep, deadline=deadline
    )
    cascade.run(cascade.survey(stages, surveyed) if surveyed else stages)
    return cascade.result()


def test_each_stage_works_on_what_is_left() -> None:
    found = run()
    counts = [trial.measurement.strict.hits for trial in found.stages]
    assert counts == sorted(counts, reverse=True)
    assert 60 > counts[0] > counts[-1] > 0
    before = found.clean.outcome.strict
    for trial in found.stages:
        assert bool((trial.outcome.forwards[before] > 0).all())
        assert bool((trial.outcome.forwards[~before] == 0).all())
        before = before & trial.outcome.strict
    assert torch.equal(found.worst.outcome.strict, before)


def test_passes_of_the_samples_are_those_of_the_record() -> None:
    found = run()
    for trial in found.stages:
        cost = trial.measurement.cost
        assert int(trial.outcome.forwards.sum()) == cost.forward
        assert int(trial.outcome.backwards.sum()) == cost.backward


def test_it_says_who_broke_what_and_keeps_that_image() -> None:
    found = run()
    broken = found.clean.outcome.strict & ~found.worst.outcome.strict
    assert [bool(name) for name in found.broken_by] == broken.tolist()
    for trial in found.stages:
        label = trial.measurement.attack
        rows = torch.tensor([name == label for name in found.broken_by])
        assert not bool(trial.outcome.strict[rows].any())
        assert trial.outcome.x_adv is not None
        assert found.worst.outcome.x_adv is not None
        assert torch.equal(found.worst.outcome.x_adv[rows], trial.outcome.x_adv[rows])


def test_proven_samples_are_not_attacked_and_stand() -> None:
    certified = torch.zeros(60, dtype=torch.bool)
    certified[::3] = True
    found = run(certified=certified)
    assert bool(found.worst.outcome.strict[certified].all())
    for trial in found.stages:
        assert int(trial.outcome.forwards[certified].sum()) == 0
        assert bool(trial.outcome.strict[certified].all())


@pytest.mark.parametrize("batch_size", [7, 60])
def test_batches_change_no_verdict(batch_size: int) -> None:
    one, other = run(), run(batch_size=batch_size)
    assert one.broken_by == other.broken_by


def test_what_was_kept_is_not_measured_again() -> None:
    store: dict[str, list[Trial]] = {}
    worked: list[str] = []

    def keep(name: str, work: Callable[[], Sequence[Trial]]) -> list[Trial]:
        if name not in store:
            worked.append(name)
            store[name] = list(work())
        return store[name]

    first = run(keep=keep)
    made = len(worked)
    assert made == len(set(worked)) > len(STAGES)
    store.pop(worked[-1])
    again = run(keep=keep)
    assert worked[made:] == [worked[made - 1]]
    assert first.broken_by == again.broken_by


def test_without_time_samples_stand_and_that_is_said() -> None:
    found = run(deadline=Deadline.after(0.0))
    assert found.stages == ()
    assert dict(found.unfinished) == {str(stage): 60 for stage in STAGES}
    assert torch.equal(found.worst.outcome.strict, found.clean.outcome.strict)


def test_time_that_runs_out_within_a_stage_ends_it_there() -> None:
    moments = iter(range(10_000))

    class Ticking(Deadline):
        @property
        def left(self) -> float:
            return 80.0 - next(moments)

    found = run(deadline=Ticking(at=1.0), stages=[Stage(BIM(steps=30, until_fooled=False))])
    (left,) = found.unfinished.values()
    assert 0 < left < 60
    (trial,) = found.stages
    untouched = trial.outcome.forwards == 0
    assert int(untouched.sum()) == left
    assert bool(trial.outcome.strict[untouched].all())


def test_the_survey_tries_all_but_the_dearest_on_a_few_and_changes_no_verdict() -> None:
    found, plain = run(surveyed=20), run()
    assert torch.equal(found.worst.outcome.strict, plain.worst.outcome.strict)
    first, last = found.stages[0], found.stages[-1]
    rows = found.clean.outcome.strict.nonzero()[:20, 0]
    assert first.measurement.attack == "survey"
    assert first.measurement.config["over"] in (["square-4", "fgsm"], ["fgsm", "square-4"])
    assert int((first.outcome.forwards > 0).sum()) == 20
    for trial in found.stages[1:-1]:
        assert int(trial.outcome.forwards[rows].sum()) == 0
    stands = first.outcome.strict[rows]
    assert 0 < int(stands.sum()) < 20
    assert last.measurement.attack == "pgd-5"
    assert bool((last.outcome.forwards[rows[stands]] > 0).all())
    assert int(last.outcome.forwards[rows[~stands]].sum()) == 0
    assert found.schedule[-1] == "pgd-5: goes last"
    broke = [int(place.split(": ")[1].split(" broken")[0]) for place in found.schedule[:-1]]
    assert sum(broke) == 20 - int(stands.sum())


def test_what_the_survey_met_meets_attacks_that_are_added_later() -> None:
    x = torch.rand(30, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    model = Net()
    data = dataset(x, model(x).argmax(1), classes=4)
    judged, where = target(model, data), setting(data)
    cascade = Cascade(where, judged, THREAT, measure(where, judged, None, THREAT))
    cascade.run(cascade.survey(STAGES, 30))
    standing = cascade.undecided()
    assert len(standing)
    cascade.run([Stage(PGD(steps=7))])
    assert bool((cascade.trials[-1].outcome.forwards[standing] > 0).all())


def test_a_survey_that_was_cut_goes_on() -> None:
    store: dict[str, list[Trial]] = {}

    def keep(name: str, work: Callable[[], Sequence[Trial]]) -> list[Trial]:
        if name not in store:
            store[name] = list(work())
        return store[name]

    first = run(keep=keep, surveyed=20)
    count = len(store)
    assert run(keep=keep, surveyed=20).broken_by == first.broken_by
    assert len(store) == count
