"""What a recipe may say about training, and what is refused."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from tempering.core.errors import UnknownNameError, UsageError
from tempering.training.optimizers import AdamW
from tempering.training.settings import Optimisation, Stopping, TrainConfig
from tests.training.toys import mixture, plan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean": 0.5, "noisy": 0.4}, r"clean \+ noisy \+ adversarial = 1.2333: let them sum"),
        ({"clean": 0.0, "noisy": 0.0}, "= 0.3333"),
        ({"attacks": []}, r"attacks = \[\]: name at least one"),
        ({"clean": -0.1}, "greater than or equal to 0"),
        ({"sigma": -1}, "greater than or equal to 0"),
        ({"sigma": float("inf")}, "finite number"),
        ({"alpha": 1.5}, "less than or equal to 1"),
        ({"label_smoothing": 1.0}, "less than 1"),
        ({"lam_max": float("nan")}, "finite number"),
        ({"lamda": 0.1}, "Extra inputs"),
    ],
)
def test_impossible_mixtures_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        mixture(**changes)


def test_attacks_are_known_and_make_sense() -> None:
    with pytest.raises(UnknownNameError, match="unknown attack 'pdg': did you mean pgd"):
        mixture(attacks=["pdg"])
    with pytest.raises(UsageError, match="steps"):
        mixture(attacks=["pgd:steps=0"])


def test_a_mixture_without_attacks_needs_no_adversarial_part() -> None:
    assert mixture(clean=1.0, noisy=0.0, adversarial=0.0, attacks=[]).attacks == ()


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (Optimisation, "batch_size", 0),
        (Optimisation, "learning_rate", 0.0),
        (Optimisation, "schedule", "cosines"),
        (Optimisation, "optimizer", "lion"),
        (Optimisation, "momentum", 1.0),
        (Optimisation, "averaging", 1.0),
        (Stopping, "max_iterations", 0),
        (Stopping, "plateau_rounds", 0),
        (Stopping, "budget_seconds", 0.0),
        (TrainConfig, "steps_per_round", 0),
        (TrainConfig, "clean_floor", 1.1),
    ],
)
def test_impossible_numbers_are_refused(kind: Any, key: str, value: Any) -> None:
    whole = plan()
    good = {Optimisation: whole.optimisation, Stopping: whole.stopping, TrainConfig: whole}[kind]
    tree = good.model_dump()
    assert kind.model_validate(tree) == good
    with pytest.raises(ValidationError, match=re.escape(key)):
        kind.model_validate(tree | {key: value})


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        plan().clean_floor = 0.5


@pytest.mark.parametrize("field", ["learning_rate", "weight_decay"])
def test_numbers_that_no_weight_can_hold_are_refused(field: str) -> None:
    with pytest.raises(UsageError, match=f"adamw: {field} = 1e[+]16: give a .* 1e[+]15"):
        AdamW(**{field: 1e16})
    with pytest.raises(ValidationError, match=field):
        plan(**{field: 1e16})
