"""Where a decision attack begins: any image, however far, that fools."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tempering.attacks.asking import Oracle
from tempering.attacks.base import Problem
from tempering.attacks.stock import StartImages
from tempering.core.errors import UsageError
from tempering.core.random import RandomStreams
from tempering.core.tally import tally

TRIES = 200
"""Images of each kind that are tried for a sample before it is given up."""
_GRIDS = (1, 2, 4, 7, 14, 28)


def find_start(
    oracle: Oracle, problem: Problem, rows: Tensor, tries: int, starts: StartImages | None
) -> tuple[Tensor, Tensor]:
    """Try the attacker's own images, the negative, and noise of many grains, until one fools.

    Of its own images it tries those of a class that is wanted, nearest first. Every try
    is a query. A sample for which nothing fools is noted in the open tally.

    Args:
        oracle: Answers, and counts; asked about each sample before.
        problem: Images and streams.
        rows: Samples that are not fooled as they are, shape (m,), int64.
        tries: Images of its own, and of noise, at most.
        starts: The attacker's own images; None for none.

    Returns:
        Starting images, shape of the problem's x (the image itself where none was
        found), and the rows for which one was found.
    """
    out = problem.x.clone()
    found = torch.zeros(len(out), dtype=torch.bool, device=out.device)

    def attempt(seeking: Tensor, tried: Tensor) -> None:
        won = oracle.fooled(tried, seeking)
        out[seeking[won]] = tried[won]
        found[seeking[won]] = True

    if starts is not None and len(rows):
        own = starts.images().x.to(out)
        numbers = torch.full((len(out), tries), -1, dtype=torch.int64, device=out.device)
        nearest = starts.nearest(problem, rows, oracle.outputs, tries)
        numbers[rows, : nearest.shape[1]] = nearest
        for number in numbers.unbind(1):
            seeking = oracle.may(rows[~found[rows] & (number[rows] >= 0)])
            if not len(seeking):
                break
            attempt(seeking, own[number[seeking]])
    for time in range(tries):
        seeking = oracle.may(rows[~found[rows]])
        if not len(seeking):
            break
        streams = problem.streams[seeking].derive("start", time)
        attempt(seeking, _candidate(problem.x[seeking], streams, time))
    tally("no_start", problem.streams.index[rows[~found[rows]]])
    return out, rows[found[rows]]


def check_tries(name: str, tries: int) -> None:
    """Refuse a number of tries that finds no start.

    Raises:
        UsageError: If it is no whole number of at least 1.
    """
    if not (isinstance(tries, int) and tries >= 1):
        raise UsageError(f"{name}: tries = {tries}: give a whole number of at least 1")


def _candidate(x: Tensor, streams: RandomStreams, time: int) -> Tensor:
    """The negative; then noise, by turns alone and mixed with the image."""
    if time == 0:
        return 1.0 - x
    noise = _noise(x, streams, (time - 1) // 2)
    if time % 2:
        return noise
    share = streams.derive("share").uniform((1, 1, 1)).to(x.dtype)
    return x + share * (noise - x)


def _noise(x: Tensor, streams: RandomStreams, turn: int) -> Tensor:
    """Grey blocks, black and white blocks, or black and white blots, coarse and fine.

    The share of white is drawn too: digits on black have little of it.
    """
    channels, height, width = x.shape[1:]
    grid = _GRIDS[turn % len(_GRIDS)]
    kind = turn // len(_GRIDS) % 3
    coarse = streams.uniform((channels, min(grid, height), min(grid, width)))
    blots = kind == 2
    mode = "bilinear" if blots else "nearest"
    noise = nn.functional.interpolate(coarse, (height, width), mode=mode)
    if kind:
        white = streams.derive("white").uniform((1,))
        values = noise.flatten(1).sort(dim=1, descending=True).values
        level = values.gather(1, (white * values.shape[1]).long())
        noise = (noise > level[:, :, None, None]).to(noise.dtype)
    return noise.to(x.dtype)
