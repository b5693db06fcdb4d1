"""The samples on which a model and an attack are examined."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tempering.attacks.base import Attack
from tempering.core.errors import UsageError
from tempering.core.goals import Untargeted, log_odds
from tempering.core.probe import Loss, probing
from tempering.core.random import RandomStreams, derive
from tempering.core.threats import Threat
from tempering.core.user_code import moved
from tempering.evaluation.context import EvalContext
from tempering.evaluation.proposals import propose
from tempering.evaluation.target import Target


@dataclass(frozen=True, eq=False)
class ExaminedSamples:
    """A model, a threat and a few samples.

    Attributes:
        model: Function of images in [0, 1], returning logits.
        x: Images, shape (n, c, h, w), on the model's device.
        y: Labels, shape (n,), int64, on the same device.
        threat: The threat model.
        streams: One random stream per sample; its index holds the keys of the samples, increasing.
        batch_size: Images per batch.

    Raises:
        UsageError: If the keys are not increasing, or not one per image.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    threat: Threat
    streams: RandomStreams
    batch_size: int = 256

    def __post_init__(self) -> None:
        index = self.streams.index
        if len(index) != len(self.x) or bool((index.diff() <= 0).any()):
            raise UsageError(
                f"{len(index)} sample keys for {len(self.x)} images: give one each, increasing"
            )

    @classmethod
    def of(
        cls, context: EvalContext, target: Target, threat: Threat, samples: int
    ) -> ExaminedSamples:
        """Choose samples at random by seed and id, in the order of their keys.

        Removing one sample from the data changes at most one of the chosen samples.

        Args:
            context: Data, engine and seed.
            target: The model; moved to the engine's device.
            threat: The threat model.
            samples: Largest number of samples.

        Raises:
            UsageError: If `samples` is below 1.
        """
        if samples < 1:
            raise UsageError(f"examine {samples} samples: give at least 1")
        device, data, keys = context.engine.device, context.data, context.keys
        rows = RandomStreams(derive(context.seed, "examine"), keys).order()[:samples]
        rows = rows[keys[rows].argsort()]
        moved(target.model, device)
        streams = RandomStreams(derive(context.seed, "examination"), keys[rows]).on(device)
        x, y = data.images(rows).to(device), data.y[rows].to(device)
        return cls(target.model, x, y, threat, streams, context.batch_size)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def keys(self) -> Tensor:
        """Keys of the samples' ids, shape (n,), int64."""
        return self.streams.index

    def at(self, rows: Tensor) -> ExaminedSamples:
        """A selection of rows, by increasing row numbers or a mask."""
        return replace(self, x=self.x[rows], y=self.y[rows], streams=self.streams[rows])

    def under(self, threat: Threat) -> ExaminedSamples:
        """The same samples under another threat."""
        return replace(self, threat=threat)

    def correct(self) -> ExaminedSamples:
        """The correctly classified samples; 1 forward pass each."""
        return self.at(~self.fooled(self.x))

    def logits(self, x: Tensor) -> Tensor:
        """Logits on one image per sample, shape (n, outputs); 1 forward pass each.

        Raises:
            ModelError: If they are not finite.
        """
        with probing(self.model) as probe, torch.autocast(x.device.type, enabled=False):
            parts = [probe.logits(x[rows], self.keys[rows]) for rows in self._batches()]
        return torch.cat(parts)

    def odds(self, x: Tensor) -> Tensor:
        """Log odds of a wrong class, the loss of the attacks, shape (n,); 1 forward pass each."""
        return self._odds(self.logits(x), slice(None))

    def gradient(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, log odds of a wrong class and their gradient; 1 forward and backward pass each.

        Raises:
            NoGradientError: If the logits do not depend on the images in the autograd graph.
        """
        logits, slopes = [], []
        with probing(self.model) as probe, torch.autocast(x.device.type, enabled=False):
            for rows in self._batches():
                batch_logits, slope = probe.gradient(x[rows], self._loss(rows), self.keys[rows])
                logits.append(batch_logits)
                slopes.append(slope)
        all_logits = torch.cat(logits)
        return all_logits, self._odds(all_logits, slice(None)), torch.cat(slopes)

    def fooled(self, x: Tensor) -> Tensor:
        """Whether each image is misclassified, shape (n,), bool; 1 forward pass each."""
        return self.logits(x).argmax(1) != self.y

    def attacked(self, attack: Attack, streams: RandomStreams | None = None) -> Tensor:
        """The images that an attack returns, checked against box and ball, shape of x."""
        return propose(
            self.model,
            attack,
            self.x,
            self.y,
            self.threat,
            streams or self.streams,
            Untargeted(),
            self.batch_size,
        )

    def nearby(self, label: str | int, threat: Threat | None = None) -> Tensor:
        """A random point in each ball, shape of x."""
        return (threat or self.threat).sample(self.x, self.streams.derive("nearby", label))

    def _batches(self) -> list[slice]:
        return [slice(at, at + self.batch_size) for at in range(0, len(self), self.batch_size)]

    def _loss(self, rows: slice) -> Loss:
        return lambda logits: self._odds(logits, rows)

    def _odds(self, logits: Tensor, rows: slice) -> Tensor:
        return log_odds(logits, Untargeted().protected(self.y[rows], logits.shape[1]))
