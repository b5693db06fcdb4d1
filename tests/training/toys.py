"""Data and a network small enough to train in a blink."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tempering.core.engine import Engine, start_engine
from tempering.core.records import Count, Round
from tempering.core.threats import Linf, Threat
from tempering.data.dataset import Dataset
from tempering.training.batches import Augment, BatchMaker
from tempering.training.loop import Checkpoints, LoopConfig, Rounds, Validate, Validation
from tempering.training.objective import Batch, Objective
from tempering.training.objectives.paper import Paper
from tempering.training.settings import Mixture, Optimisation, Stopping, TrainConfig

ENGINE = start_engine("32-true")
CLASSES, FLAG, OUTPUTS = 2, 2, 3
THREAT = Linf(0.2)


def dataset(n: int = 60, seed: int = 0) -> Dataset:
    """Grey images, so that neither noise nor attacks meet the box; bright ones are class 1."""
    x = 0.3 + 0.4 * torch.rand(n, 1, 3, 3, generator=torch.Generator().manual_seed(seed))
    return Dataset(x, (x.flatten(1).mean(1) > 0.5).long(), ("dark", "bright"), "toy/train")


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(9, 12), nn.ReLU(), nn.Dropout(0.25), nn.Linear(12, OUTPUTS)
        )


def mixture(**changes: Any) -> Mixture:
    settings: dict[str, Any] = {
        "clean": 0.3334,
        "noisy": 0.3333,
        "adversarial": 0.3333,
        "attacks": ["fgsm", "pgd:steps=2"],
        "sigma": 0.05,
        "alpha": 0.3,
        "label_smoothing": 0.1,
        "lam_max": 0.5,
        "eps_warmup_steps": 0,
    }
    return Mixture.model_validate(settings | changes)


def paper(**changes: Any) -> Paper:
    """The objective `paper` with the toys' mixture; attacks as text."""
    return Paper(**dict(mixture(**changes)))


def plan(steps: int = 12, per_round: int = 4, floor: float = 0.0, **changes: Any) -> TrainConfig:
    optimisation: dict[str, Any] = {
        "batch_size": 12,
        "learning_rate": 0.01,
        "schedule": "constant",
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "averaging": 0.0,
    }
    stopping = {"max_iterations": steps} | changes.pop("stopping", {})
    given = changes.pop("mixture", None)
    objective = changes.pop("objective", "paper")
    return TrainConfig(
        objective=objective,
        optimisation=Optimisation.model_validate(optimisation | changes),
        mixture=given or mixture(),
        stopping=Stopping.model_validate(stopping),
        steps_per_round=per_round,
        clean_floor=floor,
    )


def maker(data: Dataset | None = None, seed: int = 5, **changes: Any) -> BatchMaker:
    settings: dict[str, Any] = {
        "data": data or dataset(),
        "threat": THREAT,
        "batch_size": 12,
        "seed": seed,
        "steps": 100,
        "outputs": OUTPUTS,
        "flag": FLAG,
        "augment": None,
    }
    return BatchMaker(**(settings | changes))


def batch_of(
    batches: BatchMaker,
    objective: Objective,
    step: int = 0,
    model: nn.Module | None = None,
    engine: Engine = ENGINE,
) -> Batch:
    """The batch of a step, with what an objective adds to it."""
    order = batches.order(step // batches.steps_per_epoch)
    ramp = objective.ramp(step, batches.steps)
    attacked = (model or network()).eval()
    return objective.perturb(batches.make(step, order, ramp, attacked, engine))


def detecting(model: nn.Module) -> nn.Module:
    """A model whose last output is the adversarial class."""
    model.adversarial_class = FLAG  # type: ignore[assignment]
    return model


def job(
    folder: Path,
    plan: TrainConfig,
    validate: Validate | None = None,
    *,
    data: Dataset | None = None,
    validation: Dataset | None = None,
    objective: Objective | None = None,
    threat: Threat = THREAT,
    seed: int = 5,
    augment: Augment | None = None,
    baseline: float = 0.0,
    save_every: float = 1000.0,
    key: str = "one",
) -> LoopConfig:
    return LoopConfig(
        name="hardened",
        data=data or dataset(),
        validation=validation or dataset(20, seed=1),
        objective=objective or plan.objective_value(),
        update=plan.update_config(threat, seed, augment),
        rounds=Rounds(
            plan.steps_per_round, plan.stopping.rule(), plan.clean_floor, validate, baseline
        ),
        checkpoints=Checkpoints(folder / "hardened.safetensors", key, save_every),
    )


@dataclass
class Script:
    """A judge that says what a test wants, and keeps the weights that it saw."""

    worst: list[int]
    clean: list[int] | None = None

    def __post_init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def __call__(self, model: nn.Module) -> Validation:
        number = len(self.seen)
        self.seen.append({k: v.clone() for k, v in model.state_dict().items()})
        worst = Count(hits=self.worst[number], n=10)
        clean = Count(hits=self.clean[number] if self.clean else 10, n=10)
        return Validation(clean=clean, worst=worst, by_attack={"fgsm": worst})


def same(tensors: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return tensors.keys() == other.keys() and all(
        torch.equal(tensors[name], other[name]) for name in tensors
    )


def round_(number: int, worst: float, gain: float = 0.0, outcome: str = "kept") -> Round:
    count = Count(hits=round(1000 * worst), n=1000)
    return Round(
        round=number,
        step=10 * (number + 1),
        clean=Count(hits=1000, n=1000),
        worst=count,
        by_attack={"fgsm": count},
        gain=gain,
        outcome=outcome,  # type: ignore[arg-type]
        reason="made by hand",
        seconds=1.0,
    )
