"""The adversarial class of a network, as a detector."""

from __future__ import annotations

from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.protocols import Detector, register_defense


@register_defense("adversarial_class")
class AdversarialClass(Detector):
    """How far the adversarial output of a network is above its best class.

    With the threshold 0 it flags exactly what the network itself calls adversarial. Other
    thresholds trade false alarms for missed attacks without another training.

    Args:
        network: From images in [0, 1] to logits; its attribute `adversarial_class` is the
            number of the last output.
        threshold: Margin in logits above which an image is flagged.

    Raises:
        ModelError: If the network has no adversarial class.

    Example:
        >>> from tempering.models import strided_cnn
        >>> AdversarialClass(strided_cnn(width=2, hidden=4)).threshold
        tensor(0.)
    """

    source = "Grosse et al., 2017"

    def __init__(self, network: nn.Module, threshold: float = 0.0) -> None:
        super().__init__(threshold)
        if not isinstance(getattr(network, "adversarial_class", None), int):
            raise ModelError(
                f"{type(network).__name__} has no adversarial class: give a network whose "
                "attribute adversarial_class is the number of its last output"
            )
        self.network = network

    def score(self, x: Tensor) -> Tensor:
        """Adversarial logit less the largest other one, shape (n,)."""
        logits: Tensor = self.network(x)
        return logits[:, -1] - logits[:, :-1].amax(1)
