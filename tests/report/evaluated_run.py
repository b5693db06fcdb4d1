"""A made-up evaluation: both bounds, a cascade, a curve, corruptions, another model beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tempering.core.class_records import ClassesAtEps, PerClass, per_class_record
from tempering.core.comparisons import ComparedModel, Comparison
from tempering.core.corruption_records import CorruptionResult
from tempering.core.proofs import Proof
from tempering.core.records import (
    Assessment,
    Count,
    Measurement,
    PassCounts,
    Record,
    StageResult,
)
from tests.report import synthetic_run as made

N = made.N
CLEAN, CERTIFIED, ROBUST = 991, 610, 702
LAST = "apgd-t-50+local-search-300+hard-sample-retry"
STAGES = {"ranking": 970, "fgsm": 840, "cw-linf-10": 730, LAST: ROBUST}
NOT_BROKEN = {0.0: 99, 0.1: 91, 0.2: 82, 0.3: 70, 0.45: 31, 0.5: 0}
PROVEN = {0.1: 88, 0.2: 75, 0.3: 61, 0.45: 4, 0.5: 0}
SURVEY = ["interval: 20 of 32 certified, 0.3 ms a sample: used before attacks"]
CORRUPTIONS = ("noise", "blur", "contrast", "brightness", "rotation", "translation", "jpeg")


def proof(eps: float, hits: int, n: int = N, **more: Any) -> Proof:
    """What was proven at one size of the threat."""
    content: dict[str, Any] = {
        "subject": "given",
        "protocol": "cascade" if n == N else "curve",
        "threat": f"linf:{eps:g}",
        "eps": eps,
        "certified": Count(hits=hits, n=n),
        "seconds": 2.5,
        "seed": 7,
        "weights": "given-0a1b2c3d",
        "data_hash": "00ff00ff00ff00ff",
    }
    return Proof(**(content | more))


def stages(access: str = "white", **more: Any) -> list[Measurement]:
    """What stood after each stage."""
    return [
        made.measurement("given", access, name, hits, "cascade", **more)
        for name, hits in STAGES.items()
    ]


def curve() -> list[Measurement]:
    """What stood at each eps, on fewer images."""
    return [
        made.measurement(
            "given", "white", "fmn-100", hits, "curve", eps=eps, n=100,
            robust=Count(hits=hits, n=100), stable=Count(hits=hits, n=100),
        )
        for eps, hits in NOT_BROKEN.items()
    ]  # fmt: skip


def proofs() -> list[Proof]:
    """Before the attacks, and along the curve."""
    methods = {"interval": 400, "crown-ibp": 210}
    return [
        proof(
            0.3,
            CERTIFIED,
            by_method=methods,
            seconds_by_method={"interval": 0.5, "crown-ibp": 2},
            survey=SURVEY,
            abstained=ROBUST - CERTIFIED,
            abstained_ids=["test/3", "test/14"],
        ),
        *(proof(eps, hits, 100) for eps, hits in PROVEN.items()),
    ]


def comparison(quantity: str, both: int, alone: int, other: int) -> Comparison:
    """This model beside another one."""
    side = {"tried": "protocol fast, access white", "n": N}
    return Comparison(
        quantity=quantity,  # type: ignore[arg-type]
        first=ComparedModel(model="mine", run="run", weights="aa", **side),  # type: ignore[arg-type]
        second=ComparedModel(model="theirs", run="other", weights="bb", **side),  # type: ignore[arg-type]
        threat="linf:0.3",
        both=both,
        first_only=alone,
        second_only=other,
        neither=N - both - alone - other,
        data_hash="00ff00ff00ff00ff",
    )


def corruptions() -> list[CorruptionResult]:
    """Common corruptions."""
    return [
        CorruptionResult(
            subject="given",
            corruption=name,
            severity=severity,
            amount=0.05 * severity,
            unit="made-up unit",
            clean=Count(hits=CLEAN, n=N),
            correct=Count(hits=CLEAN - 30 * severity - 20 * at, n=N),
            seed=7,
            weights="given-0a1b2c3d",
            data_hash="00ff00ff00ff00ff",
        )
        for at, name in enumerate(CORRUPTIONS)
        for severity in range(1, 6)
    ]


def labels() -> list[int]:
    """The true class of each image."""
    return [number % 10 for number in range(N)]


def taken_for() -> list[int]:
    """What each image is taken for under attack."""
    return [
        label if number >= N - ROBUST else (label + 1 + number // 10 % 10) % 11
        for number, label in enumerate(labels())
    ]


def verdicts() -> dict[str, NDArray[Any]]:
    """What `verdicts.npz` holds."""
    number, y, predicted = np.arange(N), np.array(labels()), np.array(taken_for())
    clean, robust = number >= N - CLEAN, number >= N - ROBUST
    return {
        "index": number,
        "id": number.astype(str),
        "y": y,
        "clean_predicted": np.where(clean, y, predicted),
        "predicted": predicted,
        "clean": clean,
        "certified": number >= N - CERTIFIED,
        "robust": robust,
        "broken_by": np.where(robust, "", LAST),
        "distance": np.where(robust, np.inf, 0.1),
        "queries": number,
        "backwards": number,
    }


def classes() -> PerClass:
    """Ten classes and the adversarial one; broken images are taken for the next outputs."""
    y, predicted = labels(), taken_for()
    return per_class_record(
        y,
        [number >= N - CLEAN for number in range(N)],
        [number >= N - ROBUST for number in range(N)],
        predicted,
        [*made.CLASSES, "adversarial"],
        10,
        [number >= N - CERTIFIED for number in range(N)],
        [
            ClassesAtEps(
                eps=eps,
                n=[10] * 10,
                robust=[NOT_BROKEN[eps] // 10] * 10,
                certified=[PROVEN[eps] // 10] * 10 if eps in PROVEN else [],
            )
            for eps in NOT_BROKEN
        ],
        subject="given",
        threat="linf:0.3",
        seed=7,
        weights="given-0a1b2c3d",
        data_hash="00ff00ff00ff00ff",
    )


def records() -> list[Record]:
    """All records of a whole run of `temper evaluate`."""
    return [
        made.provenance(command="temper evaluate made-up.py:build --corruptions all"),
        made.measurement("given", "white", "clean", CLEAN),
        *stages(),
        made.measurement("given", "white", "worst", ROBUST),
        made.measurement("given", "any", "worst", ROBUST),
        *curve(),
        *proofs(),
        classes(),
        made.flag(),
        *corruptions(),
        comparison("clean", 980, 11, 5),
        comparison("robust", 640, 62, 18),
        comparison("certified", 500, 110, 40),
    ]


def assessment(**more: Any) -> Assessment:
    """What the made-up evaluation found."""
    worst = Count(hits=ROBUST, n=N)
    bounds = {"lower": CERTIFIED / N, "upper": ROBUST / N, "interval": worst.interval}
    base = made.summary(
        robust_accuracy=bounds, robust_with_detection=None, forced_flags=None, gain=None,
        stop_reason=None, attacks={},
    )  # fmt: skip
    content: dict[str, Any] = {
        **base.model_dump(),
        "protocol": "fast",
        "access": "white",
        "clean_correct": CLEAN,
        "robust_correct": ROBUST,
        "certified_correct": CERTIFIED,
        "interval": worst.interval,
        "passes": PassCounts(forward=123_456, backward=65_432),
        "by_attack": {
            name: StageResult(survivors=hits, passes=PassCounts(forward=9, backward=8), seconds=0.5)
            for name, hits in STAGES.items()
        },
        "schedule": [
            "fgsm: 29 broken, 4 passes a sample of the first 32",
            f"{LAST}: goes last",
        ],
    }
    return Assessment(**(content | more))
