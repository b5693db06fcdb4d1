"""Defenses as JSON, for manifests: a registered name and options, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import nn

from tempering.core.errors import ModelError, UsageError
from tempering.core.protocols import DEFENSES, registered_name
from tempering.models.blueprint import Blueprint
from tempering.models.classifier import BaseClassifier
from tempering.models.registry import MODELS

DEFAULT_CLASSIFIER = {"name": "strided_cnn", "options": {"squeeze": None}}


def describe(part: nn.Module, own: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Describe a transform, a detector or a network of ours.

    Args:
        part: The part.
        own: What stands for a network that is not ours, see `models.own_part`; None refuses it.

    Returns:
        `{"defense": name, "options": {...}}`, or `{"model": blueprint}`; JSON values only.

    Raises:
        ModelError: If the part is neither registered nor a network of ours.

    Example:
        >>> from tempering.defenses import Squeeze
        >>> describe(Squeeze(0.25, 0.75))
        {'defense': 'squeeze', 'options': {'low': 0.25, 'high': 0.75}}
    """
    name = registered_name(part)
    if name is not None:
        options: dict[str, Any] = part.options  # type: ignore[assignment]
        return {
            "defense": name,
            "options": {key: _plain(value, own) for key, value in options.items()},
        }
    architecture = getattr(part, "architecture", None)
    if isinstance(architecture, dict):
        return {"model": architecture}
    if own is not None:
        described = getattr(part, "described", None)
        return dict(own) if described is None else {"model": described(own)}
    raise ModelError(
        f"{type(part).__name__} cannot be described in a manifest: decorate the class with "
        "register_defense('name'), or save a model that a file.py:factory builds"
    )


def _plain(value: Any, own: Mapping[str, Any] | None) -> Any:
    if isinstance(value, nn.Module):
        return describe(value, own)
    return list(value) if isinstance(value, tuple) else value


def restore(description: Mapping[str, Any]) -> nn.Module:
    """Build a part again from its description; runs registered classes only.

    Args:
        description: As `describe` returns it.

    Returns:
        The part, with fresh weights.

    Raises:
        UnknownNameError: If a name is not registered.
        UsageError: If the description or its options make no sense.
        ModelError: If options do not fit together.
    """
    if not isinstance(description, Mapping):
        raise UsageError(
            f"part of a pipeline {description!r}: "
            'give a table such as {defense = "jpeg", options = {quality = 50}}'
        )
    if set(description) == {"model"}:
        try:
            blueprint = Blueprint.model_validate(description["model"])
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(f"model of a pipeline: {first['loc']}: {first['msg']}") from error
        build = MODELS[blueprint.name].build
        return build(blueprint.shape, blueprint.classes, **blueprint.options)
    if not set(description) <= {"defense", "options"} or "defense" not in description:
        raise UsageError(
            f"part of a pipeline with the keys {', '.join(sorted(description)) or 'none'}: "
            "give defense and options, or model"
        )
    name, given = description["defense"], description.get("options", {})
    if not isinstance(name, str) or not isinstance(given, Mapping):
        raise UsageError(
            f"part of a pipeline with the defense {name!r} and the options {given!r}: "
            "give a name and a table"
        )
    options = {
        key: restore(value) if isinstance(value, Mapping) else value for key, value in given.items()
    }
    kind = DEFENSES[name]
    try:
        return kind(**options)
    except TypeError as error:
        raise UsageError(
            f"options {options} do not fit the defense {description['defense']!r}: {error}"
        ) from error


def build_classifier(
    description: Mapping[str, Any] | None,
    shape: tuple[int, int, int],
    classes: int,
    adversarial_class: bool,
) -> BaseClassifier:
    """The classifier behind the parts of a defense, with fresh weights.

    Args:
        description: `{"name": ..., "options": {...}}` of a network; None for a small CNN without
            an input stage.
        shape: Channels, height and width of the images that it is given.
        classes: Classes of the data.
        adversarial_class: Whether it has an adversarial class, if its options do not say.

    Raises:
        UnknownNameError: If there is no such network.
        UsageError: If the description or its options make no sense.
        ModelError: If it cannot take such images.
    """
    chosen = DEFAULT_CLASSIFIER if description is None else description
    if not isinstance(chosen, Mapping):
        raise UsageError(f"classifier {chosen!r}: give a table with name and options")
    if not set(chosen) <= {"name", "options"} or not isinstance(chosen.get("name"), str):
        raise UsageError(
            f"classifier with the keys {', '.join(sorted(chosen)) or 'none'}: give name and options"
        )
    own = chosen.get("options", {})
    if not isinstance(own, Mapping):
        raise UsageError(f"options {own!r} of the classifier {chosen['name']}: give a table")
    options = {"adversarial_class": adversarial_class, **own}
    return MODELS[str(chosen["name"])].build(shape, classes, **options)
