"""Recipes: the small files in which all numbers of a run live."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
)

from tempering.app.defense_settings import DefenseSettings
from tempering.app.recipe_attacks import require_attacks
from tempering.attacks.field import AttackField
from tempering.attacks.registry import write_attack
from tempering.core.errors import RecipeError, UnknownNameError
from tempering.core.specs import FROM_PYTHON
from tempering.core.threat_text import write_threat
from tempering.core.threats import NORMS, Threat, parse_threat
from tempering.data.augmentation import Augmentation
from tempering.paper.settings import PaperSettings
from tempering.training.objectives.paper import Paper
from tempering.training.settings import Settings, TrainConfig

FOLDER = Path(__file__).parent / "recipes"

NONE = "none"
"""What takes a setting away that its base, or the recipe, has."""


Radius = Annotated[float, Field(ge=0)]


def _read_threat(given: object) -> Threat:
    if isinstance(given, Threat):
        return given
    if isinstance(given, str):
        return parse_threat(given)
    raise ValueError("give a threat, such as 'linf:0.3'")


ThreatField = Annotated[Threat, PlainValidator(_read_threat), PlainSerializer(write_threat)]
"""A field of settings: read from text once, when it is validated, and a value from there on."""


class DataSettings(Settings):
    """Where the data comes from, and what happens to training images.

    Attributes:
        address: A source and what it needs, such as `mnist` or `npz:faces.npz`.
        split: `official` or `paper`.
        augmentation: What may happen to a training image.
        keep: An `.npz` with `keep` and `id`: which training samples are used; None for all.
        scan: Which scan of these drops suspects before training.
    """

    address: str
    split: str
    keep: str | None = None
    scan: Literal["fast", "thorough", "off"] = "off"
    augmentation: Augmentation = Augmentation()


class ModelSettings(Settings):
    """The network.

    Attributes:
        name: A name in the registry, `zoo:NAME`, `file.py:factory`, `timm:NAME` or `hf:NAME`.
        options: Everything that its builder takes besides shape and classes.
        undefended: Options that differ in the undefended model: a defence that is part
            of the network is left out of it.
        tonal: Options that differ for images with tones between black and white, unless set.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)
    undefended: dict[str, Any] = Field(default_factory=dict)
    tonal: dict[str, Any] = Field(default_factory=dict)


class ValidationSettings(Settings):
    """How a round is evaluated on validation data.

    Attributes:
        samples: Validation images.
        attacks: In files `name:key=value,...`; the worst case over them decides.
    """

    samples: int = Field(ge=1)
    attacks: tuple[AttackField, ...] = Field(min_length=1)


class TrainingSettings(Settings):
    """Which models are trained, and how.

    Attributes:
        start: Whether hardening starts from the undefended model or from fresh weights.
        validation: How a round is evaluated on validation data.
        undefended: The training without a defense.
        hardened: The training that hardens; its `objective` says how.
        single_pass: The training on clean images and adversarial copies that were made once
            on the undefended model; used by `temper reproduce`.
        checkpoint_seconds: Time between checkpoints; it changes nothing in the result.
    """

    start: Literal["undefended", "fresh"]
    validation: ValidationSettings
    undefended: TrainConfig
    hardened: TrainConfig
    single_pass: TrainConfig
    checkpoint_seconds: float = Field(default=10.0, ge=0)

    @property
    def single_pass_config(self) -> TrainConfig:
        """`single_pass`; its attacks are those of hardening, unless it has its own."""
        if self.single_pass.mixture is not None:
            return self.single_pass
        return self.single_pass.model_copy(update={"mixture": self.hardened.mixture})


class CurveSettings(Settings):
    """Accuracy against eps.

    Attributes:
        samples: Test images.
        attacks: Each runs on the samples that the ones before it left robust.
        shares: Values of eps, as multiples of the threat's.
    """

    samples: int = Field(ge=1)
    attacks: tuple[AttackField, ...] = Field(min_length=1)
    shares: list[Radius] = Field(min_length=1)


class MinimumNormSettings(Settings):
    """How far images must be changed.

    Attributes:
        samples: Test images.
        attack: A minimum-norm attack.
        norm: In which distances are measured, such as `l2`.
        bounds: Distances at which survivors are counted.
        undefended: Whether the undefended model is measured too.
    """

    samples: int = Field(ge=1)
    attack: AttackField
    norm: Literal["linf", "l2", "l1"] = "l2"
    bounds: list[Radius]
    undefended: bool = True


class EvaluationSettings(Settings):
    """What is measured on test data, once, at the end.

    Attributes:
        samples: Test images of the standard protocol.
        subset: Which: `stratified` by class and id, or the `first` ones.
        attacks: White-box attacks; gray-box and stale samples are made with them too.
        surrogate: Whether a model of another seed is hardened for gray-box attacks.
        surrogate_iterations: Steps of its training; None for as many as the model's own.
        spread: Whether it is attacked too, to tell how far training seeds are apart.
        curve: Accuracy against eps; None for none.
        minimum_norm: Distances to the nearest misclassified image; None for none.
        paper: The paper's protocol; None for none.
    """

    samples: int = Field(ge=1)
    subset: Literal["stratified", "first"] = "stratified"
    attacks: tuple[AttackField, ...] = Field(min_length=1)
    surrogate: bool
    surrogate_iterations: int | None = Field(default=None, ge=1)
    spread: bool = False
    curve: CurveSettings | None = None
    minimum_norm: MinimumNormSettings | None = None
    paper: PaperSettings | None = None


class Recipe(Settings):
    """Everything that decides what a run does.

    Attributes:
        seed: Of all draws.
        threat: In files such as `linf:0.3`.
        precision: `32-true`, `bf16-mixed` or `auto`.
        data: The data.
        model: The network.
        defenses: What is trained and deployed with it; None for nothing.
        training: The trainings.
        evaluation: The measurements.
    """

    seed: int
    threat: ThreatField
    precision: Literal["auto", "32-true", "bf16-mixed"]
    data: DataSettings
    model: ModelSettings
    defenses: DefenseSettings | None = None
    training: TrainingSettings
    evaluation: EvaluationSettings

    @property
    def hardening_steps(self) -> list[int]:
        """Steps at most of each training with the hardening objective."""
        steps = [self.training.hardened.stopping.max_iterations]
        surrogate = self.evaluation.surrogate_iterations
        if self.evaluation.surrogate and surrogate is not None:
            steps.append(surrogate)
        return steps


def nested(settings: BaseModel) -> dict[str, Any]:
    """Nested settings as `parse_recipe` takes them; threats and attacks stay values."""
    given = {key: value for key, value in settings if value is not None}
    return {k: nested(v) if isinstance(v, BaseModel) else v for k, v in given.items()}


def recipes() -> dict[str, Path]:
    """The recipes that come along, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def load_recipe(
    name: str = "default", overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None
) -> Recipe:
    """Read a recipe.

    Args:
        name: One that comes along, or the path of a `.toml` file.
        overrides: `section.key=value`, value as in TOML; quotes may be left out.
        values: Nested settings that come last; threats and attacks may be values.

    Returns:
        The recipe.

    Raises:
        RecipeError: If the file or a key is unknown, or a value makes no sense.

    Example:
        >>> load_recipe("default", ["seed=3"]).seed
        3
    """
    return parse_recipe(_read(name), overrides, values)


def parse_recipe(
    tree: dict[str, Any], overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None
) -> Recipe:
    """Make a recipe of nested settings, some of them overridden, as in `load_recipe`.

    Raises:
        RecipeError: If a key is unknown or a value makes no sense; names both.
    """
    for override in overrides:
        tree = _override(tree, override)
    tree = _changed(tree, values or {})
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        if first["type"] == "extra_forbidden":
            raise RecipeError(f"unknown key {where} in the recipe{_nearest(where)}") from error
        given = first.get("input")
        shown = "" if isinstance(given, dict) else f" = {given!r}"
        raise RecipeError(f"recipe: {where}{shown}: {_plain(first['msg'])}") from error
    _check_names(recipe)
    return recipe


def _read(name: str, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The settings of a recipe; `base` names another one whose settings it changes.

    A base that is a file lies beside the file that names it.
    """
    known = recipes()
    if name not in known and not name.endswith(".toml"):
        raise UnknownNameError("recipe", name, known)
    path = known.get(name, Path(name)).resolve()
    if path in above:
        names = " -> ".join(each.name for each in (*above, path))
        raise RecipeError(f"recipe {name} is its own base: {names}: remove one of the base keys")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read recipe {path}: {error}: give a .toml file") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {path} is not TOML: {error}") from error
    base = tree.pop("base", None)
    if base is None:
        return tree
    beside = str(path.parent / str(base)) if str(base).endswith(".toml") else str(base)
    return _changed(_for_network(_read(beside, (*above, path)), _name_of(tree.get("model"))), tree)


def _for_network(tree: dict[str, Any], name: object) -> dict[str, Any]:
    """Settings for a network of a name, if there is one: another does not inherit the options."""
    if name is None or _name_of(tree.get("model")) == name:
        return tree
    return {**tree, "model": {"name": name}}


def _changed(tree: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, some of them replaced; the word none takes one away."""
    changed = dict(tree)
    for key, value in changes.items():
        if isinstance(value, str) and value == NONE:
            changed.pop(key, None)
        elif isinstance(value, dict) and isinstance(changed.get(key), dict):
            changed[key] = _changed(changed[key], value)
        else:
            changed[key] = value
    return changed


def _check_names(recipe: Recipe) -> None:
    evaluation = recipe.evaluation
    if (nearest := evaluation.minimum_norm) is not None:
        nearest.attack.require(NORMS[nearest.norm](1))
        if not nearest.attack.minimum_norm():
            text = write_attack(nearest.attack)
            raise RecipeError(
                f"recipe: evaluation.minimum_norm.attack = {text!r} looks for no "
                "smallest change: give cw-l2, ddn, deepfool, fab or fmn"
            )
    threat, training = recipe.threat, recipe.training
    settings = {
        "evaluation.attacks": evaluation.attacks,
        "evaluation.curve.attacks": evaluation.curve.attacks if evaluation.curve else [],
        "training.validation.attacks": training.validation.attacks,
    }
    from_python = training.hardened.objective.startswith(FROM_PYTHON)
    if not from_python and isinstance(mixed := training.hardened.objective_value(), Paper):
        settings["training.hardened.mixture.attacks"] = mixed.attacks if mixed.adversarial else ()
    require_attacks(settings, threat)
    training.single_pass_config.objective_value()
    undefended = training.undefended
    undefended.objective_value().require(threat, undefended.stopping.max_iterations)
    if not from_python:
        for steps in recipe.hardening_steps:
            training.hardened.objective_value().require(threat, steps)


def _override(tree: dict[str, Any], text: str) -> dict[str, Any]:
    """Settings with one replaced."""
    key, found, value = (part.strip() for part in text.partition("="))
    names = key.split(".")
    if not found or not all(names):
        raise RecipeError(f"{text!r} is not KEY=VALUE: write data.split=paper or seed=3")
    try:
        change: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        change = value
    if key == "model.name":
        return _for_network(tree, change)
    if names[:2] == ["model", "options"]:
        tree = _for_all_images(tree, names[2:3])
    for name in reversed(names):
        change = {name: change}
    return _changed(tree, change)


def _for_all_images(tree: dict[str, Any], asked: Sequence[str]) -> dict[str, Any]:
    """Settings in which an option that was asked for does not differ by the kind of images."""
    if not isinstance(model := tree.get("model"), dict) or not isinstance(model.get("tonal"), dict):
        return tree
    tonal = {name: value for name, value in model["tonal"].items() if name not in asked}
    return {**tree, "model": {**model, "tonal": tonal}}


def _name_of(model: object) -> object:
    return model.get("name") if isinstance(model, dict) else None


def _plain(message: str) -> str:
    """What pydantic says, as part of a sentence."""
    text = message.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _nearest(where: str) -> str:
    near = difflib.get_close_matches(where, _keys(Recipe), n=2, cutoff=0.6)
    return f": did you mean {' or '.join(near)}?" if near else ""


def _keys(kind: type[BaseModel], above: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in kind.model_fields.items():
        keys.append(f"{above}{name}")
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                keys += _keys(inner, f"{above}{name}.")
    return keys
