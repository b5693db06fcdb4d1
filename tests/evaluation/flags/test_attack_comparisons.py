"""Weaker attackers who win: raised by a planted fault, silent without it."""

import pytest
import torch

from tempering.attacks import FGSM
from tempering.core.records import Flag
from tempering.evaluation import measure
from tempering.evaluation.complete_verification import Counterexamples
from tempering.evaluation.flags import attack_comparisons
from tempering.evaluation.flags.attack_comparisons import queries
from tests.evaluation.flags.made import GRAY, ONE, result
from tests.evaluation.toys import THREAT, Scripted, cloud, context, linear, target


def test_many_queries_are_not_one_step() -> None:
    """Square finds what PGD misses: that is no sign of a misleading loss surface."""
    strong = result("1110")
    for config in (
        {"name": "square", "queries": 300},
        {"name": "worst-of", "attacks": [{"name": "fgsm"}, {"name": "square", "queries": 300}]},
        {"name": "transfer", "attack": {"name": "pgd", "steps": 40}},
    ):
        many = result("1010", attack="other", config=config)
        assert queries(many.measurement) >= 40
        assert attack_comparisons.check_single_step([strong, many]) is None


def test_a_counterexample_of_branch_and_bound_is_not_one_step() -> None:
    proofs = Counterexamples((1,), torch.zeros(1, 1, 2, 2))
    found = result("1010", attack=proofs.label(), config=proofs.config())
    assert queries(found.measurement) == 1
    assert attack_comparisons.check_single_step([result("1110"), found]) is None


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
    strong = [result(robust) for robust in white]
    checks: list[tuple[Flag | None, str]] = [
        (
            attack_comparisons.check_gray_box(strong, [result(hits, **GRAY) for hits in other]),
            "gray-box beats white-box",
        ),
        (
            attack_comparisons.check_stale(
                strong, [result(hits, access="stale") for hits in other]
            ),
            "stale samples beat white-box",
        ),
        (
            attack_comparisons.check_single_step(strong + [result(hits, **ONE) for hits in other]),
            "single-step beats iterative",
        ),
        (
            attack_comparisons.check_true_gradient(
                strong, [result(hits, backward="true") for hits in other]
            ),
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
    flag = attack_comparisons.check_gray_box(
        [result("1111")],
        [result("0111", **GRAY), result("0011", attack="bim-40", access="gray-before")],
    )
    assert flag is not None
    assert flag.evidence == "2 of 4 samples (pgd-40 (gray-surrogate): 1, bim-40 (gray-before): 2)"


def test_a_planted_weak_white_box_attack_is_found_out() -> None:
    data = cloud()
    here, judged = context(data), target(linear(), data)
    white = measure(here, judged, Scripted(), THREAT)
    gray = measure(here, judged, FGSM(), THREAT, access="gray-surrogate", source=linear())
    flag = attack_comparisons.check_gray_box([white], [gray])
    assert flag is not None
    broken = white.per_sample.robust & ~gray.per_sample.robust
    assert flag.samples == broken.nonzero()[:, 0].tolist()
    assert len(flag.samples) > 5
    honest = measure(here, judged, FGSM(), THREAT)
    assert attack_comparisons.check_gray_box([honest], [gray]) is None
