"""Attack: adversarial images of any model, in a file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from tempering.app.gallery import images_of
from tempering.app.job import job
from tempering.app.load_inputs import InputAddress, take_in_order
from tempering.app.python_inputs import (
    AttackLike,
    DataLike,
    ModelLike,
    ThreatLike,
    as_attack,
    as_count,
    as_data,
    as_model,
    as_path,
    as_threat,
    shown,
)
from tempering.attacks.base import Attack
from tempering.attacks.registry import parse_attack
from tempering.core.engine import start_engine
from tempering.core.errors import DataError, UsageError
from tempering.core.files import write_with
from tempering.core.goals import EvadeDetector, Goal, TargetedLabels, Untargeted
from tempering.core.random import RandomStreams, derive
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.data.splits import Splits
from tempering.evaluation.attack_samples import AttackTask, attack_samples
from tempering.evaluation.context import EvalContext
from tempering.evaluation.stages import Stage
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import predict_samples


class AttackReport(BaseModel):
    """What an attack achieved.

    Attributes:
        attack: Its label.
        threat: What it was allowed.
        n: Samples that it was run on.
        subset: How they were chosen: `stratified` or `first`.
        success: Of these, how many ended as it wanted.
        before: How many were so without any attack.
        no_start: Failures that say nothing about the model: a decision attack found no
            image to start from.
        median_distance: Over its successes; None without any.
        forwards: Forward passes of the attack, in all.
        backwards: Backward passes.
        out: The file with all samples.
    """

    model_config = ConfigDict(frozen=True)

    attack: str
    threat: str
    n: int
    subset: str
    success: int
    before: int
    no_start: int
    median_distance: float | None
    forwards: int
    backwards: int
    out: str


@dataclass(frozen=True, eq=False, repr=False)
class Attacked:
    """Samples after an attack.

    Attributes:
        attack: The attack.
        threat: What it was allowed.
        data: The samples that it was run on.
        subset: How they were chosen: `stratified` or `first`.
        index: Their rows in the test data, ascending, shape (n,), int64.
        targets: The class that each shall be taken for, shape (n,); None without targets.
        x_adv: Adversarial images, shape (n, c, h, w), float32.
        predicted: What the model says of them, shape (n,), int64.
        success: Whether each ended as the attack wanted, shape (n,), bool.
        before: Whether it was so without the attack, shape (n,), bool.
        no_start: Whether a decision attack found no image to start from, shape (n,), bool.
        distance: How far each image was changed, shape (n,), float64.
        forwards: Forward passes of the attack, shape (n,), int64.
        backwards: Backward passes, likewise.
    """

    attack: Attack
    threat: Threat
    data: Dataset
    subset: str
    index: Tensor
    targets: Tensor | None
    x_adv: Tensor
    predicted: Tensor
    success: Tensor
    before: Tensor
    no_start: Tensor
    distance: Tensor
    forwards: Tensor
    backwards: Tensor

    def report(self, out: str = "") -> AttackReport:
        """The counts.

        Args:
            out: The file with the samples, if there is one.
        """
        won = self.distance[self.success]
        return AttackReport(
            attack=self.attack.label(),
            threat=str(self.threat),
            n=len(self.data),
            subset=self.subset,
            success=int(self.success.sum()),
            before=int(self.before.sum()),
            no_start=int((self.no_start & ~self.success).sum()),
            median_distance=float(won.median()) if len(won) else None,
            forwards=int(self.forwards.sum()),
            backwards=int(self.backwards.sum()),
            out=out,
        )

    def __repr__(self) -> str:
        done, n = int(self.success.sum()), len(self.data)
        return f"Attacked({self.attack.label()}, {self.threat}: success on {done} of {n} images)"


@dataclass(frozen=True)
class _Aim:
    """Rows of the samples to attack, and their targets if there are some."""

    index: Tensor
    targets: Tensor | None

    def over(self, y: Tensor) -> Tensor:
        """What the attack is told, over all samples: targets, or true classes."""
        return y if self.targets is None else y.index_copy(0, self.index, self.targets)


@job()
def attack_address(
    address: InputAddress,
    attack: str,
    out: Path,
    *,
    samples: int | None = None,
    subset: str = "stratified",
    targets: str | None = None,
) -> AttackReport:
    """Attack a model by its address, and write what came of it as `.npz`.

    The file holds `x` and `x_adv` (float32), `y`, `index` (of each sample in the test
    data), `id` (of each sample in the source), `success`, `distance`, `forwards` and
    `backwards` (passes of the attack for each sample), and with targets `targets`.

    Args:
        address: Model, data and threat.
        attack: As `name:key=value,...`.
        out: The `.npz` file to write.
        samples: Test images; by default 1,000 or all.
        subset: Which: `stratified` by class and id, or the `first` ones.
        targets: A class that images shall be taken for, by name or number; `next` or
            `random`; or one class a sample with commas between them. Of a single class,
            samples that are of that class themselves are left out.

    Returns:
        Counts.

    Raises:
        UsageError: If something about the call is wrong.
        DataError: If a target is a sample's label, or no class.
        ModelError: If there is no such model, or it is no classifier of the data.

    Example:
        `attack_address(InputAddress("runs/latest"), "pgd:steps=40", Path("pgd.npz")).success`
    """
    chosen = parse_attack(attack)
    _check_out(out)
    inputs = address.load()
    wanted, index = take_in_order(inputs.splits.test, samples, subset)
    done = _run(inputs.model, wanted, inputs.threat, chosen, targets, inputs.seed, subset)
    done = replace(done, index=index[done.index])
    _write(out, done)
    return done.report(str(out))


@job()
def attack(
    model: ModelLike,
    data: DataLike,
    threat: ThreatLike,
    attack: AttackLike,
    *,
    samples: int | None = None,
    subset: str = "stratified",
    targets: str | int | None = None,
    seed: int = 0,
    out: Path | str | None = None,
    progress: bool = False,
) -> Attacked:
    """Attack a model, and give back the adversarial images with what the model says of them.

    Args:
        model: A module or a function from images in [0, 1], shape (n, c, h, w), to logits.
        data: Test data, in any form that `tempering.evaluate` takes.
        threat: What an attacker may change, as a value or as text such as `linf:8/255`.
        attack: A value, or a name such as `pgd:steps=40`.
        samples: Images; by default 1,000, or all if there are fewer.
        subset: Which: `stratified` by class and id, or the `first` ones.
        targets: See `attack_address`.
        seed: Of all random draws.
        out: An `.npz` file to write, see `attack_address`; None to write nothing.
        progress: Whether to show progress on stderr.

    Raises:
        UsageError: If something about the call is wrong.
        DataError: If a target is a sample's label, or no class.
        ModelError: If the model is no classifier of the data.

    Example:
        `attack(model, (x, y), "linf:8/255", "pgd:steps=40").x_adv`
    """
    module, held, allowed = as_model(model), as_data(data), as_threat(threat)
    chosen = as_attack(attack)
    test = held.test if isinstance(held, Splits) else held
    number = None if samples is None else as_count(samples, "samples")
    wanted, index = take_in_order(test, number, subset)
    path = None if out is None else as_path(out)
    if path is not None:
        _check_out(path)
    with shown(progress):
        aim = None if targets is None else str(targets)
        done = _run(module, wanted, allowed, chosen, aim, as_count(seed, "seed"), subset)
        done = replace(done, index=index[done.index])
    if path is not None:
        _write(path, done)
    return done


def _run(
    model: nn.Module,
    wanted: Dataset,
    threat: Threat,
    chosen: Attack,
    targets: str | None,
    seed: int,
    subset: str,
) -> Attacked:
    chosen.require(threat)
    aim = _aim(targets, wanted, seed)
    context = EvalContext(wanted, "test", start_engine("32-true"), seed)
    target = Target.of("given", model, wanted)
    rows, goal = aim.index, _goal(aim, target)
    if aim.targets is not None:
        _check_targets(aim, wanted.subset(rows), target.outputs)
    labels = aim.over(wanted.y)
    task = AttackTask(Stage(chosen), threat, goal=goal, labels=labels)
    clean = predict_samples(context, target, rows)
    outcomes = attack_samples(context, target, task, clean, rows)
    seen = replace(outcomes.per_sample, forwards=outcomes.per_sample.forwards - 1)
    success, before = (
        _successful(predicted, wanted.y[rows], aim.targets, target.flag)
        for predicted in (seen.predicted, clean.predicted[rows])
    )
    return Attacked(
        attack=chosen,
        threat=threat,
        data=wanted.subset(rows),
        subset=subset,
        index=rows,
        targets=aim.targets,
        x_adv=images_of(seen),
        predicted=seen.predicted,
        success=success,
        before=before,
        no_start=outcomes.no_start,
        distance=seen.distance,
        forwards=seen.forwards,
        backwards=seen.backwards,
    )


def _check_out(out: Path) -> None:
    if out.suffix != ".npz":
        raise UsageError(f"{out} for the samples: give a file that ends in .npz")
    _check_writable(out.parent)


def _goal(aim: _Aim, target: Target) -> Goal:
    """The target class of each sample; otherwise any wrong class, unnoticed by a flag."""
    if aim.targets is not None:
        return TargetedLabels()
    return Untargeted() if target.flag is None else EvadeDetector(target.flag)


def _successful(predicted: Tensor, y: Tensor, targets: Tensor | None, flag: int | None) -> Tensor:
    """Whether predictions are what the attacker wants, shape (n,), bool."""
    if targets is not None:
        return predicted == targets
    wrong = predicted != y
    return wrong if flag is None else wrong & (predicted != flag)


def _check_targets(aim: _Aim, data: Dataset, outputs: int) -> None:
    """Refuse targets that are labels, or name no output."""
    y = data.y
    targets = y if aim.targets is None else aim.targets
    if targets.shape != y.shape:
        raise DataError(f"{len(targets)} targets for {len(y)} samples: give one each")
    wrong = ((targets < 0) | (targets >= outputs)).nonzero()[:, 0]
    if len(wrong):
        raise DataError(
            f"target {int(targets[wrong[0]])} for a model of {outputs} outputs: "
            f"give 0 to {outputs - 1}"
        )
    own = (targets == y).nonzero()[:, 0]
    if len(own):
        raise DataError(
            f"target {int(targets[own[0]])} of sample {data.ids.names[int(own[0])]} is its label: "
            "give another class, or leave the sample out"
        )


def _check_writable(folder: Path) -> None:
    """Before the attack: a long one would be lost."""
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise UsageError(f"{there} for the samples: give a folder that can be written to")


def _write(out: Path, done: Attacked) -> None:
    first = {"x": done.data.x, "x_adv": done.x_adv, "y": done.data.y, "index": done.index}
    rest = {
        "success": done.success,
        "distance": done.distance,
        "forwards": done.forwards,
        "backwards": done.backwards,
    }
    if done.targets is not None:
        rest["targets"] = done.targets
    content = {
        **{name: values.numpy() for name, values in first.items()},
        "id": np.array(done.data.ids.names),
        **{name: values.numpy() for name, values in rest.items()},
    }

    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **content)  # type: ignore[arg-type]

    write_with(out, save)


def _aim(targets: str | None, data: Dataset, seed: int) -> _Aim:
    """Read targets as people write them."""
    everyone = torch.arange(len(data))
    if targets is None:
        return _Aim(everyone, None)
    classes, y = len(data.classes), data.y
    if targets == "next":
        return _Aim(everyone, (y + 1) % classes)
    if targets == "random":
        streams = RandomStreams(derive(seed, "targets"), data.ids.keys)
        return _Aim(everyone, (y + 1 + streams.choice(classes - 1)) % classes)
    names = [name.strip() for name in targets.split(",")]
    numbers = torch.tensor([_class_number(name, data.classes) for name in names])
    if len(numbers) > 1 or len(data) == 1:
        return _Aim(everyone, numbers)
    others = (y != numbers[0]).nonzero()[:, 0]
    if not len(others):
        raise DataError(
            f"target {targets!r} is the label of all {len(data)} samples: give another class"
        )
    return _Aim(others, numbers.expand(len(others)).clone())


def _class_number(text: str, classes: tuple[str, ...]) -> int:
    """A class by its name, or else by its number."""
    if text in classes:
        return classes.index(text)
    if text.isdecimal() and int(text) < len(classes):
        return int(text)
    raise UsageError(
        f"target {text!r} is no class: give next, random, or one of {', '.join(classes[:20])}"
    )
