"""Where a decision attack begins: any image, however far, that fools."""

from __future__ import annotations

import torch
from torch import Tensor

from tempering.attacks.asking import Oracle
from tempering.attacks.base import Problem
from tempering.core.random import Draws

TRIES = 50
"""Images that are tried for a sample before it is given up."""
_GRIDS = (1, 2, 4, 7)


def find_start(oracle: Oracle, problem: Problem, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Try the negative of each image, then noise of many grains, until one fools.

    Args:
        oracle: Answers, and counts.
        problem: Images and streams.
        rows: Samples that are not fooled as they are, shape (m,), int64.

    Returns:
        Starting images, shape of the problem's x (the image itself where none was
        found), and the rows for which one was found.
    """
    out = problem.x.clone()
    found = torch.zeros(len(out), dtype=torch.bool, device=out.device)
    for time in range(TRIES):
        seeking = oracle.may(rows[~found[rows]])
        if not len(seeking):
            break
        tried = _candidate(problem.x[seeking], problem.draws[seeking].to("start", time), time)
        won = oracle.fooled(tried, seeking)
        out[seeking[won]] = tried[won]
        found[seeking[won]] = True
    return out, rows[found[rows]]


def _candidate(x: Tensor, draws: Draws, time: int) -> Tensor:
    """The negative; then blocks of noise, coarse and fine, by turns plain and black and white."""
    if time == 0:
        return 1.0 - x
    channels, height, width = x.shape[1:]
    turn = (time - 1) % (2 * (len(_GRIDS) + 1))
    grid = [*_GRIDS, max(height, width)][turn // 2]
    rows = torch.arange(height, device=x.device) * min(grid, height) // height
    columns = torch.arange(width, device=x.device) * min(grid, width) // width
    noise = draws.uniform((channels, min(grid, height), min(grid, width))).to(x.dtype)
    if turn % 2:
        noise = noise.round()
    return noise[:, :, rows][:, :, :, columns]
