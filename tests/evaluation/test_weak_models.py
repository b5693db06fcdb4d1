"""Ordinary models without robustness: no false alarm, and no image left out against the clock."""

from __future__ import annotations

from dataclasses import replace

from tempering.core.deadline import _DEADLINES, Deadline
from tempering.core.threats import Linf
from tempering.evaluation.clean_predictions import predict_in_time
from tempering.evaluation.config import EvaluationConfig
from tempering.evaluation.evaluation_result import EvaluationResult
from tempering.evaluation.evaluator import Evaluator
from tempering.evaluation.measuring import clean_result
from tempering.evaluation.protocols import fast
from tempering.evaluation.result_cache import NoCache
from tempering.evaluation.run import EvaluationRun
from tempering.evaluation.stage_runner import StageRunner
from tests.attacks.trained import known, trained
from tests.evaluation.toys import context, dataset, target

THREAT = Linf(0.3)


def evaluated(n: int, **changes: object) -> EvaluationResult:
    x, y = known(n)
    data = dataset(x, y, 10)
    config = EvaluationConfig(THREAT, fast(THREAT), curve=None, certify=False, examined=0)
    config = replace(config, **changes)  # type: ignore[arg-type]
    return Evaluator(context(data, 64), config).evaluate(target(trained(), data))


def test_images_that_no_iterative_attack_met_are_no_sign_of_masking() -> None:
    result = evaluated(50)
    assert int(result.robust.sum()) == 0
    assert "fgsm" in result.stages
    assert "single-step beats iterative" not in {flag.name for flag in result.flags}


def test_against_the_clock_the_cheapest_attack_meets_all_images_first() -> None:
    result = evaluated(40, seconds=60.0)
    first, *_ = result.stages
    assert first == "fgsm"
    (alone,) = [one for one in result.results if one.measurement.attack == "fgsm"]
    assert bool((alone.per_sample.forwards > 0).all())
    assert int(result.robust.sum()) == 0


def test_the_order_of_attacks_costs_a_share_of_the_time_that_is_left() -> None:
    seen: list[float] = []

    class Watched(StageRunner):
        def _attack(self, stage, rows):  # type: ignore[no-untyped-def]
            work = super()._attack(stage, rows)

            def run():  # type: ignore[no-untyped-def]
                seen.extend(deadline.left for deadline in _DEADLINES.get())
                return work()

            return run

    x, y = known(8)
    data = dataset(x, y, 10)
    where, model = context(data, 64), target(trained(), data)
    config = EvaluationConfig(THREAT, fast(THREAT), seconds=100.0)
    deadline = Deadline.after(100.0)
    predictions = predict_in_time(where, model, 100.0, deadline)
    clean = clean_result(where, model, THREAT, clean=predictions)
    run = EvaluationRun(where, model, config, NoCache(), deadline, predictions, clean)
    stages = config.protocol.on_undecided()["white"]
    Watched(run).rank(stages, 4)
    assert seen
    assert max(seen) <= 25.0
