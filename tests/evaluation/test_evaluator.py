"""The standard protocol as a whole."""

import pytest
import torch

from tempering.attacks import BIM, EOT, FGSM, PGD, CWLinf, Restarts, Square
from tempering.core.errors import UsageError
from tempering.core.threats import Linf
from tempering.evaluation import EvaluationResult
from tests.evaluation.toys import (
    THREAT,
    Net,
    cloud,
    context,
    dataset,
    each_attack,
    linear,
    squeezed,
    target,
)

ATTACKS = [Restarts(PGD(steps=5), 2), BIM(steps=5), FGSM(), CWLinf(steps=5)]


@pytest.fixture(scope="module")
def evaluation() -> EvaluationResult:
    x = torch.rand(40, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    model = Net(outputs=5)
    model.adversarial_class = 4  # type: ignore[assignment]
    with torch.no_grad():
        y = model(x).argmax(1) % 4
    data = dataset(x, y, classes=4)
    judged = target(model, data, "hardened")
    return each_attack(
        context(data), judged, Linf(0.04), ATTACKS, surrogate=Net(1, 5), before=Net(2, 5)
    )


def test_everything_is_measured_weakest_first(evaluation: EvaluationResult) -> None:
    rows = [(row.attack, row.access) for row in evaluation.measurements]
    names = ["fgsm", "bim-5", "cw-linf-5", "pgd-5x2"]
    others = ("gray-surrogate", "gray-before", "stale")
    assert rows == [
        ("clean", "white"),
        *((name, "white") for name in names),
        ("availability", "white"),
        *((name, access) for access in others for name in names),
        ("worst", "white"),
        ("worst", "any"),
    ]
    assert {row.protocol for row in evaluation.measurements} == {"standard"}
    assert {row.n for row in evaluation.measurements} == {40}
    assert {row.subject for row in evaluation.measurements} == {"hardened"}


def test_worst_cases_are_below_their_parts(evaluation: EvaluationResult) -> None:
    white, everything = (
        evaluation.get("worst").per_sample,
        evaluation.get("worst", "any").per_sample,
    )
    assert 0 < int(white.robust.sum()) < 40
    for result in [*evaluation.attacks("white"), evaluation.get("availability")]:
        assert not (white.robust & ~result.per_sample.robust).any()
        assert not (white.detected & ~result.per_sample.detected).any()  # type: ignore[operator]
    for result in evaluation.results:
        assert not (everything.robust & ~result.per_sample.robust).any()
    for result in (evaluation.get("worst"), evaluation.get("worst", "any")):
        counts = result.measurement
        assert counts.detected is not None
        assert counts.robust.hits <= counts.detected.hits <= evaluation.get("clean").measurement.n


def test_images_are_kept_for_white_box_attacks_only(evaluation: EvaluationResult) -> None:
    for result in evaluation.results:
        kept = result.per_sample.x_adv is not None
        assert kept == (
            result.measurement.access == "white" and result.measurement.attack != "clean"
        )


def test_a_missing_trial_is_named(evaluation: EvaluationResult) -> None:
    assert evaluation.find("square") is None
    with pytest.raises(UsageError, match=r"nothing was measured for square \(white\)"):
        evaluation.get("square")


def test_a_plain_model_has_no_true_gradient_run_and_no_flag() -> None:
    data = cloud()
    evaluation = each_attack(context(data), target(linear(), data), THREAT, [FGSM()])
    assert [row.attack for row in evaluation.measurements] == ["clean", "fgsm", "worst", "worst"]
    assert evaluation.attacks("white", "true") == []


def test_a_hidden_gradient_is_measured_both_ways() -> None:
    data = cloud()
    data = dataset(data.x.round() * 0.8 + 0.1, data.y)  # clearly dark or light: flat
    judged = target(squeezed(), data)
    evaluation = each_attack(context(data), judged, Linf(0.35), [BIM(steps=5)])
    (true,), (adaptive,) = evaluation.attacks("white", "true"), evaluation.attacks("white")
    clean = evaluation.get("clean").measurement.robust.hits
    assert clean > 20
    assert true.measurement.robust.hits == clean, "the true gradient is zero everywhere"
    assert adaptive.measurement.robust.hits < clean / 2
    assert evaluation.get("worst").measurement.robust == adaptive.measurement.robust


def test_no_attack_is_refused() -> None:
    data = cloud()
    with pytest.raises(UsageError, match="no attack to evaluate with"):
        each_attack(context(data), target(linear(), data), THREAT, [])


def test_attacks_that_count_queries_come_after_those_of_fewer_looks() -> None:
    data = cloud()
    attacks = [Square(queries=30), BIM(steps=5), EOT(BIM(steps=5), 8), FGSM()]
    evaluation = each_attack(context(data), target(linear(), data), THREAT, attacks)
    names = [result.measurement.attack for result in evaluation.attacks("white")]
    assert names == ["fgsm", "bim-5", "square-30", "bim-5+eot8"]


def test_the_true_gradient_is_tried_by_an_attack_that_follows_it() -> None:
    data = cloud()
    attacks = [FGSM(), Square(queries=30), Restarts(Square(queries=20), 2)]
    evaluation = each_attack(context(data), target(squeezed(), data), THREAT, attacks)
    assert [attacked.measurement.attack for attacked in evaluation.attacks("white", "true")] == [
        "fgsm"
    ]
