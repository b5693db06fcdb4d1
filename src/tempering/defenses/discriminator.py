"""A small CNN that tells clean images from those of several attacks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.protocols import register_defense
from tempering.core.user_code import device_of
from tempering.defenses.fitted import FittedDetector
from tempering.defenses.fitting_samples import DetectorSamples
from tempering.models.seeded import seeded
from tempering.models.strided import strided_cnn

CLEAN = "clean"
_BATCH = 64


@register_defense("discriminator")
class Discriminator(FittedDetector):
    """Log odds that an image is not clean, by a CNN with the classes clean, attack 1, attack 2, ...

    Architecture, weights of the classes (each counts alike) and training are inferred.

    Args:
        kinds: `clean` and the names of the attacks, set by `fit`.
        width: Filters of the first convolution, at least 1.
        hidden: Neurons of the hidden layer, at least 1.
        epochs: Passes over the samples, at least 1.
        threshold: Log odds above which an image is flagged.
        sizes: Channels, height and width of the images, set by `fit`.

    Raises:
        ModelError: If an option makes no sense.
    """

    source = "Anastasiou et al., 2022"
    size_names = ("channels", "height", "columns")
    needs_attacks = True
    network: nn.Module | None

    def __init__(
        self,
        kinds: Sequence[str] = (),
        width: int = 16,
        hidden: int = 100,
        epochs: int = 10,
        threshold: float | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        super().__init__(threshold)
        for name, value in (("width", width), ("hidden", hidden), ("epochs", epochs)):
            if value < 1:
                raise ModelError(f"{name} {value}: give at least 1")
        if len(set(kinds)) != len(kinds) or (sizes and len(kinds) < 2):
            raise ModelError(f"kinds {list(kinds)}: give {CLEAN} and the names of the attacks")
        self.kinds = tuple(kinds)
        self.width, self.hidden, self.epochs = width, hidden, epochs
        self.network = None
        self.declare(sizes)

    def allocate(self, *sizes: int) -> None:
        """The CNN."""
        channels, height, columns = sizes
        if channels:
            self.network = strided_cnn(
                (channels, height, columns),
                len(self.kinds),
                self.width,
                self.hidden,
                squeeze=None,
                adversarial_class=False,
            ).to(self.threshold.device)

    def learn(self, samples: DetectorSamples, seed: int) -> None:
        """Train the CNN by cross-entropy, with Adam."""
        x_adv, kind = samples.adversarial()
        self.kinds = (CLEAN, *samples.attacks)
        x, y = torch.cat([samples.x, x_adv]), torch.cat([torch.zeros_like(kind), kind])
        counts = y.bincount(minlength=len(self.kinds)).clamp(min=1)
        with seeded(seed), torch.enable_grad():
            self.declare(tuple(x.shape[1:]))
            network = self._network()
            device = device_of(network)
            weights = (len(y) / (len(counts) * counts.double())).float().to(device)
            network.train()
            adam = torch.optim.Adam(network.parameters(), 2e-3)
            for _ in range(self.epochs):
                for rows in torch.split(torch.randperm(len(x)), _BATCH):
                    adam.zero_grad()
                    logits = network(x[rows].to(device))
                    nn.functional.cross_entropy(logits, y[rows].to(device), weights).backward()  # type: ignore[no-untyped-call]
                    adam.step()
        for parameter in network.parameters():
            parameter.grad = None
        network.eval()

    def _network(self) -> nn.Module:
        self.require_fitted()
        assert self.network is not None
        return self.network

    def measure(self, x: Tensor) -> Tensor:
        """Log odds that an image is not clean, shape (n,)."""
        logits = self._network()(x)
        odds: Tensor = logits[:, 1:].logsumexp(1) - logits[:, 0]
        return odds

    @torch.no_grad()
    def kind_of(self, x: Tensor) -> Tensor:
        """The most probable kind of each image, a number in `kinds`, shape (n,), int64.

        Raises:
            ModelError: If it is not fitted.
        """
        logits: Tensor = self._network()(x)
        return logits.argmax(1)
