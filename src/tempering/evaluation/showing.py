"""One attack, shown sample by sample: what it proposed, whether it worked, what it took."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tempering.attacks.base import Attack
from tempering.core.errors import DataError
from tempering.core.goals import EvadeDetector, Goal, TargetedLabels, Untargeted
from tempering.core.progress import track
from tempering.core.tally import tallied
from tempering.core.threats import Threat
from tempering.data.dataset import Dataset
from tempering.evaluation.context import EvalContext
from tempering.evaluation.proposals import propose
from tempering.evaluation.target import Target
from tempering.evaluation.verdicts import predict

_BATCHES = 2


@dataclass(frozen=True, eq=False)
class Shown:
    """What became of each sample of the data under one attack, on the CPU.

    Attributes:
        x_adv: Proposals, shape (n, c, h, w), each checked for ball, box and finiteness.
        predicted: What the model says of them, in its own precision, shape (n,), int64.
        success: Untargeted: predicted neither the label nor the model's flag. Targeted:
            predicted the target. Shape (n,), bool.
        before: The same for the images as they were, shape (n,), bool.
        distance: Norm of x_adv - x, recomputed, shape (n,), float64.
        forwards: Forward passes that the attack made for each sample, shape (n,), int64.
        backwards: Backward passes, likewise.
        no_start: Whether a decision attack found no image to start from, so that its
            failure says nothing about the model, shape (n,), bool.
    """

    x_adv: Tensor
    predicted: Tensor
    success: Tensor
    before: Tensor
    distance: Tensor
    forwards: Tensor
    backwards: Tensor
    no_start: Tensor


def show(
    context: EvalContext,
    target: Target,
    attack: Attack,
    threat: Threat,
    targets: Tensor | None = None,
) -> Shown:
    """Attack every sample of some data and judge each here.

    Other than `measure` it attacks samples that are misclassified too, as of their true
    label, and it knows targets. Passes are those of the attack alone, on whatever model
    it asks; the verdict's are not counted.

    Args:
        context: Data, engine and seed; the whole of it runs in this process.
        target: The model that is attacked and that judges.
        attack: Proposes.
        threat: What may change.
        targets: The class that each sample shall be taken for, shape (n,), int64; None
            for any wrong one, which for a model with an adversarial class means
            unnoticed.

    Returns:
        One row a sample.

    Raises:
        AttackError: If a proposal breaks the rules; names the attack and the sample.
        DataError: If a target is the sample's own label, or no output of the model.
        ModelError: If the model does not answer with finite logits.
    """
    data, device = context.data, context.engine.device
    if targets is not None:
        _check_targets(targets, data, target.outputs)
    target.model.to(device)
    goal: Goal = TargetedLabels() if targets is not None else Untargeted()
    if targets is None and target.flag is not None:
        goal = EvadeDetector(target.flag)
    labels = data.y if targets is None else targets
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    size = context.n if attack.batch_dependent() else _BATCHES * context.batch_size
    counts: list[tuple[int, int, int]] = []
    title = f"{target.subject}: {attack.label()}"
    with track(title, context.n) as advance, context.naming():
        for at in range(0, context.n, size):
            rows = slice(at, at + size)
            keys = context.keys[rows]
            x, y = data.x[rows].to(device), labels[rows].to(device)
            with tallied() as counted:
                x_adv = propose(
                    target.model,
                    attack,
                    x,
                    y,
                    threat,
                    context.streams(attack, keys),
                    goal,
                    context.batch_size,
                )
            true = data.y[rows].to(device)
            clean = predict(target.model, x, true, keys, context.batch_size).predicted
            seen = predict(target.model, x_adv, true, keys, context.batch_size).predicted
            distance = threat.distance(x_adv.double(), x.double()).cpu()
            parts.append((x_adv.cpu(), clean, seen, distance))
            counts += [
                (counted.forward[one], counted.backward[one], counted.no_start[one])
                for one in keys.tolist()
            ]
            advance(at + len(keys), "")
    x_adv, clean, predicted, distance = (torch.cat(part) for part in zip(*parts, strict=True))
    forwards, backwards, no_start = torch.tensor(counts, dtype=torch.int64).unbind(1)
    before, success = (_won(one, data.y, targets, target.flag) for one in (clean, predicted))
    return Shown(x_adv, predicted, success, before, distance, forwards, backwards, no_start > 0)


def _won(predicted: Tensor, y: Tensor, targets: Tensor | None, flag: int | None) -> Tensor:
    """Whether predictions are what the attacker wants, shape (n,), bool."""
    if targets is not None:
        return predicted == targets
    wrong = predicted != y
    return wrong if flag is None else wrong & (predicted != flag)


def _check_targets(targets: Tensor, data: Dataset, outputs: int) -> None:
    """Refuse targets that are labels, or name no output."""
    if targets.shape != data.y.shape:
        raise DataError(f"{len(targets)} targets for {len(data)} samples: give one each")
    wrong = ((targets < 0) | (targets >= outputs)).nonzero()[:, 0]
    if len(wrong):
        raise DataError(
            f"target {int(targets[wrong[0]])} for a model of {outputs} outputs: "
            f"give 0 to {outputs - 1}"
        )
    own = (targets == data.y).nonzero()[:, 0]
    if len(own):
        raise DataError(
            f"target {int(targets[own[0]])} of sample {data.ids.names[int(own[0])]} is its label: "
            "give another class, or leave the sample out"
        )
