"""The loop: rounds that are evaluated on validation data, stop rules, checkpoints and rollback."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from tempering.core.engine import Engine
from tempering.core.errors import (
    DivergedError,
    InterruptedRunError,
    NotFiniteError,
    TemperingError,
    UsageError,
)
from tempering.core.probe import probing
from tempering.core.progress import Advance, track
from tempering.core.records import Count, Epoch, Outcome, Round, Stop
from tempering.core.user_code import moved
from tempering.data.dataset import Dataset
from tempering.training.guards import Guard
from tempering.training.interrupts import Interrupts
from tempering.training.learner import Learner
from tempering.training.objective import Objective
from tempering.training.state import LoopState, load_state, save_state
from tempering.training.step_values import StepConfig, StepState, Totals, copied
from tempering.training.stopping import StopRule, TrainProgress


@dataclass(frozen=True)
class Validation:
    """The result of a round on validation data.

    Attributes:
        clean: Samples predicted right.
        worst: Samples that withstand every attack, or that the trained bounds certify.
        by_attack: Attack -> samples that withstand it and those before it.
    """

    clean: Count
    worst: Count
    by_attack: dict[str, Count]


Validate = Callable[[nn.Module], Validation]


@dataclass(frozen=True)
class Rounds:
    """How a training is divided into rounds, and when it ends.

    Attributes:
        steps_per_round: Steps between judgments on validation data; there are none while the
            objective's eps grows.
        stop: When to end; asked after each round.
        clean_floor: Validation accuracy below which a round is rolled back, a fraction.
        validate: Evaluates a round; None where rounds are not evaluated (the last is kept).
        baseline: Worst-case accuracy of the starting model, a fraction: gains are over it.
        guard_every: Steps between the checks of `Guard`; 0 for none.
    """

    steps_per_round: int
    stop: StopRule
    clean_floor: float = 0.0
    validate: Validate | None = None
    baseline: float = 0.0
    guard_every: int = 0


@dataclass(frozen=True)
class Checkpoints:
    """Where and how often a training is saved.

    Attributes:
        path: File to save to and to go on from.
        key: Says what is trained, so that no other checkpoint is resumed.
        every: Seconds between checkpoints; they change nothing in the result.
    """

    path: Path
    key: str
    every: float


@dataclass(frozen=True)
class LoopConfig:
    """One training with rounds.

    Attributes:
        name: Whose curve this is; any name that records may carry.
        data: Training data.
        validation: Data for the curves.
        objective: What is minimized.
        update: Optimizer, threat, seed; its `total_steps` is where training ends at the latest.
        rounds: Rounds and stop rules.
        checkpoints: Where and how often it is saved.
    """

    name: str
    data: Dataset
    validation: Dataset
    objective: Objective
    update: StepConfig
    rounds: Rounds
    checkpoints: Checkpoints


def train(model: nn.Module, config: LoopConfig, engine: Engine) -> tuple[list[Epoch | Round], Stop]:
    """Train a model in place; it ends with the weights of its best round.

    Args:
        model: The network to train.
        config: Everything else.
        engine: Where to compute.

    Returns:
        The records of its epochs and rounds, and why it stopped.

    Raises:
        InterruptedRunError: On Ctrl-C, after saving.
        DivergedError: If the loss, a gradient or the logits are no longer finite.
    """
    total = config.update.total_steps
    if total is None:
        raise UsageError(f"training {config.name}: give total_steps")
    moved(model, engine.device)
    if config.checkpoints.path.exists():
        loop, state = load_state(config.checkpoints.path, config.checkpoints.key)
    else:
        config.objective.initialise(model, config.update.seed)
        loop, state = LoopState(), StepState.of(model)
    objective = config.objective
    if loop.guard.switched >= 0:
        objective = objective.multi_step() or objective
    learner = Learner(model, config.data, objective, config.update, total, engine, state)
    with torch.random.fork_rng(devices=[]):
        return _Loop(learner, config, engine, loop, total).run()


class _Loop:
    """One call of `train`."""

    def __init__(
        self,
        learner: Learner,
        config: LoopConfig,
        engine: Engine,
        state: LoopState,
        limit: int,
    ) -> None:
        self.learner, self.config, self.engine = learner, config, engine
        self.state, self.limit = state, limit
        self.started = time.perf_counter() - state.seconds
        self.saved = time.perf_counter()
        self.interrupts = Interrupts()
        self.guard = Guard.of(config.validation, engine, config.rounds.guard_every)
        self.whole = True

    def run(self) -> tuple[list[Epoch | Round], Stop]:
        name, learner = self.config.name, self.learner
        with self.interrupts, track(f"training {name}", self.limit) as advance:
            advance(learner.step, "")
            try:
                with self._divergence():
                    self._settle()
                    while (reason := self._reason()) is None:
                        self._step(advance)
                        self._settle()
            except KeyboardInterrupt:
                self._save()
                raise InterruptedRunError(
                    f"interrupted at step {learner.step} of training {name}; saved"
                ) from None
        self.state.final = {} if self.state.best else copied(learner.averaged().state_dict())
        self._save()
        learner.finish(self.state.best or self.state.final)
        stop = Stop(
            rule=reason.split("(")[0],
            reason=reason,
            best_round=self.state.best_round,
            rounds=len(self.state.rounds),
            steps=learner.step,
        )
        return self.state.history, stop

    def _reason(self) -> str | None:
        step, rounds = self.learner.step, self.config.rounds
        progress = TrainProgress(step, self.state.seconds, self.state.rounds, rounds.baseline)
        due = step % rounds.steps_per_round == 0 or step >= self.limit
        reason = self.state.guard.stop or (rounds.stop.reason(progress) if due else None)
        if reason is None and step >= self.limit:
            reason = f"MaxIterations({self.limit}): {step} steps done"
        if self.engine.world_size > 1:
            return self.engine.broadcast(reason)
        return reason

    @contextmanager
    def _divergence(self) -> Iterator[None]:
        """Names the training that is no longer finite, and its learning rate."""
        training = f"training {self.config.name}"
        try:
            yield
        except DivergedError as error:
            raise DivergedError(training, error.what, error.rate) from error
        except NotFiniteError as error:
            step = self.learner.step
            if not step:
                raise
            rate = self.config.update.optimizer.learning_rate
            what = f"{error.what} are not finite after step {step}"
            raise DivergedError(training, what, rate) from error

    def _step(self, advance: Advance) -> None:
        batch = self.learner.next_batch()
        with self._changing():
            try:
                self.learner.update(batch, self.state.totals)
            except TemperingError as error:
                if type(error) is not TemperingError:
                    raise
                raise TemperingError(f"training {self.config.name}: {error}") from error
        advance(self.learner.step, f"loss {self.state.totals.mean_loss:.3f}")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A change of the state that is made whole, and only then interrupted or saved."""
        with self.interrupts.held():
            self.whole = False
            yield
            self.whole = True

    def _settle(self) -> None:
        """What is due after a step, and not yet done: an epoch's point, a round, a checkpoint."""
        if not self.learner.step:
            return
        if self.guard.due(self.learner.step, self.state.guard):
            with self._changing():
                self.guard.check(self.learner, self.state.guard)
        if self._due(self.learner.steps_per_epoch, Epoch):
            self._end_epoch()
        rounds = self.config.rounds
        due = not self._ramping() and self._due(rounds.steps_per_round, Round)
        if rounds.validate is not None and due:
            self._end_round(rounds.validate)
        self.state.seconds = time.perf_counter() - self.started
        if time.perf_counter() - self.saved > self.config.checkpoints.every:
            self._save()

    def _ramping(self) -> bool:
        """Whether eps still grows: weights of that time are not compared with later ones."""
        learner = self.learner
        share = learner.objective.ramp(learner.step, learner.batches.steps)
        return share < 1 and learner.step < self.limit

    def _due(self, every: int, kind: type[Epoch | Round]) -> bool:
        step = self.learner.step
        if step % every and step != self.limit:
            return False
        return not any(isinstance(past, kind) and past.step == step for past in self.state.history)

    def _end_epoch(self) -> None:
        state, data, step = self.state, self.config.validation, self.learner.step
        totals = state.totals
        loss, hits = 0.0, 0
        with probing(self.learner.averaged()) as probe:
            for rows in torch.split(torch.arange(len(data)), 1000):
                x = data.images(rows).to(self.engine.device)
                y = data.y[rows].to(self.engine.device)
                logits = probe.logits(x)
                loss += float(F.cross_entropy(logits, y, reduction="sum"))
                hits += int((logits.argmax(1) == y).sum())
        epoch = Epoch(
            model=self.config.name,
            epoch=-(-step // self.learner.steps_per_epoch),
            step=step,
            train_loss=totals.mean_loss,
            train_accuracy=Count(hits=totals.correct, n=totals.seen),
            validation_loss=loss / len(data),
            validation_accuracy=Count(hits=hits, n=len(data)),
            learning_rate=self.learner.learning_rate(step - 1),
            seconds=time.perf_counter() - self.started,
            scalars=totals.means(),
        )
        with self._changing():
            state.history.append(epoch)
            state.totals = Totals()

    def _end_round(self, validate: Validate) -> None:
        model = self.learner.averaged()
        validation = validate(model)
        with self._changing():
            self._conclude(model, validation)

    def _conclude(self, model: nn.Module, validation: Validation) -> None:
        state, rounds = self.state, self.config.rounds
        best = next((r for r in state.rounds if r.round == state.best_round), None)
        if validation.clean.fraction < rounds.clean_floor:
            outcome, reason = self._roll_back(validation.clean.fraction)
        elif best is None or validation.worst.fraction > best.worst.fraction:
            state.best = copied(model.state_dict())
            state.best_round = len(state.rounds)
            outcome, reason = "best", "highest worst-case accuracy on validation so far"
        else:
            outcome = "kept"
            reason = f"round {best.round} stays best at {100 * best.worst.fraction:.1f} %"
        state.history.append(
            Round(
                round=len(state.rounds),
                step=self.learner.step,
                clean=validation.clean,
                worst=validation.worst,
                by_attack=validation.by_attack,
                gain=validation.worst.fraction - rounds.baseline,
                outcome=outcome,
                reason=reason,
                seconds=time.perf_counter() - self.started,
            )
        )

    def _roll_back(self, clean: float) -> tuple[Outcome, str]:
        """Return to the best round's weights, with half the learning rate."""
        floor = self.config.rounds.clean_floor
        why = f"clean accuracy {100 * clean:.1f} % is under the floor {100 * floor:.1f} %"
        if not self.state.best:
            return "below floor", f"{why}; no earlier round to return to"
        self.learner.halve_rate()
        self.learner.return_to(self.state.best)
        return "rolled back", f"{why}; back to round {self.state.best_round}, learning rate halved"

    def _save(self) -> None:
        if self.engine.is_main and self.whole:
            checkpoints = self.config.checkpoints
            save_state(checkpoints.path, checkpoints.key, self.state, self.learner.state())
        self.saved = time.perf_counter()
