"""A test with a known answer: an adversarial that was planted must be found."""

from __future__ import annotations

from dataclasses import replace

import torch

from tempering.attacks.base import Attack, Problem
from tempering.core.goals import Mislead
from tempering.core.probe import probing
from tempering.core.records import Count, Flag
from tempering.evaluation.flags.kind import Kind
from tempering.evaluation.flags.planting import INNER, LOGITS, PlantedProbe, plant
from tempering.evaluation.flags.slices import Slice
from tempering.evaluation.proposing import check

PASSES = 0.95
"""Success rate, a fraction, that an attack has to reach on planted adversarials."""

FAILED = Kind(
    "binarization test failed",
    "on the model's own features an adversarial was planted within each ball, and the attack "
    "did not find it; where it cannot find what is there, that it finds nothing else shows "
    "nothing",
    "change the attack until it passes: through hidden gradients with BPDA, through randomness "
    "with EOT, with more steps, or without gradients",
    masks=True,
)


def binarization_test(part: Slice, attack: Attack) -> Flag | None:
    """Plant an adversarial for each sample, and let the attack look for it.

    Zimmermann et al., 2022 (see `planting`). Flagged where the 95 % interval of the success
    rate lies below 95 %. As many random points as a control say how hard the task is.
    What follows the last linear layer, such as a softmax, is left out. Costs 130 forward
    passes a sample, and those of the attack.

    Args:
        part: Samples; their threat's eps is above 0.
        attack: Any that looks at samples by their numbers.

    Returns:
        `binarization test failed`, or None; None also where nothing could be planted, and
        for attacks that never ask the model.
    """
    if attack.access == "none":
        return None
    plants = plant(part)
    rows = plants.planted.nonzero()[:, 0]
    if not len(rows):
        return None
    test = part.at(rows)
    own = replace(plants, weight=plants.weight[rows], bias=plants.bias[rows])
    inside = torch.zeros(len(test), dtype=torch.int64, device=test.x.device)
    problem = Problem(test.x, inside, test.threat, test.draws, Mislead(), test.batch_size)
    with probing(test.model) as plain:
        probe = PlantedProbe(plain, own, test)

        def found(x: torch.Tensor) -> torch.Tensor:
            parts = [probe.logits(x[at], test.numbers[at]) for at in problem.batches()]
            return torch.cat(parts).argmax(1) == 1

        x_adv = attack.propose(probe, problem).detach()
        check(attack.label(), x_adv, test.x, test.threat, test.numbers)
        won = found(x_adv)
        lucky = torch.zeros_like(won)
        for time in range(INNER):
            lucky |= found(test.nearby(f"control {time}"))
    rate = Count(hits=int(won.sum()), n=len(test))
    if rate.interval[1] >= PASSES:
        return None
    features = LOGITS if plants.layer is None else f"what goes into its layer {plants.layer!r}"
    return FAILED.raised(
        f"{attack.label()} found {rate.hits} of {rate.n} planted adversarials, {INNER} random "
        f"points {int(lucky.sum())}; features are {features}; planted on {rate.n} of {len(part)} "
        "samples",
        test.numbers[~won],
    )
