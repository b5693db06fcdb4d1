"""Networks behind transforms, and the detector that is fitted once they are hardened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tempering.app.defense_settings import DefenseSettings
from tempering.app.networks import FromFile, FromModule, Networks, Registered, shown_part
from tempering.app.recipe import Recipe
from tempering.certification.fixed_function import seeded as drawing
from tempering.core.errors import ModelError, UsageError
from tempering.core.protocols import Detector, Transform
from tempering.core.random import derive
from tempering.core.threats import Threat
from tempering.core.user_code import device_of, set_evaluation_mode
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.defenses.calibration import require_rate, scores_of
from tempering.defenses.features import feature_layer
from tempering.defenses.fitting import fit_detector, new_detector
from tempering.defenses.fitting_transforms import fitted_transforms
from tempering.defenses.pipeline import Pipeline
from tempering.defenses.text import NamedDefense
from tempering.evaluation.target import Target
from tempering.models.own_part import own_part
from tempering.models.seeded import seeded

TOLERANCE = 1e-4
"""How far a transform may leave [0, 1] by rounding."""

TYPICAL, SCORED = 5.0, 1000
"""Logits between abstention and the best class, in the median of so many clean images."""

Image = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Defended:
    """Networks behind transforms; the undefended one has none.

    Attributes:
        plain: Makes the undefended network.
        behind: Makes the network behind the transforms.
        transforms: In order; none where a detector is the only defense.
        seen: Shape of the images that the network behind them takes.
        classes: Of the data.
    """

    plain: Networks
    behind: Networks
    transforms: tuple[NamedDefense, ...]
    seen: Image
    classes: int

    @property
    def trained(self) -> bool:
        """Whether the undefended network comes with weights that are not to be replaced."""
        return self.plain.trained

    def undefended(self, seed: int) -> nn.Module:
        """The network without transforms."""
        return self.plain.undefended(seed)

    def fresh(self, seed: int) -> Pipeline:
        """The pipeline with fresh weights."""
        with self._named():
            return self._pipeline(self.behind.fresh(seed), seed)

    def start(self, seed: int) -> Pipeline:
        """The pipeline with the weights that its training starts from."""
        with self._named():
            return self._pipeline(self.behind.start(seed), seed)

    @property
    def name(self) -> str:
        """The name of the network."""
        return self.plain.name

    @property
    def architecture(self) -> dict[str, Any] | str:
        """Of the pipeline before a detector is fitted."""
        return self.described(self.fresh(0))

    def described(self, model: Pipeline) -> dict[str, Any]:
        """What a manifest says of a pipeline; a user's network is named by its factory."""
        architecture = self.plain.architecture
        own = own_part(architecture, self.seen) if isinstance(architecture, str) else None
        return model.described(own)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Within it, a network that cannot be built is said to lie behind the transforms."""
        try:
            yield
        except ModelError as error:
            if not self.transforms:
                raise
            names = ", ".join(transform.text() for transform in self.transforms)
            raise ModelError(f"behind {names}: {error}") from error

    def _pipeline(self, network: nn.Module, seed: int) -> Pipeline:
        with seeded(derive(seed, "transforms")):
            stages = [transform.transform() for transform in self.transforms]
        return Pipeline(network, stages, classes=self.classes)


def with_defenses(
    networks: Networks, settings: DefenseSettings | None, data: Splits, threat: Threat
) -> Networks:
    """Networks with the defenses of a recipe; transforms that learn are fitted to training images.

    Args:
        networks: Without them.
        settings: The defenses; None for none.
        data: What is classified; a few images show whether the transforms take them.
        threat: What transforms learn to withstand.

    Raises:
        ModelError: If a transform does not take the images, or makes none, or one that learns
            comes behind one that is not monotone.
        ThreatError: If a transform learns and the threat has no box.
    """
    if settings is None or not settings.stages:
        return networks
    x = shown_part(data.validation)
    transforms = fitted_transforms(settings.transforms, data.train, threat)
    for transform in transforms:
        x = _transformed(transform, x)
    channels, height, width = x.shape[1:]
    seen = (channels, height, width)
    behind: Networks = networks
    if isinstance(networks, Registered):
        behind = replace(networks, shape=seen)
    elif isinstance(networks, FromFile | FromModule):
        behind = replace(networks, x=x)
    return Defended(networks, behind, transforms, seen, data.num_classes)


def _transformed(transform: NamedDefense, x: Tensor) -> Tensor:
    """Images behind a transform, checked.

    Raises:
        ModelError: Naming the transform.
    """
    with seeded(0), torch.no_grad():
        stage = transform.transform().eval()
        y: Tensor = stage(x.clone())
    if not isinstance(y, Tensor) or y.ndim != 4 or len(y) != len(x):
        raise ModelError(f"{transform.text()} makes no images of images: return (n, c, h, w)")
    if tuple(y.shape[1:]) != stage.shape_after(_shape(x)):
        raise ModelError(
            f"{transform.text()} makes images of shape {_shape(y)} of shape {_shape(x)}, and its "
            f"shape_after says {stage.shape_after(_shape(x))}: correct shape_after"
        )
    low, high = float(y.min()), float(y.max())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise ModelError(
            f"{transform.text()} makes values from {low:g} to {high:g}: "
            "give a transform from images in [0, 1] to images in [0, 1]"
        )
    return y


def _shape(x: Tensor) -> Image:
    channels, height, width = x.shape[1:]
    return channels, height, width


def plain_of(networks: Networks) -> Networks:
    """The networks without the defenses around them."""
    return networks.plain if isinstance(networks, Defended) else networks


def take_weights(networks: Networks, model: nn.Module, undefended: nn.Module) -> None:
    """Give a network to protect the weights of the undefended one; transforms keep theirs."""
    _network(networks, model).load_state_dict(undefended.state_dict())


def _network(networks: Networks, model: nn.Module) -> nn.Module:
    """The network behind the transforms."""
    return model.classifier if isinstance(networks, Defended) else model  # type: ignore[return-value]


def architecture_in_manifest(networks: Networks, model: nn.Module) -> dict[str, Any] | str:
    """What a manifest says of a model that was made by these networks."""
    if isinstance(networks, Defended) and isinstance(model, Pipeline):
        return networks.described(model)
    return networks.architecture


def require_defenses(recipe: Recipe, networks: Networks, data: Splits) -> None:
    """Refuse defenses that do not fit the network or the data, before anything is trained.

    Raises:
        UsageError: If training starts from an undefended network of another size, an option of the
            detector is wrong, or its rate is finer than the validation data can show.
        ModelError: If the detector cannot use the network.
    """
    if not isinstance(networks, Defended) or recipe.defenses is None:
        return
    if recipe.training.start == "undefended" and not networks.trained:
        _require_alike(networks, recipe.seed)
    named = recipe.defenses.detector
    if named is None:
        return
    require_rate(recipe.defenses.rate, len(data.validation))
    model = networks.start(recipe.seed)
    target = Target.of("given", model, data.validation)
    if target.outputs > data.num_classes and target.flag is None:
        raise ModelError(
            f"{networks.name} has {target.outputs} outputs for {data.num_classes} classes, and the "
            f"detector {named.name} adds one: give a network with {data.num_classes} outputs"
        )
    detector = new_detector(named.name, _judged(model), **named.options)
    if "layer" in detector.options:
        feature_layer(_judged(model), detector.options["layer"])


def _require_alike(networks: Defended, seed: int) -> None:
    """Refuse to start from an undefended network whose weights have other shapes."""
    behind = _network(networks, networks.start(seed)).state_dict()
    undefended = networks.undefended(seed).state_dict()
    shapes = [{key: tensor.shape for key, tensor in one.items()} for one in (behind, undefended)]
    if shapes[0] != shapes[1]:
        names = " and ".join(transform.text() for transform in networks.transforms)
        raise UsageError(
            f"the network behind {names} has other weights than the undefended one, from which "
            "training starts: give --set training.start=fresh"
        )


def deployed(model: nn.Module, recipe: Recipe, data: Splits) -> nn.Module:
    """A hardened model with its detector, fitted on training data and calibrated on validation.

    Detectors that need adversarial images learn from the attacks of the recipe's validation.

    Args:
        model: Hardened; it is shared, not copied.
        recipe: Says which detector.
        data: Training and validation data.

    Returns:
        The model itself if no detector is asked for.

    Raises:
        DataError: If there are too few samples for the detector.
        ModelError: If features are not finite.
    """
    named = None if recipe.defenses is None else recipe.defenses.detector
    if recipe.defenses is None or named is None or not isinstance(model, Pipeline):
        return model
    attacks = {attack.label(): attack for attack in recipe.training.validation.attacks}
    seed = derive(recipe.seed, "detector")
    with drawing(seed, device_of(model)):
        detector = fit_detector(
            named.name,
            _judged(model),
            data,
            recipe.threat,
            list(attacks.values()),
            recipe.defenses.rate,
            seed,
            **named.options,
        )
        scale = _scale(detector, data.validation)
    transforms = [part for part in model.transforms if isinstance(part, Transform)]
    whole = Pipeline(model.classifier, transforms, detector, model.classes, scale)
    return set_evaluation_mode(whole)


def _scale(detector: Detector, data: Dataset) -> float:
    """Logits that a spread of clean scores is worth, so that abstention is `TYPICAL` logits off.

    Where a random model averages its answers, an abstention that is always nearly as likely as the
    best class would win over classes that vary.
    """
    scores = scores_of(detector, data.first(min(SCORED, len(data))).x)
    distance = abs(
        float((detector.threshold.cpu() - scores.median()) / detector.clean_spread.cpu())
    )
    return TYPICAL / distance if distance > 0 else 1.0


def _judged(model: Pipeline) -> nn.Module:
    """What a detector takes features of: the network as images arrive, before transforms."""
    return model if len(model.transforms) else model.classifier
