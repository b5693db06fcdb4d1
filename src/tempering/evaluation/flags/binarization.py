"""A test with a known answer: an adversarial that was planted must be found."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tempering.attacks.apgd_t import APGDT
from tempering.attacks.base import Attack, Problem
from tempering.core.goals import Untargeted
from tempering.core.probe import probing
from tempering.core.records import Count, Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.planting import INNER, LOGITS, PlantedProbe, plant
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.proposals import check_proposal

PASSES = 0.95
"""Success rate, a fraction, that an attack has to reach on planted adversarials."""

STRONGER: Attack = APGDT(steps=100)
"""What looks for planted adversarials that an attack missed."""

FAILED = Kind(
    "binarization test failed",
    "on the model's own features an adversarial was planted within each ball, and neither the "
    "attack nor a stronger one found it; where they cannot find what is there, that they find "
    "nothing else shows nothing",
    "change the attack until it passes: through hidden gradients with BPDA, through randomness "
    "with EOT, with more steps, or without gradients",
    masks=True,
)

BLUNT = Kind(
    "binarization test takes a stronger attack",
    "on the model's own features an adversarial was planted within each ball; the attack did not "
    "find it and a stronger one that follows gradients did: they lead there, and the attack does "
    "not go far enough",
    "judge the model by the stronger attack, or give this one more steps and restarts",
)


def binarization_test(part: Slice, attack: Attack) -> Flag | None:
    """Plant an adversarial for each sample, and let the attack look for it.

    Zimmermann et al., 2022 (see `planting`). Flagged where the 95 % interval of the success
    rate lies below 95 %; what the attack misses a stronger one then looks for, so that a weak
    attack is not taken for a model that hides its gradients, and as many random points as
    the read-out has seen say how hard the task is. What follows the last linear layer, such
    as a softmax, is left out. Costs 66 forward passes a sample, and those of the attack.

    Args:
        part: Samples; their threat's eps is above 0.
        attack: Any that looks at samples by their numbers.

    Returns:
        `binarization test failed`, `binarization test takes a stronger attack`, or None; None
        also where nothing could be planted, and for attacks that never ask the model.
    """
    if attack.access == "none":
        return None
    plants = plant(part)
    rows = plants.planted.nonzero()[:, 0]
    if not len(rows):
        return None
    test = part.at(rows)
    own = replace(plants, weight=plants.weight[rows], bias=plants.bias[rows])
    with probing(test.model) as plain:
        search = _Search(PlantedProbe(plain, own, test), test)
        won = search.by(attack, torch.arange(len(test), device=rows.device))
        rate = Count(hits=int(won.sum()), n=len(test))
        if rate.interval[1] >= PASSES:
            return None
        again = torch.zeros_like(won)
        missed = (~won).nonzero()[:, 0]
        if STRONGER.knows(part.threat):
            again[missed] = search.by(STRONGER, missed)
        lucky = search.by_chance()
    features = LOGITS if plants.layer is None else f"what goes into its layer {plants.layer!r}"
    both = Count(hits=int((won | again).sum()), n=len(test))
    kind = FAILED if both.interval[1] < PASSES else BLUNT
    return kind.raised(
        f"{attack.label()} found {rate.hits} of {rate.n} planted adversarials, "
        f"{STRONGER.label()} {int(again.sum())} more, {INNER} random points {int(lucky.sum())}; "
        f"features are {features}; planted on {rate.n} of {len(part)} samples",
        test.keys[~won],
    )


class _Search:
    """Samples with a planted adversarial, and who finds it."""

    def __init__(self, probe: PlantedProbe, part: Slice) -> None:
        self._probe, self._part = probe, part
        inside = torch.zeros(len(part), dtype=torch.int64, device=part.x.device)
        self._problem = Problem(
            part.x, inside, part.threat, part.streams, Untargeted(), part.batch_size
        )

    def by(self, attack: Attack, rows: Tensor) -> Tensor:
        """Whether an attack finds it, shape of rows, bool."""
        task = self._problem.part(rows)
        x_adv = attack.propose(self._probe, task).detach()
        check_proposal(attack.label(), x_adv, task.x, task.threat, task.streams.index)
        return self._found(x_adv, task)

    def by_chance(self) -> Tensor:
        """Whether one of many random points is fooled, shape (n,), bool."""
        lucky = [
            self._found(self._part.nearby(f"control {time}"), self._problem)
            for time in range(INNER)
        ]
        return torch.stack(lucky).any(0)

    def _found(self, x: Tensor, task: Problem) -> Tensor:
        looks = [self._probe.logits(x[at], task.streams.index[at]) for at in task.batches()]
        return torch.cat(looks).argmax(1) == 1
