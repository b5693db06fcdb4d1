"""A bank of input defenses, of which a discriminator chooses one for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform
from tempering.defenses.description import build_classifier, describe, restore
from tempering.defenses.discriminator import CLEAN, Discriminator
from tempering.models.blueprint import Blueprint
from tempering.models.classifier import BaseClassifier
from tempering.models.registry import MODELS, Architecture


class Routed(BaseClassifier):
    """Each image goes through the transform that stands for what the discriminator takes it for.

    The gradient of an image leads through its transform, as declared, and the classifier; the
    choice itself has none.

    Args:
        classifier: From images in [0, 1] to logits, one for each class, and one more if it has an
            adversarial class.
        discriminator: Fitted; tells clean images and attacks apart.
        bank: Transforms to choose from; None stands for no transform.
        routes: For each kind of the discriminator the number of a transform in the bank.
        classes: Classes of the data.

    Raises:
        ModelError: If a part is of another type, a route leads nowhere, there is not one for
            each kind, or a transform changes the shape of images.
    """

    def __init__(
        self,
        classifier: nn.Module,
        discriminator: Discriminator,
        bank: Sequence[Transform | None],
        routes: Sequence[int],
        classes: int,
    ) -> None:
        super().__init__()
        if not isinstance(discriminator, Discriminator):
            raise ModelError(f"{type(discriminator).__name__} for routes: give a Discriminator")
        for part in bank:
            if part is not None:
                _require_transform(part, discriminator.sizes)
        wrong = [at for at in routes if type(at) is not int or not 0 <= at < len(bank)]
        if wrong:
            raise ModelError(f"route {wrong[0]!r}: give a number from 0 to {len(bank) - 1}")
        if len(routes) != len(discriminator.kinds):
            raise ModelError(
                f"{len(routes)} routes for a discriminator that knows "
                f"{len(discriminator.kinds)} kinds of images: give a route for each"
            )
        self.classifier, self.discriminator = classifier, discriminator
        self.bank = nn.ModuleList(nn.Identity() if part is None else part for part in bank)
        self.routes = list(routes)
        flags = getattr(classifier, "adversarial_class", None) is not None
        self.classes, self.outputs = classes, classes + flags
        self.adversarial_class = classes if flags else None

    @property
    def architecture(self) -> dict[str, Any] | str:  # type: ignore[override]
        """Description as it is now; the name of its class if a part of it is a user's own."""
        parts = [None if isinstance(part, nn.Identity) else part for part in self.bank]
        try:
            own = describe(self.classifier)["model"]
            options = {
                "classifier": {"name": own["name"], "options": own["options"]},
                "discriminator": describe(self.discriminator),
                "bank": [None if part is None else describe(part) for part in parts],
                "routes": self.routes,
            }
        except (ModelError, KeyError):
            return type(self).__name__
        return Blueprint(
            name="routed", shape=tuple(own["shape"]), classes=self.classes, options=options
        ).as_json()

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, outputs).

        Raises:
            ModelError: If images have another shape than those of the discriminator.
        """
        if tuple(x.shape[1:]) != self.discriminator.sizes:
            raise ModelError(
                f"images of shape {tuple(x.shape[1:])} for a discriminator of "
                f"{self.discriminator.sizes or 'no size yet'}: give images of the same shape"
            )
        with torch.no_grad():
            kinds = self.discriminator.kind_of(x)
        chosen = torch.tensor(self.routes, device=x.device)[kinds]
        seen = x.clone()
        for number, part in enumerate(self.bank):
            rows = (chosen == number).nonzero()[:, 0]
            if len(rows) and not isinstance(part, nn.Identity):
                seen = seen.index_copy(0, rows, part(x[rows]))
        answer: Tensor = self.classifier(seen)
        return answer


def _require_transform(part: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse a part of a bank that is no transform, or makes images of another shape."""
    if not isinstance(part, Transform):
        raise ModelError(f"{type(part).__name__} in a bank: give a transform, or None")
    if len(shape) == 3:
        given = (shape[0], shape[1], shape[2])
        made = part.shape_after(given)
        if made != given:
            raise ModelError(
                f"{type(part).__name__} makes images of shape {made} from {given}: "
                "give transforms that keep the shape"
            )


DEFAULT_BANK = (None, {"defense": "median", "options": {}})


def build_routed(
    shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    classifier: Mapping[str, Any] | None = None,
    discriminator: Mapping[str, Any] | None = None,
    bank: Sequence[Mapping[str, Any] | None] = DEFAULT_BANK,
    routes: Sequence[int] = (0, 1),
    adversarial_class: bool = False,
) -> Routed:
    """A classifier behind a bank of transforms, with fresh weights.

    Args:
        shape: Channels, height and width of the images.
        classes: Classes of the data.
        classifier: `{"name": ..., "options": {...}}`; by default a small CNN.
        discriminator: `{"defense": "discriminator", "options": {...}}`; by default for clean
            images and one attack.
        bank: The same for each transform, or None; by default none and a median filter.
        routes: For each kind of the discriminator a number in the bank.
        adversarial_class: Whether the classifier has an adversarial class, if its options do not
            say.

    Raises:
        UnknownNameError: If a name is not registered.
        UsageError: If options make no sense.
        ModelError: If parts do not fit together.
    """
    network = build_classifier(classifier, shape, classes, adversarial_class)
    told = discriminator
    if told is None:
        told = {
            "defense": "discriminator",
            "options": {"kinds": [CLEAN, "attack"], "threshold": 0.0, "sizes": list(shape)},
        }
    parts = [None if part is None else restore(part) for part in bank]
    return Routed(network, restore(told), parts, routes, classes)  # type: ignore[arg-type]


MODELS.register("routed")(
    Architecture(
        "routed", "a network behind a bank of transforms, one chosen for each image", build_routed
    )
)
