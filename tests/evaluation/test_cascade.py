"""The cascade: each attack on what those before it left, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from tempering.attacks import BIM, FGSM, PGD, Square
from tempering.core.threats import Linf
from tempering.evaluation import AttackResult, measure
from tempering.evaluation.cascade import Cascade, Cascaded, Keep, Stage, straight
from tempering.evaluation.deadline import Deadline
from tests.evaluation.toys import Net, context, dataset, target

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
    judged, where = target(model, data), context(data, batch_size)
    clean = measure(where, judged, None, THREAT)
    cascade = Cascade(
        where, judged, THREAT, clean, certified=certified, keep=keep, deadline=deadline
    )
    cascade.run(cascade.survey(stages, surveyed) if surveyed else stages)
    return cascade.result()


def test_each_stage_works_on_what_is_left() -> None:
    found = run()
    counts = [result.measurement.robust.hits for result in found.stages]
    assert counts == sorted(counts, reverse=True)
    assert 60 > counts[0] > counts[-1] > 0
    before = found.clean.per_sample.robust
    for result in found.stages:
        assert bool((result.per_sample.forwards[before] > 0).all())
        assert bool((result.per_sample.forwards[~before] == 0).all())
        before = before & result.per_sample.robust
    assert torch.equal(found.worst.per_sample.robust, before)


def test_passes_of_the_samples_are_those_of_the_record() -> None:
    found = run()
    for result in found.stages:
        cost = result.measurement.cost
        assert int(result.per_sample.forwards.sum()) == cost.forward
        assert int(result.per_sample.backwards.sum()) == cost.backward


def test_it_says_who_broke_what_and_keeps_that_image() -> None:
    found = run()
    broken = found.clean.per_sample.robust & ~found.worst.per_sample.robust
    assert [bool(name) for name in found.broken_by] == broken.tolist()
    for result in found.stages:
        label = result.measurement.attack
        rows = torch.tensor([name == label for name in found.broken_by])
        assert not bool(result.per_sample.robust[rows].any())
        assert result.per_sample.x_adv is not None
        assert found.worst.per_sample.x_adv is not None
        assert torch.equal(found.worst.per_sample.x_adv[rows], result.per_sample.x_adv[rows])


def test_proven_samples_are_not_attacked_and_stand() -> None:
    certified = torch.zeros(60, dtype=torch.bool)
    certified[::3] = True
    found = run(certified=certified)
    assert bool(found.worst.per_sample.robust[certified].all())
    for result in found.stages:
        assert int(result.per_sample.forwards[certified].sum()) == 0
        assert bool(result.per_sample.robust[certified].all())


@pytest.mark.parametrize("batch_size", [7, 60])
def test_batches_change_no_verdict(batch_size: int) -> None:
    one, other = run(), run(batch_size=batch_size)
    assert one.broken_by == other.broken_by


def test_what_was_kept_is_not_measured_again() -> None:
    store: dict[str, list[AttackResult]] = {}
    worked: list[str] = []

    def keep(name: str, work: Callable[[], Sequence[AttackResult]]) -> list[AttackResult]:
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
    assert torch.equal(found.worst.per_sample.robust, found.clean.per_sample.robust)


def test_time_that_runs_out_within_a_stage_ends_it_there() -> None:
    moments = iter(range(10_000))

    class Ticking(Deadline):
        @property
        def left(self) -> float:
            return 80.0 - next(moments)

    found = run(deadline=Ticking(at=1.0), stages=[Stage(BIM(steps=30, until_fooled=False))])
    (left,) = found.unfinished.values()
    assert 0 < left < 60
    (result,) = found.stages
    untouched = result.per_sample.forwards == 0
    assert int(untouched.sum()) == left
    assert bool(result.per_sample.robust[untouched].all())


def test_the_survey_tries_all_but_the_dearest_on_a_few_and_changes_no_verdict() -> None:
    found, plain = run(surveyed=20), run()
    assert torch.equal(found.worst.per_sample.robust, plain.worst.per_sample.robust)
    first, last = found.stages[0], found.stages[-1]
    rows = found.clean.per_sample.robust.nonzero()[:20, 0]
    assert first.measurement.attack == "survey"
    assert first.measurement.config["over"] in (["square-4", "fgsm"], ["fgsm", "square-4"])
    assert int((first.per_sample.forwards > 0).sum()) == 20
    for result in found.stages[1:-1]:
        assert int(result.per_sample.forwards[rows].sum()) == 0
    stands = first.per_sample.robust[rows]
    assert 0 < int(stands.sum()) < 20
    assert last.measurement.attack == "pgd-5"
    assert bool((last.per_sample.forwards[rows[stands]] > 0).all())
    assert int(last.per_sample.forwards[rows[~stands]].sum()) == 0
    assert found.schedule[-1] == "pgd-5: goes last"
    broke = [int(place.split(": ")[1].split(" broken")[0]) for place in found.schedule[:-1]]
    assert sum(broke) == 20 - int(stands.sum())


def test_what_the_survey_met_meets_attacks_that_are_added_later() -> None:
    x = torch.rand(30, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    model = Net()
    data = dataset(x, model(x).argmax(1), classes=4)
    judged, where = target(model, data), context(data)
    cascade = Cascade(where, judged, THREAT, measure(where, judged, None, THREAT))
    cascade.run(cascade.survey(STAGES, 30))
    standing = cascade.undecided()
    assert len(standing)
    cascade.run([Stage(PGD(steps=7))])
    assert bool((cascade.results[-1].per_sample.forwards[standing] > 0).all())


def test_a_survey_that_was_cut_goes_on() -> None:
    store: dict[str, list[AttackResult]] = {}

    def keep(name: str, work: Callable[[], Sequence[AttackResult]]) -> list[AttackResult]:
        if name not in store:
            store[name] = list(work())
        return store[name]

    first = run(keep=keep, surveyed=20)
    count = len(store)
    assert run(keep=keep, surveyed=20).broken_by == first.broken_by
    assert len(store) == count
