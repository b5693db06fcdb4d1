"""Initial points of decision-based attacks: any image that is adversarial, at any distance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.attacks.base import Problem
from tempering.attacks.query_oracle import QueryOracle
from tempering.attacks.start_images import StartImages
from tempering.core.errors import UsageError
from tempering.core.passes import count_no_start
from tempering.core.random import RandomStreams

TRIES = 200
"""Candidates of each kind that are tried per sample."""
_GRIDS = (1, 2, 4, 7, 14, 28)


def find_start(
    oracle: QueryOracle, problem: Problem, rows: Tensor, tries: int, starts: StartImages | None
) -> tuple[Tensor, Tensor]:
    """Try the attacker's own images, the negative, and noise until one is adversarial.

    Own images of a suitable class are tried nearest first. Every candidate takes a query
    and is brought into the threat's bounds. A sample without success is recorded in the
    open counter (`SampleCounts.no_start`).

    Args:
        oracle: Answers queries; has answered one for each sample before.
        problem: Images and streams.
        rows: Samples that are not fooled without a perturbation, shape (m,), int64.
        tries: Own images, and noise images, at most.
        starts: The attacker's own images; None for none.

    Returns:
        Starting images, shape of the problem's x (the image itself where none was
        found), and the rows for which one was found.
    """
    out = problem.x.clone()
    started = torch.zeros(len(out), dtype=torch.bool, device=out.device)

    def attempt(rows: Tensor, candidates: Tensor) -> None:
        low, high = problem.threat.bounds(problem.x[rows])
        candidates = candidates.clamp(low, high)
        success = oracle.fooled(candidates, rows)
        out[rows[success]] = candidates[success]
        started[rows[success]] = True

    if starts is not None and len(rows):
        own = starts.images().x.to(out)
        numbers = torch.full((len(out), tries), -1, dtype=torch.int64, device=out.device)
        nearest = starts.nearest(problem, rows, oracle.outputs, tries)
        numbers[rows, : nearest.shape[1]] = nearest
        for number in numbers.unbind(1):
            left = oracle.affordable(rows[~started[rows] & (number[rows] >= 0)])
            if not len(left):
                break
            attempt(left, own[number[left]])
    for attempt_number in range(tries):
        left = oracle.affordable(rows[~started[rows]])
        if not len(left):
            break
        streams = problem.streams[left].derive("start", attempt_number)
        attempt(left, _candidate(problem.x[left], streams, attempt_number))
    count_no_start(problem.streams.index[rows[~started[rows]]])
    return out, rows[started[rows]]


def check_tries(name: str, tries: int) -> None:
    """Refuse an invalid number of tries.

    Raises:
        UsageError: If it is no whole number of at least 1.
    """
    if not (isinstance(tries, int) and tries >= 1):
        raise UsageError(f"{name}: tries = {tries}: give a whole number of at least 1")


def _candidate(x: Tensor, streams: RandomStreams, number: int) -> Tensor:
    """The negative first; then noise alone and noise mixed with the image in turn."""
    if number == 0:
        return 1.0 - x
    noise = _noise(x, streams, (number - 1) // 2)
    if number % 2:
        return noise
    share = streams.derive("share").uniform((1, 1, 1)).to(x.dtype)
    return x + share * (noise - x)


def _noise(x: Tensor, streams: RandomStreams, turn: int) -> Tensor:
    """Grey blocks, black and white blocks, or black and white blobs of several sizes.

    The share of white is random, too: digits on black have little of it.
    """
    channels, height, width = x.shape[1:]
    grid = _GRIDS[turn % len(_GRIDS)]
    kind = turn // len(_GRIDS) % 3
    coarse = streams.uniform((channels, min(grid, height), min(grid, width)))
    blobs = kind == 2
    mode = "bilinear" if blobs else "nearest"
    noise = nn.functional.interpolate(coarse, (height, width), mode=mode)
    if kind:
        white = streams.derive("white").uniform((1,))
        values = noise.flatten(1).sort(dim=1, descending=True).values
        level = values.gather(1, (white * values.shape[1]).long())
        noise = (noise > level[:, :, None, None]).to(noise.dtype)
    return noise.to(x.dtype)
