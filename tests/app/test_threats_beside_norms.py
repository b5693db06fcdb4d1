"""Whole evaluations where few pixels change, or a patch: no climb that is examined knows these."""

from __future__ import annotations

import pytest

import tempering as tp
from tempering.core.errors import NoGradientError, UsageError
from tempering.core.threats import L0, Linf, Threat, parse_threat
from tempering.evaluation.protocols import around_masks
from tests.attacks.trained import known, trained
from tests.evaluation.defences import Cut, Rounded
from tests.evaluation.toys import dataset


@pytest.mark.parametrize("threat", [L0(10), parse_threat("patch:0.05")], ids=str)
def test_a_masked_model_is_attacked_through_what_hides_its_gradients(threat: Threat) -> None:
    data = dataset(*known(12), classes=10)
    plain, rounded = (tp.evaluate(net, data, threat) for net in (trained(), Rounded(trained())))
    assert plain.robust_correct < 8
    assert {flag.name for flag in plain.flags} == {"not examined", "too few samples"}
    assert {"masked gradients", "unavailable gradients"} < {flag.name for flag in rounded.flags}
    first, last = rounded.by_attack.values()
    assert list(rounded.by_attack)[1].endswith("+bpda")
    assert first.survivors == 12, "rounding leaves no gradient"
    assert last.survivors == rounded.robust_correct
    assert abs(rounded.robust_correct - plain.robust_correct) <= 2


@pytest.mark.parametrize("threat", [L0(10), parse_threat("patch:0.05")], ids=str)
def test_a_model_that_nothing_can_attack_there_is_not_called_robust(threat: Threat) -> None:
    data = dataset(*known(4), classes=10)
    with pytest.raises(
        NoGradientError, match=f"no attack could be made on the model under {threat}"
    ):
        tp.evaluate(Cut(trained()), data, threat)


@pytest.mark.parametrize("threat", [Linf(0.2), L0(10)], ids=str)
def test_against_the_clock_too_masks_are_looked_behind(threat: Threat) -> None:
    data = dataset(*known(12), classes=10)
    unhurried, hurried = (
        tp.evaluate(Rounded(trained()), data, threat, seconds=time) for time in (None, 100)
    )
    assert hurried.robust_correct == unhurried.robust_correct < 8
    assert {"masked gradients", "unavailable gradients"} < {flag.name for flag in hurried.flags}
    plain = tp.evaluate(trained(), data, threat, seconds=100)
    assert {flag.name for flag in plain.flags} <= {"too few samples", "not examined"}


@pytest.mark.parametrize("threat", ["linf:0.1", "l2:1", "l1:10", "l0:3", "patch:0.05"])
@pytest.mark.parametrize("random", [False, True])
def test_every_threat_has_an_attack_around_masks(threat: str, random: bool) -> None:
    allowed = parse_threat(threat)
    attacks = around_masks(allowed, random)
    assert attacks
    assert all(attack.knows(allowed) for attack in attacks)
    assert "bpda" in attacks[0].label()
    assert ("eot" in attacks[0].label()) == random


@pytest.mark.parametrize("threat", ["l0:3", "patch:0.05"])
@pytest.mark.parametrize(
    ("access", "missing"), [("gray", "gray"), ("black", "black"), ("all", "gray or black")]
)
def test_nothing_stands_whole_because_nothing_was_tried(
    threat: str, access: str, missing: str
) -> None:
    data = dataset(*known(4), classes=10)
    own = None if access == "black" else trained(1)
    with pytest.raises(UsageError, match=f"no {missing}-box attack knows"):
        tp.evaluate(trained(), data, parse_threat(threat), access=access, surrogate=own)
