"""The trainings of a run: undefended, hardened, surrogate, single-pass."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from tempering.app.folder import RunFolder
from tempering.app.recipe import Recipe
from tempering.attacks.registry import parse_attack
from tempering.core.engine import Engine
from tempering.core.progress import track
from tempering.core.random import RandomStreams, derive
from tempering.core.records import Epoch, Round, Stop
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.evaluation.context import EvalContext
from tempering.evaluation.measuring import measure
from tempering.evaluation.target import Target
from tempering.models.checks import check_classifier
from tempering.models.classifier import flag_of
from tempering.models.weights import weights_hash
from tempering.training.batches import BatchMaker
from tempering.training.loop import Job, Validate, Validation, train
from tempering.training.settings import Plan

Name = Literal["undefended", "hardened", "surrogate", "single-pass"]
CHUNK = 2000
"""Images at a time when adversarial copies of the whole training data are made."""


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
    """

    recipe: Recipe
    data: Splits
    engine: Engine
    folder: RunFolder

    @property
    def threat(self) -> Threat:
        """What models are hardened against."""
        return self.recipe.threat_model

    def undefended(self, model: nn.Module, name: Name, seed: int, file: str = "") -> Trained:
        """Train without a defence."""
        return self._train(model, name, self.recipe.training.undefended, seed, None, 0.0, file)

    def hardened(
        self,
        model: nn.Module,
        name: Name,
        seed: int,
        before: float,
        iterations: int | None = None,
    ) -> Trained:
        """Train by iterative adversarial retraining; the best round on validation is kept.

        Args:
            model: The network; trained in place.
            name: Whose training this is.
            seed: Of all its draws.
            before: Worst-case accuracy of the undefended model on validation data.
            iterations: Steps at most; None for the plan's own.
        """
        plan = self.recipe.training.hardened
        if iterations is not None:
            stopping = plan.stopping.model_copy(update={"max_iterations": iterations})
            plan = plan.model_copy(update={"stopping": stopping})
        return self._train(model, name, plan, seed, self.validate(), before)

    def single_pass(self, model: nn.Module, undefended: nn.Module, seed: int) -> Trained:
        """Train once on clean images and on copies attacked once on the undefended model."""
        doubled = self._doubled(undefended, seed)
        plan = self.recipe.training.single_pass
        return self._train(model, "single-pass", plan, seed, None, 0.0, data=doubled)

    def validate(self) -> Validate:
        """The judge of rounds: each attack gets what the ones before it left standing."""
        judge = self.recipe.training.judge
        context = EvalContext(
            self.data.validation.first(judge.samples), "validation", self.engine, self.recipe.seed
        )
        attacks = [parse_attack(spec) for spec in judge.attacks]

        def validate(model: nn.Module) -> Validation:
            target = Target.of("hardened", model, context.data).without_flag()
            clean = measure(context, target, None, self.threat)
            standing, by_attack = clean, {}
            for attack in attacks:
                rows = standing.per_sample.robust.nonzero()[:, 0]
                standing = measure(context, target, attack, self.threat, rows=rows)
                by_attack[attack.label()] = standing.measurement.robust
            return Validation(
                clean=clean.measurement.robust,
                worst=standing.measurement.robust,
                by_attack=by_attack,
            )

        return validate

    def _train(
        self,
        model: nn.Module,
        name: Name,
        plan: Plan,
        seed: int,
        validate: Validate | None,
        before: float,
        file: str = "",
        data: Dataset | None = None,
    ) -> Trained:
        model.to(self.engine.device)
        outputs = self._outputs(model)
        train_data = data or self.data.train
        job = Job(
            name=name,
            plan=plan,
            batches=BatchMaker(
                data=train_data,
                mixture=plan.mixture,
                threat=self.threat,
                batch_size=plan.optimisation.batch_size,
                seed=derive(seed, "training", name),
                outputs=outputs,
                flag=flag_of(model, self.data.num_classes, outputs),
                augment=self.recipe.data.augmentation.bind(self.data.shape[0]),
            ),
            validation=self.data.validation,
            validate=validate,
            before=before,
            checkpoint=self.folder.checkpoint(file or name),
            key=self._key(model, plan, seed, train_data),
            save_every=self.recipe.training.checkpoint_seconds,
        )
        history, stop = train(model, job, self.engine)
        return Trained(model.eval(), tuple(history), stop)

    def _outputs(self, model: nn.Module) -> int:
        images = self.data.validation.x[:8].to(self.engine.device)
        return check_classifier(model, images, self.data.num_classes)

    def _key(self, model: nn.Module, plan: Plan, seed: int, data: Dataset) -> str:
        described = {
            "plan": plan.model_dump(mode="json"),
            "judge": self.recipe.training.judge.model_dump(mode="json"),
            "augmentation": self.recipe.data.augmentation.model_dump(mode="json"),
            "threat": str(self.threat),
            "seed": seed,
            "data": data.content_hash,
            "validation": self.data.validation.content_hash,
            "start": weights_hash(model),
            "precision": self.engine.precision,
        }
        text = json.dumps(described, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _doubled(self, undefended: nn.Module, seed: int) -> Dataset:
        """Clean training data, and as many adversarial copies; the attacks share them."""
        data, mixture = self.data.train, self.recipe.training.hardened.mixture
        attacks = [parse_attack(spec) for spec in mixture.attacks]
        parts = []
        with track("adversarial copies", len(data)) as advance:
            for start in range(0, len(data), CHUNK):
                ids = torch.arange(start, min(start + CHUNK, len(data)))
                x, y = data.x[ids].to(self.engine.device), data.y[ids].to(self.engine.device)
                streams = RandomStreams(derive(seed, "copies"), ids)
                for number, attack in enumerate(attacks):
                    rows = slice(number, None, len(attacks))
                    own = streams[rows].derive(number)
                    x[rows] = attack(undefended, x[rows].clone(), y[rows], self.threat, own)
                parts.append(x.cpu())
                advance(int(ids[-1]) + 1, "")
        return replace(
            data,
            x=torch.cat([data.x, *parts]),
            y=torch.cat([data.y, data.y]),
            name=f"{data.name} with copies",
        )
