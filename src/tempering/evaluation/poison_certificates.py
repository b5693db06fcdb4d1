"""Certified accuracy against poisoned training data, as a record."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from tempering.certification.poisoning import poisons_withstood, voted
from tempering.core.errors import ModelError
from tempering.core.measurement_records import PoisonCertificates
from tempering.core.record import Cost, Count
from tempering.core.user_code import set_evaluation_mode
from tempering.data.dataset import Dataset
from tempering.models.voting import Voting
from tempering.models.weights import weights_hash


def certify_poisoning(model: torch.nn.Module, data: Dataset) -> PoisonCertificates:
    """Certify predictions against poisons among the training samples.

    Args:
        model: A vote over disjoint parts, as `tempering.training.train_partitions` returns it.
        data: Test data.

    Returns:
        For each number of poisons, how many samples are right and certified to stay so.

    Raises:
        ModelError: If the model is no vote.
    """
    if not isinstance(model, Voting):
        raise ModelError(
            f"a {type(model).__name__} has no certificate against poisons: "
            "give what train_partitions returned"
        )
    started = time.perf_counter()
    set_evaluation_mode(model)
    withstood, right = _verdicts(model, data)
    largest = int(withstood[right].max()) if bool(right.any()) else -1
    return PoisonCertificates(
        parts=len(model.members),
        n=len(data),
        within=[
            Count(hits=int((right & (withstood >= poisons)).sum()), n=len(data))
            for poisons in range(largest + 2)
        ],
        cost=Cost(forward=len(data) * len(model.members), seconds=time.perf_counter() - started),
        weights=weights_hash(model),
        data_hash=data.content_hash,
    )


def _verdicts(model: Voting, data: Dataset) -> tuple[Tensor, Tensor]:
    """Poisons that each prediction withstands, and whether it is right, shape (n,) each."""
    device = next(model.parameters()).device
    votes = torch.cat([model.votes(x.to(device)).cpu() for x in data.chunks()])
    return poisons_withstood(votes), voted(votes) == data.y
