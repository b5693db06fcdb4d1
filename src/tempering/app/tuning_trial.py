"""One trial of a search: a training that is judged on validation data, pruned and timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from tempering.app.train_models import Trained, Trainer
from tempering.app.tuning_sampler import PRUNED, Pruning
from tempering.app.tuning_space import Settings
from tempering.certification.certify_samples import certify
from tempering.core.errors import DataError, RunError, TemperingError
from tempering.core.probe import probing
from tempering.core.progress import silence, watched
from tempering.core.record import Count
from tempering.core.records import Round
from tempering.core.tuning_records import Trial, TrialState
from tempering.training.loop import Validate, Validation
from tempering.training.settings import TrainConfig
from tempering.training.stopping import REJECTED, AnyOf, StopRule

METHODS = ("interval", "crown-ibp")
"""Methods of certification of the goal `certified`: those that cost a few passes."""


class TimeIsUpError(TemperingError):
    """The time of a search is spent in the middle of a trial."""


@contextmanager
def until(deadline: float | None) -> Iterator[None]:
    """Context that ends with `TimeIsUpError` at a time of `time.monotonic`; None for no end."""

    def look() -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise TimeIsUpError("the time is up")

    with watched(look):
        yield


@dataclass(frozen=True)
class TrialTrainer(Trainer):
    """Trains one model of a search.

    Attributes:
        pruning: Ends trials that are worse than others.
        goal: `robust` or `certified`: what validation counts.
    """

    pruning: Pruning | None = None
    goal: str = "robust"

    def rule(self, config: TrainConfig) -> StopRule:
        """The recipe's rule, or the pruner's."""
        own = config.stopping.rule()
        return own if self.pruning is None else AnyOf((*own.rules, self.pruning))

    def validate(self) -> Validate:
        """Attacks, or certificates where these are the goal."""
        judge = super().validate() if self.goal == "robust" else self._certified()

        def validate(model: nn.Module) -> Validation:
            with silence():
                return judge(model)

        return validate

    def _certified(self) -> Validate:
        data = self.data.validation.first(self.recipe.training.validation.samples)

        def validate(model: nn.Module) -> Validation:
            x = data.images(torch.arange(len(data))).to(self.engine.device)
            y = data.y.to(self.engine.device)
            found = certify(model, x, y, self.threat, methods=METHODS)
            if found.unsupported is not None:
                raise TemperingError(f"no certificates: {found.unsupported}")
            proven = Count(hits=int(found.certified.sum()), n=len(data))
            with probing(model) as probe:
                answers = torch.cat([probe.logits(some).argmax(1) for some in torch.split(x, 256)])
            right = Count(hits=int((answers == y).sum()), n=len(data))
            return Validation(clean=right, worst=proven, by_attack={})

        return validate


@dataclass(frozen=True)
class Start:
    """What every trial starts from.

    Attributes:
        model: The network; it is trained.
        undefended: A model that was trained without a defense, where an objective needs it.
    """

    model: nn.Module
    undefended: nn.Module | None = None


def run_trial(
    number: int,
    settings: Settings,
    trainer: TrialTrainer,
    start: Start,
    deadline: float | None,
) -> Trial:
    """Train with the settings of a trial.

    Args:
        number: From 1 on.
        settings: Of the trial; `trainer.recipe` has them too.
        trainer: Trains.
        start: The network to train.
        deadline: Time of `time.monotonic` at which it stops; None for no end.

    Returns:
        The trial; one that diverged or cannot be trained has failed, with the reason.

    Raises:
        InterruptedRunError: On Ctrl-C; the training is saved.
    """
    begun = time.monotonic()
    file, seed = checkpoint_name(number), trainer.recipe.seed
    trained: Trained | None = None
    state: TrialState = "finished"
    try:
        with until(deadline):
            trained = trainer.hardened(
                start.model, "hardened", seed, 0.0, start.undefended, file=file
            )
        reason = trained.stop.reason if trained.stop else ""
        if reason.startswith(PRUNED):
            state = "pruned"
    except TimeIsUpError as error:
        state, reason = "stopped", str(error)
    except (RunError, DataError):
        raise
    except TemperingError as error:  # weights that diverged give logits that are not finite
        state, reason = "failed", str(error)
    rounds = trainer.pruning.rounds if trainer.pruning else ()
    if trained is not None:
        rounds = [one for one in trained.history if isinstance(one, Round)]
    accepted = [one for one in rounds if one.outcome not in REJECTED]
    best = max(accepted, key=lambda one: one.worst.fraction, default=None)
    if best is None and state in ("finished", "pruned"):
        state, reason = "failed", "no round was above training.hardened.clean_floor"
    return Trial(
        number=number,
        state=state,
        objective=settings.objective,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        suggested=settings.suggested,
        value=None if best is None else best.worst,
        clean=None if best is None else best.clean,
        rounds=[one.worst.fraction for one in rounds],
        seconds=round(time.monotonic() - begun, 3),
        reason=reason,
    )


def checkpoint_name(number: int) -> str:
    """Name of a trial's checkpoint."""
    return f"trial-{number}"
