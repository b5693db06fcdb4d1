"""Votes of a classifier on noisy copies of images, in rounds, with samples that may leave early."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tempering.certification.batch_independence import require_batch_independence
from tempering.core.errors import ModelError
from tempering.core.probe import Probe, probing
from tempering.core.progress import track
from tempering.core.random import RandomStreams

Keep = Callable[[Tensor, int], Tensor]
"""From the votes of all samples, shape (n, rounds, outputs), and the draws that each has, to which
samples go on, shape (n,), bool."""


class Counted(NamedTuple):
    """Votes on the CPU.

    Attributes:
        votes: For each output in each round of draws, shape (n, rounds, outputs), int64; samples
            that lack draws have none.
        complete: Samples with all of their draws, shape (n,), bool.
        left: Samples that left early, shape (n,), bool.
    """

    votes: Tensor
    complete: Tensor
    left: Tensor


@dataclass(frozen=True, eq=False)
class NoisyVotes:
    """How votes are drawn.

    The noisy copies of all samples are one long queue, so batches are full whatever the number of
    draws; a copy's noise depends on its sample and its number alone, so that neither the batches
    nor the samples that leave change the draws of others.

    Attributes:
        sigma: Standard deviation of the noise.
        rounds: Draws of each round.
        batch_size: Noisy images at a time.
        classes: Outputs that the model must have at least.
        until: Time of the monotonic clock after which no batch is begun.
    """

    sigma: float
    rounds: tuple[int, ...]
    batch_size: int
    classes: int = 1
    until: float = math.inf

    def count(
        self,
        model: nn.Module,
        x: Tensor,
        streams: RandomStreams,
        what: str,
        pauses: Sequence[int] = (),
        keep: Keep | None = None,
    ) -> Counted:
        """Draw the votes of all samples.

        Args:
            model: From images to logits, shape (n, outputs).
            x: Images, shape (n, c, h, w).
            streams: One a sample, on the device of x.
            what: Is done, for progress.
            pauses: Numbers of draws after which samples may leave, ascending.
            keep: Which samples go on at a pause.

        Raises:
            ModelError: If logits depend on the batch, or are not such.
        """
        n, copies = len(x), sum(self.rounds)
        keys = streams.bits(1)[:, 0]
        active = torch.arange(n, device=x.device)
        votes = torch.zeros((n, len(self.rounds), 1), dtype=torch.int64, device=x.device)
        complete, total, done = torch.zeros(n, dtype=torch.bool), n * copies, 0
        left = torch.zeros_like(complete)
        ends = [*(pause for pause in pauses if 0 < pause < copies), copies]
        with (
            probing(model) as probe,
            torch.autocast(x.device.type, enabled=False),
            track(f"smoothing: {what} {n} images", total) as advance,
        ):
            for start, stop in zip([0, *ends], ends, strict=False):
                size = stop - start
                drawn = 0
                for at in range(0, len(active) * size, self.batch_size):
                    if time.monotonic() >= self.until:
                        break
                    last = min(at + self.batch_size, len(active) * size)
                    queue = torch.arange(at, last, device=x.device)
                    samples, copy = active[queue // size], start + queue % size
                    votes = self._add(probe, x, keys, streams, votes, samples, copy)
                    if not done:
                        require_batch_independence(probe, x)
                    drawn = last
                    done += len(queue)
                    finished = int(left.sum()) + (drawn // size if stop == copies else 0)
                    advance(done, f"{finished} of {n} images")
                active = active[: drawn // size]
                if stop == copies:
                    complete[active.cpu()] = True
                elif keep is not None:
                    stay = keep(votes, stop)[active]
                    left[active[~stay].cpu()] = True
                    done += int((~stay).sum()) * (copies - stop)
                    active = active[stay]
        votes = votes.cpu()
        votes[~(complete | left)] = 0
        return Counted(votes, complete, left)

    def _add(
        self,
        probe: Probe,
        x: Tensor,
        keys: Tensor,
        streams: RandomStreams,
        votes: Tensor,
        samples: Tensor,
        copy: Tensor,
    ) -> Tensor:
        """The votes with those of some copies."""
        noise = RandomStreams(keys[samples], copy).normal(x.shape[1:])
        noisy = x[samples] + (self.sigma * noise).to(x.dtype)
        logits = probe.logits(noisy, streams.index[samples])
        if logits.shape[1] < self.classes:
            raise ModelError(
                f"the model has {logits.shape[1]} outputs but labels go up to "
                f"{self.classes - 1}: give a model with at least {self.classes} outputs"
            )
        if votes.shape[2] < logits.shape[1]:
            votes = votes.new_zeros((*votes.shape[:2], logits.shape[1]))
        bounds = torch.tensor(self.rounds, device=x.device).cumsum(0)
        round_of = torch.searchsorted(bounds, copy, right=True)
        votes.index_put_(
            (samples, round_of, logits.argmax(1)), torch.ones_like(samples), accumulate=True
        )
        return votes
