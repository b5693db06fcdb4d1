"""What scans look at: features of networks, principal components of pixels, and neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from tempering.core.errors import ModelError
from tempering.core.frozen import frozen
from tempering.core.random import RandomStreams, derive
from tempering.core.user_code import device_of
from tempering.data.dataset import Dataset
from tempering.defenses.features import features_and_answer
from tempering.models.registry import build
from tempering.poisoning.fold_networks import fold_networks
from tempering.poisoning.neighbours import Neighbours, nearest
from tempering.poisoning.projections import Components, principal

COMPONENTS = 50
"""Principal components of pixels and of untrained features."""
NEIGHBOURS = 15
REFERENCES = 12_000
"""Samples at most among which neighbours are looked for."""
MANY = 10_000
"""Samples above which two folds suffice, in place of four."""
BATCH = 256


@dataclass(frozen=True, eq=False)
class Features:
    """Features of the samples of some data, computed when they are asked for.

    Attributes:
        data: The samples.
        group: Samples of one group are not compared with each other, shape (n,), int64.
        seed: Of all draws.
        model: A network whose features are used in place of those of networks that are trained
            on the data; None to train them.
    """

    data: Dataset
    group: Tensor
    seed: int
    model: nn.Module | None = None

    @cached_property
    def fold(self) -> Tensor:
        """The fold of each sample, the same within a group, shape (n,), int64."""
        groups, first = self._groups
        folds = 2 if len(groups) > MANY else 4
        streams = RandomStreams(derive(self.seed, "folds"), self.data.ids.keys[first])
        fold = torch.empty(len(groups), dtype=torch.int64)
        fold[streams.order()] = torch.arange(len(groups)) % folds
        return fold[torch.searchsorted(groups, self.group)]

    @property
    def _groups(self) -> tuple[Tensor, Tensor]:
        """Groups in order, and the first sample of each."""
        groups, where = torch.unique(self.group, return_inverse=True)
        first = torch.full_like(groups, len(self.group))
        first.scatter_reduce_(0, where, torch.arange(len(where)), "amin")
        return groups, first

    @cached_property
    def trained(self) -> tuple[Tensor, ...]:
        """Features of all samples by each network, each of shape (n, width)."""
        return tuple(seen for seen, _ in self._seen)

    @cached_property
    def log_probabilities(self) -> Tensor:
        """Log-probabilities of the classes, out of fold unless a model is given, (n, classes)."""
        logits = [answer for _, answer in self._seen]
        if self.model is not None:
            return logits[0].log_softmax(1)
        stacked = torch.stack(logits)[self.fold, torch.arange(len(self.data))]
        return stacked.log_softmax(1)

    @cached_property
    def networks(self) -> tuple[nn.Module, ...]:
        """A network for each fold that did not see its samples, or the model alone."""
        if self.model is not None:
            return (self.model,)
        return fold_networks(self.data, self.fold, self.seed)

    @cached_property
    def _seen(self) -> tuple[tuple[Tensor, Tensor], ...]:
        return tuple(seen_by(network, self.data) for network in self.networks)

    def asked(self, rows: Tensor, x: Tensor) -> Tensor:
        """Logits of images by the networks that did not see their rows, shape (n, classes).

        Args:
            rows: The samples that the images were made of, shape (n,), int64.
            x: Shape (n, c, h, w).

        Raises:
            ModelError: If logits are too few or not finite.
        """
        fold = torch.zeros_like(rows) if self.model is not None else self.fold[rows]
        logits = torch.zeros(len(rows), self.data.num_classes)
        for k, network in enumerate(self.networks):
            own = fold == k
            if bool(own.any()):
                with frozen(network) as view, torch.no_grad():
                    answer = view(x[own].to(device_of(network)))
                logits[own] = _logits(network, answer, self.data)
        if not bool(logits.isfinite().all()):
            raise ModelError(
                f"logits of {type(self.networks[0]).__name__} for images laid over each other are "
                "not finite: give a network with finite ones"
            )
        return logits

    @cached_property
    def untrained(self) -> Tensor:
        """Principal components of features of a network with random weights, shape (n, k)."""
        options = {"width": 32, "hidden": 256, "squeeze": None, "adversarial_class": False}
        seed = derive(self.seed, "untrained")
        network = build("strided_cnn", self.data.shape, self.data.num_classes, seed=seed, **options)
        seen, _ = seen_by(network, self.data)
        return principal(lambda: [seen], COMPONENTS).project(seen)

    @cached_property
    def components(self) -> Components:
        """Principal components of pixels."""
        return principal(self._flat, COMPONENTS)

    def _flat(self) -> Iterator[Tensor]:
        return (x.flatten(1) for x in self.data.chunks())

    @cached_property
    def pixels(self) -> Tensor:
        """Principal components of pixels of all samples, shape (n, k)."""
        return torch.cat([self.components.project(x) for x in self._flat()])

    @cached_property
    def beside(self) -> Tensor:
        """Distance of each image from the space of the principal components, shape (n,)."""
        return torch.cat([self.components.beside(x) for x in self._flat()])

    @cached_property
    def references(self) -> Tensor:
        """Samples among which neighbours are looked for, shape (m,), int64."""
        streams = RandomStreams(derive(self.seed, "references"), self.data.ids.keys)
        return streams.order()[:REFERENCES].sort().values

    @cached_property
    def neighbours(self) -> Neighbours:
        """Nearest neighbours of all samples in the components of pixels; rows of the data."""
        return self.near(self.pixels)

    @cached_property
    def untrained_neighbours(self) -> Neighbours:
        """Nearest neighbours of all samples in untrained features; rows of the data."""
        return self.near(self.untrained)

    def near(self, points: Tensor) -> Neighbours:
        """Nearest neighbours in any space, of all samples among the references.

        Args:
            points: Shape (n, d).
        """
        rows = self.references
        found = nearest(points, points[rows], NEIGHBOURS, self.group, self.group[rows])
        return Neighbours(found.distance, rows[found.row])


def seen_by(network: nn.Module, data: Dataset) -> tuple[Tensor, Tensor]:
    """Features and logits of all images, on the CPU, float32, shapes (n, width) and (n, classes).

    Raises:
        ModelError: If the network has no linear layer, too few logits, or answers that are not
            finite.
    """
    device = device_of(network)
    seen, answers = [], []
    with frozen(network) as view, torch.no_grad():
        for part in data.chunks():
            for x in torch.split(part, BATCH):
                embedded, answer = features_and_answer(view, x.to(device))
                seen.append(embedded.float().cpu())
                answers.append(_logits(network, answer, data))
    both = torch.cat(seen), torch.cat(answers)
    for what, values in zip(("features", "logits"), both, strict=True):
        bad = (~values.isfinite().all(1)).nonzero()[:, 0]
        if len(bad):
            raise ModelError(
                f"{what} of {type(network).__name__} for {data.ids.names[int(bad[0])]} are not "
                "finite: give a network with finite ones"
            )
    return both


def _logits(network: nn.Module, answer: Tensor, data: Dataset) -> Tensor:
    """The logits of the classes, on the CPU, float32, shape (n, classes)."""
    if answer.ndim != 2 or answer.shape[1] < data.num_classes:
        raise ModelError(
            f"{type(network).__name__} answers with shape {tuple(answer.shape)}, {data.name} has "
            f"{data.num_classes} classes: give a network with a logit for each"
        )
    return answer[:, : data.num_classes].float().cpu()
