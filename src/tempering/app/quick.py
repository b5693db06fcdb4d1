"""A quick look: fewer samples and shorter trainings, and which settings these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tempering.app.recipe import Recipe

SAMPLES = 100
"""Test images of a quick look."""
PROTOCOL = "quick"
"""The protocol of a quick evaluation."""
SURROGATE_STEPS = 300
"""Steps of a surrogate that is trained in a quick evaluation."""

_AT_MOST: Mapping[str, float] = {
    "training.validation.samples": 100,
    "training.undefended.steps_per_round": 200,
    "training.undefended.stopping.max_iterations": 200,
    "training.undefended.optimisation.warmup_steps": 20,
    "training.undefended.optimisation.averaging": 0.97,
    "training.hardened.steps_per_round": 150,
    "training.hardened.stopping.max_iterations": 300,
    "training.hardened.optimisation.warmup_steps": 30,
    "training.hardened.optimisation.averaging": 0.98,
    "training.hardened.mixture.eps_warmup_steps": 100,
    "evaluation.samples": SAMPLES,
    "evaluation.surrogate_iterations": 100,
}
_SHARES: Mapping[str, tuple[str, int]] = {
    "training.undefended.optimisation.warmup_steps": (
        "training.undefended.stopping.max_iterations",
        10,
    ),
    "training.hardened.optimisation.warmup_steps": (
        "training.hardened.stopping.max_iterations",
        10,
    ),
    "training.hardened.mixture.eps_warmup_steps": ("training.hardened.stopping.max_iterations", 3),
}
"""Of a number of steps that a user gives, a warm-up takes at most one in so many."""
_WITHOUT = ("evaluation.curve", "evaluation.minimum_norm", "evaluation.paper")


def quick_overrides(recipe: Recipe, given: Sequence[str] = ()) -> list[str]:
    """The settings by which a quick look differs from a recipe, as `section.key=value`.

    Args:
        recipe: With what was asked for beside it; of that, `without_lengths` is enough.
        given: Overrides that a user gave; their keys stay as they are.

    Example:
        >>> from tempering.app.recipe import load_recipe
        >>> quick_overrides(load_recipe("default"))[0]
        'training.validation.samples=100'
    """
    asked = {text.partition("=")[0].strip() for text in given}
    steps = _lengths(given)
    limits = {key: limit for key, limit in _AT_MOST.items() if not _covered(key, asked)}
    for key, (length, share) in _SHARES.items():
        if key in limits and length in steps:
            limits[key] = min(limits[key], steps[length] // share)
    lower = [f"{key}={limit}" for key, limit in limits.items() if _exceeds(recipe, key, limit)]
    left_out = [
        f"{key}=none"
        for key in _WITHOUT
        if _value(recipe, key) is not None and not _covered(key, asked)
    ]
    return lower + left_out


def without_lengths(given: Sequence[str]) -> list[str]:
    """Overrides without the lengths of trainings, with which a recipe's warm-ups may not fit."""
    return [text for text in given if not _lengths([text])]


def _lengths(given: Sequence[str]) -> dict[str, int]:
    """The numbers of training steps that a user gave, by their keys."""
    keys = {length for length, _ in _SHARES.values()}
    pairs = [text.partition("=")[::2] for text in given]
    return {
        key.strip(): int(value)
        for key, value in pairs
        if key.strip() in keys and value.strip().isdecimal()
    }


def quick_evaluation(samples: int) -> list[str]:
    """The settings that a quick evaluation stands for."""
    return [f"protocol={PROTOCOL}", f"samples={samples}", "curve=none"]


def _covered(key: str, asked: set[str]) -> bool:
    """Whether a user gave this setting, its section, or a part of it."""
    return any(
        key == one or key.startswith(f"{one}.") or one.startswith(f"{key}.") for one in asked
    )


def _exceeds(recipe: Recipe, key: str, limit: float) -> bool:
    if key == "evaluation.surrogate_iterations":
        own = recipe.evaluation.surrogate_iterations
        return recipe.evaluation.surrogate and (own is None or own > limit)
    value = _value(recipe, key)
    return value is not None and value > limit


def _value(recipe: Recipe, key: str) -> float | None:
    value = recipe
    for name in key.split("."):
        value = getattr(value, name, None)  # type: ignore[assignment]
    return value  # type: ignore[return-value]
