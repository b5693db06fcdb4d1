"""Intervals of the first affine steps over L2 and L1 balls, tighter than over their boxes."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from tempering.certification.graph import Graph
from tempering.certification.operations import Affine

_ROWS = 1024
_SPARE = 1 + 1e-9
"""Covers the rounding of norms in float64."""


def straight(graph: Graph) -> list[bool]:
    """Steps that are affine in the image and reached through single-input steps."""
    is_straight: list[bool] = []
    for step in graph.steps:
        affine = isinstance(step.operation, Affine) and len(step.sources) == 1
        is_straight.append(step.operation is None or (affine and is_straight[step.sources[0]]))
    return is_straight


def dual_norms(graph: Graph, norm: str, like: Tensor) -> dict[int, Tensor]:
    """Norms of the coefficients with which images enter the first sums.

    By Hölder's inequality a change of length r in the norm moves a sum by at most r times the
    dual norm of its coefficients.

    Args:
        graph: The network.
        norm: `l2`, whose dual is the Euclidean length, or `l1`, whose dual is the largest entry.
        like: A tensor of the type and device of the weights.

    Returns:
        Step -> norms, shape (1, *shape of the step), for affine steps before any relaxation.
    """
    order = 2.0 if norm == "l2" else float("inf")
    norms = {}
    for number, is_straight in enumerate(straight(graph)):
        step = graph.steps[number]
        if not is_straight or step.operation is None or step.operation.pointwise:
            continue
        count = prod(step.shape)
        parts = []
        for places in torch.split(torch.arange(count, device=like.device), _ROWS):
            a = like.new_zeros(len(places), count).scatter(1, places[:, None], 1.0)
            image = _pulled(graph, number, a.reshape(-1, *step.shape))
            parts.append(torch.linalg.vector_norm(image.flatten(1), order, dim=1))
        norms[number] = torch.cat(parts).reshape(1, *step.shape) * _SPARE
    return norms


def _pulled(graph: Graph, number: int, a: Tensor) -> Tensor:
    """Coefficients of such a step, expressed in the image."""
    while number:
        operation = graph.steps[number].operation
        if not isinstance(operation, Affine):
            raise TypeError(f"step {graph.steps[number].name} is not affine")
        (a,) = operation.transpose(a)
        (number,) = graph.steps[number].sources
    return a
