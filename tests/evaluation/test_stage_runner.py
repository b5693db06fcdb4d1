"""Attack stages: each on what those before it left, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
import torch

from tempering.attacks import BIM, FGSM, PGD, Square
from tempering.core.deadline import Deadline
from tempering.core.errors import CertificateError
from tempering.core.threats import Linf
from tempering.evaluation import EvaluationConfig, Protocol, Stage
from tempering.evaluation.measuring import clean_result
from tempering.evaluation.result_cache import NoCache, ResultCache
from tempering.evaluation.run import EvaluationRun
from tempering.evaluation.stage_runner import StageRunner
from tempering.evaluation.verdicts import predict_samples
from tests.evaluation.toys import Net, Scripted, context, dataset, target

T = TypeVar("T")
THREAT = Linf(0.05)
STAGES = [Stage(Square(queries=4), "black"), Stage(FGSM()), Stage(PGD(steps=5))]


def begin(
    n: int = 60,
    certified: torch.Tensor | None = None,
    cache: ResultCache | None = None,
    deadline: Deadline | None = None,
    batch_size: int = 16,
) -> StageRunner:
    x = torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    model = Net()
    with torch.no_grad():
        data = dataset(x, model(x).argmax(1), classes=4)
    judged, where = target(model, data), context(data, batch_size)
    predictions = predict_samples(where, judged)
    run = EvaluationRun(
        context=where,
        target=judged,
        config=EvaluationConfig(THREAT, Protocol("mine", ())),
        cache=cache or NoCache(),
        deadline=deadline or Deadline.never(),
        predictions=predictions,
        clean=clean_result(where, judged, THREAT, clean=predictions),
    )
    return StageRunner(run, certified=certified)


def run(stages: Sequence[Stage] = STAGES, ranked_on: int = 0, **named: Any) -> StageRunner:
    runner = begin(**named)
    runner.run_stages(runner.rank(stages, ranked_on) if ranked_on else stages)
    return runner


def clean(runner: StageRunner) -> torch.Tensor:
    return runner.run.clean.per_sample.robust


class Memory:
    """Stores results in memory."""

    def __init__(self) -> None:
        self.store: dict[str, Any] = {}
        self.computed: list[str] = []

    def get(self, name: str, compute: Callable[[], T]) -> T:
        if name not in self.store:
            self.computed.append(name)
            self.store[name] = compute()
        result: T = self.store[name]
        return result


def test_each_stage_works_on_what_is_left() -> None:
    attacked = run()
    counts = [result.measurement.robust.hits for result in attacked.log.results]
    assert counts == sorted(counts, reverse=True)
    assert 60 > counts[0] > counts[-1] > 0
    before = clean(attacked)
    for result in attacked.log.results:
        assert bool((result.per_sample.forwards[before] > 0).all())
        assert bool((result.per_sample.forwards[~before] == 0).all())
        before = before & result.per_sample.robust
    assert torch.equal(attacked.robust, before)


def test_passes_of_the_samples_are_those_of_the_record() -> None:
    attacked = run()
    for result in attacked.log.results:
        cost = result.measurement.cost
        assert int(result.per_sample.forwards.sum()) == cost.forward
        assert int(result.per_sample.backwards.sum()) == cost.backward


def test_it_says_what_broke_each_sample_first() -> None:
    attacked = run()
    broken = clean(attacked) & ~attacked.robust
    assert [bool(name) for name in attacked.broken_by] == broken.tolist()
    for result in attacked.log.results:
        label = result.measurement.attack
        rows = torch.tensor([name == label for name in attacked.broken_by])
        assert not bool(result.per_sample.robust[rows].any())
        assert result.per_sample.x_adv is not None


def test_proven_samples_are_not_attacked_and_stand() -> None:
    certified = torch.zeros(60, dtype=torch.bool)
    certified[::3] = True
    attacked = run(certified=certified)
    assert bool(attacked.robust[certified].all())
    for result in attacked.log.results:
        assert int(result.per_sample.forwards[certified].sum()) == 0
        assert bool(result.per_sample.robust[certified].all())


@pytest.mark.parametrize("batch_size", [7, 60])
def test_batches_change_no_verdict(batch_size: int) -> None:
    whole, other = run(), run(batch_size=batch_size)
    assert whole.broken_by == other.broken_by


def test_a_stored_part_is_not_computed_again() -> None:
    cache = Memory()
    first = run(cache=cache)
    made = len(cache.computed)
    assert made == len(set(cache.computed)) > len(STAGES)
    cache.store.pop(cache.computed[-1])
    again = run(cache=cache)
    assert cache.computed[made:] == [cache.computed[made - 1]]
    assert first.broken_by == again.broken_by


def test_breaking_a_certified_sample_is_an_error() -> None:
    certified = torch.ones(60, dtype=torch.bool)
    with pytest.raises(CertificateError, match="pgd-5 broke certified samples"):
        run([Stage(PGD(steps=5), all_samples=True)], certified=certified)


def test_a_stage_on_all_samples_meets_what_is_broken_too() -> None:
    attacked = run([Stage(FGSM()), Stage(FGSM(), all_samples=True)])
    undecided, everyone = attacked.log.results
    assert int((everyone.per_sample.forwards > 0).sum()) == 60
    assert (undecided.measurement.protocol, everyone.measurement.protocol) == (
        "cascade",
        "standard",
    )
    assert torch.equal(undecided.per_sample.robust, everyone.per_sample.robust)


def test_a_stage_that_breaks_nothing_leaves_broken_samples_broken() -> None:
    attacked = run([Stage(PGD(steps=5), all_samples=True), Stage(Scripted(), all_samples=True)])
    first, second = attacked.log.results
    assert torch.equal(second.per_sample.robust, clean(attacked))
    assert torch.equal(attacked.robust, first.per_sample.robust)
    assert set(attacked.broken_by) == {"pgd-5", ""}
    assert torch.equal(attacked.undecided(), attacked.robust.nonzero()[:, 0])


def test_without_time_samples_stand_and_that_is_said() -> None:
    attacked = run(deadline=Deadline.after(0.0))
    assert attacked.log.results == []
    assert attacked.log.unfinished == {str(stage): 60 for stage in STAGES}
    assert torch.equal(attacked.robust, clean(attacked))


def test_time_that_runs_out_within_a_stage_ends_it_there() -> None:
    moments = iter(range(10_000))

    class Ticking(Deadline):
        @property
        def left(self) -> float:
            return 80.0 - next(moments)

    attacked = run(deadline=Ticking(at=1.0), stages=[Stage(BIM(steps=30, until_fooled=False))])
    (left,) = attacked.log.unfinished.values()
    assert 0 < left < 60
    (result,) = attacked.log.results
    untouched = result.per_sample.forwards == 0
    assert int(untouched.sum()) == left
    assert bool(result.per_sample.robust[untouched].all())


def test_ranking_tries_all_but_the_most_expensive_and_changes_no_verdict() -> None:
    ranked, plain = run(ranked_on=20), run()
    assert torch.equal(ranked.robust, plain.robust)
    first, last = ranked.log.results[0], ranked.log.results[-1]
    rows = clean(ranked).nonzero()[:20, 0]
    assert first.measurement.attack == "ranking"
    assert first.measurement.config["over"] in (["square-4", "fgsm"], ["fgsm", "square-4"])
    assert int((first.per_sample.forwards > 0).sum()) == 20
    for result in ranked.log.results[1:-1]:
        assert int(result.per_sample.forwards[rows].sum()) == 0
    stands = first.per_sample.robust[rows]
    assert 0 < int(stands.sum()) < 20
    assert last.measurement.attack == "pgd-5"
    assert bool((last.per_sample.forwards[rows[stands]] > 0).all())
    assert int(last.per_sample.forwards[rows[~stands]].sum()) == 0
    assert ranked.log.schedule[-1] == "pgd-5: goes last"
    broke = [int(place.split(": ")[1].split(" broken")[0]) for place in ranked.log.schedule[:-1]]
    assert sum(broke) == 20 - int(stands.sum())


def test_ranking_leaves_stages_out_only_if_it_is_selective() -> None:
    twice = [Stage(FGSM()), Stage(FGSM()), Stage(PGD(steps=5))]
    assert len(begin(30).rank(twice, 20)) == 2
    assert sorted(map(str, begin(30).rank(twice, 20, selective=False))) == ["fgsm", "fgsm", "pgd-5"]


def test_samples_that_stages_were_ranked_on_meet_attacks_that_are_added_later() -> None:
    runner = begin(30)
    runner.run_stages(runner.rank(STAGES, 30))
    undecided = runner.undecided()
    assert len(undecided)
    runner.run_stages([Stage(PGD(steps=7))])
    assert bool((runner.log.results[-1].per_sample.forwards[undecided] > 0).all())


def test_an_interrupted_ranking_goes_on() -> None:
    cache = Memory()
    first = run(cache=cache, ranked_on=20)
    count = len(cache.store)
    assert run(cache=cache, ranked_on=20).broken_by == first.broken_by
    assert len(cache.store) == count
