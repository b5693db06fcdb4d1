"""How much work an attack may take: one rough number for all kinds of attack."""

from dataclasses import fields

import pytest

from tempering.attacks import (
    APGDT,
    ATTACKS,
    BIM,
    BPDA,
    CWL2,
    EOT,
    FGSM,
    PGD,
    Attack,
    Cascade,
    PatchAttack,
    Restarts,
    Square,
    Transfer,
    WorstOf,
)
from tempering.attacks.base import COUNTS
from tests.attacks.trained import trained


@pytest.mark.parametrize(
    ("attack", "effort"),
    [
        (FGSM(), 1),
        (PGD(steps=7), 7),
        (CWL2(searches=3, iterations=50), 150),
        (APGDT(steps=10, targets=4), 40),
        (PatchAttack(steps=5, places=3), 15),
        (Square(queries=300), 300),
        (Restarts(Square(queries=300), 2), 600),
        (EOT(PGD(steps=7), 5), 35),
        (BPDA(EOT(Restarts(BIM(steps=2), 3), 5)), 30),
        (WorstOf(FGSM(), PGD(steps=7)), 8),
        (Cascade(Restarts(PGD(steps=7), 2), Square(queries=300)), 314),
    ],
    ids=str,
)
def test_it_counts_steps_queries_and_how_often(attack: Attack, effort: int) -> None:
    assert attack.effort() == effort


def test_a_transferred_attack_is_as_much_work_as_the_attack() -> None:
    assert Transfer(PGD(steps=7), trained()).effort() == 7


def test_no_registered_attack_counts_under_a_name_that_is_not_looked_at() -> None:
    """An attack whose access costs many looks counts them; one look is left to FGSM's kind."""
    single = {"fgsm", "rfgsm", "transfer"}
    for name, kind in ATTACKS.items():
        counted = {field.name for field in fields(kind)} & set(COUNTS)
        assert bool(counted) is (name not in single), name
