"""Random draws that depend on the sample, never on its batch.

A draw is a hash of (seed, labels, sample, element), computed with integer arithmetic
alone. So batch size, order, shard, process count and device change no draw, and any
step of a job can be replayed from its number: nothing has a state that must be saved.
A sample of a dataset is known by the hash of its source id (`sample_keys`), so that
removing or moving samples changes no draw of the others.

The mixer is SplitMix64 (Steele, Lea and Flood, 2014).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB
_UNIT = 1.0 / (1 << 24)


def derive(seed: int, *labels: str | int) -> int:
    """Derive a 63-bit key from a seed and labels.

    Args:
        seed: Any integer.
        *labels: What the key is for, such as `"pgd", "restart", 1`.

    Returns:
        An integer in [0, 2**63), equal for equal arguments on every machine.

    Example:
        >>> derive(0, "pgd") == derive(0, "pgd")
        True
    """
    text = "\x1f".join([str(seed), *(f"{type(label).__name__}:{label}" for label in labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def sample_keys(ids: Iterable[str]) -> Tensor:
    """Keys of samples from their source ids: BLAKE2b, 63 bits.

    Args:
        ids: Such as `train/123` or `cats/tom.png`.

    Returns:
        Shape (n,), int64, at least 0; equal for equal ids on every machine.

    Example:
        >>> bool(sample_keys(["train/0", "train/1"])[1] == sample_keys(["train/1"])[0])
        True
    """
    digests = (
        hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        for name in ids
    )
    keys = np.frombuffer(b"".join(digests), "<i8").astype(np.int64)
    return torch.from_numpy(keys & np.int64(2**63 - 1))


def _shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


@dataclass(frozen=True, eq=False)
class RandomStreams:
    """The random streams of some samples.

    Attributes:
        seed: Key of the streams; `derive` makes one from a user's seed. One a row, shape
            (n,), int64, where streams of several purposes lie side by side.
        index: Which stream each row uses, shape (n,), int64: keys of the samples' ids
            (`Dataset.ids.keys`), or row numbers where there is no dataset.

    Example:
        >>> streams = RandomStreams.of(seed=0, n=4)
        >>> bool((streams.uniform((3,))[2] == streams[2:3].uniform((3,))[0]).all())
        True
    """

    seed: int | Tensor
    index: Tensor

    @classmethod
    def of(cls, seed: int, n: int) -> RandomStreams:
        """Streams for samples 0 to n - 1."""
        return cls(seed, torch.arange(n))

    @classmethod
    def side_by_side(cls, parts: Sequence[RandomStreams]) -> RandomStreams:
        """The rows of several, each with its own streams; one alone is as it was.

        Example:
            >>> streams = RandomStreams.of(0, 2)
            >>> once, again = streams.derive("once"), streams.derive("again")
            >>> both = RandomStreams.side_by_side([once, again]).uniform((3,))
            >>> bool((both[2:] == again.uniform((3,))).all())
            True
        """
        if len(parts) == 1:
            return parts[0]
        seeds = [torch.zeros_like(part.index) + part.seed for part in parts]
        return cls(torch.cat(seeds), torch.cat([part.index for part in parts]))

    @property
    def key(self) -> int:
        """The one key of all rows.

        Raises:
            ValueError: If rows have keys of their own.
        """
        if isinstance(self.seed, Tensor):
            raise ValueError("streams that lie side by side have no one key")
        return self.seed

    def derive(self, *labels: str | int) -> RandomStreams:
        """The streams of the same samples for another purpose."""
        if isinstance(self.seed, Tensor):
            keys, which = torch.unique_consecutive(self.seed, return_inverse=True)
            derived = keys.new_tensor([derive(key, *labels) for key in keys.tolist()])
            return replace(self, seed=derived[which])
        return replace(self, seed=derive(self.seed, *labels))

    def on(self, device: torch.device) -> RandomStreams:
        """The same streams, drawn on another device."""
        seed = self.seed.to(device) if isinstance(self.seed, Tensor) else self.seed
        return replace(self, seed=seed, index=self.index.to(device))

    def __getitem__(self, rows: Tensor | slice) -> RandomStreams:
        seed = self.seed[rows] if isinstance(self.seed, Tensor) else self.seed
        return replace(self, seed=seed, index=self.index[rows])

    def __len__(self) -> int:
        return len(self.index)

    def bits(self, elements: int) -> Tensor:
        """64 random bits an element, shape (n, elements), int64."""
        key = _mix(self.index.to(torch.int64) * _GOLDEN + self.seed)
        steps = torch.arange(1, elements + 1, device=self.index.device) * _GOLDEN
        return _mix(key[:, None] + steps[None, :])

    def uniform(self, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform draws in [low, high), shape (n, *shape), float32."""
        unit = _shift(self.bits(math.prod(shape)), 40).to(torch.float32) * _UNIT
        return (low + (high - low) * unit).reshape(len(self), *shape)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal draws (Box and Muller, 1958), shape (n, *shape), float32."""
        count = math.prod(shape)
        bits = self.bits(count)
        radius_unit = (_shift(bits, 40).to(torch.float32) + 1.0) * _UNIT
        angle_unit = (bits & ((1 << 24) - 1)).to(torch.float32) * _UNIT
        radius = torch.sqrt(-2.0 * torch.log(radius_unit))
        return (radius * torch.cos(2.0 * math.pi * angle_unit)).reshape(len(self), *shape)

    def choice(self, options: int) -> Tensor:
        """One of `options` values for each sample, shape (n,), int64."""
        return (_shift(self.bits(1)[:, 0], 1) % options).to(torch.int64)

    def order(self) -> Tensor:
        """A random order of the rows, shape (n,), int64.

        Rows are sorted by one draw each, so removing one leaves the others in their order.
        """
        return self.bits(1)[:, 0].argsort(stable=True)


def permutation(seed: int, n: int) -> Tensor:
    """A random order of 0 to n - 1, shape (n,), int64, equal for equal seeds."""
    return RandomStreams.of(seed, n).order()
