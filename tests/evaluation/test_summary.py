"""The summary: arithmetic on records, without torch."""

import subprocess
import sys
from typing import Any

import pytest

from tempering.core.errors import RunError
from tempering.core.intervals import wilson
from tempering.core.records import AnyRecord, Count, Flag, Measurement, Provenance, Stop
from tempering.evaluation.summary import Roles, summarize

HARDENED = Roles("hardened", before="undefended", another_seed="another-seed")
FLAG = Flag(name="too few samples", meaning="m", remedy="r", evidence="e", samples=[1])


def _measured(attack: str, hits: int, **changes: Any) -> Measurement:
    parts: dict[str, Any] = {
        "subject": "hardened",
        "protocol": "standard",
        "access": "white",
        "attack": attack,
        "threat": "linf:0.3",
        "eps": 0.3,
        "n": 200,
        "robust": Count(hits=hits, n=200),
        "stable": Count(hits=hits + 1, n=200),
        "drop": 0.25,
        "seed": 0,
        "weights": "w",
        "data_hash": "d",
    }
    return Measurement(**{**parts, **changes})


def _provenance() -> Provenance:
    return Provenance(
        created="2025-01-01", command="temper harden", tempering="0", python="3", packages={},
        platform="p", processor="c", device="cpu", threads=1, processes=1, precision="32-true",
        seed=7, recipe={}, data="mnist", data_hash="d", split="official", train_n=1,
        validation_n=1, test_n=200, classes=["0", "1"], model="strided_cnn", parameters=5,
        adaptive_stages=[],
    )  # fmt: skip


def _records() -> list[AnyRecord]:
    old = {"subject": "undefended"}
    detected = {"detected": Count(hits=180, n=200), "flagged": Count(hits=9, n=200)}
    return [
        _provenance(),
        _measured("clean", 194, split="validation"),
        _measured("clean", 198, **old),
        _measured("fgsm", 20, **old),
        _measured("pgd-40", 0, **old),
        _measured("worst", 2, **old),
        _measured("clean", 196, threat="linf:0", eps=0.0),
        _measured("fgsm", 178),
        _measured("pgd-40", 170),
        _measured("pgd-40", 190, backward="true"),
        _measured("availability", 150, flagged=Count(hits=30, n=200)),
        _measured("fgsm", 185, access="gray-surrogate"),
        _measured("fgsm", 188, access="gray-before"),
        _measured("pgd-40", 187, access="gray-before"),
        _measured("pgd-40", 189, access="stale"),
        _measured("worst", 168),
        _measured("worst", 166, access="any", **detected),
        _measured("pgd-40", 80, protocol="paper"),
        _measured("worst", 90, protocol="curve"),
        Stop(rule="Plateau", reason="early", best_round=1, rounds=2, steps=3),
        Stop(rule="Plateau", reason="no gain", best_round=1, rounds=2, steps=3),
        FLAG,
        FLAG,
    ]


def test_the_numbers_of_a_run() -> None:
    summary = summarize(_records(), HARDENED, seconds=12.5)
    assert (summary.data, summary.threat, summary.n) == ("mnist", "linf:0.3", 200)
    assert summary.clean_accuracy == 0.98
    assert summary.clean_interval == wilson(196, 200)
    assert summary.robust_accuracy.lower == 0
    assert summary.robust_accuracy.upper == 0.83, "the worst over everything, not over white-box"
    assert summary.robust_accuracy.interval == wilson(166, 200)
    assert summary.robust_with_detection == 0.9
    assert summary.forced_flags == 0.15
    assert summary.gain == pytest.approx((168 - 2) / 200)
    assert summary.stability == {"unchanged_by_all": 167 / 200, "mean_largest_drop": 0.25}
    assert summary.stop_reason == "no gain"
    assert summary.flags == [FLAG]
    assert (summary.model, summary.seed, summary.seconds) == ("strided_cnn", 7, 12.5)
    assert list(summary.attacks) == ["fgsm", "pgd-40"]
    fgsm, pgd = summary.attacks["fgsm"], summary.attacks["pgd-40"]
    assert (fgsm.before, fgsm.after, fgsm.stale, fgsm.graybox) == (0.1, 0.89, None, 0.925)
    assert (pgd.before, pgd.after, pgd.stale, pgd.graybox) == (0.0, 0.85, 0.945, 0.935)


def test_certificates_bound_from_below() -> None:
    summary = summarize(_records(), HARDENED, seconds=1, certified=Count(hits=50, n=200))
    assert summary.robust_accuracy.lower == 0.25
    with pytest.raises(RunError, match=r"0\.8350 certified but 0\.8300 under attack"):
        summarize(_records(), HARDENED, seconds=1, certified=Count(hits=167, n=200))


def test_a_given_model_has_no_before() -> None:
    records: list[AnyRecord] = [
        _provenance(),
        _measured("clean", 190, subject="given"),
        _measured("fgsm", 100, subject="given"),
        _measured("worst", 99, subject="given"),
    ]
    summary = summarize(records, Roles("given"), seconds=1)
    assert summary.robust_accuracy.upper == 0.495
    assert (summary.gain, summary.stop_reason, summary.forced_flags) == (None, None, None)
    assert summary.robust_with_detection is None
    assert summary.attacks["fgsm"].before is None


def test_an_undefended_model_alone_is_not_its_own_before() -> None:
    old: list[AnyRecord] = [
        record
        for record in _records()
        if not isinstance(record, Measurement) or record.subject == "undefended"
    ]
    summary = summarize(old, Roles("undefended"), seconds=1)
    assert summary.gain is None
    assert (summary.attacks["fgsm"].before, summary.attacks["fgsm"].after) == (None, 0.1)


def test_validation_counts_where_there_is_no_test() -> None:
    records: list[AnyRecord] = [
        _provenance(),
        _measured("clean", 190, split="validation"),
        _measured("worst", 120, split="validation"),
    ]
    assert summarize(records, HARDENED, seconds=1).robust_accuracy.upper == 0.6


@pytest.mark.parametrize(
    ("without", "says"),
    [
        (Provenance, "the records say not what the run was made of"),
        (Measurement, "no measurement 'clean' of the hardened model"),
    ],
)
def test_a_half_run_has_no_summary(without: type, says: str) -> None:
    records = [record for record in _records() if not isinstance(record, without)]
    with pytest.raises(RunError, match=says):
        summarize(records, HARDENED, seconds=1)


def test_a_summary_needs_no_torch() -> None:
    code = (
        "import sys; from tempering.evaluation import summarize; sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_room_exports_what_it_says() -> None:
    import tempering.evaluation as room

    for name in room.__all__:
        assert callable(getattr(room, name)) or name in ("flags", "CORRUPTIONS"), name
