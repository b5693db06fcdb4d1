"""Hardening with defenses, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tempering as tp
from tempering.app.hardening_run import Hardened
from tests.app.running import TINY, Done, temper

RECIPE = str(TINY)
FEW = (
    "seed=0",
    "evaluation.curve=none",
    "evaluation.minimum_norm=none",
    "evaluation.surrogate=false",
    "evaluation.samples=4",
    'evaluation.attacks=["fgsm"]',
)
OWN = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 10))

def curved():
    return nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def eleven():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 11))
"""


def short(defense: Any, *overrides: str, name: str = "run", **options: Any) -> Hardened:
    return tp.harden(
        threat="linf:0.1",
        recipe=RECIPE,
        overrides=[*FEW, *overrides],
        defense=defense,
        name=name,
        **options,
    )


def command(*words: str, folder: Path) -> Done:
    few = [word for one in FEW for word in ("--set", one)]
    return temper("harden", "--recipe", TINY, *few, *words, folder=folder)
