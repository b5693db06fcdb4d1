"""A search in its folder: trials until the budget is spent, and the best settings as a recipe."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import nn

from tempering.app.asked import AskedJob
from tempering.app.beginning import load_splits
from tempering.app.compute import Compute
from tempering.app.defended import take_weights, with_defenses
from tempering.app.folder import RunFolder
from tempering.app.networks import Networks, networks_for
from tempering.app.provenance import processor
from tempering.app.recipe import Recipe, parse_recipe
from tempering.app.recipe_writing import write_recipe
from tempering.app.tuning_sampler import Space, optuna_version
from tempering.app.tuning_space import (
    Choice,
    Settings,
    choices,
    judged_by,
    own_settings,
    with_settings,
)
from tempering.app.tuning_trial import METHODS, Start, TrialTrainer, checkpoint_name, run_trial
from tempering.attacks.registry import parse_attack
from tempering.certification.certify_samples import certify
from tempering.core.engine import Engine
from tempering.core.errors import ModelError, RunError, UsageError
from tempering.core.files import write_text
from tempering.core.module_copies import copied_module
from tempering.core.progress import track
from tempering.core.threat_checks import check_threat
from tempering.core.threat_sizes import check_size
from tempering.core.threat_text import write_threat
from tempering.core.tuning_records import Trial, TuningStudy
from tempering.core.user_code import device_of
from tempering.data.sources.registered import SOURCES
from tempering.data.splits import Splits
from tempering.evaluation.target import Target
from tempering.report.tuning_page import write_page

STUDY, PAGE, RECIPE = "study.json", "study.html", "recipe.toml"
JUDGE = parse_attack("pgd:steps=20,restarts=2")
"""The attack that judges trials, before those of the recipe's validation."""


class Asked(AskedJob):
    """What a search was asked for; `resume` reads it."""

    kind: Literal["tune"] = "tune"
    recipe: dict[str, Any]
    base: str
    objectives: list[str]
    goal: str
    seconds: float | None
    trials: int | None
    data_hash: str
    module: str | None = None
    folder: str


@dataclass(frozen=True)
class Tuned:
    """Result of `tune`.

    Attributes:
        recipe: The recipe with the best settings; `tempering.harden(recipe=...)` takes it.
        study: All trials.
        run: The folder with `study.json`, `study.html` and `recipe.toml`.
    """

    recipe: Recipe
    study: TuningStudy
    run: Path

    @property
    def best(self) -> Trial:
        """The trial with the highest value on validation data."""
        best = self.study.best
        assert best is not None
        return best

    @property
    def page(self) -> Path:
        """The page of the search."""
        return self.run / PAGE

    @property
    def recipe_file(self) -> Path:
        """The best settings, for `temper harden --recipe`."""
        return self.run / RECIPE

    def __repr__(self) -> str:
        best = self.best
        return f"Tuned(trial {best.number}: {best.objective}, {best.value}; run {self.run})"


@dataclass(frozen=True)
class Search:
    """What all trials share."""

    recipe: Recipe
    data: Splits
    networks: Networks
    choices: list[Choice]
    engine: Engine
    batch_size: int


def prepared(
    asked: Asked, given: Splits | None, module: nn.Module | None, compute: Compute
) -> Search:
    """Load data and networks, and refuse objectives that cannot be trained."""
    recipe = parse_recipe(asked.recipe)
    engine = compute.start(recipe.precision)
    if engine.world_size > 1:
        raise UsageError("a search runs in one process: start it without torchrun")
    data = _loaded(recipe, given)
    some = data.validation.first(1000)
    check_threat(recipe.threat, some.x)
    check_size(recipe.threat, data.shape)
    JUDGE.require(recipe.threat)
    made = choices(asked.objectives, recipe)
    if module is not None:
        module = copied_module(module)
    networks = with_defenses(
        networks_for(recipe.model, data, module, None), recipe.defenses, data, recipe.threat
    )
    target = Target.of("given", networks.start(recipe.seed), data.validation)
    if asked.goal == "certified":
        _require_certificates(target, data, recipe)
    for choice in made:
        hardened = recipe.training.hardened.model_copy(update={"objective": choice.text})
        value = hardened.objective_value()
        value.require_model(networks.fresh(recipe.seed))
        value.require_data(data.train)
    return Search(recipe, data, networks, made, engine, compute.batch_size)


def _loaded(recipe: Recipe, given: Splits | None) -> Splits:
    """The data of a search.

    Raises:
        RunError: If it came from Python, and is not given again.
    """
    address = recipe.data.address
    if given is None and address.partition(":")[0] not in SOURCES:
        raise RunError(
            f"the data, {address}, came from Python: go on with "
            "tempering.tune(data=..., resume=...)"
        )
    return load_splits(recipe, given)


def _require_certificates(target: Target, data: Splits, recipe: Recipe) -> None:
    """Refuse a network or threat that no method can certify, before anything is trained."""
    some = data.validation.first(1)
    x = some.images(torch.arange(1)).to(device_of(target.model))
    found = certify(target.model, x, some.y.to(x.device), recipe.threat, methods=METHODS)
    if found.unsupported is not None:
        raise ModelError(
            f"no certificates to search for: {found.unsupported}: choose the goal robust"
        )


class Tuning:
    """One search: trials until the budget is spent."""

    def __init__(self, asked: Asked, search: Search, folder: RunFolder) -> None:
        self.asked, self.search, self.folder = asked, search, folder
        self.recipe = search.recipe
        self.started = time.monotonic() - folder.seconds
        self.space = Space(
            search.choices,
            self.recipe.training.hardened.optimisation.learning_rate,
            self.recipe.seed,
        )
        self.study = self._begun()

    @property
    def seconds(self) -> float:
        """Time that this search has taken."""
        return time.monotonic() - self.started

    @property
    def deadline(self) -> float | None:
        """When the time is spent."""
        return None if self.asked.seconds is None else self.started + self.asked.seconds

    def run(self) -> Tuned:
        """Run trials, and write the study after each."""
        total = self.asked.trials or max(1, round(self.asked.seconds or 1))
        try:
            with track("tuning", total) as advance:
                while not self._spent():
                    done = len(self.study.trials)
                    advance(done if self.asked.trials else round(self.seconds), self._told())
                    self._keep(self._trial(done + 1))
        finally:
            self.folder.note_seconds(self.seconds)
        return self._finish()

    def _spent(self) -> bool:
        done, most = len(self.study.trials), self.asked.trials
        if most is not None and done >= most:
            return True
        stopped = done > 0 and self.study.trials[-1].state == "stopped"
        return stopped or (self.deadline is not None and time.monotonic() > self.deadline)

    def _told(self) -> str:
        """A note beside the progress bar."""
        best = self.study.best
        told = f"trial {len(self.study.trials) + 1}"
        if best is not None and best.value is not None:
            told += f", best {100 * best.value.fraction:.1f} % by {best.objective}"
        if self.asked.seconds is not None:
            told += f", {max(0.0, self.asked.seconds - self.seconds):.0f} s left"
        return told

    def _trial(self, number: int) -> Trial:
        done = self.study.trials
        settings = own_settings(self.recipe, self.search.choices) if not done else None
        if settings is not None:
            pruning = self.space.unpruned(done)
        else:
            settings, pruning = self.space.suggest(done)
        recipe = judged_by(JUDGE, with_settings(self.recipe, settings))
        trainer = TrialTrainer(
            recipe,
            self.search.data,
            self.search.engine,
            self.folder,
            batch_size=self.search.batch_size,
            pruning=pruning,
            goal=self.asked.goal,
        )
        begin = partial(self._start, trainer)
        trial = run_trial(number, settings, trainer, begin, self.deadline)
        if trial.state != "stopped":  # that one can go on with more time
            self.folder.checkpoint(checkpoint_name(number)).unlink(missing_ok=True)
        return trial

    def _start(self, trainer: TrialTrainer) -> Start:
        """The network that a trial trains; an undefended one is trained once."""
        networks, seed = self.search.networks, self.recipe.seed
        model = networks.start(seed)
        needed = trainer.hardening.needs_undefended
        begins = self.recipe.training.start == "undefended" and not networks.trained
        gains = self.recipe.training.hardened.stopping.gain_at_least is not None
        if not (needed or begins or gains):
            return Start(model)
        undefended = networks.undefended(seed)
        if not networks.trained:
            undefended = trainer.undefended(undefended, "undefended", seed).model
        if begins:
            take_weights(networks, model, undefended)
        baseline = trainer.validate()(undefended).worst.fraction if gains else 0.0
        return Start(model, undefended, baseline)

    def _begun(self) -> TuningStudy:
        """The study so far, without a trial that the time had stopped."""
        validation = self.recipe.training.validation
        made = TuningStudy(
            data=self.recipe.data.address,
            data_hash=self.search.data.data_hash,
            threat=write_threat(self.recipe.threat),
            goal=self.asked.goal,
            recipe=self.asked.base,
            model=self.search.networks.name,
            objectives=self.asked.objectives,
            judged_by=list(METHODS)
            if self.asked.goal == "certified"
            else [JUDGE.label(), *(attack.label() for attack in validation.attacks)],
            n=min(validation.samples, len(self.search.data.validation)),
            seed=self.recipe.seed,
            command=self.asked.command,
            tempering=self.asked.tempering,
            optuna=optuna_version(),
            processor=processor(),
            threads=torch.get_num_threads(),
        )
        try:
            text = (self.folder.path / STUDY).read_bytes()
        except OSError:
            return made
        try:
            old = TuningStudy.model_validate_json(text)
        except ValidationError as error:
            raise RunError(f"{self.folder.path / STUDY} is damaged: start a new search") from error
        spent = self.deadline is not None and time.monotonic() > self.deadline
        kept = [one for one in old.trials if spent or one.state != "stopped"]
        return made.model_copy(update={"trials": kept})

    def _keep(self, trial: Trial) -> None:
        self.study = self.study.model_copy(update={"trials": [*self.study.trials, trial]})
        self._write()
        self.folder.note_seconds(self.seconds)

    def _write(self) -> None:
        if self.search.engine.is_main:
            write_text(self.folder.path / STUDY, self.study.model_dump_json(indent=2) + "\n")
            write_page(self.study, self.folder.path / PAGE)

    def _finish(self) -> Tuned:
        best = self.study.best
        if best is None or best.value is None:
            raise RunError(self._nothing())
        importance = self.space.importance(self.study.trials)
        self.study = self.study.model_copy(update={"finished": True, "importance": importance})
        self._write()
        settings = Settings(best.objective, best.learning_rate, best.weight_decay)
        recipe = with_settings(self.recipe, settings)
        goal = "certified" if self.asked.goal == "certified" else "robust"
        heading = [
            f"Found by temper tune: trial {best.number} of {len(self.study.trials)}, "
            f"{goal} accuracy on {best.value.n} validation samples {best.value}.",
        ]
        if self.asked.module is not None:
            heading.append(f"The trials trained a {self.asked.module} that came from Python.")
        write_recipe(recipe, self.folder.path / RECIPE, heading)
        return Tuned(recipe, self.study, self.folder.path)

    def _nothing(self) -> str:
        """Why there is no best trial."""
        failed = [trial for trial in self.study.trials if trial.state == "failed"]
        if failed:
            return f"all {len(failed)} trials failed, the last so: {failed[-1].reason}"
        return (
            f"no round of a trial was finished in {self.asked.seconds:g} s: resume "
            f"{self.folder.path} with more time, or search with shorter rounds, such as "
            "training.hardened.steps_per_round=100"
        )
