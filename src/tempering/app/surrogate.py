"""A gray-box attacker's own model, where none is given: a small network on the training data."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from tempering.app.folder import RunFolder
from tempering.app.quick import SURROGATE_STEPS
from tempering.core.engine import Engine
from tempering.core.errors import DataError, ModelError
from tempering.core.naming import samples_named
from tempering.core.passes import uncounted
from tempering.core.probe import probing
from tempering.core.random import derive
from tempering.core.records import Count, Surrogate
from tempering.core.threats import Linf
from tempering.data.augmentation import Augmentation
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.evaluation.context import EvalContext
from tempering.models.registry import build
from tempering.models.weights import weights_hash
from tempering.training.averaging import EMA
from tempering.training.loop import Checkpoints, LoopConfig, Rounds, train
from tempering.training.objectives.standard import Standard
from tempering.training.optimizers import AdamW
from tempering.training.schedules import Linear, Warmup
from tempering.training.step_values import StepConfig
from tempering.training.stopping import AnyOf, Budget, MaxIterations, StopRule

NETWORK = "strided_cnn"
OPTIONS = {"width": 16, "hidden": 100, "squeeze": None, "adversarial_class": False}
"""A network that a CPU trains in half a minute on MNIST."""
_LEAST_SECONDS = 5.0
SHARE = 1 / 3
"""Of the time that an evaluation has, what the training may take."""


@dataclass(frozen=True)
class SurrogateConfig:
    """How a surrogate is trained.

    Attributes:
        steps: Mini-batch steps.
        batch_size: Images a step, over all processes.
        learning_rate: Peak step size of AdamW; it falls linearly to 0.
        warmup_steps: Steps over which the learning rate rises.
        averaging: Decay of the moving average of the weights.
        steps_per_round: Steps between looks at validation data, and at the clock.
        checkpoint_seconds: Time between checkpoints; it changes nothing in the result.
    """

    steps: int = 860
    batch_size: int = 128
    learning_rate: float = 2e-3
    warmup_steps: int = 50
    averaging: float = 0.99
    steps_per_round: int = 430
    checkpoint_seconds: float = 10.0


QUICK_SURROGATE = SurrogateConfig(steps=SURROGATE_STEPS, steps_per_round=SURROGATE_STEPS)
"""For a quick look, and where gradients turn out to be masked."""


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
    seed: int,
    data: Splits,
    engine: Engine,
    folder: RunFolder | None = None,
    seconds: float | None = None,
    config: SurrogateConfig | None = None,
) -> TrainedSurrogate:
    """Train a small network without a defense on training data; test data is not looked at.

    The result depends on the seed alone. In a folder the training is saved: it is neither
    begun again nor done twice. Its passes are not counted.

    Args:
        seed: Of the evaluation.
        data: Training data, and validation data that tells how well the network does.
        engine: Where to compute.
        folder: Of the run; None to keep nothing.
        seconds: How long the evaluation may take: a third of it is for this.
        config: How to train; by default as `SurrogateConfig()` says.

    Returns:
        The model in evaluation mode, and its record.

    Raises:
        ModelError: If there is no small network for images of this size.
        InterruptedRunError: On Ctrl-C, after saving.
    """
    config, seed = config or SurrogateConfig(), derive(seed, "gray-box surrogate")
    try:
        model = build(NETWORK, data.shape, data.num_classes, seed=seed, **OPTIONS)
    except ModelError as error:
        raise ModelError(f"no surrogate can be trained: {error}, or a --surrogate") from error
    with _room(folder, engine) as room, uncounted():
        loop = _loop(config, data, seed, room.checkpoint("surrogate"), engine, seconds)
        _, stop = train(model, loop, engine)
        validation = _right(model.eval(), data.validation, engine.device)
    record = Surrogate(
        network=NETWORK,
        samples=len(data.train),
        steps=stop.steps,
        seed=seed,
        validation=validation,
        weights=weights_hash(model),
    )
    return TrainedSurrogate(model, record)


def quick_surrogate(
    context: EvalContext, data: Dataset | Splits, folder: RunFolder | None, seconds: float
) -> nn.Module | None:
    """A surrogate for an evaluation that has met masked gradients.

    Args:
        context: Seed and engine of the evaluation.
        data: Training data; without it, the test data that a white-box attacker knows too.
        folder: Of the run; None to keep nothing.
        seconds: How long the evaluation may go on; infinite for no limit.

    Returns:
        The model in evaluation mode; None if there is too little data or time, or no small
        network for images of this size.
    """
    if seconds < _LEAST_SECONDS:
        return None
    limit = None if math.isinf(seconds) else seconds
    try:
        splits = data if isinstance(data, Splits) else Splits.of(data, seed=context.seed)
        made = train_surrogate(context.seed, splits, context.engine, folder, limit, QUICK_SURROGATE)
    except (DataError, ModelError):
        return None
    return made.model


def _loop(
    config: SurrogateConfig,
    data: Splits,
    seed: int,
    path: Path,
    engine: Engine,
    seconds: float | None,
) -> LoopConfig:
    """One training, with a time limit if there is one."""
    rules: list[StopRule] = [MaxIterations(config.steps)]
    if seconds is not None:
        rules.append(Budget(SHARE * seconds))
    described = [asdict(config), seed, data.data_hash, data.train.ids.hash, engine.precision]
    key = hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]
    return LoopConfig(
        name="surrogate",
        data=data.train,
        validation=data.validation,
        objective=Standard(),
        update=StepConfig(
            threat=Linf(0.0),
            batch_size=config.batch_size,
            seed=derive(seed, "training", "surrogate"),
            optimizer=AdamW(config.learning_rate, weight_decay=0.0),
            schedule=Warmup(config.warmup_steps, Linear()),
            averaging=EMA(config.averaging),
            total_steps=config.steps,
            augment=Augmentation().bind(data.shape[0]),
        ),
        rounds=Rounds(config.steps_per_round if seconds is None else 10, AnyOf(tuple(rules))),
        checkpoints=Checkpoints(path, key, config.checkpoint_seconds),
    )


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
            answers = (
                probe.logits(data.images(rows).to(device), data.ids.keys[rows]).argmax(1).cpu()
            )
            hits += int((answers == data.y[rows]).sum())
    return Count(hits=hits, n=len(data))
