"""What must hold before a run begins, so that a wrong call leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from tempering.app.default_data import require_default_data
from tempering.app.networks import Networks
from tempering.app.recipe import Recipe, load_recipe, nested, parse_recipe, recipes
from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.specs import FROM_PYTHON
from tempering.core.threat_checks import check_rescaling
from tempering.core.threats import Threat
from tempering.data.keep import read_keep_mask
from tempering.data.loading import load
from tempering.data.splits import Splits
from tempering.evaluation.target import Target
from tempering.models.foreign import make_foreign
from tempering.models.zoo.entries import entry_of
from tempering.paper.reported import is_papers_data
from tempering.training.objective import Objective
from tempering.training.step_values import require_accumulation

SAMPLES, ADDRESS, SCAN = "evaluation.samples", "data.address", "data.scan"
SURROGATE = "evaluation.surrogate"


def as_recipe(recipe: object) -> str | Recipe:
    """A recipe, its name, or the path of its file.

    Raises:
        UsageError: If it is none of these.
    """
    if isinstance(recipe, Path):
        return str(recipe)
    if not isinstance(recipe, str | Recipe):
        raise UsageError(f"recipe = {recipe!r}: give a recipe, its name, or the path of its file")
    return recipe


def choose_recipe(
    recipe: str | Recipe,
    overrides: Sequence[str],
    threat: Threat | None,
    data: Splits | None,
    attacks: Sequence[Attack] | None = None,
) -> Recipe:
    """The recipe of a run, with what was given beside it written into it.

    Args:
        recipe: A recipe, its name, or the path of its file.
        overrides: `section.key=value`.
        threat: Instead of the recipe's.
        data: Instead of the recipe's.
        attacks: Instead of those of the recipe's evaluation.

    Raises:
        RecipeError: If the recipe or an override makes no sense.
    """
    values: dict[str, Any] = {}
    if threat is not None:
        values["threat"] = threat
    if data is not None:
        values["data"] = {"address": data.address, "split": data.split}
    if attacks is not None:
        values["evaluation"] = {"attacks": tuple(attacks)}
    if isinstance(recipe, str):
        return load_recipe(recipe, overrides, values)
    return parse_recipe(nested(recipe), overrides, values)


def require_single(overrides: Sequence[str], given: Sequence[str]) -> None:
    """Refuse overrides of settings that are also given in another way.

    Args:
        overrides: `section.key=value`.
        given: Keys that were given otherwise.

    Raises:
        UsageError: If an override has one of these keys.
    """
    for text in overrides:
        if (key := text.partition("=")[0].strip()) in given:
            raise UsageError(f"override {text} where {key} is given as well: give one of the two")


def without_surrogate(overrides: Sequence[str]) -> list[str]:
    """Overrides that also leave the surrogate out.

    Raises:
        UsageError: If one of them asks for a surrogate, or for something of it.
    """
    for text in overrides:
        if text.partition("=")[0].strip() in (SURROGATE, f"{SURROGATE}_iterations"):
            raise UsageError(f"{text} beside no surrogate: give one of the two")
    return [*overrides, f"{SURROGATE}=false"]


def fit_samples(recipe: Recipe, data: Splits, overrides: Sequence[str]) -> Recipe:
    """The recipe with as many test samples as there are, unless a number was asked for.

    Raises:
        UsageError: If more were asked for than there are.
    """
    n, wanted = len(data.test), recipe.evaluation.samples
    if wanted > n:
        if any(text.partition("=")[0].strip() == SAMPLES for text in overrides):
            raise _too_many(wanted, data)
        fewer = recipe.evaluation.model_copy(update={"samples": n})
        recipe = recipe.model_copy(update={"evaluation": fewer})
    paper = recipe.evaluation.paper
    if paper is not None and paper.samples > n and is_papers_data(data.address):
        raise _too_many(paper.samples, data)
    return recipe


def require_batches(data: Splits, overrides: Sequence[str]) -> None:
    """Refuse a mini-batch that was asked for and is larger than the training data.

    Raises:
        UsageError: Naming the setting.
    """
    for text in overrides:
        key, _, value = text.partition("=")
        asked = key.strip().endswith(".optimisation.batch_size") and value.strip().isdecimal()
        if asked and int(value) > len(data.train):
            raise UsageError(
                f"{key.strip()} {value.strip()} for {len(data.train)} training samples: "
                f"give at most {len(data.train)}"
            )


def require_accumulations(recipe: Recipe, data: Splits) -> None:
    """Refuse trainings whose steps would take more images than there are.

    Raises:
        UsageError: Naming the numbers of one of them.
    """
    for config in (recipe.training.undefended, recipe.training.hardened):
        values = config.optimisation
        require_accumulation(values.batch_size, values.accumulation, len(data.train))


def require_classifiers(networks: Networks, data: Splits, seed: int) -> None:
    """Build every kind of network that a run needs, and let each answer a few images.

    Raises:
        ModelError: If one cannot be built, or is no classifier of the data.
        UsageError: If one cannot draw its weights again.
    """
    for build in (networks.undefended, networks.start):
        Target.of("given", build(seed), data.validation)


def names_data(recipe: str | Recipe, overrides: Sequence[str]) -> bool:
    """Whether a call says which data to take; a recipe that comes along does not."""
    named = any(text.partition("=")[0].strip() == ADDRESS for text in overrides)
    return named or not isinstance(recipe, str) or recipe not in recipes()


def require_fit(recipe: Recipe, module: nn.Module | None, data: Splits) -> None:
    """Refuse the default data for a network of the user's that takes other images.

    Raises:
        ModelError: Naming the shape that it takes.
    """
    spec = recipe.model.name
    if module is not None:
        require_default_data(module, f"the model, a {type(module).__name__},", data)
    elif ":" in spec and entry_of(spec) is None:
        require_default_data(make_foreign(spec), spec, data)


def require_objectives(
    recipe: Recipe, hardening: Objective | None, networks: Networks, data: Splits
) -> None:
    """Refuse objectives that cannot work with networks and data, before anything is trained.

    Args:
        recipe: Threat, objectives and lengths of the trainings.
        hardening: What hardening minimizes, if it came from Python as a value.
        networks: Builds them.
        data: What is trained on.

    Raises:
        UsageError: If a threat or a length does not fit the value.
        ModelError: Naming a layer that an objective cannot work with.
    """
    training = recipe.training
    if hardening is None and training.hardened.objective.startswith(FROM_PYTHON):
        raise UsageError(
            f"objective {training.hardened.objective} came from Python: "
            "give harden(objective=...) the value"
        )
    if hardening is not None:
        for steps in recipe.hardening_steps:
            hardening.require(recipe.threat, steps)
    value = hardening or training.hardened.objective_value()
    threat, steps = recipe.threat, training.hardened.stopping.max_iterations
    if (ramp := value.ramp(0, steps)) != 1:
        check_rescaling(threat, [threat.eps * ramp])
    value.require_model(networks.fresh(recipe.seed))
    value.require_data(data.train)
    if not networks.trained:
        training.undefended.objective_value().require_model(networks.undefended(recipe.seed))


def _too_many(samples: int, data: Splits) -> UsageError:
    return UsageError(
        f"{samples} test samples asked of {data.test.name}, which has {len(data.test)}: "
        f"give at most {len(data.test)}"
    )


def load_splits(recipe: Recipe, data: Splits | None) -> Splits:
    """The data of a run, without the training samples that the recipe's keep mask drops.

    Args:
        recipe: Says where the data lies, how it is split, and which mask there is.
        data: The data before the mask, if it was given; None loads it.

    Raises:
        DataError: If the data or the mask cannot be read, or they do not fit together.
    """
    splits = data or load(recipe.data.address, recipe.data.split, recipe.seed)
    if recipe.data.keep is None:
        return splits
    return read_keep_mask(Path(recipe.data.keep)).apply(splits)
