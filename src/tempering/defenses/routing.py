"""A bank of input defenses, of which a discriminator chooses one for each image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.protocols import Transform
from tempering.defenses.discriminator import Discriminator
from tempering.models.classifier import BaseClassifier


class Routed(BaseClassifier):
    """Each image goes through the transform that stands for what the discriminator takes it for.

    The gradient of an image leads through its transform, as declared, and the classifier; the
    choice itself has none.

    Args:
        classifier: From images in [0, 1] to logits, one for each class.
        discriminator: Fitted; tells clean images and attacks apart.
        bank: Transforms to choose from; None stands for no transform.
        routes: For each kind of the discriminator the number of a transform in the bank.
        classes: Classes of the data.

    Raises:
        ModelError: If a route leads nowhere.
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
        wrong = [route for route in routes if not 0 <= route < len(bank)]
        if wrong:
            raise ModelError(f"route {wrong[0]}: give a number from 0 to {len(bank) - 1}")
        self.classifier, self.discriminator = classifier, discriminator
        self.bank = nn.ModuleList(nn.Identity() if part is None else part for part in bank)
        self.routes = list(routes)
        self.classes = self.outputs = classes
        self.adversarial_class = None
        self.architecture = type(self).__name__

    def forward(self, x: Tensor) -> Tensor:
        """Logits, shape (n, classes)."""
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
