"""Attack: adversarial images of any model, in a file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from tempering.app.gallery import images_of
from tempering.app.job import job
from tempering.app.load_inputs import InputAddress
from tempering.attacks.registry import parse_attack
from tempering.core.engine import start_engine
from tempering.core.errors import DataError, UsageError
from tempering.core.files import write_with
from tempering.core.goals import EvadeDetector, Goal, TargetedLabels, Untargeted
from tempering.core.random import RandomStreams, derive
from tempering.data.dataset import Dataset
from tempering.evaluation.attack_samples import AttackTask, attack_samples
from tempering.evaluation.context import EvalContext
from tempering.evaluation.per_sample import PerSampleResult
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
    if out.suffix != ".npz":
        raise UsageError(f"{out} for the samples: give a file that ends in .npz")
    _check_writable(out.parent)
    inputs = address.load()
    allowed = inputs.threat
    chosen.require(allowed)
    wanted = inputs.take(samples, subset)
    aim = _aim(targets, wanted, inputs.seed)
    context = EvalContext(wanted, "test", start_engine("32-true"), inputs.seed)
    target = Target.of("given", inputs.model, wanted)
    rows, goal = aim.index, _goal(aim, target)
    if aim.targets is not None:
        _check_targets(aim, wanted.subset(rows), target.outputs)
    labels = aim.over(wanted.y)
    task = AttackTask(Stage(chosen), allowed, goal=goal, labels=labels)
    clean = predict_samples(context, target, rows)
    outcomes = attack_samples(context, target, task, clean, rows)
    seen = replace(outcomes.per_sample, forwards=outcomes.per_sample.forwards - 1)
    success, before = (
        _successful(predicted, wanted.y[rows], aim.targets, target.flag)
        for predicted in (seen.predicted, clean.predicted[rows])
    )
    _write(out, wanted, aim, seen, success)
    won = seen.distance[success]
    return AttackReport(
        attack=chosen.label(),
        threat=str(allowed),
        n=len(rows),
        subset=subset,
        success=int(success.sum()),
        before=int(before.sum()),
        no_start=int((outcomes.no_start & ~success).sum()),
        median_distance=float(won.median()) if len(won) else None,
        forwards=int(seen.forwards.sum()),
        backwards=int(seen.backwards.sum()),
        out=str(out),
    )


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


def _write(out: Path, data: Dataset, aim: _Aim, seen: PerSampleResult, success: Tensor) -> None:
    part = data.subset(aim.index)
    first = {"x": part.x, "x_adv": images_of(seen), "y": part.y, "index": aim.index}
    rest = {
        "success": success,
        "distance": seen.distance,
        "forwards": seen.forwards,
        "backwards": seen.backwards,
    }
    if aim.targets is not None:
        rest["targets"] = aim.targets
    content = {
        **{name: values.numpy() for name, values in first.items()},
        "id": np.array(part.ids.names),
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
