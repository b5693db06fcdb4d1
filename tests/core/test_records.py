"""Records: they come back as they were, and nothing impossible gets in or out."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tempering.core.class_records import per_class_record
from tempering.core.comparisons import ComparedModel, Comparison
from tempering.core.corruption_records import CorruptionResult
from tempering.core.errors import RunError
from tempering.core.proofs import Proof
from tempering.core.records import (
    Abstaining,
    AnyRecord,
    AttackSummary,
    Bounds,
    Calibration,
    Cost,
    Count,
    Epoch,
    Finding,
    Flag,
    Measurement,
    MinimumNorm,
    PoisonCertificates,
    Provenance,
    Record,
    Round,
    Stop,
    Summary,
    Surrogate,
    dump_records,
    load_records,
)

COUNT = Count(hits=9, n=10)

RECORDS: list[AnyRecord] = [
    Provenance(
        created="2026-01-02T03:04:05+00:00",
        command="temper harden",
        tempering="0.1.0",
        python="3.11.7",
        packages={"torch": "2.13.0"},
        platform="Linux",
        processor="x86-64",
        device="cpu",
        threads=2,
        processes=1,
        precision="32-true",
        seed=0,
        recipe={"plan": {"steps": 3, "attacks": ["pgd:steps=4"], "rho": None}},
        data="mnist",
        data_hash="0123456789abcdef",
        split="official",
        train_n=9,
        validation_n=1,
        test_n=2,
        classes=["nul", "één", "\u2028line\u0085end"],
        model="strided_cnn",
        parameters=166_000,
        adaptive_stages=["squeeze"],
    ),
    Epoch(
        model="hardened",
        epoch=1,
        step=20,
        train_loss=0.1 + 0.2,
        train_accuracy=COUNT,
        validation_loss=1e-7,
        validation_accuracy=COUNT,
        learning_rate=1e-3,
        seconds=2.5,
    ),
    Round(
        round=0,
        step=20,
        clean=COUNT,
        worst=Count(hits=3, n=10),
        by_attack={"pgd-40": Count(hits=3, n=10)},
        gain=-0.1,
        outcome="best",
        reason="first",
        seconds=1.0,
    ),
    Stop(rule="Plateau", reason="Plateau(2, 0)", best_round=0, rounds=1, steps=20),
    Measurement(
        subject="hardened",
        protocol="standard",
        access="any",
        attack="pgd-40x2",
        config={"name": "pgd", "steps": 40, "step_size": None, "restarts": 2},
        threat="linf:0.3",
        eps=0.3,
        n=10,
        robust=COUNT,
        stable=COUNT,
        drop=0.25,
        cost=Cost(forward=400, backward=400, seconds=0.5),
        seed=0,
        weights="0123456789abcdef",
        data_hash="0123456789abcdef",
    ),
    MinimumNorm(
        subject="undefended",
        attack="cw-l2",
        config={},
        norm="l2",
        n=10,
        found=Count(hits=4, n=10),
        median=None,
        within={"1.5": COUNT},
        seed=0,
        weights="w",
        data_hash="d",
    ),
    Flag(name="weaker wins", meaning="m", remedy="r", evidence="3 samples", samples=[4, 7]),
    Finding(
        table="II",
        row="FGSM",
        column="after",
        paper=98.6,
        ours=None,
        interval=(0.1, 0.2),
        eps=8 / 255,
        verdict="holds",
    ),
    Comparison(
        quantity="robust",
        first=ComparedModel(model="m", run=None, weights="w", tried="protocol fast", n=10),
        second=ComparedModel(model="o", run="other", weights="v", tried="protocol fast", n=20),
        threat="linf:0.3",
        both=5,
        first_only=2,
        second_only=1,
        neither=2,
        data_hash="d",
    ),
    CorruptionResult(
        subject="given",
        corruption="noise",
        severity=1,
        amount=0.05,
        unit="u",
        clean=COUNT,
        correct=COUNT,
        seed=0,
        weights="w",
        data_hash="d",
    ),
    Proof(
        subject="given",
        protocol="cascade",
        threat="linf:0.3",
        eps=0.3,
        certified=COUNT,
        by_method={"interval": 9},
        seed=0,
        weights="w",
        data_hash="d",
    ),
    Calibration(
        subject="hardened",
        calibrated_on=100,
        accuracy=Count(hits=95, n=100),
        temperature=1.2,
        calibration_error=0.03,
        calibration_error_scaled=0.01,
        alpha=0.05,
        coverage=Count(hits=96, n=100),
        coverage_interval=(0.9, 0.98),
        mean_set_size=1.1,
        empty=0,
        accepted=Count(hits=90, n=100),
        accuracy_accepted=Count(hits=89, n=90),
        seed=0,
        weights="w",
        data_hash="d",
    ),
    Surrogate(
        network="strided_cnn",
        samples=55000,
        steps=860,
        seed=7,
        validation=Count(hits=98, n=100),
        weights="w",
    ),
    Abstaining(
        subject="given", detector="energy", threshold=-1.5, weights="w", data_hash="d"
    ),
    PoisonCertificates(parts=3, n=10, within=[COUNT, COUNT], weights="w", data_hash="d"),
    per_class_record(
        [0, 1], [True, True], [True, False], [0, 0], ["a", "b"], 2,
        subject="given", threat="linf:0.3", seed=0, weights="w", data_hash="d",
    ),
]  # fmt: skip


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(dump_records(RECORDS), encoding="utf-8")
    assert list(load_records(path)) == RECORDS
    assert {type(record) for record in RECORDS} == set(AnyRecord.__args__[0].__args__)
    lines = path.read_bytes().split(b"\n")
    assert [json.loads(line)["kind"] for line in lines[:-1]] == [record.kind for record in RECORDS]


def test_a_summary_comes_back_as_it_was() -> None:
    summary = Summary(
        data="mnist",
        threat="linf:0.3",
        n=1000,
        clean_accuracy=0.99,
        clean_interval=(0.98, 0.995),
        robust_accuracy=Bounds(lower=0.0, upper=0.9, interval=(0.88, 0.92)),
        attacks={"pgd-40": AttackSummary(before=0.0, after=0.9)},
        flags=[Flag(name="a", meaning="b", remedy="c", evidence="d")],
        model="strided_cnn",
        seed=0,
        seconds=400.0,
    )
    assert Summary.model_validate_json(summary.model_dump_json()) == summary


@pytest.mark.parametrize(("hits", "n"), [(11, 10), (-1, 10), (0, -1), (0.5, 1)])
def test_impossible_counts_are_refused(hits: float, n: int) -> None:
    with pytest.raises(ValidationError, match=r"hits|n\n"):
        Count(hits=hits, n=n)  # type: ignore[arg-type]


def test_a_count_speaks_in_percent_with_its_interval() -> None:
    assert str(Count(hits=90, n=100)) == "90.0 % [82.6, 94.5]"
    assert (Count(hits=0, n=0).fraction, Count(hits=0, n=0).interval) == (0.0, (0.0, 1.0))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_would_not_read_back_is_refused(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Bounds(lower=value, upper=1.0, interval=(0.0, 1.0))


def test_nothing_unknown_goes_in_and_nothing_changes() -> None:
    with pytest.raises(ValidationError, match="accuracy"):
        Count(hits=1, n=2, accuracy="50 %")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="frozen"):
        COUNT.hits = 10  # type: ignore[misc]


def test_all_records_are_frozen_and_closed() -> None:
    def below(kind: type[Record]) -> list[type[Record]]:
        return [kind, *(deep for child in kind.__subclasses__() for deep in below(child))]

    kinds = below(Record)
    assert len(kinds) > 10
    for kind in kinds:
        assert kind.model_config["frozen"], kind
        assert kind.model_config["extra"] == "forbid", kind


def _spoil(change: dict[str, Any]) -> bytes:
    return json.dumps({**json.loads(RECORDS[6].model_dump_json()), **change}).encode()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"kind": "flag", "name"', "Expecting|delimiter"),
        (b"\xff\xfe\x00", "Expecting value|decode"),
        (b"", "Expecting value"),
        (b"[]", "Input should be a valid dictionary"),
        (_spoil({"kind": "opinion"}), "kind|opinion"),
        (_spoil({"samples": [1.5]}), r"flag\.samples\.0\.str: Input should be a valid string"),
        (_spoil({"severity": 3}), r"flag\.severity: Extra inputs"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    good = dump_records(RECORDS[6:7]).encode()
    path = tmp_path / "records.jsonl"
    path.write_bytes(good + good + line + b"\n" + good)
    with pytest.raises(
        RunError, match=rf"records\.jsonl line 3 is not a record: .*({message})"
    ) as e:
        load_records(path)
    assert "\n" not in str(e.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot read .*records\.jsonl: No such file"):
        load_records(tmp_path / "records.jsonl")


def test_the_gain_of_rounds_and_summaries_has_the_key_rho_in_json() -> None:
    for kind in (Round, Summary):
        key = kind.model_fields["gain"].alias
        assert key == "rho"
    count = Count(hits=1, n=2)
    row = Round(
        round=0, step=1, clean=count, worst=count, by_attack={}, gain=0.5, outcome="best",
        reason="r", seconds=1.0,
    )  # fmt: skip
    document = json.loads(dump_records([row]))
    assert document["rho"] == 0.5
    assert "gain" not in document
    assert Round.model_validate(document) == row
