"""A gray-box attacker's own model, where none is given: a small network on the training data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tempering.app.folder import RunFolder
from tempering.app.recipe import Recipe
from tempering.app.train_models import Trainer
from tempering.core.engine import Engine
from tempering.core.errors import ModelError
from tempering.core.naming import samples_named
from tempering.core.passes import uncounted
from tempering.core.probe import probing
from tempering.core.random import derive
from tempering.core.records import Count, Surrogate
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.models.registry import build
from tempering.models.weights import weights_hash

NETWORK = "strided_cnn"
OPTIONS = {"width": 16, "hidden": 100, "squeeze": None, "adversarial_class": False}
"""A network that a CPU trains in half a minute on MNIST."""
SHARE = 1 / 3
"""Of the time that an evaluation has, what the training may take."""


@dataclass(frozen=True)
class TrainedSurrogate:
    """What a gray-box attacker made for themselves.

    Attributes:
        model: From images in [0, 1] to logits.
        record: How it was made.
    """

    model: nn.Module
    record: Surrogate


def train_surrogate(
    recipe: Recipe,
    data: Splits,
    engine: Engine,
    folder: RunFolder | None = None,
    seconds: float | None = None,
) -> TrainedSurrogate:
    """Train a small network without a defence on training data; test data are not looked at.

    The training is that of a recipe's undefended model. It depends on the seed alone; in a
    folder it is saved, and neither begun again nor done twice. Its passes are not counted.

    Args:
        recipe: Seed, and how to train.
        data: Its training data are learnt from, its validation data tell how well.
        engine: Where to compute.
        folder: Of the run; None to keep nothing.
        seconds: How long the evaluation may take: a third of it is for this.

    Returns:
        The model in evaluation mode, and its record.

    Raises:
        ModelError: If there is no small network for images of this size.
        InterruptedRunError: On Ctrl-C, after saving.
    """
    seed = derive(recipe.seed, "gray-box surrogate")
    try:
        model = build(NETWORK, data.shape, data.num_classes, seed=seed, **OPTIONS)
    except ModelError as error:
        raise ModelError(f"no surrogate can be trained: {error}, or a --surrogate") from error
    plan = recipe.training.undefended
    if seconds is not None:
        stopping = plan.stopping.model_copy(update={"budget_seconds": SHARE * seconds})
        plan = plan.model_copy(update={"stopping": stopping, "steps_per_round": 10})
    training = recipe.training.model_copy(update={"undefended": plan})
    with _room(folder, engine) as room, uncounted():
        trainer = Trainer(recipe.model_copy(update={"training": training}), data, engine, room)
        trained = trainer.undefended(model, "surrogate", seed)
        validation = _right(trained.model, data.validation, engine.device)
    record = Surrogate(
        network=NETWORK,
        samples=len(data.train),
        steps=trained.stop.steps if trained.stop else 0,
        seed=seed,
        validation=validation,
        weights=weights_hash(trained.model),
    )
    return TrainedSurrogate(trained.model, record)


@contextmanager
def _room(folder: RunFolder | None, engine: Engine) -> Iterator[RunFolder]:
    """Where the training is saved."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as own:
        yield RunFolder(Path(engine.broadcast(own)))
        engine.barrier()


def _right(model: nn.Module, data: Dataset, device: torch.device) -> Count:
    """How much of some data a model gets right."""
    hits = 0
    with probing(model) as probe, samples_named(data.ids.name_of):
        for rows in torch.split(torch.arange(len(data)), 1000):
            answers = probe.logits(data.x[rows].to(device), data.ids.keys[rows]).argmax(1).cpu()
            hits += int((answers == data.y[rows]).sum())
    return Count(hits=hits, n=len(data))
