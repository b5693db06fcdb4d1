"""Measurements and trials of a test's own making."""

from typing import Any

import torch

from tempering.core.records import Count, Measurement
from tempering.evaluation import AttackResult, PerSampleResult


def measurement(hits: int, n: int, **changes: Any) -> Measurement:
    parts: dict[str, Any] = {
        "subject": "hardened",
        "protocol": "standard",
        "access": "white",
        "attack": "pgd-40",
        "config": {"name": "pgd", "steps": 40},
        "threat": "linf:0.3",
        "eps": 0.3,
        "n": n,
        "robust": Count(hits=hits, n=n),
        "stable": Count(hits=hits, n=n),
        "seed": 0,
        "weights": "w",
        "data_hash": "d",
    }
    return Measurement(**{**parts, **changes})


def result(robust: str, **changes: Any) -> AttackResult:
    stands = torch.tensor([sign == "1" for sign in robust])
    n = len(robust)
    zero, none = torch.zeros(n), torch.zeros(n, dtype=torch.int64)
    per_sample = PerSampleResult(
        None, stands.long(), stands, None, None, stands, zero, zero.double(), none + 1, none
    )
    return AttackResult(measurement(int(stands.sum()), n, **changes), per_sample)


ONE = {"attack": "fgsm", "config": {"name": "fgsm"}}
GRAY = {"access": "gray-surrogate"}
