"""Attack: adversarial images of any model, in a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from tempering.app.attack_targets import Aim, aim_at, check_targets
from tempering.app.compute import BATCH_SIZE, Compute
from tempering.app.gallery import images_of
from tempering.app.job import job
from tempering.app.load_inputs import InputAddress, take_in_order
from tempering.app.output_files import check_samples_file
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
from tempering.core.files import write_with
from tempering.core.goals import EvadeDetector, Goal, TargetedLabels, Untargeted
from tempering.core.kept_weights import keep_weights
from tempering.core.threat_sizes import check_size
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
        left_out: Other samples, which are of the target class themselves.
        success: Of the n, how many ended as it wanted.
        before: How many were so without any attack.
        no_start: Failures that say nothing about the model: a decision attack found no
            image to start from.
        median_distance_of_successes: Median distance over its successes alone; None without any.
        forwards: Forward passes of the attack, in all.
        backwards: Backward passes.
        out: The file with all samples.
    """

    model_config = ConfigDict(frozen=True)

    attack: str
    threat: str
    n: int
    subset: str
    left_out: int
    success: int
    before: int
    no_start: int
    median_distance_of_successes: float | None
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
        left_out: Samples that are of the target class themselves, and so are not among these.
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
    left_out: int = 0

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
            left_out=self.left_out,
            success=int(self.success.sum()),
            before=int(self.before.sum()),
            no_start=int((self.no_start & ~self.success).sum()),
            median_distance_of_successes=float(won.median()) if len(won) else None,
            forwards=int(self.forwards.sum()),
            backwards=int(self.backwards.sum()),
            out=out,
        )

    def __repr__(self) -> str:
        done, n = int(self.success.sum()), len(self.data)
        return f"Attacked({self.attack.label()}, {self.threat}: success on {done} of {n} images)"


@job()
def attack_address(
    address: InputAddress,
    attack: str,
    out: Path,
    *,
    samples: int | None = None,
    subset: str = "stratified",
    targets: str | None = None,
    compute: Compute | None = None,
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
        compute: Device and batch size.

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
    check_samples_file(out)
    compute = compute or Compute()
    engine = compute.start()
    inputs = address.load()
    wanted, index = take_in_order(inputs.splits.test, samples, subset)
    context = EvalContext(wanted, "test", engine, inputs.seed, compute.batch_size)
    done = _run(inputs.model, context, inputs.threat, chosen, targets, subset)
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
    device: str = "auto",
    batch_size: int = BATCH_SIZE,
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
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        batch_size: Images at a time, see `Compute`.
        progress: Whether to show progress on stderr.

    Raises:
        UsageError: If something about the call is wrong.
        DataError: If a target is a sample's label, or no class.
        ModelError: If the model is no classifier of the data.

    Example:
        `attack(model, (x, y), "linf:8/255", "pgd:steps=40").x_adv`
    """
    compute = Compute(device, batch_size)
    path = None if out is None else as_path(out)
    if path is not None:
        check_samples_file(path)
    engine = compute.start()
    allowed = as_threat(threat)
    module, held = keep_weights(as_model(model)), as_data(data)
    chosen = as_attack(attack)
    test = held.test if isinstance(held, Splits) else held
    number = None if samples is None else as_count(samples, "samples")
    wanted, index = take_in_order(test, number, subset)
    with shown(progress):
        aim = None if targets is None else str(targets)
        context = EvalContext(wanted, "test", engine, as_count(seed, "seed"), compute.batch_size)
        done = _run(module, context, allowed, chosen, aim, subset)
        done = replace(done, index=index[done.index])
    if path is not None:
        _write(path, done)
    return done


def _run(
    model: nn.Module,
    context: EvalContext,
    threat: Threat,
    chosen: Attack,
    targets: str | None,
    subset: str,
) -> Attacked:
    chosen.require(threat)
    wanted = context.data
    check_size(threat, wanted.shape)
    aim = aim_at(targets, wanted, context.seed)
    target = Target.of("given", model, wanted)
    rows, goal = aim.index, _goal(aim, target)
    if aim.targets is not None:
        check_targets(aim, wanted.subset(rows), target.outputs)
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
        left_out=len(wanted) - len(rows),
    )


def _goal(aim: Aim, target: Target) -> Goal:
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


def _write(out: Path, done: Attacked) -> None:
    first = {"x": done.data.x, "x_adv": done.x_adv, "y": done.data.y, "index": done.index}
    names = ("success", "distance", "forwards", "backwards")
    rest = {name: getattr(done, name) for name in names}
    if done.targets is not None:
        rest["targets"] = done.targets
    content = {
        **{name: values.numpy() for name, values in first.items()},
        "id": np.array(done.data.ids.names),
        **{name: values.numpy() for name, values in rest.items()},
    }

    def save(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, **content)

    write_with(out, save)
