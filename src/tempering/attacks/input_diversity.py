"""Input diversity: images are randomly resized and shifted before each gradient."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from tempering.core.errors import AttackError
from tempering.core.probe import Loss, Probe
from tempering.core.random import RandomStreams

_SMALLEST = 0.9
"""Smallest size of a resized image, relative to the original."""


class InputDiversityProbe(Probe):
    """A model whose input is resized and shifted with some probability.

    Xie et al., 2019, equation 3. Sizes and shifts depend on the sample and the
    number of its gradient only, not on the batch.

    Attributes:
        probability: Of a transformation.
    """

    stateful = True

    def __init__(self, model: nn.Module, probability: float, streams: RandomStreams) -> None:
        super().__init__(model)
        self.probability = probability
        self._seed = streams.derive("variety").key
        self._times: Counter[int] = Counter()

    def gradient(self, x: Tensor, loss: Loss, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits of the transformed images, and the gradient with respect to the original ones."""
        if index is None:
            raise AttackError("input diversity is drawn per sample: give the sample numbers")
        numbers = index.tolist()
        times = torch.tensor([self._times[number] for number in numbers], device=x.device)
        self._times.update(numbers)
        streams = RandomStreams(self._seed, index.to(x.device))
        grid = torch.empty(len(x), *x.shape[2:], 2, dtype=x.dtype, device=x.device)
        for time in sorted(set(times.tolist())):
            rows = (times == time).nonzero()[:, 0]
            grid[rows] = self._grid(streams[rows].derive("time", time), x[rows])
        inner = self.model
        self.model = _Resampled(inner, grid)
        try:
            return super().gradient(x, loss, index)
        finally:
            self.model = inner

    def _grid(self, streams: RandomStreams, x: Tensor) -> Tensor:
        """Sampling positions of each pixel of the transformed image, -1 to 1."""
        changed = streams.derive("whether").uniform((1,)) < self.probability
        size = streams.derive("size").uniform((1,), _SMALLEST, 1.0)
        place = streams.derive("place").uniform((2,), -1.0, 1.0) * (1.0 - size)
        size = torch.where(changed, size, torch.ones_like(size)).to(x.dtype)
        place = torch.where(changed, place, torch.zeros_like(place)).to(x.dtype)
        theta = torch.zeros(len(x), 2, 3, dtype=x.dtype, device=x.device)
        theta[:, 0, 0] = theta[:, 1, 1] = 1.0 / size[:, 0]
        theta[:, :, 2] = -place / size
        return nn.functional.affine_grid(theta, list(x.shape), align_corners=False)


class _Resampled(nn.Module):
    """A model behind a resampling of its images; pixels outside of the image are 0."""

    def __init__(self, model: nn.Module, grid: Tensor) -> None:
        super().__init__()
        self.inner, self.grid = model, grid

    def forward(self, x: Tensor) -> Tensor:
        grid = self.grid.float() if x.dtype in (torch.float16, torch.bfloat16) else self.grid
        seen = nn.functional.grid_sample(
            x.to(grid.dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        logits: Tensor = self.inner(seen.to(x.dtype))
        return logits
