"""Detectors that are fitted to data: what they are fitted to, keep, and refuse."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from tempering.core.errors import DataError, ModelError
from tempering.core.protocols import Detector
from tempering.defenses.fitting_samples import DetectorSamples


class FittedDetector(Detector):
    """A detector that learns from samples, and keeps what it learned in tensors.

    What is learned lies in buffers and parameters whose shapes follow from the options `sizes`,
    so that a saved detector is built again from its manifest and filled from safetensors. A
    subclass defines `allocate`, `learn` and `measure`, and calls `declare(sizes)` at the end of
    its constructor.

    Attributes:
        sizes: The sizes that `size_names` names; empty before `fit`.
        size_names: What each of the sizes is.
        needs_attacks: Whether it learns from adversarial samples too.
        held_out: Whether it must learn from samples that its network was not trained on.
    """

    size_names: ClassVar[tuple[str, ...]]
    needs_attacks: ClassVar[bool] = False
    held_out: ClassVar[bool] = False

    sizes: tuple[int, ...]

    @abstractmethod
    def allocate(self, *sizes: int) -> None:
        """Create buffers and submodules of these sizes; of sizes 0 before it is fitted."""

    @abstractmethod
    def learn(self, samples: DetectorSamples, seed: int) -> None:
        """Call `declare` with the sizes, and fill buffers and submodules."""

    @abstractmethod
    def measure(self, x: Tensor) -> Tensor:
        """Scores, shape (n,), of a fitted detector."""

    def declare(self, sizes: Sequence[int]) -> None:
        """Set the sizes, and allocate what has them.

        Raises:
            ModelError: If they are no sizes of this detector.
        """
        names = self.size_names
        wrong = [size for size in sizes if type(size) is not int or size < 1]
        if len(sizes) not in (0, len(names)) or wrong:
            raise ModelError(
                f"{type(self).__name__}: sizes {list(sizes)}: give {', '.join(names)}, "
                "whole numbers from 1, or none before it is fitted"
            )
        self.sizes = tuple(sizes)
        self.allocate(*(sizes or [0] * len(names)))

    def reserve(self, **shapes: tuple[int, ...]) -> None:
        """Register float32 buffers of these shapes, filled with NaN until they are learned."""
        for name, shape in shapes.items():
            empty = torch.full(shape, float("nan"), device=self.threshold.device)
            self.register_buffer(name, empty)

    def fill(self, **values: Tensor) -> None:
        """Copy values into buffers, in place.

        Raises:
            ModelError: If a value is not finite.
        """
        for name, value in values.items():
            if not bool(value.isfinite().all()):
                raise ModelError(
                    f"{type(self).__name__}: {name} is not finite after fitting: "
                    "give images and features that vary"
                )
            self.get_buffer(name).copy_(value)

    def fit(self, samples: DetectorSamples, seed: int = 0) -> Self:
        """Learn from samples; the threshold is set afterwards, by `calibrate`.

        Args:
            samples: Clean and, if `needs_attacks`, adversarial training samples.
            seed: Of all random draws.

        Returns:
            The detector itself.

        Raises:
            DataError: If there are too few samples.
            UsageError: If it needs adversarial samples and there are none.
            ModelError: If features are not finite.
        """
        self.require(samples.x, 2)
        if self.needs_attacks:
            samples.require_attacks(type(self).__name__)
        self.learn(samples, seed)
        return self

    def require(self, x: Tensor, least: int, what: str = "samples") -> None:
        """Refuse too few samples.

        Raises:
            DataError: Naming how many are needed.
        """
        if len(x) < least:
            raise DataError(f"{type(self).__name__}: {len(x)} {what}: give at least {least}")

    def require_fitted(self) -> None:
        """Refuse to go on before it is fitted.

        Raises:
            ModelError: If it is not fitted.
        """
        if not self.sizes:
            raise ModelError(
                f"{type(self).__name__} is not fitted: call fit(samples), or use fit_detector"
            )

    def score(self, x: Tensor) -> Tensor:
        """Scores, shape (n,).

        Raises:
            ModelError: If it is not fitted.
        """
        self.require_fitted()
        return self.measure(x)
