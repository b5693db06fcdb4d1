"""The trainings of a run: undefended, hardened, surrogate, single-pass."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tempering.app.compute import BATCH_SIZE
from tempering.app.folder import RunFolder
from tempering.app.recipe import Recipe
from tempering.core.engine import Engine
from tempering.core.errors import UsageError
from tempering.core.probe import probing
from tempering.core.random import derive
from tempering.core.records import Count, Epoch, Round, Stop
from tempering.core.specs import FROM_PYTHON
from tempering.core.threat_text import identify_threat
from tempering.core.threats import Threat
from tempering.core.user_code import moved, set_evaluation_mode
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.target import Target
from tempering.models.weights import weights_hash
from tempering.training.loop import (
    Checkpoints,
    LoopConfig,
    Rounds,
    Validate,
    Validation,
    train,
)
from tempering.training.objective import Objective
from tempering.training.objectives.registry import OBJECTIVES, parse_objective
from tempering.training.settings import TrainConfig
from tempering.training.stopping import StopRule

OBJECTIVE = "training.hardened.objective"
BOUNDS = "certified by the trained bounds"
"""What stands in the place of attacks where rounds are judged by certificates."""


def choose_objective(
    objective: Objective | str | None, overrides: Sequence[str]
) -> tuple[list[str], Objective | None]:
    """Write a given objective into the overrides of a recipe.

    Args:
        objective: A value, or as people write it; None leaves it to the recipe.
        overrides: `section.key=value`.

    Returns:
        The overrides, and the value if text cannot say all of it.
    """
    if objective is None:
        return list(overrides), None
    if not isinstance(objective, str | Objective):
        raise UsageError(f"objective = {objective!r}: give a value, or its name, such as 'trades'")
    if isinstance(objective, str):
        return [*overrides, f"{OBJECTIVE}={json.dumps(objective)}"], None
    text = objective.spec()
    if objective.name in OBJECTIVES and parse_objective(text) == objective:
        return [*overrides, f"{OBJECTIVE}={json.dumps(text)}"], None
    return [*overrides, f"{OBJECTIVE}={json.dumps(FROM_PYTHON + objective.name)}"], objective


@dataclass(frozen=True)
class Trained:
    """A model and how its training went.

    Attributes:
        model: The network with the weights of its best round, in evaluation mode.
        history: Epochs and rounds.
        stop: Why it ended; None where nothing was trained.
    """

    model: nn.Module
    history: tuple[Epoch | Round, ...] = ()
    stop: Stop | None = None


@dataclass(frozen=True)
class Trainer:
    """Trains the models of one run.

    Attributes:
        recipe: All numbers.
        data: Training and validation data.
        engine: Where to compute.
        folder: Where checkpoints go.
        objective: What hardening minimizes; None takes the recipe's.
        batch_size: Images at a time where a round is judged.
    """

    recipe: Recipe
    data: Splits
    engine: Engine
    folder: RunFolder
    objective: Objective | None = None
    batch_size: int = BATCH_SIZE

    @property
    def threat(self) -> Threat:
        """What models are hardened against."""
        return self.recipe.threat

    @property
    def hardening(self) -> Objective:
        """What hardening minimizes."""
        return self.objective or self.recipe.training.hardened.objective_value()

    def rule(self, config: TrainConfig) -> StopRule:
        """When a training ends."""
        return config.stopping.rule()

    def undefended(self, model: nn.Module, name: str, seed: int, file: str = "") -> Trained:
        """Train without a defense."""
        config = self.recipe.training.undefended
        return self._train(model, name, config, config.objective_value(), seed, file=file)

    def hardened(
        self,
        model: nn.Module,
        name: str,
        seed: int,
        baseline: float,
        undefended: nn.Module | None = None,
        iterations: int | None = None,
        file: str = "",
    ) -> Trained:
        """Train with the hardening objective; the best round on validation is kept.

        Args:
            model: The network; trained in place.
            name: Whose training this is.
            seed: Of all its draws.
            baseline: Worst-case accuracy of the undefended model on validation data.
            undefended: That model, for objectives that need it.
            iterations: Steps at most; None for the recipe's own.
            file: Name of its checkpoint; by default that of the training.
        """
        config = self.recipe.training.hardened
        if iterations is not None:
            config = config.with_max_iterations(iterations)
        return self._train(
            model, name, config, self.hardening, seed, undefended, self.validate(), baseline, file
        )

    def single_pass(self, model: nn.Module, undefended: nn.Module, seed: int) -> Trained:
        """Train once on clean images and on copies attacked once on the undefended model."""
        config = self.recipe.training.single_pass_config
        objective = config.objective_value()
        return self._train(model, "single-pass", config, objective, seed, undefended)

    def validate(self) -> Validate:
        """Validation of rounds: by attacks, or by the bounds that the objective trains."""
        data = self.data.validation.first(self.recipe.training.validation.samples)
        attacked = self._attacked(data)

        def validate(model: nn.Module) -> Validation:
            right, proven = 0, 0
            with probing(model) as probe:
                for rows in torch.split(torch.arange(len(data)), self.batch_size):
                    x, y = (
                        part.to(self.engine.device) for part in (data.images(rows), data.y[rows])
                    )
                    certain = self.hardening.certifies(probe.model, x, y, self.threat)
                    if certain is None:
                        return attacked(model)
                    right += int((probe.logits(x).argmax(1) == y).sum())
                    proven += int(certain.sum())
            certified = Count(hits=proven, n=len(data))
            return Validation(
                clean=Count(hits=right, n=len(data)), worst=certified, by_attack={BOUNDS: certified}
            )

        return validate

    def _attacked(self, data: Dataset) -> Validate:
        """Each attack runs on the samples that are still robust."""
        settings = self.recipe.training.validation
        context = EvalContext(
            data,
            "validation",
            self.engine,
            self.recipe.seed,
            self.batch_size,
        )

        def validate(model: nn.Module) -> Validation:
            target = Target.of("hardened", model, context.data).without_flag()
            clean = measure(context, target, None, self.threat)
            result, by_attack = clean, {}
            for attack in settings.attacks:
                rows = result.per_sample.robust.nonzero()[:, 0]
                result = measure(context, target, attack, self.threat, rows=rows)
                by_attack[attack.label()] = result.measurement.robust
            return Validation(
                clean=clean.measurement.robust,
                worst=result.measurement.robust,
                by_attack=by_attack,
            )

        return validate

    def _train(
        self,
        model: nn.Module,
        name: str,
        config: TrainConfig,
        objective: Objective,
        seed: int,
        undefended: nn.Module | None = None,
        validate: Validate | None = None,
        baseline: float = 0.0,
        file: str = "",
    ) -> Trained:
        moved(model, self.engine.device)
        data, prepared = objective.prepare(self.data.train, undefended, self.threat, seed)
        augment = self.recipe.data.augmentation.bind(self.data.shape[0])
        loop = LoopConfig(
            name=name,
            data=data,
            validation=self.data.validation,
            objective=prepared,
            update=config.update_config(self.threat, derive(seed, "training", name), augment),
            rounds=Rounds(
                steps_per_round=config.steps_per_round,
                stop=self.rule(config),
                clean_floor=config.clean_floor,
                validate=validate,
                baseline=baseline,
                guard_every=config.guard_every,
            ),
            checkpoints=Checkpoints(
                path=self.folder.checkpoint(file or name),
                key=self._key(model, config, objective, seed, data),
                every=self.recipe.training.checkpoint_seconds,
            ),
        )
        history, stop = train(model, loop, self.engine)
        return Trained(set_evaluation_mode(model), tuple(history), stop)

    def _key(
        self,
        model: nn.Module,
        config: TrainConfig,
        objective: Objective,
        seed: int,
        data: Dataset,
    ) -> str:
        described = {
            "config": config.model_dump(mode="json"),
            "objective": objective.config(),
            "validation_settings": self.recipe.training.validation.model_dump(mode="json"),
            "augmentation": self.recipe.data.augmentation.model_dump(mode="json"),
            "threat": identify_threat(self.threat),
            "seed": seed,
            "data": data.content_hash,
            "ids": data.ids.hash,
            "validation": self.data.validation.content_hash,
            "validation ids": self.data.validation.ids.hash,
            "start": weights_hash(model),
            "network": re.sub(" at 0x[0-9a-f]+", "", repr(model)),
            "precision": self.engine.precision,
        }
        text = json.dumps(described, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
