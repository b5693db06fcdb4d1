"""Iterative adversarial retraining: the one loop that every model here is trained by."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tempering.core.engine import Engine
from tempering.core.errors import InterruptedRunError, TemperingError
from tempering.core.probe import probing
from tempering.core.progress import Advance, track
from tempering.core.random import derive
from tempering.core.records import Count, Epoch, Round, Stop
from tempering.data.dataset import Dataset
from tempering.training.batches import Batch, BatchMaker
from tempering.training.interrupts import Interrupts
from tempering.training.settings import Plan
from tempering.training.state import Running, TrainingState, copied, load_state, save_state
from tempering.training.stopping import Standing, stop_rule


@dataclass(frozen=True)
class Validation:
    """What a round is judged by, on validation data.

    Attributes:
        clean: Samples predicted right.
        worst: Samples that withstand every attack.
        by_attack: Attack -> samples that withstand it and those before it.
    """

    clean: Count
    worst: Count
    by_attack: dict[str, Count]


Validate = Callable[[nn.Module], Validation]


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        name: Whose curve this is, such as `hardened`.
        plan: How to train and when to stop.
        batches: Makes the batch of any step.
        validation: Data for the curves.
        validate: Judges a round; None where rounds are not judged (the last is kept).
        before: Worst-case accuracy before retraining, a fraction: the base of rho.
        checkpoint: File to save to and go on from.
        key: Says what is trained, so that no other checkpoint is resumed.
        save_every: Seconds between checkpoints; they change nothing in the result.
    """

    name: str
    plan: Plan
    batches: BatchMaker
    validation: Dataset
    validate: Validate | None
    before: float
    checkpoint: Path
    key: str
    save_every: float


def train(model: nn.Module, job: Job, engine: Engine) -> tuple[list[Epoch | Round], Stop]:
    """Train a model in place; it ends with the weights of its best round.

    Args:
        model: The network to train.
        job: Everything else.
        engine: Where to compute.

    Returns:
        The records of its epochs and rounds, and why it stopped.

    Raises:
        InterruptedRunError: On Ctrl-C, after saving.
        TemperingError: If the loss is no longer finite.
    """
    model.to(engine.device)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=job.plan.optimisation.learning_rate,
        weight_decay=job.plan.optimisation.weight_decay,
    )
    if job.checkpoint.exists():
        state = load_state(job.checkpoint, job.key, model, optimizer)
    else:
        state = TrainingState(average=copied(model.state_dict()))
    with torch.random.fork_rng(devices=[]):
        return _Run(model, optimizer, job, engine, state).run()


class _Run:
    """The state of one call of `train`."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        job: Job,
        engine: Engine,
        state: TrainingState,
    ) -> None:
        self.model, self.job, self.engine, self.state = model, job, engine, state
        self.plan, self.batches = job.plan, job.batches
        self.raw_optimizer = optimizer
        self.net, self.optimizer = engine.fabric.setup(model, optimizer)
        self.twin = copy.deepcopy(model).to(engine.proposal_dtype).requires_grad_(False).eval()
        self.rule = stop_rule(self.plan.stopping)
        self.limit = self.plan.stopping.max_iterations
        self.started = time.perf_counter() - state.seconds
        self.saved = time.perf_counter()
        self.order: tuple[int, Tensor] | None = None
        self.interrupts = Interrupts()
        self.whole = True

    def run(self) -> tuple[list[Epoch | Round], Stop]:
        with self.interrupts, track(f"training {self.job.name}", self.limit) as advance:
            advance(self.state.step, "")
            try:
                self._settle()
                while (reason := self._reason()) is None:
                    self._step(advance)
                    self._settle()
            except KeyboardInterrupt:
                self._save()
                raise InterruptedRunError(
                    f"interrupted at step {self.state.step} of training {self.job.name}; saved"
                ) from None
        self._save()
        self.raw_optimizer.zero_grad()
        if self.state.best:
            self.model.load_state_dict(self.state.best)
        else:
            self.model.load_state_dict(self.state.average)
        stop = Stop(
            rule=reason.split("(")[0],
            reason=reason,
            best_round=self.state.best_round,
            rounds=len(self.state.rounds),
            steps=self.state.step,
        )
        return self.state.history, stop

    def _reason(self) -> str | None:
        standing = Standing(self.state.step, self.state.seconds, self.state.rounds)
        at_round_end = self.state.step % self.plan.steps_per_round == 0
        reason = (
            self.rule.reason(standing) if at_round_end or self.state.step >= self.limit else None
        )
        if self.engine.world_size > 1:
            return self.engine.fabric.broadcast(reason)
        return reason

    def _step(self, advance: Advance) -> None:
        state, batches = self.state, self.batches
        self._refresh_twin()
        batch = batches.make(state.step, self._order(), self.twin, self.engine)
        with self._changing():
            self._learn(batch)
        advance(state.step, f"loss {state.running.loss / max(1, state.running.steps):.3f}")

    def _learn(self, batch: Batch) -> None:
        torch.manual_seed(derive(self.batches.seed, "dropout", self.state.step, self.engine.rank))
        for group in self.raw_optimizer.param_groups:
            group["lr"] = self._learning_rate(self.state.step)
        self.model.train()
        logits = self.net(batch.x).float()
        losses = F.cross_entropy(logits, batch.targets, reduction="none")
        loss = (losses * batch.weights).sum() * self.engine.world_size
        self.optimizer.zero_grad()
        self.engine.fabric.backward(loss)
        self.optimizer.step()
        self.state.step += 1
        self._average()
        self._count(float(loss.detach()), logits.detach(), batch.y)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A change of the state that is made whole, and only then interrupted or saved."""
        with self.interrupts.held():
            self.whole = False
            yield
            self.whole = True

    def _settle(self) -> None:
        """What is due after a step, and not yet done: an epoch's point, a round, a checkpoint."""
        if not self.state.step:
            return
        if self._due(self.batches.steps_per_epoch, Epoch):
            self._end_epoch()
        if self.job.validate is not None and self._due(self.plan.steps_per_round, Round):
            self._end_round(self.job.validate)
        self.state.seconds = time.perf_counter() - self.started
        if time.perf_counter() - self.saved > self.job.save_every:
            self._save()

    def _due(self, every: int, kind: type[Epoch | Round]) -> bool:
        step = self.state.step
        if step % every and step != self.limit:
            return False
        return not any(isinstance(one, kind) and one.step == step for one in self.state.history)

    def _refresh_twin(self) -> None:
        with torch.no_grad():
            for copied_, own in zip(
                self.twin.state_dict().values(), self.model.state_dict().values(), strict=True
            ):
                copied_.copy_(own)

    def _order(self) -> Tensor:
        epoch = self.state.step // self.batches.steps_per_epoch
        if self.order is None or self.order[0] != epoch:
            self.order = (epoch, self.batches.order(epoch))
        return self.order[1]

    def _learning_rate(self, step: int) -> float:
        settings = self.plan.optimisation
        factor = self.state.rate * min(1.0, (step + 1) / max(1, settings.warmup_steps))
        if settings.schedule == "linear":
            factor *= 1.0 - step / self.limit
        return settings.learning_rate * factor

    def _average(self) -> None:
        decay = min(
            self.plan.optimisation.averaging, (1 + self.state.step) / (10 + self.state.step)
        )
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                kept = self.state.average[name]
                if kept.is_floating_point() and self.plan.optimisation.averaging > 0:
                    kept.lerp_(tensor, 1.0 - decay)
                else:
                    kept.copy_(tensor)

    def _count(self, loss: float, logits: Tensor, y: Tensor) -> None:
        if not loss < float("inf"):
            raise TemperingError(
                f"training {self.job.name}: the loss is {loss} at step {self.state.step}: "
                "lower learning_rate in the recipe"
            )
        running = self.state.running
        running.loss += loss
        running.correct += int((logits.argmax(1) == y).sum())
        running.seen += len(y)
        running.steps += 1

    def _judged(self) -> nn.Module:
        """A float32 copy of the model with its averaged weights."""
        judged = copy.deepcopy(self.model)
        judged.load_state_dict(self.state.average)
        return judged.eval()

    def _end_epoch(self) -> None:
        state, data = self.state, self.job.validation
        running = state.running
        loss, hits = 0.0, 0
        with probing(self._judged()) as probe:
            for at in range(0, len(data), 1000):
                x = data.x[at : at + 1000].to(self.engine.device)
                y = data.y[at : at + 1000].to(self.engine.device)
                logits = probe.logits(x)
                loss += float(F.cross_entropy(logits, y, reduction="sum"))
                hits += int((logits.argmax(1) == y).sum())
        epoch = Epoch(
            model=self.job.name,
            epoch=-(-state.step // self.batches.steps_per_epoch),
            step=state.step,
            train_loss=running.loss / max(1, running.steps),
            train_accuracy=Count(hits=running.correct, n=running.seen),
            validation_loss=loss / len(data),
            validation_accuracy=Count(hits=hits, n=len(data)),
            learning_rate=self._learning_rate(state.step - 1),
            seconds=time.perf_counter() - self.started,
        )
        with self._changing():
            state.history.append(epoch)
            state.running = Running()

    def _end_round(self, validate: Validate) -> None:
        validation = validate(self._judged())
        with self._changing():
            self._conclude(validation)

    def _conclude(self, validation: Validation) -> None:
        state, floor = self.state, self.plan.clean_floor
        best = next((r for r in state.rounds if r.round == state.best_round), None)
        if validation.clean.fraction < floor:
            outcome, reason = "rolled back", self._roll_back(validation.clean.fraction)
        elif best is None or validation.worst.fraction > best.worst.fraction:
            state.best = copied(state.average)
            state.best_round = len(state.rounds)
            outcome, reason = "best", "highest worst-case accuracy on validation so far"
        else:
            outcome = "kept"
            reason = f"round {best.round} stays best at {100 * best.worst.fraction:.1f} %"
        state.history.append(
            Round(
                round=len(state.rounds),
                step=state.step,
                clean=validation.clean,
                worst=validation.worst,
                by_attack=validation.by_attack,
                rho=validation.worst.fraction - self.job.before,
                outcome=outcome,
                reason=reason,
                seconds=time.perf_counter() - self.started,
            )
        )

    def _roll_back(self, clean: float) -> str:
        """Return to the best round's weights, with a gentler learning rate."""
        self.state.rate /= 2
        floor = self.plan.clean_floor
        why = f"clean accuracy {100 * clean:.1f} % is under the floor {100 * floor:.1f} %"
        if not self.state.best:
            return f"{why}; no earlier round to return to, learning rate halved"
        self.model.load_state_dict(self.state.best)
        self.state.average = copied(self.model.state_dict())
        self.raw_optimizer.state.clear()
        return f"{why}; back to round {self.state.best_round}, learning rate halved"

    def _save(self) -> None:
        if self.engine.is_main and self.whole:
            save_state(
                self.job.checkpoint, self.job.key, self.state, self.model, self.raw_optimizer
            )
        self.saved = time.perf_counter()
